//! What waits to be delivered, recipient by recipient: seen, and told to hurry, to wait, or to go.

use smtp::Domain;

use crate::{MessageKey, RecipientId, Store, StoreError, Timestamp};

/// When a recipient is due who is held: never, as far as the queue goes (the last microsecond of the year 9999).
pub(crate) const HELD: Timestamp = Timestamp::from_micros(253_402_300_799_999_999);

/// Most recipients that one order is about.
pub const ORDERED_AT_ONCE: usize = 100_000;

/// Which waiting recipients are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingQuery {
    /// Of this sending domain.
    pub domain: Option<Domain>,
    /// At this destination.
    pub destination: Option<Domain>,
    /// Behind this place.
    pub after: Option<WaitingPlace>,
    /// At most so many.
    pub limit: usize,
}

/// A place in the list: by message, then destination, where one domain is asked for; else by destination, then time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingPlace {
    /// The destination.
    pub destination: String,
    /// When it is due, in microseconds; or the message.
    pub first: i64,
    /// The recipient.
    pub recipient: RecipientId,
}

/// A recipient that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Which one.
    pub id: RecipientId,
    /// Its place in the list.
    pub place: WaitingPlace,
    /// Its message.
    pub key: MessageKey,
    /// The Message-ID, without brackets.
    pub message_id: String,
    /// The sending domain.
    pub domain: String,
    /// From, as people read it.
    pub from: String,
    /// The subject.
    pub subject: String,
    /// To whom.
    pub recipient: String,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// Not to be tried before; what it will be when it is held and let go.
    pub next_attempt_at: Timestamp,
    /// Not to be tried after.
    pub expires_at: Option<Timestamp>,
    /// Whether somebody wants it to wait.
    pub is_held: bool,
    /// What came of the last attempt: code, text, reason.
    pub last: Option<LastFailure>,
}

/// Why a recipient still waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// When.
    pub at: Timestamp,
    /// The reply's code.
    pub code: i64,
    /// The reply, or our own words.
    pub text: String,
    /// The host, if there was a connection.
    pub mx_host: Option<String>,
}

/// What is to become of recipients that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Tried as soon as there is room, whatever the schedule of retries says, also if it is held. What its sender wants
    /// delivered later, and was never tried, is passed over.
    Retry,
    /// Not tried until it is released.
    Hold,
    /// Tried by the schedule again, if it is held.
    Release,
    /// Failed for good, and an event tells it.
    Remove,
}

/// Whom an order is about. What is being tried at that moment is passed over, since only its attempt knows what becomes
/// of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// These.
    Ids(Vec<RecipientId>),
    /// All at this destination, [`ORDERED_AT_ONCE`] at most.
    Destination(Domain),
    /// All, [`ORDERED_AT_ONCE`] at most. Of one sending domain, for whoever gives the order may be about one.
    All,
}

impl Store {
    /// A page of what waits.
    pub async fn waiting(&self, query: WaitingQuery) -> Result<Vec<Waiting>, StoreError> {
        self.engine().waiting(query).await
    }

    /// Carries out an order about recipients of this sending domain, or of all, and says how many it was carried out for. In
    /// small transactions, so that other operations go on between them.
    pub async fn order(&self, order: Order, whom: Whom, domain: Option<&Domain>) -> Result<u64, StoreError> {
        self.engine().order(order, whom, domain).await
    }
}
