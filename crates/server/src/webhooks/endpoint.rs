//! One webhook: what it is to be told, what it is being told, and how far that has come.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use delivery::web::{Line, Place, WebError};
use policy::webhook::{Answer, Verdict, verdict};
use store::webhook::{LastAnswer, SET_ASIDE_AT_MOST, SetAside, Told, Webhook};
use store::{StoreError, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Shared;
use crate::api::notification;

/// Most notifications under way to one endpoint that answers well.
const AT_ONCE: usize = 8;
/// Events that are looked at in one search.
const SEARCHED_AT_ONCE: usize = 1000;
/// What was set aside and is read at once.
const READ_AT_ONCE: usize = 64;
/// An answer that took longer is slow.
const SLOW: Duration = Duration::from_secs(3);
/// How long a place that moved on may stay unwritten. After a crash that much is told again.
const UNWRITTEN: Duration = Duration::from_secs(1);
/// How long one waits with a store that fails.
const PAUSE: Duration = Duration::from_secs(1);
/// How often one looks for events without having been woken, so that the place follows events that are for others.
const SEARCH_EVERY: Duration = Duration::from_secs(60);
/// How long a connection may wait for the next notification.
const LINE_IDLE: Duration = Duration::from_secs(10);
/// How long a connection may be used; then the name is looked up again.
const LINE_LIFETIME: Duration = Duration::from_secs(60);
/// Most characters of what went wrong that are kept.
const WORDS: usize = 200;

/// An event to be told.
#[derive(Debug, Clone, Copy)]
struct Task {
    event: Timestamp,
    /// How often it was told in vain.
    attempts: u32,
    was_set_aside: bool,
}

/// What came of telling it.
enum Heard {
    Answer {
        answer: Answer,
        words: String,
        took: Duration,
    },
    /// The event is no longer kept.
    Gone,
    /// It could not be read.
    NotRead(StoreError),
}

pub(super) struct Endpoint {
    shared: Arc<Shared>,
    webhook: Webhook,
    line: Arc<Lines>,
    wake: Arc<Notify>,
    /// Found, and not yet begun with.
    found: BTreeSet<Timestamp>,
    searched_to: Timestamp,
    /// There may be events behind that.
    more: bool,
    searched_at: Instant,
    /// Found and under way.
    under_way: BTreeSet<Timestamp>,
    /// How many are set aside.
    aside: u64,
    /// Those that are due soonest.
    due: VecDeque<SetAside>,
    /// They are not what the store has.
    must_read: bool,
    /// Those that are under way.
    again: HashSet<Timestamp>,
    /// The last answer was a failure, or slow.
    troubled: bool,
    /// What is set aside and what is new take turns.
    turn: bool,
    unwritten: Told,
    unwritten_since: Option<Instant>,
    /// The store could not be read.
    paused_until: Option<Instant>,
}

impl Endpoint {
    pub(super) fn new(shared: Arc<Shared>, webhook: Webhook, wake: Arc<Notify>) -> Result<Endpoint, WebError> {
        let place = place(&webhook.subscription.url)?;
        Ok(Endpoint {
            line: Arc::new(Lines { place, idle: Mutex::default() }),
            searched_to: webhook.told_to,
            more: true,
            searched_at: Instant::now(),
            found: BTreeSet::new(),
            under_way: BTreeSet::new(),
            aside: 0,
            due: VecDeque::new(),
            must_read: true,
            again: HashSet::new(),
            troubled: false,
            turn: false,
            unwritten: Told::default(),
            unwritten_since: None,
            paused_until: None,
            shared,
            webhook,
            wake,
        })
    }

    /// Tells until `stop` turns true. A fault in what it does ends it; then another one begins where it was.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        loop {
            let stepped = self.step(&mut tasks).await;
            if let Err(error) = &stepped {
                tracing::warn!(webhook = %self.webhook.id, %error, "cannot be told for now");
            }
            let rest = if stepped.is_err() { PAUSE } else { self.rest() };
            tokio::select! {
                _ = stop.wait_for(|stopping| *stopping) => break,
                Some(done) = tasks.join_next() => {
                    let Ok((task, heard)) = done else { return };
                    self.hear(task, heard);
                }
                () = self.wake.notified() => self.more = true,
                () = sleep(rest) => {}
            }
        }
        let grace = self.shared.options.grace;
        let finish = async {
            while let Some(Ok((task, heard))) = tasks.join_next().await {
                self.hear(task, heard);
            }
        };
        let _ = timeout(grace, finish).await;
        if let Err(error) = self.write().await {
            tracing::warn!(webhook = %self.webhook.id, %error, "is told some of it again");
        }
    }

    async fn step(&mut self, tasks: &mut JoinSet<(Task, Heard)>) -> Result<(), StoreError> {
        if self.must_write() {
            self.write().await?;
        }
        if self.must_read {
            self.read_set_aside().await?;
        }
        if self.searched_at.elapsed() > SEARCH_EVERY {
            self.more = true;
        }
        if self.pause().is_some() {
            return Ok(());
        }
        let at_once = if self.troubled { 1 } else { AT_ONCE };
        while tasks.len() < at_once {
            self.turn = !self.turn;
            let next = match self.turn {
                true => match self.next_again() {
                    None => self.next_new().await?,
                    some => some,
                },
                false => match self.next_new().await? {
                    None => self.next_again(),
                    some => some,
                },
            };
            let Some(task) = next else { break };
            tasks.spawn(tell(self.shared.clone(), self.line.clone(), task, self.troubled));
        }
        Ok(())
    }

    fn next_again(&mut self) -> Option<Task> {
        let now = (self.shared.options.clock)();
        let SetAside { event, attempts, .. } = *self.due.front().filter(|soonest| soonest.due_at <= now)?;
        self.due.pop_front();
        self.again.insert(event);
        Some(Task { event, attempts, was_set_aside: true })
    }

    async fn next_new(&mut self) -> Result<Option<Task>, StoreError> {
        if self.aside >= SET_ASIDE_AT_MOST {
            return Ok(None);
        }
        while self.found.is_empty() && self.more {
            let found = self.shared.store.find_for_webhook(&self.webhook, self.searched_to, SEARCHED_AT_ONCE).await?;
            self.searched_at = Instant::now();
            if found.searched_to > self.searched_to {
                self.unwritten_since.get_or_insert(self.searched_at);
            }
            (self.searched_to, self.more) = (found.searched_to, found.more);
            self.found.extend(found.events);
        }
        let Some(event) = self.found.pop_first() else { return Ok(None) };
        self.under_way.insert(event);
        Ok(Some(Task { event, attempts: 0, was_set_aside: false }))
    }

    /// Takes note of what came of a task.
    fn hear(&mut self, task: Task, heard: Heard) {
        let Task { event, attempts, was_set_aside } = task;
        let finished = match heard {
            Heard::Gone => true,
            Heard::NotRead(error) => {
                tracing::warn!(webhook = %self.webhook.id, %error, "an event cannot be told for now");
                self.put_back(task);
                return;
            }
            Heard::Answer { answer, words, took } => {
                let verdict = verdict(answer, attempts + 1, &self.shared.options.schedule);
                self.note(answer, words, verdict, took);
                match verdict {
                    Verdict::Taken | Verdict::Unwanted | Verdict::GivenUp => true,
                    Verdict::Again(wait) => {
                        let due_at = (self.shared.options.clock)() + wait;
                        self.unwritten.set_aside.push(SetAside { event, attempts: attempts + 1, due_at });
                        self.aside += u64::from(!was_set_aside);
                        false
                    }
                }
            }
        };
        if was_set_aside {
            self.again.remove(&event);
        } else {
            self.under_way.remove(&event);
        }
        if finished && was_set_aside {
            self.unwritten.finished.push(event);
        }
        self.unwritten_since.get_or_insert_with(Instant::now);
    }

    /// Takes it up again a little later.
    fn put_back(&mut self, task: Task) {
        if task.was_set_aside {
            self.again.remove(&task.event);
            self.must_read = true;
        } else {
            self.under_way.remove(&task.event);
            self.found.insert(task.event);
        }
        self.paused_until = Some(Instant::now() + PAUSE);
    }

    fn note(&mut self, answer: Answer, words: String, verdict: Verdict, took: Duration) {
        let failed = verdict != Verdict::Taken;
        self.troubled = failed || took > SLOW;
        let status = match answer {
            Answer::Status(status) => Some(status),
            Answer::Nothing => None,
        };
        if failed {
            // The host and no more of the URL: a path may be a secret, credentials are one.
            tracing::info!(webhook = %self.webhook.id, host = %self.line.place, words, ?verdict, "was not told");
        }
        let last = LastAnswer { at: (self.shared.options.clock)(), status, words: words.chars().take(WORDS).collect() };
        if failed {
            self.unwritten.last_failure = Some(last.clone());
        }
        self.unwritten.last = Some(last);
    }

    /// Everything before this is told or set aside.
    fn told_to(&self) -> Timestamp {
        let open = [self.found.first(), self.under_way.first()];
        let first = open.into_iter().flatten().min();
        first.map_or(self.searched_to, |event| *event - Duration::from_micros(1))
    }

    /// What was set aside is written at once, and read again with it, so that nothing is begun twice.
    fn must_write(&self) -> bool {
        let Told { set_aside, finished, .. } = &self.unwritten;
        let is_late = self.unwritten_since.is_some_and(|since| since.elapsed() >= UNWRITTEN);
        is_late || !set_aside.is_empty() || !finished.is_empty()
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        let told = Told { to: Some(self.told_to()), ..self.unwritten.clone() };
        let changes_set_aside = !told.set_aside.is_empty() || !told.finished.is_empty();
        self.shared.store.told(self.webhook.id, told).await?;
        self.unwritten = Told::default();
        self.unwritten_since = None;
        self.must_read |= changes_set_aside;
        Ok(())
    }

    async fn read_set_aside(&mut self) -> Result<(), StoreError> {
        let limit = READ_AT_ONCE + self.again.len();
        let (count, soonest) = self.shared.store.set_aside(self.webhook.id, limit).await?;
        self.aside = count;
        self.due = soonest.into_iter().filter(|one| !self.again.contains(&one.event)).collect();
        self.must_read = false;
        Ok(())
    }

    /// How long nothing new is begun.
    fn pause(&self) -> Option<Duration> {
        self.paused_until?.checked_duration_since(Instant::now())
    }

    /// How long there is nothing to do unless somebody says so.
    fn rest(&self) -> Duration {
        let write = self.unwritten_since.map(|since| UNWRITTEN.saturating_sub(since.elapsed()));
        let again = (!self.due.is_empty()).then_some(self.shared.options.look_every);
        [write, again, self.pause()].into_iter().flatten().min().unwrap_or(SEARCH_EVERY)
    }
}

