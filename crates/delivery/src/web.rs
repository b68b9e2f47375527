//! Requests to places that others name: only to addresses that may be reached, no redirects, no proxies, bounds on
//! everything.
//!
//! A name is resolved once, its addresses are checked, and exactly those are connected to; so it cannot lead to one place
//! when it is checked and to another when it is used.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::http::uri::Scheme;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use policy::mx::may_reach;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use smtp::Domain;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::own::is_our_own;
use crate::resolve::Dns;
use crate::tls::TlsEngine;

/// Largest head of an answer, in octets.
const HEAD_OCTETS: usize = 16 * 1024;
/// Most fields in the head of an answer.
const HEAD_FIELDS: usize = 100;
/// Largest body of an answer that is read, only to be thrown away; after a larger one the connection ends.
const BODY_OCTETS: usize = 64 * 1024;
/// Largest body of an answer that is kept.
const ANSWER_OCTETS: usize = 1024 * 1024;
/// How long the body of an answer may take; after a slower one the connection ends too.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// Reaches web servers. Clones share what they know.
#[derive(Clone)]
pub struct Web {
    dns: Dns,
    tls: Arc<ClientConfig>,
    allowed: Vec<IpNet>,
    /// The key that allows addresses, for those who are told that one is not reached.
    allowed_by: &'static str,
    connect_patience: Duration,
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct WebError {
    /// In words, without anything of the URL but its host.
    pub words: String,
    /// Whether another try would end the same way.
    pub permanent: bool,
}

pub(crate) fn for_now(words: impl fmt::Display) -> WebError {
    WebError { words: words.to_string(), permanent: false }
}

pub(crate) fn for_good(words: impl fmt::Display) -> WebError {
    WebError { words: words.to_string(), permanent: true }
}

/// What a URL says about where to go. Its credentials are never shown.
#[derive(Clone)]
pub struct Place {
    encrypted: bool,
    host: Host,
    port: u16,
    authority: String,
    path: String,
    /// `Authorization`, for a URL with a name and a password in it.
    credentials: Option<String>,
}

#[derive(Clone)]
enum Host {
    Name(Domain),
    Address(IpAddr),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

impl fmt::Display for Place {
    /// The host and the port; paths and credentials may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

impl Place {
    /// The place of an `http` or `https` URL.
    ///
    /// # Errors
    /// What is wrong with it, for good.
    pub fn of(url: &str) -> Result<Place, WebError> {
        // The parser of hyper lets a fragment go unseen; nothing of it would be sent.
        let uri: Uri = url.parse().map_err(|_| for_good("the URL cannot be read"))?;
        let encrypted = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(for_good("the URL is not one of http or https")),
        };
        let authority = uri.authority().ok_or_else(|| for_good("the URL names no host"))?;
        let (credentials, authority_shown) = match authority.as_str().rsplit_once('@') {
            Some((credentials, rest)) => (Some(basic(credentials)), rest),
            None => (None, authority.as_str()),
        };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = match name.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(name.parse().map_err(|_| for_good("the URL names no host"))?),
        };
        // A port that is no port would pass for none.
        let port = match authority.port_u16() {
            None if authority_shown != authority.host() => return Err(for_good("the URL's port cannot be read")),
            None if encrypted => 443,
            None => 80,
            Some(port) => port,
        };
        Ok(Place {
            encrypted,
            host,
            port,
            authority: authority_shown.to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            credentials,
        })
    }

    /// Whether it is reached by TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether the URL has a name or a password in it.
    pub fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }
}

/// RFC 7617 §2.
fn basic(credentials: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(credentials).collect();
    let colon: &[u8] = if credentials.contains(':') { b"" } else { b":" };
    format!("Basic {}", STANDARD.encode([&decoded, colon].concat()))
}

/// A connection to a place, to an address that was checked.
pub struct Line {
    sender: SendRequest<Full<Bytes>>,
    /// Ends with the line, however that ends.
    _running: JoinSet<()>,
}

impl Web {
    /// Reaches public addresses, and those in `allowed`, which `allowed_by` configures; over TLS only servers whose
    /// certificate is valid by the roots of `tls`. One address may take `connect_patience` for TCP and TLS, before the
    /// next one is tried.
    pub fn new(
        dns: Dns,
        tls: &TlsEngine,
        allowed: Vec<IpNet>,
        allowed_by: &'static str,
        connect_patience: Duration,
    ) -> Web {
        Web::with(dns, tls.https(), allowed, allowed_by, connect_patience)
    }

    pub(crate) fn with(
        dns: Dns,
        tls: ClientConfig,
        allowed: Vec<IpNet>,
        allowed_by: &'static str,
        connect_patience: Duration,
    ) -> Web {
        Web { dns, tls: Arc::new(tls), allowed, allowed_by, connect_patience }
    }

