//! The thread that writes: batches, their transactions, and what becomes of those that fail.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc;

use super::broken;
use super::file::Files;
use super::known::Known;
use super::leases::Leases;
use super::settings::{Changes, Work};
use super::shared::Shared;
use super::sql::postgres::Session;
use super::sql::{Connection, Error, NONE, OptionalExtension};
use super::writer::{Counters, Operation, Writing};
use super::{GATHER, OCTETS_PER_COMMIT, OPERATIONS_PER_COMMIT};
use crate::StoreError;

/// Why a transaction was not committed.
pub(super) enum Failure {
    /// No room. A smaller transaction may still fit.
    Full(StoreError),
    /// A write or a sync failed: nothing more is kept.
    Broken(StoreError),
    /// What the operations left to be written could not be. Which of them is at fault shows when each is alone.
    Gathered(StoreError),
    /// The connection was lost before the database said whether it committed.
    InDoubt(StoreError),
    /// Anything else.
    Other(StoreError),
}

impl Failure {
    /// The transaction was ended by an error that lost its code on the way.
    fn lost(reason: StoreError) -> Failure {
        if broken::take_seen() { Failure::Broken(reason) } else { Failure::Full(reason) }
    }

    fn reason(&self) -> &StoreError {
        use Failure::{Broken, Full, Gathered, InDoubt, Other};
        let (Full(reason) | Broken(reason) | Gathered(reason) | InDoubt(reason) | Other(reason)) = self;
        reason
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Other(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match &error {
            _ if error.is_full() => Failure::Full(error.into()),
            Error::Sqlite(inner) if broken::breaks(inner) => Failure::Broken(error.into()),
            _ => Failure::Other(error.into()),
        }
    }
}

/// What is beneath a writer.
pub(super) enum Ground {
    /// Files of this machine.
    Files(Files),
    /// A database that others write to as well.
    Shared(Box<Shared>),
}

/// The thread that writes.
pub(super) struct Committer {
    pub(super) connection: Connection,
    pub(super) ground: Ground,
    pub(super) counters: Arc<Counters>,
    pub(super) changes: Changes,
    pub(super) leases: RefCell<Leases>,
    pub(super) known: RefCell<Known>,
}

impl Committer {
    pub(super) fn run(mut self, mut receiver: mpsc::Receiver<Box<dyn Operation>>) {
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
        match (&mut self.ground, &self.connection) {
            (Ground::Files(_), connection) => connection.sqlite().into_iter().for_each(Files::close),
            (Ground::Shared(shared), connection) => shared.leave(connection),
        }
    }

    fn fold(&mut self) {
        if let (Ground::Files(files), Some(connection)) = (&mut self.ground, self.connection.sqlite())
            && self.counters.broken.check().is_ok()
        {
            files.fold(connection, &self.counters.broken);
        }
    }

    /// Commits the batch, or refuses it. Where there is no room for all of it, the reserve goes, and each operation
    /// gets its own chance: the outcome of a delivery is small and must not be lost because mail does not fit.
    fn commit_all(&mut self, batch: &mut [Box<dyn Operation>]) {
        let mail_is_taken = match &mut self.ground {
            Ground::Files(files) => files.has_room(),
            Ground::Shared(_) => true,
        };
        match self.commit(batch, mail_is_taken) {
            Ok(()) => {}
            Err(Failure::Full(_)) => {
                let mail_is_taken = match &mut self.ground {
                    Ground::Files(files) => files.spend(),
                    Ground::Shared(_) => true,
                };
                self.commit_each(batch, mail_is_taken);
            }
            Err(Failure::Gathered(_)) if batch.len() > 1 => self.commit_each(batch, mail_is_taken),
            Err(failure) => {
                batch.iter_mut().for_each(|operation| operation.refuse(failure.reason().clone()));
            }
        }
    }

    /// Each in a transaction of its own.
    fn commit_each(&mut self, batch: &mut [Box<dyn Operation>], mail_is_taken: bool) {
        for operation in batch {
            if let Err(failure) = self.commit(std::slice::from_mut(operation), mail_is_taken) {
                operation.refuse(failure.reason().clone());
            }
        }
    }

