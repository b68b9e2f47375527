//! How much happened: counted while it is written, a batch for each commit.
//!
//! Every event adds to the hour, the day and the month of its sending domain, and to those of each tag, of the recipient's
//! domain and of our address. What the events of one commit add is put together first, so a row is touched once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use rusqlite::params;

use super::Engine;
use super::known::ToldApart;
use super::row::{get, number, one_after_another, time};
use super::sql::{Connection, Error, OptionalExtension, Row};
use super::writer::Writing;
use crate::posture::Protected;
use crate::traffic::{ROWS, Resolution, Slice, TAGS, TrafficCount, TrafficQuery, VALUES, What};
use crate::{FailureReason, MessageId, NewEvent, Severity, StoreError, Timestamp};

/// `start` is the beginning of the hour, day or month. What there was not is an empty text.
pub(super) const TABLES: &str = "
CREATE TABLE traffic (
    resolution TEXT NOT NULL CHECK (resolution IN ('hour', 'day', 'month')),
    slice TEXT NOT NULL,
    domain TEXT NOT NULL,
    value TEXT NOT NULL,
    start INTEGER NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    reason TEXT NOT NULL,
    protected TEXT NOT NULL,
    first_attempt INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (resolution, slice, domain, value, start, kind, severity, reason, protected, first_attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX traffic_time ON traffic (resolution, slice, domain, start);

-- How many values are told apart in a part.
CREATE TABLE traffic_values (
    resolution TEXT NOT NULL,
    slice TEXT NOT NULL,
    domain TEXT NOT NULL,
    start INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (resolution, slice, domain, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE tag (
    domain TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (domain, name)
) STRICT, WITHOUT ROWID;
";

pub(super) const ADD: &str = "
    INSERT INTO traffic (resolution, slice, domain, value, start, kind, severity, reason, protected, first_attempt, count)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (resolution, slice, domain, value, start, kind, severity, reason, protected, first_attempt)
    DO UPDATE SET count = traffic.count + excluded.count";
pub(super) const IS_TOLD: &str = "
    SELECT 1 FROM traffic WHERE resolution = ?1 AND slice = ?2 AND domain = ?3 AND value = ?4 AND start = ?5 LIMIT 1";
/// Changes nothing, and says so, when there are as many as there may be.
const ONE_MORE_VALUE: &str = "
    INSERT INTO traffic_values (resolution, slice, domain, start, count) VALUES (?1, ?2, ?3, ?4, 1)
    ON CONFLICT (resolution, slice, domain, start)
    DO UPDATE SET count = traffic_values.count + 1 WHERE traffic_values.count < ?5";

/// None of a notification.
const TAGS_OF_MESSAGE: &str = "
    SELECT tags FROM message
    WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM notification WHERE notification.message = message.id)";
const SEE_TAG: &str = "UPDATE tag SET last_at = max(last_at, ?3) WHERE domain = ?1 AND name = ?2";
const NEW_TAG: &str = "
    INSERT INTO tag (domain, name, description, first_at, last_at)
    SELECT ?1, ?2, '', ?3, ?4 WHERE (SELECT count(*) FROM tag WHERE domain = ?1) < ?5";

/// The first sending domain after one that has any count. Months stay, so every one is found.
pub(super) const NEXT_DOMAIN: &str = "
    SELECT domain FROM traffic WHERE resolution = 'month' AND slice = 'all' AND domain > ?1 ORDER BY domain LIMIT 1";
pub(super) const OLDEST: &str = "
    SELECT start FROM traffic INDEXED BY traffic_time
    WHERE resolution = ?1 AND slice = ?2 AND domain = ?3 AND start < ?4 ORDER BY start LIMIT 1";
const DELETE_PART: &str = "
    DELETE FROM traffic WHERE (resolution, slice, domain, value, start, kind, severity, reason, protected, first_attempt) IN (
        SELECT resolution, slice, domain, value, start, kind, severity, reason, protected, first_attempt
        FROM traffic INDEXED BY traffic_time
        WHERE resolution = ?1 AND slice = ?2 AND domain = ?3 AND start = ?4 LIMIT ?5)";
const DELETE_VALUES: &str =
    "DELETE FROM traffic_values WHERE resolution = ?1 AND slice = ?2 AND domain = ?3 AND start <= ?4";

/// Most counts that are deleted in one transaction.
const ROWS_AT_ONCE: usize = 2000;
/// Longest tag or name that is counted by, in octets; what is longer is counted with those beyond the limit.
const VALUE_OCTETS: usize = 255;

/// What the events of one transaction add.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// What operations that went well add.
    kept: RefCell<Added>,
    /// What the operation under way adds.
    pending: RefCell<Added>,
    /// Of the messages that were met. Notifications are no mail that a domain sends, and have none.
    tags: RefCell<HashMap<i64, Option<Rc<[String]>>>>,
}

#[derive(Debug, Default)]
struct Added {
    counts: BTreeMap<Key, i64>,
    /// When a message had a tag first and last, by sending domain and tag.
    tags: BTreeMap<(String, String), (i64, i64)>,
}

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    hour: i64,
    slice: Slice,
    domain: String,
    value: String,
    what: What,
}

impl Counts {
    /// Counts an event of the operation under way.
    pub(super) fn add(
        &self,
        connection: &Connection,
        at: Timestamp,
        message: MessageId,
        domain: &str,
        recipient: &str,
        event: &NewEvent,
    ) -> Result<(), StoreError> {
        let Some(tags) = self.tags_of(connection, message)? else { return Ok(()) };
        let (hour, what) = (Resolution::Hour.start(at).as_micros(), what(event));
        let mut added = self.pending.borrow_mut();
        let mut count = |slice, value: &str| {
            let value = if value.len() > VALUE_OCTETS { String::new() } else { value.to_owned() };
            let key = Key { hour, slice, domain: domain.to_owned(), value, what: what.clone() };
            *added.counts.entry(key).or_default() += 1;
        };
        count(Slice::All, "");
        count(Slice::Destination, recipient.rsplit('@').next().unwrap_or_default());
        let connected = event.attempt.as_ref().and_then(|attempt| attempt.connection.as_ref());
        if let Some(ip) = connected.and_then(|connection| connection.sending_ip) {
            count(Slice::SendingIp, &ip.to_string());
        }
        for tag in tags.iter() {
            count(Slice::Tag, tag);
        }
        for tag in tags.iter().filter(|tag| tag.len() <= VALUE_OCTETS) {
            let at = at.as_micros();
            let seen = added.tags.entry((domain.to_owned(), tag.clone())).or_insert((at, at));
            *seen = (seen.0.min(at), seen.1.max(at));
        }
        Ok(())
    }

    /// Tells the tags of a message, as they are kept; `None` of a notification. Whoever knows them saves a look.
    pub(super) fn know(&self, message: MessageId, tags: Option<&str>) {
        self.tags.borrow_mut().entry(message.0).or_insert_with(|| tags.map(each_once));
    }

    /// The tags of a message, each once and in lower case; `None` when it is a notification.
    fn tags_of(&self, connection: &Connection, message: MessageId) -> Result<Option<Rc<[String]>>, StoreError> {
        if let Some(known) = self.tags.borrow().get(&message.0) {
            return Ok(known.clone());
        }
        let json: Option<String> =
            connection.prepare_cached(TAGS_OF_MESSAGE)?.query_row([message.0], |row| row.get(0)).optional()?;
        let tags = json.as_deref().map(each_once);
        self.tags.borrow_mut().insert(message.0, tags.clone());
        Ok(tags)
    }

    /// The operation under way has ended: what it adds is kept if it went well.
    pub(super) fn settle(&self, well: bool) {
        let added = self.pending.take();
        if !well {
            // Its message may be gone, and its number be given to another.
            self.tags.borrow_mut().clear();
            return;
        }
        let mut kept = self.kept.borrow_mut();
        for (key, count) in added.counts {
            *kept.counts.entry(key).or_default() += count;
        }
        for (tag, (first, last)) in added.tags {
            let seen = kept.tags.entry(tag).or_insert((first, last));
            *seen = (seen.0.min(first), seen.1.max(last));
        }
    }

    /// Writes down what was kept, as the last thing before the commit, and says what happened.
    pub(super) fn write(&self, writing: &Writing<'_>) -> Result<BTreeMap<What, u64>, Error> {
        let connection = writing.connection;
        let added = self.kept.take();
        let mut happened = BTreeMap::new();
        for (key, count) in added.counts.iter().filter(|(key, _)| key.slice == Slice::All) {
            *happened.entry(key.what.clone()).or_default() += count.unsigned_abs();
        }
        let mut counts: BTreeMap<(Resolution, Key), i64> = BTreeMap::new();
        for (key, count) in added.counts {
            for resolution in Resolution::ALL {
                let start = resolution.start(Timestamp::from_micros(key.hour)).as_micros();
                *counts.entry((resolution, Key { hour: start, ..key.clone() })).or_default() += count;
            }
        }
        let mut add = connection.prepare_cached(ADD)?;
        for ((resolution, key), count) in &counts {
            let value =
                if !key.value.is_empty() && is_told_apart(writing, *resolution, key)? { &key.value } else { "" };
            let Key { hour: start, slice, domain, what, .. } = key;
            let (resolution, slice) = (resolution.as_str(), slice.as_str());
            let What { kind, severity, reason, protected, first_attempt } = what;
            let of = params![
                resolution,
                slice,
                domain,
                value,
                start,
                kind,
                severity,
                reason,
                protected,
                first_attempt,
                count
            ];
            add.execute(of)?;
        }
        let (mut see, mut new) = (connection.prepare_cached(SEE_TAG)?, connection.prepare_cached(NEW_TAG)?);
        for ((domain, tag), (first, last)) in &added.tags {
            if see.execute(params![domain, tag, last])? == 0 {
                new.execute(params![domain, tag, first, last, number(TAGS as u64)])?;
            }
        }
        Ok(happened)
    }
}

fn each_once(json: &str) -> Rc<[String]> {
    // An outcome must be recorded whatever else is damaged.
    let tags: Vec<String> = serde_json::from_str(json).unwrap_or_default();
    let tags: BTreeSet<String> = tags.iter().map(|tag| tag.to_lowercase()).collect();
    tags.into_iter().filter(|tag| !tag.is_empty()).collect()
}

/// Whether a value has rows of its own in a part, or may have.
fn is_told_apart(writing: &Writing<'_>, resolution: Resolution, key: &Key) -> Result<bool, Error> {
    let Key { hour: start, slice, domain, value, .. } = key;
    let known = ToldApart { resolution, start: *start, slice: *slice, domain: domain.clone(), value: value.clone() };
    if writing.known.borrow().is_told_apart(&known) {
        return Ok(true);
    }
    let (connection, resolution, slice) = (writing.connection, resolution.as_str(), slice.as_str());
    let is_told = connection.prepare_cached(IS_TOLD)?.exists(params![resolution, slice, domain, value, start])?;
    let of = params![resolution, slice, domain, start, number(VALUES as u64)];
    let may_be = is_told || connection.prepare_cached(ONE_MORE_VALUE)?.execute(of)? > 0;
    if may_be {
        writing.known.borrow_mut().tell_apart(known);
    }
    Ok(may_be)
}

fn what(event: &NewEvent) -> What {
    let attempt = event.attempt.as_ref();
    let connection = attempt.and_then(|attempt| attempt.connection.as_ref());
    let channel = connection.map(|connection| (connection.tls, connection.certificate_verified));
    What {
        kind: event.kind.as_str().to_owned(),
        severity: event.severity.map_or("", Severity::as_str).to_owned(),
        reason: event.reason.map_or("", FailureReason::as_str).to_owned(),
        protected: protected(event.kind == crate::EventKind::Delivered, channel).to_owned(),
        first_attempt: attempt.is_some_and(|attempt| attempt.attempt_no == 1),
    }
}

/// How well a delivery was protected, by whether its connection was encrypted and its certificate verified.
pub(super) fn protected(is_delivery: bool, channel: Option<(bool, bool)>) -> &'static str {
    match channel.filter(|_| is_delivery) {
        Some((true, true)) => Protected::Verified.as_str(),
        Some((true, false)) => Protected::Encrypted.as_str(),
        Some((false, _)) => Protected::Plaintext.as_str(),
        None => "",
    }
}

