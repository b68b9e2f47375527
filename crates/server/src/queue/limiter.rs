//! How much may go to each site, now: what runs, how fast, and how its hosts do. What follows from these is decided in
//! [`policy::backoff`] and [`policy::rate`]; here they are counted, in memory: who starts has nothing running.
//!
//! A claim asks before it brings work (the [`Gate`]); every attempt holds a [`Slot`] from its beginning to its end. What is
//! claimed before there is a place for it ([`super::ahead`]) is counted as well.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policy::backoff::{Contact, Health, Pauses};
use policy::rate::{Pacer, Rate};
use policy::retry::Schedule;
use policy::route::DomainPattern;
use policy::share::{self, Place};
use policy::site::{self, Leads, Site};
use smtp::Domain;
use store::{Gate, Held, Room, Timestamp};

/// How long what is known of a site or a destination that fails is kept when nothing of it is tried any more.
const MEMORY: Duration = Duration::from_secs(3600);
/// An attempt that took no longer shows a site that work may wait for.
const QUICK: Duration = Duration::from_millis(500);
/// How many may wait for a place at a quick site, for each that may run there.
const AHEAD: usize = 8;
/// The same, at most for one site.
const AHEAD_AT_MOST: usize = 100;
/// How many sites or destinations there must be before those are looked for that need not be remembered.
const SWEEP_AT: usize = 1024;

/// What each site may have.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Attempts at once, all sites together.
    pub total: usize,
    /// Attempts at once for one site.
    pub concurrency: u32,
    /// Messages in a time.
    pub rate: Option<Rate>,
    /// Sites that the operator draws, with limits of their own.
    pub own: Vec<OwnSite>,
    /// The pauses between probes of what does not answer.
    pub pauses: Pauses,
    /// How long recipients wait at least behind what is held back before they are given up without an attempt.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            total: 200,
            concurrency: 10,
            rate: None,
            own: Vec::new(),
            pauses: Pauses::default(),
            patience: Duration::from_secs(3600),
        }
    }
}

/// A site by the hosts of its MX records.
#[derive(Debug, Clone)]
pub struct OwnSite {
    /// Which hosts; at least one pattern. The first is its name.
    pub hosts: Vec<DomainPattern>,
    /// Attempts at once, where it is not that of all others.
    pub concurrency: Option<u32>,
    /// Messages in a time, likewise.
    pub rate: Option<Rate>,
}

/// The counts of one server.
pub(super) struct Limiter {
    limits: Limits,
    own: Vec<Vec<DomainPattern>>,
    counts: Mutex<Counts>,
    /// By which this node's part of each limit is worked out.
    places: Mutex<Vec<Place>>,
}

#[derive(Default)]
struct Counts {
    sites: Ledger<Site>,
    destinations: Ledger<Domain>,
}

/// What is remembered of each site, or of each destination.
struct Ledger<K> {
    lines: HashMap<K, Line>,
    sweep_at: usize,
}

impl<K> Default for Ledger<K> {
    fn default() -> Self {
        Ledger { lines: HashMap::new(), sweep_at: SWEEP_AT }
    }
}

#[derive(Clone, Copy)]
struct Line {
    running: u32,
    /// Claimed already, and waiting for one of those that run to end.
    waiting: u32,
    /// Whether its hosts answered the last time, and at once.
    is_quick: bool,
    pacer: Pacer,
    health: Health,
}

/// The right to one attempt at a destination. Given back when it is dropped.
pub(super) struct Slot {
    limiter: Arc<Limiter>,
    site: Site,
    destination: Domain,
    /// Whether it still stands for a message that may go out, and is to be taken back if none does.
    is_unused: bool,
}

/// Why there is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The site has all that it may have, until one of those that run ends.
    Full,
    /// Nothing goes to the site for now.
    SiteNotNow,
    /// Nothing goes to the destination for now.
    DestinationNotNow,
}

/// What an attempt changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// The destination, or its site, answers again, and was held back.
    pub(super) is_back: bool,
    /// What is held back: recipients that wait there may have waited for too long.
    pub(super) held: Option<Held>,
}

impl Limiter {
    pub(super) fn new(limits: Limits) -> Limiter {
        let own = limits.own.iter().map(|site| site.hosts.clone()).collect();
        Limiter { limits, own, counts: Mutex::default(), places: Mutex::new(vec![Place::ALONE]) }
    }

