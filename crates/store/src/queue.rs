//! What waits to be delivered: claimed under a lease, recorded when it was tried.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use policy::site::Site;
use policy::suppression::Listed;
use policy::tls::Resolved;
use smtp::dsn::{MailDsn, RcptDsn};
use smtp::{Address, Domain};

use crate::{Gate, IndividualCopy, MessageId, NewEvent, Timestamp};

/// Most recipients of one job: what every host takes in one transaction (RFC 5321 §4.5.3.1.8).
pub const RECIPIENTS_PER_JOB: usize = smtp::limits::RECIPIENTS_PER_TRANSACTION;

/// The store's own number of a recipient of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecipientId(pub(crate) i64);

impl RecipientId {
    /// The number itself, for a name that goes out and comes back.
    pub fn number(self) -> i64 {
        self.0
    }

    /// The recipient of that number, if there is one.
    pub fn of_number(number: i64) -> RecipientId {
        RecipientId(number)
    }
}

/// Asks for work.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What is due at this time is taken.
    pub now: Timestamp,
    /// Nobody else gets it before this time, or before its outcome is recorded. After it the work is free again.
    pub lease_until: Timestamp,
    /// Most jobs.
    pub limit: usize,
    /// Of these, most for sites that are not known to be prompt, so that however many are slow or dead something is left
    /// for those that are not.
    pub slow_limit: usize,
    /// Who knows how much each site and each destination may have.
    pub gate: Arc<dyn Gate>,
}

/// One message for one destination, leased to whoever claimed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Which message; [`Store::wire`](crate::Store::wire) has its content.
    pub message: MessageId,
    /// The sending domain.
    pub domain: Domain,
    /// The domain of all recipients of this job.
    pub destination: Domain,
    /// The site that the destination belongs to, as far as is known.
    pub site: Site,
    /// Whether the site is known to be prompt.
    pub is_prompt: bool,
    /// The reverse-path, empty for the null one.
    pub return_path: String,
    /// The Message-ID, without brackets.
    pub message_id: String,
    /// What the sender asked for.
    pub tls: Resolved,
    /// Its tags.
    pub tags: Vec<String>,
    /// Whether it is to be signed with the keys of the sending domain.
    pub dkim: bool,
    /// Size in octets, before dot-stuffing.
    pub size: u64,
    /// To whom: at least one, at most [`RECIPIENTS_PER_JOB`]; one alone if there is a `copy_plan` or
    /// `tracking`.
    pub recipients: Vec<ClaimedRecipient>,
    /// How the recipient's own copy is made of the content ([`NewCopies::plan`](crate::NewCopies::plan)), and
    /// [`Store::copy`](crate::Store::copy) has what it is made with.
    pub copy_plan: Option<serde_json::Value>,
    /// How what the recipient does is tracked ([`NewMessage::tracking`](crate::NewMessage::tracking)).
    pub tracking: Option<serde_json::Value>,
    /// Not to be tried after.
    pub expires_at: Option<Timestamp>,
    /// When the message was accepted.
    pub accepted_at: Timestamp,
    /// What its sender said in MAIL about notifications, for the next host; `None` when there is nothing to say of them.
    pub dsn: Option<JobDsn>,
    /// Whether it is itself a notification.
    pub is_notification: bool,
    /// What an attempt needs beside it, as it was when the job was claimed.
    pub loaded: Loaded,
}

/// Longest content that comes with a claim, in octets; longer is read when its attempt begins.
pub const LOADED_OCTETS: u64 = 64 * 1024;

/// What comes with a [`Job`], read for all jobs of a claim at once. What could not be read is not here, and is asked for
/// when it is needed.
#[derive(Clone, Default, PartialEq)]
pub struct Loaded {
    /// The content in wire form, if it is no longer than [`LOADED_OCTETS`] ([`Store::wire`](crate::Store::wire)).
    pub wire: Option<Bytes>,
    /// On which suppression lists each recipient is ([`Store::listed`](crate::Store::listed)).
    pub listed: Option<Vec<Listed>>,
    /// What the recipient's own copy is made with ([`Store::copy`](crate::Store::copy)).
    pub copy: Option<IndividualCopy>,
}

/// Content is nobody's to see.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("octets", &self.wire.as_ref().map(Bytes::len)).finish_non_exhaustive()
    }
}

/// What the sender of a [`Job`] said in MAIL about notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDsn {
    /// The words.
    pub mail: MailDsn,
    /// Whether [`Job::return_path`] is the address that said them: else somebody else would get what was asked for.
    pub is_of_return_path: bool,
}

/// A recipient of a [`Job`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedRecipient {
    /// Which one, for [`RecipientOutcome`].
    pub id: RecipientId,
    /// Its address.
    pub address: Address,
    /// How many attempts were made before.
    pub attempts: u32,
    /// What its sender said in RCPT about notifications.
    pub dsn: RcptDsn,
}

/// What became of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewState {
    /// A host took the message. Final.
    Delivered,
    /// The same, and that host makes no notifications: whoever asked to be told is told by us (RFC 3461 §5.2.2). Final.
    Relayed,
    /// Given up. Final.
    Failed,
    /// Given up, since the host says that there is no such mailbox: the recipient goes on the sending domain's bounces, unless
    /// its allowlist has it. Final.
    Bounced,
    /// To be tried again.
    Deferred {
        /// Not before.
        until: Timestamp,
    },
    /// Not tried after all: free for the next claim, and no attempt is counted.
    Released,
}

/// What became of a recipient, and the events that tell it. Both are kept, or neither.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipientOutcome {
    /// Which recipient.
    pub recipient: RecipientId,
    /// Its new state.
    pub state: NewState,
    /// What is told about it, in order.
    pub events: Vec<NewEvent>,
}
