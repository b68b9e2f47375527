//! Webhooks, and how far telling has come.

use rusqlite::params;
use smtp::Domain;

use super::Engine;
use super::row::{damaged, from_json, get, number, parsed, time, to_json};
use super::sql::{Connection, NONE, Params, Row};
use super::writer::Writing;
use crate::webhook::{
    Found, LastAnswer, SetAside, Subject, Subscription, Told, Webhook, WebhookId, WebhookPulse, WebhooksOf,
};
use crate::{Event, EventKind, Severity, StoreError, Timestamp};

/// The triggers also see what goes with its domain.
pub(super) const TABLES: &str = "
-- One row. changes: grows with every change of a webhook or of the key.
CREATE TABLE webhook_account (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    signing_key TEXT,
    changes INTEGER NOT NULL
) STRICT;
INSERT INTO webhook_account (id, signing_key, changes) VALUES (1, NULL, 0);

-- domain: NULL for webhooks that are told of every domain. told_to: every event up to that time was told or set aside.
CREATE TABLE webhook (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    domain TEXT REFERENCES domain (name) ON DELETE CASCADE,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    subjects TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    told_to INTEGER NOT NULL,
    last TEXT,
    last_failure TEXT,
    UNIQUE (domain, url)
) STRICT;

-- Events that could not be told. An event that is purged meanwhile is not told any more.
CREATE TABLE webhook_set_aside (
    webhook INTEGER NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    event INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    PRIMARY KEY (webhook, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_set_aside_due ON webhook_set_aside (webhook, due_at);

CREATE TRIGGER webhook_made AFTER INSERT ON webhook
/*-*/ BEGIN UPDATE webhook_account SET changes = changes + 1; END
    /*+ FOR EACH ROW EXECUTE FUNCTION webhook_changes() */;
CREATE TRIGGER webhook_changed AFTER UPDATE OF url, subjects ON webhook
/*-*/ BEGIN UPDATE webhook_account SET changes = changes + 1; END
    /*+ FOR EACH ROW EXECUTE FUNCTION webhook_changes() */;
CREATE TRIGGER webhook_gone AFTER DELETE ON webhook
/*-*/ BEGIN UPDATE webhook_account SET changes = changes + 1; END
    /*+ FOR EACH ROW EXECUTE FUNCTION webhook_changes() */;
";

const ALL: &str = "
    SELECT *, (SELECT count(*) FROM webhook_set_aside WHERE webhook = webhook.id) AS waiting
    FROM webhook ORDER BY id";
const OF_ACCOUNT: &str = "
    SELECT *, (SELECT count(*) FROM webhook_set_aside WHERE webhook = webhook.id) AS waiting
    FROM webhook WHERE domain IS NULL ORDER BY id";
const OF_DOMAIN: &str = "
    SELECT *, (SELECT count(*) FROM webhook_set_aside WHERE webhook = webhook.id) AS waiting
    FROM webhook WHERE domain = ?1 ORDER BY id";
const SUBSCRIPTIONS: &str = "SELECT * FROM webhook WHERE domain IS NOT DISTINCT FROM ?1 ORDER BY id";
const HAS_DOMAIN: &str = "SELECT EXISTS (SELECT 1 FROM domain WHERE name = ?1)";
const INSERT: &str = "
    INSERT INTO webhook (key, domain, url, description, subjects, created_at, told_to)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, coalesce((SELECT max(at) FROM event), 0))";
const UPDATE: &str = "UPDATE webhook SET url = ?2, description = ?3, subjects = ?4 WHERE key = ?1";
const DELETE: &str = "DELETE FROM webhook WHERE key = ?1";

const PULSE: &str = "SELECT changes, coalesce((SELECT max(at) FROM event), 0) FROM webhook_account";
// Events of notifications are those of no message that an application knows, and it is not told of them.
pub(super) const NEWS: &str = "SELECT DISTINCT domain, kind, severity FROM event WHERE at > ?1 AND at <= ?2";
pub(super) const FIND_OF_DOMAIN: &str = "
    SELECT at, kind, severity, EXISTS (SELECT 1 FROM notification n WHERE n.message = event.message) AS is_notification
    FROM event INDEXED BY event_domain
    WHERE domain = ?1 AND at > ?2 ORDER BY at LIMIT ?3";
pub(super) const FIND_OF_ALL: &str = "
    SELECT at, kind, severity, EXISTS (SELECT 1 FROM notification n WHERE n.message = event.message) AS is_notification
    FROM event WHERE coalesce(?1, '') = '' AND at > ?2 ORDER BY at LIMIT ?3";
const LAST_EVENT: &str = "SELECT max(at) FROM event";

pub(super) const SOONEST: &str = "
    SELECT event, attempts, due_at FROM webhook_set_aside INDEXED BY webhook_set_aside_due
    WHERE webhook = ?1 ORDER BY due_at LIMIT ?2";
const COUNT_SET_ASIDE: &str = "SELECT count(*) FROM webhook_set_aside WHERE webhook = ?1";
const TOLD: &str = "
    UPDATE webhook SET told_to = max(told_to, coalesce(?2, told_to)), last = coalesce(?3, last),
        last_failure = coalesce(?4, last_failure)
    WHERE id = ?1";
const SET_ASIDE: &str = "
    INSERT INTO webhook_set_aside (webhook, event, attempts, due_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (webhook, event) DO UPDATE SET attempts = excluded.attempts, due_at = excluded.due_at";
const FINISH: &str = "DELETE FROM webhook_set_aside WHERE webhook = ?1 AND event = ?2";

const KEY: &str = "SELECT signing_key FROM webhook_account";
const SET_KEY: &str = "UPDATE webhook_account SET signing_key = ?1, changes = changes + 1";

impl Engine {
    pub(crate) async fn webhooks(&self, of: WebhooksOf) -> Result<Vec<Webhook>, StoreError> {
        self.readers
            .run(move |connection| match &of {
                WebhooksOf::Everybody => every(connection, ALL, NONE, webhook),
                WebhooksOf::Account => every(connection, OF_ACCOUNT, NONE, webhook),
                WebhooksOf::Domain(domain) => every(connection, OF_DOMAIN, [domain.as_str()], webhook),
            })
            .await
    }

    pub(crate) async fn edit_webhooks<T, E>(
        &self,
        domain: Option<&Domain>,
        mut edit: impl FnMut(&mut Vec<Subscription>) -> Result<T, E> + Send + 'static,
    ) -> Result<Result<T, E>, StoreError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let domain = domain.cloned();
        self.writer
            .run(0, move |writing| {
                let name = domain.as_ref().map(Domain::as_str);
                let before = every(writing.connection, SUBSCRIPTIONS, [name], subscription)?;
                let mut after = before.clone();
                let edited = edit(&mut after);
                if edited.is_ok() {
                    write(writing, name, &before, &after)?;
                }
                Ok(edited)
            })
            .await
    }

    pub(crate) async fn webhook_pulse(&self) -> Result<WebhookPulse, StoreError> {
        let pulse =
            |row: Row<'_>| Ok(WebhookPulse { changes: row.get(0)?, last_event: Timestamp::from_micros(row.get(1)?) });
        self.readers.run(move |connection| Ok(connection.prepare_cached(PULSE)?.query_row(NONE, pulse)?)).await
    }

    pub(crate) async fn webhook_news(
        &self,
        after: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Domain, Subject)>, StoreError> {
        let range = [after, to].map(Timestamp::as_micros);
        let news = |row: Row<'_>| Ok(subject(row)?.map(|subject| Ok((parsed(row, "domain")?, subject))));
        self.readers.run(move |connection| every(connection, NEWS, range, news)?.into_iter().flatten().collect()).await
    }

    pub(crate) async fn find_for_webhook(
        &self,
        webhook: &Webhook,
        after: Timestamp,
        limit: usize,
    ) -> Result<Found, StoreError> {
        let (domain, subjects) = (webhook.domain.clone(), webhook.subscription.subjects.clone());
        self.readers
            .run(move |connection| {
                let sql = if domain.is_some() { FIND_OF_DOMAIN } else { FIND_OF_ALL };
                let place = params![domain.as_ref().map(Domain::as_str), after.as_micros(), number(limit as u64)];
                let looked_at = every(connection, sql, place, |row| {
                    let subject = if get(row, "is_notification")? { None } else { subject(row)? };
                    Ok((time(row, "at")?, subject))
                })?;
                let more = looked_at.len() >= limit;
                let last: Option<i64> = match looked_at.last() {
                    Some((at, _)) if more => Some(at.as_micros()),
                    _ => connection.prepare_cached(LAST_EVENT)?.query_row(NONE, |row| row.get(0))?,
                };
                let wanted = |subject: Option<Subject>| subject.is_some_and(|subject| subjects.contains(&subject));
                Ok(Found {
                    events: looked_at.into_iter().filter(|(_, subject)| wanted(*subject)).map(|(at, _)| at).collect(),
                    searched_to: last.map_or(after, |last| after.max(Timestamp::from_micros(last))),
                    more,
                })
            })
            .await
    }

    pub(crate) async fn event_at(&self, at: Timestamp) -> Result<Option<Event>, StoreError> {
        self.readers.run(move |connection| super::event::at(connection, at)).await
    }

    pub(crate) async fn set_aside(&self, id: WebhookId, limit: usize) -> Result<(u64, Vec<SetAside>), StoreError> {
        let set_aside = |row: Row<'_>| {
            Ok(SetAside { event: time(row, "event")?, attempts: get(row, "attempts")?, due_at: time(row, "due_at")? })
        };
        self.readers
            .run(move |connection| {
                let count: i64 = connection.prepare_cached(COUNT_SET_ASIDE)?.query_row([id.0], |row| row.get(0))?;
                let soonest = every(connection, SOONEST, params![id.0, number(limit as u64)], set_aside)?;
                Ok((count.unsigned_abs(), soonest))
            })
            .await
    }

    pub(crate) async fn told(&self, id: WebhookId, told: Told) -> Result<(), StoreError> {
        self.writer.run_traffic(0, move |writing| write_told(writing, id, &told)).await
    }

    pub(crate) async fn signing_key(&self, or: String) -> Result<String, StoreError> {
        let read = |connection: &Connection| -> Result<Option<String>, StoreError> {
            Ok(connection.prepare_cached(KEY)?.query_row(NONE, |row| row.get(0))?)
        };
        if let Some(key) = self.readers.run(read).await? {
            return Ok(key);
        }
        self.writer
            .run(0, move |writing| {
                // Somebody else may have been quicker.
                if let Some(key) = read(writing.connection)? {
                    return Ok(key);
                }
                writing.connection.prepare_cached(SET_KEY)?.execute([&or])?;
                Ok(or.clone())
            })
            .await
    }

    pub(crate) async fn set_signing_key(&self, key: String) -> Result<(), StoreError> {
        self.writer
            .run(0, move |writing| Ok(writing.connection.prepare_cached(SET_KEY)?.execute([&key]).map(|_| ())?))
            .await
    }
}

