//! The resolvers that are asked, in order.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::base::Message;
use domain::base::iana::Rcode;
use domain::net::client::dgram_stream;
use domain::net::client::protocol::{TcpConnect, UdpConnect};
use domain::net::client::request::{Error, GetResponse, RequestMessage, SendRequest};

type Transport = dgram_stream::Connection<UdpConnect, RequestMessage<Vec<u8>>>;

/// A question.
pub(crate) type Request = RequestMessage<Vec<u8>>;

/// How long one resolver may take, its retries included, before the next one is asked.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one datagram may take.
const DATAGRAM_PATIENCE: Duration = Duration::from_secs(3);

/// Resolvers, asked in turn until one gives an answer that is neither silence nor SERVFAIL.
#[derive(Clone)]
pub(crate) struct Servers(Arc<[Server]>);

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    transport: Transport,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Every resolver stayed silent, was out of reach, or sent what is no DNS message.
    Silence,
    /// The last resolver that said anything could not find out.
    Code(Rcode),
}

impl Servers {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Servers {
        let connect = |address| Server { address, transport: transport_to(address) };
        Servers(addresses.into_iter().map(connect).collect())
    }

    /// Each of them alone.
    pub(crate) fn each(&self) -> impl Iterator<Item = (SocketAddr, Servers)> {
        self.0.iter().map(|server| (server.address, Servers([server.clone()].into())))
    }

    /// Those for which `keep` holds.
    pub(super) fn only(&self, keep: impl Fn(SocketAddr) -> bool) -> Servers {
        Servers(self.0.iter().filter(|server| keep(server.address)).cloned().collect())
    }

    /// The first answer of NOERROR or NXDOMAIN; others, and silence, are none.
    pub(crate) async fn ask(&self, request: Request) -> Result<Message<Bytes>, NoAnswer> {
        let mut none = NoAnswer::Silence;
        for server in self.0.iter() {
            let mut pending = server.transport.send_request(request.clone());
            match tokio::time::timeout(PATIENCE, pending.get_response()).await {
                Ok(Ok(message)) => match message.header().rcode() {
                    Rcode::NOERROR | Rcode::NXDOMAIN => return Ok(message),
                    code => none = NoAnswer::Code(code),
                },
                Ok(Err(reason)) => tracing::debug!(resolver = %server.address, %reason, "resolver failed"),
                Err(_) => tracing::debug!(resolver = %server.address, "resolver timed out"),
            }
        }
        Err(none)
    }
}

/// For the validator, which asks for keys on its own.
impl SendRequest<Request> for Servers {
    fn send_request(&self, request: Request) -> Box<dyn GetResponse + Send + Sync> {
        Box::new(Pending { servers: self.clone(), request })
    }
}

struct Pending {
    servers: Servers,
    request: Request,
}

impl GetResponse for Pending {
    fn get_response(&mut self) -> Pin<Box<dyn Future<Output = Result<Message<Bytes>, Error>> + Send + Sync + '_>> {
        Box::pin(async { self.servers.ask(self.request.clone()).await.map_err(|_| Error::NoTransportAvailable) })
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

fn transport_to(server: SocketAddr) -> Transport {
    let mut config = dgram_stream::Config::new();
    config.dgram_mut().set_read_timeout(DATAGRAM_PATIENCE);
    config.dgram_mut().set_max_retries(2);
    // Small enough to travel unfragmented (RFC 9715 §3.1); larger answers come by TCP.
    config.dgram_mut().set_udp_payload_size(Some(1232));
    let (connection, tcp) =
        dgram_stream::Connection::with_config(UdpConnect::new(server), TcpConnect::new(server), config);
    tokio::spawn(tcp.run());
    connection
}
