//! SMTP receivers on real sockets that behave as a test says and remember what they saw.

mod behaviour;
mod command;
mod content;
mod record;
mod session;
mod tls;
mod transaction;
mod wire;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, RwLock},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

pub use behaviour::{Answer, Auth, Behaviour, Breakage, Stage, Tls};
use record::{Log, Recorder};
pub use record::{Received, Seen, Session, TlsSeen};
use session::Setup;
pub use tls::INJECTED;

/// Connections that one receiver serves at a time; further ones wait.
const CONNECTIONS: usize = 512;

/// A running SMTP receiver. Clones are the same receiver; it stops, with all its connections, when the last is dropped.
#[derive(Clone, Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    addresses: Vec<SocketAddr>,
    log: Arc<Log>,
    setup: Arc<RwLock<Arc<Setup>>>,
    listeners: Vec<JoinHandle<()>>,
}

impl Receiver {
    /// Listens at the address (port 0 picks one) and behaves as told.
    pub async fn start(address: SocketAddr, behaviour: Behaviour) -> io::Result<Receiver> {
        Receiver::start_on(&[address], behaviour).await
    }

    /// One receiver on several addresses, such as an IPv4 and an IPv6 one.
    pub async fn start_on(addresses: &[SocketAddr], behaviour: Behaviour) -> io::Result<Receiver> {
        let setup = Arc::new(RwLock::new(Arc::new(Setup::new(behaviour)?)));
        let log = Log::new();
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut shared = Shared { addresses: Vec::new(), log, setup, listeners: Vec::new() };
        for address in addresses {
            let listener = TcpListener::bind(address).await?;
            shared.addresses.push(listener.local_addr()?);
            let (log, setup, slots) = (Arc::clone(&shared.log), Arc::clone(&shared.setup), Arc::clone(&slots));
            shared.listeners.push(tokio::spawn(listen(listener, log, setup, slots)));
        }
        Ok(Receiver { shared: Arc::new(shared) })
    }

    /// The address, the first of them when there are several.
    pub fn address(&self) -> SocketAddr {
        self.shared.addresses[0]
    }

    /// All addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.shared.addresses
    }

    /// Behaves differently from the next connection on. Host name and certificate stay, unless the behaviour has its
    /// own.
    pub fn behave(&self, mut behaviour: Behaviour) -> io::Result<()> {
        let now = self.behaviour();
        behaviour.host_name = behaviour.host_name.or(now.host_name);
        behaviour.identity = behaviour.identity.or(now.identity);
        let setup = Arc::new(Setup::new(behaviour)?);
        *self.shared.setup.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = setup;
        Ok(())
    }

    /// How it behaves now.
    pub fn behaviour(&self) -> Behaviour {
        current(&self.shared.setup).behaviour.clone()
    }

    /// Every connection so far, in the order of their coming.
    pub fn sessions(&self) -> Vec<Session> {
        self.shared.log.read(<[Session]>::to_vec)
    }

    /// The most connections that were open at the same time.
    pub fn most_at_once(&self) -> usize {
        self.shared.log.most_at_once()
    }

    /// The messages that were accepted, in all sessions.
    pub fn messages(&self) -> Vec<Received> {
        let accepted = |session: &Session| session.messages.clone().into_iter().filter(Received::accepted);
        self.shared.log.read(|sessions| sessions.iter().flat_map(accepted).collect())
    }

    /// The breaches of the protocol, in all sessions.
    pub fn violations(&self) -> Vec<String> {
        self.shared.log.read(|sessions| sessions.iter().flat_map(|session| session.violations.clone()).collect())
    }

    /// Waits until so many messages were accepted, then gives all of them; whoever waits in vain gets what came.
    pub async fn wait_for_messages(&self, count: usize, limit: Duration) -> Vec<Received> {
        let accepted = |session: &Session| session.messages.iter().filter(|message| message.accepted()).count();
        self.shared.log.wait(limit, |sessions| sessions.iter().map(accepted).sum::<usize>() >= count).await;
        self.messages()
    }

    /// Waits until so many connections are over, then gives all sessions; whoever waits in vain gets what came.
    pub async fn wait_for_sessions(&self, count: usize, limit: Duration) -> Vec<Session> {
        let ended = |sessions: &[Session]| sessions.iter().filter(|session| session.ended).count() >= count;
        self.shared.log.wait(limit, ended).await;
        self.sessions()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.listeners.iter().for_each(JoinHandle::abort);
    }
}

fn current(setup: &RwLock<Arc<Setup>>) -> Arc<Setup> {
    Arc::clone(&setup.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Accepts until aborted; the connections are children of this task and end with it.
async fn listen(listener: TcpListener, log: Arc<Log>, setup: Arc<RwLock<Arc<Setup>>>, slots: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let Ok((stream, recorder)) = accept(&listener, &log).await else {
            // Out of descriptors, or a peer that left already: neither is a reason to stop.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let setup = current(&setup);
        connections.spawn(async move {
            session::converse(stream, recorder, setup).await;
            drop(slot);
        });
    }
}

async fn accept(listener: &TcpListener, log: &Arc<Log>) -> io::Result<(TcpStream, Recorder)> {
    let (stream, peer) = listener.accept().await?;
    // Replies are small and the client waits for each: Nagle's algorithm would add 40 ms to every one.
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok((stream, log.open(peer, local)))
}
