//! What an attempt tells: per recipient how it ended and how the message travelled, and every step on the way.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use policy::backoff::Contact;
use policy::dane::Dane;
use policy::disposition::{Stage, turns_us_away};
use policy::rule::{Matched, Ruling};
use policy::tls::{
    Demander, Effective, Fallback, Minimum, Observed, Overridden, Resolved, Source, TlsTag, WhenLeft, insists_on,
};
use serde::Serialize;
use smtp::{EnhancedCode, Reply};

use crate::connection::NoReply;
use crate::mta_sts::{Found, StsEvidence};
use crate::receipt::Receipt;
use crate::tls::{HandshakeError, TlsFacts};

/// How the bytes of a message went to a host. What cannot be true cannot be written: plaintext has no certificate,
/// and only a delivery that depended on a valid certificate is `Verified`.
#[derive(Debug, Clone)]
pub enum Channel {
    /// Without TLS, and why.
    Plaintext(PlaintextReason),
    /// Within TLS; the certificate's verdict was recorded, and nothing depended on it.
    Encrypted(Arc<TlsFacts>),
    /// Within TLS, and the certificate had to be valid and was.
    Verified(Arc<TlsFacts>),
}

/// Why a message travelled in plaintext.
#[derive(Debug, Clone)]
pub enum PlaintextReason {
    /// The host did not offer STARTTLS.
    NotOffered,
    /// The host refused STARTTLS.
    Refused(Reply),
    /// The handshake failed on an earlier connection to the same address.
    HandshakeFailed(HandshakeError),
    /// The certificate on an earlier connection to the same address was not valid.
    CertificateInvalid(Arc<TlsFacts>),
}

impl Channel {
    /// Whether the message travelled within TLS: `tls` in the log.
    pub fn tls(&self) -> bool {
        match self {
            Channel::Plaintext(_) => false,
            Channel::Encrypted(_) | Channel::Verified(_) => true,
        }
    }

    /// Whether the certificate was verified and the delivery depended on that: `certificate-verified` in the log.
    pub fn certificate_verified(&self) -> bool {
        match self {
            Channel::Plaintext(_) | Channel::Encrypted(_) => false,
            Channel::Verified(_) => true,
        }
    }

    /// One code that says why the message travelled in plaintext; `None` when it did not.
    pub fn fallback(&self) -> Option<&'static str> {
        match self {
            Channel::Plaintext(reason) => Some(reason.code()),
            Channel::Encrypted(_) | Channel::Verified(_) => None,
        }
    }
}

impl PlaintextReason {
    /// The reason as one code: a result type of RFC 8460 §4.3 where one fits, our own word otherwise.
    pub fn code(&self) -> &'static str {
        match self {
            PlaintextReason::NotOffered => STARTTLS_NOT_SUPPORTED,
            PlaintextReason::Refused(_) => STARTTLS_REFUSED,
            PlaintextReason::HandshakeFailed(error) => error.code(),
            PlaintextReason::CertificateInvalid(facts) => facts.verification.code(),
        }
    }

    /// The facts of the handshake that was given up, when there was one.
    pub fn facts(&self) -> Option<&TlsFacts> {
        match self {
            PlaintextReason::CertificateInvalid(facts) => Some(facts),
            PlaintextReason::NotOffered | PlaintextReason::Refused(_) | PlaintextReason::HandshakeFailed(_) => None,
        }
    }
}

/// RFC 8460 §4.3.1: the host does not offer STARTTLS.
pub const STARTTLS_NOT_SUPPORTED: &str = "starttls-not-supported";
/// The host offers STARTTLS and answers it 4yz or 5yz.
pub const STARTTLS_REFUSED: &str = "starttls-refused";

/// Why a recipient was not delivered, this time or for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was met.
    pub stage: Stage,
    /// The host's reply code, or the code that RFC 5321 would have us report.
    pub code: u16,
    /// The host's enhanced code, or ours (RFC 3463).
    pub enhanced_code: Option<EnhancedCode>,
    /// The host's words, or ours.
    pub message: String,
    /// One code for machines, such as `certificate-expired`; `None` when the host's reply says it all.
    pub reason: Option<&'static str>,
    /// Whether `code` and `message` are the host's own words.
    pub from_host: bool,
}

