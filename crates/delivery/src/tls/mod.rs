//! TLS towards MX hosts: one handshake that verifies always and records what it found.

mod certificate;
mod dane;
mod failure;
mod https;
mod pin;
mod raw_key;
mod sessions;
mod verifier;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use policy::dane::TlsaSet;
use policy::rule::Pin;
use policy::tls::Authentication;
use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, DnsName, ServerName};
use smtp::{Domain, Reply};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::RouteHost;
use crate::connection::Stream;
use crate::report::STARTTLS_REFUSED;
pub use certificate::{Certificate, KeyType, ValidationLevel};
pub use dane::DaneVerdict;
pub use failure::Failure;
pub use pin::read_authorities;
pub use raw_key::KeyProof;
pub(crate) use sessions::Failed;
use sessions::Sessions;
use verifier::RecordingVerifier;
pub use verifier::Verification;

/// What a completed handshake showed.
#[derive(Debug, Clone)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite in the registry's words, such as `TLS_AES_128_GCM_SHA256`.
    pub cipher: String,
    /// The key exchange group, such as `X25519`.
    pub key_exchange: String,
    /// The name sent as SNI; `None` when the host is known by address alone.
    pub sni: Option<String>,
    /// The host's certificate; `None` when it cannot be read.
    pub certificate: Option<Certificate>,
    /// The recorded verdict, whatever was demanded.
    pub verification: Verification,
    /// The verdict of the host's TLSA records, when there are any that can be used.
    pub dane: Option<DaneVerdict>,
    /// The verdict of what the operator's rules pin, when they pin something here.
    pub pin: Option<Verification>,
    /// How the host proved that it holds the certificate's key.
    pub key_proof: KeyProof,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// How long the handshake took.
    pub duration: Duration,
}

impl TlsFacts {
    /// The verdict that counts where certificates are made valid by `authentication`; of two, the one that is bad. Where
    /// TLSA records or pins should do that and no handshake met them, there is none, which is not a good one.
    pub fn verdict(&self, authentication: Authentication) -> &Verification {
        let pkix = &self.verification;
        let dane = self.dane.as_ref().map_or(&*NO_DANE_VERDICT, |dane| &dane.verification);
        let pin = self.pin.as_ref().unwrap_or(&*NO_PIN_VERDICT);
        match authentication {
            Authentication::Pkix => pkix,
            Authentication::Dane => dane,
            Authentication::Pin => pin,
            Authentication::PkixAndPin => {
                if pkix.is_ok() {
                    pin
                } else {
                    pkix
                }
            }
            Authentication::DaneAndPin => {
                if dane.is_ok() {
                    pin
                } else {
                    dane
                }
            }
        }
    }
}

/// What a host's certificate is held against beside the trusted roots.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expected<'a> {
    pub(crate) tlsa: Option<&'a TlsaSet>,
    pub(crate) pins: &'a [Arc<Pin>],
}

impl Expected<'_> {
    pub(crate) fn is_nothing(self) -> bool {
        self.tlsa.is_none() && self.pins.is_empty()
    }
}

/// What stands for the verdict that nobody gave.
static NO_DANE_VERDICT: LazyLock<Verification> = LazyLock::new(|| Verification::Invalid {
    reason: "validation-failure",
    detail: "the certificate was not held against the TLSA records".to_owned(),
});

/// The same for pins.
static NO_PIN_VERDICT: LazyLock<Verification> = LazyLock::new(|| Verification::Invalid {
    reason: "validation-failure",
    detail: "the certificate was not held against what the operator's rule pins".to_owned(),
});

/// Why there is no encrypted session.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HandshakeError {
    /// The handshake was not finished in time.
    #[error("the TLS handshake did not finish within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// STARTTLS was answered 421: the host closes the connection (RFC 5321 §3.8), so nothing can follow on it.
    #[error("the host answered STARTTLS with {0}")]
    Closing(Reply),
    /// TLS failed, or the host closed the connection.
    #[error("the TLS handshake failed: {0}")]
    Failed(Failure),
    /// The connection broke when STARTTLS was said, before any handshake.
    #[error("STARTTLS was not answered: {0}")]
    NoReply(String),
    /// Bytes came between the `220` to STARTTLS and the handshake: possibly injected, so not a byte more is spoken.
    #[error("the host sent data between its answer to STARTTLS and the handshake")]
    InjectedData,
    /// The handshake was fine and the EHLO after it was not.
    #[error("EHLO failed after the TLS handshake: {0}")]
    EhloFailed(String),
    /// The host's name cannot be named in a handshake.
    #[error("'{0}' cannot be the name in a TLS handshake")]
    BadName(String),
}

