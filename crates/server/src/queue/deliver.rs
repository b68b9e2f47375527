//! One job from its claim to its record: where does it go, may it go there now, what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use delivery::Receipt;
use policy::backoff::Contact;
use policy::dsn::asked_of_next_host;
use policy::retry::Schedule;
use policy::site::Site;
use smtp::ReturnPath;
use smtp::dsn::{MailDsn, RcptDsn};
use store::{Held, Job, Overdue, RecipientOutcome, SiteNote, Store, Timestamp};
use tokio::sync::{Notify, watch};

use super::in_flight::{InFlight, released};
use super::limiter::{Changed, Limiter, Slot};
use super::prepare::{Prepare, Unprepared};
use super::{LEASE, STORE_PAUSE, outcome, sessions};
use crate::inbound::{ReturnPaths, WayBack};
use crate::tlsrpt::Tally;

/// A site whose attempts take no longer is prompt.
const PROMPT: Duration = Duration::from_secs(10);
/// Most recipients that are reported at once as having waited too long.
const OVERDUE: usize = 100;

/// What every attempt needs.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) prepare: Prepare,
    pub(super) client: delivery::Client,
    pub(super) schedule: Schedule,
    pub(super) limiter: Arc<Limiter>,
    /// Has the worker look for what is due.
    pub(super) wake: Arc<Notify>,
    /// What reports about TLS count.
    pub(super) tally: Tally,
    /// Where reports about failures after the delivery come back, if they come back here.
    pub(super) return_paths: Option<Arc<ReturnPaths>>,
    /// Attempts whose outcome the store did not take yet.
    pub(super) unrecorded: AtomicUsize,
    pub(super) in_flight: InFlight,
}

/// What came of a job.
struct Tried {
    outcomes: Vec<RecipientOutcome>,
    /// What is to be kept of the site.
    note: Option<SiteNote>,
    /// What is held back, where others may have waited too long.
    held: Option<Held>,
    /// To be settled once the outcomes are recorded.
    receipt: Option<Receipt>,
}

impl From<Vec<RecipientOutcome>> for Tried {
    fn from(outcomes: Vec<RecipientOutcome>) -> Tried {
        Tried { outcomes, note: None, held: None, receipt: None }
    }
}

impl Shared {
    /// Attempts and records. Only the attempt can be cut short.
    pub(super) async fn deliver(&self, job: &Job, mut slot: Slot, mut cut: watch::Receiver<bool>) {
        let Tried { outcomes, note, held, receipt } = tokio::select! {
            biased;
            tried = self.attempt(job, &mut slot) => tried,
            _ = cut.wait_for(|cut| *cut) => return,
        };
        self.record(outcomes).await;
        if let Some(receipt) = receipt {
            receipt.settle();
        }
        if let Some(note) = note {
            self.note(note).await;
        }
        drop(slot);
        if let Some(held) = held {
            self.report_overdue(held, &cut).await;
        }
    }

