//! DNSSEC: how far an answer can be trusted.
//!
//! Three ways, one of which the operator chooses ([`Dnssec`]): signatures are validated here, whatever resolver passes
//! them on; or the AD bit of a resolver is believed; or DNSSEC is not used. Neither of the first two is taken for
//! granted: a self-test asks the resolver before the first answer is judged, and a resolver that strips signatures or
//! does not validate makes it [`DnssecStatus::Off`], with the reason. Were it not so, every signed domain would look
//! forged behind such a resolver.
//!
//! While DNSSEC is off, the self-test is repeated now and then. Once validation here is on it stays on: an answer
//! without its signatures is then a failed lookup, not a reason to believe less.

mod anchors;
mod answers;
mod self_test;
pub(crate) mod servers;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use domain::base::iana::{Class, Rcode};
use domain::base::{Message, MessageBuilder, Name, Rtype, Ttl};
use domain::dnssec::validator::context::{Config, ValidationContext, ValidationState};
use domain::net::client::request::{ComposeRequest, RequestMessage};
use domain::rdata::A;
use policy::dane::Security;
use tokio::time::Instant;

pub use anchors::{AnchorError, Anchors};
use answers::Answers;
use servers::{NoAnswer, Request, Servers};

type Validator = ValidationContext<Servers>;

/// How answers are to be secured.
#[derive(Debug, Clone, Default)]
pub enum Dnssec {
    /// Not at all.
    #[default]
    Off,
    /// By the resolver, which says so with its AD bit. Only a resolver on this machine, or at the end of a path that
    /// nobody else can write on, should be believed.
    TrustAd(AdTest),
    /// Here, down from these trust anchors.
    Validate(Anchors),
}

/// The names that tell whether a resolver validates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdTest {
    /// A signed name that has an SOA record; the answer must have the AD bit.
    pub signed: String,
    /// A name whose address is signed wrongly; a resolver that gives it does not validate. One that cannot reach it
    /// passes.
    pub bogus: Option<String>,
}

impl Default for AdTest {
    /// The root, and the name that was set up for such tests.
    fn default() -> Self {
        AdTest { signed: ".".to_owned(), bogus: Some("dnssec-failed.org".to_owned()) }
    }
}

/// Where answers are secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Signatures are validated here.
    Validate,
    /// The resolver's AD bit is believed.
    TrustAd,
}

/// Whether DNSSEC, and with it DANE, works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnssecStatus {
    /// It does.
    On(Mode),
    /// It does not.
    Off {
        /// Why, in words.
        because: String,
    },
}

impl fmt::Display for DnssecStatus {
    /// The same words wherever it is told: log, `waxwing check`, `waxwing doctor`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DnssecStatus::On(Mode::Validate) => f.write_str("validating"),
            DnssecStatus::On(Mode::TrustAd) => f.write_str("trust-ad passed the self-test"),
            DnssecStatus::Off { because } => write!(f, "off, because {because}"),
        }
    }
}

/// What the self-test found, and what to do until it is repeated.
pub(crate) struct Established {
    status: DnssecStatus,
    /// The resolvers to ask: those that passed.
    servers: Servers,
    validator: Option<Validator>,
    tested: Instant,
}

/// Resolvers whose answers come with their security.
pub(crate) struct Secured {
    all: Servers,
    dnssec: Dnssec,
    known: RwLock<Option<Arc<Established>>>,
    testing: tokio::sync::Mutex<()>,
    answers: Answers,
}

/// An answer and how far it can be trusted: never [`Security::Bogus`].
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) message: Message<Bytes>,
    pub(crate) security: Security,
}

/// Why there is no answer to build on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoneSecured {
    /// The resolvers gave none.
    None(NoAnswer),
    /// They gave one, and its signatures do not hold.
    Bogus(String),
}

/// While DNSSEC is off: how long until the resolvers get another chance.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// While the AD bit is believed: how long until the resolver must prove itself again.
const PROVE_AGAIN: Duration = Duration::from_secs(3600);
/// Delegations whose keys the validator remembers.
const DELEGATIONS: u64 = 10_000;
/// Signatures that the validator remembers to have checked.
const SIGNATURES: u64 = 20_000;

