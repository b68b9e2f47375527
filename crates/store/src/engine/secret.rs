//! Keys that this installation makes for itself.

use rusqlite::params;

use super::Engine;
use crate::StoreError;

pub(super) const TABLES: &str = "
CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

const MAKE: &str = "INSERT INTO secret (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const SELECT: &str = "SELECT value FROM secret WHERE name = ?1";

impl Engine {
    pub(crate) async fn secret(&self, name: &'static str) -> Result<[u8; 32], StoreError> {
        self.writer
            .run(0, move |writing| {
                let value = rand::random::<[u8; 32]>();
                writing.connection.prepare_cached(MAKE)?.execute(params![name, &value[..]])?;
                Ok(writing.connection.prepare_cached(SELECT)?.query_row([name], |row| row.get(0))?)
            })
            .await
    }
}
