//! A DNS authority on loopback, over UDP and TCP, for whatever zone a test wants.

mod answer;
mod zone;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, RwLock},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use answer::{Reply, Transport, answer};
pub use domain::base::Rtype;
pub use zone::Zone;

/// TCP connections served at a time.
const CONNECTIONS: usize = 128;

/// Longest silence on a TCP connection (RFC 7766 §6.2.3 speaks of seconds).
const IDLE: Duration = Duration::from_secs(10);

/// Ports to try until one is free for both UDP and TCP.
const PORTS: usize = 32;

/// A running DNS server that answers from one [`Zone`], as the authority for the whole tree and as if it had recursed.
/// It stops when it is dropped.
#[derive(Debug)]
pub struct Authority {
    address: SocketAddr,
    state: Arc<State>,
    listeners: Vec<JoinHandle<()>>,
}

/// A question that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name in lower case, without its final dot.
    pub name: String,
    /// The record type.
    pub rtype: Rtype,
    /// It came over TCP.
    pub tcp: bool,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.rtype)
    }
}

#[derive(Debug)]
struct State {
    zone: RwLock<Arc<Zone>>,
    asked: Mutex<Vec<Asked>>,
}

impl Authority {
    /// Listens at the address for UDP and TCP; port 0 picks one that is free for both.
    pub async fn start(address: SocketAddr, zone: Zone) -> io::Result<Authority> {
        let (udp, tcp) = bind(address).await?;
        let address = udp.local_addr()?;
        let state = Arc::new(State { zone: RwLock::new(Arc::new(zone)), asked: Mutex::default() });
        let listeners =
            vec![tokio::spawn(serve_udp(udp, Arc::clone(&state))), tokio::spawn(serve_tcp(tcp, Arc::clone(&state)))];
        Ok(Authority { address, state, listeners })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The zone as it is.
    pub fn zone(&self) -> Zone {
        Zone::clone(&self.state.zone())
    }

    /// Answers from another zone from now on.
    pub fn set(&self, zone: Zone) {
        *self.state.zone.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(zone);
    }

    /// Changes the zone: `authority.update(|zone| zone.mx("a.test", 10, "mx.a.test"))`.
    pub fn update(&self, change: impl FnOnce(Zone) -> Zone) {
        let mut zone = self.state.zone.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        *zone = Arc::new(change(Zone::clone(&zone)));
    }

    /// All questions so far.
    pub fn queries(&self) -> Vec<Asked> {
        self.state.asked().clone()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.listeners.iter().for_each(JoinHandle::abort);
    }
}

impl State {
    fn zone(&self) -> Arc<Zone> {
        Arc::clone(&self.zone.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The answer to a packet, if it gets one.
    fn answer(&self, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Reply { asked, packet } = answer(&self.zone(), packet, transport);
        self.asked().extend(asked);
        packet
    }
}

async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            // The port that UDP picked is taken in TCP: pick again.
            Err(_) if address.port() == 0 && tries < PORTS => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn serve_udp(socket: UdpSocket, state: Arc<State>) {
    let mut packet = vec![0; 65_535];
    loop {
        // An error belongs to an earlier answer whose asker is gone (ICMP): the socket is still good.
        let Ok((length, asker)) = socket.recv_from(&mut packet).await else { continue };
        if let Some(answer) = state.answer(&packet[..length], Transport::Udp) {
            let _ = socket.send_to(&answer, asker).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<State>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let state = Arc::clone(&state);
        connections.spawn(async move {
            // A peer that leaves in the middle ends its own connection and nothing else.
            let _ = serve_stream(stream, &state).await;
            drop(slot);
        });
    }
}

/// Questions and answers with their lengths before them (RFC 1035 §4.2.2).
async fn serve_stream(mut stream: TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let length = timeout(IDLE, stream.read_u16()).await??;
        let mut packet = vec![0; length.into()];
        timeout(IDLE, stream.read_exact(&mut packet)).await??;
        let Some(answer) = state.answer(&packet, Transport::Tcp) else { continue };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        timeout(IDLE, stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())).await??;
    }
}
