//! The door: every operation, in the order of a message's life.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use policy::mta_sts::{Cached, UnixSeconds};
use policy::share::Place;
use policy::tls::TlsSettings;
use policy::tlsrpt::{Counted, Day};
use smtp::Domain;

use crate::engine::Engine;
use crate::posture::{PosturePage, PostureQuery, WhatIf, WhatIfQuery};
use crate::retention::RetentionChange;
use crate::tlsrpt::{
    Kept, NewReceivedTlsReport, NewTlsReport, OutgoingTlsReport, ReceivedTlsReport, TlsCount, TlsReportId,
    TlsReportState,
};
use crate::{
    Claim, DomainQuery, Event, EventQuery, IndividualCopy, Job, Location, MessageId, MessageKey, NewDomain, NewMessage,
    RecipientId, RecipientOutcome, Role, SendingDomain, StoreError, Timestamp,
};

/// What is kept. Clones share the same store.
///
/// An operation that was begun is carried out even when nobody waits for its answer any more.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Arc<Engine>,
}

/// What is old enough to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purge {
    /// Events before this go, and messages accepted before it that have no event left. What is still to be delivered
    /// keeps its events.
    pub events_before: Timestamp,
    /// The content of messages accepted before this goes, when all their recipients are delivered or failed.
    pub wire_before: Timestamp,
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Contents of messages.
    pub wires: u64,
    /// Events.
    pub events: u64,
    /// Messages with all that was left of them.
    pub messages: u64,
}

/// What the writer did since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Operations carried out, whatever their outcome.
    pub operations: u64,
    /// Transactions committed; each is one sync of the disk.
    pub commits: u64,
    /// Transactions that could not be committed.
    pub failed_commits: u64,
}

/// Between two signs of life.
const BEAT: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(5) };

/// Tells the other nodes that this one lives, as long as anybody has its store.
async fn beat(engine: Weak<Engine>) {
    while let Some(engine) = engine.upgrade() {
        if let Err(error) = engine.beat().await {
            tracing::debug!(%error, "this node could not tell that it lives");
        }
        drop(engine);
        tokio::time::sleep(BEAT).await;
    }
}

impl Store {
    /// Opens the store, and makes it when there is none.
    ///
    /// A [`Role::Server`] gets a directory alone among servers, and frees what a dead one had leased. A database is shared
    /// with the other nodes, and what a dead one had is free a while after its last sign of life.
    pub async fn open(location: &Location, role: Role) -> Result<Store, StoreError> {
        let engine = Arc::new(Engine::open(location, role).await?);
        if role == Role::Server && engine.is_shared() {
            engine.beat().await?;
            tokio::spawn(beat(Arc::downgrade(&engine)));
        }
        Ok(Store { engine })
    }

    /// Whether other nodes may change what is here.
    pub fn is_shared(&self) -> bool {
        self.engine.is_shared()
    }

    /// Whether this server does what only one of those who share the store shall do, such as telling webhooks. One that has
    /// its store alone always does.
    pub fn has_duties(&self) -> bool {
        self.engine.has_duties()
    }

    /// The places among the nodes that share the store by which this one works out its part of a limit that holds for all of
    /// them ([`policy::share::of`]). None while it is new among others, or does not know any more who is there.
    pub fn places(&self) -> Vec<Place> {
        self.engine.places()
    }

    /// Finishes what was begun and closes. Every later operation is refused with [`StoreError::Unavailable`].
    pub async fn close(&self) {
        self.engine.close().await;
    }

    /// Whether a change can be kept. After a write or a sync that failed none can, until the program is started again; what is
    /// there is still read. While a database that nodes share cannot be reached, none can either.
    pub fn health(&self) -> Result<(), StoreError> {
        self.engine.health()
    }

    /// What stands behind the door.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the writer did so far.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Keeps a message, queues its recipients and writes an `accepted` event for each.
    ///
    /// `Ok` means that all of it is on disk. In test mode nothing is queued: each recipient is delivered at once, and
    /// an event with code 650 says so.
    pub async fn accept(&self, message: NewMessage) -> Result<MessageKey, StoreError> {
        self.engine.accept(message).await
    }