    /// The site that hosts belong to.
    pub(super) fn site_of(&self, leads: &Leads) -> Site {
        site::of(leads, &self.own)
    }

    /// Counts one more attempt, if the site and the destination may have it.
    pub(super) fn reserve(
        self: &Arc<Self>,
        site: &Site,
        destination: &Domain,
        now: Timestamp,
    ) -> Result<Slot, Refused> {
        let mut counts = self.counts();
        match self.room_of_site(&counts, site, now) {
            Room::Jobs(0) => return Err(Refused::Full),
            Room::NotBefore(_) => return Err(Refused::SiteNotNow),
            Room::Jobs(1..) => {}
        }
        if !matches!(room_of_destination(&counts, destination, now), Room::Jobs(1..)) {
            return Err(Refused::DestinationNotNow);
        }
        self.begin_at_site(&mut counts, site, now);
        counts.destinations.line(destination, 1).running += 1;
        drop(counts);
        Ok(Slot { limiter: self.clone(), site: site.clone(), destination: destination.clone(), is_unused: true })
    }

    /// How many may wait for a place at a site: where nothing is known to be slow, paced or failing.
    pub(super) fn may_wait(&self, site: &Site) -> usize {
        self.ahead_of(&self.counts().sites.get(site, self.concurrency(site)), site)
    }

    /// Whether nothing goes to a site but a probe now and then.
    pub(super) fn is_held(&self, site: &Site) -> bool {
        self.counts().sites.get(site, 1).health.is_held()
    }

    /// One more that was claimed waits for a place at a site.
    pub(super) fn wait(&self, site: &Site) {
        self.counts().sites.line(site, self.concurrency(site)).waiting += 1;
    }

    /// So many of them wait no longer.
    pub(super) fn wait_no_longer(&self, site: &Site, jobs: usize, now: Timestamp) {
        let mut counts = self.counts();
        let line = counts.sites.line(site, self.concurrency(site));
        line.waiting = line.waiting.saturating_sub(u32::try_from(jobs).unwrap_or(u32::MAX));
        counts.sites.settle(site, now);
    }

    /// How long a recipient waits at most behind what is held back, by the attempts made.
    pub(super) fn waits(&self, schedule: &Schedule) -> Vec<Duration> {
        schedule.left().into_iter().map(|left| left.max(self.limits.patience)).collect()
    }

    /// Of a domain that nobody has looked up one at a time is claimed, which tells where the others belong.
    fn concurrency(&self, site: &Site) -> u32 {
        let own = self.own_site(site).and_then(|own| own.concurrency);
        if site.is_unknown() { 1 } else { own.unwrap_or(self.limits.concurrency) }
    }

    /// This node's places among those that have the limits together.
    pub(super) fn set_places(&self, places: Vec<Place>) {
        *self.places() = places;
    }

    /// Of the attempts at once, those that this node may make. Where a domain's mail goes each of them may look up.
    fn part(&self, site: &Site) -> u32 {
        let places = self.places();
        if site.is_unknown() && !places.is_empty() {
            return self.concurrency(site);
        }
        share::of(self.concurrency(site), site.as_str(), &places)
    }