/// The place of a webhook's URL, in the one form that leaves nothing to be read in two ways (URL Standard).
pub(crate) fn place(url: &str) -> Result<Place, WebError> {
    let url = url::Url::parse(url).map_err(|error| WebError { words: error.to_string(), permanent: true })?;
    Place::of(url.as_str())
}

async fn tell(shared: Arc<Shared>, lines: Arc<Lines>, task: Task, troubled: bool) -> (Task, Heard) {
    let slots = if troubled { &shared.troubled } else { &shared.well };
    let _slot = slots.acquire().await.expect("the semaphore is never closed");
    let event = match shared.store.event_at(task.event).await {
        Ok(Some(event)) => event,
        Ok(None) => return (task, Heard::Gone),
        Err(error) => return (task, Heard::NotRead(error)),
    };
    let seconds = (shared.options.clock)().as_micros().div_euclid(1_000_000);
    let key = shared.signing_key.borrow().clone();
    let Some(body) = notification(&key, &event, &shared.options.base, seconds) else {
        return (task, Heard::NotRead(StoreError::Unavailable("the system has no randomness".to_owned())));
    };
    let started = Instant::now();
    let posted = timeout(shared.options.patience, lines.post(&shared, body)).await;
    let (answer, words) = match posted {
        Ok(Ok(status)) => (Answer::Status(status), words_of(status)),
        Ok(Err(error)) => (Answer::Nothing, error.words),
        Err(_) => (Answer::Nothing, format!("no answer within {} s", shared.options.patience.as_secs())),
    };
    (task, Heard::Answer { answer, words, took: started.elapsed() })
}

