//! Messages: accepted whole, and read for what is told about them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use rusqlite::params;
use smtp::Address;

use super::row::{
    from_json, get, method, number, optional_ip, optional_json, optional_time, parsed, resolved, source_word, time,
    to_json, word,
};
use super::sql::{Connection, OptionalExtension};
use super::writer::Writing;
use super::{Engine, copy, dsn, event, site};
use crate::dsn::NoticeId;
use crate::{
    AttemptRecord, EventKind, MessageId, MessageKey, MessageSummary, NewEvent, NewMessage, StoreError, Timestamp,
};

/// About how many octets a recipient takes in the tables, its event included.
const OCTETS_PER_RECIPIENT: usize = 500;
/// The code of an event that says "nothing was sent": Mailgun's own for its test mode.
const TEST_MODE_CODE: u16 = 650;

const INSERT_MESSAGE: &str = "
    INSERT INTO message (key, domain, message_id, return_path, header_from, header_to, subject, size, attachments,
        tags, user_variables, require_tls, require_tls_from, skip_verification, skip_verification_from, tls_fallback, tls_failure, tls_tag, dkim,
        method, test_mode, deliver_at, expires_at, copy_plan, tracking, template, api_key, originating_ip, accepted_at, unfinished, wire_kept)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
        ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, 1)";

const INSERT_WIRE: &str = "INSERT INTO wire (message, content) VALUES (?1, ?2)";

const INSERT_QUEUED: &str = "
    INSERT INTO recipient (message, destination, address, state, attempts, next_attempt_at, due_at, leased)
    VALUES (?1, ?2, ?3, 'queued', 0, ?4, ?4, 0)";

const INSERT_DELIVERED: &str = "
    INSERT INTO recipient (message, destination, address, state, attempts, next_attempt_at, due_at, leased)
    VALUES (?1, ?2, ?3, 'delivered', 1, ?4, NULL, 0)";

const SELECT_WIRE: &str = "SELECT content FROM wire WHERE message = ?1";
const SELECT_MESSAGE: &str = "SELECT * FROM message WHERE id = ?1";
const SELECT_ADDRESSES: &str = "SELECT address FROM recipient WHERE message = ?1 ORDER BY id";

impl Engine {
    pub(crate) async fn accept(&self, message: NewMessage) -> Result<MessageKey, StoreError> {
        self.insert_new(Prepared::new(message)?).await
    }

    pub(super) async fn insert_new(&self, prepared: Prepared) -> Result<MessageKey, StoreError> {
        let copies = prepared.copies.as_ref().map_or(0, copy::Prepared::octets);
        let per_recipient =
            OCTETS_PER_RECIPIENT + prepared.message.dsn.as_ref().map_or(0, |_| dsn::OCTETS_PER_RECIPIENT);
        let octets = prepared.message.wire.len() + per_recipient * prepared.message.recipients.len() + copies;
        self.writer.run_new_mail(octets, move |writing| prepared.insert(writing, Timestamp::now())).await
    }

    pub(crate) async fn wire(&self, message: MessageId) -> Result<Option<Bytes>, StoreError> {
        self.readers.run(move |connection| wire(connection, message)).await
    }
}

