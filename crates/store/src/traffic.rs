//! How much happened, counted: by sending domain, by tag, by recipient domain, by our own address, and by time.
//!
//! The counts are written in the transaction of the events that they count, and outlive them: hours are kept for two
//! months, days for a year, months for ever.

use smtp::Domain;

use crate::{Store, StoreError, Timestamp};

/// Most tags, recipient domains or addresses that are told apart in one hour, day or month of a sending domain. What comes
/// beyond is counted together, with an empty value.
pub const VALUES: usize = 5000;
/// Most tags of a sending domain.
pub const TAGS: usize = 5000;
/// Most rows that one question is answered with.
pub const ROWS: usize = 100_000;

/// By what counts are told apart, beside time and sending domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slice {
    /// By nothing more.
    All,
    /// By each tag of the message. A message with two tags counts for both.
    Tag,
    /// By the recipient's domain.
    Destination,
    /// By our own address, from which the attempt was made.
    SendingIp,
}

impl Slice {
    pub(crate) const TOLD_APART: [Slice; 3] = [Slice::Tag, Slice::Destination, Slice::SendingIp];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Slice::All => "all",
            Slice::Tag => "tag",
            Slice::Destination => "destination",
            Slice::SendingIp => "sending-ip",
        }
    }
}

/// How finely time is told apart, by UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// Kept for two months.
    Hour,
    /// Kept for a year.
    Day,
    /// Kept for ever.
    Month,
}

const HOUR: i64 = 3600 * 1_000_000;
const DAY: i64 = 24 * HOUR;

impl Resolution {
    /// All of them, the finest first.
    pub const ALL: [Resolution; 3] = [Resolution::Hour, Resolution::Day, Resolution::Month];

    /// `hour`, `day` or `month`.
    pub fn as_str(self) -> &'static str {
        match self {
            Resolution::Hour => "hour",
            Resolution::Day => "day",
            Resolution::Month => "month",
        }
    }

    /// The beginning of the part that `time` is in.
    pub fn start(self, time: Timestamp) -> Timestamp {
        let whole = |micros: i64| time.as_micros().div_euclid(micros).saturating_mul(micros);
        Timestamp::from_micros(match self {
            Resolution::Hour => whole(HOUR),
            Resolution::Day => whole(DAY),
            Resolution::Month => {
                let day = time.as_micros().div_euclid(DAY);
                (day - i64::from(day_of_month(day)) + 1).saturating_mul(DAY)
            }
        })
    }

    /// The beginning of the part after the one that begins at `start`.
    pub fn next(self, start: Timestamp) -> Timestamp {
        match self {
            Resolution::Hour => Timestamp::from_micros(start.as_micros().saturating_add(HOUR)),
            Resolution::Day => Timestamp::from_micros(start.as_micros().saturating_add(DAY)),
            // No month is longer than 31 days, and two are never shorter than 59.
            Resolution::Month => self.start(Timestamp::from_micros(start.as_micros().saturating_add(31 * DAY))),
        }
    }

    /// Before when its parts go; `None` is never.
    pub(crate) fn kept_since(self, now: Timestamp) -> Option<i64> {
        let days = match self {
            Resolution::Hour => 62,
            Resolution::Day => 366,
            Resolution::Month => return None,
        };
        Some(now.as_micros().saturating_sub(days * DAY))
    }
}

/// The day of the month, from 1, of a day since 1970-01-01 in the Gregorian calendar. Years are taken to begin in March, so
/// that the day that is not always there is the last, and months have 31 and 30 days in turns of five: 153 days.
fn day_of_month(day: i64) -> u8 {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    // From 0000-03-01.
    let of_era = (day + 719_468).rem_euclid(DAYS_OF_400_YEARS);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    u8::try_from(of_year - (153 * month + 2) / 5 + 1).unwrap_or(1)
}

/// What happened, as far as it is counted apart. What there was not is an empty text.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct What {
    /// The kind of the event.
    pub kind: String,
    /// `temporary` or `permanent`.
    pub severity: String,
    /// What a failure came from.
    pub reason: String,
    /// `plaintext`, `encrypted` or `verified`: how well a delivery was protected.
    pub protected: String,
    /// Whether it was the first attempt.
    pub first_attempt: bool,
}

