//! The queue: claims what is due, attempts it, records what became of it.
//!
//! The state of every recipient is a column in the store; nothing here outlives the process. An outcome is recorded
//! with its events in one transaction before the next message goes out on that task, so a crash repeats at most what
//! was in flight.

mod client;
mod outcome;
mod prepare;
mod sessions;
mod sign;
mod sts_cache;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use policy::retry::Schedule;
use smtp::{Domain, ReturnPath};
use store::{Claim, Job, RecipientId, RecipientOutcome, Store, StoreError, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use self::prepare::{Prepare, Unprepared};
use crate::tlsrpt::Tally;

pub use client::{ClientError, check_client, client_of};
pub(crate) use client::{dnssec_of, roots_of};
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
    lease: Duration,
    running: JoinSet<Ended>,
    in_flight: HashMap<Domain, usize>,
    /// The recipients of what runs. A lease is a time, and the clock may jump beyond it; this never does.
    held: HashSet<RecipientId>,
    /// Turns true when what still talks to a host is to be dropped.
    cut: watch::Sender<bool>,
}

/// What an attempt had, and has no more.
struct Ended {
    destination: Domain,
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

/// What every attempt needs.
struct Shared {
    store: Store,
    prepare: Prepare,
    client: delivery::Client,
    schedule: Schedule,
    /// What reports about TLS count.
    tally: Tally,
    /// Attempts whose outcome the store did not take yet.
    unrecorded: AtomicUsize,
}

impl Queue {
    /// A worker on `store`. Whoever accepts a message pokes `wake`; `tally` counts the TLS sessions.
    pub fn new(
        store: Store,
        client: delivery::Client,
        schedule: Schedule,
        concurrency: Concurrency,
        wake: Arc<Notify>,
        tally: Tally,
    ) -> Queue {
        Queue {
            shared: Arc::new(Shared {
                prepare: Prepare::new(store.clone()),
                store,
                client,
                schedule,
                tally,
                unrecorded: AtomicUsize::new(0),
            }),
            concurrency,
            wake,
            lease: LEASE,
            running: JoinSet::new(),
            in_flight: HashMap::new(),
            held: HashSet::new(),
            cut: watch::Sender::new(false),
        }
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
            if self.shared.unrecorded.load(Ordering::Relaxed) > 0 {
                return Pause::StoreFailed;
            }
            let limit = self.concurrency.total.saturating_sub(self.running.len()).min(CLAIM);
            if limit == 0 || *stop.borrow() {
                return Pause::Full;
            }
            let now = Timestamp::now();
            match self.claim(now, limit).await {
                // A claim takes a part of what a destination may have, so one that brought something is not the last.
                Ok(jobs) if jobs.is_empty() => return Pause::AllClaimed(now),
                Ok(jobs) => jobs.into_iter().for_each(|job| self.start(job)),
                Err(error) => {
                    tracing::error!(%error, "cannot claim what is due");
                    return Pause::StoreFailed;
                }
            }
        }
    }

    /// One claim takes up to half of what a destination may have, and none where less than that is free: so the
    /// limit holds without asking for each destination by itself.
    async fn claim(&self, now: Timestamp, limit: usize) -> Result<Vec<Job>, StoreError> {
        let most = self.concurrency.per_destination;
        let per_destination = most.div_ceil(2);
        let is_busy = |running: usize| running + per_destination > most;
        let busy: Vec<Domain> =
            self.in_flight.iter().filter(|(_, running)| is_busy(**running)).map(|(domain, _)| domain.clone()).collect();
        let claim = Claim { now, lease_until: now + self.lease, limit, per_destination, busy: &busy };
        self.shared.store.claim(claim).await
    }