fn write(
    writing: &Writing<'_>,
    domain: Option<&str>,
    before: &[Subscription],
    after: &[Subscription],
) -> Result<(), StoreError> {
    let connection = writing.connection;
    if let Some(name) = domain
        && !connection.prepare_cached(HAS_DOMAIN)?.query_row([name], |row| row.get::<_, bool>(0))?
    {
        return Err(StoreError::Invalid(format!("there is no domain {name}")));
    }
    let kept: Vec<_> = after.iter().filter(|subscription| !subscription.subjects.is_empty()).collect();
    for gone in before.iter().filter(|old| kept.iter().all(|new| new.key != old.key)) {
        connection.prepare_cached(DELETE)?.execute([&gone.key])?;
    }
    for new in kept {
        let Subscription { key, url, description, .. } = new;
        let subjects = to_json(&new.subjects)?;
        match before.iter().find(|old| old.key == new.key) {
            Some(old) if old == new => {}
            Some(_) => {
                connection.prepare_cached(UPDATE)?.execute(params![key, url, description, subjects])?;
            }
            None => {
                let created_at = new.created_at.as_micros();
                let values = params![key, domain, url, description, subjects, created_at];
                connection.prepare_cached(INSERT)?.execute(values)?;
            }
        }
    }
    Ok(())
}

