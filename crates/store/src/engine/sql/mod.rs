//! One way to speak SQL with two databases: SQLite in this process, and PostgreSQL beyond a socket.
//!
//! Each statement is written once, in words that both understand or that [`dialect`] puts into PostgreSQL's. Values travel
//! as those of SQLite, five kinds of them; whoever reads a column says what it should be, and the rules are the same for both.

pub(super) mod dialect;
pub(super) mod postgres;

use std::sync::Arc;

use rusqlite::types::{FromSql, ToSql, Value};
use rusqlite::{CachedStatement, ErrorCode, ffi};
use tokio_postgres::error::SqlState;

use self::postgres::{Cell, Prepared, Session};
use crate::StoreError;

/// A connection to either.
pub(super) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(Session),
}

/// It may know passwords.
impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.sqlite().is_some() { "Connection(SQLite)" } else { "Connection(PostgreSQL)" })
    }
}

/// Why a statement was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("{}", postgres::told(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// There is no connection to the database any more, or none yet.
    #[error("no connection to the database: {0}")]
    Lost(String),
    /// There was no row where one was asked for.
    #[error("no row")]
    NoRow,
}

impl From<rusqlite::types::FromSqlError> for Error {
    fn from(error: rusqlite::types::FromSqlError) -> Error {
        let kind = rusqlite::types::Type::Null;
        Error::Sqlite(rusqlite::Error::FromSqlConversionFailure(0, kind, Box::new(error)))
    }
}

impl Error {
    /// Whether what should be added is there already.
    pub(super) fn is_duplicate(&self) -> bool {
        match self {
            Error::Sqlite(error) => error.sqlite_error().is_some_and(|error| {
                matches!(error.extended_code, ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE)
            }),
            Error::Postgres(error) => error.code() == Some(&SqlState::UNIQUE_VIOLATION),
            _ => false,
        }
    }

    /// Whether what it would belong to is not there.
    pub(super) fn has_no_parent(&self) -> bool {
        match self {
            Error::Sqlite(error) => {
                error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
            }
            Error::Postgres(error) => error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION),
            _ => false,
        }
    }

    /// Whether there is no room on the disk.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Error::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull))
    }
}

/// What an error means to a caller.
impl From<Error> for StoreError {
    fn from(error: Error) -> StoreError {
        match error {
            Error::Sqlite(error) => error.into(),
            Error::Postgres(error) => postgres::meaning(&error),
            Error::Lost(_) => StoreError::Unreachable(error.to_string()),
            Error::NoRow => StoreError::Damaged(error.to_string()),
        }
    }
}

/// `None` in the place of [`Error::NoRow`].
pub(super) trait OptionalExtension<T> {
    fn optional(self) -> Result<Option<T>, Error>;
}

