//! Fetching a policy by HTTPS (RFC 8461 §3.3): one GET, no redirects, no proxies, no caches, bounds on everything.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use policy::mta_sts::{FILE_OCTETS, InvalidPolicy, Policy};
use policy::mx::may_reach;
use rustls_pki_types::{DnsName, ServerName};
use smtp::Domain;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{MtaSts, STS_POLICY_FETCH_ERROR, STS_POLICY_INVALID, STS_WEBPKI_INVALID};
use crate::own::is_our_own;

/// The one place of a policy (RFC 8461 §3.2).
const PATH: &str = "/.well-known/mta-sts.txt";
/// How long one address of the policy host may take to answer, before the next one is tried.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Largest head of an answer, in octets.
const HEAD_OCTETS: usize = 16 * 1024;
/// Most fields in the head of an answer.
const HEAD_FIELDS: usize = 100;

/// Why there is no policy to be had.
#[derive(Debug)]
pub(super) struct Failure {
    /// A result type of RFC 8460 §4.3.2.2.
    pub(super) reason: &'static str,
    /// In words.
    pub(super) detail: String,
}

fn failed(detail: impl Into<String>) -> Failure {
    Failure { reason: STS_POLICY_FETCH_ERROR, detail: detail.into() }
}

/// Fetches the policy of `domain` from `mta-sts.<domain>`, all within the time for a fetch.
pub(super) async fn fetch(sts: &MtaSts, domain: &Domain) -> Result<Policy, Failure> {
    let patience = sts.options.fetch_timeout;
    let host: Domain =
        format!("mta-sts.{domain}").parse().map_err(|_| failed("the name of the policy host would be too long"))?;
    let fetched = timeout(patience, get(sts, &host)).await;
    let file = fetched.map_err(|_| failed(format!("{host} took longer than {} seconds", patience.as_secs())))??;
    Policy::parse(&file)
        .map_err(|error| Failure { reason: STS_POLICY_INVALID, detail: format!("the policy at {host}: {error}") })
}

async fn get(sts: &MtaSts, host: &Domain) -> Result<Bytes, Failure> {
    let stream = connect(sts, host).await?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_OCTETS)
        .max_headers(HEAD_FIELDS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| not_http(host, &error))?;
    // Ends with this function, however it ends.
    let mut running = JoinSet::new();
    running.spawn(connection);
    let response = sender.send_request(request(sts, host)?).await.map_err(|error| not_http(host, &error))?;
    check(host, &response)?;
    match Limited::new(response.into_body(), FILE_OCTETS).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let detail = format!("the policy at {host}: {}", InvalidPolicy::TooLarge);
            Err(Failure { reason: STS_POLICY_INVALID, detail })
        }
        Err(error) => Err(failed(format!("the answer of {host} broke off: {error}"))),
    }
}

fn not_http(host: &Domain, error: &hyper::Error) -> Failure {
    failed(format!("no answer in HTTP from {host}: {error}"))
}

fn request(sts: &MtaSts, host: &Domain) -> Result<Request<Empty<Bytes>>, Failure> {
    let authority = match sts.options.https_port {
        443 => host.to_string(),
        port => format!("{host}:{port}"),
    };
    Request::get(PATH)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("waxwing/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "text/plain")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| failed(format!("{host} cannot be asked: {error}")))
}

/// 200 and text/plain, nothing else (RFC 8461 §3.3, §3.2). The media type guards domains whose web server lets users
/// place files of their own.
fn check(host: &Domain, response: &Response<Incoming>) -> Result<(), Failure> {
    match response.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => {
            return Err(failed(format!("{host} answered {} and redirects are not followed", status.as_u16())));
        }
        status => return Err(failed(format!("{host} answered {}", status.as_u16()))),
    }
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("text/plain") {
        let shown: String = media_type.chars().take(80).collect();
        return Err(failed(format!("{host} sent '{shown}' where text/plain was expected")));
    }
    Ok(())
}

/// TLS with a host whose certificate is valid, at the first of its addresses that answers.
async fn connect(sts: &MtaSts, host: &Domain) -> Result<TlsStream<TcpStream>, Failure> {
    let name = DnsName::try_from(host.as_str().to_owned()).map_err(|_| failed(format!("{host} is no name for TLS")))?;
    let connector = TlsConnector::from(sts.tls.clone());
    let mut failure = failed(format!("{host} has no address"));
    for address in addresses(sts, host).await? {
        let connecting = async {
            let stream =
                TcpStream::connect(address).await.map_err(|error| failed(unreachable(host, address, error)))?;
            let shaken = connector.connect(ServerName::DnsName(name.clone()), stream).await;
            shaken.map_err(|error| not_trusted(host, address, &error))
        };
        match timeout(CONNECT_PATIENCE, connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = failed(unreachable(host, address, "no answer in time")),
        }
    }
    Err(failure)
}

fn unreachable(host: &Domain, address: SocketAddr, why: impl std::fmt::Display) -> String {
    format!("{host} [{}]: {why}", address.ip())
}

fn not_trusted(host: &Domain, address: SocketAddr, error: &std::io::Error) -> Failure {
    let tls_error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let reason = match tls_error {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => STS_WEBPKI_INVALID,
        _ => STS_POLICY_FETCH_ERROR,
    };
    Failure { reason, detail: unreachable(host, address, error) }
}

/// The addresses that will be connected to, and no others: the name is not resolved a second time, so that it cannot
/// lead to one place when it is checked and to another when it is used.
async fn addresses(sts: &MtaSts, host: &Domain) -> Result<Vec<SocketAddr>, Failure> {
    let found = sts.dns.addresses(host).await.map_err(|error| failed(error.to_string()))?;
    let may =
        |address: &std::net::IpAddr| may_reach(*address, is_our_own(*address), &sts.options.deliver_to_private).is_ok();
    let allowed: Vec<_> = found.iter().filter(|address| may(address)).collect();
    match (found.as_slice(), allowed.as_slice()) {
        ([first, ..], []) => Err(failed(format!("{host} [{first}] is not a public address (see deliver_to_private)"))),
        _ => Ok(allowed.into_iter().map(|ip| SocketAddr::new(*ip, sts.options.https_port)).collect()),
    }
}
