//! What happened, as it is written and as it is read.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use smtp::{Address, Domain, EnhancedCode};

use crate::tracking::Interaction;
use crate::{IndividualCopy, MessageSummary, Store, StoreError, Timestamp};

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The message was accepted for this recipient.
    Accepted,
    /// A host took it.
    Delivered,
    /// An attempt failed; [`Severity`] says whether it was the last.
    Failed,
    /// A destination that did verified TLS no longer does. It belongs to the message that met it, and tells of the
    /// destination: once a day, however many messages meet it.
    TlsDowngraded,
    /// The recipient complained about the message.
    Complained,
    /// The recipient's program fetched the picture that tells of it.
    Opened,
    /// A link was followed.
    Clicked,
    /// The recipient wants no more such mail.
    Unsubscribed,
}

/// Whether a failure is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// It will be tried again.
    Temporary,
    /// It will not.
    Permanent,
}

/// What a failure came from, as coarsely as statistics count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// None of the others.
    Generic,
    /// The host refused the recipient or the message for good.
    Bounce,
    /// The schedule of attempts came to its end.
    Old,
    /// Nothing was tried: the recipient is on the sending domain's bounces.
    SuppressBounce,
    /// Nothing was tried: the recipient unsubscribed.
    SuppressUnsubscribe,
    /// Nothing was tried: the recipient complained.
    SuppressComplaint,
    /// It was dropped from the queue, as the sending domain asked.
    Dropped,
}

/// Gives each variant its word, and finds a variant by its word.
macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// The word that the database and the API use.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $word),+ }
            }

            pub(crate) fn from_word(word: &str) -> Option<$type> {
                match word { $($word => Some($type::$variant),)+ _ => None }
            }
        }
    };
}

words!(EventKind {
    Accepted => "accepted",
    Delivered => "delivered",
    Failed => "failed",
    TlsDowngraded => "tls-downgraded",
    Opened => "opened",
    Clicked => "clicked",
    Unsubscribed => "unsubscribed",
    Complained => "complained",
});
words!(Severity { Temporary => "temporary", Permanent => "permanent" });
words!(FailureReason {
    Generic => "generic",
    Bounce => "bounce",
    Old => "old",
    SuppressBounce => "suppress-bounce",
    SuppressUnsubscribe => "suppress-unsubscribe",
    SuppressComplaint => "suppress-complaint",
    Dropped => "dropped",
});

/// An event to be written. Which recipient and when is said by the operation that writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventKind,
    /// Whether a failure is final.
    pub severity: Option<Severity>,
    /// What a failure came from.
    pub reason: Option<FailureReason>,
    /// The attempt that it tells of.
    pub attempt: Option<AttemptRecord>,
}

/// One attempt as the log keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRecord {
    /// Counted from 1.
    pub attempt_no: u32,
    /// The reply's code, or our own for what no host said.
    pub code: u16,
    /// The reply's enhanced code (RFC 3463).
    pub enhanced_code: Option<EnhancedCode>,
    /// The reply's text.
    pub message: String,
    /// What we say about it.
    pub description: String,
    /// How long the attempt took.
    pub session: Duration,
    /// After which time it is tried again.
    pub retry_after: Option<Duration>,
    /// Whether SMTPUTF8 was used (RFC 6531).
    pub utf8: bool,
    /// The connection that the outcome came from; `None` when there was none.
    pub connection: Option<ConnectionRecord>,
    /// The evidence. Kept as it is and given back as it is.
    pub details: serde_json::Value,
    /// For a failure that only says "too old": the last real code.
    pub last_code: Option<u16>,
    /// For a failure that only says "too old": the last real text.
    pub last_message: Option<String>,
}

impl AttemptRecord {
    /// What no connection stands behind: that code, and nothing else yet.
    pub fn unconnected(attempt_no: u32, code: u16) -> AttemptRecord {
        AttemptRecord {
            attempt_no,
            code,
            enhanced_code: None,
            message: String::new(),
            description: String::new(),
            session: Duration::ZERO,
            retry_after: None,
            utf8: false,
            connection: None,
            details: serde_json::Value::Null,
            last_code: None,
            last_message: None,
        }
    }
}

/// The connection that an outcome came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// The host's name.
    pub mx_host: String,
    /// Whether it was encrypted.
    pub tls: bool,
    /// Whether its certificate was verified and the delivery depended on that.
    pub certificate_verified: bool,
    /// Our own address.
    pub sending_ip: Option<IpAddr>,
}

