//! One job from its claim to its record: where does it go, may it go there now, what became of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use delivery::Receipt;
use policy::backoff::Contact;
use policy::dsn::asked_of_next_host;
use policy::retry::Schedule;
use policy::site::Site;
use smtp::ReturnPath;
use smtp::dsn::{MailDsn, RcptDsn};
use store::{Held, Job, Overdue, RecipientOutcome, SiteNote, Store, StoreError, Timestamp};
use tokio::sync::watch;

use super::ahead::{Ahead, Begun};
use super::in_flight::{InFlight, all_released};
use super::limiter::{Changed, Limiter, Slot};
use super::notes::Notes;
use super::prepare::{Prepare, Unprepared};
use super::recorder::Records;
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
    /// Places for attempts, and what waits for them.
    pub(super) ahead: Ahead,
    /// What reports about TLS count.
    pub(super) tally: Tally,
    /// Where reports about failures after the delivery come back, if they come back here.
    pub(super) return_paths: Option<Arc<ReturnPaths>>,
    pub(super) records: Records,
    pub(super) notes: Arc<Notes>,
    pub(super) in_flight: Arc<InFlight>,
}

/// What came of a job.
#[derive(Default)]
struct Tried {
    outcomes: Vec<RecipientOutcome>,
    /// What is to be kept of the site.
    note: Option<SiteNote>,
    /// What is held back, where others may have waited too long.
    held: Option<Held>,
    /// The site that it is for and that has no place for it now. Nothing was tried.
    waits_for: Option<Site>,
    /// To be settled once the outcomes are recorded.
    receipt: Option<Receipt>,
}

impl From<Vec<RecipientOutcome>> for Tried {
    fn from(outcomes: Vec<RecipientOutcome>) -> Tried {
        Tried { outcomes, ..Tried::default() }
    }
}

/// Polling panicked; the hook of panics has told where.
struct Fault;

impl Shared {
    /// Attempts job after job on one place: the given one, and then whatever waits for the place. An outcome is handed
    /// over, and not awaited. Only an attempt can be cut short.
    pub(super) async fn work(self: Arc<Shared>, begun: Begun, cut: watch::Receiver<bool>) {
        let mut told = cut.clone();
        let mut is_cut = pin!(told.wait_for(|cut| *cut));
        let mut next = Some(begun);
        while let Some(Begun { job, mut slot, is_slow }) = next.take() {
            let tried = tokio::select! {
                biased;
                tried = unless_fault(self.attempt(&job, &mut slot)) => tried,
                _ = &mut is_cut => {
                    self.ahead.next(slot.site(), is_slow, false);
                    return;
                }
            };
            // A fault in one attempt is one attempt that failed: counted, told, and not repeated for ever.
            let tried = tried.unwrap_or_else(|Fault| {
                let destination = &job.destination;
                tracing::error!(%destination, message_id = job.message_id, "an attempt ended by a fault");
                let words = "a fault in this server ended the attempt";
                outcome::fault(&job, words, &self.schedule, Timestamp::now()).into()
            });
            next = self.ended(job, slot, is_slow, tried, &cut).await;
        }
    }

    /// Hands over what came of a job, gives its slot back, and finds the next one for its place.
    async fn ended(
        &self,
        job: Job,
        slot: Slot,
        is_slow: bool,
        tried: Tried,
        cut: &watch::Receiver<bool>,
    ) -> Option<Begun> {
        let site = tried.waits_for.clone().unwrap_or_else(|| slot.site().clone());
        if let Some(note) = tried.note {
            self.notes.put(note);
        }
        let destination = tried.held.is_some().then(|| job.destination.clone());
        if tried.waits_for.is_some() {
            drop(slot);
            self.give_back(self.ahead.take_in_for(&site, job));
        } else {
            self.records.hand_over(tried.outcomes, tried.receipt);
            drop(slot);
        }
        if let Some((held, destination)) = tried.held.zip(destination) {
            self.give_back(self.ahead.give_up(&site, &destination));
            self.report_overdue(held, cut).await;
        }
        let (next, refused) = self.ahead.next(&site, is_slow, self.records.may_begin() && !*cut.borrow());
        self.give_back(refused);
        next
    }

