//! Group commit: one thread takes every operation that waits, does all of them in one transaction, and answers them
//! after one sync of the disk.
//!
//! An operation that fails takes nothing of the others with it: the batch is then done once more, each operation in a
//! savepoint of its own. Nobody is answered before the commit.
//!
//! What many operations of a batch change is changed once for all of them, as the last thing before the commit.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::OPERATIONS_WAITING;
use super::broken::Broken;
use super::committer::{Committer, Failure, Ground};
use super::known::Known;
use super::leases::Leases;
use super::posture::Tally;
use super::settings::{Changes, Work};
use super::shared::NodeId;
use super::site;
use super::sql::{Connection, NONE};
use super::traffic::Counts;
use crate::figures::Happened;
use crate::traffic::What;
use crate::{Stats, StoreError, Timestamp};

/// The way to the thread that writes.
#[derive(Debug)]
pub(super) struct Writer {
    sender: Mutex<Option<mpsc::Sender<Box<dyn Operation>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) operations: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) failed_commits: AtomicU64,
    pub(super) happened: Happened,
    pub(super) broken: Broken,
    /// The database that is shared could not be reached at the last try.
    pub(super) unreachable: AtomicBool,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, ground: Ground, changes: Changes) -> io::Result<Writer> {
        let (sender, receiver) = mpsc::channel(OPERATIONS_WAITING);
        let counters = Arc::new(Counters::default());
        let shared_counters = counters.clone();
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            let committer = Committer {
                connection,
                ground,
                counters: shared_counters,
                changes,
                leases: RefCell::default(),
                known: RefCell::default(),
            };
            committer.run(receiver);
        })?;
        Ok(Writer { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), counters })
    }

    /// Has `work` done in a transaction and returns its result when that is on disk. `octets` is about how much it
    /// writes. `work` may be called again when the transaction it was part of failed.
    pub(super) async fn run<T, F>(&self, octets: usize, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(Work::Any, octets, work).await
    }

    /// The same for what changes no setting, so that those in memory stay.
    pub(super) async fn run_traffic<T, F>(&self, octets: usize, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(Work::Traffic, octets, work).await
    }

    /// The same for new mail, which is refused as long as nothing is in reserve for the mail that is there.
    pub(super) async fn run_new_mail<T, F>(&self, octets: usize, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit(Work::NewMail, octets, work).await
    }

    async fn submit<T, F>(&self, about: Work, octets: usize, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let closed = || StoreError::Unavailable("it was closed".to_owned());
        self.health()?;
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        let pending = Pending { about, octets, work, outcome: None, reply };
        sender.send(Box::new(pending)).await.map_err(|_| closed())?;
        drop(sender);
        answer.await.map_err(|_| StoreError::Unavailable("the writer has stopped".to_owned()))?
    }

    /// Takes no more operations, and returns when those that wait are done.
    pub(super) async fn close(&self) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let ended = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!("the store's writer did not end in order");
            }
        }
    }

    /// Whether the last try to reach the database failed. The next one may not.
    pub(super) fn is_cut_off(&self) -> bool {
        self.counters.unreachable.load(Ordering::Relaxed)
    }

    /// Why nothing is kept any more, if that is so.
    pub(super) fn health(&self) -> Result<(), StoreError> {
        self.counters.broken.check()
    }

    /// Has the next sync fail.
    #[cfg(test)]
    pub(super) fn fail_next_sync(&self) {
        self.counters.broken.fail_next_sync();
    }

    /// The next commit goes well, and its answer is lost with the connection.
    #[cfg(test)]
    pub(super) fn lose_next_answer(&self) {
        self.counters.broken.fail_next_sync();
    }

    /// What happened, and how long it took.
    pub(super) fn happened(&self) -> &Happened {
        &self.counters.happened
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            operations: self.counters.operations.load(Ordering::Relaxed),
            commits: self.counters.commits.load(Ordering::Relaxed),
            failed_commits: self.counters.failed_commits.load(Ordering::Relaxed),
        }
    }
}

