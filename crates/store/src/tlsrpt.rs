//! Reports about TLS (RFC 8460): counters of sessions, reports on their way, and reports that others sent.

use policy::tlsrpt::{Counted, Day, Destination, Report};
use smtp::Domain;

use crate::Timestamp;

/// Sessions to be added to a day's counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsCount {
    /// The day.
    pub day: Day,
    /// The domain that mail was for, whose record says where its reports go.
    pub destination: Domain,
    /// What was seen, and how often.
    pub counted: Counted,
}

/// A report to be sent, to all its places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTlsReport {
    /// Its id.
    pub id: String,
    /// The report, compressed.
    pub content: Vec<u8>,
    /// Where it goes.
    pub places: Vec<Destination>,
    /// The time that it is made; it may go at once.
    pub now: Timestamp,
}

/// The store's own number of a report to one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TlsReportId(pub(crate) i64);

/// A report on its way to one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingTlsReport {
    /// The store's own number.
    pub id: TlsReportId,
    /// The report's id.
    pub report_id: String,
    /// The day that it is about.
    pub day: Day,
    /// The domain that it is about.
    pub destination: Domain,
    /// Where it goes.
    pub place: Destination,
    /// How it stands.
    pub state: TlsReportState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was made.
    pub made_at: Timestamp,
    /// What came of the last try, in words; empty before the first.
    pub last: String,
}

/// How a report stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsReportState {
    /// To be tried, again or for the first time, at this time.
    Waiting(Timestamp),
    /// Taken by the other side, or put into the queue of mail.
    Sent,
    /// Given up.
    Failed,
}

/// A report that somebody sent about one of our domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReceivedTlsReport {
    /// Which of our sending domains it is about.
    pub domain: Domain,
    /// How it came.
    pub via: Via,
    /// The report.
    pub report: Report,
    /// The time that it came.
    pub now: Timestamp,
}

/// How a report came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Uploaded over HTTPS.
    Https,
    /// By mail, which came here or was imported by the operator.
    Mail,
}

impl Via {
    /// `https` or `mail`.
    pub fn as_str(self) -> &'static str {
        match self {
            Via::Https => "https",
            Via::Mail => "mail",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Via> {
        [Via::Https, Via::Mail].into_iter().find(|via| via.as_str() == word)
    }
}

/// A report that was received and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedTlsReport {
    /// The store's own number; later reports have greater ones.
    pub number: i64,
    /// Which of our sending domains it is about.
    pub domain: Domain,
    /// How it came.
    pub via: Via,
    /// When it came.
    pub received_at: Timestamp,
    /// The report.
    pub report: Report,
}

/// What became of a report that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Kept.
    New,
    /// The same one was kept before.
    Known,
    /// Not kept: [`RECEIVED_PER_DAY`] came for this domain within a day.
    TooMany,
}

/// Most reports that are kept for one domain within a day. Anybody may send some, so one sender must not fill the disk.
pub const RECEIVED_PER_DAY: u32 = 200;
