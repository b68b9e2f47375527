//! `waxwing check <domain>`: looks at a destination and says what each of the four TLS settings would do there.

use std::fmt::{self, Display};
use std::sync::Arc;

use delivery::Problem;
use delivery::mta_sts::MemoryCache;
use delivery::probe::{HostProbe, Probe, Seen};
use delivery::tls::TlsFacts;
use policy::dane::Dane;
use policy::tls::{Authentication, Protection, TlsPolicy, TlsSettings, Verdict, resolve, strengthen};
use serde_json::{Value, json};
use smtp::Domain;

use crate::config::Config;
use crate::queue::{ClientError, client_of};

/// What was found at a destination.
pub struct Check {
    domain: Domain,
    probe: Probe,
}

/// Looks at `domain` with the resolver, the roots and the routes of `config`. Says EHLO, STARTTLS and QUIT to its
/// hosts, and nothing else.
///
/// # Errors
/// When the configured roots cannot be used. What goes wrong at the destination is a finding.
pub async fn run(config: &Config, domain: Domain) -> Result<Check, ClientError> {
    // What is found is for this look alone: no store is needed.
    let client = client_of(config, Arc::new(MemoryCache::default()))?;
    let probe = client.probe(&domain).await;
    Ok(Check { domain, probe })
}

/// What would become of a message under one setting.
struct Forecast<'a> {
    policy: TlsPolicy,
    /// The host that would take it, and how; `None` when every host would be left or is out of reach.
    taken: Option<(&'a HostProbe, &'a Seen, Verdict)>,
    /// The hosts passed over before, and why.
    passed_over: Vec<PassedOver>,
}

/// A host that would not get the message.
struct PassedOver {
    /// Such as `mx1.example.net is left`.
    what: String,
    why: String,
}

