//! When a destination that did verified TLS stops doing so.
//!
//! What counts is what hosts *showed* when mail was delivered, not what was demanded of them: a valid certificate counts
//! under every setting. A history is short on purpose. Three deliveries tell a habit from an accident, and whoever
//! changed for good is news once, not for ever.

use std::time::Duration;

use crate::tls::Observed;

/// How many deliveries in a row make a habit.
pub const DELIVERIES: usize = 3;
/// What is older says nothing about today.
pub const WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);
/// A downgrade that goes on is told again after this time.
pub const TOLD_EVERY: Duration = Duration::from_secs(24 * 3600);

/// A delivery of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// How long ago.
    pub age: Duration,
    /// Whether the host showed TLS with a valid certificate.
    pub verified: bool,
}

/// Whose habit it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// The host's own.
    Host,
    /// The destination's, at other hosts; this one is new to us, or nearly so.
    Destination,
}

impl Habit {
    /// The word that events use.
    pub fn as_str(self) -> &'static str {
        match self {
            Habit::Host => "host",
            Habit::Destination => "destination",
        }
    }
}

/// Whether what a host shows now is a downgrade, and of whose habit. Histories are the last deliveries, newest first:
/// to this host for this destination, and to this destination at whatever host.
///
/// - The host's last [`DELIVERIES`] within [`WINDOW`] were all verified: it was the host's habit.
/// - Fewer are known of the host, none of them unverified, and the destination's last [`DELIVERIES`] were all verified:
///   it was the destination's. So an attacker who names a host of his own is noticed, and a backup host that never
///   had a valid certificate is told of once.
pub fn downgraded(observed: Observed, host: &[Past], destination: &[Past]) -> Option<Habit> {
    match observed {
        Observed::Verified => return None,
        Observed::NotOffered | Observed::Refused | Observed::HandshakeFailed | Observed::Unverified => {}
    }
    let (host, destination) = (recent(host), recent(destination));
    let all_verified = |history: &[Past]| history.iter().all(|past| past.verified);
    if host.len() == DELIVERIES && all_verified(&host) {
        return Some(Habit::Host);
    }
    let is_habit = destination.len() == DELIVERIES && all_verified(&destination);
    (host.len() < DELIVERIES && all_verified(&host) && is_habit).then_some(Habit::Destination)
}

/// Whether a downgrade is told, when one was last told so long ago.
pub fn is_told(last: Option<Duration>) -> bool {
    last.is_none_or(|last| last >= TOLD_EVERY)
}

fn recent(history: &[Past]) -> Vec<Past> {
    history.iter().copied().take(DELIVERIES).filter(|past| past.age <= WINDOW).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// `v` a verified delivery, `u` another, `o` a verified one of long ago; newest first.
    fn history(text: &str) -> Vec<Past> {
        let past = |letter| Past { age: if letter == 'o' { 31 * DAY } else { DAY }, verified: letter != 'u' };
        text.chars().map(past).collect()
    }

    #[test]
    fn a_habit_is_three_verified_deliveries_in_a_row() {
        use Habit::{Destination, Host};
        for (host, destination, expected) in [
            ("vvv", "vvv", Some(Host)),
            ("vvv", "uuu", Some(Host)),
            ("vvvu", "vvvu", Some(Host)),
            ("vv", "vvv", Some(Destination)),
            ("", "vvv", Some(Destination)),
            ("", "vvvu", Some(Destination)),
            ("oo", "vvv", Some(Destination)),
            ("vvo", "vvo", None),
            ("", "", None),
            ("vv", "vv", None),
            ("vvu", "vvu", None),
            ("uvvv", "uvvv", None),
            ("u", "vvv", None),
            ("vvu", "vvv", None),
            ("ooo", "ooo", None),
            ("", "uvv", None),
        ] {
            for observed in Observed::ALL {
                let expected = if observed == Observed::Verified { None } else { expected };
                let found = downgraded(observed, &history(host), &history(destination));
                assert_eq!(found, expected, "{observed:?}, host {host:?}, destination {destination:?}");
            }
        }
    }

    #[test]
    fn the_window_ends_sharply() {
        let at = |age| [Past { age, verified: true }; DELIVERIES];
        assert_eq!(downgraded(Observed::Refused, &at(WINDOW), &[]), Some(Habit::Host));
        assert_eq!(downgraded(Observed::Refused, &at(WINDOW + Duration::from_micros(1)), &[]), None);
    }

    #[test]
    fn a_downgrade_is_told_once_a_day() {
        for (last, told) in [(None, true), (Some(Duration::ZERO), false), (Some(DAY / 2), false), (Some(DAY), true)] {
            assert_eq!(is_told(last), told, "{last:?}");
        }
    }
}
