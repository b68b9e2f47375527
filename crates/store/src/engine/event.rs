//! Events: written with what they tell of, read a page at a time.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{named_params, params};

use super::filter::{access_path, condition, conditions};
use super::message::{random_text, summary};
use super::posture::Recorded;
use super::row::{
    damaged, duration, from_json, get, micros, number, optional_ip, optional_word, parsed, time, to_json, word,
};
use super::sql::{Connection, Row};
use super::writer::Writing;
use super::{Engine, copy, row, tracking};
use crate::{
    AttemptRecord, ConnectionRecord, Direction, Event, EventCount, EventKind, EventQuery, FailureReason,
    IndividualCopy, MessageId, MessageSummary, NewEvent, Severity, StoreError, Timestamp,
};

const INSERT: &str = "
    INSERT INTO event (at, key, message, domain, recipient, kind, severity, reason, attempt_no, code, enhanced_code,
        text, description, session, retry_after, utf8, mx_host, tls, certificate_verified, sending_ip, details,
        last_code, last_text)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)";

const INSERT_DOWNGRADE: &str = "
    INSERT INTO event (at, key, message, domain, recipient, kind, mx_host, details)
    VALUES (:at, :key, :message, :domain, :recipient, :kind, :mx_host, :details)";

const AT: &str = "SELECT * FROM event WHERE at = ?1";

/// Most conditions of a filter. SQLite refuses an expression that is deeper than 1000.
const CONDITIONS: usize = 500;

/// Writes an event in the transaction that makes it true.
pub(super) fn insert(
    writing: &Writing<'_>,
    now: Timestamp,
    message: MessageId,
    domain: &str,
    recipient: &str,
    event: &NewEvent,
) -> Result<Timestamp, StoreError> {
    let attempt = event.attempt.as_ref();
    let connection = attempt.and_then(|attempt| attempt.connection.as_ref());
    let at = writing.event_time(now)?;
    writing.counts.add(writing.connection, at, message, domain, recipient, event)?;
    // By number: to find 23 parameters by their names takes longer than some of what is written.
    writing.connection.prepare_cached(INSERT)?.execute(params![
        at.as_micros(),
        random_text(),
        message.0,
        domain,
        recipient,
        event.kind.as_str(),
        event.severity.map(Severity::as_str),
        event.reason.map(FailureReason::as_str),
        attempt.map(|a| a.attempt_no),
        attempt.map(|a| a.code),
        attempt.and_then(|a| a.enhanced_code).map(|code| code.to_string()),
        attempt.map(|a| &a.message),
        attempt.map(|a| &a.description),
        attempt.map(|a| micros(a.session)),
        attempt.and_then(|a| a.retry_after).map(micros),
        attempt.map(|a| a.utf8),
        connection.map(|c| &c.mx_host),
        connection.map(|c| c.tls),
        connection.map(|c| c.certificate_verified),
        connection.and_then(|c| c.sending_ip).map(|ip| ip.to_string()),
        attempt.map(|a| to_json(&a.details)).transpose()?,
        attempt.and_then(|a| a.last_code),
        attempt.and_then(|a| a.last_message.as_ref()),
    ])?;
    Ok(at)
}

/// Writes the event of a downgrade, in the transaction of the outcome that showed it.
pub(super) fn insert_downgrade(
    writing: &Writing<'_>,
    now: Timestamp,
    met_by: &Recorded,
    mx_host: &str,
    story: &serde_json::Value,
) -> Result<(), StoreError> {
    writing.connection.prepare_cached(INSERT_DOWNGRADE)?.execute(named_params! {
        ":at": writing.event_time(now)?.as_micros(),
        ":key": random_text(),
        ":message": met_by.message.0,
        ":domain": met_by.domain,
        ":recipient": met_by.address,
        ":kind": EventKind::TlsDowngraded.as_str(),
        ":mx_host": mx_host,
        ":details": to_json(story)?,
    })?;
    Ok(())
}

impl Engine {
    pub(crate) async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError> {
        if conditions(&query.filter) > CONDITIONS {
            return Err(StoreError::Invalid(format!("a filter may have {CONDITIONS} conditions")));
        }
        self.readers.run(move |connection| page(connection, &query)).await
    }

    pub(crate) async fn count_events(&self, query: EventQuery) -> Result<Vec<EventCount>, StoreError> {
        if conditions(&query.filter) > CONDITIONS {
            return Err(StoreError::Invalid(format!("a filter may have {CONDITIONS} conditions")));
        }
        self.readers.run(move |connection| counted(connection, &query)).await
    }
}

fn counted(connection: &Connection, query: &EventQuery) -> Result<Vec<EventCount>, StoreError> {
    let (from, values) = matching(query);
    let sql = format!("SELECT kind, severity, count(*) AS events {from} GROUP BY kind, severity");
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(values)?;
    let mut counts = Vec::new();
    while let Some(row) = rows.next()? {
        counts.push(EventCount {
            kind: word(row, "kind", EventKind::from_word)?,
            severity: optional_word(row, "severity", Severity::from_word)?,
            events: get::<i64>(row, "events")?.unsigned_abs(),
        });
    }
    Ok(counts)
}

