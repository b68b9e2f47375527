//! `waxwing check <domain>`: looks at a destination and says what each TLS setting would do there, and why.
//!
//! - [`Check`] is what was found, made of the probe: the same for programs (JSON) and people ([`text`]).
//! - [`words`] has the sentences.

mod text;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use delivery::dnssec::{DnssecStatus, Mode};
use delivery::mta_sts::{Found, MemoryCache, StsEvidence};
use delivery::probe::{Fate, Forecast, HostProbe, Probe, Seen, TlsReporting};
use delivery::report::Step;
use delivery::resolve::Dns;
use delivery::tls::{Certificate, KeyProof, TlsFacts};
use delivery::{Client, Problem};
use policy::tls::{
    Demander, Minimum, Protection, Resolved, TlsPolicy, TlsSettings, TlsTag, gives_up, insists_on, resolve,
};
use policy::tlsrpt::record::NoRecord;
use serde::Serialize;
use serde_json::Value;
use smtp::Domain;

use crate::config::Config;
use crate::queue::{ClientError, client_of, client_with};

/// Most records of a stranger that are shown where one is not as it should be, and of each so many octets.
const RECORDS: usize = 5;
const RECORD_OCTETS: usize = 300;

/// Looks at `domain` with the resolver, the roots and the routes of `config`. Says EHLO, STARTTLS and QUIT to its
/// hosts, and nothing else.
///
/// # Errors
/// When the configured roots cannot be used. What goes wrong at the destination is a finding.
pub async fn run(config: &Config, domain: Domain) -> Result<Check, ClientError> {
    // What is found is for this look alone: no store is needed.
    let client = client_of(config, Arc::new(MemoryCache::default()))?;
    Ok(look(&client, domain).await)
}

/// The same, which asks the DNS by `dns`.
pub(crate) async fn run_by(config: &Config, dns: Dns, domain: Domain) -> Result<Check, ClientError> {
    let client = client_with(config, dns, Arc::new(MemoryCache::default()))?;
    Ok(look(&client, domain).await)
}

async fn look(client: &Client, domain: Domain) -> Check {
    let probe = client.probe(&domain).await;
    Check::new(domain, &probe)
}

/// What was found at a destination. A field that has no value is null.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    domain: String,
    route: Option<RouteFound>,
    dnssec: DnssecFound,
    /// Why there is no host at all.
    problem: Option<ProblemFound>,
    mta_sts: Option<StsEvidence>,
    tls_reporting: Option<ReportingFound>,
    hosts: Vec<HostFound>,
    /// Hosts and addresses that a delivery would pass over.
    skipped: Vec<Step>,
    /// What becomes of a message.
    settings: Vec<Outlook>,
}

/// The operator's route, which stands in for the MX hosts.
#[derive(Debug, Serialize)]
struct RouteFound {
    host: String,
    /// What the operator demands on it.
    tls: Minimum,
}

/// How far the DNS can be trusted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct DnssecFound {
    /// `validate`, `trust-ad` or `off`.
    mode: &'static str,
    /// The same in the words that the log has.
    status: String,
    /// Of the MX answer: `secure`, `insecure`, `bogus`, `indeterminate`; null when none was had or asked for.
    mx: Option<&'static str>,
    /// Why it is bogus.
    mx_detail: Option<String>,
}

/// The domain's `_smtp._tls` record (RFC 8460 §3).
#[derive(Debug, Serialize)]
struct ReportingFound {
    /// `published`, `absent`, `several`, `unusable` or `dns-failed`.
    state: &'static str,
    /// Where reports go.
    destinations: Vec<String>,
    /// Why they go nowhere.
    detail: Option<String>,
    /// What stands where the record should be.
    records: Vec<String>,
}

/// One address of one host.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct HostFound {
    mx_host: String,
    address: IpAddr,
    /// How far the DNS can be trusted about its addresses.
    dnssec: Option<&'static str>,
    /// As `dane` in `tls-details`.
    dane: Value,
    #[serde(skip)]
    dane_in_words: String,
    /// Whether the MTA-STS policy names it; null without a policy.
    mta_sts: Option<bool>,
    /// Whether something says that it is the domain's.
    authentic: bool,
    /// `encrypted`, or what stands in the way, as one code.
    state: &'static str,
    detail: String,
    tls: Option<TlsFound>,
    /// Whether REQUIRETLS is offered within TLS; null without TLS.
    requiretls: Option<bool>,
    problem: Option<ProblemFound>,
    /// What each setting comes to here.
    settings: Vec<AtHost>,
}