impl Engine {
    pub(crate) async fn traffic(&self, query: TrafficQuery) -> Result<Vec<TrafficCount>, StoreError> {
        self.readers.run(move |connection| counted(connection, &query)).await
    }

    pub(crate) async fn purge_traffic(&self, now: Timestamp) -> Result<(), StoreError> {
        while self.writer.run(0, move |writing| purge_some(writing, now)).await? {}
        Ok(())
    }
}

/// The statement of a query for one sending domain.
pub(super) fn statement(query: &TrafficQuery) -> String {
    let start = if query.over_time { "start" } else { "NULL" };
    let (path, value) = match query.value {
        Some(_) => ("", "AND value = ?6"),
        None => ("INDEXED BY traffic_time", "AND coalesce(?6, '') IS NOT NULL"),
    };
    format!(
        "SELECT domain, value, {start} AS part, kind, severity, reason, protected, first_attempt, sum(count) AS count
         FROM traffic {path}
         WHERE resolution = ?1 AND slice = ?2 AND domain = ?3 AND start >= ?4 AND start < ?5 {value}
         GROUP BY domain, value, part, kind, severity, reason, protected, first_attempt
         /*+ ORDER BY domain, value, part */ LIMIT ?7"
    )
}

fn counted(connection: &Connection, query: &TrafficQuery) -> Result<Vec<TrafficCount>, StoreError> {
    let domains = match &query.domain {
        Some(domain) => vec![domain.as_str().to_owned()],
        None => domains(connection)?,
    };
    let mut select = connection.prepare_cached(&statement(query))?;
    let mut counts = Vec::new();
    for domain in domains {
        let mut rows = select.query(params![
            query.resolution.as_str(),
            query.slice.as_str(),
            domain,
            query.resolution.start(query.begin).as_micros(),
            query.end.as_micros(),
            query.value,
            number((ROWS + 1) as u64),
        ])?;
        while let Some(row) = rows.next()? {
            counts.push(count(row)?);
        }
        if counts.len() > ROWS {
            let words = format!("there are more than {ROWS} counts: ask for a shorter range or for less detail");
            return Err(StoreError::Invalid(words));
        }
    }
    Ok(counts)
}