    /// Commits the batch, by a connection that is there. Where one was lost in the middle of a commit, the next one
    /// tells what became of it.
    fn commit(&mut self, batch: &mut [Box<dyn Operation>], mail_is_taken: bool) -> Result<(), Failure> {
        if let Ground::Shared(shared) = &mut self.ground {
            let connected = shared.connect(&mut self.connection);
            self.counters.unreachable.store(connected.is_err(), Ordering::Relaxed);
            connected?;
        }
        let mut done = self.try_commit(batch, mail_is_taken);
        if let (Err(Failure::InDoubt(_)), Ground::Shared(shared)) = (&done, &mut self.ground)
            && shared.was_committed(&mut self.connection)
        {
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
            done = Ok(());
        }
        done
    }

    fn try_commit(&self, batch: &mut [Box<dyn Operation>], mail_is_taken: bool) -> Result<(), Failure> {
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
        if !self.is_over()
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
        self.begin()?;
        let node = match &self.ground {
            Ground::Files(_) => None,
            Ground::Shared(shared) => {
                // What is remembered from one transaction to the next, others may have changed.
                self.known.borrow_mut().clear();
                Some(shared.node())
            }
        };
        let writing = Writing::new(&self.connection, node, &self.leases, &self.known);
        for operation in batch {
            if operation.about() == Work::NewMail && !mail_is_taken {
                operation.refuse(StoreError::Unavailable("the disk is full".to_owned()));
                continue;
            }
            let mark = self.leases.borrow().mark();
            if apart {
                self.execute("SAVEPOINT operation")?;
            }
            let mut well = operation.perform(&writing);
            if well && self.has_failed() {
                operation.refuse(StoreError::Unavailable("a statement failed, unnoticed".to_owned()));
                well = false;
            }
            if self.is_over() {
                // The error was one of those that end the whole transaction; what came before is undone with it.
                return Err(Failure::lost(StoreError::Unavailable("the transaction was lost".to_owned())));
            }
            match (apart, well) {
                (false, true) => {}
                (false, false) => return Ok(false),
                (true, _) => {
                    if !well {
                        self.execute("ROLLBACK TO SAVEPOINT operation")?;
                        self.connection.postgres().into_iter().for_each(Session::begins);
                        self.leases.borrow_mut().undo_to(mark);
                        self.known.borrow_mut().clear();
                    }
                    self.execute("RELEASE SAVEPOINT operation")?;
                    writing.settle(well);
                }
            }
        }
        writing.settle(true);
        let happened = writing.finish().map_err(|failure| match failure {
            Failure::Other(reason) if self.is_over() => Failure::lost(reason),
            Failure::Other(reason) => Failure::Gathered(reason),
            failure => failure,
        })?;
        self.end()?;
        self.leases.borrow_mut().keep();
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.counters.happened.add(happened);
        if let Ground::Files(files) = &self.ground {
            files.check().map_err(Failure::Other)?;
        }
        Ok(true)
    }

    fn begin(&self) -> Result<(), Error> {
        match &self.ground {
            // IMMEDIATE: wait for another process now, not in the middle, where SQLite could only give up.
            Ground::Files(_) => self.execute("BEGIN IMMEDIATE"),
            Ground::Shared(shared) => shared.begin(&self.connection),
        }
    }

    /// Commits.
    fn end(&self) -> Result<(), Failure> {
        match &self.ground {
            Ground::Files(files) => {
                files.check().map_err(Failure::Other)?;
                #[cfg(test)]
                self.counters.broken.injected().map_err(Error::from)?;
                Ok(self.execute("COMMIT")?)
            }
            Ground::Shared(shared) => {
                shared.commit(&self.connection)?;
                #[cfg(test)]
                self.counters.broken.injected().map_err(|_| shared.lose_answer(&self.connection))?;
                Ok(())
            }
        }
    }

    /// Whether a statement failed that its operation did not speak of: PostgreSQL then carries out nothing more.
    fn has_failed(&self) -> bool {
        self.connection.postgres().is_some_and(Session::has_failed)
    }

    /// Whether an error ended the transaction.
    fn is_over(&self) -> bool {
        match &self.connection {
            Connection::Sqlite(connection) => connection.is_autocommit(),
            Connection::Postgres(session) => session.is_lost(),
        }
    }

    fn execute(&self, sql: &str) -> Result<(), Error> {
        match &self.connection {
            Connection::Sqlite(_) => self.connection.query_row(sql, NONE, |_| Ok(())).optional().map(|_| ()),
            Connection::Postgres(session) => session.execute_batch(sql),
        }
    }
}
