//! The report itself, in JSON (RFC 8460 §4.4): ours, made of counters, and those that others send us.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smtp::Domain;

use super::{Counted, Day, Outcome, PolicyType};

/// Longest report that is read, in octets, uncompressed.
pub const REPORT_OCTETS: usize = 4 * 1024 * 1024;
/// Most policies of a report that is read.
const POLICIES: usize = 256;
/// Most details of failures in a report that is read.
const DETAILS: usize = 10_000;
/// Longest text in a report that is read, in octets.
const TEXT_OCTETS: usize = 4096;

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Who reports.
    #[serde(default, deserialize_with = "text")]
    pub organization_name: String,
    /// About which time.
    pub date_range: DateRange,
    /// Whom to ask.
    #[serde(default, deserialize_with = "text")]
    pub contact_info: String,
    /// What tells it from others of the same reporter.
    #[serde(deserialize_with = "text")]
    pub report_id: String,
    /// What was seen, by policy.
    pub policies: Vec<PolicyResult>,
}

/// The time that a report is about, as RFC 3339 writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DateRange {
    /// The first second.
    pub start_datetime: String,
    /// The last second.
    pub end_datetime: String,
}

/// What was seen under one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyResult {
    /// The policy.
    pub policy: Policy,
    /// How many sessions.
    pub summary: Summary,
    /// How they failed.
    #[serde(default, deserialize_with = "details", skip_serializing_if = "Vec::is_empty")]
    pub failure_details: Vec<FailureDetails>,
}

/// A policy as reports tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Policy {
    /// `tlsa`, `sts` or `no-policy-found`.
    #[serde(deserialize_with = "text")]
    pub policy_type: String,
    /// Its lines.
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub policy_string: Vec<String>,
    /// Whose it is.
    #[serde(deserialize_with = "text")]
    pub policy_domain: String,
    /// Its MX patterns. Some write one text where a list belongs.
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub mx_host: Vec<String>,
}

/// Numbers of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// That went well.
    #[serde(default, deserialize_with = "count")]
    pub total_successful_session_count: u64,
    /// That failed.
    #[serde(default, deserialize_with = "count")]
    pub total_failure_session_count: u64,
}

/// Sessions that failed alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FailureDetails {
    /// How (RFC 8460 §4.3), or a word that is not of the registry.
    #[serde(deserialize_with = "text")]
    pub result_type: String,
    /// The sender's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending_mta_ip: Option<String>,
    /// The MX host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_mx_hostname: Option<String>,
    /// What it called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_mx_helo: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_ip: Option<String>,
    /// How many.
    #[serde(default, deserialize_with = "count")]
    pub failed_session_count: u64,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_information: Option<String>,
    /// The error in the reporter's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason_code: Option<String>,
}

/// Why a text is no report that we read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Longer than [`REPORT_OCTETS`].
    #[error("the report is longer than {REPORT_OCTETS} octets")]
    TooLong,
    /// Not JSON, or not of the form of RFC 8460 §4.4.
    #[error("the report cannot be read: {0}")]
    Unreadable(String),
    /// More of something than is read.
    #[error("the report has {0}")]
    TooMuch(&'static str),
    /// It is about nothing.
    #[error("the report has no policies")]
    Empty,
}

/// Who reports, and which report this is.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Who reports, for people.
    pub organization: &'a str,
    /// Whom to ask.
    pub contact: &'a str,
    /// The report's id.
    pub id: &'a str,
    /// The day that it is about.
    pub day: Day,
}

impl Report {
    /// A day's report. `counted` may be in any order; equal results are added up.
    pub fn of(head: Head<'_>, counted: &[Counted]) -> Report {
        let mut ordered: Vec<&Counted> = counted.iter().collect();
        ordered.sort_by(|a, b| a.result.cmp(&b.result));
        let mut policies: Vec<PolicyResult> = Vec::new();
        for run in ordered.chunk_by(|a, b| a.result.policy() == b.result.policy()) {
            policies.push(policy_result(run));
        }
        Report {
            organization_name: head.organization.to_owned(),
            date_range: DateRange {
                start_datetime: format!("{}T00:00:00Z", head.day),
                end_datetime: format!("{}T23:59:59Z", head.day),
            },
            contact_info: head.contact.to_owned(),
            report_id: head.id.to_owned(),
            policies,
        }
    }