impl HandshakeError {
    /// The error as one code.
    pub fn code(&self) -> &'static str {
        match self {
            HandshakeError::TimedOut(_) => "handshake-timeout",
            HandshakeError::Closing(_) => STARTTLS_REFUSED,
            HandshakeError::Failed(failure) => failure.code(),
            HandshakeError::NoReply(_) => "starttls-no-reply",
            HandshakeError::InjectedData => "starttls-injected-data",
            HandshakeError::EhloFailed(_) => "ehlo-after-starttls-failed",
            HandshakeError::BadName(_) => "handshake-bad-name",
        }
    }
}

/// Roots, algorithms and the handshake itself.
pub struct TlsEngine {
    provider: Arc<CryptoProvider>,
    verifiers: Verifiers,
    sessions: Sessions,
}

/// The verifier that gives the verdict, and one that knows the public roots alone.
#[derive(Debug, Clone)]
pub(crate) struct Verifiers {
    /// Public roots and the operator's.
    all: Arc<WebPkiServerVerifier>,
    /// Public roots: only chains to these carry a validation level that means something.
    public: Option<Arc<WebPkiServerVerifier>>,
}

/// Why no engine can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The roots file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: String,
    },
    /// The roots file has no certificate that can be a root.
    #[error("{0}: no certificate in this file can be used as a trust root")]
    NoRoots(String),
    /// A certificate in a file of authorities is none of an authority.
    #[error("{0}: certificate {1} of this file is not one of an authority; pin a host's own as a 'certificate'")]
    NoAuthority(String, usize),
    /// No root at all.
    #[error("no trust root could be loaded: {0}")]
    NoTrust(String),
}

/// Where the trusted roots come from.
pub struct Roots {
    public: RootCertStore,
    /// Whether the system had none, and these are the program's own.
    is_shipped: bool,
    extra: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// The system's roots, or Mozilla's as shipped with this program when the system has none.
    pub fn system() -> Roots {
        let mut public = RootCertStore::empty();
        let (added, _) = public.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            tracing::warn!("the system has no trusted roots: using the ones shipped with this program");
            public.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Roots { public, is_shipped: added == 0, extra: Vec::new() }
    }

    /// These public roots and no others.
    pub fn of(public: RootCertStore) -> Roots {
        Roots { public, is_shipped: false, extra: Vec::new() }
    }

    /// Trusts the certificates of a PEM file as well.
    ///
    /// # Errors
    /// When the file cannot be read or has none that can be a root.
    pub fn with_file(mut self, path: &Path) -> Result<Roots, TlsSetupError> {
        let certificates = read_certificates(path)?;
        let (added, _) = RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
        if added == 0 {
            return Err(TlsSetupError::NoRoots(path.display().to_string()));
        }
        self.extra.extend(certificates);
        Ok(self)
    }
}

impl fmt::Display for Roots {
    /// How many, and where they come from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin =
            if self.is_shipped { "shipped with this program, since the system has none" } else { "of the system" };
        write!(f, "{} {origin}", self.public.len())?;
        if self.extra.is_empty() { Ok(()) } else { write!(f, ", {} of trust_roots", self.extra.len()) }
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    certificates
        .map_err(|error| TlsSetupError::Unreadable { path: path.display().to_string(), error: error.to_string() })
}