impl Secured {
    pub(crate) fn new(servers: Servers, dnssec: Dnssec) -> Secured {
        Secured {
            all: servers,
            dnssec,
            known: RwLock::default(),
            testing: tokio::sync::Mutex::default(),
            answers: Answers::default(),
        }
    }

    /// Whether DNSSEC works; the first call, and now and then a later one, asks the resolvers.
    pub(crate) async fn status(&self) -> DnssecStatus {
        self.established().await.status.clone()
    }

    /// The resolvers that were configured.
    pub(crate) fn resolvers(&self) -> Vec<SocketAddr> {
        self.all.each().map(|(address, _)| address).collect()
    }

    /// The same as [`Secured::ask`], where an answer that was had before and still holds will do.
    pub(crate) async fn recall(&self, name: &Name<Vec<u8>>, rtype: Rtype) -> Result<Answer, NoneSecured> {
        // First, since it drops what is not to be believed any more.
        self.established().await;
        // Boxed where it is needed, so that it takes no room in every delivery.
        self.answers.kept_or(name, rtype, || Box::pin(self.ask(name, rtype))).await
    }

    /// Asks, and judges the answer.
    pub(crate) async fn ask(&self, name: &Name<Vec<u8>>, rtype: Rtype) -> Result<Answer, NoneSecured> {
        let established = self.established().await;
        match (&established.status, &established.validator) {
            (DnssecStatus::Off { .. }, _) => {
                let message = established.servers.ask(request(name, rtype)?).await?;
                Ok(Answer { message, security: Security::Indeterminate })
            }
            (DnssecStatus::On(_), Some(validator)) => {
                ask_and_validate(validator, &established.servers, name, rtype).await
            }
            (DnssecStatus::On(_), None) => ask_for_ad(&established.servers, name, rtype).await,
        }
    }

    async fn established(&self) -> Arc<Established> {
        match self.known() {
            Some(known) if !known.is_old() => known,
            known => Box::pin(self.establish(known)).await,
        }
    }

    /// By the self-test, of what is not known yet or not any more.
    async fn establish(&self, known: Option<Arc<Established>>) -> Arc<Established> {
        let (known, _testing) = match known {
            // Old is better than waiting for whoever is testing already.
            Some(known) => match self.testing.try_lock() {
                Ok(testing) => (Some(known), testing),
                Err(_) => return known,
            },
            None => {
                let testing = self.testing.lock().await;
                match self.known() {
                    Some(known) => return known,
                    None => (None, testing),
                }
            }
        };
        let found = Arc::new(self_test::run(&self.all, &self.dnssec, known.as_deref()).await);
        if known.as_ref().is_none_or(|known| known.status != found.status) {
            match &found.status {
                status @ DnssecStatus::On(_) => tracing::info!("DNSSEC: {status}"),
                status @ DnssecStatus::Off { .. } => tracing::warn!("DNSSEC, and DANE with it: {status}"),
            }
        }
        let has_changed = known.is_some_and(|known| known.status != found.status);
        *self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(found.clone());
        if has_changed {
            // What was judged by another measure.
            self.answers.forget();
        }
        found
    }

