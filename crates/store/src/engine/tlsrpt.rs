//! Reports about TLS: counters, reports on their way, reports received.

use std::time::Duration;

use policy::tlsrpt::{AppliedPolicy, Counted, Day, Failure, Outcome, Report, SessionResult};
use rusqlite::params;
use smtp::Domain;

use super::Engine;
use super::row::{damaged, from_json, get, number, parsed, time, to_json, word};
use super::sql::{Connection, NONE, Row, Rows};
use super::writer::Writing;
use crate::tlsrpt::{
    Kept, NewReceivedTlsReport, NewTlsReport, OutgoingTlsReport, RECEIVED_PER_DAY, ReceivedTlsReport, TlsCount,
    TlsReportId, TlsReportState, Via,
};
use crate::{StoreError, Timestamp};

/// Days are counted from 1970-01-01.
pub(super) const TABLES: &str = "
-- failure: what is told of a failed session; empty for sessions that went well.
CREATE TABLE tls_result (
    day INTEGER NOT NULL,
    destination TEXT NOT NULL,
    policy TEXT NOT NULL,
    failure TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    PRIMARY KEY (day, destination, policy, failure)
) STRICT, WITHOUT ROWID;

-- A report to one place. due_at: when it is tried next; NULL when it is sent or given up.
CREATE TABLE tls_report (
    id INTEGER PRIMARY KEY,
    report_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    destination TEXT NOT NULL,
    place TEXT NOT NULL,
    content BLOB NOT NULL,
    sent INTEGER NOT NULL,
    due_at INTEGER,
    attempts INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    last TEXT NOT NULL
) STRICT;
CREATE INDEX tls_report_due ON tls_report (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX tls_report_age ON tls_report (made_at);

CREATE TABLE tls_report_received (
    id INTEGER PRIMARY KEY,
    domain TEXT NOT NULL,
    organization TEXT NOT NULL,
    report_id TEXT NOT NULL,
    via TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    content TEXT NOT NULL,
    UNIQUE (domain, organization, report_id)
) STRICT;
CREATE INDEX tls_report_received_age ON tls_report_received (received_at);
CREATE INDEX tls_report_received_domain ON tls_report_received (domain, received_at);
";

/// Most different results of one domain and day that are told apart. Failures beyond are counted by their kind alone.
const RESULTS: i64 = 200;
/// Results of one domain and day beyond this are not counted: somebody changes his policies by the minute.
const RESULTS_AT_MOST: i64 = 400;

const ADD: &str = "
    UPDATE tls_result SET sessions = sessions + ?5
    WHERE day = ?1 AND destination = ?2 AND policy = ?3 AND failure = ?4";
const COUNT_RESULTS: &str = "SELECT count(*) FROM tls_result WHERE day = ?1 AND destination = ?2";
const INSERT_RESULT: &str = "
    INSERT INTO tls_result (day, destination, policy, failure, sessions) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (day, destination, policy, failure)
    DO UPDATE SET sessions = tls_result.sessions + excluded.sessions";
const DAYS: &str = "
    SELECT DISTINCT day, destination FROM tls_result WHERE day < ?1 ORDER BY day, destination LIMIT ?2";
const RESULTS_OF: &str = "SELECT policy, failure, sessions FROM tls_result WHERE day = ?1 AND destination = ?2";
const FORGET_RESULTS: &str = "DELETE FROM tls_result WHERE day = ?1 AND destination = ?2";
const FORGET_OLD_RESULTS: &str = "DELETE FROM tls_result WHERE day < ?1";

const INSERT_REPORT: &str = "
    INSERT INTO tls_report (report_id, day, destination, place, content, sent, due_at, attempts, made_at, last)
    VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, 0, ?6, '')";
const DUE: &str = "SELECT * FROM tls_report WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2";
const CONTENT: &str = "SELECT content FROM tls_report WHERE id = ?1";
const SET_REPORT: &str = "
    UPDATE tls_report SET sent = ?2, due_at = ?3, last = ?4, attempts = attempts + 1 WHERE id = ?1 AND due_at IS NOT NULL";
const LATEST: &str = "SELECT * FROM tls_report ORDER BY made_at DESC, id DESC LIMIT ?1 OFFSET ?2";
const COUNT_REPORTS: &str = "SELECT count(*) FROM tls_report";
const FORGET_OLD_REPORTS: &str = "DELETE FROM tls_report WHERE made_at < ?1 AND due_at IS NULL";

const COUNT_RECEIVED_SINCE: &str = "SELECT count(*) FROM tls_report_received WHERE domain = ?1 AND received_at > ?2";
const INSERT_RECEIVED: &str = "
    INSERT INTO tls_report_received (domain, organization, report_id, via, received_at, content)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const IS_KNOWN: &str = "
    SELECT EXISTS (SELECT 1 FROM tls_report_received WHERE domain = ?1 AND organization = ?2 AND report_id = ?3)";
