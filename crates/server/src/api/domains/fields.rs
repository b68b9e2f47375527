//! From the fields of a form to the settings of a domain.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use message::dkim::KeyKind;
use policy::tls::TlsSettings;
use smtp::Domain;
use store::retention::RetentionChange;

use crate::api::dkim::{kind_of_bits, selector_of};
use crate::api::http::error::ApiError;
use crate::api::http::form::Form;
use crate::api::sending::{excerpt, not_supported, once, yes_no};

/// What happens to spam that comes in: nothing, since nothing comes in.
pub(super) const SPAM_ACTION: &str = "disabled";
/// Mailgun's default for the host of tracking links.
pub(super) const WEB_PREFIX: &str = "email";
/// Mailgun's default for the scheme of tracking links.
pub(super) const WEB_SCHEME: &str = "http";

/// Switches of later versions, which are off.
const SWITCHES_THAT_ARE_OFF: [&str; 5] = [
    "wildcard",
    "force_dkim_authority",
    "force_root_dkim_host",
    "use_automatic_sender_security",
    "encrypt_incoming_message",
];
/// Settings of later versions, without a value that would say what happens anyway.
const NOT_YET: [&str; 6] = ["smtp_password", "dkim_host_name", "ips", "pool_id", "archive_to", "mailfrom_host"];

/// What a request to make or change a domain says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct DomainFields {
    pub(super) name: Option<Domain>,
    pub(super) tls: TlsSettings,
    /// What DKIM key is made with the domain, and where it is published.
    pub(super) dkim_kind: Option<KeyKind>,
    pub(super) dkim_selector: Option<Domain>,
    pub(super) retention: RetentionChange,
}

impl DomainFields {
    /// Reads the fields. Whatever is not understood refuses the request: a setting that is lost without a word may be
    /// one that somebody relies on.
    pub(super) fn parse(form: &Form) -> Result<DomainFields, ApiError> {
        let mut fields = DomainFields::default();
        for field in &form.fields {
            let (name, value) = (field.name.trim(), field.as_text()?.trim());
            match name {
                "name" => once(&mut fields.name, domain_name(value)?, name)?,
                _ if take_tls(&mut fields.tls, name, value)? => {}
                _ if !value.is_empty() && take_retention(&mut fields.retention, name, value)? => {}
                // Clients send settings that they have nothing for.
                _ if is_known(name) && value.is_empty() => {}
                "dkim_key_size" => once(&mut fields.dkim_kind, kind_of_bits(value, name)?, name)?,
                "dkim_selector" => once(&mut fields.dkim_selector, selector_of(value, name)?, name)?,
                "spam_action" => only(name, value, SPAM_ACTION)?,
                "web_prefix" => only(name, value, WEB_PREFIX)?,
                "web_scheme" => only(name, value, WEB_SCHEME)?,
                _ if SWITCHES_THAT_ARE_OFF.contains(&name) => {
                    if yes_no(value, name)? {
                        return Err(only_supported(name, "false"));
                    }
                }
                _ if NOT_YET.contains(&name) => return Err(not_supported(name)),
                _ => return Err(unknown(name)),
            }
        }
        Ok(fields)
    }
}

