//! Handing over a report by HTTPS (RFC 8460 §5.4): one POST, no redirects, bounds on everything.
//!
//! A report tells of broken certificates, so the certificate of the one who takes it is not looked at (RFC 8460 §3).
//! That its key is held is proved all the same. What is in a report is no secret to whoever can redirect the connection:
//! it is about that same connection. Where it goes is guarded as deliveries are: public addresses only.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::http::uri::Scheme;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use policy::mx::may_reach;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use smtp::Domain;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::is_our_own;
use crate::resolve::Dns;

/// How long one address may take for TCP and TLS, before the next one is tried.
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Largest head of an answer, in octets. Its body is not read.
const HEAD_OCTETS: usize = 16 * 1024;
/// Most fields in the head of an answer.
const HEAD_FIELDS: usize = 100;

/// Hands reports over.
pub struct Uploader {
    dns: Dns,
    tls: Arc<ClientConfig>,
    deliver_to_private: Vec<IpNet>,
}

/// Why a report was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct UploadError {
    /// In words.
    pub words: String,
    /// Whether another try would end the same way.
    pub permanent: bool,
}

fn for_now(words: impl fmt::Display) -> UploadError {
    UploadError { words: words.to_string(), permanent: false }
}

fn for_good(words: impl fmt::Display) -> UploadError {
    UploadError { words: words.to_string(), permanent: true }
}

/// What a URL says about where to go.
struct Place {
    host: Host,
    port: u16,
    authority: String,
    path: String,
}

enum Host {
    Name(Domain),
    Address(IpAddr),
}

impl Uploader {
    /// Reaches public addresses, and those in `deliver_to_private`.
    pub fn new(dns: Dns, deliver_to_private: Vec<IpNet>) -> Uploader {
        let provider = aws_lc_rs::default_provider();
        let verifier = Unverified(provider.signature_verification_algorithms);
        let mut tls = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites for TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Uploader { dns, tls: Arc::new(tls), deliver_to_private }
    }

    /// POSTs `body` to an `https` URL.
    ///
    /// # Errors
    /// When it was not answered with a status of success.
    pub async fn post(&self, url: &str, content_type: &'static str, body: Bytes) -> Result<(), UploadError> {
        let place = Place::of(url)?;
        let posted = timeout(PATIENCE, self.exchange(&place, content_type, body)).await;
        let status = posted.map_err(|_| for_now("no answer in time"))??;
        let words = format!("answered {}", status.as_u16());
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(for_now(words)),
            status if status.is_redirection() => Err(for_good(words + ", and redirects are not followed")),
            status if status.is_client_error() => Err(for_good(words)),
            _ => Err(for_now(words)),
        }
    }

    async fn exchange(&self, place: &Place, content_type: &str, body: Bytes) -> Result<StatusCode, UploadError> {
        let request = Request::post(&place.path)
            .header(HOST, &place.authority)
            .header(USER_AGENT, concat!("waxwing/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, content_type)
            .header(CONNECTION, "close")
            .body(Full::new(body))
            .map_err(for_good)?;
        let stream = self.connect(place).await?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(HEAD_OCTETS)
            .max_headers(HEAD_FIELDS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(for_now)?;
        // Ends with this function, however it ends.
        let mut running = JoinSet::new();
        running.spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| for_now(format_args!("no answer: {error}")))?;
        Ok(answer.status())
    }

    /// TLS at the first address that answers.
    async fn connect(&self, place: &Place) -> Result<TlsStream<TcpStream>, UploadError> {
        let name = match &place.host {
            Host::Name(name) => ServerName::try_from(name.as_str().to_owned()).map_err(for_good)?,
            Host::Address(address) => ServerName::IpAddress((*address).into()),
        };
        let connector = TlsConnector::from(self.tls.clone());
        let mut failure = for_now("the host has no address");
        for ip in self.addresses(&place.host).await? {
            let connecting = async {
                let stream = TcpStream::connect(SocketAddr::new(ip, place.port)).await?;
                connector.connect(name.clone(), stream).await
            };
            match timeout(CONNECT_PATIENCE, connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = for_now(format_args!("[{ip}]: {error}")),
                Err(_) => failure = for_now(format_args!("[{ip}]: no answer in time")),
            }
        }
        Err(failure)
    }

    /// The addresses that will be connected to, and no others: the name is not resolved a second time.
    async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, UploadError> {
        let mut found = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.dns.addresses(name).await.map_err(for_now)?,
        };
        let first = found.first().copied();
        found.retain(|address| may_reach(*address, is_our_own(*address), &self.deliver_to_private).is_ok());
        match first {
            Some(first) if found.is_empty() => {
                Err(for_now(format_args!("[{first}] is not a public address (see deliver_to_private)")))
            }
            _ => Ok(found),
        }
    }
}

impl Place {
    fn of(url: &str) -> Result<Place, UploadError> {
        let uri: Uri = url.parse().map_err(|_| for_good("the URL cannot be read"))?;
        let authority = uri.authority().filter(|_| uri.scheme() == Some(&Scheme::HTTPS));
        let authority = authority.ok_or_else(|| for_good("the URL is not one of https"))?;
        // A name and password in it would end up in Host.
        if authority.as_str().contains('@') {
            return Err(for_good("the URL has credentials in it"));
        }
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = match name.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(name.parse().map_err(|_| for_good("the URL names no host"))?),
        };
        Ok(Place {
            host,
            port: authority.port_u16().unwrap_or(443),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

/// Looks at no certificate, and checks that its key is held.
#[derive(Debug)]
struct Unverified(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_https_url() {
        let place = Place::of("https://r.y.example:8443/v1/x?a=b").unwrap();
        assert_eq!(
            (place.port, place.authority.as_str(), place.path.as_str()),
            (8443, "r.y.example:8443", "/v1/x?a=b")
        );
        assert!(matches!(Place::of("https://r.y.example").unwrap(), Place { host: Host::Name(_), port: 443, .. }));
        assert!(matches!(Place::of("https://[::1]/").unwrap().host, Host::Address(address) if address.is_loopback()));
        for url in ["http://y.example/", "/x", "https://", "https://me:pw@y.example/", "https://a..b/", "mailto:a@b"] {
            assert!(Place::of(url).is_err_and(|error| error.permanent), "{url}");
        }
    }

    #[tokio::test]
    async fn only_public_addresses_are_reached() {
        let uploader = Uploader::new(Dns::new(Some("127.0.0.1:1".parse().unwrap())), Vec::new());
        for url in ["https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://169.254.169.254/latest"] {
            let error = uploader.post(url, "text/plain", Bytes::new()).await.unwrap_err();
            assert!(error.words.contains("not a public address"), "{url}: {error}");
        }
    }
}