    /// A connection to the place, at the first of its addresses that answers. Whoever calls limits the time of it all.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn connect(&self, place: &Place) -> Result<Line, WebError> {
        let mut failure = for_now("the host has no address");
        for ip in self.addresses(&place.host).await? {
            match timeout(self.connect_patience, self.open(place, SocketAddr::new(ip, place.port))).await {
                Ok(Ok(line)) => return Ok(line),
                Ok(Err(error)) => failure = WebError { words: format!("[{ip}]: {}", error.words), ..error },
                Err(_) => failure = for_now(format_args!("[{ip}]: no answer in time")),
            }
        }
        Err(failure)
    }

    async fn open(&self, place: &Place, address: SocketAddr) -> Result<Line, WebError> {
        let stream = TcpStream::connect(address).await.map_err(for_now)?;
        // A request is whole when it is written: waiting for more of it only delays it.
        let _ = stream.set_nodelay(true);
        if !place.encrypted {
            return Line::over(stream).await;
        }
        let name = match &place.host {
            Host::Name(name) => ServerName::try_from(name.as_str().to_owned()).map_err(for_good)?,
            Host::Address(address) => ServerName::IpAddress((*address).into()),
        };
        Line::over(TlsConnector::from(self.tls.clone()).connect(name, stream).await.map_err(for_now)?).await
    }

    /// Sends a request to where its URI leads, on a connection of its own, and gives the whole answer; redirects are
    /// answers too. Whoever calls limits the time of it all.
    ///
    /// # Errors
    /// When there was no answer, or one larger than 1 MiB.
    pub async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, WebError> {
        let (mut head, body) = request.into_parts();
        let place = Place::of(&head.uri.to_string())?;
        head.uri = place.path.parse().map_err(for_good)?;
        head.headers.insert(HOST, place.authority.parse().map_err(for_good)?);
        let mut line = self.connect(&place).await?;
        let answer = line.sender.send_request(Request::from_parts(head, Full::new(body))).await.map_err(for_now)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_OCTETS).collect().await.map_err(for_now)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// The addresses that will be connected to, and no others: the name is not resolved a second time.
    async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, WebError> {
        let mut found = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.dns.addresses(name).await.map_err(for_now)?,
        };
        let first = found.first().copied();
        found.retain(|address| may_reach(*address, is_our_own(*address), &self.allowed).is_ok());
        match first {
            Some(first) if found.is_empty() => {
                Err(for_now(format_args!("[{first}] is not a public address (see {})", self.allowed_by)))
            }
            _ => Ok(found),
        }
    }
}

impl Line {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Line, WebError> {
        let (sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(HEAD_OCTETS)
            .max_headers(HEAD_FIELDS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(for_now)?;
        let mut running = JoinSet::new();
        running.spawn(async move {
            // How a connection ends is told by the request on it.
            let _ = connection.await;
        });
        Ok(Line { sender, _running: running })
    }

    /// POSTs `body` to the place that this line leads to, and gives the status of the answer; redirects are answers too.
    ///
    /// # Errors
    /// When there was no answer.
    pub async fn post(
        &mut self,
        place: &Place,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<StatusCode, WebError> {
        let mut request = Request::post(&place.path)
            .header(HOST, &place.authority)
            .header(USER_AGENT, concat!("waxwing/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, content_type);
        if let Some(credentials) = &place.credentials {
            request = request.header(AUTHORIZATION, credentials);
        }
        let request = request.body(Full::new(body)).map_err(for_good)?;
        let answer =
            self.sender.send_request(request).await.map_err(|error| for_now(format_args!("no answer: {error}")))?;
        let status = answer.status();
        // Read to its end, so that the line can serve again; one that goes on for too long ends it.
        let _ = timeout(BODY_PATIENCE, Limited::new(answer.into_body(), BODY_OCTETS).collect()).await;
        Ok(status)
    }

    /// Waits until it can take another request, and says whether it ever will.
    pub async fn is_ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_what_a_url_says() {
        let place = Place::of("https://r.y.example:8443/v1/x?a=b").unwrap();
        assert_eq!(
            (place.port, place.authority.as_str(), place.path.as_str()),
            (8443, "r.y.example:8443", "/v1/x?a=b")
        );
        assert!(matches!(Place::of("https://r.y.example").unwrap(), Place { host: Host::Name(_), port: 443, .. }));
        assert!(matches!(Place::of("http://r.y.example").unwrap(), Place { encrypted: false, port: 80, .. }));
        assert!(matches!(Place::of("https://[::1]/").unwrap().host, Host::Address(address) if address.is_loopback()));
        for url in ["ftp://y.example/", "/x", "https://", "https://a..b/", "mailto:a@b", "https://y.example:99999/"] {
            assert!(Place::of(url).is_err_and(|error| error.permanent), "{url}");
        }
    }

    #[test]
    fn credentials_go_into_their_own_field_and_are_not_shown() {
        let place = Place::of("https://me:s%40crd@y.example/hook/tok").unwrap();
        assert_eq!(place.credentials.as_deref(), Some("Basic bWU6c0BjcmQ="));
        assert_eq!((place.to_string().as_str(), place.port), ("y.example", 443));
        assert_eq!(format!("{place:?}"), "Place(y.example)");
        assert_eq!(Place::of("https://me@y.example").unwrap().credentials.as_deref(), Some("Basic bWU6"));
    }
}