/// An event as it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When. No two events have the same.
    pub timestamp: Timestamp,
    /// Its name for those outside: random, URL-safe.
    pub key: String,
    /// What happened.
    pub kind: EventKind,
    /// Whether a failure is final.
    pub severity: Option<Severity>,
    /// What a failure came from.
    pub reason: Option<FailureReason>,
    /// To whom it happened.
    pub recipient: Address,
    /// The attempt that it tells of.
    pub attempt: Option<AttemptRecord>,
    /// What a downgrade tells: before and after.
    pub downgrade: Option<serde_json::Value>,
    /// What the report says: of a complaint (RFC 5965), or of a failure that was reported after the delivery (RFC 3464).
    pub report: Option<serde_json::Value>,
    /// What the recipient did.
    pub interaction: Option<Interaction>,
    /// The recipient's own copy, where there is one; without its variables if they exceed 16 KiB.
    pub copy: Option<IndividualCopy>,
    /// The message that it belongs to; events of one page share it.
    pub message: Arc<MessageSummary>,
}

impl Event {
    /// The place behind this event, for the next page.
    pub fn cursor(&self) -> Cursor {
        Cursor(self.timestamp)
    }
}

/// A place between two events. Its text is URL-safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor(pub(crate) Timestamp);

impl Cursor {
    /// The place at a point in time: the next page begins behind the events of that microsecond.
    pub fn at(timestamp: Timestamp) -> Cursor {
        Cursor(timestamp)
    }

    /// The point in time of the last event before this place.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0.as_micros())
    }
}

/// A text that no cursor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no place in the list of events")]
pub struct CursorError;

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(CursorError);
        }
        i64::from_str_radix(text, 16).map(|micros| Cursor(Timestamp::from_micros(micros))).map_err(|_| CursorError)
    }
}

/// Which way a list of events is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// Which events are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct EventQuery {
    /// Of this sending domain; of all when absent.
    pub domain: Option<Domain>,
    /// From this time on.
    pub begin: Option<Timestamp>,
    /// Before this time.
    pub end: Option<Timestamp>,
    /// Which way.
    pub direction: Direction,
    /// Behind this place, in that direction.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: usize,
    /// Only these.
    pub filter: Filter,
}

/// A condition on events. Whoever builds it from a stranger's text limits its depth and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Every event.
    All,
    /// All of these hold.
    And(Vec<Filter>),
    /// One of these holds.
    Or(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
    /// The field equals the text, whatever the case; for a field with several values, one of them does.
    Is(Field, String),
    /// The field contains the text, whatever the case; for a field with several values, one of them does.
    Contains(Field, String),
    /// The message is larger than this, in octets.
    SizeAbove(u64),
    /// The message is smaller than this, in octets.
    SizeBelow(u64),
}

/// What a [`Filter`] looks at. A field that an event does not have matches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// `accepted`, `delivered`, `failed`, `tls-downgraded`, `opened`, `clicked`, `unsubscribed`, `complained`.
    Event,
    /// `temporary`, `permanent`.
    Severity,
    /// The word of a [`FailureReason`].
    Reason,
    /// The recipient of the event.
    Recipient,
    /// Any recipient of its message.
    Recipients,
    /// The From header.
    From,
    /// The To header.
    To,
    /// The subject.
    Subject,
    /// The Message-ID, without brackets.
    MessageId,
    /// Any tag.
    Tag,
    /// Any attachment's name.
    Attachment,
    /// `true` or `false`; events without a connection match neither.
    Tls,
    /// `true` or `false`; events without a connection match neither.
    CertificateVerified,
    /// The host's name.
    MxHost,
    /// `http`, `smtp`.
    Method,
    /// The reply's code, in digits.
    Code,
    /// The reply's text.
    Text,
    /// The event's own key.
    Key,
    /// The sending domain.
    Domain,
    /// The domain of the recipient.
    RecipientDomain,
    /// Our own address.
    SendingIp,
    /// The application's variables, as JSON.
    UserVariables,
    /// The TLS version, such as `TLSv1.3`.
    TlsVersion,
    /// The key exchange group.
    KeyExchange,
    /// `ok`, or what is wrong with the certificate.
    Verification,
    /// What the host showed.
    Observed,
    /// Why in plaintext, or by which rung.
    Fallback,
    /// Who insisted on more TLS than the sender.
    DemandedBy,
}

/// How many events of a kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventCount {
    /// What happened.
    pub kind: EventKind,
    /// Whether a failure is final.
    pub severity: Option<Severity>,
    /// So many.
    pub events: u64,
}

impl Store {
    /// How many events a query means, whatever its limit and its place.
    pub async fn count_events(&self, query: EventQuery) -> Result<Vec<EventCount>, StoreError> {
        self.engine().count_events(query).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = Cursor::at(Timestamp::now());
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "-1", "+1", "zz", "1 ", "' OR 1", "ffffffffffffffffff"] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
        }
    }

    #[test]
    fn every_word_finds_its_variant() {
        for kind in [EventKind::Accepted, EventKind::Delivered, EventKind::Failed] {
            assert_eq!(EventKind::from_word(kind.as_str()), Some(kind));
        }
        assert_eq!(Severity::from_word("Temporary"), None);
    }
}
