//! Outcomes on their way into the store, so that no place for an attempt is held until a commit.
//!
//! One record is under way at a time, and what comes meanwhile goes with the next one: under load a commit takes many,
//! without it none waits for another. Until an outcome is recorded its recipients stay in flight.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use delivery::Receipt;
use store::{NewState, RecipientId, RecipientOutcome, Store, StoreError, Timestamp};
use tokio::sync::{Notify, mpsc, oneshot};

use super::STORE_PAUSE;
use super::in_flight::InFlight;

/// Most outcomes of one record, but for those of the last job in it.
const AT_ONCE: usize = 500;
/// With so many unrecorded nothing new begins: a store that has become slow is not to be outrun, and a crash repeats no more.
const UNRECORDED: usize = 200;

/// The outcomes of one job.
struct Entry {
    outcomes: Vec<RecipientOutcome>,
    /// Lets the connection that carried the message carry another one.
    receipt: Option<Receipt>,
    /// Whether its recipients are in flight until now.
    is_of_flight: bool,
    /// Whether the store refused it once.
    has_failed: bool,
    recorded: Option<oneshot::Sender<()>>,
}

/// Where outcomes are handed over.
pub(super) struct Records {
    sender: mpsc::UnboundedSender<Entry>,
    counts: Arc<Counts>,
    store: Store,
}

#[derive(Default)]
struct Counts {
    /// Outcomes that were handed over and are not recorded yet.
    unrecorded: AtomicUsize,
    /// Jobs whose outcomes the store refused.
    failed: AtomicUsize,
}

/// Records what is handed over.
pub(super) struct Recorder {
    receiver: mpsc::UnboundedReceiver<Entry>,
    counts: Arc<Counts>,
    store: Store,
    in_flight: Arc<InFlight>,
    /// Has the worker look for what is due.
    wake: Arc<Notify>,
    waiting: VecDeque<Entry>,
}

impl Records {
    pub(super) fn new(store: Store, in_flight: Arc<InFlight>, wake: Arc<Notify>) -> (Records, Recorder) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let counts = Arc::new(Counts::default());
        let records = Records { sender, counts: counts.clone(), store: store.clone() };
        (records, Recorder { receiver, counts, store, in_flight, wake, waiting: VecDeque::new() })
    }

    /// Takes the outcomes of a job that was in flight. They are recorded whatever the store says at first: an outcome
    /// that is not kept would mean a second delivery.
    pub(super) fn hand_over(&self, outcomes: Vec<RecipientOutcome>, receipt: Option<Receipt>) {
        self.send(Entry { outcomes, receipt, is_of_flight: true, has_failed: false, recorded: None });
    }

    /// The same, and waits until they are recorded.
    pub(super) async fn record(&self, outcomes: Vec<RecipientOutcome>) {
        let (recorded, is_recorded) = oneshot::channel();
        self.send(Entry { outcomes, receipt: None, is_of_flight: true, has_failed: false, recorded: Some(recorded) });
        // It ends otherwise only with the process.
        let _ = is_recorded.await;
    }

    fn send(&self, entry: Entry) {
        self.counts.unrecorded.fetch_add(entry.outcomes.len(), Ordering::Relaxed);
        // Whoever would record them is gone only when all of this ends.
        let _ = self.sender.send(entry);
    }

    /// Whether an attempt may begin. One whose outcome cannot be written would be made again.
    pub(super) fn may_begin(&self) -> bool {
        let is_behind = self.counts.failed.load(Ordering::Relaxed) > 0 || self.unrecorded() >= UNRECORDED;
        !is_behind && self.store.health().is_ok()
    }

    /// How many outcomes are not recorded yet.
    pub(super) fn unrecorded(&self) -> usize {
        self.counts.unrecorded.load(Ordering::Relaxed)
    }
}

impl Recorder {
    /// Works until nobody can hand over anything any more and all is recorded.
    pub(super) async fn run(mut self) {
        let mut most = AT_ONCE;
        let mut came = Vec::new();
        loop {
            if self.waiting.is_empty() && self.receiver.recv_many(&mut came, AT_ONCE).await == 0 {
                return;
            }
            while let Ok(entry) = self.receiver.try_recv() {
                came.push(entry);
            }
            self.waiting.extend(came.drain(..));
            let batch = self.next_batch(most);
            // One that the store never takes must not hold up the others: after a failure each goes by itself.
            most = if self.record(batch).await { (most * 2).min(AT_ONCE) } else { 1 };
        }
    }