impl Check {
    /// Everything as JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "domain": self.domain.as_str(),
            "routed": self.probe.routed,
            "problem": self.probe.no_hosts.as_ref().map(|none| problem_json(&none.problem)),
            "mta-sts": self.probe.mta_sts.evidence(),
            "hosts": self.probe.hosts.iter().map(host_json).collect::<Vec<_>>(),
            "skipped": self.probe.skipped,
            "settings": self.forecasts().map(|forecast| self.forecast_json(&forecast)).collect::<Vec<_>>(),
        })
    }

    fn forecasts(&self) -> impl Iterator<Item = Forecast<'_>> {
        TlsPolicy::ALL.into_iter().map(|policy| self.forecast(policy))
    }

    /// Walks the hosts as a delivery would.
    fn forecast(&self, policy: TlsPolicy) -> Forecast<'_> {
        let switches = TlsSettings {
            require_tls: Some(policy.require_tls()),
            skip_verification: Some(policy.skip_verification()),
            ..TlsSettings::default()
        };
        let sender = resolve(switches, TlsSettings::default());
        let mut passed_over = Vec::new();
        for host in &self.probe.hosts {
            if let Some(why) = host.passed_over() {
                passed_over.push(PassedOver { what: format!("{} is left", host.host), why: why.to_owned() });
                continue;
            }
            let effective = strengthen(self.probe.demands(host, sender));
            match &host.seen {
                Ok(seen) => match seen.verdict(&effective) {
                    Verdict::LeaveHost => {
                        let why = why(seen, effective.authentication);
                        passed_over.push(PassedOver { what: format!("{} is left", host.host), why });
                    }
                    verdict => return Forecast { policy, taken: Some((host, seen, verdict)), passed_over },
                },
                Err(problem) => passed_over
                    .push(PassedOver { what: format!("{} is out of reach", host.host), why: problem.message.clone() }),
            }
        }
        Forecast { policy, taken: None, passed_over }
    }

    /// What becomes of the message, as one word.
    fn outcome(&self, forecast: &Forecast<'_>) -> &'static str {
        match (&forecast.taken, &self.probe.no_hosts) {
            (Some((_, _, Verdict::Deliver(Protection::Verified))), _) => "verified",
            (Some((_, _, Verdict::Deliver(Protection::Encrypted))), _) => "encrypted",
            (Some(_), _) => "plaintext",
            (None, Some(none)) if none.permanent => "failed",
            (None, _) => "deferred",
        }
    }

    /// What becomes of the message, in words.
    fn in_words(&self, forecast: &Forecast<'_>) -> String {
        let Some((host, seen, verdict)) = &forecast.taken else {
            let reasons: Vec<_> =
                forecast.passed_over.iter().map(|host| format!("{}: {}", host.what, host.why)).collect();
            return match &self.probe.no_hosts {
                Some(none) if none.permanent => format!("would fail at once: {}", none.problem.message),
                Some(none) => format!("would be deferred: {}", none.problem.message),
                None if reasons.is_empty() => "would be deferred: no host has an address to deliver to".to_owned(),
                None => format!("would be deferred, and fail when the schedule ends: {}", reasons.join("; ")),
            };
        };
        let how = match verdict {
            Verdict::Deliver(Protection::Verified) => "within TLS, certificate verified".to_owned(),
            Verdict::Deliver(Protection::Encrypted) => match why_unverified(seen) {
                Some(why) => format!("within TLS, although {why}"),
                None => "within TLS, certificate not asked for (it is valid)".to_owned(),
            },
            Verdict::Deliver(Protection::Plaintext) => format!("in plaintext: {}", why(seen, Authentication::Pkix)),
            Verdict::ReconnectInPlaintext => {
                format!("in plaintext, on a new connection: {}", why(seen, Authentication::Pkix))
            }
            Verdict::LeaveHost => "not at all".to_owned(),
        };
        // Why they are passed over stands with the hosts; here it is enough that they are.
        let passed_over: Vec<_> = forecast.passed_over.iter().map(|host| host.what.as_str()).collect();
        let since = if passed_over.is_empty() { String::new() } else { format!(" ({})", passed_over.join(", ")) };
        format!("would go to {} {how}{since}", host.host)
    }

    fn forecast_json(&self, forecast: &Forecast<'_>) -> Value {
        json!({
            "require-tls": forecast.policy.require_tls(),
            "skip-verification": forecast.policy.skip_verification(),
            "outcome": self.outcome(forecast),
            "mx-host": forecast.taken.as_ref().map(|(host, _, _)| &host.host),
            "explanation": self.in_words(forecast),
        })
    }
}

impl Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}{}\n", self.domain, if self.probe.routed { " (by a configured route)" } else { "" })?;
        if let Some(none) = &self.probe.no_hosts {
            writeln!(f, "  {}\n", none.problem.message)?;
        }
        if let Some(policy) = self.probe.mta_sts.evidence() {
            writeln!(
                f,
                "  MTA-STS: {}{}\n",
                policy.mode,
                policy.id.map(|id| format!(", id {id}")).unwrap_or_default()
            )?;
        }
        for host in &self.probe.hosts {
            write_host(f, host)?;
        }
        for step in &self.probe.skipped {
            let address = step.address.map(|address| format!(" [{address}]")).unwrap_or_default();
            writeln!(f, "  {}{address}\n    passed over    {}\n", step.host, step.detail)?;
        }
        writeln!(f, "  require_tls  skip_verification  a message")?;
        for forecast in self.forecasts() {
            writeln!(
                f,
                "  {:<11}  {:<17}  {}",
                forecast.policy.require_tls(),
                forecast.policy.skip_verification(),
                self.in_words(&forecast)
            )?;
        }
        Ok(())
    }
}

