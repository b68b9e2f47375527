//! TLS sessions that are resumed, each with the verdict of the handshake that made it (docs/decisions/0007).
//!
//! A resumed handshake shows no certificate, so it has no verdict of its own: it carries that of the full handshake, and
//! the facts of its certificate. Sessions are kept under the rule of the connections' pool: by address and host name, and
//! only those of a valid certificate. What an unverified handshake left is thrown away, so it can be resumed by nobody.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::{ClientConfig, DigitallySignedStruct, Error, NamedGroup, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use tokio_rustls::client::TlsStream;

use super::verifier::RecordingVerifier;
use super::{Expected, HandshakeError, TlsEngine, TlsFacts, server_name};
use crate::client::RouteHost;
use crate::connection::Stream;

/// Longest that a session is resumed; its certificate's own time may end it earlier.
pub(crate) const LIFETIME: Duration = Duration::from_secs(3600);
/// Most sources of sessions that are kept.
const KEPT: usize = 1000;
/// Most of them for one address of a host: as many handshakes can resume at the same time.
const KEPT_PER_HOST: usize = 8;
/// Most tickets kept of one source. Each is used once (RFC 8446 §C.4), and each handshake brings new ones.
const TICKETS: usize = 4;

/// Why a handshake failed, and whether that may be for the session that was offered.
pub(crate) struct Failed {
    pub(crate) error: HandshakeError,
    pub(crate) had_session: bool,
}

impl TlsEngine {
    /// As [`TlsEngine::handshake`] without TLSA records and pins, except that an earlier session is resumed where one is kept. The
    /// facts are then those of the handshake that made it, as far as they are about the host and its certificate.
    ///
    /// A host that failed on a session is offered none for a while.
    pub(crate) async fn handshake_or_resume<S: Stream>(
        &self,
        stream: S,
        host: &RouteHost,
        address: SocketAddr,
        patience: Duration,
    ) -> Result<(TlsStream<S>, Arc<TlsFacts>), Failed> {
        let never = |error| Failed { error, had_session: false };
        if !self.sessions.are_kept() {
            return self.handshake(stream, host, Expected::default(), patience).await.map_err(never);
        }
        let name = server_name(host).map_err(never)?;
        let recorder = Arc::new(RecordingVerifier::new(self.verifiers.clone(), name.clone(), Expected::default()));
        let key = Key { address, host: host.to_string() };
        let source = self.sessions.take(&key, &recorder);
        let source = source.unwrap_or_else(|| Source::new(recorder.clone(), |verifier| self.config(verifier)));
        let had_session = source.offers_session();
        let (stream, facts) = match self.shake_hands(source.config.clone(), &name, stream, &recorder, patience).await {
            Ok(done) => done,
            Err(error) => {
                if had_session {
                    self.sessions.shun(key);
                }
                return Err(Failed { error, had_session });
            }
        };
        if let Some(full) = source.resumed(&recorder).cloned() {
            self.sessions.put_back(key, source);
            return Ok((stream, Arc::new(carried_over(facts, &full))));
        }
        let facts = Arc::new(facts);
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        self.sessions.keep(key, source, &facts, not_after(chain));
        Ok((stream, facts))
    }
}

/// The facts of a resumed handshake: what it had no occasion to show was shown in the full one.
fn carried_over(resumed: TlsFacts, full: &TlsFacts) -> TlsFacts {
    TlsFacts {
        certificate: full.certificate.clone(),
        verification: full.verification.clone(),
        dane: full.dane.clone(),
        pin: full.pin.clone(),
        key_proof: full.key_proof,
        resumed: true,
        ..resumed
    }
}

/// What sessions are kept by: an address and the name that the certificate is valid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) address: SocketAddr,
    pub(super) host: String,
}

