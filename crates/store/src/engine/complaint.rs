//! Complaints: an event, and an entry of the complaints with it.

use rusqlite::params;
use smtp::{Address, Domain};

use super::bounce::{FIND, SET_REPORT};
use super::row::{get, to_json};
use super::writer::Writing;
use super::{Engine, event, suppression};
use crate::complaint::{Complaint, Heard};
use crate::suppression::{Suppression, SuppressionList};
use crate::{EventKind, MessageId, NewEvent, StoreError, Timestamp};

/// Who complained does so once.
pub(super) const TABLES: &str = "
ALTER TABLE recipient ADD COLUMN complained INTEGER NOT NULL DEFAULT 0;
";

const COMPLAIN: &str = "UPDATE recipient SET complained = 1 WHERE id = ?1 AND complained = 0";

impl Engine {
    pub(crate) async fn record_complaint(&self, now: Timestamp, complaint: Complaint) -> Result<Heard, StoreError> {
        let report = to_json(&complaint.report)?;
        self.writer.run_traffic(report.len(), move |writing| record(writing, now, &complaint, &report)).await
    }
}

fn record(writing: &Writing<'_>, now: Timestamp, complaint: &Complaint, report: &str) -> Result<Heard, StoreError> {
    let connection = writing.connection;
    let mut select = connection.prepare_cached(FIND)?;
    let address = complaint.address.as_ref().map(ToString::to_string);
    let mut rows = select.query(params![complaint.transaction.0, complaint.accepted_at, address])?;
    let Some(row) = rows.next()? else { return Ok(Heard::Unknown) };
    if connection.prepare_cached(COMPLAIN)?.execute([get::<i64>(row, "id")?])? == 0 {
        return Ok(Heard::Known);
    }
    let (domain, address): (String, String) = (get(row, "domain")?, get(row, "address")?);
    let event = NewEvent { kind: EventKind::Complained, severity: None, reason: None, attempt: None };
    let at = event::insert(writing, now, MessageId(get(row, "message")?), &domain, &address, &event)?;
    connection.prepare_cached(SET_REPORT)?.execute(params![at.as_micros(), report])?;
    // What cannot be read as a domain and an address was never sent from and to.
    if let (true, Ok(domain), Ok(address)) = (complaint.suppress, domain.parse::<Domain>(), address.parse::<Address>())
    {
        suppression::put(writing, &domain, SuppressionList::Complaints, &Suppression::of(&address, now))?;
    }
    Ok(Heard::Told)
}
