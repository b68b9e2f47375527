//! Notifications by mail: what was asked, what is to be told.

use policy::dsn::{DELAYED_AFTER, is_wanted, wait_for_others};
use rusqlite::params;
use smtp::dsn::{Action, MailDsn, RcptDsn};

use super::Engine;
use super::bounce::find;
use super::message::Prepared;
use super::row::{damaged, from_json, get, number, optional_time, parsed, resolved, time, to_json};
use super::sql::{Connection, OptionalExtension, Row};
use super::writer::Writing;
use crate::bounce::Recorded;
use crate::dsn::{DsnRequest, DueNotices, Facts, LaterReport, Notice, NoticeId, RECIPIENTS_PER_NOTIFICATION};
use crate::{JobDsn, MessageId, MessageKey, NewEvent, NewMessage, NewState, RecipientId, StoreError, Timestamp};

/// A message without a row in `dsn` is one of which nobody is told, and of which the next host is told nothing.
pub(super) const TABLES: &str = "
-- return_to: NULL for the null reverse-path. sent: notifications so far.
CREATE TABLE dsn (
    message INTEGER PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    return_to TEXT,
    unasked INTEGER NOT NULL,
    ret TEXT,
    envid TEXT,
    sent INTEGER NOT NULL
) STRICT;

-- Only of recipients of whom RCPT said something.
CREATE TABLE dsn_recipient (
    recipient INTEGER PRIMARY KEY REFERENCES recipient (id) ON DELETE CASCADE,
    notify TEXT,
    orcpt TEXT,
    success_told INTEGER NOT NULL,
    delay_told INTEGER NOT NULL
) STRICT;

-- What is to be told; goes when the notification that tells it is queued.
CREATE TABLE notice (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    recipient INTEGER NOT NULL REFERENCES recipient (id) ON DELETE CASCADE,
    action TEXT NOT NULL,
    at INTEGER NOT NULL,
    facts TEXT NOT NULL,
    due_at INTEGER NOT NULL
) STRICT;
CREATE INDEX notice_due ON notice (due_at);
CREATE INDEX notice_message ON notice (message);
CREATE INDEX notice_recipient ON notice (recipient);

-- Messages that are notifications, for whom other rules hold.
CREATE TABLE notification (
    message INTEGER PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE
) STRICT;
";

/// About how many octets what is asked of a recipient takes in the tables.
pub(super) const OCTETS_PER_RECIPIENT: usize = 600;

const INSERT: &str = "INSERT INTO dsn (message, return_to, unasked, ret, envid, sent) VALUES (?1, ?2, ?3, ?4, ?5, 0)";
const INSERT_RECIPIENT: &str = "
    INSERT INTO dsn_recipient (recipient, notify, orcpt, success_told, delay_told) VALUES (?1, ?2, ?3, 0, 0)";
const OF_MESSAGE: &str = "
    SELECT d.ret, d.envid, d.return_to IS NOT DISTINCT FROM m.return_path AS is_of_return_path
    FROM dsn d JOIN message m ON m.id = d.message WHERE d.message = ?1";
const OF_RECIPIENT: &str = "SELECT notify, orcpt FROM dsn_recipient WHERE recipient = ?1";

const ASKED: &str = "
    SELECT d.unasked, d.sent, m.unfinished, coalesce(m.deliver_at, m.accepted_at) AS begun_at,
        r.notify, coalesce(r.success_told, 0) AS success_told, coalesce(r.delay_told, 0) AS delay_told
    FROM dsn d JOIN message m ON m.id = d.message LEFT JOIN dsn_recipient r ON r.recipient = ?2
    WHERE d.message = ?1 AND d.return_to IS NOT NULL";
