//! The queue: claims what is due, attempts it, records what became of it.
//!
//! The state of every recipient is a column in the store; nothing here outlives the process. An outcome is recorded
//! with its events in one transaction before the next message goes out on that task, so a crash repeats at most what
//! was in flight.

mod client;
mod outcome;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use policy::retry::Schedule;
use smtp::{Domain, ReturnPath};
use store::{Claim, Job, NewState, RecipientOutcome, Store, StoreError, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

pub use client::{ClientError, client_of};

/// How long a claim holds. Longer than any attempt, so that nobody else takes up what is still being tried.
const LEASE: Duration = Duration::from_secs(45 * 60);
const _: () = assert!(LEASE.as_secs() > smtp::limits::ATTEMPT_TIMEOUT.as_secs());
/// Most jobs of one claim.
const CLAIM: usize = 64;
/// The longest sleep: what another process put into the queue is found after it at the latest.
const NAP: Duration = Duration::from_secs(60);
/// How long to wait before a store that failed is asked again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How many attempts run at once.
#[derive(Debug, Clone, Copy)]
pub struct Concurrency {
    /// In all.
    pub total: usize,
    /// To one recipient domain.
    pub per_destination: usize,
}

/// The worker of one server.
pub struct Queue {
    shared: Arc<Shared>,
    concurrency: Concurrency,
    wake: Arc<Notify>,
    running: JoinSet<Domain>,
    in_flight: HashMap<Domain, usize>,
}

/// What every attempt needs.
struct Shared {
    store: Store,
    client: delivery::Client,
    schedule: Schedule,
}

impl Queue {
    /// A worker on `store`. Whoever accepts a message pokes `wake`.
    pub fn new(
        store: Store,
        client: delivery::Client,
        schedule: Schedule,
        concurrency: Concurrency,
        wake: Arc<Notify>,
    ) -> Queue {
        Queue {
            shared: Arc::new(Shared { store, client, schedule }),
            concurrency,
            wake,
            running: JoinSet::new(),
            in_flight: HashMap::new(),
        }
    }

    /// Works until `stop` turns true, then lets what runs finish for `grace`.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>, grace: Duration) {
        while !*stop.borrow() {
            let claimed_all = self.fill().await;
            let nap = if claimed_all { self.until_next_due().await } else { NAP };
            tokio::select! {
                _ = stop.wait_for(|stopping| *stopping) => break,
                Some(ended) = self.running.join_next() => self.ended(ended),
                () = self.wake.notified(), if claimed_all => {}
                () = tokio::time::sleep(nap) => {}
            }
        }
        self.finish(grace).await;
    }

    /// Claims and starts jobs until nothing more is due or nothing more may run. Returns whether all that is due and
    /// not busy was claimed.
    async fn fill(&mut self) -> bool {
        loop {
            while let Some(ended) = self.running.try_join_next() {
                self.ended(ended);
            }
            let limit = self.concurrency.total.saturating_sub(self.running.len()).min(CLAIM);
            if limit == 0 {
                return false;
            }
            match self.claim(limit).await {
                Ok(jobs) => {
                    let claimed_all = jobs.len() < limit;
                    jobs.into_iter().for_each(|job| self.start(job));
                    if claimed_all {
                        return true;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "cannot claim what is due");
                    tokio::time::sleep(STORE_PAUSE).await;
                    return false;
                }
            }
        }
    }

    /// One claim takes up to half of what a destination may have, and none where less than that is free: so the
    /// limit holds without asking for each destination by itself.
    async fn claim(&self, limit: usize) -> Result<Vec<Job>, StoreError> {
        let most = self.concurrency.per_destination;
        let per_destination = most.div_ceil(2);
        let is_busy = |running: usize| running + per_destination > most;
        let busy: Vec<Domain> =
            self.in_flight.iter().filter(|(_, running)| is_busy(**running)).map(|(domain, _)| domain.clone()).collect();
        let now = Timestamp::now();
        let claim = Claim { now, lease_until: now + LEASE, limit, per_destination, busy: &busy };
        self.shared.store.claim(claim).await
    }

    fn start(&mut self, job: Job) {
        let destination = job.destination.clone();
        *self.in_flight.entry(destination.clone()).or_default() += 1;
        let shared = self.shared.clone();
        self.running.spawn(async move {
            // A fault in one attempt must not count against its destination for ever: the domain comes back whatever
            // happens, and the lease of the job ends by itself.
            let attempt = tokio::spawn(async move { shared.deliver(job).await });
            let _abort = AbortOnDrop(attempt.abort_handle());
            if let Err(error) = attempt.await {
                tracing::error!(%error, %destination, "an attempt ended by a fault");
            }
            destination
        });
    }

    fn ended(&mut self, ended: Result<Domain, tokio::task::JoinError>) {
        let Ok(domain) = ended else { return };
        if let Some(running) = self.in_flight.get_mut(&domain) {
            *running -= 1;
            if *running == 0 {
                self.in_flight.remove(&domain);
            }
        }
    }

    async fn until_next_due(&self) -> Duration {
        let now = Timestamp::now();
        match self.shared.store.next_due(now).await {
            Ok(Some(due)) => due.since(now).min(NAP).max(Duration::from_millis(1)),
            Ok(None) => NAP,
            Err(error) => {
                tracing::error!(%error, "cannot look for what becomes due");
                STORE_PAUSE
            }
        }
    }

    /// Waits for what runs. What does not finish in time is dropped where it stands; its recipients are due again.
    async fn finish(mut self, grace: Duration) {
        if !self.running.is_empty() {
            tracing::info!(attempts = self.running.len(), "waiting for running deliveries");
        }
        let all = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!(attempts = self.running.len(), "deliveries cut short by the stop; they will be repeated");
            self.running.shutdown().await;
        }
    }
}

