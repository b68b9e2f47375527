//! How mail travelled: counted, and remembered where it tells of a downgrade.
//!
//! Every outcome adds to two rows, one of its hour and one of its day, in the transaction that records it. So a week is
//! read from seven days and the hours at its ends, never from events (`docs/tls-posture.md` has the figures).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use policy::downgrade::{self, Past};
use policy::tls::Observed;
use rusqlite::params;
use serde_json::{Value, json};

use super::event;
use super::row::{one_after_another, to_json};
use super::sql::{Connection, OptionalExtension};
use super::writer::Writing;
use crate::posture::{Ending, Protected, Seen, Span, Way};
use crate::{AttemptRecord, EventKind, FailureReason, MessageId, NewEvent, StoreError, Timestamp};

/// The tables. `start` is the beginning of the hour or day. What there was not is an empty text.
pub(super) const TABLES: &str = "
CREATE TABLE tls_posture (
    span TEXT NOT NULL CHECK (span IN ('hour', 'day')),
    domain TEXT NOT NULL,
    start INTEGER NOT NULL,
    destination TEXT NOT NULL,
    ending TEXT NOT NULL,
    protected TEXT NOT NULL,
    observed TEXT NOT NULL,
    by_dane INTEGER NOT NULL,
    by_mta_sts INTEGER NOT NULL,
    version TEXT NOT NULL,
    key_exchange TEXT NOT NULL,
    reason TEXT NOT NULL,
    mx_host TEXT NOT NULL,
    recipients INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (span, domain, start, destination, ending, protected, observed, by_dane, by_mta_sts, version,
        key_exchange, reason, mx_host)
) STRICT, WITHOUT ROWID;

-- The last deliveries to a host for a destination, and to a destination at whatever host (mx_host is empty), newest
-- first: [[at, verified], ...]. before: what the last verified one showed. told_at: when a downgrade was told last.
CREATE TABLE tls_history (
    id INTEGER PRIMARY KEY,
    domain TEXT NOT NULL,
    destination TEXT NOT NULL,
    mx_host TEXT NOT NULL,
    recent TEXT NOT NULL,
    before TEXT,
    told_at INTEGER,
    last_at INTEGER NOT NULL,
    UNIQUE (domain, destination, mx_host)
) STRICT;
CREATE INDEX tls_history_age ON tls_history (last_at);
";

const ADD: &str = "
    INSERT INTO tls_posture (span, domain, start, destination, ending, protected, observed, by_dane, by_mta_sts,
        version, key_exchange, reason, mx_host, recipients, messages, first_at, last_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?16)
    ON CONFLICT (span, domain, start, destination, ending, protected, observed, by_dane, by_mta_sts,
        version, key_exchange, reason, mx_host)
    DO UPDATE SET recipients = tls_posture.recipients + excluded.recipients,
        messages = tls_posture.messages + excluded.messages, first_at = min(tls_posture.first_at, excluded.first_at),
        last_at = max(tls_posture.last_at, excluded.last_at)";

pub(super) const HISTORY: &str =
    "SELECT recent, before, told_at FROM tls_history WHERE domain = ?1 AND destination = ?2 AND mx_host = ?3";
const REMEMBER: &str = "
    INSERT INTO tls_history (domain, destination, mx_host, recent, before, told_at, last_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (domain, destination, mx_host) DO UPDATE SET recent = excluded.recent, before = excluded.before, told_at = excluded.told_at,
        last_at = excluded.last_at";

/// The first sending domain after one that has any count.
pub(super) const NEXT_DOMAIN: &str =
    "SELECT domain FROM tls_posture WHERE span = 'day' AND domain > ?1 ORDER BY domain LIMIT 1";
pub(super) const OLDEST: &str =
    "SELECT start FROM tls_posture WHERE span = ?1 AND domain = ?2 AND start < ?3 ORDER BY start LIMIT 1";
const DELETE: &str = "DELETE FROM tls_posture WHERE span = ?1 AND domain = ?2 AND start = ?3";

/// How long a habit goes unwritten while nothing changes: a delivery like the last three tells nothing new.
const REWRITTEN_EVERY: Duration = Duration::from_secs(3600);
/// About how many counts are deleted in one transaction.
const ROWS_AT_ONCE: usize = 2000;
/// Longest name, code or version that is counted by; what is longer is cut.
const WORD_OCTETS: usize = 255;

/// A recipient whose outcome is being recorded.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub(super) message: MessageId,
    pub(super) domain: String,
    pub(super) destination: String,
    pub(super) address: String,
}