fn page(connection: &Connection, query: &EventQuery) -> Result<Vec<Event>, StoreError> {
    let (sql, values) = statement(query);
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(values)?;
    let mut messages: HashMap<i64, Arc<MessageSummary>> = HashMap::new();
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        match readable(connection, row, &mut messages) {
            Ok(event) => events.push(event),
            // One row that is damaged must not hide all others.
            Err(StoreError::Damaged(what)) => {
                tracing::error!(at = get::<i64>(row, "at")?, what, "the store is damaged: an event is left out");
            }
            Err(other) => return Err(other),
        }
    }
    Ok(events)
}

/// The event of that time; `None` when there is none, or none that can be read.
pub(super) fn at(connection: &Connection, at: Timestamp) -> Result<Option<Event>, StoreError> {
    let mut select = connection.prepare_cached(AT)?;
    let mut rows = select.query([at.as_micros()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    match readable(connection, row, &mut HashMap::new()) {
        Ok(event) => Ok(Some(event)),
        Err(StoreError::Damaged(what)) => {
            tracing::error!(at = at.as_micros(), what, "the store is damaged: an event is left out");
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

fn readable(
    connection: &Connection,
    row: Row<'_>,
    messages: &mut HashMap<i64, Arc<MessageSummary>>,
) -> Result<Event, StoreError> {
    let id: i64 = get(row, "message")?;
    let message = match messages.get(&id) {
        Some(known) => known.clone(),
        None => {
            let read = summary(connection, MessageId(id))?.ok_or_else(|| damaged("message"))?;
            messages.entry(id).or_insert(Arc::new(read)).clone()
        }
    };
    let copy = if message.is_individual {
        copy::of_address(connection, MessageId(id), &get::<String>(row, "recipient")?)?
    } else {
        None
    };
    event(row, message, copy)
}

/// The statement of a query.
pub(super) fn statement(query: &EventQuery) -> (String, Vec<Value>) {
    let (from, mut values) = matching(query);
    values.push(Value::Integer(number(query.limit as u64)));
    let order = match query.direction {
        Direction::Ascending => "ASC",
        Direction::Descending => "DESC",
    };
    (format!("SELECT event.* {from} ORDER BY event.at {order} LIMIT ?"), values)
}

/// The events of a query. Only words of our own become part of the text; whatever a caller names is bound.
pub(super) fn matching(query: &EventQuery) -> (String, Vec<Value>) {
    let mut values = Vec::new();
    let domain = match &query.domain {
        Some(domain) => {
            values.push(Value::Text(domain.as_str().to_owned()));
            "event.domain = ?"
        }
        None => "1 = 1",
    };
    let mut bound = |sql: &str, time: Option<Timestamp>| match time {
        Some(time) => {
            values.push(Value::Integer(time.as_micros()));
            sql.to_owned()
        }
        None => String::new(),
    };
    let begin = bound(" AND event.at >= ?", query.begin);
    let end = bound(" AND event.at < ?", query.end);
    let behind = match query.direction {
        Direction::Ascending => " AND event.at > ?",
        Direction::Descending => " AND event.at < ?",
    };
    let after = bound(behind, query.after.map(|cursor| cursor.timestamp()));
    let condition = condition(&query.filter, &mut values);
    let path = access_path(&query.filter, query.domain.is_some());
    // CROSS JOIN is SQLite's word for "in this order": events first.
    let sql = format!(
        "FROM event {path} CROSS JOIN message ON message.id = event.message
         WHERE {domain}{begin}{end}{after} AND ({condition})"
    );
    (sql, values)
}

fn event(row: Row<'_>, message: Arc<MessageSummary>, copy: Option<IndividualCopy>) -> Result<Event, StoreError> {
    let kind = word(row, "kind", EventKind::from_word)?;
    Ok(Event {
        timestamp: time(row, "at")?,
        key: get(row, "key")?,
        kind,
        severity: optional_word(row, "severity", Severity::from_word)?,
        reason: optional_word(row, "reason", FailureReason::from_word)?,
        recipient: parsed(row, "recipient")?,
        attempt: attempt(row)?,
        downgrade: if kind == EventKind::TlsDowngraded { Some(from_json(row, "details")?) } else { None },
        report: match get::<Option<String>>(row, "bounce")? {
            Some(_) => Some(from_json(row, "bounce")?),
            None => None,
        },
        interaction: tracking::interaction(row, kind)?,
        copy,
        message,
    })
}

fn attempt(row: Row<'_>) -> Result<Option<AttemptRecord>, StoreError> {
    let Some(attempt_no) = get::<Option<u32>>(row, "attempt_no")? else { return Ok(None) };
    let enhanced_code = get::<Option<String>>(row, "enhanced_code")?
        .map(|code| code.parse().map_err(|_| damaged("enhanced_code")))
        .transpose()?;
    Ok(Some(AttemptRecord {
        attempt_no,
        code: get(row, "code")?,
        enhanced_code,
        message: get(row, "text")?,
        description: get(row, "description")?,
        session: duration(get(row, "session")?),
        retry_after: get::<Option<i64>>(row, "retry_after")?.map(row::duration),
        utf8: get(row, "utf8")?,
        connection: connection(row)?,
        details: from_json(row, "details")?,
        last_code: get(row, "last_code")?,
        last_message: get(row, "last_text")?,
    }))
}

fn connection(row: Row<'_>) -> Result<Option<ConnectionRecord>, StoreError> {
    let Some(mx_host) = get::<Option<String>>(row, "mx_host")? else { return Ok(None) };
    Ok(Some(ConnectionRecord {
        mx_host,
        tls: get(row, "tls")?,
        certificate_verified: get(row, "certificate_verified")?,
        sending_ip: optional_ip(row, "sending_ip")?,
    }))
}
