//! The engine on real files.

mod accept;
mod bounce;
mod complaint;
mod copies;
mod credentials;
mod disaster;
mod dkim;
mod door;
mod dsn;
mod events;
mod filters;
mod memory;
mod plans;
mod posture;
mod purge;
mod queue;
mod retention;
mod rotation;
mod scale;
mod settings;
mod shared;
mod site;
mod sts;
mod suppression;
mod template;
mod tlsrpt;
mod tracking;
mod traffic;
mod user;
mod waiting;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use policy::site::Site;
use policy::tls::{TlsSettings, resolve};
use smtp::{Address, Domain};

use super::sql::NONE;
use crate::{
    AttachmentSummary, AttemptRecord, Claim, ConnectionRecord, Direction, Event, EventKind, EventQuery, FailureReason,
    Filter, Gate, Job, Location, Method, NewEvent, NewMessage, NewState, RecipientOutcome, Role, Room, Severity, Store,
    Timestamp,
};

/// Where a PostgreSQL runs for these tests, if they are to run on one: the URL of a database from which others can be made.
const CLUSTER: &str = "WAXWING_TEST_POSTGRES";

/// A directory of its own for each test, or a database of its own; gone at the end.
struct Directory(PathBuf, Option<String>);

impl Directory {
    fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("waxwing-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let cluster = std::env::var(CLUSTER).ok().filter(|url| !url.is_empty());
        if let Some(cluster) = &cluster {
            in_cluster(cluster, format!("CREATE DATABASE \"{name}\""));
        }
        Directory(std::env::temp_dir().join(name), cluster)
    }

    /// For what is about files: on this machine, whatever the others run on.
    fn of_files() -> Directory {
        let name = format!("waxwing-store-{}-{:016x}", std::process::id(), rand::random::<u64>());
        Directory(std::env::temp_dir().join(name), None)
    }

    fn location(&self) -> Location {
        match &self.1 {
            Some(cluster) => {
                let name = self.0.file_name().unwrap().to_string_lossy();
                let (base, query) = cluster.split_once('?').unwrap_or((cluster, ""));
                let base = base.rsplit_once('/').unwrap().0;
                format!("{base}/{name}?{query}").parse().unwrap()
            }
            None => Location::sqlite(&self.0),
        }
    }

    async fn server(&self) -> Store {
        Store::open(&self.location(), Role::Server).await.unwrap()
    }
}

