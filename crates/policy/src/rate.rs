//! How many messages in how much time.
//!
//! The generic cell rate algorithm: messages are spread evenly, with a burst of at most what is allowed in a second.
//! Over any time `t` no more than `burst + rate × t` go out.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// So many messages in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    unit: Unit,
    /// How many have it together.
    nodes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

/// Every unit with its name and its length in microseconds.
const UNITS: [(Unit, &str, i64); 4] = [
    (Unit::Second, "s", 1_000_000),
    (Unit::Minute, "min", 60_000_000),
    (Unit::Hour, "h", 3_600_000_000),
    (Unit::Day, "d", 86_400_000_000),
];

/// Most messages in a unit of time. More is no limit.
const COUNT: u32 = 1_000_000;

/// A text is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a rate such as 10/s, 600/min, 5000/h or 100000/d, at most {COUNT} messages in the unit")]
pub struct RateError(String);

impl Rate {
    fn unit_micros(self) -> i64 {
        UNITS.iter().find(|(unit, ..)| *unit == self.unit).map_or(1, |(.., micros)| *micros)
    }

    /// The time from one message to the next, in microseconds: rounded up, so that never more go out than allowed.
    fn interval(self) -> i64 {
        (self.unit_micros().saturating_mul(self.nodes.into()) + i64::from(self.count) - 1) / i64::from(self.count)
    }

    /// What one of so many nodes may send, at least one, so that all of them together keep to the rate. Each may begin with
    /// its own burst, of one message at least.
    #[must_use]
    pub fn of_one_among(self, nodes: u32) -> Rate {
        Rate { nodes: nodes.max(1), ..self }
    }

    /// Whether it is the part of one among several.
    pub fn is_of_several(self) -> bool {
        self.nodes > 1
    }

    /// How many may go out at once: what a second allows, and one at least.
    fn burst(self) -> i64 {
        (1_000_000 / self.interval()).max(1)
    }

    /// The time that the rate speaks of.
    pub fn period(self) -> Duration {
        Duration::from_micros(self.unit_micros().unsigned_abs())
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || RateError(text.chars().take(80).collect());
        let (count, name) = text.split_once('/').ok_or_else(bad)?;
        let (unit, ..) = UNITS.iter().find(|(_, known, _)| *known == name.trim()).ok_or_else(bad)?;
        let digits = count.trim();
        let count = digits.parse().ok().filter(|count| (1..=COUNT).contains(count)).ok_or_else(bad)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        Ok(Rate { count, unit: *unit, nodes: 1 })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = UNITS.iter().find(|(unit, ..)| *unit == self.unit).map_or("", |(_, name, _)| *name);
        write!(f, "{}/{name}", self.count)
    }
}

/// What was sent so far, as one number: when the next message is due were they sent evenly. Times are microseconds of
/// any one clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pacer {
    next: i64,
}

impl Pacer {
    /// How many messages may go out at `now`.
    pub fn available(self, rate: Rate, now: i64) -> usize {
        let next = self.reckoned(rate, now);
        if next > now { 0 } else { usize::try_from((now - next) / rate.interval() + 1).unwrap_or(0) }
    }

    /// When the next message may go out.
    pub fn free_at(self, rate: Rate, now: i64) -> i64 {
        self.reckoned(rate, now).max(now)
    }

    /// Whether nothing that was sent matters any more: a whole burst, which is a second's, is free again.
    pub fn is_idle(self, now: i64) -> bool {
        self.next <= now.saturating_sub(1_000_000)
    }

    /// One message goes out.
    #[must_use]
    pub fn sent(self, rate: Rate, now: i64) -> Pacer {
        Pacer { next: self.reckoned(rate, now) + rate.interval() }
    }

    /// One that was counted did not go out.
    #[must_use]
    pub fn taken_back(self, rate: Rate) -> Pacer {
        Pacer { next: self.next - rate.interval() }
    }