impl TlsEngine {
    /// An engine that trusts `roots`.
    ///
    /// # Errors
    /// When there is no root at all.
    pub fn new(roots: Roots) -> Result<TlsEngine, TlsSetupError> {
        let provider = Arc::new(provider());
        let build = |store: RootCertStore| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build()
        };
        let mut all = roots.public.clone();
        all.add_parsable_certificates(roots.extra);
        let verifiers = Verifiers {
            all: build(all).map_err(|error| TlsSetupError::NoTrust(error.to_string()))?,
            public: build(roots.public).ok(),
        };
        Ok(TlsEngine { provider, verifiers, sessions: Sessions::new(sessions::LIFETIME) })
    }

    /// The same, with sessions resumed for at most `lifetime`, an hour at the utmost. Zero: none is resumed.
    #[must_use]
    pub fn with_session_lifetime(self, lifetime: Duration) -> TlsEngine {
        TlsEngine { sessions: Sessions::new(lifetime), ..self }
    }

    /// Shakes hands with `host`. Whatever its certificate, the handshake goes on; the verdict is in the facts, and
    /// beside it those of the host's TLSA records and of pins, if there are any. With the former SNI says their base
    /// domain (RFC 7672 §3.2.3).
    pub(crate) async fn handshake<S: Stream>(
        &self,
        stream: S,
        host: &RouteHost,
        expected: Expected<'_>,
        patience: Duration,
    ) -> Result<(TlsStream<S>, Arc<TlsFacts>), HandshakeError> {
        let host = server_name(host)?;
        let name = expected.tlsa.map_or_else(|| Ok(host.clone()), |tlsa| dns_name(&tlsa.base))?;
        let verifier = Arc::new(RecordingVerifier::new(self.verifiers.clone(), host, expected));
        let config = Arc::new(self.config(verifier.clone()));
        let (stream, facts) = self.shake_hands(config, &name, stream, &verifier, patience).await?;
        Ok((stream, Arc::new(facts)))
    }

    /// One handshake, recorded by `verifier`.
    async fn shake_hands<S: Stream>(
        &self,
        config: Arc<ClientConfig>,
        name: &ServerName<'static>,
        stream: S,
        verifier: &RecordingVerifier,
        patience: Duration,
    ) -> Result<(TlsStream<S>, TlsFacts), HandshakeError> {
        let connector = TlsConnector::from(config);
        let started = Instant::now();
        let stream = match tokio::time::timeout(patience, connector.connect(name.clone(), stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(HandshakeError::Failed(Failure::of(&error, verifier.saw_certificate()))),
            Err(_) => return Err(HandshakeError::TimedOut(patience)),
        };
        let facts = facts_of(&stream, name, verifier, started.elapsed());
        Ok((stream, facts))
    }

    /// A configuration for one handshake: no ticket outlives it. `sessions` keeps those that may be resumed.
    fn config(&self, verifier: Arc<dyn ServerCertVerifier>) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites for TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config
    }
}

/// The algorithms. X25519 comes first: its ClientHello fits one segment, which old hosts need; X25519MLKEM768 is
/// offered beside it, and a host that prefers it asks for it.
fn provider() -> CryptoProvider {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    CryptoProvider { kx_groups: vec![X25519, X25519MLKEM768, SECP256R1, SECP384R1], ..aws_lc_rs::default_provider() }
}

fn server_name(host: &RouteHost) -> Result<ServerName<'static>, HandshakeError> {
    match host {
        RouteHost::Name(name) => dns_name(name),
        RouteHost::Address(address) => Ok(ServerName::IpAddress((*address).into())),
    }
}

fn dns_name(name: &Domain) -> Result<ServerName<'static>, HandshakeError> {
    DnsName::try_from(name.as_str().to_owned())
        .map(ServerName::DnsName)
        .map_err(|_| HandshakeError::BadName(name.to_string()))
}

fn facts_of<S>(
    stream: &TlsStream<S>,
    name: &ServerName<'_>,
    verifier: &RecordingVerifier,
    duration: Duration,
) -> TlsFacts {
    let (_, session) = stream.get_ref();
    let suite = session.negotiated_cipher_suite();
    let verification = verifier.verdict();
    let level_counts = verifier.chains_to_public_root();
    TlsFacts {
        version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: suite.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown").replace("TLS13_", "TLS_"),
        key_exchange: session
            .negotiated_key_exchange_group()
            .map_or_else(|| "unknown".to_owned(), |group| format!("{:?}", group.name())),
        sni: match name {
            ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
            _ => None,
        },
        certificate: session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(|leaf| Certificate::read(leaf, level_counts)),
        verification,
        dane: verifier.dane(),
        pin: verifier.pin(),
        key_proof: verifier.key_proof(),
        resumed: false,
        duration,
    }
}
