//! The DNS records of a domain as Mailgun's clients read them. `priority` is a string there, and so is `valid`.

use serde_json::{Value, json};
use store::SendingDomain;

use crate::api::App;
use crate::api::http::error::ApiError;
use crate::sending_dns::{Record, Records};

/// A record. `detail` and `purpose` are ours: why it is not valid, and what it is for.
pub(in crate::api) fn record(record: &Record) -> Value {
    json!({
        "is_active": record.is_active,
        "cached": record.found,
        "name": record.name,
        "record_type": record.kind,
        "valid": record.finding.validity.as_str(),
        "value": record.value,
        "purpose": record.purpose.as_str(),
        "detail": record.finding.words,
    })
}

/// The records that sending hangs on.
pub(in crate::api) fn sending(records: &Records) -> Vec<Value> {
    records.records.iter().filter(|record| record.purpose.is_required()).map(self::record).collect()
}

/// The domain with its records, as they stood when they were last looked for.
pub(super) async fn with_known(app: &App, message: Option<&str>, domain: &SendingDomain) -> Result<Value, ApiError> {
    let records = app.sending_dns.known(&app.store, &domain.name).await?;
    Ok(with(app, message, domain, &records))
}

/// The domain with these records. Nothing is received, so there is no list of what that would take; what is
/// recommended has a list of its own, which is ours.
pub(super) fn with(app: &App, message: Option<&str>, domain: &SendingDomain, records: &Records) -> Value {
    let recommended = records.records.iter().filter(|record| !record.purpose.is_required());
    let mut answer = json!({
        "domain": super::json::domain(domain, app.retention),
        "receiving_dns_records": [],
        "sending_dns_records": sending(records),
        "recommended_dns_records": recommended.map(record).collect::<Vec<_>>(),
    });
    if let Some(message) = message {
        answer["message"] = message.into();
    }
    answer
}
