//! How the store does, in numbers for those who watch a running server. Of nobody in particular: no domain, no recipient.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::traffic::What;
use crate::{Store, StoreError, Timestamp};

/// What stands in the store at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Recipients that wait to be delivered.
    pub queued: u64,
    /// When the mail was accepted that waits longest.
    pub oldest_accepted_at: Option<Timestamp>,
    /// Since when the recipient is due that is due longest; in the future when nothing is due, or all that is due is leased.
    pub due_at: Option<Timestamp>,
    /// Webhooks.
    pub webhooks: u64,
    /// Events that webhooks could not be told of, and will be told again.
    pub webhook_retries: u64,
}

/// How long commits took since the store was opened: how many no longer than each of [`Durations::BOUNDS`], each with all
/// below it, and how many and how long in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations {
    /// Counts by bound.
    pub within: [u64; Durations::BOUNDS.len()],
    /// All.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
}

impl Durations {
    /// In milliseconds.
    pub const BOUNDS: [u64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 1000, 5000];
}

/// What happened since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Happened {
    events: Mutex<BTreeMap<What, u64>>,
    commits: [AtomicU64; Durations::BOUNDS.len()],
    longer_commits: AtomicU64,
    commit_micros: AtomicU64,
}

impl Happened {
    /// Adds events that are on disk.
    pub(crate) fn add(&self, events: BTreeMap<What, u64>) {
        let mut all = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        for (what, count) in events {
            *all.entry(what).or_default() += count;
        }
    }

    /// Adds a commit.
    pub(crate) fn committed(&self, within: Duration) {
        let bound = Durations::BOUNDS.iter().position(|bound| within <= Duration::from_millis(*bound));
        bound.map_or(&self.longer_commits, |bound| &self.commits[bound]).fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(within.as_micros()).unwrap_or(u64::MAX);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn commits(&self) -> Durations {
        let mut count = 0;
        let within = std::array::from_fn(|bound| {
            count += self.commits[bound].load(Ordering::Relaxed);
            count
        });
        let count = count + self.longer_commits.load(Ordering::Relaxed);
        Durations { within, count, sum: Duration::from_micros(self.commit_micros.load(Ordering::Relaxed)) }
    }
}

impl Store {
    /// What stands in the store.
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        self.engine().figures().await
    }

    /// The events since the store was opened, counted by what happened.
    pub fn happened(&self) -> Vec<(What, u64)> {
        let events = self.engine().happened().events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().map(|(what, count)| (what.clone(), *count)).collect()
    }

    /// How long commits took.
    pub fn commit_durations(&self) -> Durations {
        self.engine().happened().commits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_by_their_bounds() {
        let happened = Happened::default();
        for micros in [900, 1000, 1001, 80_000, 9_000_000] {
            happened.committed(Duration::from_micros(micros));
        }
        let durations = happened.commits();
        assert_eq!(durations.within, [2, 3, 3, 3, 3, 3, 4, 4, 4, 4]);
        assert_eq!((durations.count, durations.sum), (5, Duration::from_micros(9_082_901)));
    }
}
