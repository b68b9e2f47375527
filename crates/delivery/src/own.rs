//! Which addresses are this machine's.

use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an answer is remembered: addresses come and go, but not from one message to the next.
const REMEMBER: Duration = Duration::from_secs(10);
/// Most answers remembered. Beyond it all are found out again.
const REMEMBERED: usize = 4096;

/// What was found out, for a while.
#[derive(Default)]
pub(crate) struct OwnAddresses(Mutex<HashMap<IpAddr, (bool, Instant)>>);

impl OwnAddresses {
    /// Whether an address belongs to this machine.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((is_ours, until)) = known.get(&address)
            && now < *until
        {
            return *is_ours;
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let is_ours = is_our_own(address);
        known.insert(address, (is_ours, now + REMEMBER));
        is_ours
    }
}

/// Whether an address belongs to this machine: what it sends to itself it sends from that same address. Nothing is sent
/// to find out. (That a socket can be bound to an address proves nothing: `ip_nonlocal_bind` allows it for any.)
pub(crate) fn is_our_own(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let anywhere: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let source = || {
        let socket = UdpSocket::bind((anywhere, 0))?;
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    source().is_ok_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_knows_its_own_addresses() {
        let own = OwnAddresses::default();
        for _ in 0..2 {
            assert!(own.contain("127.0.0.1".parse().unwrap()));
            assert!(!own.contain("192.0.2.1".parse().unwrap()));
            assert!(!own.contain("2001:db8::1".parse().unwrap()));
        }
        let outward = UdpSocket::bind("0.0.0.0:0").unwrap();
        if outward.connect("192.0.2.1:9").is_ok() {
            assert!(own.contain(outward.local_addr().unwrap().ip()));
        }
    }
}