    /// Never so far back that more than a burst is free, and never so far ahead as only a clock that was set back can make
    /// it.
    fn reckoned(self, rate: Rate, now: i64) -> i64 {
        let (interval, burst) = (rate.interval(), rate.burst());
        if self.next > now.saturating_add(interval.saturating_mul(burst + 1)) {
            return now;
        }
        self.next.max(now.saturating_sub(interval * (burst - 1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn read_and_written() {
        for (text, written) in [("10/s", "10/s"), ("600/min", "600/min"), (" 5 / h", "5/h"), ("1/d", "1/d")] {
            assert_eq!(rate(text).to_string(), written);
            assert_eq!(rate(written), rate(text));
        }
        for text in ["", "600", "0/s", "-1/s", "+1/s", "1.5/s", "1000001/s", "5/parsec", "5/", "/s", "5/min/2"] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn messages_are_spread_over_the_time() {
        let rate = rate("60/min");
        let (start, mut pacer) = (1_000_000_000, Pacer::default());
        assert_eq!(pacer.available(rate, start), 1);
        pacer = pacer.sent(rate, start);
        assert_eq!((pacer.available(rate, start), pacer.free_at(rate, start)), (0, start + 1_000_000));
        assert_eq!(pacer.available(rate, start + 1_000_000), 1);
        assert_eq!(pacer.available(rate, start + 60_000_000), 1, "what was not used is not saved up");
        assert_eq!(pacer.taken_back(rate).available(rate, start), 1);
        assert_eq!(pacer.available(rate, start - 3_600_000_000), 1, "a clock that was set back stops nothing");
    }

    proptest! {
        /// Whatever is asked when: over any stretch of time no more than the rate and one burst go out.
        #[test]
        fn never_more_than_the_rate(
            count in 1..2000u32, unit in 0..4usize, gaps in prop::collection::vec((0..3_000_000i64, 0..20usize), 1..80)
        ) {
            let rate = Rate { count, unit: UNITS[unit].0, nodes: 1 };
            let (mut now, mut pacer, mut sent) = (1_700_000_000_000_000, Pacer::default(), Vec::new());
            for (gap, wanted) in gaps {
                now += gap;
                for _ in 0..wanted.min(pacer.available(rate, now)) {
                    pacer = pacer.sent(rate, now);
                    sent.push(now);
                }
                prop_assert_eq!(pacer.available(rate, now) == 0, pacer.free_at(rate, now) > now);
                prop_assert!(pacer.available(rate, pacer.free_at(rate, now)) > 0);
                if pacer.is_idle(now) {
                    prop_assert_eq!(pacer.available(rate, now), Pacer::default().available(rate, now));
                }
            }
            for (first, from) in sent.iter().enumerate() {
                for (last, to) in sent.iter().enumerate().skip(first) {
                    let allowed = rate.burst() + (to - from) / rate.interval();
                    prop_assert!((last - first + 1) as i64 <= allowed, "{} in {}", last - first + 1, to - from);
                }
            }
        }
    }

    #[test]
    fn nodes_keep_to_a_rate_together() {
        for (text, nodes) in [("10/s", 3), ("600/min", 2), ("100/s", 7)] {
            let whole = rate(text);
            let part = whole.of_one_among(nodes);
            assert!(part.is_of_several() && !whole.is_of_several());
            let (mut pacer, mut sent, minute) = (Pacer::default(), 0_u32, 60_000_000_i64);
            for now in (0..minute).step_by(10_000) {
                while pacer.available(part, now) > 0 {
                    pacer = pacer.sent(part, now);
                    sent += 1;
                }
            }
            let most = minute / whole.interval() + i64::from(nodes) * part.burst();
            assert!(i64::from(sent * nodes) <= most, "{text}: {nodes} times {sent}");
            assert!(i64::from(sent * nodes) * 10 >= minute / whole.interval() * 9, "{text}: {nodes} times {sent}");
        }
    }
}
