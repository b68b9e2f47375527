//! How mail travelled, counted: by destination, sending domain and time.
//!
//! The counts are written in the transaction of the outcome that they count, so they always agree with the events.

use std::time::Duration;

use policy::tls::Observed;
use smtp::Domain;

use crate::Timestamp;

/// How attempts ended, as coarsely as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// A host took the message.
    Delivered,
    /// The last host was left for want of TLS: nothing of the message was said to it.
    Left,
    /// Anything else.
    Failed,
}

/// How well a delivered message was protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protected {
    /// Not at all.
    Plaintext,
    /// Encrypted, and nothing depended on the certificate.
    Encrypted,
    /// Encrypted, and the delivery depended on a valid certificate.
    Verified,
}

impl Ending {
    pub(crate) const ALL: [Ending; 3] = [Ending::Delivered, Ending::Left, Ending::Failed];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Ending::Delivered => "delivered",
            Ending::Left => "left",
            Ending::Failed => "failed",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Ending> {
        Ending::ALL.into_iter().find(|ending| ending.as_str() == word)
    }
}

impl Protected {
    pub(crate) const ALL: [Protected; 3] = [Protected::Plaintext, Protected::Encrypted, Protected::Verified];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Protected::Plaintext => "plaintext",
            Protected::Encrypted => "encrypted",
            Protected::Verified => "verified",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Protected> {
        Protected::ALL.into_iter().find(|protected| protected.as_str() == word)
    }
}

/// How finely time is told apart. Both begin by UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Span {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Span::Hour => "hour",
            Span::Day => "day",
        }
    }

    /// How long it is.
    pub fn length(self) -> Duration {
        match self {
            Span::Hour => Duration::from_secs(3600),
            Span::Day => Duration::from_secs(24 * 3600),
        }
    }

    /// The beginning of the one that `time` is in.
    pub fn start(self, time: Timestamp) -> Timestamp {
        let micros = self.length().as_micros() as i64;
        Timestamp::from_micros(time.as_micros().div_euclid(micros).saturating_mul(micros))
    }

    /// `time`, if one begins then, or else the end of the one that it is in.
    pub fn end(self, time: Timestamp) -> Timestamp {
        let start = self.start(time);
        if start == time { time } else { start + self.length() }
    }
}

/// A range of whole hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// From this hour on.
    pub begin: Timestamp,
    /// Until before this one.
    pub end: Timestamp,
}

impl Period {
    /// The least range of whole hours that covers both times and all between them.
    pub fn covering(begin: Timestamp, end: Timestamp) -> Period {
        Period { begin: Span::Hour.start(begin), end: Span::Hour.end(end) }
    }
}

/// Which destinations are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostureQuery {
    /// Of this sending domain; of all when absent.
    pub domain: Option<Domain>,
    /// This destination; all when absent.
    pub destination: Option<Domain>,
    /// Of this time.
    pub period: Period,
    /// Told apart by time.
    pub resolution: Option<Span>,
    /// At most so many pairs of destination and sending domain.
    pub limit: usize,
    /// Leave out so many first.
    pub skip: usize,
}

/// A page of destinations, those with the most mail first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PosturePage {
    /// How many pairs there are in all.
    pub total: u64,
    /// The page.
    pub items: Vec<Posture>,
}

/// How mail of a sending domain travelled to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posture {
    /// The sending domain.
    pub domain: String,
    /// The recipients' domain.
    pub destination: String,
    /// Each way in which attempts went, with how many there were.
    pub ways: Vec<(Way, Count)>,
    /// The hosts with the most attempts, and how many recipients were delivered there.
    pub hosts: Vec<(String, Count)>,
    /// The ways by time, each with the beginning of its hour or day; empty unless asked for.
    pub over_time: Vec<(Timestamp, Way, Count)>,
}

/// One way in which attempts went. A part that there was not is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// How they ended.
    pub ending: Ending,
    /// How well the message was protected; `None` unless delivered.
    pub protected: Option<Protected>,
    /// What the host showed; `None` when it never came to that.
    pub observed: Option<Seen>,
    /// Whether the host was authenticated by DANE.
    pub by_dane: bool,
    /// Whether an MTA-STS policy in mode *enforce* was satisfied.
    pub by_mta_sts: bool,
    /// The TLS version.
    pub version: String,
    /// The key exchange group.
    pub key_exchange: String,
    /// Why not better: the reason of plaintext, the fault of the certificate, or the reason of the failure.
    pub reason: String,
}

/// [`Observed`] in an order, so that it can be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen(pub(crate) &'static str);

impl Seen {
    /// The observation.
    pub fn observed(self) -> Option<Observed> {
        Observed::from_word(self.0)
    }
}

impl From<Observed> for Seen {
    fn from(observed: Observed) -> Seen {
        Seen(observed.as_str())
    }
}

/// How many, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Recipients. One that was tried twice counts twice, as two attempts; delivered it is once.
    pub recipients: u64,
    /// Messages: those of one message that went together count once.
    pub messages: u64,
    /// The first.
    pub first_at: Timestamp,
    /// The last.
    pub last_at: Timestamp,
}

/// Asks what would have been kept back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhatIfQuery {
    /// Of this sending domain; of all when absent.
    pub domain: Option<Domain>,
    /// Of this time.
    pub period: Period,
    /// Deliveries to hosts that showed one of these would not have been made.
    pub kept_back_by: Vec<Observed>,
    /// At most so many pairs of destination and sending domain.
    pub limit: usize,
    /// Leave out so many first.
    pub skip: usize,
}

/// What would have been kept back, and what would not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WhatIf {
    /// Deliveries that would not have been made.
    pub kept_back: Option<Count>,
    /// Deliveries that would have been made all the same.
    pub delivered: Option<Count>,
    /// Deliveries of which is not known what the host showed.
    pub unknown: Option<Count>,
    /// How many pairs of destination and sending domain have any that would not have been made.
    pub total: u64,
    /// The page of them, those with the most first.
    pub items: Vec<KeptBack>,
}

/// A destination to which mail would have been kept back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBack {
    /// The sending domain.
    pub domain: String,
    /// The recipients' domain.
    pub destination: String,
    /// Deliveries that would not have been made, by what the host showed, the reason as one code, and the host; at most
    /// a few dozen, those with the most first.
    pub because: Vec<(Observed, String, String, Count)>,
    /// All of them.
    pub kept_back: Count,
    /// Deliveries to the same destination that would have been made all the same.
    pub delivered: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_days_begin_by_utc() {
        let at = Timestamp::from_secs;
        for (span, time, start, end) in [
            (Span::Hour, at(7200), at(7200), at(7200)),
            (Span::Hour, at(7201), at(7200), at(10_800)),
            (Span::Day, at(86_399), at(0), at(86_400)),
            (Span::Day, at(-1), at(-86_400), at(0)),
        ] {
            assert_eq!((span.start(time), span.end(time)), (start, end), "{span:?} {time:?}");
        }
        let period = Period::covering(at(3599), at(7201));
        assert_eq!(period, Period { begin: at(0), end: at(10_800) });
    }

    #[test]
    fn words_name_every_variant() {
        assert!(Ending::ALL.into_iter().all(|ending| Ending::from_word(ending.as_str()) == Some(ending)));
        assert!(
            Protected::ALL.into_iter().all(|protected| Protected::from_word(protected.as_str()) == Some(protected))
        );
    }
}
