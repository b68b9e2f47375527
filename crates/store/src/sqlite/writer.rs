//! Group commit: one thread takes every operation that waits, does all of them in one transaction, and answers them
//! after one sync of the disk.
//!
//! An operation that fails takes nothing of the others with it: the batch is then done once more, each operation in a
//! savepoint of its own. Nobody is answered before the commit.
//!
//! What many operations of a batch change is changed once for all of them, as the last thing before the commit.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use tokio::sync::{mpsc, oneshot};

use super::broken::{self, Broken};
use super::known::Known;
use super::leases::Leases;
use super::open::Identity;
use super::posture::Tally;
use super::readers::Gate;
use super::reserve::Reserve;
use super::settings::{Changes, Work};
use super::site;
use super::traffic::Counts;
use super::{
    GATHER, LOG_AT_MOST, OCTETS_PER_COMMIT, OPERATIONS_PER_COMMIT, OPERATIONS_WAITING, PAGES_BETWEEN_CHECKPOINTS,
};
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
struct Counters {
    operations: AtomicU64,
    commits: AtomicU64,
    failed_commits: AtomicU64,
    happened: Happened,
    broken: Broken,
    /// How long the log of changes is, in pages.
    log_pages: AtomicI32,
}

impl Writer {
    /// Starts the thread. A server's lock is held until the thread has ended.
    pub(super) fn start(
        mut connection: Connection,
        path: PathBuf,
        server: Option<(File, Reserve)>,
        gate: Gate,
        changes: Changes,
    ) -> io::Result<Writer> {
        let (lock, reserve) = server.unzip();
        let (sender, receiver) = mpsc::channel(OPERATIONS_WAITING);
        let counters = Arc::new(Counters::default());
        // In the place of SQLite's own hook, which moves the log inside of a commit and tells nobody when that fails.
        let log_pages = counters.clone();
        let note = move |_: &mut Wal, pages| {
            log_pages.log_pages.store(pages, Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(note)).map_err(io::Error::other)?;
        let log = PathBuf::from(format!("{}-wal", path.display()));
        let files = [Identity::of(path)?, Identity::of(log)?];
        let committer = Committer {
            connection,
            files,
            reserve,
            counters: counters.clone(),
            gate,
            changes,
            fold_at: LOG_AT_MOST,
            leases: RefCell::default(),
            known: RefCell::default(),
        };
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            committer.run(receiver);
            drop(lock);
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

    /// Why nothing is kept any more, if that is so.
    pub(super) fn health(&self) -> Result<(), StoreError> {
        self.counters.broken.check()
    }

    /// Has the next sync fail.
    #[cfg(test)]
    pub(super) fn fail_next_sync(&self) {
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
    /// Who is taken.
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
    fn new(connection: &'a Connection, leases: &'a RefCell<Leases>, known: &'a RefCell<Known>) -> Writing<'a> {
        Writing {
            connection,
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
    fn settle(&self, well: bool) {
        self.counts.settle(well);
        let pending = self.pending.take();
        if well {
            let mut kept = self.kept.borrow_mut();
            kept.tally.merge(pending.tally);
            kept.destinations.extend(pending.destinations);
        }
    }

    /// Writes what was kept, and says what happened.
    fn finish(&self) -> Result<BTreeMap<What, u64>, Failure> {
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
                .query_row([], |row| row.get::<_, Option<i64>>(0))?
                .unwrap_or(i64::MIN),
        };
        let time = now.as_micros().max(last.saturating_add(1));
        self.last_event.set(Some(time));
        Ok(Timestamp::from_micros(time))
    }
}

/// Something to be done in a transaction, and somebody who waits for it.
trait Operation: Send {
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

/// Why a transaction was not committed.
enum Failure {
    /// No room. A smaller transaction may still fit.
    Full(StoreError),
    /// A write or a sync failed: nothing more is kept.
    Broken(StoreError),
    /// What the operations left to be written could not be. Which of them is at fault shows when each is alone.
    Gathered(StoreError),
    /// Anything else.
    Other(StoreError),
}

impl Failure {
    /// The transaction was ended by an error that lost its code on the way.
    fn lost(reason: StoreError) -> Failure {
        if broken::take_seen() { Failure::Broken(reason) } else { Failure::Full(reason) }
    }

    fn reason(&self) -> &StoreError {
        use Failure::{Broken, Full, Gathered, Other};
        let (Full(reason) | Broken(reason) | Gathered(reason) | Other(reason)) = self;
        reason
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Other(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Failure::Full(error.into()),
            _ if broken::breaks(&error) => Failure::Broken(error.into()),
            _ => Failure::Other(error.into()),
        }
    }
}

/// The thread's own part.
struct Committer {
    connection: Connection,
    files: [Identity; 2],
    reserve: Option<Reserve>,
    counters: Arc<Counters>,
    gate: Gate,
    changes: Changes,
    /// How long the log of changes may be until the next [`Committer::fold`].
    fold_at: u64,
    leases: RefCell<Leases>,
    known: RefCell<Known>,
}

impl Committer {
    fn run(mut self, mut receiver: mpsc::Receiver<Box<dyn Operation>>) {
        let mut last = (Instant::now(), 0);
        while let Some(first) = receiver.blocking_recv() {
            let mut batch = vec![first];
            // Who was answered together comes again together, but for the first.
            if last.1 > 1 && last.0.elapsed() < GATHER {
                std::thread::sleep(GATHER);
            }
            let mut octets = batch[0].octets();
            while batch.len() < OPERATIONS_PER_COMMIT && octets < OCTETS_PER_COMMIT {
                let Ok(next) = receiver.try_recv() else { break };
                octets = octets.saturating_add(next.octets());
                batch.push(next);
            }
            self.commit_all(&mut batch);
            self.counters.operations.fetch_add(batch.len() as u64, Ordering::Relaxed);
            // Before anybody is answered: what was changed holds from then on.
            if batch.iter().any(|operation| operation.about() == Work::Any) {
                self.changes.tell();
            }
            let operations = batch.len();
            batch.into_iter().for_each(Operation::answer);
            self.fold();
            last = (Instant::now(), operations);
        }
        let folded = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = folded {
            tracing::debug!(%error, "the log of changes stays for the next start");
        }
    }

    /// Searches that overlap without a gap keep the log of changes from beginning anew by itself, and it would grow until
    /// the disk is full. So at a certain length those that run are waited for, and new ones wait.
    fn fold(&mut self) {
        if self.counters.broken.check().is_err() {
            return;
        }
        if self.counters.log_pages.load(Ordering::Relaxed) >= PAGES_BETWEEN_CHECKPOINTS {
            let moved = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            moved.unwrap_or_else(|error| self.note(&error));
        }
        let octets = self.files[1].octets();
        if octets < self.fold_at {
            return;
        }
        let alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let folded = self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, i64>(0));
        drop(alone);
        self.fold_at = LOG_AT_MOST;
        folded.as_ref().map_or_else(|error| self.note(error), |_| ());
        if folded != Ok(0) {
            tracing::warn!(octets, ?folded, "the log of changes grows: another process reads the database for long");
            self.fold_at = octets + LOG_AT_MOST;
        }
    }

    /// The log stays as it is when it cannot be moved, and is tried again; but not after a sync that failed.
    fn note(&self, error: &rusqlite::Error) {
        if broken::breaks(error) {
            self.counters.broken.set(error);
        }
        tracing::warn!(%error, "the log of changes could not be moved into the file");
    }

    /// Commits the batch, or refuses it. Where there is no room for all of it, the reserve goes, and each operation
    /// gets its own chance: the outcome of a delivery is small and must not be lost because mail does not fit.
    fn commit_all(&mut self, batch: &mut [Box<dyn Operation>]) {
        let mail_is_taken = self.reserve.as_mut().is_none_or(Reserve::is_held);
        match self.commit(batch, mail_is_taken) {
            Ok(()) => {}
            Err(Failure::Full(_)) => {
                let mail_is_taken = self.reserve.as_mut().is_none_or(|reserve| !reserve.spend() && reserve.is_held());
                self.commit_each(batch, mail_is_taken);
            }
            Err(Failure::Gathered(_)) if batch.len() > 1 => self.commit_each(batch, mail_is_taken),
            Err(failure) => {
                batch.iter_mut().for_each(|operation| operation.refuse(failure.reason().clone()));
            }
        }
    }

    /// Each in a transaction of its own.
    fn commit_each(&self, batch: &mut [Box<dyn Operation>], mail_is_taken: bool) {
        for operation in batch {
            if let Err(failure) = self.commit(std::slice::from_mut(operation), mail_is_taken) {
                operation.refuse(failure.reason().clone());
            }
        }
    }

    fn commit(&self, batch: &mut [Box<dyn Operation>], mail_is_taken: bool) -> Result<(), Failure> {
        self.counters.broken.check().map_err(Failure::Other)?;
        let began = Instant::now();
        let mut done = self.transaction(batch, mail_is_taken, false);
        if let Ok(false) = done {
            self.undo();
            done = self.transaction(batch, mail_is_taken, true);
        }
        match &done {
            Ok(_) => self.counters.happened.committed(began.elapsed()),
            Err(failure) => {
                self.counters.failed_commits.fetch_add(1, Ordering::Relaxed);
                let reason = failure.reason();
                if let Failure::Broken(StoreError::Unavailable(how)) = failure {
                    self.counters.broken.set(how);
                }
                tracing::error!(%reason, operations = batch.len(), "the store could not commit");
                self.undo();
            }
        }
        done.map(|_| ())
    }

    /// Takes back what a transaction did that is not committed.
    fn undo(&self) {
        self.leases.borrow_mut().undo_to(0);
        self.known.borrow_mut().clear();
        // Some errors end the transaction by themselves, some leave it open.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the store could not roll back");
        }
    }

    /// Says whether it was committed: an operation that fails for itself ends it, unless they are done `apart`, each in
    /// a savepoint of its own, which costs a copy of every page that it changes.
    fn transaction(&self, batch: &mut [Box<dyn Operation>], mail_is_taken: bool, apart: bool) -> Result<bool, Failure> {
        // First of all: what the last transaction changed is no longer to be taken back.
        self.leases.borrow_mut().keep();
        broken::take_seen();
        // IMMEDIATE: wait for another process now, not in the middle, where SQLite could only give up.
        self.execute("BEGIN IMMEDIATE")?;
        let writing = Writing::new(&self.connection, &self.leases, &self.known);
        for operation in batch {
            if operation.about() == Work::NewMail && !mail_is_taken {
                operation.refuse(StoreError::Unavailable("the disk is full".to_owned()));
                continue;
            }
            let mark = self.leases.borrow().mark();
            if apart {
                self.execute("SAVEPOINT operation")?;
            }
            let well = operation.perform(&writing);
            if self.connection.is_autocommit() {
                // The error was one of those that end the whole transaction; what came before is undone with it.
                return Err(Failure::lost(StoreError::Unavailable("the transaction was lost".to_owned())));
            }
            match (apart, well) {
                (false, true) => {}
                (false, false) => return Ok(false),
                (true, _) => {
                    if !well {
                        self.execute("ROLLBACK TO operation")?;
                        self.leases.borrow_mut().undo_to(mark);
                        self.known.borrow_mut().clear();
                    }
                    self.execute("RELEASE operation")?;
                    writing.settle(well);
                }
            }
        }
        writing.settle(true);
        let happened = writing.finish().map_err(|failure| match failure {
            Failure::Other(reason) if self.connection.is_autocommit() => Failure::lost(reason),
            Failure::Other(reason) => Failure::Gathered(reason),
            failure => failure,
        })?;
        self.check_files()?;
        #[cfg(test)]
        self.counters.broken.injected()?;
        self.execute("COMMIT")?;
        self.leases.borrow_mut().keep();
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.counters.happened.add(happened);
        self.check_files()?;
        Ok(true)
    }

    /// A file that was deleted or replaced still takes writes, and nobody will ever find them.
    fn check_files(&self) -> Result<(), Failure> {
        self.files.iter().try_for_each(Identity::check).map_err(Failure::Other)
    }

    fn execute(&self, sql: &str) -> Result<(), rusqlite::Error> {
        self.connection.prepare_cached(sql)?.query_row([], |_| Ok(())).optional().map(|_| ())
    }
}
