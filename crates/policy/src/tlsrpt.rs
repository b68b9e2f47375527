//! Reports about TLS (RFC 8460): what a session came to, what a day's sessions come to, and the report that tells it.
//!
//! Whoever attempts a delivery makes a [`SessionResult`] of each session and each policy that applied to it. Counted by
//! day and by the domain that mail was for, they become a [`Report`], which goes where [`record::destinations`] says.

pub mod record;
pub mod report;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use smtp::Domain;

pub use record::{Destination, NoRecord};
pub use report::{Report, ReportError};

/// Most policy strings and MX patterns that are kept of one policy.
const STRINGS: usize = 64;
/// Most octets that are kept of one policy string, host name or reason.
const STRING_OCTETS: usize = 512;

/// How a session failed (RFC 8460 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultType {
    /// STARTTLS was not offered, or not taken (RFC 8460 §4.3.1).
    StarttlsNotSupported,
    /// The certificate is for another name.
    CertificateHostMismatch,
    /// The certificate has expired.
    CertificateExpired,
    /// The certificate's chain leads to no trusted root.
    CertificateNotTrusted,
    /// TLS failed in another way.
    ValidationFailure,
    /// No usable TLSA record matches (RFC 8460 §4.3.2.1).
    TlsaInvalid,
    /// The DNS answer is bogus, or could not be validated.
    DnssecInvalid,
    /// DANE was demanded, and there is none.
    DaneRequired,
    /// The MTA-STS policy could not be fetched (RFC 8460 §4.3.2.2).
    StsPolicyFetchError,
    /// The MTA-STS policy cannot be read.
    StsPolicyInvalid,
    /// The certificate of the MTA-STS policy host is not valid.
    StsWebpkiInvalid,
}

impl ResultType {
    /// The word of the registry.
    pub fn as_str(self) -> &'static str {
        match self {
            ResultType::StarttlsNotSupported => "starttls-not-supported",
            ResultType::CertificateHostMismatch => "certificate-host-mismatch",
            ResultType::CertificateExpired => "certificate-expired",
            ResultType::CertificateNotTrusted => "certificate-not-trusted",
            ResultType::ValidationFailure => "validation-failure",
            ResultType::TlsaInvalid => "tlsa-invalid",
            ResultType::DnssecInvalid => "dnssec-invalid",
            ResultType::DaneRequired => "dane-required",
            ResultType::StsPolicyFetchError => "sts-policy-fetch-error",
            ResultType::StsPolicyInvalid => "sts-policy-invalid",
            ResultType::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }
}

/// Which kind of policy applied to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyType {
    /// DANE.
    Tlsa,
    /// MTA-STS.
    Sts,
    /// Neither.
    NoPolicyFound,
}

impl PolicyType {
    /// The word in a report.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyType::Tlsa => "tlsa",
            PolicyType::Sts => "sts",
            PolicyType::NoPolicyFound => "no-policy-found",
        }
    }
}

/// The policy that applied to a session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppliedPolicy {
    /// Its kind.
    pub kind: PolicyType,
    /// The policy itself: lines of the MTA-STS policy, or TLSA records in presentation form.
    pub strings: Vec<String>,
    /// Whose it is: the recipient domain for MTA-STS and for none, the TLSA base domain for DANE (RFC 8460 §3).
    pub domain: Domain,
    /// The MX patterns of an MTA-STS policy.
    pub mx_patterns: Vec<String>,
}

impl AppliedPolicy {
    /// There was none for this recipient domain.
    pub fn none(domain: Domain) -> AppliedPolicy {
        AppliedPolicy { kind: PolicyType::NoPolicyFound, strings: Vec::new(), domain, mx_patterns: Vec::new() }
    }

    /// With no more of it than is worth keeping: a policy comes from a stranger.
    fn bounded(mut self) -> AppliedPolicy {
        for list in [&mut self.strings, &mut self.mx_patterns] {
            list.truncate(STRINGS);
            list.iter_mut().for_each(cut);
        }
        self
    }
}

/// What is told of a failed session (RFC 8460 §4.4). What is not known is left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// How.
    pub result: ResultType,
    /// Our address.
    pub sending_mta_ip: Option<IpAddr>,
    /// The MX host's name in the DNS.
    pub receiving_mx_hostname: Option<String>,
    /// The name that the host gave itself.
    pub receiving_mx_helo: Option<String>,
    /// The host's address.
    pub receiving_ip: Option<IpAddr>,
    /// The error in the words of the TLS library.
    pub failure_reason_code: Option<String>,
}

impl Failure {
    /// A failure of which nothing but its kind is known.
    pub fn of(result: ResultType) -> Failure {
        Failure {
            result,
            sending_mta_ip: None,
            receiving_mx_hostname: None,
            receiving_mx_helo: None,
            receiving_ip: None,
            failure_reason_code: None,
        }
    }

    fn bounded(mut self) -> Failure {
        let texts = [&mut self.receiving_mx_hostname, &mut self.receiving_mx_helo, &mut self.failure_reason_code];
        texts.into_iter().flatten().for_each(cut);
        self
    }
}

fn cut(text: &mut String) {
    let mut end = text.len().min(STRING_OCTETS);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

/// What a session came to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// TLS was negotiated as the policy demands; without a policy: it was negotiated.
    Success,
    /// It was not.
    Failure(Failure),
}

/// One session under one policy. A session that DANE and MTA-STS both applied to has two results.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionResult {
    policy: AppliedPolicy,
    outcome: Outcome,
}

impl SessionResult {
    /// A result. What strangers can make long in it is cut.
    pub fn new(policy: AppliedPolicy, outcome: Outcome) -> SessionResult {
        let outcome = match outcome {
            Outcome::Success => Outcome::Success,
            Outcome::Failure(failure) => Outcome::Failure(failure.bounded()),
        };
        SessionResult { policy: policy.bounded(), outcome }
    }

    /// The policy.
    pub fn policy(&self) -> &AppliedPolicy {
        &self.policy
    }

    /// What it came to.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The same with nothing but the kind of its failure: what is counted once a day's failures at a domain are of too
    /// many kinds to tell each.
    pub fn in_short(&self) -> SessionResult {
        let outcome = match &self.outcome {
            Outcome::Success => Outcome::Success,
            Outcome::Failure(failure) => Outcome::Failure(Failure::of(failure.result)),
        };
        SessionResult { policy: self.policy.clone(), outcome }
    }
}

/// How often a result was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The result.
    pub result: SessionResult,
    /// How often.
    pub sessions: u64,
}

/// A day in UTC, which is what a report is about (RFC 8460 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

impl Day {
    /// The day of a time in Unix seconds.
    pub fn of(unix_seconds: i64) -> Day {
        Day(unix_seconds.div_euclid(DAY_SECONDS))
    }

    /// Days since 1970-01-01.
    pub fn number(self) -> i64 {
        self.0
    }

    /// The day of this number.
    pub fn from_number(number: i64) -> Day {
        Day(number)
    }

    /// Its first second, in Unix seconds.
    pub fn first_second(self) -> i64 {
        self.0.saturating_mul(DAY_SECONDS)
    }

    /// Its last second, in Unix seconds.
    pub fn last_second(self) -> i64 {
        self.first_second().saturating_add(DAY_SECONDS - 1)
    }
}

impl fmt::Display for Day {
    /// `2026-11-23`, by the Gregorian calendar: years are counted from March, so that the leap day ends one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0 + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let (month, january_or_later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        write!(f, "{:04}-{month:02}-{day:02}", year + era * 400 + january_or_later)
    }
}