/// The sessions of one full handshake, and all that it said of the host. Whoever has it has it alone.
pub(super) struct Source {
    pub(super) config: Arc<ClientConfig>,
    tickets: Arc<Tickets>,
    verifier: Arc<Delegate>,
    /// Those of the full handshake, and until when they hold; `None` before it.
    full: Option<(Arc<TlsFacts>, SystemTime)>,
}

impl Source {
    /// A source before its full handshake. `configure` makes the configuration of a verifier.
    pub(super) fn new(
        recorder: Arc<RecordingVerifier>,
        configure: impl FnOnce(Arc<dyn ServerCertVerifier>) -> ClientConfig,
    ) -> Source {
        let verifier = Arc::new(Delegate(Mutex::new(recorder)));
        let tickets = Arc::new(Tickets::default());
        let mut config = configure(verifier.clone());
        config.resumption = Resumption::store(tickets.clone());
        Source { config: Arc::new(config), tickets, verifier, full: None }
    }

    /// Whether a handshake may come out resumed.
    pub(super) fn offers_session(&self) -> bool {
        self.full.is_some()
    }

    /// The facts of the full handshake whose session was resumed, when `recorder`, the verifier of the handshake that
    /// just ended, was never asked: it is asked in every full one.
    pub(super) fn resumed(&self, recorder: &RecordingVerifier) -> Option<&Arc<TlsFacts>> {
        self.full.as_ref().filter(|_| !recorder.saw_certificate()).map(|(facts, _)| facts)
    }

    /// The next handshake is recorded by `recorder`.
    fn record_by(&self, recorder: Arc<RecordingVerifier>) {
        *lock(&self.verifier.0) = recorder;
    }

    /// No ticket is taken or kept any more, also none that comes later on a connection that still stands.
    pub(super) fn close(self) {
        let mut tickets = lock(&self.tickets.0);
        tickets.is_closed = true;
        tickets.waiting.clear();
    }
}

/// The tickets of one full handshake, and of those that resumed it.
#[derive(Debug, Default)]
struct Tickets(Mutex<TicketState>);

#[derive(Debug, Default)]
struct TicketState {
    waiting: VecDeque<Tls13ClientSessionValue>,
    is_closed: bool,
}

/// TLS 1.3 alone: a resumed handshake of TLS 1.2 has no key exchange of its own, so whoever gets the host's ticket key
/// reads what was said before.
impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = lock(&self.0);
        if tickets.is_closed {
            return;
        }
        if tickets.waiting.len() >= TICKETS {
            tickets.waiting.pop_front();
        }
        tickets.waiting.push_back(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        lock(&self.0).waiting.pop_back()
    }
}

/// The engine resumes a session only under the verifier that it was made with, and each handshake has a verifier of its
/// own to record its verdict: this one stays, and asks that of the handshake that goes on.
#[derive(Debug)]
struct Delegate(Mutex<Arc<RecordingVerifier>>);

impl Delegate {
    fn recorder(&self) -> Arc<RecordingVerifier> {
        lock(&self.0).clone()
    }
}

impl ServerCertVerifier for Delegate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.recorder().verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.recorder().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.recorder().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.recorder().supported_verify_schemes()
    }
}

/// The sources that wait for a handshake with their host, oldest first.
pub(super) struct Sessions {
    /// Zero: no session is resumed.
    lifetime: Duration,
    kept: Mutex<VecDeque<Kept>>,
}

struct Kept {
    key: Key,
    until: SystemTime,
    /// `None` says that this host does not bear resumption.
    source: Option<Source>,
}

impl Sessions {
    pub(super) fn new(lifetime: Duration) -> Sessions {
        Sessions { lifetime: lifetime.min(LIFETIME), kept: Mutex::default() }
    }

    /// Whether sessions are resumed at all.
    pub(super) fn are_kept(&self) -> bool {
        !self.lifetime.is_zero()
    }

