//! MTA-STS (RFC 8461): which policy of a recipient domain is in force at this moment.
//!
//! [`MtaSts::look`] answers that before a delivery. It asks the DNS for the policy's id, weighs it against what is
//! kept ([`PolicyCache`]), and fetches what is new. What is kept and has not expired applies even when DNS and web are
//! dead; a domain never gets its parent's policy. One look at a domain serves all deliveries that wait for it, and its
//! answer is remembered for a while, so that a dead policy host slows one delivery and not every one.
//!
//! [`MtaSts::newer_than`] looks again before mail is failed for good because of a policy. [`MtaSts::keep_fresh`] fetches
//! policies again before they expire.

mod cache;
mod evidence;
mod fetch;
mod looks;
mod refresh;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use policy::mta_sts::{Cached, Mode, Next, Policy, TxtAnswer, UnixSeconds, matches, must_recheck, next, record_id};
use rustls::ClientConfig;
use smtp::Domain;
use tokio::time::Instant;

use crate::resolve::Dns;
use crate::tls::TlsEngine;
pub use cache::{CacheError, CacheResult, MemoryCache, PolicyCache};
pub use evidence::StsEvidence;
use fetch::Failure;
use looks::Looks;

/// RFC 8460 §4.3.2.2: the policy could not be retrieved.
pub const STS_POLICY_FETCH_ERROR: &str = "sts-policy-fetch-error";
/// RFC 8460 §4.3.2.2: what was retrieved is no policy.
pub const STS_POLICY_INVALID: &str = "sts-policy-invalid";
/// RFC 8460 §4.3.2.2: the policy host's certificate is not valid.
pub const STS_WEBPKI_INVALID: &str = "sts-webpki-invalid";
/// Our own word for a host that the policy does not name; a report counts it as `validation-failure` (RFC 8460 §4.3.3).
pub const STS_MX_MISMATCH: &str = "sts-mx-mismatch";
/// Our own word, no result type: whether there is a policy could not be asked.
pub const STS_DNS_FAILED: &str = "dns-failed";

/// The settings of MTA-STS.
#[derive(Debug, Clone)]
pub struct StsOptions {
    /// The port of policy hosts: 443, except in a lab.
    pub https_port: u16,
    /// How long a fetch may take as a whole (RFC 8461 §3.3 suggests a minute).
    pub fetch_timeout: Duration,
    /// Networks that policy hosts may be in beside public addresses.
    pub deliver_to_private: Vec<IpNet>,
    /// How long the answer of a look is remembered.
    pub remember: Duration,
    /// How long it is remembered when a fetch failed.
    pub remember_failure: Duration,
}

impl Default for StsOptions {
    fn default() -> Self {
        StsOptions {
            https_port: 443,
            fetch_timeout: Duration::from_secs(60),
            deliver_to_private: Vec::new(),
            remember: Duration::from_secs(60),
            remember_failure: Duration::from_secs(5 * 60),
        }
    }
}

/// What is in force for a domain.
#[derive(Debug, Clone)]
pub enum Found {
    /// Nothing: the domain announces no policy, and none of it is kept.
    NoPolicy,
    /// This policy.
    Policy(InForce),
    /// A policy is announced, or may be, and cannot be had, and none is kept: mail is delivered as if there were none
    /// (RFC 8461 §3.3).
    Failed {
        /// One code: a result type of RFC 8460 §4.3.2.2, or [`STS_DNS_FAILED`].
        reason: &'static str,
        /// In words.
        detail: String,
    },
    /// What is kept could not be read, and no policy was found elsewhere. One may be in force, so mail has to wait.
    Unknown {
        /// In words.
        detail: String,
    },
}

impl Found {
    /// The policy, when there is one.
    pub fn policy(&self) -> Option<&Policy> {
        match self {
            Found::Policy(in_force) => Some(&in_force.cached.policy),
            Found::NoPolicy | Found::Failed { .. } | Found::Unknown { .. } => None,
        }
    }

    /// Whether mail goes only to the hosts of a policy, within verified TLS (`Demands.mta_sts_enforced`).
    pub fn enforces(&self) -> bool {
        self.policy().is_some_and(Policy::enforces)
    }

    /// Whether mail may be handed to a host of the domain.
    pub fn admits(&self, host: &Domain) -> bool {
        self.policy().is_none_or(|policy| policy.admits(host))
    }

    /// Whether a policy names the host, be it enforced or tested: `None` when there is none to name it.
    pub fn names(&self, host: &Domain) -> Option<bool> {
        self.policy().filter(|policy| policy.mode != Mode::None).map(|policy| matches(policy, host))
    }

    /// What went wrong, although perhaps a kept policy applies: a code and words.
    pub fn failure(&self) -> Option<(&'static str, &str)> {
        match self {
            Found::Failed { reason, detail } => Some((reason, detail)),
            Found::Policy(InForce { origin: Origin::KeptDespite { reason, detail }, .. }) => Some((reason, detail)),
            Found::NoPolicy | Found::Policy(_) | Found::Unknown { .. } => None,
        }
    }
}

/// A policy in force, and how we know.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The policy with its id and times.
    pub cached: Arc<Cached>,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether the DNS named this policy's id in this look.
    pub confirmed: bool,
    looked_at: Instant,
}

/// Where a policy in force comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It was fetched for this look.
    Fetched,
    /// It was kept.
    Kept,
    /// It was kept, and the newer one that the DNS announces could not be had.
    KeptDespite {
        /// One code: a result type of RFC 8460 §4.3.2.2.
        reason: &'static str,
        /// In words.
        detail: String,
    },
}

