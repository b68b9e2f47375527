//! Individual copies.

use rusqlite::params;

use super::Engine;
use super::row::{from_json, get, to_json};
use super::sql::{Connection, OptionalExtension, Params};
use super::writer::Writing;
use crate::{IndividualCopy, MessageId, NewCopies, NewCopy, RecipientId, StoreError};

/// `copy_plan` makes a message one of individual copies. `expires_at`: not to be tried after it.
pub(super) const TABLES: &str = "
ALTER TABLE message ADD COLUMN copy_plan TEXT;
ALTER TABLE message ADD COLUMN expires_at INTEGER;

-- Beside the recipient, so that the queue does not wade through it. Events know the address, hence the index.
CREATE TABLE copy (
    recipient INTEGER PRIMARY KEY REFERENCES recipient (id) ON DELETE CASCADE,
    message INTEGER NOT NULL,
    address TEXT NOT NULL,
    shown_to TEXT NOT NULL,
    variables TEXT NOT NULL
) STRICT;
CREATE INDEX copy_address ON copy (message, address);
";

const INSERT: &str = "INSERT INTO copy (recipient, message, address, shown_to, variables) VALUES (?1, ?2, ?3, ?4, ?5)";
const OF_RECIPIENT: &str = "SELECT shown_to, variables FROM copy WHERE recipient = ?1";
/// A page of events has hundreds of copies, so long variables are left out.
pub(super) const OF_ADDRESS: &str = "
    SELECT shown_to, CASE WHEN octet_length(variables) <= 16384 THEN variables ELSE '{}' END AS variables
    FROM copy INDEXED BY copy_address
    WHERE message = ?1 AND address = ?2 ORDER BY recipient LIMIT 1";
/// Who wants to make the copy needs all of it.
pub(super) const WHOLE_OF_ADDRESS: &str = "
    SELECT shown_to, variables FROM copy INDEXED BY copy_address
    WHERE message = ?1 AND address = ?2 ORDER BY recipient LIMIT 1";

/// Copies in the form in which they are written.
pub(super) struct Prepared {
    pub(super) plan: String,
    copies: Vec<NewCopy>,
}

impl Prepared {
    pub(super) fn new(copies: NewCopies, recipients: usize) -> Result<Prepared, StoreError> {
        if copies.copies.len() != recipients {
            return Err(StoreError::Invalid("there must be a copy for each recipient".to_owned()));
        }
        Ok(Prepared { plan: to_json(&copies.plan)?, copies: copies.copies })
    }

    /// About how many octets they take in the tables.
    pub(super) fn octets(&self) -> usize {
        self.plan.len() + self.copies.iter().map(|copy| copy.to.len() + copy.variables.len()).sum::<usize>()
    }

    /// Writes the copy of a recipient, who is the one of that number, counted from zero.
    pub(super) fn insert(
        &self,
        writing: &Writing<'_>,
        message: MessageId,
        recipient: i64,
        number: usize,
        address: &str,
    ) -> Result<(), StoreError> {
        let NewCopy { to, variables } = &self.copies[number];
        writing.connection.prepare_cached(INSERT)?.execute(params![recipient, message.0, address, to, variables])?;
        Ok(())
    }
}

impl Engine {
    pub(crate) async fn copy(&self, recipient: RecipientId) -> Result<Option<IndividualCopy>, StoreError> {
        self.readers.run(move |connection| of_recipient(connection, recipient)).await
    }
}

/// What a recipient's own copy is made with.
pub(super) fn of_recipient(
    connection: &Connection,
    recipient: RecipientId,
) -> Result<Option<IndividualCopy>, StoreError> {
    read(connection, OF_RECIPIENT, params![recipient.0])
}

/// The copy that an event of a message is about.
pub(super) fn of_address(
    connection: &Connection,
    message: MessageId,
    address: &str,
) -> Result<Option<IndividualCopy>, StoreError> {
    read(connection, OF_ADDRESS, params![message.0, address])
}

/// What the copy of an address is made with, all of it.
pub(super) fn whole_of_address(
    connection: &Connection,
    message: MessageId,
    address: &str,
) -> Result<Option<IndividualCopy>, StoreError> {
    read(connection, WHOLE_OF_ADDRESS, params![message.0, address])
}

fn read(connection: &Connection, sql: &str, values: impl Params) -> Result<Option<IndividualCopy>, StoreError> {
    let mut select = connection.prepare_cached(sql)?;
    let copy = select.query_row(values, |row| {
        Ok(get(row, "shown_to").and_then(|to| Ok(IndividualCopy { to, variables: from_json(row, "variables")? })))
    });
    copy.optional()?.transpose()
}
