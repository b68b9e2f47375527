//! Connections that carried a message and wait for the next. Who may use which is [`policy::pool`]'s to say.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use policy::pool::{Endpoint, Established};
use policy::tls::Effective;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::hosts::Crowd;
use crate::receipt::Owed;
use crate::report::{Channel, ConnectionReport};
use crate::starttls::Ready;

/// How long and how often a connection is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reuse {
    /// How long one waits for a message. Zero: none is used again. Hosts wait for five minutes (RFC 5321 §4.5.3.2.7),
    /// busy ones for less: Postfix for ten seconds under stress.
    pub idle: Duration,
    /// Most messages on one.
    pub messages: usize,
    /// From the greeting on, no message begins later: so that a change at the host is seen, whatever the traffic.
    pub lifetime: Duration,
    /// Most that wait, in all.
    pub connections: usize,
    /// Most that wait at one address of a host.
    pub per_host: usize,
}

impl Default for Reuse {
    fn default() -> Self {
        Reuse {
            idle: Duration::from_secs(10),
            messages: 100,
            lifetime: Duration::from_secs(5 * 60),
            connections: 500,
            per_host: 10,
        }
    }
}

/// The connections that wait.
pub(crate) struct Pool {
    limits: Reuse,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Endpoint, VecDeque<Idle>>,
    count: usize,
    is_swept: bool,
    is_closed: bool,
}

struct Idle {
    established: Established,
    /// The place that it leads to, of those that are counted together.
    site: Option<Arc<str>>,
    ready: Ready,
    report: Arc<ConnectionReport>,
    until: Instant,
}

/// A connection that serves again, with the report and the channel of the delivery that made it.
pub(crate) struct Reused {
    pub(crate) ready: Ready,
    pub(crate) channel: Channel,
    pub(crate) report: ConnectionReport,
}

impl Pool {
    pub(crate) fn new(limits: Reuse) -> Pool {
        Pool { limits, state: Arc::default() }
    }

    /// A connection that a delivery to `endpoint` under `effective` may use, the one used last first: what is not needed
    /// grows old and goes. One whose receipt is out only where there is no other. `deadline` is that of the delivery.
    pub(crate) async fn take(&self, endpoint: &Endpoint, effective: &Effective, deadline: Instant) -> Option<Reused> {
        loop {
            let Idle { mut ready, report, until, .. } = lock(&self.state).pop(endpoint, effective)?;
            if matches!(ready.session.owed.now(), Owed::Dropped) {
                farewell(ready);
                continue;
            }
            // A host that has said something meanwhile has mostly said 421 and hung up.
            if !ready.session.is_quiet().await {
                continue;
            }
            let Some(channel) = report.channel.clone() else { continue };
            if until <= Instant::now() {
                farewell(ready);
                continue;
            }
            ready.session.deadline = deadline;
            let report =
                ConnectionReport { effective: effective.clone(), channel: None, reused: true, ..(*report).clone() };
            return Some(Reused { ready, channel, report });
        }
    }

    /// Keeps a connection for others, or says farewell to it. Nobody waits for either.
    pub(crate) fn give(
        &self,
        endpoint: Endpoint,
        site: Option<Arc<str>>,
        ready: Ready,
        report: &Arc<ConnectionReport>,
    ) {
        let Some(idle) = self.admit(endpoint, &ready, report) else { return farewell(ready) };
        let (established, until) = idle;
        let mut state = lock(&self.state);
        if state.is_closed {
            drop(state);
            return farewell(ready);
        }
        let surplus = state.push(Idle { established, site, ready, report: report.clone(), until }, &self.limits);
        if !state.is_swept {
            state.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(&self.state)));
        }
        drop(state);
        surplus.into_iter().for_each(|idle| farewell(idle.ready));
    }

    /// Ends connections to a site, those first whose time is over first, until no more wait than may. Their farewells are
    /// waited for: a host that counts connections counts them until then.
    pub(crate) async fn make_room(&self, crowd: &Crowd) {
        let surplus = lock(&self.state).surplus_of(crowd);
        let mut farewells: JoinSet<()> = surplus.into_iter().map(|idle| quit(idle.ready)).collect();
        while farewells.join_next().await.is_some() {}
    }

    /// What the connection may be used for and until when, if at all.
    fn admit(&self, endpoint: Endpoint, ready: &Ready, report: &ConnectionReport) -> Option<(Established, Instant)> {
        let now = Instant::now();
        let until = (now + self.limits.idle).min(ready.session.since + self.limits.lifetime);
        let is_spent = ready.session.has_leftover() || ready.session.messages >= self.limits.messages || until <= now;
        let established = Established::new(endpoint, report.observed?, &report.effective)?;
        (!is_spent).then_some((established, until))
    }

    /// Says farewell to all that wait, and keeps none from now on.
    pub(crate) async fn close(&self) {
        let all = {
            let mut state = lock(&self.state);
            state.is_closed = true;
            state.count = 0;
            std::mem::take(&mut state.waiting)
        };
        let mut farewells = JoinSet::new();
        for idle in all.into_values().flatten() {
            farewells.spawn(quit(idle.ready));
        }
        while farewells.join_next().await.is_some() {}
    }
}

