//! From what a row holds to what it means. What was never written there is [`StoreError::Damaged`].

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use policy::tls::{Resolved, Source, TlsPolicy};
use rusqlite::types::FromSql;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sql::{Connection, OptionalExtension, Row};
use crate::{Method, StoreError, Timestamp};

/// The column's value.
pub(super) fn get<T: FromSql>(row: Row<'_>, column: &str) -> Result<T, StoreError> {
    Ok(row.get(column)?)
}

/// The column's text as what it was written from.
pub(super) fn parsed<T: FromStr>(row: Row<'_>, column: &str) -> Result<T, StoreError> {
    get::<String>(row, column)?.parse().map_err(|_| damaged(column))
}

pub(super) fn time(row: Row<'_>, column: &str) -> Result<Timestamp, StoreError> {
    get(row, column).map(Timestamp::from_micros)
}

pub(super) fn optional_time(row: Row<'_>, column: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp::from_micros))
}

pub(super) fn optional_ip(row: Row<'_>, column: &str) -> Result<Option<IpAddr>, StoreError> {
    get::<Option<String>>(row, column)?.map(|text| text.parse().map_err(|_| damaged(column))).transpose()
}

pub(super) fn from_json<T: DeserializeOwned>(row: Row<'_>, column: &str) -> Result<T, StoreError> {
    serde_json::from_str(&get::<String>(row, column)?).map_err(|_| damaged(column))
}

/// The same where there may be nothing.
pub(super) fn optional_json<T: DeserializeOwned>(row: Row<'_>, column: &str) -> Result<Option<T>, StoreError> {
    let text = get::<Option<String>>(row, column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| damaged(column))).transpose()
}

/// The column's word as the variant that it names.
pub(super) fn word<T>(row: Row<'_>, column: &str, find: fn(&str) -> Option<T>) -> Result<T, StoreError> {
    optional_word(row, column, find)?.ok_or_else(|| damaged(column))
}

pub(super) fn optional_word<T>(
    row: Row<'_>,
    column: &str,
    find: fn(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    get::<Option<String>>(row, column)?.map(|text| find(&text).ok_or_else(|| damaged(column))).transpose()
}

/// The seven columns that a message's TLS policy is kept in.
pub(super) fn resolved(row: Row<'_>) -> Result<Resolved, StoreError> {
    Ok(Resolved {
        policy: TlsPolicy::from_switches(get(row, "require_tls")?, get(row, "skip_verification")?),
        require_tls_from: word(row, "require_tls_from", source)?,
        skip_verification_from: word(row, "skip_verification_from", source)?,
        fallback: word(row, "tls_fallback", |word| word.parse().ok())?,
        when_left: word(row, "tls_failure", |word| word.parse().ok())?,
        tag: word(row, "tls_tag", |word| word.parse().ok())?,
    })
}

pub(super) fn source_word(source: Source) -> &'static str {
    match source {
        Source::Message => "message",
        Source::Domain => "domain",
        Source::Default => "default",
    }
}

fn source(word: &str) -> Option<Source> {
    [Source::Message, Source::Domain, Source::Default].into_iter().find(|source| source_word(*source) == word)
}

pub(super) fn method(word: &str) -> Option<Method> {
    [Method::Http, Method::Smtp].into_iter().find(|method| method.as_str() == word)
}

/// Names in their order, found one after another by a statement that gives the first one after `?1`: it goes over none of
/// the rows between them.
pub(super) fn one_after_another(connection: &Connection, next: &str) -> Result<Vec<String>, StoreError> {
    let mut select = connection.prepare_cached(next)?;
    let mut found: Vec<String> = Vec::new();
    loop {
        let last = found.last().map_or("", String::as_str);
        match select.query_row([last], |row| row.get(0)).optional()? {
            Some(next) => found.push(next),
            None => return Ok(found),
        }
    }
}

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("unreadable {what}"))
}

pub(super) fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Invalid(e.to_string()))
}

/// A count or size as SQLite keeps it.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