/// What one transaction adds.
#[derive(Default)]
pub(super) struct Tally {
    counts: BTreeMap<Key, Sum>,
}

/// What is counted together.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    hour: i64,
    domain: String,
    destination: String,
    way: Way,
    mx_host: String,
}

/// How many, and one of them to tell of.
struct Sum {
    recipients: i64,
    messages: BTreeSet<i64>,
    example: Recorded,
    details: Value,
    /// When the last of them was, and in which order they came first: a habit depends on it.
    at: Timestamp,
    order: usize,
}

impl Tally {
    /// Counts the attempt that `events` tell of. An event that only says why there was none, or no further one, is none.
    pub(super) fn add(&mut self, now: Timestamp, recorded: &Recorded, events: &[NewEvent]) {
        use FailureReason::{Dropped, Old, SuppressBounce, SuppressComplaint, SuppressUnsubscribe};
        const NO_ATTEMPT: [FailureReason; 5] = [Old, SuppressBounce, SuppressUnsubscribe, SuppressComplaint, Dropped];
        let is_attempt = |event: &&NewEvent| {
            event.attempt.is_some() && !event.reason.is_some_and(|reason| NO_ATTEMPT.contains(&reason))
        };
        let Some(event) = events.iter().find(is_attempt) else { return };
        let Some(attempt) = &event.attempt else { return };
        let mx_host = attempt.connection.as_ref().map(|connection| cut(&connection.mx_host)).unwrap_or_default();
        let key = Key {
            hour: Span::Hour.start(now).as_micros(),
            domain: recorded.domain.clone(),
            destination: recorded.destination.clone(),
            way: way_of(event.kind, attempt),
            mx_host,
        };
        let order = self.counts.len();
        let sum = self.counts.entry(key).or_insert_with(|| Sum {
            recipients: 0,
            messages: BTreeSet::new(),
            example: recorded.clone(),
            details: attempt.details.clone(),
            at: now,
            order,
        });
        sum.at = sum.at.max(now);
        sum.recipients += 1;
        sum.messages.insert(recorded.message.0);
    }

    /// Adds what came after it.
    pub(super) fn merge(&mut self, later: Tally) {
        let before = self.counts.len();
        for (key, more) in later.counts {
            match self.counts.entry(key) {
                Entry::Vacant(entry) => {
                    let order = before + more.order;
                    entry.insert(Sum { order, ..more });
                }
                Entry::Occupied(mut entry) => {
                    let sum = entry.get_mut();
                    sum.at = sum.at.max(more.at);
                    sum.recipients += more.recipients;
                    sum.messages.extend(more.messages);
                }
            }
        }
    }

    /// Writes it all down, and the events of what it tells.
    pub(super) fn write(&self, writing: &Writing<'_>) -> Result<(), StoreError> {
        let mut counts: Vec<(&Key, &Sum)> = self.counts.iter().collect();
        counts.sort_by_key(|(_, sum)| sum.order);
        for (key, sum) in counts {
            add(writing, sum.at, key, sum)?;
            look_back(writing, sum.at, key, sum)?;
        }
        Ok(())
    }
}