impl<T> OptionalExtension<T> for Result<T, Error> {
    fn optional(self) -> Result<Option<T>, Error> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(Error::NoRow) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Which placeholder: the first is 1.
pub(super) enum Place<'a> {
    Number(usize),
    Name(&'a str),
}

/// What the placeholders of a statement stand for.
pub(super) trait Params {
    fn bind(&self, to: &mut dyn FnMut(Place<'_>, &dyn ToSql) -> Result<(), Error>) -> Result<(), Error>;
}

impl Params for &[&dyn ToSql] {
    fn bind(&self, to: &mut dyn FnMut(Place<'_>, &dyn ToSql) -> Result<(), Error>) -> Result<(), Error> {
        self.iter().enumerate().try_for_each(|(number, value)| to(Place::Number(number + 1), *value))
    }
}

impl<T: ToSql, const N: usize> Params for [T; N] {
    fn bind(&self, to: &mut dyn FnMut(Place<'_>, &dyn ToSql) -> Result<(), Error>) -> Result<(), Error> {
        self.iter().enumerate().try_for_each(|(number, value)| to(Place::Number(number + 1), value))
    }
}

impl Params for Vec<Value> {
    fn bind(&self, to: &mut dyn FnMut(Place<'_>, &dyn ToSql) -> Result<(), Error>) -> Result<(), Error> {
        self.iter().enumerate().try_for_each(|(number, value)| to(Place::Number(number + 1), value))
    }
}

impl Params for &[(&str, &dyn ToSql)] {
    fn bind(&self, to: &mut dyn FnMut(Place<'_>, &dyn ToSql) -> Result<(), Error>) -> Result<(), Error> {
        self.iter().try_for_each(|(name, value)| to(Place::Name(name), *value))
    }
}

/// What `[]` would be, if the type of its values could be told.
pub(super) const NONE: &[&dyn ToSql] = &[];

impl Connection {
    /// A statement, made ready once for each connection.
    pub(super) fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>, Error> {
        match self {
            Connection::Sqlite(connection) => Ok(Statement::Sqlite(connection.prepare_cached(sql)?)),
            Connection::Postgres(session) => Ok(Statement::Postgres(session, session.prepare(sql)?)),
        }
    }

    /// Carries out an `INSERT` into a table with an `id`, and says which one the row got.
    pub(super) fn insert(&self, sql: &str, params: impl Params) -> Result<i64, Error> {
        match self {
            Connection::Sqlite(connection) => {
                self.prepare_cached(sql)?.execute(params)?;
                Ok(connection.last_insert_rowid())
            }
            Connection::Postgres(_) => self.query_row(&format!("{sql} RETURNING id"), params, |row| row.get(0)),
        }
    }

    /// The first row of what a statement finds.
    pub(super) fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(Row<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.prepare_cached(sql)?.query_row(params, read)
    }

    #[cfg(test)]
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, Error> {
        self.prepare_cached(sql)?.execute(params)
    }

    /// Several statements, without values.
    pub(super) fn execute_batch(&self, sql: &str) -> Result<(), Error> {
        match self {
            Connection::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Connection::Postgres(session) => session.execute_batch(&dialect::postgres(sql).text),
        }
    }

    /// SQLite itself, for what is asked of it alone.
    pub(super) fn sqlite(&self) -> Option<&rusqlite::Connection> {
        match self {
            Connection::Sqlite(connection) => Some(connection),
            Connection::Postgres(_) => None,
        }
    }

    /// PostgreSQL itself.
    pub(super) fn postgres(&self) -> Option<&Session> {
        match self {
            Connection::Sqlite(_) => None,
            Connection::Postgres(session) => Some(session),
        }
    }
}

/// A statement that is ready.
pub(super) enum Statement<'a> {
    Sqlite(CachedStatement<'a>),
    Postgres(&'a Session, Arc<Prepared>),
}

impl Statement<'_> {
    /// Whether it has a placeholder of that name.
    pub(super) fn names(&self, name: &str) -> bool {
        match self {
            Statement::Sqlite(statement) => statement.parameter_index(name).is_ok_and(|index| index.is_some()),
            Statement::Postgres(_, prepared) => prepared.names(name),
        }
    }

    /// Carries it out, and says how many rows it changed.
    pub(super) fn execute(&mut self, params: impl Params) -> Result<usize, Error> {
        match self {
            Statement::Sqlite(statement) => {
                bind(statement, &params)?;
                Ok(statement.raw_execute()?)
            }
            Statement::Postgres(session, prepared) => session.execute(prepared, &params),
        }
    }

    /// The rows that it finds.
    pub(super) fn query(&mut self, params: impl Params) -> Result<Rows<'_>, Error> {
        match self {
            Statement::Sqlite(statement) => {
                bind(statement, &params)?;
                Ok(Rows::Sqlite(statement.raw_query()))
            }
            Statement::Postgres(session, prepared) => {
                Ok(Rows::Postgres { rows: session.query(prepared, &params)?, next: 0 })
            }
        }
    }

    /// What `read` makes of the first row.
    pub(super) fn query_row<T>(
        &mut self,
        params: impl Params,
        read: impl FnOnce(Row<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut rows = self.query(params)?;
        read(rows.next()?.ok_or(Error::NoRow)?)
    }

    /// What `read` makes of each row.
    pub(super) fn query_map<T>(
        &mut self,
        params: impl Params,
        mut read: impl FnMut(Row<'_>) -> Result<T, Error>,
    ) -> Result<impl Iterator<Item = Result<T, Error>>, Error> {
        let mut rows = self.query(params)?;
        Ok(std::iter::from_fn(move || rows.next().transpose().map(|row| row.and_then(&mut read))))
    }

    /// Whether it finds a row.
    pub(super) fn exists(&mut self, params: impl Params) -> Result<bool, Error> {
        Ok(self.query(params)?.next()?.is_some())
    }
}

fn bind(statement: &mut CachedStatement<'_>, params: &impl Params) -> Result<(), Error> {
    let mut bound = 0;
    params.bind(&mut |place, value| {
        bound += 1;
        let number = match place {
            Place::Number(number) => number,
            Place::Name(name) => statement
                .parameter_index(name)?
                .ok_or_else(|| rusqlite::Error::InvalidParameterName(name.to_owned()))?,
        };
        Ok(statement.raw_bind_parameter(number, value)?)
    })?;
    let wanted = statement.parameter_count();
    if bound == wanted { Ok(()) } else { Err(rusqlite::Error::InvalidParameterCount(bound, wanted).into()) }
}

/// Rows that a statement found.
pub(super) enum Rows<'a> {
    Sqlite(rusqlite::Rows<'a>),
    Postgres { rows: Vec<tokio_postgres::Row>, next: usize },
}

impl Rows<'_> {
    /// The next one.
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>, Error> {
        match self {
            Rows::Sqlite(rows) => Ok(rows.next()?.map(Row::Sqlite)),
            Rows::Postgres { rows, next } => {
                *next += 1;
                Ok(rows.get(*next - 1).map(Row::Postgres))
            }
        }
    }
}

/// A row.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

/// Which column of a row.
pub(super) trait Column: rusqlite::RowIndex + tokio_postgres::row::RowIndex + std::fmt::Display {}
impl Column for usize {}
impl Column for &str {}

impl Row<'_> {
    /// The value of a column.
    pub(super) fn get<C: Column, T: FromSql>(self, column: C) -> Result<T, Error> {
        match self {
            Row::Sqlite(row) => Ok(row.get(column)?),
            Row::Postgres(row) => Ok(T::column_result(row.try_get::<_, Cell<'_>>(column)?.0)?),
        }
    }
}
