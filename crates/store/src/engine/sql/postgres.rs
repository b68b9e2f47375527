//! A connection to PostgreSQL, asked one thing after another.
//!
//! The store's threads wait for what they ask, as they do for SQLite; each connection has a small runtime of its own, so that
//! no word goes from thread to thread.

use std::cell::{Cell as StdCell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Row};

use super::dialect;
use super::{Error, Params, Place};
use crate::StoreError;
use crate::database::Database;

/// How long one waits for any answer before the connection counts as lost. Searches have a shorter time of their own.
const ANSWER: Duration = Duration::from_secs(30);

/// How many statements a connection keeps ready: more than the store has, filters aside.
const STATEMENTS: usize = 512;

/// A connection.
pub(in crate::engine) struct Session {
    /// `None` when it was given up.
    runtime: RefCell<Option<Runtime>>,
    client: Client,
    statements: RefCell<HashMap<String, Arc<Prepared>>>,
    /// A statement failed, and what follows in its transaction would be carried out by nobody.
    failed: StdCell<bool>,
}

/// A statement that the server knows.
pub(in crate::engine) struct Prepared {
    statement: tokio_postgres::Statement,
    names: Vec<String>,
}

impl Session {
    /// Connects.
    pub(in crate::engine) fn connect(database: &Database) -> Result<Session, Error> {
        let lost = |reason: &dyn std::fmt::Display| Error::Lost(reason.to_string());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| lost(&e))?;
        let (config, tls) = (database.config(), database.tls().map_err(|e| lost(&e))?);
        let client = runtime.block_on(async {
            let (client, connection) = config.connect(tls).await.map_err(|error| Error::Lost(told(&error)))?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(error = told(&error), "a connection to the database ended");
                }
            });
            Ok::<_, Error>(client)
        })?;
        Ok(Session {
            runtime: RefCell::new(Some(runtime)),
            client,
            statements: RefCell::default(),
            failed: StdCell::new(false),
        })
    }

    /// Whether nothing can be asked any more.
    pub(in crate::engine) fn is_lost(&self) -> bool {
        self.runtime.borrow().is_none() || self.client.is_closed()
    }

    /// Whether a statement failed since the last [`Session::begins`].
    pub(in crate::engine) fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// Nothing is to be asked here any more. The server hears of it, and takes back what is not committed.
    pub(in crate::engine) fn give_up(&self) {
        // It may be one of the server's own threads, where one must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// A transaction begins, or what failed in it was rolled back.
    pub(in crate::engine) fn begins(&self) {
        self.failed.set(false);
    }

    pub(super) fn prepare(&self, sql: &str) -> Result<Arc<Prepared>, Error> {
        if let Some(known) = self.statements.borrow().get(sql) {
            return Ok(known.clone());
        }
        let dialect::Spoken { text, names } = dialect::postgres(sql);
        let statement = self.wait(self.client.prepare(&text))?;
        let prepared = Arc::new(Prepared { statement, names });
        let mut statements = self.statements.borrow_mut();
        // Filters are of many forms, and the server remembers each.
        if statements.len() >= STATEMENTS {
            statements.clear();
        }
        statements.insert(sql.to_owned(), prepared.clone());
        Ok(prepared)
    }

    pub(super) fn execute(&self, prepared: &Prepared, params: &impl Params) -> Result<usize, Error> {
        let values = prepared.values(params)?;
        let changed = self.wait(self.client.execute_raw(&prepared.statement, values))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(super) fn query(&self, prepared: &Prepared, params: &impl Params) -> Result<Vec<Row>, Error> {
        let values = prepared.values(params)?;
        self.wait(self.client.query(&prepared.statement, &as_dyn(&values)))
    }

    pub(in crate::engine) fn execute_batch(&self, sql: &str) -> Result<(), Error> {
        self.wait(self.client.batch_execute(sql))
    }

    fn wait<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Error> {
        let answered = match &*self.runtime.borrow() {
            Some(runtime) => runtime.block_on(async { tokio::time::timeout(ANSWER, answer).await }),
            None => return Err(Error::Lost("it was closed".to_owned())),
        };
        let Ok(answer) = answered else {
            self.give_up();
            return Err(Error::Lost(format!("no answer for {} seconds", ANSWER.as_secs())));
        };
        Ok(answer.inspect_err(|_| self.failed.set(true))?)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.give_up();
    }
}

fn as_dyn(values: &[Bound]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as _).collect()
}

