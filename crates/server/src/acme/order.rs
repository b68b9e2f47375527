//! One try to get a certificate (RFC 8555 §7.4): account, order, challenges, request, certificate.

use std::time::Duration;

use delivery::web::Web;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use store::Timestamp;

use super::Settings;
use super::challenge::Answers;
use super::client::Http;
use super::files::{self, Files};
use crate::smtpd::facts::Facts;

/// How long the authority may take to look at the answers, and to issue.
const POLL: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).timeout(Duration::from_secs(180));
/// How long what the authority suggests about renewal is believed at least (RFC 9773 §4.3.3), and at most.
const SUGGESTION: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(24 * 3600)];
/// How long nothing is asked after an authority that suggests nothing.
const NO_SUGGESTION: Duration = Duration::from_secs(6 * 3600);
/// Longest words of an authority that are passed on.
const WORDS: usize = 500;

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) words: String,
    /// How long the authority wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl Failed {
    pub(super) fn of(words: impl ToString) -> Failed {
        let words = words.to_string().chars().take(WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect();
        Failed { words, retry_after: None }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::of(error)
    }
}

/// Gets certificates.
pub(super) struct Orders {
    settings: Settings,
    http: Http,
    files: Files,
    answers: Answers,
    suggestion: Option<Suggestion>,
}

/// What the authority suggested about a certificate.
struct Suggestion {
    of: CertificateDer<'static>,
    window: Option<(Timestamp, Timestamp)>,
    until: Timestamp,
}

impl Orders {
    pub(super) fn new(settings: Settings, web: Web, files: Files, answers: Answers) -> Orders {
        Orders { settings, http: Http::new(web), files, answers, suggestion: None }
    }

    /// A certificate, kept in its file, in the place of `replaced`.
    pub(super) async fn obtain(&mut self, replaced: Option<&CertificateDer<'static>>) -> Result<Facts, Failed> {
        self.http.take_retry_after();
        let obtained = self.order(replaced).await;
        self.answers.clear();
        obtained.map_err(|failed| Failed { retry_after: self.http.take_retry_after(), ..failed })
    }

    /// When the authority suggests to renew a certificate, if it suggests anything. Asked no more often than it wants.
    pub(super) async fn suggested_window(
        &mut self,
        leaf: &CertificateDer<'static>,
        now: Timestamp,
    ) -> Option<(Timestamp, Timestamp)> {
        if let Some(known) = self.suggestion.as_ref().filter(|known| known.of == *leaf && known.until > now) {
            return known.window;
        }
        let (window, believed) = match self.ask_window(leaf).await {
            Ok((window, again)) => (Some(window), again.clamp(SUGGESTION[0], SUGGESTION[1])),
            Err(error) => {
                tracing::debug!(%error, "the authority suggests no time for the renewal");
                (None, NO_SUGGESTION)
            }
        };
        self.suggestion = Some(Suggestion { of: leaf.clone(), window, until: now + believed });
        window
    }

    async fn ask_window(&self, leaf: &CertificateDer<'static>) -> Result<((Timestamp, Timestamp), Duration), Error> {
        let id = CertificateIdentifier::try_from(leaf).map_err(|error| Error::Other(error.into()))?;
        let stored = self.files.account(&self.settings.directory).map_err(|error| Error::Other(error.into()))?;
        let stored = stored.ok_or(Error::Str("no account"))?;
        let account =
            Account::builder_with_http(Box::new(self.http.clone())).from_credentials(stored.credentials).await?;
        let (info, again) = account.renewal_info(&id).await?;
        let time = |seconds| Timestamp::from_secs(seconds);
        let window = info.suggested_window;
        Ok(((time(window.start.unix_timestamp()), time(window.end.unix_timestamp())), again))
    }