    fn rate(&self, site: &Site) -> Option<Rate> {
        let own = self.own_site(site).and_then(|own| own.rate);
        let nodes = self.places().iter().map(|place| place.nodes).max().unwrap_or(1);
        own.or(self.limits.rate).filter(|_| !site.is_unknown()).map(|rate| rate.of_one_among(nodes))
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own_site(&self, site: &Site) -> Option<&OwnSite> {
        self.limits.own.iter().find(|own| own.hosts.first().is_some_and(|first| first.to_string() == site.as_str()))
    }

    fn room_of_site(&self, counts: &Counts, site: &Site, now: Timestamp) -> Room {
        let concurrency = self.concurrency(site);
        let line = counts.sites.get(site, concurrency);
        let part = self.part(site).saturating_sub(line.running) as usize;
        let room = match room_of(&line, now) {
            Room::Jobs(jobs) => Room::Jobs(jobs.min(part)),
            not_before => not_before,
        };
        let (Room::Jobs(jobs), Some(rate)) = (room, self.rate(site)) else { return room };
        match line.pacer.available(rate, now.as_micros()) {
            // Others may go on: what is written as held back is so for all nodes.
            0 if rate.is_of_several() => Room::Jobs(0),
            0 => Room::NotBefore(Timestamp::from_micros(line.pacer.free_at(rate, now.as_micros()))),
            messages => Room::Jobs(jobs.min(messages)),
        }
    }

    fn ahead_of(&self, line: &Line, site: &Site) -> usize {
        let is_calm = line.is_quick && line.health.is_whole() && self.rate(site).is_none();
        if is_calm { (AHEAD * line.health.allowance().min(self.part(site)) as usize).min(AHEAD_AT_MOST) } else { 0 }
    }

    /// What may be claimed: what may run, and what may wait; less what waits already. What waits is topped up when half
    /// of it is gone, so that a claim brings many.
    fn claimable(&self, counts: &Counts, site: &Site, now: Timestamp) -> Room {
        let room = self.room_of_site(counts, site, now);
        let Room::Jobs(jobs) = room else { return room };
        let line = counts.sites.get(site, self.concurrency(site));
        let (waiting, ahead) = (line.waiting as usize, self.ahead_of(&line, site));
        let ahead = if waiting > ahead / 2 { 0 } else { ahead };
        Room::Jobs((jobs + ahead).saturating_sub(waiting))
    }

    fn begin_at_site(&self, counts: &mut Counts, site: &Site, now: Timestamp) {
        let line = counts.sites.line(site, self.concurrency(site));
        line.running += 1;
        if let Some(rate) = self.rate(site) {
            line.pacer = line.pacer.sent(rate, now.as_micros());
        }
    }

    fn end_at_site(&self, counts: &mut Counts, site: &Site, is_unused: bool, now: Timestamp) {
        let line = counts.sites.line(site, self.concurrency(site));
        line.running = line.running.saturating_sub(1);
        if let Some(rate) = self.rate(site).filter(|_| is_unused) {
            line.pacer = line.pacer.taken_back(rate);
        }
        counts.sites.settle(site, now);
    }

    /// Nothing that holds the lock can fail halfway.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many attempts hold a slot at a site.
    #[cfg(test)]
    pub(super) fn running(&self, site: &Site) -> u32 {
        self.counts().sites.get(site, 1).running
    }
}

/// What health leaves beside what runs.
fn room_of(line: &Line, now: Timestamp) -> Room {
    if line.health.not_before() > now.as_micros() {
        return Room::NotBefore(Timestamp::from_micros(line.health.not_before()));
    }
    Room::Jobs(line.health.allowance().saturating_sub(line.running) as usize)
}

/// As much as its site may have, and one probe at a time once it failed.
fn room_of_destination(counts: &Counts, destination: &Domain, now: Timestamp) -> Room {
    let line = counts.destinations.get(destination, 1);
    if line.health.is_held() { room_of(&line, now) } else { Room::Jobs(usize::MAX) }
}

impl Gate for Limiter {
    fn site(&self, site: &Site, now: Timestamp) -> Room {
        self.claimable(&self.counts(), site, now)
    }