    fn known(&self) -> Option<Arc<Established>> {
        self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Established {
    fn off(servers: Servers, because: String) -> Established {
        Established { status: DnssecStatus::Off { because }, servers, validator: None, tested: Instant::now() }
    }

    fn is_old(&self) -> bool {
        match self.status {
            DnssecStatus::On(Mode::Validate) => false,
            DnssecStatus::On(Mode::TrustAd) => self.tested.elapsed() > PROVE_AGAIN,
            DnssecStatus::Off { .. } => self.tested.elapsed() > TRY_AGAIN,
        }
    }
}

impl From<NoAnswer> for NoneSecured {
    fn from(none: NoAnswer) -> Self {
        NoneSecured::None(none)
    }
}

fn validator(anchors: &Anchors, servers: Servers) -> Validator {
    let mut config = Config::new();
    config.set_max_node_cache(DELEGATIONS);
    config.set_max_isig_cache(SIGNATURES);
    config.set_max_usig_cache(SIGNATURES);
    ValidationContext::with_config(anchors.for_validator(), servers, config)
}

/// Asks for the answer as it is, signatures and all, and validates it.
async fn ask_and_validate(
    validator: &Validator,
    servers: &Servers,
    name: &Name<Vec<u8>>,
    rtype: Rtype,
) -> Result<Answer, NoneSecured> {
    let mut request = request(name, rtype)?;
    request.set_dnssec_ok(true);
    // A resolver that validates too would keep a bogus answer to itself, and its reason with it.
    request.header_mut().set_cd(true);
    let mut message = servers.ask(request).await?;
    match validate(validator, &mut message).await {
        Ok(security) => Ok(Answer { message, security }),
        // The validator takes a denial without an SOA for bogus wherever it comes from. Hosts that leave it out are
        // common, and where nothing is signed nothing is missing (RFC 2308 §2.1).
        Err(why) => match is_bare_denial(&message) && is_unsigned(validator, name).await {
            true => Ok(Answer { message, security: Security::Insecure }),
            false => Err(NoneSecured::Bogus(why)),
        },
    }
}

/// The answer's security, or why it is bogus.
async fn validate(validator: &Validator, message: &mut Message<Bytes>) -> Result<Security, String> {
    let (state, reason) = match validator.validate_msg::<Bytes, Vec<u8>>(message).await {
        Ok(found) => found,
        Err(error) => return Err(error.to_string()),
    };
    match state {
        ValidationState::Secure => Ok(Security::Secure),
        ValidationState::Insecure => Ok(Security::Insecure),
        ValidationState::Indeterminate => Ok(Security::Indeterminate),
        ValidationState::Bogus => {
            let words = reason.as_ref().and_then(|reason| reason.text_slice());
            Err(words.map_or("the signatures do not hold".into(), String::from_utf8_lossy).into_owned())
        }
    }
}

/// Whether a message says "nothing" and not even who says so.
fn is_bare_denial(message: &Message<Bytes>) -> bool {
    let counts = message.header_counts();
    counts.ancount() == 0 && counts.nscount() == 0
}

/// Whether the zone of a name is provably unsigned: the validator is shown an unsigned record of that name.
async fn is_unsigned(validator: &Validator, name: &Name<Vec<u8>>) -> bool {
    let made_up = || {
        let mut message = MessageBuilder::new_vec().question();
        message.push((name, Rtype::A, Class::IN)).ok()?;
        let mut message = message.answer();
        message.push((name, Class::IN, Ttl::ZERO, A::from_octets(192, 0, 2, 1))).ok()?;
        Message::from_octets(Bytes::from(message.finish())).ok()
    };
    match made_up() {
        Some(mut message) => validate(validator, &mut message).await == Ok(Security::Insecure),
        None => false,
    }
}

/// Asks a resolver that validates, and believes it.
async fn ask_for_ad(servers: &Servers, name: &Name<Vec<u8>>, rtype: Rtype) -> Result<Answer, NoneSecured> {
    let mut wanted = request(name, rtype)?;
    // "Tell me whether it is authentic" (RFC 6840 §5.7).
    wanted.header_mut().set_ad(true);
    match servers.ask(wanted).await {
        Ok(message) => {
            let security = if message.header().ad() { Security::Secure } else { Security::Insecure };
            Ok(Answer { message, security })
        }
        // The same code stands for "bogus" and for "not found out": without the check there is an answer to the first.
        Err(none @ NoAnswer::Code(Rcode::SERVFAIL)) => {
            let mut unchecked = request(name, rtype)?;
            unchecked.header_mut().set_cd(true);
            match servers.ask(unchecked).await {
                Ok(_) => Err(NoneSecured::Bogus("the resolver found that the signatures do not hold".to_owned())),
                Err(_) => Err(none.into()),
            }
        }
        Err(none) => Err(none.into()),
    }
}

fn request(name: &Name<Vec<u8>>, rtype: Rtype) -> Result<Request, NoneSecured> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_rd(true);
    let mut message = message.question();
    message.push((name, rtype, Class::IN)).map_err(|_| NoAnswer::Silence)?;
    RequestMessage::new(message).map_err(|_| NoAnswer::Silence.into())
}
