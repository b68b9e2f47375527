//! What was found, in sentences.

use delivery::probe::{Fate, Forecast, HostProbe, Probe, Seen};
use policy::dane::{Dane, NotDane};
use policy::tls::{Authentication, Demander, Minimum, Protection, RequiretlsObstacle};

/// Hosts that would not take a message.
type PassedOver<'a> = [(&'a HostProbe, Forecast)];

/// What a host shows of TLS, where certificates are made valid by `authentication`.
pub(super) fn seen(host: &HostProbe, authentication: Authentication) -> String {
    match &host.seen {
        Ok(Seen::NotOffered) => "it does not offer STARTTLS".to_owned(),
        Ok(Seen::Refused(reply)) => format!("it refuses STARTTLS ({reply})"),
        Ok(Seen::HandshakeFailed(error)) => error.to_string(),
        Ok(Seen::Encrypted { facts, .. }) => {
            facts.verdict(authentication).detail().unwrap_or("its certificate is valid").to_owned()
        }
        Err(problem) => problem.message.clone(),
    }
}

/// What would become of a message at a host.
pub(super) fn fate(host: &HostProbe, Forecast { effective, fate }: &Forecast) -> String {
    let why = || seen(host, effective.authentication);
    match fate {
        Fate::Delivered(Protection::Verified) => match effective.authentication {
            Authentication::Dane => "within TLS, certificate verified by its TLSA records".to_owned(),
            Authentication::Pkix => "within TLS, certificate verified".to_owned(),
            Authentication::Pin => "within TLS, with the pinned certificate".to_owned(),
            Authentication::PkixAndPin => "within TLS, certificate verified, and as pinned".to_owned(),
            Authentication::DaneAndPin => {
                "within TLS, certificate verified by its TLSA records, and as pinned".to_owned()
            }
        },
        Fate::Delivered(Protection::Encrypted) => match is_valid(host, effective.authentication) {
            true => "within TLS, certificate not asked for (it is valid)".to_owned(),
            false => format!("within TLS, although {}", why()),
        },
        Fate::Delivered(Protection::Plaintext) => format!("in plaintext: {}", why()),
        Fate::DeliveredAnew => format!("in plaintext, on a new connection: {}", why()),
        Fate::Left => why(),
        Fate::LeftFor(RequiretlsObstacle::NotOffered) => "it does not offer REQUIRETLS within TLS".to_owned(),
        Fate::LeftFor(RequiretlsObstacle::MxNotAuthentic) => {
            "neither DNSSEC nor MTA-STS says that it is the domain's host".to_owned()
        }
        Fate::NotNamed => "the domain's MTA-STS policy does not name it".to_owned(),
        Fate::Skipped => match &*host.dane {
            Dane::LookupFailed { why, .. } => why.clone(),
            _ => why(),
        },
        Fate::OutOfReach => why(),
    }
}

fn is_valid(host: &HostProbe, authentication: Authentication) -> bool {
    host.facts().is_some_and(|facts| facts.verdict(authentication).is_ok())
}

/// What a host does with a message that it does not get: ` is left`.
pub(super) fn verb(fate: Fate) -> &'static str {
    match fate {
        Fate::Delivered(_) | Fate::DeliveredAnew => "takes it",
        Fate::Left | Fate::LeftFor(_) | Fate::NotNamed => "is left",
        Fate::Skipped => "is skipped",
        Fate::OutOfReach => "is out of reach",
    }
}

/// What becomes of a message that a host takes.
pub(super) fn taken(host: &HostProbe, forecast: &Forecast, passed_over: &PassedOver<'_>) -> String {
    // Why they are passed over stands with the hosts; here it is enough that they are.
    let others: Vec<String> =
        passed_over.iter().map(|(host, forecast)| format!("{} {}", host.host, verb(forecast.fate))).collect();
    let since = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    format!("would go to {} {}{since}", host.host, fate(host, forecast))
}