    /// Asks the suppression lists each time, so that what has waited obeys what was asked meanwhile.
    async fn attempt(&self, job: &Job, slot: &mut Slot) -> Tried {
        let addresses: Vec<_> = job.recipients.iter().map(|recipient| recipient.address.clone()).collect();
        let listed = match self.store.listed(&job.domain, &addresses).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::error!(%error, message_id = job.message_id, "cannot read the suppression lists");
                let words = "the suppression lists could not be read from the store";
                return outcome::fault(job, words, &self.schedule, Timestamp::now()).into();
            }
        };
        let (suppressed, wanted) = outcome::suppressed(job, &listed);
        if wanted.recipients.is_empty() {
            return suppressed.into();
        }
        let mut tried = self.attempt_wanted(&wanted, slot).await;
        tried.outcomes.extend(suppressed);
        tried
    }

    async fn attempt_wanted(&self, job: &Job, slot: &mut Slot) -> Tried {
        let began = Timestamp::now();
        if job.expires_at.is_some_and(|end| end <= began) {
            return outcome::expired(job).into();
        }
        let next_hops = self.client.next_hops(&job.destination).await;
        let site = next_hops.leads().map_or_else(|| job.site.clone(), |leads| self.limiter.site_of(leads));
        let may_go = slot.enter(&site, Timestamp::now());
        if site != job.site {
            // Now, and not with the outcome: what else waits for the destination waits for its site from here on.
            self.note(SiteNote {
                destination: job.destination.clone(),
                site: site.clone(),
                prompt: None,
                is_back: false,
            })
            .await;
        }
        if !may_go {
            return job.recipients.iter().map(|recipient| released(recipient.id)).collect::<Vec<_>>().into();
        }
        let (return_path, way_back) = self.return_path_of(job).await;
        let wire = match self.prepare.content(job, way_back.as_ref()).await {
            Ok(wire) => wire,
            Err(Unprepared::ContentLost) => return outcome::content_lost(job).into(),
            Err(Unprepared::Refused(words)) => return outcome::refused(job, &words).into(),
            Err(Unprepared::Fault(words)) => {
                return outcome::fault(job, words, &self.schedule, Timestamp::now()).into();
            }
        };
        let recipients: Vec<_> = job.recipients.iter().map(|recipient| recipient.address.clone()).collect();
        // Whom a report would reach is to be who asked for it.
        let asked = job.dsn.as_ref().filter(|dsn| way_back.is_some() || dsn.is_of_return_path).map(|dsn| &dsn.mail);
        let is_asked = job.dsn.is_none() || asked.is_some();
        let recipient_dsn = if is_asked { dsn_of_recipients(job, way_back.is_some()) } else { Vec::new() };
        let delivery_job = delivery::Job {
            destination: &job.destination,
            return_path: &return_path,
            recipients: &recipients,
            wire: &wire,
            sender: job.tls,
            dsn: asked.unwrap_or(&MailDsn { ret: None, envid: None }),
            recipient_dsn: &recipient_dsn,
        };
        let mut report = self.client.attempt_at(next_hops.at(site.as_str(), slot.spare()), delivery_job).await;
        outcome::log(job, &report);
        let results = sessions::results(&job.destination, &report);
        self.tally.record(Timestamp::now(), &job.return_path, &job.destination, results);
        let now = Timestamp::now();
        let changed = slot.met(report.contact, began, now);
        Tried {
            outcomes: outcome::of_report(job, &report, is_asked, &self.schedule, now),
            note: note_of(job, &site, &report, &changed),
            held: changed.held,
            receipt: report.receipt.take(),
        }
    }

    /// One that leads here, where reports find the way; else the message's own. Mail that has none gets none.
    async fn return_path_of(&self, job: &Job) -> (ReturnPath, Option<WayBack>) {
        // What was stored was an address when it was accepted; were it none any more, failures would go nowhere.
        let Ok(own) = job.return_path.parse() else { return (ReturnPath::Null, None) };
        let Some(return_paths) = &self.return_paths else { return (ReturnPath::Address(own), None) };
        match return_paths.of(&self.store, job).await {
            Ok(Some(ours)) => (ReturnPath::Address(ours.return_path.clone()), Some(ours)),
            Ok(None) => (ReturnPath::Address(own), None),
            Err(error) => {
                tracing::warn!(%error, message_id = job.message_id, "cannot look up where reports go");
                (ReturnPath::Address(own), None)
            }
        }
    }

    /// Records until the store takes it: an outcome that is not kept would mean a second delivery.
    pub(super) async fn record(&self, outcomes: Vec<RecipientOutcome>) {
        let Err(mut error) = self.store.record(Timestamp::now(), outcomes.clone()).await else { return };
        let _unrecorded = Counted::new(&self.unrecorded);
        loop {
            tracing::error!(%error, recipients = outcomes.len(), "cannot record an outcome; trying again");
            tokio::time::sleep(STORE_PAUSE).await;
            match self.store.record(Timestamp::now(), outcomes.clone()).await {
                Ok(()) => return,
                Err(again) => error = again,
            }
        }
    }

    pub(super) async fn record_fault(&self, job: &Job, words: &str) {
        self.record(outcome::fault(job, words, &self.schedule, Timestamp::now())).await;
    }

    /// Nothing is lost where it is not kept: it is found out again. What is due may change with it.
    async fn note(&self, note: SiteNote) {
        if let Err(error) = self.store.note_site(note).await {
            tracing::warn!(%error, "cannot keep what is known of a site");
        }
        self.wake.notify_one();
    }

    /// What waits behind a site that is held back is not attempted; but it does not wait longer than attempts would have
    /// gone on.
    async fn report_overdue(&self, held: Held, cut: &watch::Receiver<bool>) {
        let whose = match &held {
            Held::Destination(domain) => domain.to_string(),
            Held::Site(site) => site.to_string(),
        };
        let words = format!("not attempted any more: deliveries to {whose} are held back, its hosts do not answer");
        while !*cut.borrow() {
            let now = Timestamp::now();
            let due_before = self.limiter.waits(&self.schedule).into_iter().map(|wait| now - wait).collect();
            let overdue = Overdue { held: held.clone(), now, lease_until: now + LEASE, due_before, limit: OVERDUE };
            let jobs = match self.store.claim_overdue(overdue).await {
                Ok(jobs) => jobs,
                Err(error) => return tracing::error!(%error, "cannot look for who has waited too long"),
            };
            if jobs.is_empty() {
                return;
            }
            for mut job in jobs {
                self.in_flight.begin(&mut job);
                self.record(outcome::too_late(&job, &words)).await;
                let recipients: Vec<_> = job.recipients.iter().map(|recipient| recipient.id).collect();
                self.in_flight.end(&recipients);
            }
        }
    }
}

/// What the next host is asked to report, if it offers that.
fn dsn_of_recipients(job: &Job, reports_come_here: bool) -> Vec<RcptDsn> {
    let asked = job.recipients.iter().map(|recipient| RcptDsn {
        notify: asked_of_next_host(recipient.dsn.notify, reports_come_here),
        orcpt: recipient.dsn.orcpt.clone(),
    });
    asked.collect()
}

fn note_of(job: &Job, site: &Site, report: &delivery::Report, changed: &Changed) -> Option<SiteNote> {
    let is_prompt = match report.contact {
        Contact::Answered => report.session < PROMPT,
        Contact::Unreached | Contact::TurnedAway => false,
        Contact::Untried => return None,
    };
    let prompt = (is_prompt != job.is_prompt).then_some(is_prompt);
    let is_news = prompt.is_some() || changed.is_back;
    is_news.then(|| SiteNote {
        destination: job.destination.clone(),
        site: site.clone(),
        prompt,
        is_back: changed.is_back,
    })
}

/// One more, as long as it lives.
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    pub(super) fn new(count: &AtomicUsize) -> Counted<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