impl State {
    fn pop(&mut self, endpoint: &Endpoint, effective: &Effective) -> Option<Idle> {
        let queue = self.waiting.get_mut(endpoint)?;
        let serves = |idle: &Idle| idle.established.serves(endpoint, effective);
        let is_free = |idle: &mut Idle| serves(idle) && !matches!(idle.ready.session.owed.now(), Owed::Out(_));
        let free = queue.iter_mut().rposition(is_free);
        let index = free.or_else(|| queue.iter().rposition(serves))?;
        let idle = queue.remove(index);
        if queue.is_empty() {
            self.waiting.remove(endpoint);
        }
        self.count -= usize::from(idle.is_some());
        idle
    }

    /// Adds one; gives those that have to go for it.
    fn push(&mut self, idle: Idle, limits: &Reuse) -> Vec<Idle> {
        let endpoint = idle.established.endpoint().clone();
        let queue = self.waiting.entry(endpoint).or_default();
        queue.push_back(idle);
        self.count += 1;
        let mut surplus = Vec::new();
        if queue.len() > limits.per_host {
            surplus.extend(queue.pop_front());
            self.count -= 1;
        }
        if self.count > limits.connections {
            let soonest = self.waiting.values().flatten().map(|idle| idle.until).min();
            surplus.extend(self.ended_by(soonest.unwrap_or_else(Instant::now)));
        }
        surplus
    }

    /// Takes out what waits at a site beyond what may.
    fn surplus_of(&mut self, crowd: &Crowd) -> Vec<Idle> {
        let is_there = |idle: &Idle| idle.site.as_ref() == Some(&crowd.site);
        let mut ends: Vec<Instant> =
            self.waiting.values().flatten().filter(|idle| is_there(idle)).map(|idle| idle.until).collect();
        let Some(surplus) = ends.len().checked_sub(crowd.spare).filter(|surplus| *surplus > 0) else {
            return Vec::new();
        };
        ends.sort_unstable();
        self.take_out(|idle| is_there(idle) && idle.until <= ends[surplus - 1])
    }

    /// Takes out what has waited until `now`.
    fn ended_by(&mut self, now: Instant) -> Vec<Idle> {
        self.take_out(|idle| idle.until <= now)
    }

    fn take_out(&mut self, is_out: impl Fn(&Idle) -> bool) -> Vec<Idle> {
        let mut out = Vec::new();
        for queue in self.waiting.values_mut() {
            let (over, still): (Vec<Idle>, Vec<Idle>) = queue.drain(..).partition(&is_out);
            out.extend(over);
            queue.extend(still);
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
        self.count -= out.len();
        out
    }
}

/// Ends what has waited long enough, until nothing waits or the pool is gone.
async fn sweep(pool: Weak<Mutex<State>>) {
    loop {
        let next = {
            let Some(pool) = pool.upgrade() else { return };
            let mut state = lock(&pool);
            state.ended_by(Instant::now()).into_iter().for_each(|idle| farewell(idle.ready));
            match state.waiting.values().flatten().map(|idle| idle.until).min() {
                Some(next) => next,
                None => {
                    state.is_swept = false;
                    return;
                }
            }
        };
        sleep_until(next).await;
    }
}

/// Says QUIT while nobody waits for it.
pub(crate) fn farewell(ready: Ready) {
    tokio::spawn(quit(ready));
}

async fn quit(mut ready: Ready) {
    // The delivery that it served may be over, and its time too.
    ready.session.deadline = Instant::now() + smtp::limits::QUIT_TIMEOUT;
    // Open until what it carried is recorded, so that no more is ever unrecorded than there are connections.
    let _ = ready.session.recorded().await;
    ready.session.quit().await;
}

/// Nothing that holds the lock can fail halfway.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