impl Problem {
    /// A problem that we found, not the host.
    pub(crate) fn ours(
        stage: Stage,
        (code, enhanced): (u16, EnhancedCode),
        reason: &'static str,
        message: String,
    ) -> Problem {
        Problem { stage, code, enhanced_code: Some(enhanced), message, reason: Some(reason), from_host: false }
    }

    /// The host's reply. One that names no failure, such as 250 for a greeting, is told in our words: a delivery that
    /// failed with code 250 would be read as one that did not.
    pub(crate) fn replied(stage: Stage, reply: &Reply) -> Problem {
        if !reply.is_transient() && !reply.is_permanent() {
            let words = format!("an answer that does not fit: {reply}");
            return Problem::ours(stage, (451, EnhancedCode::new(4, 5, 0)), "unexpected-reply", words);
        }
        Problem {
            stage,
            code: reply.code(),
            enhanced_code: reply.enhanced_code(),
            message: reply.text(),
            reason: None,
            from_host: true,
        }
    }

    /// No reply could be had.
    pub(crate) fn no_reply(stage: Stage, error: &NoReply, host: &str, address: IpAddr) -> Problem {
        if matches!(error, NoReply::NotRecordedYet) {
            // Ours, and no word about the host.
            return Problem::ours(stage, (451, EnhancedCode::new(4, 3, 0)), "not-recorded", error.to_string());
        }
        let (code, reason) = match stage {
            Stage::Connect => ((451, EnhancedCode::new(4, 4, 1)), "connection-failed"),
            _ => ((421, EnhancedCode::new(4, 4, 2)), "connection-lost"),
        };
        Problem::ours(stage, code, reason, format!("{host} [{address}]: {error}"))
    }

    /// Whether the host says that it has too much to do or that we come too often.
    pub(crate) fn turns_us_away(&self) -> bool {
        self.from_host && turns_us_away(self.code, self.enhanced_code, &self.message)
    }

    /// The same, for good: 451 4.7.5 becomes 554 5.7.5.
    pub(crate) fn made_permanent(self) -> Problem {
        let enhanced_code = self.enhanced_code.map(|code| EnhancedCode { class: 5, ..code });
        Problem { code: 554, enhanced_code, ..self }
    }

    /// How much a problem tells the sender: of several in one attempt the most telling is reported.
    pub(crate) fn weight(&self) -> u8 {
        match self.stage {
            Stage::Lookup => 0,
            Stage::Connect => 1,
            Stage::Greeting | Stage::Ehlo => 2,
            Stage::Starttls | Stage::Auth => 3,
            Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Content => 4,
        }
    }
}

/// How an attempt ended for one recipient.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The host took responsibility, in these words.
    Delivered(Reply),
    /// Not this time.
    Deferred(Problem),
    /// Never.
    Failed(Problem),
}

/// The connection that decided a recipient's outcome.
#[derive(Debug, Clone)]
pub struct ConnectionReport {
    /// The MX host's name, or the route's host.
    pub mx_host: String,
    /// The address connected to.
    pub peer_ip: IpAddr,
    /// Our end.
    pub sending_ip: IpAddr,
    /// How the message travelled; `None` when nothing of it left, since the host was left or failed before.
    pub channel: Option<Channel>,
    /// What the host showed when TLS was tried; `None` when it never came to that.
    pub observed: Option<Observed>,
    /// The last handshake with this host, also when it was given up.
    pub handshake: Option<Arc<TlsFacts>>,
    /// Whether the host offers SMTPUTF8.
    pub smtputf8: bool,
    /// Whether the host offers DSN, and so heard what is to be told of the message (RFC 3461).
    pub dsn: bool,
    /// What was demanded of this host, and by whom.
    pub effective: Effective,
    /// What DANE means for it.
    pub dane: Arc<Dane>,
    /// The operator's rules that apply there.
    pub rules: Arc<Ruling>,
    /// Whether an earlier delivery made the connection: the handshake, its certificate and its verdict are from then.
    pub reused: bool,
}

impl ConnectionReport {
    /// Whether the message travelled within TLS; `false` when nothing of it left.
    pub fn tls(&self) -> bool {
        self.channel.as_ref().is_some_and(Channel::tls)
    }