    async fn order(&self, replaced: Option<&CertificateDer<'static>>) -> Result<Facts, Failed> {
        let account = self.account().await?;
        let names: Vec<_> = self.settings.names.iter().map(|name| Identifier::Dns(name.as_str().to_owned())).collect();
        let mut order = match self.new_order(&account, &names, replaced).await {
            Err(Error::Api(problem)) if is_unknown_account(problem.r#type.as_deref()) => {
                self.files.forget_account().map_err(Failed::of)?;
                return Err(Failed::of(
                    "the authority does not know the account any more; a new one is made next time",
                ));
            }
            order => order?,
        };
        self.answer(&mut order).await?;
        match order.poll_ready(&POLL).await? {
            OrderStatus::Ready | OrderStatus::Valid => {}
            _ => return Err(self.reason(&mut order).await),
        }
        let key = rcgen::KeyPair::generate().map_err(Failed::of)?;
        let wanted: Vec<_> = self.settings.names.iter().map(|name| name.as_str().to_owned()).collect();
        let mut wanted = rcgen::CertificateParams::new(wanted).map_err(Failed::of)?;
        wanted.distinguished_name = rcgen::DistinguishedName::new();
        let request = wanted.serialize_request(&key).map_err(Failed::of)?;
        order.finalize_csr(request.der()).await?;
        let chain = order.poll_certificate(&POLL).await?;
        self.keep(&chain, &key.serialize_pem())
    }

    /// The account, made where there is none.
    async fn account(&self) -> Result<Account, Failed> {
        let builder = Account::builder_with_http(Box::new(self.http.clone()));
        let directory = &self.settings.directory;
        if let Some(stored) = self.files.account(directory).map_err(Failed::of)? {
            return Ok(builder.from_credentials(stored.credentials).await?);
        }
        let contact: Vec<_> = self.settings.contact.iter().map(|address| format!("mailto:{address}")).collect();
        let contact: Vec<_> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder.create(&new, directory.to_string(), None).await?;
        let stored = files::Account { directory: directory.to_string(), credentials };
        self.files.put_account(&stored).map_err(Failed::of)?;
        tracing::info!(%directory, "an account was made at the authority");
        Ok(account)
    }

    /// An authority that suggests times for renewals is told what is replaced (RFC 9773 §5), unless it will not hear it.
    async fn new_order(
        &self,
        account: &Account,
        names: &[Identifier],
        replaced: Option<&CertificateDer<'static>>,
    ) -> Result<Order, Error> {
        let suggested = self.suggestion.as_ref().filter(|known| known.window.is_some() && Some(&known.of) == replaced);
        if let Some(id) = suggested.and_then(|known| CertificateIdentifier::try_from(&known.of).ok()) {
            match account.new_order(&NewOrder::new(names).replaces(id)).await {
                Ok(order) => return Ok(order),
                Err(error) => tracing::debug!(%error, "an order that names what it replaces was refused"),
            }
        }
        account.new_order(&NewOrder::new(names)).await
    }

    /// Has the answers ready, and tells the authority so.
    async fn answer(&self, order: &mut Order) -> Result<(), Failed> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => return Err(Failed::of(format_args!("an authorization is {other:?}"))),
            }
            let challenge = authorization.challenge(ChallengeType::Http01);
            let mut challenge = challenge.ok_or_else(|| Failed::of("the authority offers no challenge http-01"))?;
            self.answers.put(challenge.token.clone(), challenge.key_authorization().as_str().to_owned());
            challenge.set_ready().await?;
        }
        Ok(())
    }

    /// Why the order did not become ready.
    async fn reason(&self, order: &mut Order) -> Failed {
        let mut reasons: Vec<_> = order.state().error.iter().map(ToString::to_string).collect();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else { continue };
            let name = state.identifier().to_string();
            let told = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
            reasons.extend(told.map(|problem| format!("{name}: {problem}")));
        }
        match reasons.is_empty() {
            true => Failed::of("the authority refuses the order"),
            false => Failed::of(reasons.join("; ")),
        }
    }

    /// Keeps what was issued, once it is sure that it serves.
    fn keep(&self, chain: &str, key: &str) -> Result<Facts, Failed> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let certificates = certificates.map_err(|_| Failed::of("what the authority issued cannot be read"))?;
        let leaf = certificates.first().cloned();
        let facts = leaf.and_then(Facts::of).ok_or_else(|| Failed::of("what the authority issued cannot be read"))?;
        if !facts.serves(&self.settings.names) {
            return Err(Failed::of("what the authority issued is for other names"));
        }
        if facts.not_after <= Timestamp::now() {
            return Err(Failed::of("what the authority issued is over by the clock of this machine"));
        }
        let key_der =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| Failed::of("the key cannot be read"))?;
        CertifiedKey::from_der(certificates, key_der, &aws_lc_rs::default_provider()).map_err(Failed::of)?;
        self.files.put_certificate(&format!("{key}{chain}")).map_err(Failed::of)?;
        Ok(facts)
    }
}

fn is_unknown_account(problem: Option<&str>) -> bool {
    problem == Some("urn:ietf:params:acme:error:accountDoesNotExist")
}
