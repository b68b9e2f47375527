//! When a certificate is renewed, and how long to wait after a failure. Pure, but for the dice.

use std::time::Duration;

use store::Timestamp;

use crate::smtpd::facts::Facts;

/// How much of the lifetime of a certificate passes before it is renewed, in thirds, unless the authority suggests a time.
const THIRDS: u32 = 2;
/// How much earlier than that it may be, as a part of the lifetime: not all certificates of the world at once.
const JITTER: f64 = 0.05;
/// The pause after the first failure. Each further one is twice as long: an authority counts failures, by the hour.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// The longest pause that an authority may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(7 * 24 * 3600);

/// A time that was chosen once for a certificate, so that looking often does not make it earlier.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    chosen: Option<Chosen>,
}

#[derive(Debug, PartialEq, Clone, Copy)]
struct Chosen {
    window: (Timestamp, Timestamp),
    at: Timestamp,
}

impl Renewal {
    /// When the certificate is renewed: at a random time in the window that the authority suggests (RFC 9773 §4.2), if
    /// it does; otherwise shortly before two thirds of its lifetime are over. Never after its end.
    pub(super) fn at(&mut self, facts: &Facts, suggested: Option<(Timestamp, Timestamp)>) -> Timestamp {
        let window = suggested.unwrap_or_else(|| window_of(facts.not_before, facts.not_after));
        if let Some(chosen) = self.chosen.filter(|chosen| chosen.window == window) {
            return chosen.at;
        }
        let at = within(window, rand::random()).min(facts.not_after);
        self.chosen = Some(Chosen { window, at });
        at
    }
}

fn window_of(not_before: Timestamp, not_after: Timestamp) -> (Timestamp, Timestamp) {
    let lifetime = not_after.since(not_before);
    let end = not_before + lifetime * THIRDS / 3;
    (end - lifetime.mul_f64(JITTER), end)
}

/// `part` from 0 to 1.
fn within((start, end): (Timestamp, Timestamp), part: f64) -> Timestamp {
    start + end.since(start).mul_f64(part)
}

/// The pauses after failures, one after the other.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    failures: u32,
}

impl Pauses {
    /// The pause after one more failure, no shorter than what the authority asked for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        doubled.min(LONGEST_PAUSE).max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn facts(not_before: i64, not_after: i64) -> Facts {
        Facts {
            not_before: Timestamp::from_secs(not_before),
            not_after: Timestamp::from_secs(not_after),
            ..Facts::default()
        }
    }

    #[test]
    fn a_certificate_is_renewed_before_two_thirds_of_its_lifetime_are_over() {
        let mut renewal = Renewal::default();
        let facts = facts(0, 90 * DAY);
        let at = renewal.at(&facts, None);
        assert!(at > Timestamp::from_secs(55 * DAY) && at <= Timestamp::from_secs(60 * DAY), "{at:?}");
        // Chosen once for each certificate.
        assert!((0..10).all(|_| renewal.at(&facts, None) == at));
        assert_ne!(renewal.at(&self::facts(DAY, 91 * DAY), None), at);
    }

    #[test]
    fn what_the_authority_suggests_goes_before() {
        let mut renewal = Renewal::default();
        let facts = facts(0, 90 * DAY);
        let window = |start, end| Some((Timestamp::from_secs(start), Timestamp::from_secs(end)));
        let at = renewal.at(&facts, window(10, 20));
        assert!(at >= Timestamp::from_secs(10) && at <= Timestamp::from_secs(20), "{at:?}");
        assert_eq!(renewal.at(&facts, window(10, 20)), at);
        assert!(renewal.at(&facts, window(30, 40)) >= Timestamp::from_secs(30), "a window that was moved");
        assert_eq!(renewal.at(&facts, window(91 * DAY, 92 * DAY)), facts.not_after);
        // One that makes no sense is no reason to fail.
        assert_eq!(renewal.at(&facts, window(50, 40)), Timestamp::from_secs(50));
    }

    #[test]
    fn pauses_grow_and_are_no_shorter_than_asked() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let mut pauses = Pauses::default();
        let first: Vec<_> = (0..8).map(|_| pauses.next(None)).collect();
        assert_eq!(first, [5, 10, 20, 40, 80, 160, 320, 360].map(minutes));
        assert_eq!(pauses.next(Some(minutes(7 * 60))), minutes(7 * 60));
        assert_eq!(pauses.next(Some(minutes(1))), minutes(360));
        assert_eq!(pauses.next(Some(Duration::MAX)), LONGEST_ASKED);
    }
}
