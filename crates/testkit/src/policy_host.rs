//! An HTTPS server on loopback that serves MTA-STS policies (RFC 8461 §3.3), well and badly. It speaks HTTP/1.1 on its
//! own, as much of it as there is to serving one file.

use std::{
    collections::HashMap,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::ca::Identity;

/// Connections served at a time.
const CONNECTIONS: usize = 256;
/// Longest head of a request.
const HEAD: usize = 16 * 1024;
/// Longest connection.
const CONNECTION: Duration = Duration::from_secs(300);
/// Where policies are.
const PATH: &str = "/.well-known/mta-sts.txt";

/// A running policy host for any number of domains, told apart by SNI. It stops when it is dropped.
#[derive(Debug)]
pub struct PolicyHost {
    address: SocketAddr,
    sites: Arc<Sites>,
    listener: JoinHandle<()>,
}

/// What the host does for one domain.
#[derive(Clone, Debug)]
pub struct PolicySite {
    /// The certificate; the lab gives a good one where there is none.
    pub identity: Option<Identity>,
    /// How long it thinks before it answers.
    pub delay: Duration,
    /// What it answers.
    pub answer: PolicyAnswer,
}

/// An answer to a request for a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyAnswer {
    /// 200, `text/plain`, this policy.
    Policy(String),
    /// 200, another content type, this body.
    Typed(String, String),
    /// A status and a valid policy with it, which must not count.
    Status(u16, String),
    /// 301 to another path of the same host, where this policy is.
    Redirect(String),
    /// 200 and a policy that is followed by so many octets more; without `Content-Length`.
    Endless(String, usize),
    /// 200 and this policy, an octet every so often.
    Slow(String, Duration),
    /// These octets in place of an HTTP answer.
    Raw(String),
    /// Nothing.
    Silent,
}

impl PolicySite {
    /// A site that answers like this.
    pub fn new(answer: PolicyAnswer) -> PolicySite {
        PolicySite { identity: None, delay: Duration::ZERO, answer }
    }

    /// A site as it should be.
    pub fn good(policy: &str) -> PolicySite {
        PolicySite::new(PolicyAnswer::Policy(policy.to_owned()))
    }
}

/// A request that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRequest {
    /// The name in the handshake.
    pub sni: String,
    /// The first line, such as `GET /.well-known/mta-sts.txt HTTP/1.1`.
    pub line: String,
    /// The fields of the head.
    pub fields: Vec<String>,
}

#[derive(Default)]
struct Sites {
    by_name: Mutex<HashMap<String, (PolicySite, Arc<CertifiedKey>)>>,
    requests: Mutex<Vec<PolicyRequest>>,
}

impl fmt::Debug for Sites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sites").finish_non_exhaustive()
    }
}

impl PolicyHost {
    /// Listens at the address; port 0 picks one.
    pub async fn start(address: SocketAddr) -> io::Result<PolicyHost> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let sites = Arc::<Sites>::default();
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(BySni(Arc::clone(&sites))));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serving = tokio::spawn(serve(listener, acceptor, Arc::clone(&sites)));
        Ok(PolicyHost { address, sites, listener: serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, what is asked of this host name, such as `mta-sts.d.test`, is answered like this.
    pub fn set(&self, name: &str, site: PolicySite) -> io::Result<()> {
        let identity = site.identity.clone().ok_or_else(|| io::Error::other("a policy host needs a certificate"))?;
        let key = aws_lc_rs::default_provider()
            .key_provider
            .load_private_key(identity.key.clone_key())
            .map_err(io::Error::other)?;
        let certified = Arc::new(CertifiedKey::new(identity.chain, key));
        self.sites.by_name().insert(name.to_owned(), (site, certified));
        Ok(())
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<PolicyRequest> {
        self.sites.requests().clone()
    }

    /// How many requests were made of a host name.
    pub fn count(&self, name: &str) -> usize {
        self.sites.requests().iter().filter(|request| request.sni == name).count()
    }
}

impl Drop for PolicyHost {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Sites {
    fn by_name(&self) -> MutexGuard<'_, HashMap<String, (PolicySite, Arc<CertifiedKey>)>> {
        self.by_name.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn requests(&self) -> MutexGuard<'_, Vec<PolicyRequest>> {
        self.requests.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[derive(Debug)]
struct BySni(Arc<Sites>);

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.by_name().get(hello.server_name()?).map(|(_, certified)| Arc::clone(certified))
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, sites: Arc<Sites>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (acceptor, sites) = (acceptor.clone(), Arc::clone(&sites));
        connections.spawn(async move {
            // A client that leaves in the middle ends its own connection and nothing else.
            let _ = timeout(CONNECTION, serve_one(stream, &acceptor, &sites)).await;
            drop(slot);
        });
    }
}

async fn serve_one(stream: TcpStream, acceptor: &TlsAcceptor, sites: &Sites) -> io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let sni = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
    let head = read_head(&mut stream).await?;
    let mut lines = head.lines().map(str::to_owned);
    let line = lines.next().unwrap_or_default();
    sites.requests().push(PolicyRequest { sni: sni.clone(), line: line.clone(), fields: lines.collect() });
    let Some((site, _)) = sites.by_name().get(&sni).cloned() else { return Ok(()) };
    sleep(site.delay).await;
    let is_policy = line == format!("GET {PATH} HTTP/1.1");
    answer(&mut stream, site.answer, is_policy).await?;
    stream.shutdown().await
}

async fn read_head(stream: &mut TlsStream<TcpStream>) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD {
            return Err(io::Error::other("a head without an end"));
        }
        head.push(stream.read_u8().await?);
    }
    String::from_utf8(head).map_err(io::Error::other)
}

async fn answer(stream: &mut TlsStream<TcpStream>, answer: PolicyAnswer, is_policy: bool) -> io::Result<()> {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let text = match answer {
        PolicyAnswer::Redirect(policy) if !is_policy => response(200, PLAIN, &policy),
        _ if !is_policy => response(404, PLAIN, "not here"),
        PolicyAnswer::Policy(policy) => response(200, PLAIN, &policy),
        PolicyAnswer::Typed(content_type, body) => response(200, &content_type, &body),
        PolicyAnswer::Status(status, policy) => response(status, PLAIN, &policy),
        PolicyAnswer::Redirect(_) => {
            response(301, PLAIN, "").replacen("\r\n", "\r\nLocation: /elsewhere/mta-sts.txt\r\n", 1)
        }
        PolicyAnswer::Raw(octets) => octets,
        PolicyAnswer::Silent => {
            sleep(CONNECTION).await;
            return Ok(());
        }
        PolicyAnswer::Endless(policy, more) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {PLAIN}\r\nConnection: close\r\n\r\n{policy}");
            stream.write_all(head.as_bytes()).await?;
            let block = [b'\n'; 4096];
            for _ in 0..more.div_ceil(block.len()) {
                stream.write_all(&block).await?;
            }
            return Ok(());
        }
        PolicyAnswer::Slow(policy, pause) => {
            let whole = response(200, PLAIN, &policy);
            let (head, body) = whole.split_at(whole.len() - policy.len());
            stream.write_all(head.as_bytes()).await?;
            for octet in body.bytes() {
                stream.write_all(&[octet]).await?;
                stream.flush().await?;
                sleep(pause).await;
            }
            return Ok(());
        }
    };
    stream.write_all(text.as_bytes()).await
}

fn response(status: u16, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
