//! `POST /v3/{domain}/{list}/import`: a list in a file of comma-separated values (RFC 4180) with a header line.

use axum::body::Bytes;
use serde_json::{Value, json};
use smtp::Domain;
use store::suppression::{Suppression, SuppressionList};
use store::{Store, Timestamp};

use super::entry::Given;
use crate::api::http::error::ApiError;
use crate::api::http::form::Form;
use crate::api::limits::{IMPORT_ERRORS_TOLD, SUPPRESSIONS_AT_ONCE};

/// What became of the rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Imported {
    added: usize,
    rejected: usize,
    /// Line and reason of the first ones that were rejected.
    errors: Vec<(u64, String)>,
}

impl Imported {
    /// The answer, Mailgun's text first.
    pub(super) fn json(&self) -> Value {
        let errors: Vec<_> =
            self.errors.iter().map(|(line, error)| json!({ "line": line, "message": error })).collect();
        json!({
            "message": "file uploaded successfully for processing. standby...",
            "added": self.added,
            "rejected": self.rejected,
            "errors": errors,
        })
    }

    fn reject(&mut self, line: u64, why: String) {
        self.rejected += 1;
        if self.errors.len() < IMPORT_ERRORS_TOLD {
            self.errors.push((line, why));
        }
    }
}

/// The file of the form.
pub(super) fn file(form: &Form) -> Result<Bytes, ApiError> {
    let field = form.fields.iter().find(|field| field.name == "file");
    let field = field.or_else(|| form.fields.iter().find(|field| field.file.is_some()));
    field.map(|field| field.content.clone()).ok_or_else(|| ApiError::bad_request("file parameter is missing"))
}

/// Puts all rows that can be read on the list, a few at a time, and tells of the others.
pub(super) async fn import(
    store: &Store,
    domain: &Domain,
    list: SuppressionList,
    file: Bytes,
) -> Result<Imported, ApiError> {
    let mut rows = Rows::new(file, list)?;
    let mut imported = Imported::default();
    loop {
        // Reading a part takes milliseconds; the store's turn lies between one and the next.
        let entries = rows.some(&mut imported);
        if entries.is_empty() {
            return Ok(imported);
        }
        let count = entries.len();
        store.suppress(domain, list, entries).await?;
        imported.added += count;
    }
}

/// The rows of a file.
struct Rows {
    reader: csv::Reader<std::io::Cursor<Bytes>>,
    file: Bytes,
    columns: Vec<String>,
    list: SuppressionList,
    now: Timestamp,
}

impl Rows {
    fn new(file: Bytes, list: SuppressionList) -> Result<Rows, ApiError> {
        // Spreadsheets put a byte order mark first.
        let file = if file.starts_with(b"\xef\xbb\xbf") { file.slice(3..) } else { file };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(std::io::Cursor::new(file.clone()));
        let bad = |why: &str| ApiError::bad_request("while reading csv header").because(why);
        let header = reader.headers().map_err(|_| bad("the first line is not valid UTF-8"))?;
        let columns: Vec<String> = header.iter().map(|name| name.trim().to_lowercase()).collect();
        let wanted = |name: &String| name == "address" || (list == SuppressionList::Allowlist && name == "domain");
        if !columns.iter().any(wanted) {
            return Err(bad("there is no column 'address'"));
        }
        Ok(Rows { reader, file, columns, list, now: Timestamp::now() })
    }

    /// The next good rows; none at the end of the file.
    fn some(&mut self, imported: &mut Imported) -> Vec<Suppression> {
        let mut entries = Vec::new();
        let mut record = csv::ByteRecord::new();
        while entries.len() < SUPPRESSIONS_AT_ONCE {
            match self.reader.read_byte_record(&mut record) {
                Ok(false) => break,
                Ok(true) => match self.entry(&record) {
                    Ok(entry) => entries.push(entry),
                    Err(why) => imported.reject(self.line(record.position()), why),
                },
                Err(error) => {
                    imported.reject(self.line(error.position()), error.to_string());
                    break;
                }
            }
        }
        entries
    }

    /// The line that a row stands on. The reader's own number is of what follows the row before: the LF of a CRLF, empty
    /// lines.
    fn line(&self, position: Option<&csv::Position>) -> u64 {
        let Some(position) = position else { return 0 };
        let rest = self.file.get(position.byte() as usize..).unwrap_or_default();
        let between = rest.iter().take_while(|octet| matches!(octet, b'\r' | b'\n'));
        position.line() + between.filter(|octet| **octet == b'\n').count() as u64
    }

    fn entry(&self, record: &csv::ByteRecord) -> Result<Suppression, String> {
        let mut given = Given::default();
        for (column, cell) in self.columns.iter().zip(record) {
            let cell = std::str::from_utf8(cell).map_err(|_| format!("'{column}' is not valid UTF-8"))?;
            // Names are lower case here, as they came from a header.
            given.take_cell(if column == "createdat" { "created_at" } else { column }, cell)?;
        }
        given.entry(self.list, self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: SuppressionList, file: &'static str) -> (Vec<Suppression>, Imported) {
        let mut imported = Imported::default();
        let entries = Rows::new(Bytes::from_static(file.as_bytes()), list).unwrap().some(&mut imported);
        (entries, imported)
    }

    #[test]
    fn good_rows_are_taken_and_bad_ones_told() {
        let file = "\u{feff}Address,Tags,created_at\r\na@x.test,\"news, offers\",\r\nnobody,,\nb@x.test,\"[\"\"n\"\"]\",\
            \"Thu, 13 Oct 2011 18:02:00 GMT\"\n\nc@x.test\nd@x.test,,yesterday\n";
        let (entries, imported) = read(SuppressionList::Unsubscribes, file);
        let told: Vec<_> = entries.iter().map(|entry| (entry.subject.as_str(), entry.tags.join("|"))).collect();
        let expected = [("a@x.test", "news|offers"), ("b@x.test", "n"), ("c@x.test", "")];
        assert_eq!(told, expected.map(|(address, tags)| (address, tags.to_owned())));
        assert_eq!(entries[1].created_at.as_micros(), 1_318_528_920_000_000);
        assert_eq!(imported.rejected, 2);
        assert_eq!(imported.errors[0], (3, "'address' is not a valid address: there is no '@'".to_owned()));
        assert!(imported.errors[1].0 == 7 && imported.errors[1].1.starts_with("'created_at'"), "{imported:?}");
    }

    #[test]
    fn a_file_needs_a_header_that_names_its_column() {
        for (list, file, good) in [
            (SuppressionList::Bounces, "address,code,error\n", true),
            (SuppressionList::Bounces, "a@x.test,550\n", false),
            (SuppressionList::Bounces, "domain\n", false),
            (SuppressionList::Allowlist, "domain\nx.test\n", true),
            (SuppressionList::Bounces, "", false),
        ] {
            assert_eq!(Rows::new(Bytes::from_static(file.as_bytes()), list).is_ok(), good, "{file}");
        }
    }
}