/// Ends a task when its guardian ends.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shared {
    async fn deliver(&self, job: Job) {
        let wire = match self.store.wire(job.message).await {
            Ok(Some(wire)) => wire,
            Ok(None) => return self.record(&job, outcome::content_lost(&job)).await,
            Err(error) => {
                tracing::error!(%error, message_id = job.message_id, "cannot read a message");
                return self.record(&job, released(&job)).await;
            }
        };
        let recipients: Vec<_> = job.recipients.iter().map(|recipient| recipient.address.clone()).collect();
        let return_path = return_path_of(&job);
        let report = self
            .client
            .attempt(delivery::Job {
                destination: &job.destination,
                return_path: &return_path,
                recipients: &recipients,
                wire: &wire,
                sender: job.tls,
            })
            .await;
        outcome::log(&job, &report);
        self.record(&job, outcome::of_report(&job, &report, &self.schedule, Timestamp::now())).await;
    }

    /// Records until the store takes it: an outcome that is not kept would mean a second delivery.
    async fn record(&self, job: &Job, outcomes: Vec<RecipientOutcome>) {
        let lease_ends = tokio::time::Instant::now() + LEASE;
        while let Err(error) = self.store.record(Timestamp::now(), outcomes.clone()).await {
            tracing::error!(%error, message_id = job.message_id, "cannot record an outcome; trying again");
            tokio::time::sleep(STORE_PAUSE).await;
            if tokio::time::Instant::now() > lease_ends {
                return;
            }
        }
    }
}

fn released(job: &Job) -> Vec<RecipientOutcome> {
    let release = |id| RecipientOutcome { recipient: id, state: NewState::Released, events: Vec::new() };
    job.recipients.iter().map(|recipient| release(recipient.id)).collect()
}

/// What was stored was an address when it was accepted; were it none any more, failures would go nowhere.
fn return_path_of(job: &Job) -> ReturnPath {
    job.return_path.parse().map_or(ReturnPath::Null, ReturnPath::Address)
}
