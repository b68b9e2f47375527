//! Connections: how many, from whom, and how they end.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::content::Memory;
use super::limits::{CONNECTIONS, CONNECTIONS_BEFORE_LOGIN, CONNECTIONS_PER_ADDRESS};
use super::session::Session;
use super::wire::Wire;
use super::{End, Handler, Terms, reply};

/// When TLS begins.
#[derive(Debug, Clone)]
pub(crate) enum Tls {
    /// With the connection (RFC 8314 §3.3).
    Implicit(Arc<ServerConfig>),
    /// When the client says STARTTLS.
    StartTls(Arc<ServerConfig>),
}

/// What all listeners of a service share.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    terms: Arc<Terms>,
    memory: Memory,
    slots: Slots,
}

impl Service {
    pub(crate) fn new(terms: Terms) -> Service {
        Service { terms: Arc::new(terms), memory: Memory::default(), slots: Slots::default() }
    }
}

/// Serves until `stop` turns true; then lets messages under way be finished for the time of grace.
pub(crate) async fn serve<H: Handler + 'static>(
    listener: TcpListener,
    service: Service,
    tls: Tls,
    handler: impl Fn(SocketAddr) -> H,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
) {
    let stopped = stop.clone();
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
            _ = stop.wait_for(|stopping| *stopping) => break,
        };
        while connections.try_join_next().is_some() {}
        // Replies are small and whole: waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let Some(slot) = service.slots.take(peer.ip(), service.terms.login) else {
            refuse(&stream, &tls);
            tracing::warn!(service = service.terms.service, %peer, "too many connections");
            continue;
        };
        let Service { terms, memory, .. } = service.clone();
        let wire = Wire::new(stream, terms.times, stopped.clone());
        connections.spawn(converse(wire, peer, terms, handler(peer), memory, tls.clone(), slot));
    }
    drop(listener);
    let end = Instant::now() + grace;
    while let Ok(Some(_)) = tokio::time::timeout_at(end, connections.join_next()).await {}
    if !connections.is_empty() {
        tracing::warn!(
            service = service.terms.service,
            "messages still under way after the time of grace are given up"
        );
    }
}

async fn converse<H: Handler>(
    mut wire: Wire,
    peer: SocketAddr,
    terms: Arc<Terms>,
    handler: H,
    memory: Memory,
    tls: Tls,
    slot: Slot,
) {
    let service = terms.service;
    let end = match tls {
        Tls::StartTls(config) => Session::new(wire, terms, handler, memory, slot, Some(config)).run().await,
        Tls::Implicit(config) => match wire.start_tls(config).await {
            Ok(()) => Session::new(wire, terms, handler, memory, slot, None).run().await,
            Err(end) => end,
        },
    };
    match end {
        End::Told | End::Stopping => tracing::debug!(service, %peer, "connection closed"),
        End::Gone(_) | End::TimedOut => tracing::debug!(service, %peer, %end, "connection ended"),
    }
}

/// A failing accept (no file descriptors left, say) passes: told, and tried again.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an SMTP connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// One line, if the system takes it at once. Who expects TLS could not read it.
fn refuse(stream: &TcpStream, tls: &Tls) {
    if let Tls::StartTls(_) = tls {
        let _ = stream.try_write(reply(421, 7, 0, "Too many connections").to_wire().as_bytes());
    }
}

/// Who is connected, and how often.
#[derive(Debug, Clone, Default)]
struct Slots(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    connected: HashMap<IpAddr, usize>,
    /// Of these, by the wider network, those that have not logged in where they must.
    strangers: HashMap<IpAddr, usize>,
}

/// The right to one connection.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    network: IpAddr,
    stranger: Option<IpAddr>,
}

impl Slots {
    fn take(&self, ip: IpAddr, login: bool) -> Option<Slot> {
        let (network, wide) = (network_of(ip), wide_network_of(ip));
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |map: &HashMap<IpAddr, usize>, network| map.get(network).copied().unwrap_or_default();
        if count(&taken.connected, &network) >= CONNECTIONS_PER_ADDRESS
            || taken.connected.values().sum::<usize>() >= CONNECTIONS
            || (login && count(&taken.strangers, &wide) >= CONNECTIONS_BEFORE_LOGIN)
        {
            return None;
        }
        *taken.connected.entry(network).or_default() += 1;
        if login {
            *taken.strangers.entry(wide).or_default() += 1;
        }
        Some(Slot { slots: self.clone(), network, stranger: login.then_some(wide) })
    }
}

impl Slot {
    /// The client has logged in: it is no stranger any more.
    pub(super) fn logged_in(&mut self) {
        let mut taken = self.slots.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wide) = self.stranger.take() {
            give_back(&mut taken.strangers, &wide);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.logged_in();
        let mut taken = self.slots.0.lock().unwrap_or_else(PoisonError::into_inner);
        give_back(&mut taken.connected, &self.network);
    }
}

fn give_back(counts: &mut HashMap<IpAddr, usize>, network: &IpAddr) {
    if let Some(count) = counts.get_mut(network) {
        *count -= 1;
        if *count == 0 {
            counts.remove(network);
        }
    }
}

/// What one owner of addresses often has: a /24 of IPv4, a /48 of IPv6.
fn wide_network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() >> 8 << 8).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80).into(),
    }
}

/// Whom an address belongs to: of IPv6 everybody has a /64 at least, of IPv4 nobody is sure of more than one.
pub(crate) fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_network() {
        let slots = Slots::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut held: Vec<Slot> =
            (0..CONNECTIONS_PER_ADDRESS).filter_map(|_| slots.take(ip("192.0.2.1"), false)).collect();
        assert!(slots.take(ip("192.0.2.1"), false).is_none());
        assert!(slots.take(ip("::ffff:192.0.2.1"), false).is_none());
        drop(held.pop());
        assert!(slots.take(ip("::ffff:192.0.2.1"), false).is_some());
        assert_eq!(network_of(ip("2001:db8::1:2:3:4")), ip("2001:db8::"));

        let others =
            (0..CONNECTIONS).filter_map(|n| slots.take(Ipv6Addr::from_bits((n as u128 + 1) << 64).into(), false));
        held.extend(others.collect::<Vec<_>>());
        assert_eq!(held.len(), CONNECTIONS);
        assert!(slots.take(ip("192.0.2.2"), false).is_none());
        drop(held);
        assert!(slots.0.lock().unwrap().connected.is_empty());
    }

    #[test]
    fn strangers_leave_room_for_others() {
        let slots = Slots::default();
        let stranger = |n: u32| slots.take(Ipv4Addr::from_bits(0xc000_0200 + n % 256).into(), true);
        let mut held: Vec<Slot> = (0..CONNECTIONS_BEFORE_LOGIN as u32).filter_map(stranger).collect();
        assert_eq!(held.len(), CONNECTIONS_BEFORE_LOGIN);
        assert!(stranger(77).is_none(), "all of the network count together");
        assert!(slots.take("198.51.100.1".parse().unwrap(), true).is_some());
        assert!(
            slots.take("192.0.2.77".parse().unwrap(), false).is_some(),
            "where nobody logs in there are no strangers"
        );
        held[0].logged_in();
        held.extend(stranger(77));
        assert_eq!(held.len(), CONNECTIONS_BEFORE_LOGIN + 1);
        assert!(stranger(77).is_none());
        drop(held);
        assert!(slots.0.lock().unwrap().strangers.is_empty() && slots.0.lock().unwrap().connected.is_empty());
    }
}