const COUNT_RECEIVED: &str = "SELECT count(*) FROM tls_report_received WHERE domain = ?1 OR ?1 IS NULL";
const RECEIVED: &str = "
    SELECT * FROM tls_report_received WHERE domain = ?1 OR ?1 IS NULL
    ORDER BY received_at DESC, id DESC LIMIT ?2 OFFSET ?3";
const FORGET_OLD_RECEIVED: &str = "DELETE FROM tls_report_received WHERE received_at < ?1";

const ONE_DAY: Duration = Duration::from_secs(24 * 3600);

impl Engine {
    pub(crate) async fn count_tls(&self, counts: Vec<TlsCount>) -> Result<(), StoreError> {
        self.writer.run_traffic(0, move |writing| counts.iter().try_for_each(|count| add(writing, count))).await
    }

    pub(crate) async fn tls_days(&self, before: Day, limit: usize) -> Result<Vec<(Day, Domain)>, StoreError> {
        self.readers
            .run(move |connection| {
                let mut select = connection.prepare_cached(DAYS)?;
                let mut rows = select.query(params![before.number(), number(limit as u64)])?;
                let mut days = Vec::new();
                while let Some(row) = rows.next()? {
                    days.push((Day::from_number(get(row, "day")?), parsed(row, "destination")?));
                }
                Ok(days)
            })
            .await
    }

