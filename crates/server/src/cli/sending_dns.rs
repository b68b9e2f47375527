//! `waxwing domain records` and `waxwing domain verify`: the DNS records of a sending domain.

use std::fmt::Write;

use delivery::resolve::Dns;
use policy::sending_dns::Validity;
use serde_json::{Value, json};
use smtp::Domain;
use store::Store;

use super::domain::{Output, missing};
use super::{Failure, print, rfc3339};
use crate::config::Config;
use crate::sending_dns::{Record, Records, SendingDns};

/// Longest string of a TXT record, in octets (RFC 1035 §3.3.14).
const STRING: usize = 255;

/// Prints the records to publish.
pub(super) async fn records(store: &Store, config: &Config, domain: Domain, output: Output) -> Result<(), Failure> {
    store.domain(&domain).await?.ok_or_else(|| missing(&domain))?;
    let records = look(config).known(store, &domain).await?;
    match output.json {
        true => print(format_args!("{:#}\n", as_json(&domain, None, &records))),
        false => print(to_publish(&records)),
    }
}

/// Looks for the records in the DNS, and fails unless all that is required is there.
pub(super) async fn verify(store: &Store, config: &Config, domain: Domain, output: Output) -> Result<(), Failure> {
    store.domain(&domain).await?.ok_or_else(|| missing(&domain))?;
    let records = look(config).verify(store, &domain).await?;
    let verified = store.domain(&domain).await?.ok_or_else(|| missing(&domain))?.verified;
    match output.json {
        true => print(format_args!("{:#}\n", as_json(&domain, Some(verified), &records)))?,
        false => print(in_words(&records))?,
    }
    let wrong = records
        .records
        .iter()
        .any(|record| record.is_active && record.purpose.is_required() && record.finding.validity != Validity::Valid);
    match (verified, wrong) {
        (true, false) => Ok(()),
        (true, true) => Err(Failure::Failed(format!("{domain}: not everything could be looked for; verified before"))),
        (false, _) => Err(Failure::Failed(format!("{domain} is not verified"))),
    }
}

fn look(config: &Config) -> SendingDns {
    SendingDns::of(config, Dns::new(config.resolver))
}

/// As a zone file takes them; what is only recommended is a comment.
fn to_publish(records: &Records) -> String {
    let mut text = String::new();
    for record in &records.records {
        let state = record.finding.validity.as_str();
        let (about, comment) = match (record.purpose.is_required(), record.is_active) {
            (true, true) => ("required", ""),
            (true, false) => ("a key that does not sign yet", ""),
            (false, _) => ("recommended", "; "),
        };
        let _ = writeln!(text, "; {}, {about}: {state}", record.purpose.as_str());
        let value = if record.kind == "TXT" { strings(&record.value) } else { record.value.clone() };
        let _ = writeln!(text, "{comment}{}. {} {value}", record.name, record.kind);
    }
    text
}

/// A text as strings of at most 255 octets, in quotes (RFC 7208 §3.3, RFC 6376 §3.6.2.2). What is put there is ASCII
/// without quotes and backslashes.
fn strings(value: &str) -> String {
    let strings: Vec<String> =
        value.as_bytes().chunks(STRING).map(|part| format!("\"{}\"", String::from_utf8_lossy(part))).collect();
    strings.join(" ")
}

fn in_words(records: &Records) -> String {
    let mut text = String::new();
    for record in &records.records {
        let validity = record.finding.validity.as_str();
        let active = if record.is_active { "" } else { " (does not sign yet)" };
        let _ = writeln!(text, "{validity:8} {:12} {} {}{active}", record.purpose.as_str(), record.name, record.kind);
        if let Some(words) = &record.finding.words {
            let _ = writeln!(text, "         {words}");
        }
        if record.finding.validity == Validity::Invalid {
            let _ = writeln!(text, "         expected: {}", record.value);
            record.found.iter().for_each(|found| _ = writeln!(text, "         found:    {found}"));
        }
    }
    text
}

fn as_json(domain: &Domain, verified: Option<bool>, records: &Records) -> Value {
    let record = |record: &Record| {
        json!({
            "purpose": record.purpose.as_str(),
            "required": record.purpose.is_required(),
            "active": record.is_active,
            "name": record.name,
            "type": record.kind,
            "value": record.value,
            "validity": record.finding.validity.as_str(),
            "detail": record.finding.words,
            "found": record.found,
        })
    };
    let mut all = json!({
        "domain": domain,
        "checked_at": records.checked_at.map(rfc3339),
        "records": records.records.iter().map(record).collect::<Vec<_>>(),
    });
    if let Some(verified) = verified {
        all["verified"] = verified.into();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_into_strings() {
        assert_eq!(strings("v=spf1 -all"), "\"v=spf1 -all\"");
        let long = "x".repeat(600);
        let cut = strings(&long);
        let parts: Vec<_> = cut.split(' ').map(|part| part.trim_matches('"')).collect();
        assert_eq!((parts.len(), parts.concat()), (3, long));
        assert!(parts.iter().all(|part| part.len() <= 255));
    }
}