fn words_of(status: u16) -> String {
    match status {
        200..=299 => String::new(),
        300..=399 => format!("answered {status}, and redirects are not followed"),
        _ => format!("answered {status}"),
    }
}

/// Connections to an endpoint that wait for the next notification.
struct Lines {
    place: Place,
    idle: Mutex<Vec<Kept>>,
}

struct Kept {
    line: Line,
    since: Instant,
    used: Instant,
}

impl Lines {
    async fn post(&self, shared: &Shared, body: Bytes) -> Result<u16, WebError> {
        const JSON: &str = "application/json";
        if let Some(mut kept) = self.take()
            && kept.line.is_ready().await
            && let Ok(status) = kept.line.post(&self.place, JSON, body.clone()).await
        {
            self.keep(kept);
            return Ok(status.as_u16());
        }
        // None was kept, or the other side had closed it.
        let mut line = shared.web.connect(&self.place).await?;
        let since = Instant::now();
        let status = line.post(&self.place, JSON, body).await?;
        self.keep(Kept { line, since, used: since });
        Ok(status.as_u16())
    }

    fn take(&self) -> Option<Kept> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| kept.used.elapsed() < LINE_IDLE && kept.since.elapsed() < LINE_LIFETIME);
        idle.pop()
    }

    fn keep(&self, kept: Kept) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < AT_ONCE {
            idle.push(Kept { used: Instant::now(), ..kept });
        }
    }
}