fn in_cluster(url: &str, order: String) {
    let database = crate::database::Database::parse(url).unwrap();
    // Threads of their own: a test may be within a runtime.
    std::thread::spawn(move || super::shared::connect(&database).unwrap().execute_batch(&order).unwrap())
        .join()
        .unwrap();
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Some(cluster) = &self.1 {
            let name = self.0.file_name().unwrap().to_string_lossy();
            in_cluster(cluster, format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"));
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn message(recipients: &[&str]) -> NewMessage {
    NewMessage {
        domain: domain("sender.example"),
        message_id: "20261123.1@sender.example".to_owned(),
        return_path: "bounce@sender.example".to_owned(),
        header_from: "Ann <ann@sender.example>".to_owned(),
        header_to: recipients.join(", "),
        subject: "Grüße".to_owned(),
        size: 30,
        wire: Bytes::from_static(b"Subject: x\r\n\r\n..dot\r\n"),
        attachments: vec![AttachmentSummary {
            filename: "Plan.pdf".to_owned(),
            content_type: "application/pdf".to_owned(),
            size: 12,
        }],
        tags: vec!["Welcome".to_owned(), "bulk_email".to_owned()],
        user_variables: [("z".to_owned(), 1.into()), ("a".to_owned(), "2".into())].into_iter().collect(),
        tls: resolve(TlsSettings { require_tls: Some(true), ..Default::default() }, TlsSettings::default()),
        dkim: true,
        method: Method::Http,
        test_mode: false,
        deliver_at: None,
        expires_at: None,
        recipients: recipients.iter().map(|text| address(text)).collect(),
        template: None,
        copies: None,
        tracking: None,
        dsn: None,
        api_key_id: Some(7),
        originating_ip: Some("2001:db8::1".parse().unwrap()),
    }
}

/// A time at which everything accepted until now is due.
fn soon() -> Timestamp {
    Timestamp::now() + Duration::from_secs(1)
}

const LEASE: Duration = Duration::from_secs(600);

async fn claim_at(store: &Store, now: Timestamp, limit: usize, busy: &[Domain]) -> Vec<Job> {
    store.claim(claim_with(now, limit, Limits { busy: busy.to_vec(), ..Limits::default() })).await.unwrap()
}

/// A claim of what these limits leave.
fn claim_with(now: Timestamp, limit: usize, limits: Limits) -> Claim {
    Claim { gate: Arc::new(limits), ..Claim::all(now, now + LEASE, limit) }
}

/// A gate with fixed answers.
#[derive(Debug, Default, Clone)]
struct Limits {
    /// Destinations that may have nothing.
    busy: Vec<Domain>,
    /// Most jobs for each destination, where that is limited.
    per_destination: Option<usize>,
    /// What single sites may have.
    sites: Vec<(&'static str, Room)>,
    /// What single destinations may have.
    destinations: Vec<(&'static str, Room)>,
}

impl Gate for Limits {
    fn site(&self, site: &Site, _: Timestamp) -> Room {
        let told = self.sites.iter().find(|(name, _)| *name == site.as_str());
        told.map_or(Room::Jobs(usize::MAX), |(_, room)| *room)
    }

    fn destination(&self, destination: &Domain, _: Timestamp) -> Room {
        if self.busy.contains(destination) {
            return Room::Jobs(0);
        }
        let told = self.destinations.iter().find(|(name, _)| *name == destination.as_str());
        told.map_or(Room::Jobs(self.per_destination.unwrap_or(usize::MAX)), |(_, room)| *room)
    }
}

async fn claim(store: &Store, limit: usize) -> Vec<Job> {
    claim_at(store, soon(), limit, &[]).await
}

/// No line of a destination is later than what waits there, and it says when that is where nobody has anything; those of
/// the sites say what their destinations say. Nothing is held back, except where a test says so.
async fn check_destinations(store: &Store) {
    let lines = |writing: &super::writer::Writing<'_>| {
        let sql = "SELECT destination, CAST(NULL AS BIGINT), 0 FROM recipient
                WHERE due_at IS NOT NULL AND destination NOT IN (SELECT name FROM destination)
            UNION SELECT name, due_at, not_before FROM destination";
        let mut select = writing.connection.prepare_cached(sql)?;
        let mut rows = select.query(NONE)?;
        let mut lines = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, line, not_before): (String, Option<i64>, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let first = super::site::first_due(writing, &name)?.map(|due| due.max(not_before));
            lines.push((line, first, writing.leases.borrow().count(&name) > 0, name));
        }
        Ok(lines)
    };
    for (line, first, has_leases, name) in store.engine().writer.run(0, lines).await.unwrap() {
        let (line, first) = (line.unwrap_or(i64::MAX), first.unwrap_or(i64::MAX));
        assert!(line <= first && (has_leases || line == first), "{name}: {line} for {first}");
    }
    let differences = store.engine().readers.run(|connection| {
        let sql = "WITH
                first_of_site AS (SELECT site AS name, min(due_at) AS due_at FROM destination
                    WHERE due_at IS NOT NULL GROUP BY site),
                held_site AS (SELECT first_of_site.name, max(first_of_site.due_at, coalesce(not_before, 0))
                    FROM first_of_site LEFT JOIN site ON site.name = first_of_site.name),
                site_line AS (SELECT name, due_at FROM site WHERE due_at IS NOT NULL)
            SELECT count(*) FROM (
                SELECT * FROM (SELECT * FROM held_site EXCEPT SELECT * FROM site_line) AS missing
                UNION ALL SELECT * FROM (SELECT * FROM site_line EXCEPT SELECT * FROM held_site) AS wrong)
            AS differences";
        Ok(connection.query_row(sql, NONE, |row| row.get::<_, i64>(0))?)
    });
    assert_eq!(differences.await.unwrap(), 0);
}

fn addresses(jobs: &[Job]) -> Vec<String> {
    let mut all: Vec<String> = jobs.iter().flat_map(|job| &job.recipients).map(|r| r.address.to_string()).collect();
    all.sort_unstable();
    all
}

fn attempt() -> AttemptRecord {
    AttemptRecord {
        attempt_no: 3,
        code: 250,
        enhanced_code: Some("2.0.0".parse().unwrap()),
        message: "2.0.0 OK".to_owned(),
        description: "fine".to_owned(),
        session: Duration::from_millis(437),
        retry_after: Some(Duration::from_secs(600)),
        utf8: true,
        connection: Some(ConnectionRecord {
            mx_host: "mx1.example.com".to_owned(),
            tls: true,
            certificate_verified: false,
            sending_ip: Some("192.0.2.7".parse().unwrap()),
        }),
        details: serde_json::json!({"version": "TLSv1.3", "steps": [1, 2]}),
        last_code: Some(451),
        last_message: Some("later".to_owned()),
    }
}

fn delivered() -> NewEvent {
    NewEvent { kind: EventKind::Delivered, severity: None, reason: None, attempt: Some(attempt()) }
}

fn failed(severity: Severity) -> NewEvent {
    let attempt = AttemptRecord { code: 451, connection: None, ..attempt() };
    NewEvent {
        kind: EventKind::Failed,
        severity: Some(severity),
        reason: Some(FailureReason::Generic),
        attempt: Some(attempt),
    }
}

/// The same outcome for every recipient of these jobs.
fn outcomes(jobs: &[Job], state: NewState, events: &[NewEvent]) -> Vec<RecipientOutcome> {
    let outcome = |id| RecipientOutcome { recipient: id, state, events: events.to_vec() };
    jobs.iter().flat_map(|job| &job.recipients).map(|recipient| outcome(recipient.id)).collect()
}

fn query(filter: Filter) -> EventQuery {
    EventQuery {
        domain: Some(domain("sender.example")),
        begin: None,
        end: None,
        direction: Direction::Ascending,
        after: None,
        limit: 10_000,
        filter,
    }
}

async fn all_events(store: &Store) -> Vec<Event> {
    store.events(query(Filter::All)).await.unwrap()
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}
