//! Wrong keys: how many an address may try.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::limits::{WRONG_KEY_ADDRESSES, WRONG_KEY_TIME, WRONG_KEYS};
use crate::smtpd::listener::network_of;

/// Wrong keys of late, by address.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// Since when, and how many.
    by_address: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Attempts {
    /// How long the address must wait until another key of it is looked at; `None` if not at all.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = by_address.get(&network_of(address))?;
        let left = WRONG_KEY_TIME.checked_sub(now.duration_since(*since)).filter(|left| !left.is_zero())?;
        (*count >= WRONG_KEYS).then_some(left)
    }

    /// A wrong key came from the address.
    pub(crate) fn count(&self, address: IpAddr, now: Instant) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network_of(address);
        if by_address.len() >= WRONG_KEY_ADDRESSES && !by_address.contains_key(&address) {
            by_address.retain(|_, (since, _)| now.duration_since(*since) < WRONG_KEY_TIME);
            if by_address.len() >= WRONG_KEY_ADDRESSES {
                let oldest = by_address.iter().min_by_key(|(_, (since, _))| *since).map(|(address, _)| *address);
                oldest.map(|address| by_address.remove(&address));
            }
        }
        let entry = by_address.entry(address).or_insert((now, 0));
        if now.duration_since(entry.0) >= WRONG_KEY_TIME {
            *entry = (now, 0);
        }
        entry.1 = entry.1.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_for_the_rest_of_its_time() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let [one, same, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
        for _ in 0..WRONG_KEYS {
            assert_eq!(attempts.wait(one, now), None);
            attempts.count(one, now);
        }
        let later = now + WRONG_KEY_TIME / 4;
        assert_eq!(attempts.wait(same, later), Some(WRONG_KEY_TIME - WRONG_KEY_TIME / 4));
        assert_eq!(attempts.wait(other, later), None);
        assert_eq!(attempts.wait(one, now + WRONG_KEY_TIME), None);
        attempts.count(one, now + WRONG_KEY_TIME);
        assert_eq!(attempts.wait(one, now + WRONG_KEY_TIME), None, "it begins anew");
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(network_of(mapped), "192.0.2.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn no_more_addresses_are_remembered_than_the_limit() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..WRONG_KEY_ADDRESSES as u32 + 10 {
            attempts.count(IpAddr::V4(number.into()), now + Duration::from_micros(number.into()));
        }
        assert_eq!(attempts.by_address.lock().unwrap().len(), WRONG_KEY_ADDRESSES);
    }
}
