//! Work that is claimed before there is a place for it, so that whoever ends an attempt begins the next one at once.
//!
//! Only sites that answer at once have much of it ([`Limiter::may_wait`]). Places go round: as long as there are places
//! for all, each site uses its own; when all are taken, whoever ends one leaves it to the site whose turn it is.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use policy::site::Site;
use smtp::Domain;
use store::{Job, Timestamp};
use tokio::sync::Notify;

use super::limiter::{Limiter, Refused, Slot};

/// Most jobs of one claim.
const CLAIM: usize = 256;
/// Most jobs that wait, all sites together.
const WAITING: usize = 512;
/// Most octets of content that wait in memory. What comes beyond is read when its turn comes.
const OCTETS: usize = 16 * 1024 * 1024;
/// What waits for longer is given back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Places, and what waits for one.
pub(super) struct Ahead {
    /// Most attempts at once.
    total: usize,
    limiter: Arc<Limiter>,
    inner: Mutex<Inner>,
    /// Told when there is less than there might be.
    low: Notify,
}

#[derive(Default)]
struct Inner {
    sites: HashMap<Site, VecDeque<Waiting>>,
    /// The sites of which anything waits, the next one first.
    turns: VecDeque<Site>,
    waiting: usize,
    /// Of these, for sites that are not known to be prompt.
    slow_waiting: usize,
    octets: usize,
    running: usize,
    slow: usize,
    is_closed: bool,
}

struct Waiting {
    job: Job,
    since: Instant,
}

/// A job with a place and a slot.
pub(super) struct Begun {
    pub(super) job: Job,
    pub(super) slot: Slot,
    /// Whether it counts among those that go to sites not known to be prompt.
    pub(super) is_slow: bool,
}

/// How much may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Most jobs.
    pub(super) limit: usize,
    /// Of these, most for sites that are not known to be prompt.
    pub(super) slow_limit: usize,
}

impl Ahead {
    pub(super) fn new(total: usize, limiter: Arc<Limiter>) -> Ahead {
        Ahead { total, limiter, inner: Mutex::default(), low: Notify::new() }
    }

    /// How many attempts run.
    pub(super) fn running(&self) -> usize {
        self.lock().running
    }

    /// How many jobs wait for a place.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Returns when there is less than there might be, or there was since the last time.
    pub(super) async fn is_low(&self) {
        self.low.notified().await;
    }

    /// How much may be claimed now; `None` when nothing may.
    pub(super) fn room(&self) -> Option<Room> {
        let inner = self.lock();
        let free = self.total.saturating_sub(inner.running);
        if inner.is_closed || (free == 0 && inner.waiting > WAITING / 2) {
            return None;
        }
        let limit = (free + WAITING).saturating_sub(inner.waiting).min(CLAIM);
        // Where those that are prompt have all places some of the others wait as well, or they would never get a turn.
        let turns = free.max(self.total / 16 + 1);
        let slow_limit = slow_share(self.total).saturating_sub(inner.slow + inner.slow_waiting).min(turns);
        (limit > 0).then_some(Room { limit, slow_limit })
    }

    /// Takes in what was claimed. What cannot wait comes back.
    pub(super) fn take_in(&self, jobs: Vec<Job>) -> Vec<Job> {
        let mut inner = self.lock();
        if inner.is_closed {
            return jobs;
        }
        jobs.into_iter().for_each(|job| self.push(&mut inner, job));
        Vec::new()
    }

    /// Takes in one that was found to go to a site that has no place for it. Where too much waits it comes back.
    pub(super) fn take_in_for(&self, site: &Site, mut job: Job) -> Option<Job> {
        let mut inner = self.lock();
        let waiting = inner.sites.get(site).map_or(0, VecDeque::len);
        if inner.is_closed || inner.waiting >= WAITING || waiting >= self.limiter.may_wait(site) {
            return Some(job);
        }
        job.site = site.clone();
        self.push(&mut inner, job);
        None
    }

    fn push(&self, inner: &mut Inner, mut job: Job) {
        let octets = octets_of(&job);
        if inner.octets + octets > OCTETS {
            job.loaded.wire = None;
        }
        inner.octets += octets_of(&job);
        inner.waiting += 1;
        inner.slow_waiting += usize::from(!job.is_prompt);
        self.limiter.wait(&job.site);
        let site = inner.sites.entry(job.site.clone()).or_default();
        if site.is_empty() {
            inner.turns.push_back(job.site.clone());
        }
        site.push_back(Waiting { job, since: Instant::now() });
    }

    /// Gives places to what waits, as far as there are any. What may not go now comes back.
    pub(super) fn begin(&self) -> (Vec<Begun>, Vec<Job>) {
        let mut inner = self.lock();
        let (mut begun, mut refused) = (Vec::new(), Vec::new());
        while inner.running < self.total
            && let Some(next) = self.next_in_turn(&mut inner, &mut refused)
        {
            inner.running += 1;
            inner.slow += usize::from(next.is_slow);
            begun.push(next);
        }
        (begun, refused)
    }