    pub(crate) async fn tls_results(&self, day: Day, destination: &Domain) -> Result<Vec<Counted>, StoreError> {
        let destination = destination.clone();
        self.readers
            .run(move |connection| {
                let mut select = connection.prepare_cached(RESULTS_OF)?;
                let mut rows = select.query(params![day.number(), destination.as_str()])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(counted(row)?);
                }
                Ok(found)
            })
            .await
    }

    pub(crate) async fn file_tls_report(
        &self,
        day: Day,
        destination: &Domain,
        report: Option<NewTlsReport>,
    ) -> Result<(), StoreError> {
        let destination = destination.clone();
        let octets = report.as_ref().map_or(0, |report| report.content.len() * report.places.len());
        self.writer
            .run(octets, move |writing| {
                for (report, place) in report.iter().flat_map(|report| report.places.iter().map(move |to| (report, to)))
                {
                    writing.connection.prepare_cached(INSERT_REPORT)?.execute(params![
                        report.id,
                        day.number(),
                        destination.as_str(),
                        place.to_string(),
                        report.content,
                        report.now.as_micros()
                    ])?;
                }
                writing
                    .connection
                    .prepare_cached(FORGET_RESULTS)?
                    .execute(params![day.number(), destination.as_str()])?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn due_tls_reports(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<OutgoingTlsReport>, StoreError> {
        self.readers
            .run(move |connection| {
                let mut select = connection.prepare_cached(DUE)?;
                all(select.query(params![now.as_micros(), number(limit as u64)])?, outgoing)
            })
            .await
    }

    pub(crate) async fn tls_report_content(&self, id: TlsReportId) -> Result<Vec<u8>, StoreError> {
        self.readers
            .run(move |connection| Ok(connection.prepare_cached(CONTENT)?.query_row([id.0], |row| row.get(0))?))
            .await
    }

    pub(crate) async fn set_tls_report(
        &self,
        id: TlsReportId,
        state: TlsReportState,
        last: &str,
    ) -> Result<(), StoreError> {
        let last = last.to_owned();
        self.writer
            .run(0, move |writing| {
                let (sent, due_at) = match state {
                    TlsReportState::Waiting(until) => (false, Some(until.as_micros())),
                    TlsReportState::Sent => (true, None),
                    TlsReportState::Failed => (false, None),
                };
                writing.connection.prepare_cached(SET_REPORT)?.execute(params![id.0, sent, due_at, last])?;
                Ok(())
            })
            .await
    }

    pub(crate) async fn tls_reports_sent(
        &self,
        limit: usize,
        skip: usize,
    ) -> Result<(u64, Vec<OutgoingTlsReport>), StoreError> {
        self.readers
            .run(move |connection| {
                let total: i64 = connection.prepare_cached(COUNT_REPORTS)?.query_row(NONE, |row| row.get(0))?;
                let mut select = connection.prepare_cached(LATEST)?;
                let rows = select.query(params![number(limit as u64), number(skip as u64)])?;
                Ok((total.unsigned_abs(), all(rows, outgoing)?))
            })
            .await
    }

    pub(crate) async fn receive_tls_report(&self, new: NewReceivedTlsReport) -> Result<Kept, StoreError> {
        let content = to_json(&new.report)?;
        self.writer.run(content.len(), move |writing| receive(writing.connection, &new, &content)).await
    }

    pub(crate) async fn tls_reports_received(
        &self,
        domain: Option<&Domain>,
        limit: usize,
        skip: usize,
    ) -> Result<(u64, Vec<ReceivedTlsReport>), StoreError> {
        let domain = domain.map(|domain| domain.as_str().to_owned());
        self.readers
            .run(move |connection| {
                let total: i64 = connection.prepare_cached(COUNT_RECEIVED)?.query_row([&domain], |row| row.get(0))?;
                let mut select = connection.prepare_cached(RECEIVED)?;
                let rows = select.query(params![domain, number(limit as u64), number(skip as u64)])?;
                Ok((total.unsigned_abs(), all(rows, received)?))
            })
            .await
    }

    pub(crate) async fn purge_tls_reports(&self, before: Timestamp, results_before: Day) -> Result<(), StoreError> {
        self.writer
            .run(0, move |writing| {
                writing.connection.prepare_cached(FORGET_OLD_RESULTS)?.execute([results_before.number()])?;
                for sql in [FORGET_OLD_REPORTS, FORGET_OLD_RECEIVED] {
                    writing.connection.prepare_cached(sql)?.execute([before.as_micros()])?;
                }
                Ok(())
            })
            .await
    }
}

fn add(writing: &Writing<'_>, count: &TlsCount) -> Result<(), StoreError> {
    let TlsCount { day, destination, counted } = count;
    let (connection, day, destination) = (writing.connection, day.number(), destination.as_str());
    let sessions = number(counted.sessions);
    let (policy, failure) = columns(&counted.result)?;
    if connection.prepare_cached(ADD)?.execute(params![day, destination, policy, failure, sessions])? > 0 {
        return Ok(());
    }
    let known: i64 =
        connection.prepare_cached(COUNT_RESULTS)?.query_row(params![day, destination], |row| row.get(0))?;
    let failure = match known {
        ..RESULTS => failure,
        RESULTS..RESULTS_AT_MOST => columns(&counted.result.in_short())?.1,
        _ => {
            tracing::debug!(destination, "a result of TLS is not counted: this domain has too many of them today");
            return Ok(());
        }
    };
    connection.prepare_cached(INSERT_RESULT)?.execute(params![day, destination, policy, failure, sessions])?;
    Ok(())
}

/// A result as it is kept: its policy, and its failure or nothing.
fn columns(result: &SessionResult) -> Result<(String, String), StoreError> {
    let failure = match result.outcome() {
        Outcome::Success => String::new(),
        Outcome::Failure(failure) => to_json(failure)?,
    };
    Ok((to_json(result.policy())?, failure))
}

fn counted(row: Row<'_>) -> Result<Counted, StoreError> {
    let policy: AppliedPolicy = from_json(row, "policy")?;
    let outcome = match get::<String>(row, "failure")?.as_str() {
        "" => Outcome::Success,
        failure => Outcome::Failure(serde_json::from_str::<Failure>(failure).map_err(|_| damaged("failure"))?),
    };
    let sessions = get::<i64>(row, "sessions")?.unsigned_abs();
    Ok(Counted { result: SessionResult::new(policy, outcome), sessions })
}

fn receive(connection: &Connection, new: &NewReceivedTlsReport, content: &str) -> Result<Kept, StoreError> {
    let NewReceivedTlsReport { domain, via, report, now } = new;
    let name = params![domain.as_str(), report.organization_name, report.report_id];
    if connection.prepare_cached(IS_KNOWN)?.query_row(name, |row| row.get(0))? {
        return Ok(Kept::Known);
    }
    let since = params![domain.as_str(), (*now - ONE_DAY).as_micros()];
    let today: i64 = connection.prepare_cached(COUNT_RECEIVED_SINCE)?.query_row(since, |row| row.get(0))?;
    if today >= i64::from(RECEIVED_PER_DAY) {
        return Ok(Kept::TooMany);
    }
    connection.prepare_cached(INSERT_RECEIVED)?.execute(params![
        domain.as_str(),
        report.organization_name,
        report.report_id,
        via.as_str(),
        now.as_micros(),
        content
    ])?;
    Ok(Kept::New)
}

fn all<T>(mut rows: Rows<'_>, read: fn(Row<'_>) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn outgoing(row: Row<'_>) -> Result<OutgoingTlsReport, StoreError> {
    let state = match (get::<Option<i64>>(row, "due_at")?, get(row, "sent")?) {
        (Some(due), _) => TlsReportState::Waiting(Timestamp::from_micros(due)),
        (None, true) => TlsReportState::Sent,
        (None, false) => TlsReportState::Failed,
    };
    Ok(OutgoingTlsReport {
        id: TlsReportId(get(row, "id")?),
        report_id: get(row, "report_id")?,
        day: Day::from_number(get(row, "day")?),
        destination: parsed(row, "destination")?,
        place: parsed(row, "place")?,
        state,
        attempts: get(row, "attempts")?,
        made_at: time(row, "made_at")?,
        last: get(row, "last")?,
    })
}

fn received(row: Row<'_>) -> Result<ReceivedTlsReport, StoreError> {
    Ok(ReceivedTlsReport {
        number: get(row, "id")?,
        domain: parsed(row, "domain")?,
        via: word(row, "via", Via::from_word)?,
        received_at: time(row, "received_at")?,
        report: from_json::<Report>(row, "content")?,
    })
}