    /// Leases what is due: sites that have waited longest first, of each its destinations in turn, and of each of these
    /// its oldest recipients, one job for each message.
    pub async fn claim(&self, claim: Claim) -> Result<Vec<Job>, StoreError> {
        self.engine.claim(claim).await
    }

    /// The first time after `now` at which something becomes due or a lease ends.
    ///
    /// What is due at `now` is not counted: it belongs to sites that have no room. Asked with the `now` of a
    /// claim that came back with fewer jobs than its limit, it tells until when one can sleep.
    pub async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.engine.next_due(now).await
    }

    /// The content of a message in the form of DATA; `None` when it was purged.
    pub async fn wire(&self, message: MessageId) -> Result<Option<Bytes>, StoreError> {
        self.engine.wire(message).await
    }

    /// What the recipient's own copy is made with.
    pub async fn copy(&self, recipient: RecipientId) -> Result<Option<IndividualCopy>, StoreError> {
        self.engine.copy(recipient).await
    }

    /// Writes what became of recipients, and the events that tell it, all or nothing. Their leases end.
    ///
    /// A recipient that is delivered or failed stays so: a late outcome for it, from somebody whose lease had ended,
    /// is left out with its events.
    pub async fn record(&self, now: Timestamp, outcomes: impl Into<Arc<[RecipientOutcome]>>) -> Result<(), StoreError> {
        self.engine.record(now, outcomes.into()).await
    }

    /// Frees whatever is leased, and says how many recipients that were.
    pub async fn release_leases(&self) -> Result<u64, StoreError> {
        self.engine.release_leases().await
    }

    /// How many recipients wait to be delivered.
    pub async fn queued(&self) -> Result<u64, StoreError> {
        self.engine.queued().await
    }

    /// A page of events.
    pub async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError> {
        self.engine.events(query).await
    }

    /// How mail travelled to the destinations with the most of it.
    pub async fn posture(&self, query: PostureQuery) -> Result<PosturePage, StoreError> {
        self.engine.posture(query).await
    }

    /// Which deliveries would not have been made, and which would.
    pub async fn what_if(&self, query: WhatIfQuery) -> Result<WhatIf, StoreError> {
        self.engine.what_if(query).await
    }

    /// Makes a sending domain; [`StoreError::Conflict`] when there is one of that name.
    pub async fn create_domain(&self, domain: NewDomain) -> Result<SendingDomain, StoreError> {
        self.engine.create_domain(domain, RetentionChange::default()).await
    }

    /// The sending domain of that name.
    pub async fn domain(&self, name: &Domain) -> Result<Option<SendingDomain>, StoreError> {
        self.engine.domain(name).await
    }

    /// How many domains match, and the page of them that was asked for.
    pub async fn list_domains(&self, query: DomainQuery) -> Result<(u64, Vec<SendingDomain>), StoreError> {
        self.engine.list_domains(query).await
    }

    /// Sets what `tls` states and leaves what it does not; `None` when there is no such domain.
    pub async fn update_domain(&self, name: &Domain, tls: TlsSettings) -> Result<Option<SendingDomain>, StoreError> {
        self.engine.update_domain(name, tls).await
    }

    /// Deletes a sending domain and says whether there was one. Its queued mail is still delivered, and its events
    /// stay: what was accepted is delivered or reported failed.
    pub async fn delete_domain(&self, name: &Domain) -> Result<bool, StoreError> {
        self.engine.delete_domain(name).await
    }

    /// Keeps the MTA-STS policy of a recipient domain in place of what there was.
    pub async fn put_sts_policy(&self, domain: &Domain, cached: &Cached) -> Result<(), StoreError> {
        self.engine.put_sts_policy(domain, cached).await
    }

    /// The MTA-STS policy of a recipient domain, expired or not.
    pub async fn sts_policy(&self, domain: &Domain) -> Result<Option<Cached>, StoreError> {
        self.engine.sts_policy(domain).await
    }

    /// Sets `refresh_at` and `used_at` of the domain's policy if it is still this one, by its id and `fetched_at`.
    pub async fn note_sts_policy(&self, domain: &Domain, cached: &Cached) -> Result<(), StoreError> {
        self.engine.note_sts_policy(domain, cached).await
    }

    /// MTA-STS policies that are due for a refresh, longest due first.
    pub async fn due_sts_policies(&self, now: UnixSeconds, limit: usize) -> Result<Vec<(Domain, Cached)>, StoreError> {
        self.engine.due_sts_policies(now, limit).await
    }

    /// Deletes the MTA-STS policies that have expired.
    pub async fn forget_expired_sts_policies(&self, now: UnixSeconds) -> Result<(), StoreError> {
        self.engine.forget_expired_sts_policies(now).await
    }

    /// Adds sessions to the counters of their days, all of them or none.
    pub async fn count_tls(&self, counts: Vec<TlsCount>) -> Result<(), StoreError> {
        self.engine.count_tls(counts).await
    }

    /// Days before `before` and the domains of each that have counters, oldest first: what reports are to be made of.
    pub async fn tls_days(&self, before: Day, limit: usize) -> Result<Vec<(Day, Domain)>, StoreError> {
        self.engine.tls_days(before, limit).await
    }

    /// The counters of a domain on a day.
    pub async fn tls_results(&self, day: Day, destination: &Domain) -> Result<Vec<Counted>, StoreError> {
        self.engine.tls_results(day, destination).await
    }

    /// Puts a report in the place of the counters that it was made of; without one they are forgotten.
    pub async fn file_tls_report(
        &self,
        day: Day,
        destination: &Domain,
        report: Option<NewTlsReport>,
    ) -> Result<(), StoreError> {
        self.engine.file_tls_report(day, destination, report).await
    }

    /// Reports that are to be tried, those that wait longest first.
    pub async fn due_tls_reports(&self, now: Timestamp, limit: usize) -> Result<Vec<OutgoingTlsReport>, StoreError> {
        self.engine.due_tls_reports(now, limit).await
    }

    /// The content of a report, compressed.
    pub async fn tls_report_content(&self, id: TlsReportId) -> Result<Vec<u8>, StoreError> {
        self.engine.tls_report_content(id).await
    }

    /// Writes what came of a try. A report that is sent or given up stays so.
    pub async fn set_tls_report(&self, id: TlsReportId, state: TlsReportState, last: &str) -> Result<(), StoreError> {
        self.engine.set_tls_report(id, state, last).await
    }

    /// How many reports of ours are kept, and a page of them, latest first.
    pub async fn tls_reports_sent(
        &self,
        limit: usize,
        skip: usize,
    ) -> Result<(u64, Vec<OutgoingTlsReport>), StoreError> {
        self.engine.tls_reports_sent(limit, skip).await
    }

    /// Keeps a report that somebody sent, once, and not more than so many a day.
    pub async fn receive_tls_report(&self, new: NewReceivedTlsReport) -> Result<Kept, StoreError> {
        self.engine.receive_tls_report(new).await
    }

    /// How many reports about a domain, or all, are kept, and a page of them, latest first.
    pub async fn tls_reports_received(
        &self,
        domain: Option<&Domain>,
        limit: usize,
        skip: usize,
    ) -> Result<(u64, Vec<ReceivedTlsReport>), StoreError> {
        self.engine.tls_reports_received(domain, limit, skip).await
    }

    /// Deletes reports made or received before `before`, unless they still wait, and counters of days before
    /// `results_before`.
    pub async fn purge_tls_reports(&self, before: Timestamp, results_before: Day) -> Result<(), StoreError> {
        self.engine.purge_tls_reports(before, results_before).await
    }

    /// Deletes what is old enough, in small transactions, so that other operations go on between them.
    pub async fn purge(&self, purge: Purge) -> Result<Purged, StoreError> {
        self.engine.purge(purge).await
    }
}