impl Prepared {
    pub(super) fn names(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    fn values(&self, params: &impl Params) -> Result<Vec<Bound>, Error> {
        let wanted = self.statement.params().len();
        let mut values: Vec<Option<Bound>> = (0..wanted).map(|_| None).collect();
        let mut bound = 0;
        params.bind(&mut |place, value| {
            let index = match place {
                Place::Number(number) => Some(number - 1),
                Place::Name(name) => self.names.iter().position(|known| known == name),
            };
            let slot = index.and_then(|index| values.get_mut(index));
            // A name that the statement does not have, and a value too many.
            *slot.ok_or(rusqlite::Error::InvalidParameterCount(bound + 1, wanted))? = Some(Bound::of(value)?);
            bound += 1;
            Ok(())
        })?;
        let all: Option<Vec<Bound>> = values.into_iter().collect();
        Ok(all.ok_or(rusqlite::Error::InvalidParameterCount(bound, wanted))?)
    }
}

/// A value on its way to the server, which says what it should be.
#[derive(Debug)]
struct Bound(Value);

impl Bound {
    fn of(value: &dyn rusqlite::ToSql) -> Result<Bound, Error> {
        Ok(Bound(match value.to_sql()? {
            ToSqlOutput::Owned(value) => value,
            ToSqlOutput::Borrowed(value) => value.try_into()?,
            other => {
                let text = format!("{other:?} is no value");
                return Err(rusqlite::Error::ToSqlConversionFailure(text.into()).into());
            }
        }))
    }
}

impl ToSql for Bound {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (&self.0, kind) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Integer(value), &Type::BOOL) => (*value != 0).to_sql(kind, out),
            (Value::Integer(value), &Type::INT4) => i32::try_from(*value)?.to_sql(kind, out),
            (Value::Integer(value), &Type::FLOAT8) => (*value as f64).to_sql(kind, out),
            (Value::Integer(value), &Type::TEXT) => value.to_string().to_sql(kind, out),
            (Value::Integer(value), _) => value.to_sql(kind, out),
            (Value::Real(value), _) => value.to_sql(kind, out),
            // It keeps no such sign in a text.
            (Value::Text(value), _) if value.contains('\0') => value.replace('\0', "\u{fffd}").to_sql(kind, out),
            (Value::Text(value), _) => value.to_sql(kind, out),
            (Value::Blob(value), _) => value.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A value from the server, as one of SQLite's kinds.
pub(super) struct Cell<'a>(pub(super) ValueRef<'a>);

impl<'a> FromSql<'a> for Cell<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Cell(match *kind {
            Type::INT8 => ValueRef::Integer(i64::from_sql(kind, raw)?),
            Type::INT4 => ValueRef::Integer(i32::from_sql(kind, raw)?.into()),
            Type::BOOL => ValueRef::Integer(bool::from_sql(kind, raw)?.into()),
            Type::NUMERIC => ValueRef::Integer(whole(raw).ok_or("a number is none of ours")?),
            Type::FLOAT8 => ValueRef::Real(f64::from_sql(kind, raw)?),
            Type::BYTEA => ValueRef::Blob(raw),
            Type::TEXT | Type::VARCHAR | Type::NAME | Type::UNKNOWN => ValueRef::Text(raw),
            _ => return Err(format!("a column is of the kind {kind}").into()),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Cell(ValueRef::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A sum, which the server makes of a kind without end: its digits by four, the first of them worth 10000 to the power of
/// the second field.
fn whole(raw: &[u8]) -> Option<i64> {
    let field = |n: usize| Some(i16::from_be_bytes(raw.get(2 * n..2 * n + 2)?.try_into().ok()?));
    let (digits, weight, sign) = (field(0)?, field(1)?, field(2)?);
    let mut number: i64 = 0;
    for place in 0..=weight {
        let digit = if place < digits { field(4 + usize::try_from(place).ok()?)? } else { 0 };
        number = number.checked_mul(10_000)?.checked_add(digit.into())?;
    }
    Some(if sign == 0 { number } else { -number })
}

/// What the server said, rather than that it said something.
pub(super) fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// What an error means to a caller.
pub(super) fn meaning(error: &tokio_postgres::Error) -> StoreError {
    let text = told(error);
    match error.code() {
        Some(code) if *code == SqlState::QUERY_CANCELED => StoreError::TooSlow,
        Some(code) if *code == SqlState::PROGRAM_LIMIT_EXCEEDED => {
            StoreError::Invalid("larger than the store can keep".to_owned())
        }
        Some(code) if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
            StoreError::Damaged(text)
        }
        Some(code) if is_last_word(code) => StoreError::Unreachable(text),
        None if error.is_closed() || is_of_the_way(error) => StoreError::Unreachable(text),
        _ => StoreError::Unavailable(text),
    }
}

/// Whether the server ends the connection with that, as one does that is stopped or restarted.
pub(in crate::engine) fn is_last_word(code: &SqlState) -> bool {
    const LAST: [SqlState; 6] = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::CONNECTION_FAILURE,
        SqlState::CONNECTION_EXCEPTION,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    LAST.contains(code)
}

/// Whether it is one of the way to the server rather than of what was asked.
fn is_of_the_way(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_whole_numbers() {
        let numeric = |fields: &[i16]| fields.iter().flat_map(|field| field.to_be_bytes()).collect::<Vec<u8>>();
        for (fields, number) in [
            (&[0, 0, 0, 0][..], 0),
            (&[1, 0, 0, 0, 42], 42),
            (&[2, 1, 0, 0, 12, 3456], 123_456),
            (&[1, 1, 0, 0, 3], 30_000),
            (&[1, 0, 0x4000, 0, 7], -7),
        ] {
            assert_eq!(whole(&numeric(fields)), Some(number), "{fields:?}");
        }
        assert_eq!(whole(&[0, 1]), None);
    }
}