    /// An attempt has ended, at `site`, which has given its slot back: the next one for its place, and what may not go
    /// now. Without a next one the place is free.
    pub(super) fn next(&self, site: &Site, was_slow: bool, may_begin: bool) -> (Option<Begun>, Vec<Job>) {
        let mut inner = self.lock();
        let mut refused = Vec::new();
        inner.slow -= usize::from(was_slow);
        let next = if !may_begin {
            None
        } else if inner.running < self.total {
            self.next_of(&mut inner, site, &mut refused).ok()
        } else {
            self.next_in_turn(&mut inner, &mut refused)
        };
        match &next {
            Some(next) => inner.slow += usize::from(next.is_slow),
            None => inner.running -= 1,
        }
        (next, refused)
    }

    /// The next one of the site whose turn it is, among those that have a slot left.
    fn next_in_turn(&self, inner: &mut Inner, refused: &mut Vec<Job>) -> Option<Begun> {
        for _ in 0..inner.turns.len() {
            let site = inner.turns.pop_front()?;
            let next = self.next_of(inner, &site, refused);
            if inner.sites.contains_key(&site) {
                inner.turns.push_back(site);
            }
            if let Ok(next) = next {
                return Some(next);
            }
        }
        None
    }

    fn next_of(&self, inner: &mut Inner, site: &Site, refused: &mut Vec<Job>) -> Result<Begun, Nothing> {
        let now = Timestamp::now();
        loop {
            let destination = match inner.sites.get(site).and_then(VecDeque::front) {
                Some(first) => &first.job.destination,
                None => return Err(Nothing),
            };
            match self.limiter.reserve(site, destination, now) {
                Ok(slot) => {
                    let job = self.pop(inner, site, now).ok_or(Nothing)?;
                    let is_slow = !job.is_prompt && self.limiter.may_wait(site) == 0;
                    return Ok(Begun { job, slot, is_slow });
                }
                Err(Refused::Full) => return Err(Nothing),
                Err(Refused::DestinationNotNow) => refused.extend(self.pop(inner, site, now)),
                Err(Refused::SiteNotNow) => {
                    refused.extend(self.drain(inner, site, |_| true));
                    return Err(Nothing);
                }
            }
        }
    }

    fn pop(&self, inner: &mut Inner, site: &Site, now: Timestamp) -> Option<Job> {
        let queue = inner.sites.get_mut(site)?;
        let Waiting { job, .. } = queue.pop_front()?;
        let left = queue.len();
        inner.count_out(site, std::slice::from_ref(&job));
        self.limiter.wait_no_longer(site, 1, now);
        if left == 0 || left == self.limiter.may_wait(site) / 2 || inner.waiting == WAITING / 2 {
            self.low.notify_one();
        }
        Some(job)
    }

    /// What waits at a site and is meant by `is_meant`.
    fn drain(&self, inner: &mut Inner, site: &Site, is_meant: impl Fn(&Waiting) -> bool) -> Vec<Job> {
        let Some(queue) = inner.sites.get_mut(site) else { return Vec::new() };
        let (out, stays): (VecDeque<_>, VecDeque<_>) = std::mem::take(queue).into_iter().partition(is_meant);
        *queue = stays;
        let out: Vec<Job> = out.into_iter().map(|waiting| waiting.job).collect();
        inner.count_out(site, &out);
        self.limiter.wait_no_longer(site, out.len(), Timestamp::now());
        out
    }

    /// What waits for a destination that is held back, or for all of its site where that is.
    pub(super) fn give_up(&self, site: &Site, destination: &Domain) -> Vec<Job> {
        let all = self.limiter.is_held(site);
        self.drain(&mut self.lock(), site, |waiting| all || waiting.job.destination == *destination)
    }

    /// What has waited for too long.
    pub(super) fn overdue(&self) -> Vec<Job> {
        let mut inner = self.lock();
        let sites: Vec<Site> = inner.turns.iter().cloned().collect();
        let out = sites.iter().flat_map(|site| self.drain(&mut inner, site, |one| one.since.elapsed() > PATIENCE));
        out.collect()
    }

    /// All that waits. Nothing is taken in any more.
    pub(super) fn close(&self) -> Vec<Job> {
        let mut inner = self.lock();
        inner.is_closed = true;
        let sites: Vec<Site> = inner.turns.iter().cloned().collect();
        sites.iter().flat_map(|site| self.drain(&mut inner, site, |_| true)).collect()
    }

    /// Nothing that holds the lock can fail halfway.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of this site nothing can begin.
struct Nothing;

impl Inner {
    /// These wait no longer.
    fn count_out(&mut self, site: &Site, jobs: &[Job]) {
        self.waiting -= jobs.len();
        self.slow_waiting -= jobs.iter().filter(|job| !job.is_prompt).count();
        self.octets -= jobs.iter().map(octets_of).sum::<usize>();
        if self.sites.get(site).is_some_and(VecDeque::is_empty) {
            self.sites.remove(site);
            // It is the first, as a rule.
            if let Some(at) = self.turns.iter().position(|turn| turn == site) {
                self.turns.remove(at);
            }
        }
    }
}

fn octets_of(job: &Job) -> usize {
    job.loaded.wire.as_ref().map_or(0, Bytes::len)
}

/// How many of all attempts may go to sites that are not known to be prompt. What is left serves those that are, however
/// many of the others there are: dead hosts take half a minute each, live ones a second.
fn slow_share(total: usize) -> usize {
    (total - total / 4).max(1)
}