/// The way in which an attempt went, from its evidence (`docs/tls.md`).
fn way_of(kind: EventKind, attempt: &AttemptRecord) -> Way {
    let details = &attempt.details;
    let text = |name: &str| details[name].as_str().map(cut).unwrap_or_default();
    let observed = details["observed"].as_str().and_then(Observed::from_word);
    let last_step = last_step(details, attempt.connection.as_ref().map(|connection| connection.mx_host.as_str()));
    let ending = match kind {
        EventKind::Delivered => Ending::Delivered,
        _ if last_step.is_some_and(|step| step["result"] == "left") => Ending::Left,
        _ => Ending::Failed,
    };
    let protected = match (ending, attempt.connection.as_ref()) {
        (Ending::Delivered, Some(connection)) => Some(match (connection.tls, connection.certificate_verified) {
            (true, true) => Protected::Verified,
            (true, false) => Protected::Encrypted,
            (false, _) => Protected::Plaintext,
        }),
        _ => None,
    };
    let is_verified = protected == Some(Protected::Verified);
    let reason = match (ending, protected) {
        (Ending::Delivered, Some(Protected::Plaintext)) => text("fallback"),
        (Ending::Delivered, _) if details["verification"] == "ok" => String::new(),
        (Ending::Delivered, _) => text("verification"),
        (Ending::Left | Ending::Failed, _) => reason_of_failure(attempt, last_step),
    };
    Way {
        ending,
        protected,
        observed: observed.map(Seen::from),
        by_dane: is_verified && is_by_dane(&details["dane"]),
        by_mta_sts: is_verified && details["mta-sts"]["mode"] == "enforce",
        version: text("version"),
        key_exchange: text("key-exchange"),
        reason,
    }
}

/// The last step at the host that decided, or the last of all: where a host was left and the next one did not answer, the
/// outcome is that of the first.
fn last_step<'a>(details: &'a Value, mx_host: Option<&str>) -> Option<&'a Value> {
    let steps = details["steps"].as_array()?;
    let at_host = steps.iter().rev().find(|step| mx_host.is_some() && step["host"].as_str() == mx_host);
    at_host.or(steps.last())
}

/// Whether a host whose certificate had to be valid was authenticated by DANE: where its TLSA records are usable nothing
/// else authenticates, so only a verdict to the contrary says no.
fn is_by_dane(dane: &Value) -> bool {
    match dane["verdict"].as_str() {
        Some(verdict) => ["ok", "authenticated", "verified", "matched"].contains(&verdict),
        None => dane["state"] == "usable",
    }
}

