//! Notifications by mail (RFC 3461): what senders ask to be told, and what is to be told to them.
//!
//! What is to be told is a *notice*, written in the transaction that makes it true. Later it is taken off in the transaction
//! that queues the notification which tells it. So a crash between the two neither loses nor doubles it.

use policy::tls::Resolved;
use serde::{Deserialize, Serialize};
use smtp::dsn::{Action, MailDsn, Orcpt, RcptDsn};
use smtp::{Address, Domain, EnhancedCode};

use crate::bounce::Recorded;
use crate::{MessageId, MessageKey, NewEvent, NewMessage, RecipientId, Store, StoreError, Timestamp};

/// Most recipients that one notification tells of. Others go with the next.
pub const RECIPIENTS_PER_NOTIFICATION: usize = 100;

/// What the sender of a message asks to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DsnRequest {
    /// Whom to tell: the reverse-path as it was given; nobody if that was the null one.
    pub return_to: Option<Address>,
    /// Whether failures are told of where RCPT had no NOTIFY.
    pub unasked: bool,
    /// What MAIL said.
    pub mail: MailDsn,
    /// What RCPT said, for each recipient in the order of the message's.
    pub recipients: Vec<RcptDsn>,
}

/// The store's own number of a notice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoticeId(pub(crate) i64);

/// What is to be told of one recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Which one.
    pub id: NoticeId,
    /// Of whom.
    pub recipient: Address,
    /// The recipient as the sender knows it.
    pub orcpt: Option<Orcpt>,
    /// What was done.
    pub action: Action,
    /// When.
    pub at: Timestamp,
    /// How and why.
    pub facts: Facts,
}

/// How it came, in plain values: notices outlive the events that tell the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Facts {
    /// How many attempts were made.
    pub attempts: u32,
    /// The code of the reply, or what stands for one.
    pub code: Option<u16>,
    /// The enhanced code (RFC 3463) as text.
    pub status: Option<String>,
    /// Why, in words.
    pub words: String,
    /// Whether code and words are those of `host`, not ours.
    pub from_host: bool,
    /// The host that was last spoken to.
    pub host: Option<String>,
    /// Whether something of the message went there within TLS; `None` when nothing is known of a connection.
    pub tls: Option<bool>,
    /// Whether the delivery depended on its certificate.
    pub certificate_verified: bool,
    /// Why not within TLS, as one code.
    pub fallback: Option<String>,
    /// Whether another server reported it, after it had taken the message.
    pub reported: bool,
}

impl Facts {
    /// What these events tell, the first of which has the evidence.
    pub(crate) fn of(events: &[NewEvent]) -> Facts {
        let Some(attempt) = events.iter().find_map(|event| event.attempt.as_ref()) else { return Facts::default() };
        let connection = attempt.connection.as_ref();
        let from_host = attempt.description.is_empty() && connection.is_some();
        let words = if from_host || attempt.description.is_empty() { &attempt.message } else { &attempt.description };
        Facts {
            attempts: attempt.attempt_no,
            code: Some(attempt.code),
            status: attempt.enhanced_code.map(|code| code.to_string()),
            words: words.clone(),
            from_host,
            host: connection.map(|connection| connection.mx_host.clone()),
            tls: connection.map(|connection| connection.tls),
            certificate_verified: connection.is_some_and(|connection| connection.certificate_verified),
            fallback: attempt.details.get("fallback").and_then(|code| code.as_str()).map(str::to_owned),
            reported: false,
        }
    }

    /// The enhanced code, where there is one.
    pub fn enhanced_code(&self) -> Option<EnhancedCode> {
        self.status.as_ref()?.parse().ok()
    }
}

/// A message of which something is to be told now.
#[derive(Debug, Clone, PartialEq)]
pub struct DueNotices {
    /// The message; [`Store::wire`] may have its content.
    pub message: MessageId,
    /// Its sending domain.
    pub domain: Domain,
    /// Its Message-ID, without brackets.
    pub message_id: String,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Not to be tried after.
    pub expires_at: Option<Timestamp>,
    /// What its sender asked for.
    pub tls: Resolved,
    /// Whom to tell.
    pub return_to: Address,
    /// What MAIL said.
    pub mail: MailDsn,
    /// What to tell: at least one, at most [`RECIPIENTS_PER_NOTIFICATION`].
    pub notices: Vec<Notice>,
}

/// What another server reports of a message that it took, other than that it failed.
#[derive(Debug, Clone, PartialEq)]
pub struct LaterReport {
    /// A recipient of the transaction that it is about.
    pub transaction: RecipientId,
    /// When its message was accepted, in whole seconds.
    pub accepted_at: i64,
    /// Which recipient of that transaction; `None` is the one above.
    pub address: Option<Address>,
    /// What was done.
    pub action: Action,
    /// How.
    pub facts: Facts,
}

impl Store {
    /// The message that has waited longest to be told of, if any is due.
    pub async fn due_notices(&self, now: Timestamp) -> Result<Option<DueNotices>, StoreError> {
        self.engine().due_notices(now).await
    }

    /// Queues a notification and takes off what it tells, both or neither; [`StoreError::Conflict`] when somebody has
    /// told one of these already.
    pub async fn notify(&self, notification: NewMessage, tells: Vec<NoticeId>) -> Result<MessageKey, StoreError> {
        self.engine().notify(notification, tells).await
    }

    /// Keeps what another server reports, to be told to whoever asked for it; once for each kind and recipient.
    pub async fn record_report(&self, now: Timestamp, report: LaterReport) -> Result<Recorded, StoreError> {
        self.engine().record_report(now, report).await
    }
}
