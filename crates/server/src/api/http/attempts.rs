//! Wrong keys: how many an address may try.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::limits::{WRONG_KEY_ADDRESSES, WRONG_KEY_TIME, WRONG_KEYS};
use crate::remembered::Remembered;
use crate::smtpd::listener::network_of;

/// Wrong keys of late, by address: since when, and how many.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<Remembered<IpAddr, (Instant, u32), WRONG_KEY_ADDRESSES>>);

impl Attempts {
    /// A wrong key came from the address. If there were too many, how long until the next one is answered as such.
    pub(crate) fn count(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let mut by_address = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network_of(address);
        let recent = by_address.get(&address).filter(|(since, _)| now.duration_since(*since) < WRONG_KEY_TIME);
        let (since, count) = recent.unwrap_or((now, 0));
        by_address.put(address, (since, count.saturating_add(1)));
        (count >= WRONG_KEYS).then(|| WRONG_KEY_TIME.saturating_sub(now.duration_since(since)))
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
            assert_eq!(attempts.count(one, now), None);
        }
        let later = now + WRONG_KEY_TIME / 4;
        assert_eq!(attempts.count(same, later), Some(WRONG_KEY_TIME - WRONG_KEY_TIME / 4));
        assert_eq!(attempts.count(other, later), None);
        assert_eq!(attempts.count(one, now + WRONG_KEY_TIME), None, "it begins anew");
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(network_of(mapped), "192.0.2.1".parse::<IpAddr>().unwrap());
    }
}
