//! Counting: in memory, so that no delivery waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use policy::tlsrpt::{Counted, Day, SessionResult};
use smtp::{Address, Domain};
use store::tlsrpt::TlsCount;
use store::{Store, Timestamp};

use super::day_of;

/// Most different counters in memory. They live for seconds; more than this many means a store that takes nothing.
const COUNTERS: usize = 20_000;

/// Counts sessions until they are written down. Clones share the counters.
///
/// What was counted since the last flush is lost in a crash; a report is a statistic, and no delivery waits for it.
#[derive(Debug, Clone, Default)]
pub struct Tally(Option<Arc<Counters>>);

#[derive(Debug)]
struct Counters {
    /// Mail from here is reports, whose own sessions are not reported: two servers would report to each other for ever.
    not_from: String,
    counts: Mutex<HashMap<(Day, Domain, SessionResult), u64>>,
}

impl Tally {
    /// Counts nothing.
    pub fn off() -> Tally {
        Tally::default()
    }

    /// Counts everything but the sessions of mail from this address.
    pub(crate) fn without(not_from: &Address) -> Tally {
        Tally(Some(Arc::new(Counters { not_from: not_from.to_string(), counts: Mutex::default() })))
    }

    /// Counts the results of an attempt to deliver mail from `return_path` for `destination`: one for each session and
    /// each policy that applied to it.
    pub fn record(
        &self,
        now: Timestamp,
        return_path: &str,
        destination: &Domain,
        results: impl IntoIterator<Item = SessionResult>,
    ) {
        let Some(counters) = self.0.as_ref().filter(|counters| counters.not_from != return_path) else { return };
        let day = day_of(now);
        let mut counts = counters.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for result in results {
            let key = (day, destination.clone(), result);
            if counts.len() < COUNTERS || counts.contains_key(&key) {
                *counts.entry(key).or_default() += 1;
            }
        }
    }

    /// Writes what was counted to the store. What it does not take is counted again.
    pub async fn flush(&self, store: &Store) {
        let Some(counters) = &self.0 else { return };
        let taken = std::mem::take(&mut *counters.counts.lock().unwrap_or_else(PoisonError::into_inner));
        if taken.is_empty() {
            return;
        }
        let counts = taken.iter().map(|((day, destination, result), sessions)| TlsCount {
            day: *day,
            destination: destination.clone(),
            counted: Counted { result: result.clone(), sessions: *sessions },
        });
        if let Err(error) = store.count_tls(counts.collect()).await {
            tracing::warn!(%error, "cannot write down what TLS sessions came to; trying again");
            let mut counts = counters.counts.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, sessions) in taken {
                *counts.entry(key).or_default() += sessions;
            }
        }
    }
}