/// The handshake.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct TlsFound {
    version: &'static str,
    cipher: String,
    key_exchange: String,
    sni: Option<String>,
    certificate: Option<Certificate>,
    verification: &'static str,
    verification_detail: Option<String>,
    key_proof: KeyProof,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ProblemFound {
    reason: Option<&'static str>,
    code: u16,
    enhanced_code: Option<String>,
    message: String,
}

/// What a message asks for: the four settings, and the two words of RFC 8689.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Setting {
    require_tls: bool,
    skip_verification: bool,
    tls_tag: TlsTag,
}

/// What a setting comes to at one host.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct AtHost {
    #[serde(flatten)]
    setting: Setting,
    /// What is insisted on: `none`, `encrypted`, `verified`.
    demanded: Minimum,
    /// Those who do.
    demanded_by: Vec<Demander>,
    /// Whose demand the message lifts.
    lifted: Vec<Demander>,
    /// `verified`, `encrypted`, `plaintext`, `left`, `skipped`, `out-of-reach`.
    outcome: &'static str,
    explanation: String,
}

/// What becomes of a message.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Outlook {
    #[serde(flatten)]
    setting: Setting,
    /// `verified`, `encrypted`, `plaintext`, `deferred`, `failed`.
    outcome: &'static str,
    /// The host that would take it.
    mx_host: Option<String>,
    explanation: String,
}

impl Setting {
    /// In the order of the table's rows, and then what RFC 8689 adds to the first of them.
    fn all() -> impl Iterator<Item = Setting> {
        let switches = |policy: TlsPolicy, tls_tag| Setting {
            require_tls: policy.require_tls(),
            skip_verification: policy.skip_verification(),
            tls_tag,
        };
        let four = TlsPolicy::ALL.into_iter().map(move |policy| switches(policy, TlsTag::None));
        let tags = [TlsTag::Requiretls, TlsTag::NotRequired];
        four.chain(tags.into_iter().map(move |tag| switches(TlsPolicy::ALL[0], tag)))
    }

    fn resolved(self) -> Resolved {
        let stated = TlsSettings {
            require_tls: Some(self.require_tls),
            skip_verification: Some(self.skip_verification),
            tag: Some(self.tls_tag),
            ..TlsSettings::default()
        };
        resolve(stated, TlsSettings::default())
    }
}

impl Check {
    fn new(domain: Domain, probe: &Probe) -> Check {
        Check {
            domain: domain.to_string(),
            route: probe.route.as_ref().map(|host| RouteFound { host: host.to_string(), tls: probe.minimum }),
            dnssec: DnssecFound::new(probe),
            problem: probe.no_hosts.as_ref().map(|none| ProblemFound::new(&none.problem)),
            mta_sts: probe.mta_sts.evidence(),
            tls_reporting: probe.tlsrpt.as_ref().map(ReportingFound::new),
            hosts: probe.hosts.iter().map(|host| HostFound::new(probe, host)).collect(),
            skipped: probe.skipped.clone(),
            settings: Setting::all().map(|setting| Outlook::new(probe, setting)).collect(),
        }
    }
}

impl DnssecFound {
    fn new(probe: &Probe) -> DnssecFound {
        DnssecFound {
            mode: match probe.dnssec {
                DnssecStatus::On(Mode::Validate) => "validate",
                DnssecStatus::On(Mode::TrustAd) => "trust-ad",
                DnssecStatus::Off { .. } => "off",
            },
            status: probe.dnssec.to_string(),
            mx: probe.mx_security.as_ref().map(policy::dane::Security::word),
            mx_detail: match &probe.mx_security {
                Some(policy::dane::Security::Bogus(why)) => Some(why.clone()),
                _ => None,
            },
        }
    }
}

impl ReportingFound {
    fn new(reporting: &TlsReporting) -> ReportingFound {
        let nothing = |state, detail: String, records: &[Vec<u8>]| ReportingFound {
            state,
            destinations: Vec::new(),
            detail: Some(detail),
            records: records.iter().take(RECORDS).map(|record| shown(record)).collect(),
        };
        match reporting {
            TlsReporting::To(places) => ReportingFound {
                state: "published",
                destinations: places.iter().map(ToString::to_string).collect(),
                detail: None,
                records: Vec::new(),
            },
            TlsReporting::Nowhere(why, records) => {
                let state = match why {
                    NoRecord::Absent => "absent",
                    NoRecord::Several => "several",
                    NoRecord::Nowhere => "unusable",
                };
                nothing(state, why.to_string(), records)
            }
            TlsReporting::Unknown(error) => nothing("dns-failed", error.to_string(), &[]),
        }
    }
}