    /// The next entries, with about that many outcomes.
    fn next_batch(&mut self, most: usize) -> Vec<Entry> {
        let (mut batch, mut outcomes) = (Vec::new(), 0);
        while outcomes < most
            && let Some(entry) = self.waiting.pop_front()
        {
            outcomes += entry.outcomes.len().max(1);
            batch.push(entry);
        }
        batch
    }

    /// Whether the store took them. If not they wait again, behind the others.
    async fn record(&mut self, mut batch: Vec<Entry>) -> bool {
        let lengths: Vec<usize> = batch.iter().map(|entry| entry.outcomes.len()).collect();
        let outcomes: Arc<[RecipientOutcome]> = batch.iter_mut().flat_map(|entry| entry.outcomes.drain(..)).collect();
        match self.store.record(Timestamp::now(), outcomes.clone()).await {
            Ok(()) => {
                self.recorded(batch, &lengths, &outcomes);
                true
            }
            Err(StoreError::Damaged(what)) if batch.len() == 1 => {
                // For this one no time will be better, and all others can be recorded. Its recipients stay in flight.
                tracing::error!(
                    what,
                    recipients = outcomes.len(),
                    "an outcome cannot be recorded: the store is damaged"
                );
                let failed = batch.iter().filter(|entry| entry.has_failed).count();
                self.counts.failed.fetch_sub(failed, Ordering::Relaxed);
                self.counts.unrecorded.fetch_sub(outcomes.len(), Ordering::Relaxed);
                true
            }
            Err(error) => {
                tracing::error!(%error, recipients = outcomes.len(), "cannot record outcomes; trying again");
                let mut rest = outcomes.iter().cloned();
                for (mut entry, length) in batch.into_iter().zip(lengths) {
                    entry.outcomes.extend(rest.by_ref().take(length));
                    if !std::mem::replace(&mut entry.has_failed, true) {
                        self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    }
                    self.waiting.push_back(entry);
                }
                tokio::time::sleep(STORE_PAUSE).await;
                false
            }
        }
    }

    fn recorded(&mut self, batch: Vec<Entry>, lengths: &[usize], mut outcomes: &[RecipientOutcome]) {
        let could_begin = self.counts.failed.load(Ordering::Relaxed) == 0
            && self.counts.unrecorded.load(Ordering::Relaxed) < UNRECORDED;
        self.counts.unrecorded.fetch_sub(outcomes.len(), Ordering::Relaxed);
        // What is due again is due from now on; what is delivered changes nothing for those that wait.
        let is_due =
            |outcome: &RecipientOutcome| matches!(outcome.state, NewState::Deferred { .. } | NewState::Released);
        let is_news = !could_begin || outcomes.iter().any(is_due);
        for (entry, length) in batch.into_iter().zip(lengths) {
            let (own, others) = outcomes.split_at(*length);
            outcomes = others;
            if let Some(receipt) = entry.receipt {
                receipt.settle();
            }
            if entry.has_failed {
                self.counts.failed.fetch_sub(1, Ordering::Relaxed);
            }
            if entry.is_of_flight {
                self.end_flight(own);
            }
            if let Some(recorded) = entry.recorded {
                let _ = recorded.send(());
            }
        }
        if is_news {
            self.wake.notify_one();
        }
    }

    /// Who was claimed again meanwhile is given back.
    fn end_flight(&mut self, outcomes: &[RecipientOutcome]) {
        let ended: Vec<RecipientId> = outcomes.iter().map(|outcome| outcome.recipient).collect();
        let outcomes = self.in_flight.end(&ended);
        if !outcomes.is_empty() {
            self.counts.unrecorded.fetch_add(outcomes.len(), Ordering::Relaxed);
            self.waiting.push_back(Entry {
                outcomes,
                receipt: None,
                is_of_flight: false,
                has_failed: false,
                recorded: None,
            });
        }
    }
}