    fn start(&mut self, mut job: Job) {
        // What is still being tried although its lease ended got a new lease by this claim, and goes on.
        job.recipients.retain(|recipient| self.held.insert(recipient.id));
        if job.recipients.is_empty() {
            return;
        }
        let destination = job.destination.clone();
        let recipients = job.recipients.iter().map(|recipient| recipient.id).collect();
        *self.in_flight.entry(destination.clone()).or_default() += 1;
        let (shared, cut, job) = (self.shared.clone(), self.cut.subscribe(), Arc::new(job));
        self.running.spawn(async move {
            let attempt = tokio::spawn({
                let (shared, job) = (shared.clone(), job.clone());
                async move { shared.deliver(&job, cut).await }
            });
            let _abort = AbortOnDrop(attempt.abort_handle());
            // A fault in one attempt is one attempt that failed: counted, told, and not repeated for ever.
            if let Err(error) = attempt.await {
                tracing::error!(%error, %destination, message_id = job.message_id, "an attempt ended by a fault");
                shared.record_fault(&job, "a fault in this server ended the attempt").await;
            }
            Ended { destination, recipients }
        });
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let Ok(ended) = ended else { return };
        for recipient in &ended.recipients {
            self.held.remove(recipient);
        }
        if let Some(running) = self.in_flight.get_mut(&ended.destination) {
            *running -= 1;
            if *running == 0 {
                self.in_flight.remove(&ended.destination);
            }
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

/// Ends a task when its guardian ends.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shared {
    /// Attempts and records. Only the attempt can be cut short.
    async fn deliver(&self, job: &Job, mut cut: watch::Receiver<bool>) {
        let outcomes = tokio::select! {
            biased;
            outcomes = self.attempt(job) => outcomes,
            _ = cut.wait_for(|cut| *cut) => return,
        };
        self.record(job, outcomes).await;
    }

    /// Asks the suppression lists each time, so that what has waited obeys what was asked meanwhile.
    async fn attempt(&self, job: &Job) -> Vec<RecipientOutcome> {
        let addresses: Vec<_> = job.recipients.iter().map(|recipient| recipient.address.clone()).collect();
        let listed = match self.store.listed(&job.domain, &addresses).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::error!(%error, message_id = job.message_id, "cannot read the suppression lists");
                let words = "the suppression lists could not be read from the store";
                return outcome::fault(job, words, &self.schedule, Timestamp::now());
            }
        };
        let (mut outcomes, wanted) = outcome::suppressed(job, &listed);
        if !wanted.recipients.is_empty() {
            outcomes.extend(self.attempt_wanted(&wanted).await);
        }
        outcomes
    }

    async fn attempt_wanted(&self, job: &Job) -> Vec<RecipientOutcome> {
        if job.expires_at.is_some_and(|end| end <= Timestamp::now()) {
            return outcome::expired(job);
        }
        let wire = match self.prepare.content(job).await {
            Ok(wire) => wire,
            Err(Unprepared::ContentLost) => return outcome::content_lost(job),
            Err(Unprepared::Refused(words)) => return outcome::refused(job, &words),
            Err(Unprepared::Fault(words)) => return outcome::fault(job, words, &self.schedule, Timestamp::now()),
        };
        let recipients: Vec<_> = job.recipients.iter().map(|recipient| recipient.address.clone()).collect();
        let return_path = return_path_of(job);
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
        outcome::log(job, &report);
        let results = sessions::results(&job.destination, &report);
        self.tally.record(Timestamp::now(), &job.return_path, &job.destination, results);
        outcome::of_report(job, &report, &self.schedule, Timestamp::now())
    }

    /// Records until the store takes it: an outcome that is not kept would mean a second delivery.
    async fn record(&self, job: &Job, outcomes: Vec<RecipientOutcome>) {
        let Err(mut error) = self.store.record(Timestamp::now(), outcomes.clone()).await else { return };
        let _unrecorded = Counted::new(&self.unrecorded);
        loop {
            tracing::error!(%error, message_id = job.message_id, "cannot record an outcome; trying again");
            tokio::time::sleep(STORE_PAUSE).await;
            match self.store.record(Timestamp::now(), outcomes.clone()).await {
                Ok(()) => return,
                Err(again) => error = again,
            }
        }
    }

    async fn record_fault(&self, job: &Job, words: &str) {
        self.record(job, outcome::fault(job, words, &self.schedule, Timestamp::now())).await;
    }
}

/// One more, as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    fn new(count: &AtomicUsize) -> Counted<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was stored was an address when it was accepted; were it none any more, failures would go nowhere.
fn return_path_of(job: &Job) -> ReturnPath {
    job.return_path.parse().map_or(ReturnPath::Null, ReturnPath::Address)
}