/// A record of a stranger: its start, as text.
fn shown(record: &[u8]) -> String {
    String::from_utf8_lossy(&record[..record.len().min(RECORD_OCTETS)]).into_owned()
}

impl HostFound {
    fn new(probe: &Probe, host: &HostProbe) -> HostFound {
        let state = match &host.seen {
            Ok(Seen::NotOffered) => "starttls-not-supported",
            Ok(Seen::Refused(_)) => "starttls-refused",
            Ok(Seen::HandshakeFailed(error)) => error.code(),
            Ok(Seen::Encrypted { .. }) => "encrypted",
            Err(_) => "out-of-reach",
        };
        let at_host = |setting: Setting| AtHost::new(setting, host, &probe.forecast(host, setting.resolved()));
        HostFound {
            mx_host: host.host.clone(),
            address: host.address,
            dnssec: host.security.as_ref().map(policy::dane::Security::word),
            dane: serde_json::to_value(host.dane_evidence()).unwrap_or_default(),
            dane_in_words: words::dane(host),
            mta_sts: host.host.parse().ok().and_then(|name| probe.mta_sts.names(&name)),
            authentic: host.authentic,
            state,
            detail: words::seen(host, policy::tls::Authentication::Pkix),
            tls: host.facts().map(TlsFound::new),
            requiretls: host.facts().map(|_| host.seen.as_ref().is_ok_and(Seen::offers_requiretls)),
            problem: host.seen.as_ref().err().map(ProblemFound::new),
            settings: Setting::all().map(at_host).collect(),
        }
    }
}

impl TlsFound {
    fn new(facts: &TlsFacts) -> TlsFound {
        TlsFound {
            version: facts.version,
            cipher: facts.cipher.clone(),
            key_exchange: facts.key_exchange.clone(),
            sni: facts.sni.clone(),
            certificate: facts.certificate.clone(),
            verification: facts.verification.code(),
            verification_detail: facts.verification.detail().map(str::to_owned),
            key_proof: facts.key_proof,
        }
    }
}

impl ProblemFound {
    fn new(problem: &Problem) -> ProblemFound {
        ProblemFound {
            reason: problem.reason,
            code: problem.code,
            enhanced_code: problem.enhanced_code.map(|code| code.to_string()),
            message: problem.message.clone(),
        }
    }
}

impl AtHost {
    fn new(setting: Setting, host: &HostProbe, forecast: &Forecast) -> AtHost {
        let Forecast { effective, fate } = forecast;
        AtHost {
            setting,
            demanded: insists_on(effective.policy),
            demanded_by: effective.demanded_by.clone(),
            lifted: effective.lifted.clone(),
            outcome: outcome(*fate),
            explanation: words::fate(host, forecast),
        }
    }
}

fn outcome(fate: Fate) -> &'static str {
    match fate {
        Fate::Delivered(Protection::Verified) => "verified",
        Fate::Delivered(Protection::Encrypted) => "encrypted",
        Fate::Delivered(Protection::Plaintext) | Fate::DeliveredAnew => "plaintext",
        Fate::Left | Fate::LeftFor(_) | Fate::NotNamed => "left",
        Fate::Skipped => "skipped",
        Fate::OutOfReach => "out-of-reach",
    }
}

impl Outlook {
    /// Walks the hosts as a delivery would.
    fn new(probe: &Probe, setting: Setting) -> Outlook {
        let sender = setting.resolved();
        let mut passed_over = Vec::new();
        for host in &probe.hosts {
            let forecast = probe.forecast(host, sender);
            if forecast.fate.is_delivered() {
                return Outlook {
                    setting,
                    outcome: outcome(forecast.fate),
                    mx_host: Some(host.host.clone()),
                    explanation: words::taken(host, &forecast, &passed_over),
                };
            }
            passed_over.push((host, forecast));
        }
        let every_host_was_left = !passed_over.is_empty()
            && probe.skipped.is_empty()
            && passed_over.iter().all(|(_, forecast)| forecast.fate.is_left());
        // A policy that could not be had may be had by the next attempt, and make the hosts authentic.
        let waits = sender.tag == TlsTag::Requiretls && matches!(probe.mta_sts, Found::Failed { .. });
        let permanent = match &probe.no_hosts {
            Some(none) => none.permanent,
            None => gives_up(sender.when_left, sender.tag, every_host_was_left) && !waits,
        };
        Outlook {
            setting,
            outcome: if permanent { "failed" } else { "deferred" },
            mx_host: None,
            explanation: words::not_taken(probe, permanent, &passed_over),
        }
    }
}