impl Origin {
    /// The origin as one code.
    pub fn code(&self) -> &'static str {
        match self {
            Origin::Fetched => "fetched",
            Origin::Kept | Origin::KeptDespite { .. } => "cached",
        }
    }
}

/// Finds policies. One for the whole program.
pub struct MtaSts {
    options: StsOptions,
    dns: Dns,
    tls: Arc<ClientConfig>,
    cache: Arc<dyn PolicyCache>,
    looks: Looks,
}

impl MtaSts {
    /// Resolves by `dns`, trusts what `tls` trusts, and keeps policies in `cache`. It asks the DNS anew in each look, and
    /// remembers the look.
    pub fn new(options: StsOptions, dns: Dns, tls: &TlsEngine, cache: Arc<dyn PolicyCache>) -> MtaSts {
        MtaSts { options, dns: dns.fresh(), tls: Arc::new(tls.https()), cache, looks: Looks::default() }
    }

    /// What is in force for mail to `domain`. Waits for a look that is under way; may take as long as a DNS lookup and
    /// a fetch.
    pub async fn look(&self, domain: &Domain) -> Found {
        // Boxed where it is needed, so that it takes no room in every delivery.
        self.looks.shared(domain, None, || Box::pin(self.look_now(domain))).await
    }

    /// Before mail is failed for good because of `in_force` (RFC 8461 §5.1): looks for a newer policy.
    ///
    /// `None` when the failure may stand; otherwise what is in force now, under which the mail is to be tried again.
    pub async fn newer_than(&self, domain: &Domain, in_force: &InForce) -> Option<Found> {
        let is_recent = in_force.looked_at.elapsed() <= self.options.remember;
        if !must_recheck(&in_force.cached.policy, in_force.confirmed && is_recent) {
            return None;
        }
        let found = self.looks.shared(domain, Some(in_force.looked_at), || Box::pin(self.look_now(domain))).await;
        match &found {
            Found::Policy(now) if now.cached.policy == in_force.cached.policy => None,
            _ => Some(found),
        }
    }

    /// A look of its own: its answer, and until when it holds.
    async fn look_now(&self, domain: &Domain) -> (Found, Instant) {
        let found = self.find(domain).await;
        let failed = found.failure().is_some_and(|(reason, _)| reason != STS_DNS_FAILED);
        let remember = if failed { self.options.remember_failure } else { self.options.remember };
        (found, Instant::now() + remember)
    }

    async fn find(&self, domain: &Domain) -> Found {
        let (kept, unreadable) = match self.cache.get(domain).await {
            Ok(kept) => (kept, None),
            Err(CacheError(detail)) => (None, Some(detail)),
        };
        let (answer, dns_error) = self.announced(domain).await;
        let now = now();
        let kept = kept.filter(|kept| kept.is_valid(now));
        let in_force = |cached: Cached, origin| {
            let confirmed = matches!(&answer, TxtAnswer::Record(id) if *id == cached.id);
            Found::Policy(InForce { cached: Arc::new(cached), origin, confirmed, looked_at: Instant::now() })
        };
        match (next(kept.as_ref(), &answer, now), kept, &answer) {
            (Next::UseCached, Some(kept), _) => {
                let kept = self.noted_as_used(domain, kept, now).await;
                in_force(kept, Origin::Kept)
            }
            (Next::Fetch, kept, TxtAnswer::Record(id)) => match fetch::fetch(self, domain).await {
                Ok(policy) => {
                    let fetched = Cached::fetched(id.clone(), policy, now, now);
                    self.keep(domain, &fetched).await;
                    in_force(fetched, Origin::Fetched)
                }
                Err(Failure { reason, detail }) => match (kept, unreadable) {
                    (Some(kept), _) => in_force(kept, Origin::KeptDespite { reason, detail }),
                    (None, Some(detail)) => Found::Unknown { detail },
                    (None, None) => Found::Failed { reason, detail },
                },
            },
            _ => match (unreadable, dns_error) {
                (Some(detail), _) => Found::Unknown { detail },
                (None, Some(detail)) => Found::Failed { reason: STS_DNS_FAILED, detail },
                (None, None) => Found::NoPolicy,
            },
        }
    }

    /// What the domain's own `_mta-sts` record says, and the words of a failure.
    async fn announced(&self, domain: &Domain) -> (TxtAnswer, Option<String>) {
        // A name that is too long to have such a record has none.
        let Ok(name) = format!("_mta-sts.{domain}").parse() else { return (TxtAnswer::NoRecord, None) };
        match self.dns.txt(&name).await {
            Ok(records) => (record_id(&records).map_or(TxtAnswer::NoRecord, TxtAnswer::Record), None),
            Err(error) => (TxtAnswer::Failed, Some(error.to_string())),
        }
    }

    async fn keep(&self, domain: &Domain, cached: &Cached) {
        if let Err(CacheError(error)) = self.cache.put(domain, cached).await {
            tracing::warn!(%domain, error, "cannot keep an MTA-STS policy");
        }
    }

    async fn noted_as_used(&self, domain: &Domain, kept: Cached, now: UnixSeconds) -> Cached {
        let Some(used) = kept.used(now) else { return kept };
        if let Err(CacheError(error)) = self.cache.note(domain, &used).await {
            tracing::warn!(%domain, error, "cannot note that an MTA-STS policy is used");
        }
        used
    }
}

fn now() -> UnixSeconds {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixSeconds(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
