//! The queue: claims what is due, attempts it, records what became of it.
//!
//! The state of every recipient is a column in the store; nothing here outlives the process. An outcome is recorded
//! with its events in one transaction before the next message goes out on that task, so a crash repeats at most what
//! was in flight.

mod client;
mod deliver;
mod in_flight;
mod limiter;
#[cfg(test)]
mod limiter_tests;
mod outcome;
mod prepare;
mod sessions;
mod sign;
#[cfg(test)]
mod site_tests;
mod sts_cache;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use policy::retry::Schedule;
use store::{Claim, Job, RecipientId, Store, StoreError, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use self::deliver::Shared;
use self::in_flight::{InFlight, released};
use self::limiter::Limiter;
use self::prepare::Prepare;
use crate::inbound::ReturnPaths;
use crate::tlsrpt::Tally;

pub use client::{ClientError, check_client, client_of, limits_of};
pub(crate) use client::{dnssec_of, roots_of};
pub use limiter::{Limits, OwnSite};
pub use sts_cache::StoredPolicies;

/// How long a claim holds. Longer than any attempt, so that nobody else takes up what is still being tried.
const LEASE: Duration = Duration::from_secs(45 * 60);
const _: () = assert!(LEASE.as_secs() > smtp::limits::ATTEMPT_TIMEOUT.as_secs());
/// Most jobs of one claim.
const CLAIM: usize = 64;
/// The longest sleep: what another process put into the queue is found after it at the latest.
const NAP: Duration = Duration::from_secs(60);
/// How long to wait before a store that failed is asked again.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How much longer than its time of grace a stop waits for outcomes that are known and not yet recorded.
const RECORD_GRACE: Duration = Duration::from_secs(5);

/// How many attempts are under way. Clones tell the same.
#[derive(Debug, Clone, Default)]
pub struct Attempts(Arc<AtomicUsize>);

impl Attempts {
    /// Now.
    pub fn running(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The worker of one server.
pub struct Queue {
    shared: Arc<Shared>,
    /// Most attempts at once.
    total: usize,
    wake: Arc<Notify>,
    lease: Duration,
    running: JoinSet<Ended>,
    /// How many run, for those who watch.
    attempts: Attempts,
    /// How many of those that run go to sites that are not known to be prompt.
    slow: usize,
    /// Turns true when what still talks to a host is to be dropped.
    cut: watch::Sender<bool>,
}

/// What an attempt had, and has no more.
struct Ended {
    is_prompt: bool,
    recipients: Vec<RecipientId>,
}

/// Why nothing more is claimed for now.
enum Pause {
    /// All that was due at this time and may run does run.
    AllClaimed(Timestamp),
    /// No more attempts may run at once.
    Full,
    /// The store failed.
    StoreFailed,
}

impl Queue {
    /// A worker on `store`. Whoever accepts a message pokes `wake`; `tally` counts the TLS sessions.
    pub fn new(
        store: Store,
        client: delivery::Client,
        schedule: Schedule,
        limits: Limits,
        wake: Arc<Notify>,
        tally: Tally,
    ) -> Queue {
        Queue {
            total: limits.total,
            shared: Arc::new(Shared {
                prepare: Prepare::new(store.clone()),
                store,
                client,
                schedule,
                tally,
                limiter: Arc::new(Limiter::new(limits)),
                return_paths: None,
                unrecorded: AtomicUsize::new(0),
                in_flight: InFlight::default(),
                wake: wake.clone(),
            }),
            wake,
            lease: LEASE,
            running: JoinSet::new(),
            attempts: Attempts::default(),
            slow: 0,
            cut: watch::Sender::new(false),
        }
    }

    /// Has what other servers report come back here, where that is possible.
    pub(crate) fn with_return_paths(mut self, return_paths: Option<Arc<ReturnPaths>>) -> Queue {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.return_paths = return_paths;
        }
        self
    }

    /// How many attempts are under way.
    pub fn attempts(&self) -> Attempts {
        self.attempts.clone()
    }

    /// Works until `stop` turns true, then lets what runs finish for `grace`.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>, grace: Duration) {
        while !*stop.borrow() {
            let pause = self.fill(&stop).await;
            let nap = match pause {
                Pause::AllClaimed(at) => self.until_next_due(at).await,
                Pause::Full => NAP,
                Pause::StoreFailed => STORE_PAUSE,
            };
            tokio::select! {
                _ = stop.wait_for(|stopping| *stopping) => break,
                Some(ended) = self.running.join_next() => self.ended(ended),
                () = self.wake.notified(), if matches!(pause, Pause::AllClaimed(_)) => {}
                () = tokio::time::sleep(nap) => {}
            }
        }
        let shared = self.shared.clone();
        self.finish(grace).await;
        shared.client.close().await;
    }

    /// Claims and starts jobs until nothing more is due, nothing more may run, or the server stops.
    async fn fill(&mut self, stop: &watch::Receiver<bool>) -> Pause {
        loop {
            while let Some(ended) = self.running.try_join_next() {
                self.ended(ended);
            }
            // An attempt whose outcome cannot be written would be made again: none begins until it can.
            if self.shared.unrecorded.load(Ordering::Relaxed) > 0 || self.shared.store.health().is_err() {
                return Pause::StoreFailed;
            }
            let limit = self.total.saturating_sub(self.running.len()).min(CLAIM);
            if limit == 0 || *stop.borrow() {
                return Pause::Full;
            }
            let now = Timestamp::now();
            match self.claim(now, limit).await {
                // What came meanwhile, and what was moved to its site meanwhile, may be due as well.
                Ok(jobs) if jobs.is_empty() => return Pause::AllClaimed(now),
                Ok(jobs) => jobs.into_iter().for_each(|job| self.start(job)),
                Err(error) => {
                    tracing::error!(%error, "cannot claim what is due");
                    return Pause::StoreFailed;
                }
            }
        }
    }

    async fn claim(&self, now: Timestamp, limit: usize) -> Result<Vec<Job>, StoreError> {
        let slow_limit = slow_share(self.total).saturating_sub(self.slow);
        let gate = self.shared.limiter.clone();
        self.shared.store.claim(Claim { now, lease_until: now + self.lease, limit, slow_limit, gate }).await
    }

    fn start(&mut self, mut job: Job) {
        let slot = self.shared.limiter.reserve(&job.site, &job.destination, Timestamp::now());
        // What is still being tried although its lease ended got a new lease by this claim, and goes on.
        self.shared.in_flight.begin(&mut job);
        if job.recipients.is_empty() {
            return;
        }
        let is_prompt = job.is_prompt;
        self.slow += usize::from(!is_prompt);
        let recipients = job.recipients.iter().map(|recipient| recipient.id).collect();
        let (shared, cut, job) = (self.shared.clone(), self.cut.subscribe(), Arc::new(job));
        self.running.spawn(async move {
            let attempt = tokio::spawn({
                let (shared, job) = (shared.clone(), job.clone());
                async move {
                    match slot {
                        Some(slot) => shared.deliver(&job, slot, cut).await,
                        // Since the claim was answered another attempt took the last place.
                        None => shared.record(job.recipients.iter().map(|r| released(r.id)).collect()).await,
                    }
                }
            });
            let _abort = AbortOnDrop(attempt.abort_handle());
            // A fault in one attempt is one attempt that failed: counted, told, and not repeated for ever.
            if let Err(error) = attempt.await {
                let destination = &job.destination;
                tracing::error!(%error, %destination, message_id = job.message_id, "an attempt ended by a fault");
                shared.record_fault(&job, "a fault in this server ended the attempt").await;
            }
            Ended { is_prompt, recipients }
        });
        self.attempts.0.store(self.running.len(), Ordering::Relaxed);
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        self.attempts.0.store(self.running.len(), Ordering::Relaxed);
        let Ok(ended) = ended else { return };
        self.slow -= usize::from(!ended.is_prompt);
        let claimed_again = self.shared.in_flight.end(&ended.recipients);
        if !claimed_again.is_empty() {
            let shared = self.shared.clone();
            self.running.spawn(async move {
                shared.record(claimed_again).await;
                Ended { is_prompt: true, recipients: Vec::new() }
            });
        }
    }

    /// How long until something becomes due that was not due at `claimed`.
    async fn until_next_due(&self, claimed: Timestamp) -> Duration {
        match self.shared.store.next_due(claimed).await {
            Ok(Some(due)) => due.since(Timestamp::now()).min(NAP).max(Duration::from_millis(1)),
            Ok(None) => NAP,
            Err(error) => {
                tracing::error!(%error, "cannot look for what becomes due");
                STORE_PAUSE
            }
        }
    }

    /// Waits for what runs. What does not finish in time is dropped where it stands, and its recipients are due again;
    /// but what is known already is still recorded, or it would be done twice.
    async fn finish(mut self, grace: Duration) {
        if !self.running.is_empty() {
            tracing::info!(attempts = self.running.len(), "waiting for running deliveries");
        }
        if self.all_ended(grace).await {
            return;
        }
        tracing::warn!(attempts = self.running.len(), "deliveries cut short by the stop; they will be repeated");
        self.cut.send_replace(true);
        if !self.all_ended(RECORD_GRACE).await {
            tracing::error!(
                attempts = self.running.len(),
                "outcomes could not be recorded; their mail may go out again"
            );
            self.running.shutdown().await;
        }
    }

    async fn all_ended(&mut self, within: Duration) -> bool {
        let all = async { while self.running.join_next().await.is_some() {} };
        tokio::time::timeout(within, all).await.is_ok()
    }
}

/// How many of all attempts may go to sites that are not known to be prompt. What is left serves those that are, however
/// many of the others there are: dead hosts take half a minute each, live ones a second.
fn slow_share(total: usize) -> usize {
    (total - total / 4).max(1)
}

/// Ends a task when its guardian ends.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
