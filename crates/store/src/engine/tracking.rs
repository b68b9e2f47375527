//! What recipients do with a message.

use policy::suppression::covers;
use rusqlite::{named_params, params};
use smtp::Domain;

use super::Engine;
use super::message::random_text;
use super::row::{from_json, to_json};
use super::sql::{NONE, OptionalExtension, Row};
use super::suppression::{find, put};
use super::writer::Writing;
use crate::suppression::{Suppression, SuppressionList};
use crate::tracking::{
    INTERACTIONS_PER_COPY, Interaction, TrackedCopy, TrackingChange, TrackingSettings, Unsubscription,
};
use crate::{EventKind, MessageId, NewEvent, StoreError, Timestamp};

/// `message.tracking` makes a message one whose recipients are served one by one.
pub(super) const TABLES: &str = "
ALTER TABLE domain ADD COLUMN tracking TEXT NOT NULL DEFAULT '{}';
ALTER TABLE message ADD COLUMN tracking TEXT;
ALTER TABLE recipient ADD COLUMN interactions INTEGER NOT NULL DEFAULT 0;

-- One row: what seals the links.
CREATE TABLE tracking_key (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    key BLOB NOT NULL
) STRICT;
";

const SELECT_SETTINGS: &str = "SELECT tracking FROM domain WHERE name = ?1";
const SET_SETTINGS: &str = "UPDATE domain SET tracking = ?2 WHERE name = ?1";
const MAKE_KEY: &str = "INSERT INTO tracking_key (id, key) VALUES (1, ?1) ON CONFLICT DO NOTHING";
const SELECT_KEY: &str = "SELECT key FROM tracking_key WHERE id = 1";

const COPY: &str = "
    SELECT message.id, message.domain, recipient.address
    FROM recipient JOIN message ON message.id = recipient.message
    WHERE recipient.id = ?1 AND message.accepted_at = ?2";
const COUNT: &str = "UPDATE recipient SET interactions = interactions + 1 WHERE id = ?1 AND interactions < ?2";
const INSERT: &str = "
    INSERT INTO event (at, key, message, domain, recipient, kind, details)
    VALUES (:at, :key, :message, :domain, :recipient, :kind, :details)";

impl Engine {
    pub(crate) async fn change_tracking(
        &self,
        domain: &Domain,
        change: TrackingChange,
    ) -> Result<Option<TrackingSettings>, StoreError> {
        let domain = domain.clone();
        self.writer
            .run(0, move |writing| {
                let mut select = writing.connection.prepare_cached(SELECT_SETTINGS)?;
                let mut rows = select.query([domain.as_str()])?;
                let Some(row) = rows.next()? else { return Ok(None) };
                let settings = change.clone().apply(from_json(row, "tracking")?);
                let values = params![domain.as_str(), to_json(&settings)?];
                writing.connection.prepare_cached(SET_SETTINGS)?.execute(values)?;
                Ok(Some(settings))
            })
            .await
    }

    /// The key that there is, else `fresh` from now on.
    pub(crate) async fn tracking_key(&self, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.writer
            .run(0, move |writing| {
                writing.connection.prepare_cached(MAKE_KEY)?.execute([fresh])?;
                Ok(writing.connection.prepare_cached(SELECT_KEY)?.query_row(NONE, |row| row.get(0))?)
            })
            .await
    }

    pub(crate) async fn record_interaction(
        &self,
        copy: TrackedCopy,
        kind: EventKind,
        interaction: Interaction,
    ) -> Result<bool, StoreError> {
        let details = to_json(&interaction)?;
        self.writer
            .run_new_mail(details.len(), move |writing| {
                let Some(told) = told(writing, copy)? else { return Ok(false) };
                let mut count = writing.connection.prepare_cached(COUNT)?;
                if count.execute(params![copy.recipient.0, INTERACTIONS_PER_COPY])? == 0 {
                    return Ok(false);
                }
                write_event(writing, &told, kind, &details)?;
                Ok(true)
            })
            .await
    }

    /// Written from what is in reserve when the disk is full: who unsubscribes is obeyed, and is one entry however often.
    pub(crate) async fn unsubscribe(
        &self,
        unsubscription: Unsubscription,
        interaction: Interaction,
    ) -> Result<bool, StoreError> {
        let details = to_json(&interaction)?;
        self.writer
            .run(details.len(), move |writing| {
                let Unsubscription { copy, domain, address, tags } = &unsubscription;
                let list = SuppressionList::Unsubscribes;
                let entry = Suppression { tags: tags.clone(), ..Suppression::of(address, Timestamp::now()) };
                let there = find(writing.connection, domain, list, &entry.subject)?;
                if there.is_some_and(|there| covers(&there.tags, tags)) {
                    return Ok(false);
                }
                put(writing, domain, list, &entry)?;
                if let Some(told) = told(writing, *copy)? {
                    write_event(writing, &told, EventKind::Unsubscribed, &details)?;
                }
                Ok(true)
            })
            .await
    }
}

/// What an event of a copy belongs to: the message, its sending domain and the recipient.
type Told = (MessageId, String, String);

/// The same of a copy that is still there.
fn told(writing: &Writing<'_>, copy: TrackedCopy) -> Result<Option<Told>, StoreError> {
    let mut select = writing.connection.prepare_cached(COPY)?;
    let found = select.query_row(params![copy.recipient.0, copy.accepted_at.as_micros()], |row| {
        Ok((MessageId(row.get(0)?), row.get(1)?, row.get(2)?))
    });
    Ok(found.optional()?)
}

fn write_event(
    writing: &Writing<'_>,
    (message, domain, address): &Told,
    kind: EventKind,
    details: &str,
) -> Result<(), StoreError> {
    let at = writing.event_time(Timestamp::now())?;
    let event = NewEvent { kind, severity: None, reason: None, attempt: None };
    writing.counts.add(writing.connection, at, *message, domain, address, &event)?;
    writing.connection.prepare_cached(INSERT)?.execute(named_params! {
        ":at": at.as_micros(),
        ":key": random_text(),
        ":message": message.0,
        ":domain": domain,
        ":recipient": address,
        ":kind": kind.as_str(),
        ":details": details,
    })?;
    Ok(())
}

/// What was done, of an event that tells it.
pub(super) fn interaction(row: Row<'_>, kind: EventKind) -> Result<Option<Interaction>, StoreError> {
    match kind {
        EventKind::Opened | EventKind::Clicked | EventKind::Unsubscribed => from_json(row, "details").map(Some),
        EventKind::Accepted
        | EventKind::Delivered
        | EventKind::Failed
        | EventKind::TlsDowngraded
        | EventKind::Complained => Ok(None),
    }
}