pub(super) fn wire(connection: &Connection, message: MessageId) -> Result<Option<Bytes>, StoreError> {
    let mut statement = connection.prepare_cached(SELECT_WIRE)?;
    let content = statement.query_row([message.0], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    Ok(content.map(Bytes::from))
}

/// A message with all that can be made ready before the writer's turn.
pub(super) struct Prepared {
    message: NewMessage,
    key: MessageKey,
    attachments: String,
    tags: String,
    user_variables: String,
    copies: Option<copy::Prepared>,
    /// What it tells, if it is a notification.
    tells: Vec<NoticeId>,
}

impl Prepared {
    pub(super) fn new(mut message: NewMessage) -> Result<Prepared, StoreError> {
        if message.recipients.is_empty() {
            return Err(StoreError::Invalid("a message needs a recipient".to_owned()));
        }
        let copies = message.copies.take().map(|copies| copy::Prepared::new(copies, message.recipients.len()));
        let copies = copies.transpose()?;
        Ok(Prepared {
            key: MessageKey(ordered_text()),
            attachments: to_json(&message.attachments)?,
            tags: to_json(&message.tags)?,
            user_variables: to_json(&message.user_variables)?,
            copies,
            tells: Vec::new(),
            message,
        })
    }

    pub(super) fn telling(self, tells: Vec<NoticeId>) -> Prepared {
        Prepared { tells, ..self }
    }

    fn insert(&self, writing: &Writing<'_>, now: Timestamp) -> Result<MessageKey, StoreError> {
        let id = self.insert_message(writing, now)?;
        writing.counts.know(id, if self.tells.is_empty() { Some(&self.tags) } else { None });
        if !self.tells.is_empty() {
            dsn::take(writing, id, &self.tells)?;
        }
        if let Some(request) = &self.message.dsn {
            dsn::insert(writing, id, request)?;
        }
        writing.connection.prepare_cached(INSERT_WIRE)?.execute(params![id.0, &self.message.wire[..]])?;
        if self.message.test_mode {
            self.deliver_at_once(writing, id, now)?
        } else {
            self.queue(writing, id, now)?
        }
        Ok(self.key.clone())
    }

    fn insert_message(&self, writing: &Writing<'_>, now: Timestamp) -> Result<MessageId, StoreError> {
        let message = &self.message;
        let unfinished = if message.test_mode { 0 } else { message.recipients.len() as u64 };
        let id = writing.connection.insert(
            INSERT_MESSAGE,
            params![
                self.key.0,
                message.domain.as_str(),
                message.message_id,
                message.return_path,
                message.header_from,
                message.header_to,
                message.subject,
                number(message.size),
                self.attachments,
                self.tags,
                self.user_variables,
                message.tls.policy.require_tls(),
                source_word(message.tls.require_tls_from),
                message.tls.policy.skip_verification(),
                source_word(message.tls.skip_verification_from),
                message.tls.fallback.as_str(),
                message.tls.when_left.as_str(),
                message.tls.tag.as_str(),
                message.dkim,
                message.method.as_str(),
                message.test_mode,
                message.deliver_at.map(Timestamp::as_micros),
                message.expires_at.map(Timestamp::as_micros),
                self.copies.as_ref().map(|copies| &copies.plan),
                message.tracking.as_ref().map(to_json).transpose()?,
                message.template.as_ref().map(to_json).transpose()?,
                message.api_key_id,
                message.originating_ip.map(|ip| ip.to_string()),
                now.as_micros(),
                number(unfinished),
            ],
        )?;
        Ok(MessageId(id))
    }

    fn queue(&self, writing: &Writing<'_>, id: MessageId, now: Timestamp) -> Result<(), StoreError> {
        let due = self.message.deliver_at.unwrap_or(now);
        self.insert_recipients(writing, id, INSERT_QUEUED, due)?;
        let mut destinations: Vec<_> = self.message.recipients.iter().map(Address::domain).collect();
        destinations.sort_unstable();
        destinations.dedup();
        for destination in destinations {
            site::due_no_later_than(writing, destination.as_str(), due)?;
        }
        self.tell_all(writing, id, now, &plain(EventKind::Accepted))
    }

    fn deliver_at_once(&self, writing: &Writing<'_>, id: MessageId, now: Timestamp) -> Result<(), StoreError> {
        self.insert_recipients(writing, id, INSERT_DELIVERED, now)?;
        self.tell_all(writing, id, now, &plain(EventKind::Accepted))?;
        let attempt = Some(test_mode_attempt());
        self.tell_all(writing, id, now, &NewEvent { attempt, ..plain(EventKind::Delivered) })
    }

    fn insert_recipients(
        &self,
        writing: &Writing<'_>,
        id: MessageId,
        statement: &str,
        due: Timestamp,
    ) -> Result<(), StoreError> {
        for (number, recipient) in self.message.recipients.iter().enumerate() {
            let address = recipient.to_string();
            let values = params![id.0, recipient.domain().as_str(), address, due.as_micros()];
            let recipient = writing.connection.insert(statement, values)?;
            if let Some(request) = &self.message.dsn {
                dsn::insert_recipient(writing, recipient, request, number)?;
            }
            if let Some(copies) = &self.copies {
                copies.insert(writing, id, recipient, number, &address)?;
            }
        }
        Ok(())
    }

    /// One event for each recipient.
    fn tell_all(
        &self,
        writing: &Writing<'_>,
        id: MessageId,
        now: Timestamp,
        event: &NewEvent,
    ) -> Result<(), StoreError> {
        for address in &self.message.recipients {
            event::insert(writing, now, id, self.message.domain.as_str(), &address.to_string(), event)?;
        }
        Ok(())
    }
}

fn plain(kind: EventKind) -> NewEvent {
    NewEvent { kind, severity: None, reason: None, attempt: None }
}

fn test_mode_attempt() -> AttemptRecord {
    AttemptRecord { message: "Test mode: not sent".to_owned(), ..AttemptRecord::unconnected(1, TEST_MODE_CODE) }
}

/// Text that nobody can guess, for use in URLs: 128 bits.
pub(crate) fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

/// The same with the time before it, so that names of the same time lie together in their index.
fn ordered_text() -> String {
    let mut octets = [0; 22];
    octets[..6].copy_from_slice(&Timestamp::now().as_micros().to_be_bytes()[1..7]);
    octets[6..].copy_from_slice(&rand::random::<[u8; 16]>());
    URL_SAFE_NO_PAD.encode(octets)
}

/// What is told about a message; `None` when it was purged.
pub(super) fn summary(connection: &Connection, id: MessageId) -> Result<Option<MessageSummary>, StoreError> {
    let mut select = connection.prepare_cached(SELECT_MESSAGE)?;
    let mut rows = select.query([id.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(MessageSummary {
        id,
        key: MessageKey(get(row, "key")?),
        domain: parsed(row, "domain")?,
        message_id: get(row, "message_id")?,
        return_path: get(row, "return_path")?,
        header_from: get(row, "header_from")?,
        header_to: get(row, "header_to")?,
        subject: get(row, "subject")?,
        size: get::<i64>(row, "size")?.unsigned_abs(),
        attachments: from_json(row, "attachments")?,
        tags: from_json(row, "tags")?,
        user_variables: from_json(row, "user_variables")?,
        tls: resolved(row)?,
        method: word(row, "method", method)?,
        test_mode: get(row, "test_mode")?,
        deliver_at: optional_time(row, "deliver_at")?,
        recipients: addresses(connection, id)?,
        is_individual: get::<Option<String>>(row, "copy_plan")?.is_some(),
        template: optional_json(row, "template")?,
        api_key_id: get(row, "api_key")?,
        originating_ip: optional_ip(row, "originating_ip")?,
        accepted_at: time(row, "accepted_at")?,
    }))
}

fn addresses(connection: &Connection, id: MessageId) -> Result<Vec<Address>, StoreError> {
    let mut select = connection.prepare_cached(SELECT_ADDRESSES)?;
    let mut rows = select.query([id.0])?;
    let mut addresses = Vec::new();
    while let Some(row) = rows.next()? {
        // The queue tells of one that cannot be read; it must not hide the others.
        addresses.extend(parsed(row, "address").ok());
    }
    Ok(addresses)
}