    /// Jobs that were claimed and are not attempted after all. It costs them nothing.
    pub(super) fn give_back(&self, jobs: impl IntoIterator<Item = Job>) {
        for job in jobs {
            self.records.hand_over(all_released(&job), None);
        }
    }

    /// Obeys the suppression lists as they were when the job was claimed, a moment ago, so that what has waited obeys what
    /// was asked meanwhile.
    async fn attempt(&self, job: &Job, slot: &mut Slot) -> Tried {
        let asked;
        let listed = match &job.loaded.listed {
            Some(listed) => listed,
            None => {
                let addresses = job.recipients.iter().map(|recipient| recipient.address.clone()).collect::<Vec<_>>();
                match self.store.listed(&job.domain, &addresses).await {
                    Ok(listed) => asked = listed,
                    Err(error) => return self.unread(job, &error, "the suppression lists").await,
                }
                &asked
            }
        };
        let (suppressed, wanted) = outcome::suppressed(job, listed);
        if wanted.recipients.is_empty() {
            return suppressed.into();
        }
        let mut tried = self.attempt_wanted(&wanted, slot).await;
        if !suppressed.is_empty() {
            // The rest of a job that is told in part is due again by itself.
            if tried.waits_for.take().is_some() {
                tried.outcomes.extend(all_released(&wanted));
            }
            tried.outcomes.extend(suppressed);
        }
        tried
    }

    async fn attempt_wanted(&self, job: &Job, slot: &mut Slot) -> Tried {
        let began = Timestamp::now();
        // It may have waited for its place while its window was ended.
        let is_dropped = self.store.was_dropped(&job.domain, job.accepted_at);
        if is_dropped || job.expires_at.is_some_and(|end| end <= began) {
            return outcome::expired(job).into();
        }
        let next_hops = self.client.next_hops(&job.destination).await;
        let site = next_hops.leads().map_or_else(|| job.site.clone(), |leads| self.limiter.site_of(leads));
        let may_go = slot.enter(&site, Timestamp::now());
        if site != job.site {
            // Now, and not with the outcome: what else waits for the destination waits for its site from here on.
            let destination = job.destination.clone();
            self.notes.put(SiteNote { destination, site: site.clone(), prompt: None, is_back: false });
        }
        if !may_go {
            return Tried { waits_for: Some(site), ..Tried::default() };
        }
        let (return_path, way_back) = self.return_path_of(job).await;
        let wire = match self.prepare.content(job, way_back.as_ref()).await {
            Ok(wire) => wire,
            Err(Unprepared::ContentLost) => return outcome::content_lost(job).into(),
            Err(Unprepared::Refused(words)) => return outcome::refused(job, &words).into(),
            Err(Unprepared::Unread(error, what)) => return self.unread(job, &error, what).await,
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
            waits_for: None,
            receipt: report.receipt.take(),
        }
    }

    /// What the attempt needs could not be read. That the database of several nodes is away for a while is no fault of the
    /// message: it costs no attempt, and is due again when its giving back can be written. Anything else may be damage.
    async fn unread(&self, job: &Job, error: &StoreError, what: &str) -> Tried {
        tracing::error!(%error, message_id = job.message_id, what, "cannot read what an attempt needs");
        if let StoreError::Unreachable(_) = error {
            tokio::time::sleep(STORE_PAUSE).await;
            return all_released(job).into();
        }
        let words = format!("{what} could not be read from the store");
        outcome::fault(job, &words, &self.schedule, Timestamp::now()).into()
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
                self.records.record(outcome::too_late(&job, &words)).await;
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

/// What a future comes to, unless it panics.
async fn unless_fault<F: Future>(future: F) -> Result<F::Output, Fault> {
    let mut future = pin!(future);
    // Whatever it leaves half done is dropped with it or behind a lock that cannot be left halfway.
    let poll =
        |context: &mut std::task::Context<'_>| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Fault)),
        };
    std::future::poll_fn(poll).await
}