    /// Whether the delivery depended on a valid certificate; `false` when nothing of the message left.
    pub fn certificate_verified(&self) -> bool {
        self.channel.as_ref().is_some_and(Channel::certificate_verified)
    }
}

/// One host and address that was tried, and how it ended.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// The host's name.
    pub host: String,
    /// The address; absent when none was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// What happened, as one code: `delivered`, `left`, `plaintext-retry`, `replied`, `connection-failed` …
    pub result: &'static str,
    /// The reason as one code, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// In words.
    pub detail: String,
}

/// One recipient's part of the report.
#[derive(Debug, Clone)]
pub struct RecipientReport {
    /// How it ended.
    pub outcome: Outcome,
    /// The connection that decided it; `None` when none was made.
    pub connection: Option<Arc<ConnectionReport>>,
}

/// Everything that an attempt has to tell.
#[derive(Debug)]
pub struct Report {
    /// One for each recipient of the job, in its order.
    pub recipients: Vec<RecipientReport>,
    /// Each host and address tried, in order.
    pub steps: Vec<Step>,
    /// What the sender asked for.
    pub sender: Resolved,
    /// Each new session, as it stood when TLS had been tried: what reports about TLS count (RFC 8460).
    pub observed: Vec<ConnectionReport>,
    /// The destination's MTA-STS policy.
    pub published: Found,
    /// What became of the hosts, whatever they said of the recipients.
    pub contact: Contact,
    /// What DANE means for the first host that was looked up.
    pub dane: Option<Arc<Dane>>,
    /// From the first lookup to the end.
    pub session: Duration,
    /// Where a host took the message: to be settled once the outcome is recorded. Only then does the connection carry
    /// another.
    pub receipt: Option<Receipt>,
}

impl Report {
    /// The evidence for recipient `index` in the words of `docs/tls.md`: `tls-details` of the log.
    pub fn evidence(&self, index: usize) -> Evidence<'_> {
        let connection = self.recipients[index].connection.as_deref();
        let channel = connection.and_then(|c| c.channel.as_ref());
        let carried = match channel {
            Some(Channel::Encrypted(facts) | Channel::Verified(facts)) => Some(facts),
            Some(Channel::Plaintext(_)) | None => None,
        };
        let handshake = connection.and_then(|c| c.handshake.as_deref());
        Evidence {
            policy: PolicyEvidence::new(self.sender, connection),
            version: carried.map(|facts| facts.version),
            cipher: carried.map(|facts| facts.cipher.as_str()),
            key_exchange: carried.map(|facts| facts.key_exchange.as_str()),
            sni: handshake.and_then(|facts| facts.sni.as_deref()),
            peer_ip: connection.map(|c| c.peer_ip),
            certificate: handshake.and_then(|facts| facts.certificate.as_ref()),
            verification: handshake.map(|facts| facts.verification.code()),
            verification_detail: handshake.and_then(|facts| facts.verification.detail()),
            key_proof: handshake.map(|facts| facts.key_proof),
            resumed: carried.map(|facts| facts.resumed),
            reused: connection.is_some_and(|c| c.reused),
            handshake_ms: handshake.map(|facts| u64::try_from(facts.duration.as_millis()).unwrap_or(u64::MAX)),
            observed: connection.and_then(|c| c.observed).map(Observed::as_str),
            dane: match (connection, self.dane.as_deref()) {
                (Some(connection), _) => Some(DaneEvidence::new(&connection.dane, handshake)),
                // Off for one host is off for all.
                (None, Some(off @ Dane::Off { .. })) => Some(DaneEvidence::new(off, None)),
                (None, _) => None,
            },
            pin: handshake.and_then(PinEvidence::new),
            mta_sts: self.published.evidence(),
            fallback: channel.and_then(Channel::fallback),
            steps: &self.steps,
        }
    }
}

/// `tls-details`: the evidence of one recipient's attempt. A field that has no value is absent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evidence<'a> {
    policy: PolicyEvidence<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_exchange: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<&'a crate::tls::Certificate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_proof: Option<crate::tls::KeyProof>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed: Option<bool>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dane: Option<DaneEvidence<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<PinEvidence<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mta_sts: Option<StsEvidence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<&'static str>,
    steps: &'a [Step],
}