/// Takes the field if it is one of the TLS settings, and says whether it was. `tls_fallback` and `tls_failure` are ours;
/// Mailgun has no such choice.
pub(super) fn take_tls(tls: &mut TlsSettings, name: &str, value: &str) -> Result<bool, ApiError> {
    match name {
        "tls_fallback" => once(&mut tls.fallback, choice(name, value)?, name)?,
        "tls_failure" => once(&mut tls.when_left, choice(name, value)?, name)?,
        "require_tls" | "require-tls" => once(&mut tls.require_tls, yes_no(value, name)?, name)?,
        "skip_verification" | "skip-verification" => once(&mut tls.skip_verification, yes_no(value, name)?, name)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Takes the field if it is one of the limits of what is kept, and says whether it was. Times are seconds. All but
/// `message_ttl` are ours.
fn take_retention(limits: &mut RetentionChange, name: &str, value: &str) -> Result<bool, ApiError> {
    const LONGEST: u64 = 3650 * 24 * 3600;
    let seconds = |least| Ok::<_, ApiError>(limit(name, value, least..=LONGEST)?.map(Duration::from_secs));
    let amount = || limit(name, value, 1..=i64::MAX.unsigned_abs());
    match name {
        "message_ttl" => once(&mut limits.contents, seconds(0)?, name)?,
        "event_retention" => once(&mut limits.events, seconds(3600)?, name)?,
        "event_limit" => once(&mut limits.most_events, amount()?, name)?,
        "message_limit" => once(&mut limits.most_octets, amount()?, name)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// A number, or `default` for what holds for all domains.
fn limit(name: &str, value: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, ApiError> {
    if value.eq_ignore_ascii_case("default") {
        return Ok(None);
    }
    let number = value.parse().ok().filter(|number| range.contains(number));
    let (least, most) = (range.start(), range.end());
    let refusal = || format!("'{name}' must be a whole number from {least} to {most}, or 'default'");
    number.map(Some).ok_or_else(|| ApiError::bad_request(refusal()))
}

fn choice<T: FromStr<Err = String>>(name: &str, value: &str) -> Result<T, ApiError> {
    value.parse().map_err(|error: String| ApiError::bad_request(format!("'{name}': {}", excerpt(&error))))
}

/// The refusal of a field that nobody knows.
pub(super) fn unknown(name: &str) -> ApiError {
    ApiError::bad_request(format!("'{}' is not a parameter", excerpt(name)))
}

fn is_known(name: &str) -> bool {
    const OTHERS: [&str; 9] = [
        "spam_action",
        "web_prefix",
        "web_scheme",
        "dkim_key_size",
        "dkim_selector",
        "message_ttl",
        "event_retention",
        "event_limit",
        "message_limit",
    ];
    OTHERS.contains(&name) || SWITCHES_THAT_ARE_OFF.contains(&name) || NOT_YET.contains(&name)
}

fn domain_name(value: &str) -> Result<Domain, ApiError> {
    if value.is_empty() {
        return Err(ApiError::bad_request("name parameter is missing"));
    }
    value.parse().map_err(|error| ApiError::bad_request("name parameter is not a valid domain").because(error))
}

fn only(name: &str, value: &str, supported: &str) -> Result<(), ApiError> {
    if value.eq_ignore_ascii_case(supported) { Ok(()) } else { Err(only_supported(name, supported)) }
}

fn only_supported(name: &str, supported: &str) -> ApiError {
    ApiError::bad_request(format!("'{name}' is not supported yet, only '{supported}' is"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::http::form::Field;

    fn parse(fields: &[(&str, &str)]) -> Result<DomainFields, ApiError> {
        let fields = fields.iter().map(|(name, value)| Field::text(*name, *value)).collect();
        DomainFields::parse(&Form::of(fields))
    }

    #[test]
    fn settings_are_read_and_defaults_passed_over() {
        let fields = [
            ("name", "Example.COM"),
            ("require_tls", "True"),
            ("spam_action", "disabled"),
            ("wildcard", "false"),
            ("web_scheme", "http"),
            ("web_prefix", "email"),
            ("message_ttl", "259200"),
            ("event_retention", ""),
            ("event_limit", "Default"),
            ("smtp_password", ""),
            ("use_automatic_sender_security", "no"),
        ];
        let tls = TlsSettings { require_tls: Some(true), ..TlsSettings::default() };
        let name = Some("example.com".parse().unwrap());
        let retention = RetentionChange {
            contents: Some(Some(Duration::from_secs(259_200))),
            most_events: Some(None),
            ..RetentionChange::default()
        };
        assert_eq!(parse(&fields), Ok(DomainFields { name, tls, retention, ..DomainFields::default() }));
        assert_eq!(parse(&[]), Ok(DomainFields::default()));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (name, value, message) in [
            ("name", "", "name parameter is missing"),
            ("name", "a b", "name parameter is not a valid domain"),
            ("require_tls", "1", "'require_tls' must be one of: yes, no, true, false"),
            ("skip_verification", "", "'skip_verification' must be one of: yes, no, true, false"),
            ("spam_action", "block", "'spam_action' is not supported yet, only 'disabled' is"),
            ("wildcard", "true", "'wildcard' is not supported yet, only 'false' is"),
            ("wildcard", "maybe", "'wildcard' must be one of: yes, no, true, false"),
            ("web_scheme", "https", "'web_scheme' is not supported yet, only 'http' is"),
            ("message_ttl", "3d", "'message_ttl' must be a whole number from 0 to 315360000, or 'default'"),
            ("event_retention", "60", "'event_retention' must be a whole number from 3600 to 315360000, or 'default'"),
            ("event_limit", "0", "'event_limit' must be a whole number from 1 to 9223372036854775807, or 'default'"),
            ("smtp_password", "secret", "'smtp_password' is not supported yet"),
            ("dkim_key_size", "512", "'dkim_key_size' must be one of: 2048, 4096"),
            ("dkim_selector", "a b", "'dkim_selector' is not a valid DKIM selector"),
            ("requiretls", "true", "'requiretls' is not a parameter"),
        ] {
            assert_eq!(parse(&[(name, value)]).unwrap_err().message(), message, "{name}={value}");
        }
        let error = parse(&[("require_tls", "yes"), ("require-tls", "no")]).unwrap_err();
        assert_eq!(error.message(), "'require-tls' is given more than once, with different values");
    }
}
