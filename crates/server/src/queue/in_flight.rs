//! The recipients of what runs. A lease is a time, and the clock may jump beyond it; this never does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use store::{Job, NewState, RecipientId, RecipientOutcome};

/// Each with whether it was claimed again meanwhile.
#[derive(Default)]
pub(super) struct InFlight(Mutex<HashMap<RecipientId, bool>>);

impl InFlight {
    /// Takes up what is not in flight already, and leaves only that in the job.
    pub(super) fn begin(&self, job: &mut Job) {
        let mut all = self.lock();
        let claimed = job.recipients.len();
        job.recipients.retain(|recipient| match all.entry(recipient.id) {
            Entry::Vacant(entry) => {
                entry.insert(false);
                true
            }
            Entry::Occupied(mut entry) => {
                entry.insert(true);
                false
            }
        });
        if job.recipients.len() < claimed {
            // What was read goes by their places.
            job.loaded.listed = None;
        }
    }

    /// Their outcome is recorded. Who was claimed again meanwhile is to be released: that claim may have come after the
    /// record, and its lease would hold them for nobody.
    pub(super) fn end(&self, recipients: &[RecipientId]) -> Vec<RecipientOutcome> {
        let mut all = self.lock();
        recipients.iter().filter(|id| all.remove(id) == Some(true)).map(|id| released(*id)).collect()
    }

    /// Nothing that holds the lock can fail halfway.
    fn lock(&self) -> MutexGuard<'_, HashMap<RecipientId, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All recipients of a job, [`released`].
pub(super) fn all_released(job: &Job) -> Vec<RecipientOutcome> {
    job.recipients.iter().map(|recipient| released(recipient.id)).collect()
}

/// Not attempted after all: nothing is counted and nothing told.
pub(super) fn released(recipient: RecipientId) -> RecipientOutcome {
    RecipientOutcome { recipient, state: NewState::Released, events: Vec::new() }
}

#[cfg(test)]
mod tests {
    use store::{Claim, Location, Role, Store, Timestamp};

    use super::*;

    /// A claim may come between the record of an outcome and the news that its attempt is over.
    #[tokio::test]
    async fn who_is_claimed_while_in_flight_is_given_back_afterwards() {
        let directory = std::env::temp_dir().join(format!("waxwing-flight-{:016x}", rand::random::<u64>()));
        let store = Store::open(&Location::sqlite(&directory), Role::Server).await.unwrap();
        store.accept(super::super::tests::message(None)).await.unwrap();
        let in_flight = InFlight::default();
        let now = Timestamp::now();
        let claim = || store.claim(Claim::all(now, now + super::super::LEASE, 10));
        let mut first = claim().await.unwrap().remove(0);
        in_flight.begin(&mut first);
        let id = first.recipients[0].id;
        store.record(now, vec![released(id)]).await.unwrap();
        let mut second = claim().await.unwrap().remove(0);
        in_flight.begin(&mut second);
        assert!(second.recipients.is_empty() && claim().await.unwrap().is_empty());
        store.record(now, in_flight.end(&[id])).await.unwrap();
        assert!(in_flight.end(&[id]).is_empty());
        let mut third = claim().await.unwrap().remove(0);
        in_flight.begin(&mut third);
        assert_eq!(third.recipients[0].id, id);
        assert!(in_flight.end(&[id]).is_empty(), "nobody claimed it meanwhile");
        store.close().await;
        std::fs::remove_dir_all(directory).unwrap();
    }
}
