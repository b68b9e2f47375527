//! The queue: claims what is due, attempts it, records what became of it.
//!
//! The state of every recipient is a column in the store; nothing here outlives the process. An outcome is recorded
//! with its events in one transaction, together with others; until then no connection carries another message than the
//! one that it tells of, so a crash repeats at most one message per connection (docs/decisions/0017-claimed-ahead.md).

mod ahead;
#[cfg(test)]
mod ahead_tests;
mod client;
mod deliver;
mod in_flight;
mod limiter;
#[cfg(test)]
mod limiter_tests;
mod notes;
mod outcome;
mod prepare;
mod recorder;
mod sessions;
mod sign;
#[cfg(test)]
mod site_tests;
mod sts_cache;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use policy::retry::Schedule;
use store::{Claim, Job, Store, StoreError, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use self::ahead::{Ahead, Room};
use self::deliver::Shared;
use self::in_flight::InFlight;
use self::limiter::Limiter;
use self::prepare::Prepare;
use self::recorder::{Recorder, Records};
use crate::inbound::ReturnPaths;
use crate::tlsrpt::Tally;

pub(crate) use client::client_with;
pub use client::{ClientError, check_client, client_of, limits_of};
pub(crate) use client::{dnssec_of, roots_of};
pub use limiter::{Limits, OwnSite};
pub use sts_cache::StoredPolicies;

/// How long a claim holds. Longer than any attempt, so that nobody else takes up what is still being tried.
const LEASE: Duration = Duration::from_secs(45 * 60);
const _: () = assert!(LEASE.as_secs() > smtp::limits::ATTEMPT_TIMEOUT.as_secs());
/// The least time from claim to claim, so that each brings what came meanwhile.
const CLAIM_GAP: Duration = Duration::from_millis(2);
/// How often it is looked for work that has waited too long for a place.
const LOOK: Duration = Duration::from_secs(1);
/// The longest sleep: what another process put into the queue is found after it at the latest.
const NAP: Duration = Duration::from_secs(60);
/// The same where other nodes put their mail into the same queue.
const SHARED_NAP: Duration = Duration::from_secs(1);
/// How long to wait before a store that failed is asked again.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How much longer than its time of grace a stop waits for outcomes that are known and not yet recorded.
const RECORD_GRACE: Duration = Duration::from_secs(5);
/// How often a stop looks whether they are.
const RECORDED_SOON: Duration = Duration::from_millis(10);

/// How many attempts are under way. Clones tell the same.
#[derive(Clone)]
pub struct Attempts(Arc<Shared>);

impl Attempts {
    /// Now.
    pub fn running(&self) -> usize {
        self.0.ahead.running()
    }
}

/// The worker of one server.
pub struct Queue {
    shared: Arc<Shared>,
    wake: Arc<Notify>,
    lease: Duration,
    recorder: Recorder,
    /// Turns true when what still talks to a host is to be dropped.
    cut: watch::Sender<bool>,
}

/// What the next claim waits for.
struct Next {
    /// The claim that is under way.
    claiming: Option<Claiming>,
    /// Whether something may be due that was not claimed.
    is_wanted: bool,
    /// No claim before.
    not_before: Instant,
    /// When something becomes due.
    due: Instant,
}

type Claiming = Pin<Box<dyn Future<Output = Result<Claimed, StoreError>> + Send>>;

/// What a claim brought.
struct Claimed {
    jobs: Vec<Job>,
    /// How long until something becomes due that was not due then, where it brought nothing.
    nap: Duration,
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
        let in_flight = Arc::new(InFlight::default());
        let (records, recorder) = Records::new(store.clone(), in_flight.clone(), wake.clone());
        let total = limits.total;
        let limiter = Arc::new(Limiter::new(limits));
        Queue {
            shared: Arc::new(Shared {
                prepare: Prepare::new(store.clone()),
                store,
                client,
                schedule,
                tally,
                ahead: Ahead::new(total, limiter.clone()),
                limiter,
                return_paths: None,
                records,
                notes: Arc::default(),
                in_flight,
            }),
            wake,
            lease: LEASE,
            recorder,
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
        Attempts(self.shared.clone())
    }

    /// Works until `stop` turns true, then lets what runs finish for `grace`.
    pub async fn run(self, stop: watch::Receiver<bool>, grace: Duration) {
        let Queue { shared, wake, lease, recorder, cut } = self;
        // Both end with this function, at the latest.
        let mut aside = JoinSet::new();
        aside.spawn(shared.notes.clone().keep(shared.store.clone(), wake.clone()));
        let mut recording = JoinSet::new();
        recording.spawn(recorder.run());
        let mut worker = Worker { shared, wake, lease, working: JoinSet::new(), cut };
        worker.work(stop, &mut recording).await;
        worker.finish(grace, &mut recording).await;
        worker.shared.client.close().await;
    }
}

/// The part of [`Queue`] that runs.
struct Worker {
    shared: Arc<Shared>,
    wake: Arc<Notify>,
    lease: Duration,
    /// Each attempts job after job as long as there is one for its place.
    working: JoinSet<()>,
    cut: watch::Sender<bool>,
}

impl Worker {
    /// Claims what is due, and begins it, until the stop. A claim is under way while attempts begin and end.
    async fn work(&mut self, mut stop: watch::Receiver<bool>, recording: &mut JoinSet<()>) {
        let began = Instant::now();
        let mut next = Next { claiming: None, is_wanted: true, not_before: began, due: began + NAP };
        let mut look = tokio::time::interval(LOOK);
        while !*stop.borrow() {
            while self.working.try_join_next().is_some() {}
            self.begin();
            let may_begin = self.shared.records.may_begin();
            let room = self.shared.ahead.room().filter(|_| may_begin && next.is_wanted && next.claiming.is_none());
            let now = Instant::now();
            let room = match room {
                Some(room) if next.not_before <= now => {
                    next.claiming = Some(self.claim(room));
                    next.is_wanted = false;
                    (next.not_before, next.due) = (now + CLAIM_GAP, now + NAP);
                    None
                }
                room => room,
            };
            let until = if next.is_wanted { next.not_before } else { next.due };
            tokio::select! {
                _ = stop.wait_for(|stopping| *stopping) => break,
                claimed = answer(&mut next.claiming) => self.claimed(&mut next, claimed),
                Some(_) = self.working.join_next() => next.is_wanted = true,
                () = self.shared.ahead.is_low() => next.is_wanted = true,
                () = self.wake.notified(), if !next.is_wanted || !may_begin => next.is_wanted = true,
                () = tokio::time::sleep_until(until.into()), if room.is_some() || !next.is_wanted => next.is_wanted = true,
                _ = look.tick() => {
                    self.shared.limiter.set_places(self.shared.store.places());
                    self.shared.give_back(self.shared.ahead.overdue());
                }
                Some(_) = recording.join_next() => return tracing::error!("nothing can be recorded any more"),
            }
        }
        // What a claim under way brings is given back with the rest; a store that does not answer does so by itself.
        if let Some(Ok(Ok(claimed))) = match next.claiming {
            Some(claiming) => Some(tokio::time::timeout(RECORD_GRACE, claiming).await),
            None => None,
        } {
            self.take_up(claimed.jobs);
        }
    }

    /// Asks for as much as there is room for.
    fn claim(&self, room: Room) -> Claiming {
        self.shared.limiter.set_places(self.shared.store.places());
        let now = Timestamp::now();
        let (store, gate) = (self.shared.store.clone(), self.shared.limiter.clone());
        let Room { limit, slow_limit } = room;
        let claim = Claim { now, lease_until: now + self.lease, limit, slow_limit, gate };
        Box::pin(async move {
            let jobs = store.claim(claim).await?;
            let nap = if jobs.is_empty() { until_next_due(&store, now).await } else { NAP };
            Ok(Claimed { jobs, nap })
        })
    }

    fn claimed(&mut self, next: &mut Next, claimed: Result<Claimed, StoreError>) {
        next.claiming = None;
        match claimed {
            Ok(Claimed { jobs, nap }) if jobs.is_empty() => next.due = Instant::now() + nap,
            // What came meanwhile, and what was moved to its site meanwhile, may be due as well.
            Ok(Claimed { jobs, .. }) => {
                next.is_wanted = true;
                self.take_up(jobs);
            }
            Err(error) => {
                tracing::error!(%error, "cannot claim what is due");
                (next.is_wanted, next.not_before) = (true, Instant::now() + STORE_PAUSE);
            }
        }
    }

    /// What is still being tried although its lease ended got a new lease by this claim, and goes on.
    fn take_up(&self, mut jobs: Vec<Job>) {
        jobs.iter_mut().for_each(|job| self.shared.in_flight.begin(job));
        jobs.retain(|job| !job.recipients.is_empty());
        self.shared.give_back(self.shared.ahead.take_in(jobs));
    }

    /// Begins what there are places for.
    fn begin(&mut self) {
        if !self.shared.records.may_begin() {
            return;
        }
        let (begun, refused) = self.shared.ahead.begin();
        self.shared.give_back(refused);
        for begun in begun {
            self.working.spawn(self.shared.clone().work(begun, self.cut.subscribe()));
        }
    }

    /// Waits for what runs. What does not finish in time is dropped where it stands, and its recipients are due again;
    /// but what is known already is still recorded, or it would be done twice.
    async fn finish(&mut self, grace: Duration, recording: &mut JoinSet<()>) {
        self.shared.give_back(self.shared.ahead.close());
        if !self.working.is_empty() {
            tracing::info!(attempts = self.working.len(), "waiting for running deliveries");
        }
        if !self.all_ended(grace).await {
            tracing::warn!(attempts = self.working.len(), "deliveries cut short by the stop; they will be repeated");
            self.cut.send_replace(true);
        }
        let all_recorded = async {
            while self.working.join_next().await.is_some() {}
            while self.shared.records.unrecorded() > 0 && !recording.is_empty() {
                tokio::time::sleep(RECORDED_SOON).await;
            }
        };
        if tokio::time::timeout(RECORD_GRACE, all_recorded).await.is_err() {
            let outcomes = self.shared.records.unrecorded();
            tracing::error!(outcomes, "outcomes could not be recorded; their mail may go out again");
            self.working.shutdown().await;
        }
    }

    async fn all_ended(&mut self, within: Duration) -> bool {
        let all = async { while self.working.join_next().await.is_some() {} };
        tokio::time::timeout(within, all).await.is_ok()
    }
}

/// The answer of the claim that is under way; never where there is none.
async fn answer(claiming: &mut Option<Claiming>) -> Result<Claimed, StoreError> {
    match claiming {
        Some(claiming) => claiming.await,
        None => std::future::pending().await,
    }
}

/// How long until something becomes due that was not due at `claimed`.
async fn until_next_due(store: &Store, claimed: Timestamp) -> Duration {
    let longest = if store.is_shared() { SHARED_NAP } else { NAP };
    match store.next_due(claimed).await {
        Ok(Some(due)) => due.since(Timestamp::now()).min(longest).max(Duration::from_millis(1)),
        Ok(None) => longest,
        Err(error) => {
            tracing::error!(%error, "cannot look for what becomes due");
            STORE_PAUSE
        }
    }
}