/// Which counts are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficQuery {
    /// Of this sending domain; of all when absent.
    pub domain: Option<Domain>,
    /// Told apart by this.
    pub slice: Slice,
    /// Only this one.
    pub value: Option<String>,
    /// From the part on that this time is in.
    pub begin: Timestamp,
    /// Until before this time.
    pub end: Timestamp,
    /// From these parts.
    pub resolution: Resolution,
    /// Whether the parts are told apart.
    pub over_time: bool,
}

/// How often something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficCount {
    /// The sending domain.
    pub domain: String,
    /// The tag, recipient domain or address; empty where none is told apart.
    pub value: String,
    /// The beginning of the part, where they are told apart.
    pub start: Option<Timestamp>,
    /// What happened.
    pub what: What,
    /// So often.
    pub count: u64,
}

/// A tag of a sending domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The sending domain.
    pub domain: Domain,
    /// The tag, in lower case.
    pub name: String,
    /// What people say of it.
    pub description: String,
    /// When a message had it first.
    pub first_at: Timestamp,
    /// When a message had it last.
    pub last_at: Timestamp,
}

/// Which tags are wanted, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagQuery {
    /// Of this sending domain; of all when absent.
    pub domain: Option<Domain>,
    /// Only those that begin so.
    pub prefix: String,
    /// Behind this one, or before it when `backward`.
    pub from: Option<String>,
    /// The last ones before `from`, or of all.
    pub backward: bool,
    /// In the order of when they were last used rather than of their names; `from` has no meaning then.
    pub by_use: bool,
    /// Leave out so many first.
    pub skip: usize,
    /// At most so many.
    pub limit: usize,
}

impl Store {
    /// Counts, in the order of sending domain, value, time. More than [`ROWS`] of them are refused with
    /// [`StoreError::Invalid`].
    pub async fn traffic(&self, query: TrafficQuery) -> Result<Vec<TrafficCount>, StoreError> {
        self.engine().traffic(query).await
    }

    /// Counts of what happened to the messages of a tag, by the recipient's domain: of the events that are kept.
    pub async fn traffic_of_tag(&self, domain: &Domain, tag: &str) -> Result<Vec<TrafficCount>, StoreError> {
        self.engine().traffic_of_tag(domain, tag).await
    }

    /// Deletes hours and days that are old enough.
    pub async fn purge_traffic(&self, now: Timestamp) -> Result<(), StoreError> {
        self.engine().purge_traffic(now).await
    }

    /// Tags by name.
    pub async fn tags(&self, query: TagQuery) -> Result<Vec<Tag>, StoreError> {
        self.engine().tags(query).await
    }

    /// How many tags a sending domain has, or all have, that begin so.
    pub async fn count_tags(&self, domain: Option<&Domain>, prefix: &str) -> Result<u64, StoreError> {
        self.engine().count_tags(domain, prefix).await
    }

    /// The tag of that name, whatever the case.
    pub async fn tag(&self, domain: &Domain, name: &str) -> Result<Option<Tag>, StoreError> {
        self.engine().tag(domain, name).await
    }

    /// Says something of a tag; `false` when there is none of that name.
    pub async fn describe_tag(&self, domain: Option<&Domain>, name: &str, text: &str) -> Result<bool, StoreError> {
        self.engine().describe_tag(domain, name, text).await
    }

    /// Forgets a tag and its counts; `false` when there is none of that name. Events and later messages keep theirs.
    pub async fn delete_tag(&self, domain: Option<&Domain>, name: &str) -> Result<bool, StoreError> {
        self.engine().delete_tag(domain, name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days since 1970-01-01, from any calendar.
    #[test]
    fn months_begin_on_their_first_day() {
        let at = |day: i64| Timestamp::from_micros(day * DAY);
        for (day, start, next) in [
            (0, 0, 31),
            (30, 0, 31),
            (31, 31, 59),
            (58, 31, 59),
            (59, 59, 90),
            // 2000-02-29 and 2000-03-01, 2023-02-28, 2024-12-31
            (11_016, 10_988, 11_017),
            (11_017, 11_017, 11_048),
            (19_416, 19_389, 19_417),
            (20_088, 20_058, 20_089),
            (-1, -31, 0),
        ] {
            let found = Resolution::Month.start(at(day) + std::time::Duration::from_secs(86_399));
            assert_eq!(found, at(start), "{day}");
            assert_eq!(Resolution::Month.next(found), at(next), "{day}");
        }
        assert_eq!(
            Resolution::Hour.next(Resolution::Hour.start(Timestamp::from_secs(7201))),
            Timestamp::from_secs(10_800)
        );
    }
}
