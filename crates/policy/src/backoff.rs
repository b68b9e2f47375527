//! What a site, or one destination of it, may have while its hosts do not answer.
//!
//! Each failure halves what may run at once, down to one probe at a time; each further one makes the pause before the
//! next probe longer. What is answered gives back one at a time. A destination may be held back by itself, so that one
//! dead host does not speak for all others at a provider; a site is judged by how many of its destinations fail.

use std::time::Duration;

/// What became of the hosts in one attempt. What a host says of a recipient is no matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// A host spoke with us.
    Answered,
    /// None of those that were tried gave a session: refused, silent, no greeting, a greeting that sends us away.
    Unreached,
    /// A host said that it has too much to do or that we come too often.
    TurnedAway,
    /// None was tried: the DNS failed, or no address may be reached. No word about the hosts.
    Untried,
}

impl Contact {
    /// Of two hosts of one attempt: one that answers speaks for the site, unless one sends us away in so many words. A dead
    /// address of a site with others is no dead site.
    #[must_use]
    pub fn and(self, other: Contact) -> Contact {
        use Contact::{Answered, TurnedAway, Unreached, Untried};
        match (self, other) {
            (TurnedAway, _) | (_, TurnedAway) => TurnedAway,
            (Answered, _) | (_, Answered) => Answered,
            (Unreached, _) | (_, Unreached) => Unreached,
            (Untried, Untried) => Untried,
        }
    }

    /// Whether it counts against the hosts.
    pub fn is_failure(self) -> bool {
        matches!(self, Contact::Unreached | Contact::TurnedAway)
    }
}

/// The pauses between probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    /// After the first failure of a probe; twice as long after each further one.
    pub first: Duration,
    /// The longest.
    pub most: Duration,
}

impl Default for Pauses {
    /// Half a minute, so that a host that restarts is hardly noticed; ten minutes, the first wait of the usual schedule.
    fn default() -> Self {
        Pauses { first: Duration::from_secs(30), most: Duration::from_secs(600) }
    }
}

impl Pauses {
    /// The pause after failure number `failures` of a probe, 1 for the first.
    pub fn after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.most)
    }
}

/// How a site, or a destination, does. Times are microseconds of any one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    limit: u32,
    allowance: u32,
    /// Answers since the allowance grew.
    answers: u32,
    /// Probes that failed in a row.
    failures: u32,
    /// Nothing begins before.
    not_before: i64,
    /// When a failure last changed anything.
    noted_at: i64,
}

impl Health {
    /// In the best of health: as much as `limit`, at least one.
    pub fn new(limit: u32) -> Health {
        let limit = limit.max(1);
        Health { limit, allowance: limit, answers: 0, failures: 0, not_before: i64::MIN, noted_at: i64::MIN }
    }

    /// How many may run at once; never none.
    pub fn allowance(&self) -> u32 {
        self.allowance
    }

    /// Until when nothing begins.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// When a failure last changed anything, the least there is when none did.
    pub fn noted_at(&self) -> i64 {
        self.noted_at
    }

    /// Whether it is held back: the last probe failed, and nothing was answered since.
    pub fn is_held(&self) -> bool {
        self.failures > 0
    }

    /// Whether there is nothing to remember.
    pub fn is_whole(&self) -> bool {
        self.allowance == self.limit && self.failures == 0
    }

    /// A host answered.
    #[must_use]
    pub fn answered(self) -> Health {
        let answers = self.answers + 1;
        let well = Health { failures: 0, not_before: i64::MIN, ..self };
        if self.allowance < self.limit && answers >= self.allowance {
            Health { allowance: self.allowance + 1, answers: 0, ..well }
        } else {
            Health { answers: answers.min(self.limit), ..well }
        }
    }

    /// An attempt failed that had begun at `began`. Attempts that ran side by side tell one thing, not many: what began
    /// before the last failure was noted changes nothing.
    #[must_use]
    pub fn failed(self, began: i64, now: i64, pauses: &Pauses) -> Health {
        if began < self.noted_at && self.noted_at <= now {
            return self;
        }
        if self.allowance > 1 {
            return Health { allowance: self.allowance / 2, answers: 0, noted_at: now, ..self };
        }
        let failures = self.failures.saturating_add(1);
        Health { answers: 0, failures, not_before: until(now, pauses.after(failures)), noted_at: now, ..self }
    }

    /// A probe failed that tells nothing new, since it went to a destination that is known to fail: where everything is
    /// held back that goes on as long as before, else nothing changes.
    #[must_use]
    pub fn failed_again(self, now: i64, pauses: &Pauses) -> Health {
        if self.failures == 0 {
            return self;
        }
        Health { not_before: until(now, pauses.after(self.failures)), ..self }
    }
}