/// A transaction under way, as an operation sees it.
pub(super) struct Writing<'a> {
    pub(super) connection: &'a Connection,
    last_event: Cell<Option<i64>>,
    /// What the events of this transaction add to the counts.
    pub(super) counts: Counts,
    /// Which node this is, where several share the store: who is taken then stands in the rows of recipients.
    pub(super) node: Option<NodeId>,
    /// Who is taken, where one server has the store alone.
    pub(super) leases: &'a RefCell<Leases>,
    /// What need not be read again.
    pub(super) known: &'a RefCell<Known>,
    /// What operations that went well leave to be written.
    kept: RefCell<Gathered>,
    /// What those since then leave.
    pending: RefCell<Gathered>,
}

/// What is written once for a whole transaction.
#[derive(Default)]
struct Gathered {
    /// How the attempts went.
    tally: Tally,
    /// Destinations whose lines may be out of date.
    destinations: BTreeSet<String>,
}

impl<'a> Writing<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        node: Option<NodeId>,
        leases: &'a RefCell<Leases>,
        known: &'a RefCell<Known>,
    ) -> Writing<'a> {
        Writing {
            connection,
            node,
            last_event: Cell::new(None),
            counts: Counts::default(),
            leases,
            known,
            kept: RefCell::default(),
            pending: RefCell::default(),
        }
    }

    /// Has the line of a destination brought up to date before the commit.
    pub(super) fn touch(&self, destination: &str) {
        let destinations = &mut self.pending.borrow_mut().destinations;
        if !destinations.contains(destination) {
            destinations.insert(destination.to_owned());
        }
    }

    /// Adds to what is counted of attempts.
    pub(super) fn tally(&self, add: impl FnOnce(&mut Tally)) {
        add(&mut self.pending.borrow_mut().tally);
    }

    /// What was gathered since the last time is kept, if it belongs to what went well.
    pub(super) fn settle(&self, well: bool) {
        self.counts.settle(well);
        let pending = self.pending.take();
        if well {
            let mut kept = self.kept.borrow_mut();
            kept.tally.merge(pending.tally);
            kept.destinations.extend(pending.destinations);
        }
    }

    /// Writes what was kept, and says what happened.
    pub(super) fn finish(&self) -> Result<BTreeMap<What, u64>, Failure> {
        let Gathered { tally, destinations } = self.kept.take();
        tally.write(self)?;
        site::refresh(self, destinations.iter().map(String::as_str))?;
        Ok(self.counts.write(self)?)
    }

    /// The time of the next event: `now`, or a microsecond after the last one where the clock has not moved on.
    ///
    /// There is one writer and its commits have an order, so a reader that has seen an event has seen every earlier
    /// one; no event ever appears behind a reader's back.
    pub(super) fn event_time(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let last = match self.last_event.get() {
            Some(last) => last,
            None => self
                .connection
                .prepare_cached("SELECT max(at) FROM event")?
                .query_row(NONE, |row| row.get::<_, Option<i64>>(0))?
                .unwrap_or(i64::MIN),
        };
        let time = now.as_micros().max(last.saturating_add(1));
        self.last_event.set(Some(time));
        Ok(Timestamp::from_micros(time))
    }
}

/// Something to be done in a transaction, and somebody who waits for it.
pub(super) trait Operation: Send {
    fn about(&self) -> Work;
    fn octets(&self) -> usize;
    /// Does it and keeps the result; says whether it went well.
    fn perform(&mut self, writing: &Writing<'_>) -> bool;
    /// It is not done, for this reason.
    fn refuse(&mut self, reason: StoreError);
    /// Tells whoever waits.
    fn answer(self: Box<Self>);
}

struct Pending<T, F> {
    about: Work,
    octets: usize,
    work: F,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Operation for Pending<T, F>
where
    T: Send,
    F: FnMut(&Writing<'_>) -> Result<T, StoreError> + Send,
{
    fn about(&self) -> Work {
        self.about
    }

    fn octets(&self) -> usize {
        self.octets
    }

    fn perform(&mut self, writing: &Writing<'_>) -> bool {
        // A defect in one operation must not end the thread that all others need.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(writing)))
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the operation panicked".to_owned())));
        let well = outcome.is_ok();
        self.outcome = Some(outcome);
        well
    }

    fn refuse(&mut self, reason: StoreError) {
        self.outcome = Some(Err(reason));
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // Whoever asked may have gone away.
            let _ = self.reply.send(outcome);
        }
    }
}
