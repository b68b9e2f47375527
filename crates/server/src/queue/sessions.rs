//! From the sessions of an attempt to what reports about TLS count (RFC 8460 §4).

use delivery::Report;
use delivery::mta_sts::Found;
use delivery::report::ConnectionReport;
use delivery::tls::Verification;
use policy::dane::{Association, Dane};
use policy::mta_sts::Mode;
use policy::tls::Observed;
use policy::tlsrpt::{AppliedPolicy, Failure, Outcome, PolicyType, ResultType, SessionResult};
use smtp::Domain;

/// One result for each new session and each policy that applied to it, and one for a policy that could not be had.
pub(super) fn results(destination: &Domain, report: &Report) -> Vec<SessionResult> {
    let failed = report.published.failure();
    // As it is for most: a connection that stood already was counted when it was made.
    if report.observed.is_empty() && failed.is_none() {
        return Vec::new();
    }
    let sts = sts_policy(destination, &report.published);
    let mut results: Vec<SessionResult> =
        report.observed.iter().flat_map(|session| of_session(destination, session, sts.as_ref(), report)).collect();
    let failed = failed.and_then(|(reason, detail)| Some((result_of(reason)?, detail)));
    if let Some((result, detail)) = failed.filter(|(result, _)| result.as_str().starts_with("sts-")) {
        let policy = AppliedPolicy { kind: PolicyType::Sts, ..AppliedPolicy::none(destination.clone()) };
        let failure = Failure { failure_reason_code: Some(detail.to_owned()), ..Failure::of(result) };
        results.push(SessionResult::new(policy, Outcome::Failure(failure)));
    }
    results
}

fn of_session(
    destination: &Domain,
    session: &ConnectionReport,
    sts: Option<&AppliedPolicy>,
    report: &Report,
) -> Vec<SessionResult> {
    let mut results = Vec::new();
    if let Some(policy) = tlsa_policy(&session.dane) {
        let dane = session.handshake.as_ref().and_then(|facts| facts.dane.as_ref());
        // Where no record is usable any certificate will do (RFC 7672 §2.2).
        let verdict = dane.map_or(&Verification::Ok, |dane| &dane.verification);
        results.push(SessionResult::new(policy, outcome(session, verdict)));
    }
    if let Some(policy) = sts {
        let is_named = session.mx_host.parse().is_ok_and(|host| report.published.names(&host) == Some(true));
        let verification = session.handshake.as_ref().map_or(&Verification::Ok, |facts| &facts.verification);
        let outcome = match is_named {
            true => outcome(session, verification),
            false => failure(session, ResultType::ValidationFailure, "the MTA-STS policy does not name this host"),
        };
        results.push(SessionResult::new(policy.clone(), outcome));
    }
    if results.is_empty() {
        // Without a policy a session is good when it is encrypted, whatever the certificate.
        let policy = AppliedPolicy::none(destination.clone());
        results.push(SessionResult::new(policy, outcome(session, &Verification::Ok)));
    }
    results
}

fn outcome(session: &ConnectionReport, verdict: &Verification) -> Outcome {
    match (session.observed, verdict) {
        (Some(Observed::NotOffered | Observed::Refused), _) => {
            failure(session, ResultType::StarttlsNotSupported, "STARTTLS is not offered, or refused")
        }
        (Some(Observed::HandshakeFailed) | None, _) => {
            failure(session, ResultType::ValidationFailure, "the TLS handshake failed")
        }
        (Some(Observed::Verified | Observed::Unverified), Verification::Ok) => Outcome::Success,
        (Some(Observed::Verified | Observed::Unverified), Verification::Invalid { reason, detail }) => {
            failure(session, result_of(reason).unwrap_or(ResultType::ValidationFailure), detail)
        }
    }
}

fn failure(session: &ConnectionReport, result: ResultType, reason: &str) -> Outcome {
    Outcome::Failure(Failure {
        sending_mta_ip: Some(session.sending_ip),
        receiving_mx_hostname: Some(session.mx_host.clone()),
        receiving_ip: Some(session.peer_ip),
        failure_reason_code: Some(reason.to_owned()),
        ..Failure::of(result)
    })
}

/// The result type of that word, where the registry has it.
fn result_of(reason: &str) -> Option<ResultType> {
    use ResultType::{
        CertificateExpired, CertificateHostMismatch, CertificateNotTrusted, DnssecInvalid, StsPolicyFetchError,
        StsPolicyInvalid, StsWebpkiInvalid, TlsaInvalid, ValidationFailure,
    };
    [
        CertificateExpired,
        CertificateHostMismatch,
        CertificateNotTrusted,
        DnssecInvalid,
        StsPolicyFetchError,
        StsPolicyInvalid,
        StsWebpkiInvalid,
        TlsaInvalid,
        ValidationFailure,
    ]
    .into_iter()
    .find(|result| result.as_str() == reason)
}

fn tlsa_policy(dane: &Dane) -> Option<AppliedPolicy> {
    let (base, strings) = match dane {
        Dane::Usable(set) => (&set.base, set.associations.iter().map(presentation).collect()),
        Dane::Unusable { base, .. } => (base, Vec::new()),
        Dane::Off { .. } | Dane::DoesNotApply { .. } | Dane::LookupFailed { .. } => return None,
    };
    Some(AppliedPolicy { kind: PolicyType::Tlsa, strings, ..AppliedPolicy::none(base.clone()) })
}

/// A TLSA record as a zone file has it (RFC 6698 §2.2).
fn presentation(record: &Association) -> String {
    let data: String = record.data.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{record} {data}")
}

fn sts_policy(destination: &Domain, published: &Found) -> Option<AppliedPolicy> {
    let policy = published.policy().filter(|policy| policy.mode != Mode::None)?;
    let mx_patterns = policy.mx.iter().map(ToString::to_string).collect();
    let strings = policy.lines();
    Some(AppliedPolicy { kind: PolicyType::Sts, strings, mx_patterns, ..AppliedPolicy::none(destination.clone()) })
}