const SUCCESS_TOLD: &str = "UPDATE dsn_recipient SET success_told = 1 WHERE recipient = ?1";
const DELAY_TOLD: &str = "UPDATE dsn_recipient SET delay_told = 1 WHERE recipient = ?1";
const INSERT_NOTICE: &str = "
    INSERT INTO notice (message, recipient, action, at, facts, due_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

pub(super) const NO_LONGER_DELAYED: &str =
    "DELETE FROM notice INDEXED BY notice_recipient WHERE recipient = ?1 AND action = 'delayed'";

pub(super) const FIRST_DUE: &str =
    "SELECT message FROM notice INDEXED BY notice_due WHERE due_at <= ?1 ORDER BY due_at LIMIT 1";
const DUE: &str = "
    SELECT m.*, d.return_to, d.ret, d.envid FROM message m JOIN dsn d ON d.message = m.id WHERE m.id = ?1";
pub(super) const NOTICES: &str = "
    SELECT n.id, n.action, n.at, n.facts, r.address, d.orcpt FROM notice n INDEXED BY notice_message
    CROSS JOIN recipient r ON r.id = n.recipient LEFT JOIN dsn_recipient d ON d.recipient = n.recipient
    WHERE n.message = ?1 ORDER BY n.id LIMIT ?2";
const TAKE: &str = "DELETE FROM notice WHERE id = ?1 RETURNING message";
const ONE_MORE_SENT: &str = "UPDATE dsn SET sent = sent + 1 WHERE message = ?1";
const INSERT_NOTIFICATION: &str = "INSERT INTO notification (message) VALUES (?1)";
const FORGET: &str = "DELETE FROM notice WHERE message = ?1";

impl Engine {
    pub(crate) async fn due_notices(&self, now: Timestamp) -> Result<Option<DueNotices>, StoreError> {
        let first = move |connection: &Connection| {
            let mut select = connection.prepare_cached(FIRST_DUE)?;
            Ok(select.query_row([now.as_micros()], |row| row.get(0).map(MessageId)).optional()?)
        };
        loop {
            let Some(message) = self.readers.run(first).await? else { return Ok(None) };
            match self.readers.run(move |connection| due(connection, message)).await {
                // It would keep all others from being told. The events still tell it.
                Err(StoreError::Damaged(what)) => {
                    tracing::error!(message = message.0, what, "the store is damaged: a sender is not notified");
                    let forget = move |writing: &Writing<'_>| {
                        Ok(writing.connection.prepare_cached(FORGET)?.execute([message.0]).map(|_| ())?)
                    };
                    self.writer.run(0, forget).await?;
                }
                found => return found.map(Some),
            }
        }
    }

    pub(crate) async fn notify(
        &self,
        notification: NewMessage,
        tells: Vec<NoticeId>,
    ) -> Result<MessageKey, StoreError> {
        let prepared = Prepared::new(notification)?.telling(tells);
        self.insert_new(prepared).await
    }

    pub(crate) async fn record_report(&self, now: Timestamp, report: LaterReport) -> Result<Recorded, StoreError> {
        self.writer
            .run(OCTETS_PER_RECIPIENT, move |writing| {
                let LaterReport { transaction, accepted_at, address, action, facts } = &report;
                let Some(found) = find(writing, *transaction, *accepted_at, address.as_ref())? else {
                    return Ok(Recorded::Unknown);
                };
                match &*found.state {
                    "delivered" => {}
                    "queued" => return Ok(Recorded::Early),
                    _ => return Ok(Recorded::Known),
                }
                let is_told = notice(writing, now, found.message, found.recipient, *action, facts)?;
                Ok(if is_told { Recorded::Noted } else { Recorded::Known })
            })
            .await
    }
}

/// Keeps what is asked, in the transaction that keeps the message.
pub(super) fn insert(writing: &Writing<'_>, message: MessageId, request: &DsnRequest) -> Result<(), StoreError> {
    let DsnRequest { return_to, unasked, mail, .. } = request;
    writing.connection.prepare_cached(INSERT)?.execute(params![
        message.0,
        return_to.as_ref().map(ToString::to_string),
        unasked,
        mail.ret.map(|ret| ret.to_string()),
        mail.envid.as_ref().map(ToString::to_string),
    ])?;
    Ok(())
}

/// The same of the recipient that was inserted last.
pub(super) fn insert_recipient(
    writing: &Writing<'_>,
    recipient: i64,
    request: &DsnRequest,
    number: usize,
) -> Result<(), StoreError> {
    let Some(asked) = request.recipients.get(number).filter(|asked| asked.is_given()) else { return Ok(()) };
    let notify = asked.notify.map(|notify| notify.to_string());
    let orcpt = asked.orcpt.as_ref().map(ToString::to_string);
    writing.connection.prepare_cached(INSERT_RECIPIENT)?.execute(params![recipient, notify, orcpt])?;
    Ok(())
}

/// Takes off what the notification tells, before anything is written of that message.
pub(super) fn take(writing: &Writing<'_>, notification: MessageId, tells: &[NoticeId]) -> Result<(), StoreError> {
    let mut take = writing.connection.prepare_cached(TAKE)?;
    let mut about = None;
    for notice in tells {
        let message: Option<i64> = take.query_row([notice.0], |row| row.get(0)).optional()?;
        about = Some(message.ok_or_else(|| StoreError::Conflict("a notification of this".to_owned()))?);
    }
    writing.connection.prepare_cached(ONE_MORE_SENT)?.execute([about])?;
    writing.connection.prepare_cached(INSERT_NOTIFICATION)?.execute([notification.0])?;
    Ok(())
}