fn write_host(f: &mut fmt::Formatter<'_>, host: &HostProbe) -> fmt::Result {
    writeln!(f, "  {} [{}]", host.host, host.address)?;
    if let Some(why) = host.passed_over() {
        writeln!(f, "    passed over    {why}")?;
    }
    writeln!(f, "    DANE           {}", in_words_of_dane(host))?;
    match &host.seen {
        Err(problem) => writeln!(f, "    out of reach   {}", problem.message)?,
        Ok(Seen::Encrypted(facts)) => {
            writeln!(f, "    TLS            {}, {}, {}", facts.version, facts.cipher, facts.key_exchange)?;
            let verdict = facts.verification.detail().unwrap_or("valid");
            writeln!(f, "    certificate    {verdict} ({})", facts.verification.code())?;
            if let Some(certificate) = &facts.certificate {
                writeln!(f, "                   {}, issued by {}", certificate.subject, certificate.issuer)?;
                writeln!(f, "                   for {}", certificate.sans.join(", "))?;
                writeln!(f, "                   from {} to {}", certificate.not_before, certificate.not_after)?;
            }
        }
        Ok(seen) => writeln!(f, "    TLS            none: {}", why(seen, Authentication::Pkix))?,
    }
    writeln!(f)
}

/// Why a host does not give what was asked for, where certificates are made valid by `authentication`.
fn why(seen: &Seen, authentication: Authentication) -> String {
    match seen {
        Seen::NotOffered => "it does not offer STARTTLS".to_owned(),
        Seen::Refused(reply) => format!("it refuses STARTTLS ({reply})"),
        Seen::HandshakeFailed(error) => error.to_string(),
        Seen::Encrypted(facts) => {
            facts.verdict(authentication).detail().unwrap_or("its certificate is valid").to_owned()
        }
    }
}

fn why_unverified(seen: &Seen) -> Option<&str> {
    match seen {
        Seen::Encrypted(facts) => facts.verification.detail(),
        Seen::NotOffered | Seen::Refused(_) | Seen::HandshakeFailed(_) => None,
    }
}

fn host_json(host: &HostProbe) -> Value {
    let (state, facts, problem) = match &host.seen {
        Ok(Seen::NotOffered) => ("starttls-not-supported", None, None),
        Ok(Seen::Refused(_)) => ("starttls-refused", None, None),
        Ok(Seen::HandshakeFailed(error)) => (error.code(), None, None),
        Ok(Seen::Encrypted(facts)) => ("encrypted", Some(facts_json(facts)), None),
        Err(problem) => ("out-of-reach", None, Some(problem_json(problem))),
    };
    json!({
        "mx-host": host.host,
        "address": host.address,
        "dane": host.dane.code(),
        "state": state,
        "detail": host.seen.as_ref().map_or_else(|problem| problem.message.clone(), |seen| why(seen, Authentication::Pkix)),
        "tls": facts,
        "problem": problem,
    })
}

fn facts_json(facts: &TlsFacts) -> Value {
    json!({
        "version": facts.version,
        "cipher": facts.cipher,
        "key-exchange": facts.key_exchange,
        "sni": facts.sni,
        "certificate": facts.certificate,
        "verification": facts.verification.code(),
        "verification-detail": facts.verification.detail(),
        "key-proof": facts.key_proof,
    })
}

fn in_words_of_dane(host: &HostProbe) -> String {
    let verdict = match &host.seen {
        Ok(Seen::Encrypted(facts)) => facts.dane.as_ref(),
        _ => None,
    };
    match (&*host.dane, verdict) {
        (Dane::Off { because }, _) => format!("off: {because}"),
        (Dane::Usable(set), Some(verdict)) => {
            format!("records at {}: {}", set.base, verdict.verification.detail().unwrap_or("matched"))
        }
        (Dane::Usable(set), None) => format!("records at {}", set.base),
        (Dane::LookupFailed { why, .. }, _) => why.clone(),
        (dane, _) => dane.code().to_owned(),
    }
}

fn problem_json(problem: &Problem) -> Value {
    json!({ "code": problem.code, "enhanced-code": problem.enhanced_code, "message": problem.message })
}
