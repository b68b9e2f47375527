//! Who may try a password: attempts are counted by address and by login, and wrong ones make the next answers slow and
//! then none.
//!
//! A login that somebody else guesses at is not shut: addresses that it was used from stay welcome.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::limits::{FIRST_DELAY, FORGIVEN_AFTER, LONGEST_DELAY, REMEMBERED, WRONG_PER_ADDRESS, WRONG_PER_LOGIN};
use crate::remembered::Remembered;
use crate::smtpd::listener::network_of;

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Guard(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    addresses: Remembered<IpAddr, Level, REMEMBERED>,
    logins: Remembered<String, Level, REMEMBERED>,
    /// Pairs that were right once.
    welcome: Remembered<(IpAddr, String), (), REMEMBERED>,
    /// How many passwords from each address are being looked at; as many as there are connections, at most.
    looking: HashMap<IpAddr, usize>,
}

/// A password that is being looked at.
#[derive(Debug)]
pub(crate) struct Looking<'a> {
    guard: &'a Guard,
    network: IpAddr,
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        let mut state = self.guard.lock();
        if let Some(looking) = state.looking.get_mut(&self.network) {
            *looking -= 1;
            if *looking == 0 {
                state.looking.remove(&self.network);
            }
        }
    }
}

/// How many wrong passwords there were, less those that are forgiven by now.
#[derive(Debug, Clone, Copy)]
struct Level {
    wrong: f64,
    at: Instant,
}

impl Level {
    fn now(self, now: Instant) -> f64 {
        let forgiven = now.saturating_duration_since(self.at).as_secs_f64() / FORGIVEN_AFTER.as_secs_f64();
        (self.wrong - forgiven).max(0.0)
    }
}

impl Guard {
    /// Counts an attempt, as a wrong one until [`Guard::forgive`] says otherwise: attempts at the same time count each
    /// other. `None` when no password is to be looked at; else how long the answer waits if it is wrong.
    pub(crate) fn attempt(&self, ip: IpAddr, login: &str, now: Instant) -> Option<Duration> {
        let mut state = self.lock();
        let (network, login) = (network_of(ip), login.to_owned());
        let by_address = state.addresses.get(&network).map_or(0.0, |level| level.now(now));
        let by_login = state.logins.get(&login).map_or(0.0, |level| level.now(now));
        let is_welcome = state.welcome.get(&(network, login.clone())).is_some();
        if by_address >= WRONG_PER_ADDRESS || (by_login >= WRONG_PER_LOGIN && !is_welcome) {
            return None;
        }
        state.addresses.put(network, Level { wrong: by_address + 1.0, at: now });
        state.logins.put(login, Level { wrong: by_login + 1.0, at: now });
        let doublings = by_address.max(if is_welcome { 0.0 } else { by_login }).min(16.0);
        Some(FIRST_DELAY.mul_f64(doublings.exp2()).min(LONGEST_DELAY))
    }

    /// Counts a password as being looked at.
    pub(crate) fn look(&self, ip: IpAddr) -> Looking<'_> {
        let network = network_of(ip);
        *self.lock().looking.entry(network).or_default() += 1;
        Looking { guard: self, network }
    }

    /// Whether passwords from the address are being looked at, which may yet turn out right: an application opens all its
    /// connections at once.
    pub(crate) fn is_looking(&self, ip: IpAddr) -> bool {
        self.lock().looking.contains_key(&network_of(ip))
    }

    /// Takes back an attempt that was right, or that nobody could look at.
    pub(crate) fn forgive(&self, ip: IpAddr, login: &str, was_right: bool, now: Instant) {
        let mut state = self.lock();
        let (network, login) = (network_of(ip), login.to_owned());
        if was_right {
            state.welcome.put((network, login.clone()), ());
        }
        let less = |level: Option<Level>| {
            let wrong = level.map_or(0.0, |level| level.now(now));
            Level { wrong: (wrong - 1.0).max(0.0), at: now }
        };
        let (address, by_login) = (less(state.addresses.get(&network)), less(state.logins.get(&login)));
        state.addresses.put(network, address);
        state.logins.put(login, by_login);
    }

    /// Nothing that holds the lock can fail halfway.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn answers_grow_slow_and_then_there_is_none() {
        let (guard, now) = (Guard::default(), Instant::now());
        let delays: Vec<_> = (0..12).map(|_| guard.attempt(ip(1), "a@x", now).map(|delay| delay.as_millis())).collect();
        let expected = [250, 500, 1000, 2000, 4000, 8000, 8000, 8000, 8000, 8000].map(Some);
        assert_eq!(delays[..10], expected);
        assert_eq!(delays[10..], [None, None]);
        // Other addresses are not touched, and time heals.
        assert!(guard.attempt(ip(2), "b@x", now).is_some());
        assert!(guard.attempt(ip(1), "a@x", now + FORGIVEN_AFTER).is_some());
        assert_eq!(guard.attempt(ip(1), "a@x", now + FORGIVEN_AFTER), None);
    }

    #[test]
    fn right_passwords_cost_nothing() {
        let (guard, now) = (Guard::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(guard.attempt(ip(1), "a@x", now), Some(FIRST_DELAY));
            guard.forgive(ip(1), "a@x", true, now);
        }
    }

    #[test]
    fn what_is_being_looked_at_is_known_until_it_was() {
        let guard = Guard::default();
        let (one, two) = (guard.look(ip(1)), guard.look(ip(1)));
        drop(one);
        assert!(guard.is_looking(ip(1)) && !guard.is_looking(ip(2)));
        drop(two);
        assert!(!guard.is_looking(ip(1)));
    }

    #[test]
    fn who_guesses_at_a_login_does_not_shut_out_its_owner() {
        let (guard, now) = (Guard::default(), Instant::now());
        guard.attempt(ip(1), "a@x", now);
        guard.forgive(ip(1), "a@x", true, now);
        for stranger in 2..=21 {
            assert!(guard.attempt(ip(stranger), "a@x", now).is_some());
        }
        assert_eq!(guard.attempt(ip(22), "a@x", now), None);
        assert_eq!(guard.attempt(ip(1), "a@x", now), Some(FIRST_DELAY));
    }
}