/// What the next host is to be told: of the message and, in their order, of these recipients.
pub(super) fn asked(
    connection: &Connection,
    message: MessageId,
    recipients: impl Iterator<Item = RecipientId>,
) -> Result<Option<(JobDsn, Vec<RcptDsn>)>, StoreError> {
    let mut select = connection.prepare_cached(OF_MESSAGE)?;
    let mut rows = select.query([message.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mail = JobDsn { mail: mail_dsn(row)?, is_of_return_path: get(row, "is_of_return_path")? };
    let mut select = connection.prepare_cached(OF_RECIPIENT)?;
    let of_recipient = |recipient: RecipientId| {
        let mut rows = select.query([recipient.0])?;
        let Some(row) = rows.next()? else { return Ok(RcptDsn::default()) };
        Ok(RcptDsn { notify: optional(row, "notify")?, orcpt: optional(row, "orcpt")? })
    };
    let recipients = recipients.map(of_recipient).collect::<Result<_, StoreError>>()?;
    Ok(Some((mail, recipients)))
}

/// What an outcome gives to tell, in the transaction that records it.
pub(super) fn tell(
    writing: &Writing<'_>,
    now: Timestamp,
    message: MessageId,
    recipient: i64,
    state: NewState,
    events: &[NewEvent],
) -> Result<(), StoreError> {
    let action = match state {
        NewState::Failed | NewState::Bounced => Action::Failed,
        NewState::Relayed => Action::Relayed,
        NewState::Deferred { .. } => Action::Delayed,
        // The host that took it tells the rest.
        NewState::Delivered => return no_longer_delayed(writing, recipient),
        NewState::Released => return Ok(()),
    };
    if action != Action::Delayed {
        no_longer_delayed(writing, recipient)?;
    }
    match notice(writing, now, message, recipient, action, &Facts::of(events)) {
        // An outcome must be recorded whatever else is damaged.
        Err(StoreError::Damaged(what)) => {
            tracing::error!(message = message.0, what, "the store is damaged: a sender is not notified");
            Ok(())
        }
        told => told.map(|_| ()),
    }
}

/// That it is still being tried is not told any more.
fn no_longer_delayed(writing: &Writing<'_>, recipient: i64) -> Result<(), StoreError> {
    writing.connection.prepare_cached(NO_LONGER_DELAYED)?.execute([recipient])?;
    Ok(())
}

/// Writes what is to be told, if somebody wants to know, and says whether it did.
pub(super) fn notice(
    writing: &Writing<'_>,
    now: Timestamp,
    message: MessageId,
    recipient: i64,
    action: Action,
    facts: &Facts,
) -> Result<bool, StoreError> {
    let connection = writing.connection;
    let mut select = connection.prepare_cached(ASKED)?;
    let mut rows = select.query([message.0, recipient])?;
    let Some(row) = rows.next()? else { return Ok(false) };
    if !is_wanted(optional(row, "notify")?, get(row, "unasked")?, action) {
        return Ok(false);
    }
    let once = match action {
        Action::Failed => None,
        Action::Delayed if !facts.reported && now < time(row, "begun_at")? + DELAYED_AFTER => return Ok(false),
        Action::Delayed => Some(("delay_told", DELAY_TOLD)),
        Action::Delivered | Action::Relayed | Action::Expanded => Some(("success_told", SUCCESS_TOLD)),
    };
    if let Some((told, tell)) = once {
        if get(row, told)? {
            return Ok(false);
        }
        connection.prepare_cached(tell)?.execute([recipient])?;
    }
    let wait = wait_for_others(get(row, "sent")?, get::<i64>(row, "unfinished")? == 0);
    let due_at = now + wait;
    connection.prepare_cached(INSERT_NOTICE)?.execute(params![
        message.0,
        recipient,
        action.as_str(),
        now.as_micros(),
        to_json(facts)?,
        due_at.as_micros(),
    ])?;
    Ok(true)
}

fn due(connection: &Connection, message: MessageId) -> Result<DueNotices, StoreError> {
    let mut select = connection.prepare_cached(DUE)?;
    let mut rows = select.query([message.0])?;
    let Some(row) = rows.next()? else { return Err(damaged("notice")) };
    let mut select = connection.prepare_cached(NOTICES)?;
    let mut found = select.query(params![message.0, number(RECIPIENTS_PER_NOTIFICATION as u64)])?;
    let mut notices = Vec::new();
    while let Some(row) = found.next()? {
        notices.push(Notice {
            id: NoticeId(get(row, "id")?),
            recipient: parsed(row, "address")?,
            orcpt: optional(row, "orcpt")?,
            action: parsed(row, "action")?,
            at: time(row, "at")?,
            facts: from_json(row, "facts")?,
        });
    }
    Ok(DueNotices {
        message,
        domain: parsed(row, "domain")?,
        message_id: get(row, "message_id")?,
        accepted_at: time(row, "accepted_at")?,
        expires_at: optional_time(row, "expires_at")?,
        tls: resolved(row)?,
        return_to: parsed(row, "return_to")?,
        mail: mail_dsn(row)?,
        notices,
    })
}

fn mail_dsn(row: Row<'_>) -> Result<MailDsn, StoreError> {
    Ok(MailDsn { ret: optional(row, "ret")?, envid: optional(row, "envid")? })
}

/// The column's text as what it was written from, where there may be none.
fn optional<T: std::str::FromStr>(row: Row<'_>, column: &str) -> Result<Option<T>, StoreError> {
    get::<Option<String>>(row, column)?.map(|text| text.parse().map_err(|_| damaged(column))).transpose()
}