fn count(row: Row<'_>) -> Result<TrafficCount, StoreError> {
    Ok(TrafficCount {
        domain: get(row, "domain")?,
        value: get(row, "value")?,
        start: if get::<Option<i64>>(row, "part")?.is_some() { Some(time(row, "part")?) } else { None },
        what: What {
            kind: get(row, "kind")?,
            severity: get(row, "severity")?,
            reason: get(row, "reason")?,
            protected: get(row, "protected")?,
            first_attempt: get(row, "first_attempt")?,
        },
        count: get::<i64>(row, "count")?.unsigned_abs(),
    })
}

/// Every sending domain that has any count, by name. Goes from one to the next and over none of their rows.
fn domains(connection: &Connection) -> Result<Vec<String>, StoreError> {
    one_after_another(connection, NEXT_DOMAIN)
}

/// Deletes old parts until it is enough for one transaction; says whether there may be more.
fn purge_some(writing: &Writing<'_>, now: Timestamp) -> Result<bool, StoreError> {
    let connection = writing.connection;
    for domain in domains(connection)? {
        for resolution in Resolution::ALL {
            let Some(before) = resolution.kept_since(now) else { continue };
            for slice in [Slice::All].into_iter().chain(Slice::TOLD_APART) {
                let (resolution, slice) = (resolution.as_str(), slice.as_str());
                let mut oldest = connection.prepare_cached(OLDEST)?;
                let of = params![resolution, slice, domain, before];
                let Some(start) = oldest.query_row(of, |row| row.get::<_, i64>(0)).optional()? else { continue };
                let of = params![resolution, slice, domain, start, number(ROWS_AT_ONCE as u64)];
                connection.prepare_cached(DELETE_PART)?.execute(of)?;
                connection.prepare_cached(DELETE_VALUES)?.execute(params![resolution, slice, domain, start])?;
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Deletes what was counted of a tag.
pub(super) fn forget_tag(writing: &Writing<'_>, domain: &str, tag: &str) -> Result<(), StoreError> {
    writing.known.borrow_mut().clear();
    const FORGET: &str = "DELETE FROM traffic WHERE resolution = ?1 AND slice = 'tag' AND domain = ?2 AND value = ?3";
    for resolution in Resolution::ALL {
        writing.connection.prepare_cached(FORGET)?.execute(params![resolution.as_str(), domain, tag])?;
    }
    Ok(())
}