fn write_told(writing: &Writing<'_>, id: WebhookId, told: &Told) -> Result<(), StoreError> {
    let json = |answer: &Option<LastAnswer>| answer.as_ref().map(to_json).transpose();
    let values = params![id.0, told.to.map(Timestamp::as_micros), json(&told.last)?, json(&told.last_failure)?];
    if writing.connection.prepare_cached(TOLD)?.execute(values)? == 0 {
        return Ok(());
    }
    let mut set_aside = writing.connection.prepare_cached(SET_ASIDE)?;
    for SetAside { event, attempts, due_at } in &told.set_aside {
        set_aside.execute(params![id.0, event.as_micros(), attempts, due_at.as_micros()])?;
    }
    let mut finish = writing.connection.prepare_cached(FINISH)?;
    for event in &told.finished {
        finish.execute([id.0, event.as_micros()])?;
    }
    Ok(())
}

/// Everything that a statement finds.
fn every<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl Fn(Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(values)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

fn subject(row: Row<'_>) -> Result<Option<Subject>, StoreError> {
    let (kind, severity) = (get::<String>(row, "kind")?, get::<Option<String>>(row, "severity")?);
    let severity = severity.as_deref().and_then(Severity::from_word);
    // A newer program may have written kinds that this one does not know.
    Ok(EventKind::from_word(&kind).map(|kind| Subject::of(kind, severity)))
}

fn subscription(row: Row<'_>) -> Result<Subscription, StoreError> {
    Ok(Subscription {
        key: get(row, "key")?,
        url: get(row, "url")?,
        description: get(row, "description")?,
        subjects: from_json(row, "subjects")?,
        created_at: time(row, "created_at")?,
    })
}

fn webhook(row: Row<'_>) -> Result<Webhook, StoreError> {
    let domain = get::<Option<String>>(row, "domain")?;
    Ok(Webhook {
        id: WebhookId(get(row, "id")?),
        domain: domain.map(|name| name.parse().map_err(|_| damaged("domain"))).transpose()?,
        subscription: subscription(row)?,
        told_to: time(row, "told_to")?,
        set_aside: get::<i64>(row, "waiting")?.unsigned_abs(),
        last: last_answer(row, "last")?,
        last_failure: last_answer(row, "last_failure")?,
    })
}

fn last_answer(row: Row<'_>, column: &str) -> Result<Option<LastAnswer>, StoreError> {
    let text = get::<Option<String>>(row, column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| damaged(column))).transpose()
}
