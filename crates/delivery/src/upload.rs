//! Handing over a report by HTTPS (RFC 8460 §5.4): one POST, no redirects, bounds on everything.
//!
//! A report tells of broken certificates, so the certificate of the one who takes it is not looked at (RFC 8460 §3).
//! That its key is held is proved all the same. What is in a report is no secret to whoever can redirect the connection:
//! it is about that same connection. Where it goes is guarded as deliveries are: public addresses only.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use ipnet::IpNet;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::time::timeout;

use crate::resolve::Dns;
use crate::web::{Place, Web, WebError as UploadError, for_good, for_now};

/// How long one address may take for TCP and TLS, before the next one is tried.
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Hands reports over.
pub struct Uploader {
    web: Web,
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
        Uploader { web: Web::with(dns, tls, deliver_to_private, "deliver_to_private", CONNECT_PATIENCE) }
    }

    /// POSTs `body` to an `https` URL.
    ///
    /// # Errors
    /// When it was not answered with a status of success.
    pub async fn post(&self, url: &str, content_type: &'static str, body: Bytes) -> Result<(), UploadError> {
        let place = place(url)?;
        let exchange = async { self.web.connect(&place).await?.post(&place, content_type, body).await };
        let status = timeout(PATIENCE, exchange).await.map_err(|_| for_now("no answer in time"))??;
        let words = format!("answered {}", status.as_u16());
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(for_now(words)),
            status if status.is_redirection() => Err(for_good(words + ", and redirects are not followed")),
            status if status.is_client_error() => Err(for_good(words)),
            _ => Err(for_now(words)),
        }
    }
}

/// RFC 8460 §3 knows `https` only.
fn place(url: &str) -> Result<Place, UploadError> {
    match Place::of(url)? {
        place if !place.is_encrypted() => Err(for_good("the URL is not one of https")),
        place if place.has_credentials() => Err(for_good("the URL has credentials in it")),
        place => Ok(place),
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
    fn a_report_goes_by_https_only() {
        assert!(place("https://r.y.example:8443/v1/x?a=b").is_ok());
        for url in ["http://y.example/", "/x", "https://", "https://me:pw@y.example/", "https://a..b/"] {
            assert!(place(url).is_err_and(|error| error.permanent), "{url}");
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