/// What DANE means for the host, and what became of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DaneEvidence<'a> {
    /// `usable`, `tlsa-invalid` (no record is usable), why it does not apply, or `off`.
    state: &'static str,
    /// Why it is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'a str>,
    /// Where the records are.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<&'a str>,
    /// `ok`, or why no record matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict_detail: Option<&'a str>,
    /// The numbers of the record that matched, such as `3 1 1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
}

impl<'a> DaneEvidence<'a> {
    /// Of a host with which the handshake was made, if one was.
    pub fn new(dane: &'a Dane, handshake: Option<&'a TlsFacts>) -> DaneEvidence<'a> {
        let base = match dane {
            Dane::Usable(set) => Some(set.base.as_str()),
            Dane::Unusable { base, .. } => Some(base.as_str()),
            Dane::Off { .. } | Dane::DoesNotApply { .. } | Dane::LookupFailed { .. } => None,
        };
        let because = match dane {
            Dane::Off { because } => Some(because.as_str()),
            _ => None,
        };
        let verdict = handshake.and_then(|facts| facts.dane.as_ref());
        DaneEvidence {
            state: dane.code(),
            because,
            base,
            verdict: verdict.map(|verdict| verdict.verification.code()),
            verdict_detail: verdict.and_then(|verdict| verdict.verification.detail()),
            record: verdict.and_then(|verdict| verdict.matched.clone()),
        }
    }
}

/// Whether the certificate is what the operator's rules pin. Absent where they pin none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct PinEvidence<'a> {
    /// `ok`, or why not.
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict_detail: Option<&'a str>,
}

impl<'a> PinEvidence<'a> {
    fn new(handshake: &'a TlsFacts) -> Option<PinEvidence<'a>> {
        let verdict = handshake.pin.as_ref()?;
        Some(PinEvidence { verdict: verdict.code(), verdict_detail: verdict.detail() })
    }
}

/// What was demanded, and who demanded it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct PolicyEvidence<'a> {
    require_tls: bool,
    skip_verification: bool,
    require_tls_from: Source,
    skip_verification_from: Source,
    #[serde(skip_serializing_if = "is_default")]
    tls_fallback: Fallback,
    #[serde(skip_serializing_if = "is_default")]
    tls_failure: WhenLeft,
    /// What the message says by RFC 8689.
    #[serde(skip_serializing_if = "is_default")]
    tls_tag: TlsTag,
    /// What was insisted on at the host, where somebody insisted on more than the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    raised_to: Option<Minimum>,
    /// Who insisted on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    demanded_by: Vec<Demander>,
    /// Whose demand `TLS-Required: No` lifted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lifted: Vec<Demander>,
    /// Which of the sender's settings did not have their way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overridden: Vec<Overridden>,
    /// The operator's rules that apply.
    #[serde(skip_serializing_if = "<[Matched]>::is_empty")]
    rules: &'a [Matched],
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl<'a> PolicyEvidence<'a> {
    fn new(sender: Resolved, connection: Option<&'a ConnectionReport>) -> PolicyEvidence<'a> {
        let effective = connection.map(|connection| &connection.effective);
        let raised = effective.filter(|effective| effective.is_raised(sender.policy));
        PolicyEvidence {
            require_tls: sender.policy.require_tls(),
            skip_verification: sender.policy.skip_verification(),
            require_tls_from: sender.require_tls_from,
            skip_verification_from: sender.skip_verification_from,
            tls_fallback: sender.fallback,
            tls_failure: sender.when_left,
            tls_tag: sender.tag,
            raised_to: raised.map(|effective| insists_on(effective.policy)),
            demanded_by: raised.map(|effective| effective.demanded_by.clone()).unwrap_or_default(),
            lifted: effective.map(|effective| effective.lifted.clone()).unwrap_or_default(),
            overridden: effective.map(|effective| effective.overridden.clone()).unwrap_or_default(),
            rules: connection.map(|connection| connection.rules.matched.as_slice()).unwrap_or_default(),
        }
    }
}