/// What becomes of a message that no host takes.
pub(super) fn not_taken(probe: &Probe, permanent: bool, passed_over: &PassedOver<'_>) -> String {
    if let Some(none) = &probe.no_hosts {
        let fails = if permanent { "would fail at once" } else { "would be deferred" };
        return format!("{fails}: {}", none.problem.message);
    }
    if passed_over.is_empty() {
        return "would be deferred: no host has an address to deliver to".to_owned();
    }
    let fails = if permanent { "would fail at once" } else { "would be deferred, and fail when the schedule ends" };
    let reasons: Vec<String> = passed_over
        .iter()
        .map(|(host, forecast)| format!("{} {}: {}", host.host, verb(forecast.fate), fate(host, forecast)))
        .collect();
    format!("{fails}: {}", reasons.join("; "))
}

/// What is demanded, and by whom.
pub(super) fn demand(demanded: Minimum, by: &[Demander], lifted: &[Demander]) -> String {
    let names = |who: &[Demander]| who.iter().map(|who| demander(*who)).collect::<Vec<_>>().join(", ");
    let what = match demanded {
        Minimum::None => "nothing is demanded".to_owned(),
        Minimum::Encrypted => format!("any TLS, for {}", names(by)),
        Minimum::Verified => format!("verified TLS, for {}", names(by)),
    };
    if lifted.is_empty() { what } else { format!("{what} ({} lifted)", names(lifted)) }
}

fn demander(who: Demander) -> &'static str {
    match who {
        Demander::RequireTls => "require_tls",
        Demander::TlsFallback => "tls_fallback",
        Demander::Route => "the route",
        Demander::Rule => "the operator's rule",
        Demander::Dane => "DANE",
        Demander::MtaSts => "MTA-STS",
        Demander::Requiretls => "REQUIRETLS",
    }
}

/// What DANE means for a host.
pub(super) fn dane(host: &HostProbe) -> String {
    let verdict = host.facts().and_then(|facts| facts.dane.as_ref());
    let code = host.dane.code();
    match (&*host.dane, verdict) {
        // Why it is off stands with the domain.
        (Dane::Off { .. }, _) => "off, as DNSSEC is".to_owned(),
        (Dane::Usable(set), Some(verdict)) => match (&verdict.matched, verdict.verification.detail()) {
            (Some(record), _) => format!("the certificate matches the TLSA records of {} ({record})", set.base),
            (None, detail) => detail.unwrap_or("the certificate matches no TLSA record").to_owned(),
        },
        (Dane::Usable(set), None) => format!("there are TLSA records of {}, and no TLS to hold them against", set.base),
        (Dane::Unusable { base, why }, _) => {
            format!("no TLSA record of {base} can be used: {why}; any TLS will do ({code})")
        }
        (Dane::LookupFailed { why, .. }, _) => format!("the host is skipped: {why} ({code})"),
        (Dane::DoesNotApply { why }, _) => format!("does not apply: {} ({code})", not_dane(*why)),
    }
}

fn not_dane(why: NotDane) -> &'static str {
    match why {
        NotDane::MxInsecure => "nothing signed says that this is the domain's host",
        NotDane::RouteNotFlagged => "the host is the route's",
        NotDane::NoHostName => "the host is known by its address alone",
        NotDane::AddressInsecure => "the host's addresses are not signed",
        NotDane::NoTlsa => "signed DNS says that the host has no TLSA records",
        NotDane::TlsaInsecure => "TLSA records of the host, if there are any, are not signed",
    }
}

/// How far an answer of the DNS can be trusted, by its word.
pub(super) fn security(word: &str) -> &'static str {
    match word {
        "secure" => "signed (secure)",
        "insecure" => "not signed (insecure)",
        "bogus" => "wrongly signed (bogus)",
        _ => "not covered by any trust anchor, or not validated (indeterminate)",
    }
}