    /// The report in JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, lists and numbers are always JSON")
    }

    /// Reads a report that somebody sent. What other reporters are known to write otherwise is understood: one text for
    /// a list, numbers in quotes, nothing where there is nothing to tell.
    ///
    /// # Errors
    /// When it is none, or larger than is read.
    pub fn parse(json: &[u8]) -> Result<Report, ReportError> {
        if json.len() > REPORT_OCTETS {
            return Err(ReportError::TooLong);
        }
        // Some write a byte order mark, which is no JSON.
        let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
        let report: Report =
            serde_json::from_slice(json).map_err(|error| ReportError::Unreadable(error.to_string()))?;
        report.check().map(|()| report)
    }

    fn check(&self) -> Result<(), ReportError> {
        if self.policies.is_empty() {
            return Err(ReportError::Empty);
        }
        if self.policies.len() > POLICIES {
            return Err(ReportError::TooMuch("more than 256 policies"));
        }
        if self.policies.iter().map(|policy| policy.failure_details.len()).sum::<usize>() > DETAILS {
            return Err(ReportError::TooMuch("more than 10000 failure details"));
        }
        let head = [&self.organization_name, &self.contact_info, &self.report_id];
        let dates = [&self.date_range.start_datetime, &self.date_range.end_datetime];
        let policies = self.policies.iter().flat_map(PolicyResult::texts);
        match head.into_iter().chain(dates).chain(policies).any(|text| text.len() > TEXT_OCTETS) {
            true => Err(ReportError::TooMuch("a text of more than 4096 octets")),
            false => Ok(()),
        }
    }

    /// The domains whose policies it is about, those that can be read.
    pub fn domains(&self) -> impl Iterator<Item = Domain> {
        self.policies.iter().filter_map(|policy| policy.policy.policy_domain.parse().ok())
    }

    /// Sessions that went well, and sessions that failed, in all.
    pub fn sessions(&self) -> (u64, u64) {
        self.policies.iter().fold((0, 0), |(well, failed), policy| {
            let summary = policy.summary;
            (
                well.saturating_add(summary.total_successful_session_count),
                failed.saturating_add(summary.total_failure_session_count),
            )
        })
    }
}

impl PolicyResult {
    fn texts(&self) -> impl Iterator<Item = &String> {
        let policy = &self.policy;
        let own = [&policy.policy_type, &policy.policy_domain].into_iter();
        let details = self.failure_details.iter().flat_map(|details| {
            let optional = [
                &details.sending_mta_ip,
                &details.receiving_mx_hostname,
                &details.receiving_mx_helo,
                &details.receiving_ip,
                &details.additional_information,
                &details.failure_reason_code,
            ];
            optional.into_iter().flatten().chain([&details.result_type])
        });
        own.chain(&policy.policy_string).chain(&policy.mx_host).chain(details)
    }
}

/// One policy, from results that are sorted and all of that policy.
fn policy_result(run: &[&Counted]) -> PolicyResult {
    let policy = run[0].result.policy();
    let mut summary = Summary { total_successful_session_count: 0, total_failure_session_count: 0 };
    let mut failure_details: Vec<FailureDetails> = Vec::new();
    for equal in run.chunk_by(|a, b| a.result == b.result) {
        let sessions = equal.iter().fold(0u64, |sum, counted| sum.saturating_add(counted.sessions));
        match equal[0].result.outcome() {
            Outcome::Success => summary.total_successful_session_count = sessions,
            Outcome::Failure(failure) => {
                summary.total_failure_session_count = summary.total_failure_session_count.saturating_add(sessions);
                failure_details.push(FailureDetails {
                    result_type: failure.result.as_str().to_owned(),
                    sending_mta_ip: failure.sending_mta_ip.map(|ip| ip.to_string()),
                    receiving_mx_hostname: failure.receiving_mx_hostname.clone(),
                    receiving_mx_helo: failure.receiving_mx_helo.clone(),
                    receiving_ip: failure.receiving_ip.map(|ip| ip.to_string()),
                    failed_session_count: sessions,
                    additional_information: None,
                    failure_reason_code: failure.failure_reason_code.clone(),
                });
            }
        }
    }
    PolicyResult {
        policy: Policy {
            policy_type: policy.kind.as_str().to_owned(),
            policy_string: policy.strings.clone(),
            policy_domain: policy.domain.to_string(),
            mx_host: if policy.kind == PolicyType::Sts { policy.mx_patterns.clone() } else { Vec::new() },
        },
        summary,
        failure_details,
    }
}

/// The name of a report's file (RFC 8460 §5.1), compressed. `unique` is of letters and digits.
pub fn filename(submitter: &Domain, domain: &Domain, day: Day, unique: &str) -> String {
    format!("{submitter}!{domain}!{}!{}!{unique}.json.gz", day.first_second(), day.last_second())
}

/// The subject of a report by mail (RFC 8460 §5.3).
pub fn subject(submitter: &Domain, domain: &Domain, id: &str) -> String {
    format!("Report Domain: {domain} Submitter: {submitter} Report-ID: <{id}>")
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::<OneOrMany>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(OneOrMany::One(text)) => vec![text],
        Some(OneOrMany::Many(texts)) => texts,
    })
}

fn details<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<FailureDetails>, D::Error> {
    Ok(Option::<Vec<FailureDetails>>::deserialize(deserializer)?.unwrap_or_default())
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = match Option::<Value>::deserialize(deserializer)? {
        None => Some(0),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    number.ok_or_else(|| D::Error::custom("a number of sessions is no whole number"))
}