fn until(now: i64, pause: Duration) -> i64 {
    now.saturating_add(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAUSES: Pauses = Pauses { first: Duration::from_secs(30), most: Duration::from_secs(600) };
    const SECOND: i64 = 1_000_000;

    #[test]
    fn failures_shrink_to_one_probe_with_growing_pauses() {
        let mut health = Health::new(10);
        let mut now = 0;
        let mut seen = Vec::new();
        for _ in 0..10 {
            now = now.max(health.not_before()) + SECOND;
            health = health.failed(now, now, &PAUSES);
            let pause = if health.is_held() { (health.not_before() - now) / SECOND } else { 0 };
            seen.push((health.allowance(), pause));
        }
        let expected = [(5, 0), (2, 0), (1, 0), (1, 30), (1, 60), (1, 120), (1, 240), (1, 480), (1, 600), (1, 600)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn answers_give_back_one_at_a_time() {
        let mut health = Health::new(4);
        for now in [1, 2, 3, 4] {
            health = health.failed(now, now, &PAUSES);
        }
        assert!(health.is_held() && health.allowance() == 1);
        let mut seen = Vec::new();
        while !health.is_whole() {
            health = health.answered();
            assert!(!health.is_held() && health.not_before() == i64::MIN);
            seen.push(health.allowance());
        }
        assert_eq!(seen, [2, 2, 3, 3, 3, 4]);
    }

    #[test]
    fn a_destination_is_held_back_by_its_first_failure_and_let_go_by_an_answer() {
        let health = Health::new(1).failed(5, 6, &PAUSES);
        assert!(health.is_held() && health.not_before() == 6 + 30 * SECOND);
        assert!(health.answered().is_whole());
    }

    #[test]
    fn attempts_side_by_side_count_once() {
        let once = Health::new(8).failed(10, 40, &PAUSES);
        assert_eq!(once.failed(11, 41, &PAUSES).failed(39, 70, &PAUSES), once);
        assert_eq!(once.failed(40, 70, &PAUSES).allowance(), 2);
        // A clock that was set back does not make everything look old.
        assert_eq!(once.failed(20, 30, &PAUSES).allowance(), 2);
    }

    #[test]
    fn what_is_known_to_fail_makes_nothing_worse() {
        let whole = Health::new(8);
        assert_eq!(whole.failed_again(9, &PAUSES), whole);
        let held = Health::new(1).failed(1, 1, &PAUSES);
        let again = held.failed_again(100 * SECOND, &PAUSES);
        assert_eq!(again.not_before(), 130 * SECOND);
        assert_eq!(again.failed(101 * SECOND, 101 * SECOND, &PAUSES).not_before(), 161 * SECOND);
    }

    #[test]
    fn who_counts_against_the_hosts() {
        let counts =
            [Contact::Answered, Contact::Unreached, Contact::TurnedAway, Contact::Untried].map(Contact::is_failure);
        assert_eq!(counts, [false, true, true, false]);
    }

    #[test]
    fn what_several_hosts_come_to() {
        use Contact::{Answered, TurnedAway, Unreached, Untried};
        for (met, expected) in [
            (&[][..], Untried),
            (&[Unreached, Unreached], Unreached),
            (&[Unreached, Answered], Answered),
            (&[Answered, Unreached], Answered),
            (&[TurnedAway, Unreached], TurnedAway),
            (&[Answered, TurnedAway], TurnedAway),
        ] {
            assert_eq!(met.iter().fold(Untried, |all, one| all.and(*one)), expected, "{met:?}");
        }
    }

    proptest! {
        /// Whatever happens: one may always run, never more than the limit, no pause is longer than the longest, and enough
        /// answers always heal.
        #[test]
        fn nobody_is_held_back_for_ever(
            limit in 0..50u32, steps in prop::collection::vec((0..3u8, 0..700i64, 0..700i64), 0..200)
        ) {
            let (mut health, mut now) = (Health::new(limit), 0);
            for (what, gap, age) in steps {
                now += gap * SECOND;
                let before = health;
                health = match what {
                    0 => health.answered(),
                    1 => health.failed(now - age * SECOND, now, &PAUSES),
                    _ => health.failed_again(now, &PAUSES),
                };
                prop_assert!((1..=limit.max(1)).contains(&health.allowance()));
                prop_assert!(health.not_before() <= now + 600 * SECOND);
                prop_assert_eq!(health.is_held(), health.not_before() != i64::MIN);
                prop_assert!(what == 0 || health.allowance() <= before.allowance());
                prop_assert!(what != 0 || health.allowance() >= before.allowance());
            }
            for _ in 0..limit.max(1) * limit.max(1) {
                health = health.answered();
            }
            prop_assert!(health.is_whole());
        }
    }
}