    fn destination(&self, destination: &Domain, now: Timestamp) -> Room {
        room_of_destination(&self.counts(), destination, now)
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Slot {
    /// The destination turned out to belong to `site`: counts there from now on, unless that has no room.
    pub(super) fn enter(&mut self, site: &Site, now: Timestamp) -> bool {
        let limiter = self.limiter.clone();
        let mut counts = limiter.counts();
        if *site != self.site {
            if !matches!(limiter.room_of_site(&counts, site, now), Room::Jobs(1..)) {
                return false;
            }
            limiter.end_at_site(&mut counts, &self.site, true, now);
            limiter.begin_at_site(&mut counts, site, now);
            self.site = site.clone();
        }
        self.is_unused = false;
        true
    }

    /// Where it counts.
    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    /// How many connections to the site may wait for another message beside those of all that run.
    pub(super) fn spare(&self) -> usize {
        let counts = self.limiter.counts();
        let line = counts.sites.get(&self.site, self.limiter.concurrency(&self.site));
        line.health.allowance().min(self.limiter.part(&self.site)).saturating_sub(line.running) as usize
    }

    /// What became of the hosts in an attempt that began at `began`.
    pub(super) fn met(&self, contact: Contact, began: Timestamp, now: Timestamp) -> Changed {
        let limiter = &self.limiter;
        let mut counts = limiter.counts();
        let counts = &mut *counts;
        let site = counts.sites.line(&self.site, limiter.concurrency(&self.site));
        if contact != Contact::Untried {
            site.is_quick = contact == Contact::Answered && now.since(began) <= QUICK;
        }
        let destination = counts.destinations.line(&self.destination, 1);
        let before = (site.health, destination.health);
        let (began, micros, pauses) = (began.as_micros(), now.as_micros(), &limiter.limits.pauses);
        if contact == Contact::Answered {
            site.health = site.health.answered();
            destination.health = destination.health.answered();
        } else if contact.is_failure() {
            // A destination says it of its site once: that one of its domains is dead says nothing of the others.
            site.health = if destination.health.is_held() {
                site.health.failed_again(micros, pauses)
            } else {
                site.health.failed(began, micros, pauses)
            };
            destination.health = destination.health.failed(began, micros, pauses);
        }
        let changed = tell(&self.site, &self.destination, before, (site.health, destination.health), contact);
        counts.destinations.settle(&self.destination, now);
        changed
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let now = Timestamp::now();
        let mut counts = self.limiter.counts();
        self.limiter.end_at_site(&mut counts, &self.site, self.is_unused, now);
        let line = counts.destinations.line(&self.destination, 1);
        line.running = line.running.saturating_sub(1);
        counts.destinations.settle(&self.destination, now);
    }
}

/// One line when something is held back and one when it comes back.
fn tell(
    site: &Site,
    destination: &Domain,
    before: (Health, Health),
    now: (Health, Health),
    contact: Contact,
) -> Changed {
    let why = match contact {
        Contact::TurnedAway => "its hosts send us away",
        Contact::Answered | Contact::Unreached | Contact::Untried => "its hosts cannot be reached",
    };
    match (before.0.is_held(), now.0.is_held()) {
        (false, true) => tracing::warn!(%site, why, "deliveries to a site are held back, but for a probe now and then"),
        (true, false) => tracing::info!(%site, "deliveries to a site go on: a host of it answers"),
        _ => {}
    }
    match (before.1.is_held(), now.1.is_held()) {
        (false, true) => {
            tracing::warn!(%destination, %site, why, "deliveries to a domain are held back, but for a probe now and then");
        }
        (true, false) => tracing::info!(%destination, %site, "deliveries to a domain go on: a host of it answers"),
        _ => {}
    }
    let was_held = before.0.is_held() || before.1.is_held();
    let held = match (now.0.is_held(), now.1.is_held()) {
        (true, _) => Some(Held::Site(site.clone())),
        (false, true) => Some(Held::Destination(destination.clone())),
        (false, false) => None,
    };
    Changed { is_back: was_held && contact == Contact::Answered, held: held.filter(|_| contact.is_failure()) }
}

impl<K: Hash + Eq + Clone> Ledger<K> {
    fn get(&self, key: &K, limit: u32) -> Line {
        self.lines.get(key).copied().unwrap_or_else(|| Line::new(limit))
    }

    fn line(&mut self, key: &K, limit: u32) -> &mut Line {
        self.lines.entry(key.clone()).or_insert_with(|| Line::new(limit))
    }

    /// Forgets a line that says nothing, and now and then all such lines.
    fn settle(&mut self, key: &K, now: Timestamp) {
        if self.lines.get(key).is_some_and(|line| line.says_nothing(now)) {
            self.lines.remove(key);
        }
        if self.lines.len() > self.sweep_at {
            self.lines.retain(|_, line| !line.says_nothing(now));
            self.sweep_at = SWEEP_AT.max(2 * self.lines.len());
        }
    }
}

impl Line {
    fn new(limit: u32) -> Line {
        Line { running: 0, waiting: 0, is_quick: false, pacer: Pacer::default(), health: Health::new(limit) }
    }

    fn says_nothing(&self, now: Timestamp) -> bool {
        let is_forgotten = self.health.noted_at() < (now - MEMORY).as_micros();
        self.running == 0
            && self.waiting == 0
            && self.pacer.is_idle(now.as_micros())
            && (self.health.is_whole() || is_forgotten)
    }
}