/// The reply's code where a host refused, otherwise the reason of the last step.
fn reason_of_failure(attempt: &AttemptRecord, last_step: Option<&Value>) -> String {
    let refused = last_step.is_none_or(|step| step["result"] == "not-delivered" || step["result"] == "delivered");
    let reason = last_step.and_then(|step| step["reason"].as_str()).filter(|_| !refused);
    reason.map_or_else(|| attempt.code.to_string(), cut)
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(WORD_OCTETS);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn add(writing: &Writing<'_>, now: Timestamp, key: &Key, sum: &Sum) -> Result<(), StoreError> {
    let mut statement = writing.connection.prepare_cached(ADD)?;
    let way = &key.way;
    for span in [Span::Hour, Span::Day] {
        statement.execute(params![
            span.as_str(),
            key.domain,
            span.start(now).as_micros(),
            key.destination,
            way.ending.as_str(),
            way.protected.map_or("", Protected::as_str),
            way.observed.map_or("", |seen| seen.0),
            way.by_dane,
            way.by_mta_sts,
            way.version,
            way.key_exchange,
            way.reason,
            key.mx_host,
            sum.recipients,
            sum.messages.len() as i64,
            now.as_micros(),
        ])?;
    }
    Ok(())
}

/// A row of `tls_history`.
#[derive(Default)]
struct History {
    recent: Vec<(i64, bool)>,
    before: Option<String>,
    told_at: Option<i64>,
}

impl History {
    fn read(writing: &Writing<'_>, key: &Key, mx_host: &str) -> Result<History, StoreError> {
        let mut select = writing.connection.prepare_cached(HISTORY)?;
        let found = select
            .query_row(params![key.domain, key.destination, mx_host], |row| {
                Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((recent, before, told_at)) = found else { return Ok(History::default()) };
        // A memory that cannot be read is none: mail goes on.
        let recent = serde_json::from_str(&recent).unwrap_or_else(|_| {
            tracing::error!(destination = key.destination, "the store is damaged: a history of TLS begins anew");
            Vec::new()
        });
        Ok(History { recent, before, told_at })
    }

    fn past(&self, now: Timestamp) -> Vec<Past> {
        let past =
            |(at, verified): &(i64, bool)| Past { age: now.since(Timestamp::from_micros(*at)), verified: *verified };
        self.recent.iter().map(past).collect()
    }

    /// Whether another delivery like this one would change nothing that counts.
    fn says_so_already(&self, now: Timestamp, verified: bool) -> bool {
        let newest = self.recent.first().map(|(at, _)| now.since(Timestamp::from_micros(*at)));
        self.recent.len() == downgrade::DELIVERIES
            && self.recent.iter().all(|(_, past)| *past == verified)
            && newest.is_some_and(|age| age < REWRITTEN_EVERY)
    }

    /// When that is no longer enough.
    fn written_again_at(&self) -> Timestamp {
        let newest = self.recent.first().map_or(i64::MIN, |(at, _)| *at);
        Timestamp::from_micros(newest) + REWRITTEN_EVERY
    }

    fn delivered(&mut self, now: Timestamp, verified: bool, times: usize, facts: &Value) -> Result<(), StoreError> {
        self.recent.splice(0..0, std::iter::repeat_n((now.as_micros(), verified), times));
        self.recent.truncate(downgrade::DELIVERIES);
        if verified {
            self.before = Some(to_json(facts)?);
        }
        Ok(())
    }

    fn write(&self, writing: &Writing<'_>, now: Timestamp, key: &Key, mx_host: &str) -> Result<(), StoreError> {
        writing.connection.prepare_cached(REMEMBER)?.execute(params![
            key.domain,
            key.destination,
            mx_host,
            to_json(&self.recent)?,
            self.before,
            self.told_at,
            now.as_micros(),
        ])?;
        Ok(())
    }
}

/// Compares what a host showed with what it showed before, tells of a downgrade, and remembers.
fn look_back(writing: &Writing<'_>, now: Timestamp, key: &Key, sum: &Sum) -> Result<(), StoreError> {
    let Some(observed) = key.way.observed.and_then(Seen::observed) else { return Ok(()) };
    if key.mx_host.is_empty() {
        return Ok(());
    }
    let (is_delivered, verified) = (key.way.ending == Ending::Delivered, observed == Observed::Verified);
    let of = (key.domain.as_str(), key.destination.as_str());
    // What is like the last three deliveries is no downgrade, and nothing new.
    if is_delivered && writing.known.borrow().is_habit(of, &key.mx_host, verified, now) {
        return Ok(());
    }
    let mut host = History::read(writing, key, &key.mx_host)?;
    let mut destination = History::read(writing, key, "")?;
    let habit = downgrade::downgraded(observed, &host.past(now), &destination.past(now));
    let last_told = destination.told_at.map(|at| now.since(Timestamp::from_micros(at)));
    let mut is_changed = false;
    if let Some(habit) = habit.filter(|_| downgrade::is_told(last_told)) {
        let before = if habit == downgrade::Habit::Host { &host.before } else { &destination.before };
        tell(writing, now, key, sum, habit, before.as_deref())?;
        destination.told_at = Some(now.as_micros());
        is_changed = true;
    }
    // As many as were counted together, as if each had been looked at by itself.
    let times = sum.messages.len().min(downgrade::DELIVERIES);
    if is_delivered && host.says_so_already(now, verified) && destination.says_so_already(now, verified) {
        let until = host.written_again_at().min(destination.written_again_at());
        writing.known.borrow_mut().put_habit(of, &key.mx_host, verified, until);
    } else {
        writing.known.borrow_mut().forget_habits(of);
    }
    if is_delivered && !host.says_so_already(now, verified) {
        host.delivered(now, verified, times, &facts(now, key, sum))?;
        host.write(writing, now, key, &key.mx_host)?;
    }
    if is_delivered && !destination.says_so_already(now, verified) {
        destination.delivered(now, verified, times, &facts(now, key, sum))?;
        is_changed = true;
    }
    if is_changed {
        destination.write(writing, now, key, "")?;
    }
    Ok(())
}

fn tell(
    writing: &Writing<'_>,
    now: Timestamp,
    key: &Key,
    sum: &Sum,
    habit: downgrade::Habit,
    before: Option<&str>,
) -> Result<(), StoreError> {
    // What cannot be read is left out: an outcome must be recorded whatever else is damaged.
    let mut before: Value = before.and_then(|before| serde_json::from_str(before).ok()).unwrap_or_default();
    if let Some(before) = before.as_object_mut() {
        before.insert("deliveries".to_owned(), downgrade::DELIVERIES.into());
    }
    let story = json!({
        "destination": key.destination,
        "mx-host": key.mx_host,
        "habit-of": habit.as_str(),
        "before": before,
        "after": facts(now, key, sum),
    });
    let way = &key.way;
    tracing::warn!(
        domain = key.domain,
        destination = key.destination,
        mx_host = key.mx_host,
        observed = way.observed.map(|seen| seen.0),
        reason = way.reason,
        delivered = way.ending == Ending::Delivered,
        "tls-downgraded: a destination that did verified TLS no longer does"
    );
    event::insert_downgrade(writing, now, &sum.example, &key.mx_host, &story)
}

/// What a host showed, for whoever compares: before and after have the same form.
fn facts(now: Timestamp, key: &Key, sum: &Sum) -> Value {
    let way = &key.way;
    let mut facts = serde_json::Map::new();
    // Names in a certificate are as long as their owner likes.
    let short = |value: Value| value.as_str().map(cut).map_or(value, Value::from);
    let mut put = |name: &str, value: Value| {
        if !value.is_null() && value != "" {
            facts.insert(name.to_owned(), short(value));
        }
    };
    put("at", now.as_secs_f64().into());
    put("mx-host", key.mx_host.as_str().into());
    put("peer-ip", sum.details["peer-ip"].clone());
    put("observed", way.observed.map(|seen| seen.0).into());
    put("ending", way.protected.map_or(way.ending.as_str(), Protected::as_str).into());
    put("reason", way.reason.as_str().into());
    put("detail", sum.details["verification-detail"].clone());
    put("version", way.version.as_str().into());
    put("key-exchange", way.key_exchange.as_str().into());
    put("dane", sum.details["dane"]["state"].clone());
    put("mta-sts", sum.details["mta-sts"]["mode"].clone());
    let certificate = sum.details["certificate"].as_object();
    let kept = ["subject", "issuer", "not-after", "sha256"];
    let kept = |found: &serde_json::Map<String, Value>| -> Value {
        kept.iter().filter_map(|name| Some(((*name).to_owned(), short(found.get(*name)?.clone())))).collect()
    };
    put("certificate", certificate.map_or(Value::Null, kept));
    Value::Object(facts)
}

/// Every sending domain that has any count, by name. Goes from one to the next and over none of their rows.
pub(super) fn domains(connection: &Connection) -> Result<Vec<String>, StoreError> {
    one_after_another(connection, NEXT_DOMAIN)
}

/// Deletes the oldest hour and the oldest day that ended before a time, of one sending domain after another until it is
/// enough for one transaction; says whether there may be more. Days go last, since it is by them that sending domains are found.
pub(super) fn purge_some(writing: &Writing<'_>, before: i64) -> Result<bool, StoreError> {
    let mut deleted = 0;
    for domain in domains(writing.connection)? {
        for span in [Span::Hour, Span::Day] {
            let whole = before.saturating_sub(span.length().as_micros() as i64).saturating_add(1);
            let mut oldest = writing.connection.prepare_cached(OLDEST)?;
            let start: Option<i64> =
                oldest.query_row(params![span.as_str(), domain, whole], |row| row.get(0)).optional()?;
            if let Some(start) = start {
                deleted += writing.connection.prepare_cached(DELETE)?.execute(params![span.as_str(), domain, start])?;
            }
        }
        if deleted >= ROWS_AT_ONCE {
            break;
        }
    }
    Ok(deleted > 0)
}