    /// A source with a session for this host; its next handshake is recorded by `recorder`.
    pub(super) fn take(&self, key: &Key, recorder: &Arc<RecordingVerifier>) -> Option<Source> {
        let now = SystemTime::now();
        let mut kept = lock(&self.kept);
        kept.retain(|kept| kept.until > now);
        let has_ticket = |kept: &Kept| {
            let tickets = |source: &Source| !lock(&source.tickets.0).waiting.is_empty();
            kept.key == *key && kept.source.as_ref().is_some_and(tickets)
        };
        let index = kept.iter().rposition(has_ticket)?;
        let source = kept.remove(index)?.source?;
        drop(kept);
        source.record_by(recorder.clone());
        Some(source)
    }

    /// Keeps a source after a full handshake with these facts, whose chain is in date until `not_after`. Only one of TLS
    /// 1.3 with a valid certificate is.
    pub(super) fn keep(&self, key: Key, mut source: Source, facts: &Arc<TlsFacts>, not_after: Option<SystemTime>) {
        let is_fit =
            facts.verification.is_ok() && facts.dane.is_none() && facts.pin.is_none() && facts.version == "TLSv1.3";
        let until = not_after.map(|end| end.min(SystemTime::now() + self.lifetime));
        match until.filter(|_| is_fit && !source.offers_session()) {
            Some(until) => {
                source.full = Some((facts.clone(), until));
                self.push(Kept { key, until, source: Some(source) });
            }
            None => source.close(),
        }
    }

    /// Puts a source back after a handshake that resumed it. What is left of its time does not change.
    pub(super) fn put_back(&self, key: Key, source: Source) {
        let Some((_, until)) = source.full else { return };
        self.push(Kept { key, until, source: Some(source) });
    }

    /// No session is offered to this host for a while: it failed on one.
    pub(super) fn shun(&self, key: Key) {
        lock(&self.kept).retain(|kept| kept.key != key);
        self.push(Kept { key, until: SystemTime::now() + self.lifetime, source: None });
    }

    fn push(&self, new: Kept) {
        let mut kept = lock(&self.kept);
        if kept.iter().any(|kept| kept.key == new.key && kept.source.is_none()) {
            return;
        }
        let is_of_host = |kept: &Kept| kept.key == new.key;
        if kept.iter().filter(|kept| is_of_host(kept)).count() >= KEPT_PER_HOST {
            let oldest = kept.iter().position(is_of_host);
            oldest.map(|index| kept.remove(index));
        } else if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(new);
    }
}

/// When the first certificate of a chain ends; `None` when one cannot be read.
pub(super) fn not_after(chain: &[CertificateDer<'_>]) -> Option<SystemTime> {
    let ends = chain.iter().map(|certificate| {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    });
    ends.min_by_key(|end| end.unwrap_or(SystemTime::UNIX_EPOCH)).flatten()
}

/// Nothing that holds such a lock can fail halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u16) -> Key {
        Key { address: SocketAddr::from(([192, 0, 2, 1], number)), host: "mx.d.test".to_owned() }
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let sessions = Sessions::new(LIFETIME);
        for number in 0..1200 {
            sessions.shun(key(number));
            sessions.shun(key(number));
        }
        let kept = lock(&sessions.kept);
        assert_eq!((kept.len(), &kept[0].key, &kept[KEPT - 1].key), (KEPT, &key(200), &key(1199)));
        drop(kept);
        assert_eq!(Sessions::new(10 * LIFETIME).lifetime, LIFETIME);
        assert!(!Sessions::new(Duration::ZERO).are_kept());
    }

    #[test]
    fn a_chain_ends_with_its_first_certificate() {
        let made = |year| {
            let mut parameters = rcgen::CertificateParams::new(["mx.d.test".to_owned()]).unwrap();
            parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
            parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        let year = |year: u64| SystemTime::UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_557_600);
        let end = not_after(&[made(2040), made(2030), made(2050)]).unwrap();
        assert!(year(2029) < end && end < year(2031));
        assert_eq!(not_after(&[made(2040), CertificateDer::from(&b"none"[..])]), None);
        assert_eq!(not_after(&[]), None);
    }
}
