//! What requests about keys say.

use std::time::Duration;

use smtp::Domain;
use store::{ApiKey, KeyRole, KeyScope};

use super::json::kind;
use crate::api::http::error::ApiError;
use crate::api::http::form::{Form, parse_query};
use crate::api::limits::{KEY_DESCRIPTION_OCTETS, KEY_SECONDS};
use crate::api::sending::{excerpt, once};

/// Mailgun's kinds of keys.
const KINDS: [&str; 3] = ["domain", "user", "web"];

/// Which keys are to be listed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    kind: Option<String>,
    domain: Option<Domain>,
}

impl Wanted {
    pub(super) fn parse(query: &str) -> Result<Wanted, ApiError> {
        let mut wanted = Wanted::default();
        for (name, value) in parse_query(query)? {
            match (name.as_str(), value.trim()) {
                (_, "") => {}
                ("kind", value) => once(&mut wanted.kind, a_kind(value)?.to_owned(), "kind")?,
                ("domain_name", value) => once(&mut wanted.domain, domain(value)?, "domain_name")?,
                (name, _) => return Err(unknown(name)),
            }
        }
        Ok(wanted)
    }

    pub(super) fn includes(&self, key: &ApiKey) -> bool {
        self.kind.as_ref().is_none_or(|wanted| wanted == kind(&key.scope))
            && self.domain.as_ref().is_none_or(|wanted| key.scope.domain() == Some(wanted))
    }
}

/// What a request to make a key says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyFields {
    pub(super) scope: KeyScope,
    pub(super) role: KeyRole,
    pub(super) description: String,
    pub(super) lifetime: Option<Duration>,
}

impl KeyFields {
    pub(super) fn parse(form: &Form) -> Result<KeyFields, ApiError> {
        let (mut role, mut kind, mut domain_name) = (None, None, None);
        let (mut text, mut lifetime) = (None, None);
        for field in &form.fields {
            let (name, value) = (field.name.trim(), field.as_text()?.trim());
            match name {
                "role" => once(&mut role, a_role(value)?, name)?,
                "description" => once(&mut text, a_description(value)?, name)?,
                "kind" | "domain_name" | "expiration" if value.is_empty() => {}
                "kind" => once(&mut kind, a_kind(value)?.to_owned(), name)?,
                "domain_name" => once(&mut domain_name, domain(value)?, name)?,
                "expiration" => once(&mut lifetime, a_lifetime(value)?, name)?,
                // Whose key it is at Mailgun. There are no people here for whom it would change anything.
                "user_id" | "user_name" | "email" => {}
                _ => return Err(unknown(name)),
            }
        }
        let role = role.ok_or_else(|| ApiError::bad_request("'role' parameter is missing"))?;
        let scope = scope(kind.as_deref(), domain_name)?;
        if role == KeyRole::Sending && scope == KeyScope::Account {
            return Err(ApiError::bad_request("'domain_name' is required with the role 'sending'"));
        }
        Ok(KeyFields { scope, role, description: text.unwrap_or_default(), lifetime: lifetime.flatten() })
    }
}

/// What the key opens: never more than the one domain if one is named.
fn scope(kind: Option<&str>, domain: Option<Domain>) -> Result<KeyScope, ApiError> {
    let refused = |text: &str| Err(ApiError::bad_request(text));
    match (kind, domain) {
        (Some("web"), _) => refused("'kind' web is not supported: it belongs to Mailgun's own pages"),
        (Some("user"), Some(_)) => refused("'domain_name' needs 'kind' to be domain"),
        (Some("domain"), None) => refused("'domain_name' is required with 'kind' domain"),
        (_, Some(domain)) => Ok(KeyScope::Domain(domain)),
        (_, None) => Ok(KeyScope::Account),
    }
}

fn a_kind(value: &str) -> Result<&str, ApiError> {
    let words = "expected `kind` param to be one of [domain user web] or absent";
    let known = KINDS.contains(&value).then_some(value);
    known.ok_or_else(|| ApiError::bad_request(words).because(excerpt(value)))
}

fn a_role(value: &str) -> Result<KeyRole, ApiError> {
    value.parse().map_err(|why: String| ApiError::bad_request(format!("'role' {why}")))
}

fn a_description(value: &str) -> Result<String, ApiError> {
    if value.len() > KEY_DESCRIPTION_OCTETS {
        let text = format!("'description' is longer than {KEY_DESCRIPTION_OCTETS} octets");
        return Err(ApiError::bad_request(text));
    }
    if value.chars().any(char::is_control) {
        return Err(ApiError::bad_request("'description' has control characters"));
    }
    Ok(value.to_owned())
}

/// Seconds; 0 is no end.
fn a_lifetime(value: &str) -> Result<Option<Duration>, ApiError> {
    let words = || format!("'expiration' must be a number of seconds, at most {KEY_SECONDS}");
    let seconds: Option<u64> = value.parse().ok().filter(|seconds| *seconds <= KEY_SECONDS);
    let seconds = seconds.ok_or_else(|| ApiError::bad_request(words()))?;
    Ok((seconds > 0).then_some(Duration::from_secs(seconds)))
}

fn domain(value: &str) -> Result<Domain, ApiError> {
    value.parse().map_err(|error| ApiError::bad_request("'domain_name' is not a valid domain").because(error))
}

fn unknown(name: &str) -> ApiError {
    ApiError::bad_request(format!("'{}' is not a parameter", excerpt(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::http::form::Field;

    fn parse(fields: &[(&str, &str)]) -> Result<KeyFields, ApiError> {
        KeyFields::parse(&Form::of(fields.iter().map(|(name, value)| Field::text(*name, *value)).collect()))
    }

    #[test]
    fn a_key_opens_no_more_than_is_asked_for() {
        let of_domain = KeyScope::Domain("example.com".parse().unwrap());
        for (fields, scope) in [
            (&[("role", "admin")][..], KeyScope::Account),
            (&[("role", "basic"), ("kind", "user"), ("domain_name", "")], KeyScope::Account),
            (&[("role", "sending"), ("kind", "domain"), ("domain_name", "Example.com")], of_domain.clone()),
            (&[("role", "admin"), ("domain_name", "example.com"), ("email", "a@example.org")], of_domain),
        ] {
            assert_eq!(parse(fields).unwrap().scope, scope, "{fields:?}");
        }
        let key = parse(&[("role", "developer"), ("description", " ci "), ("expiration", "60")]).unwrap();
        assert_eq!((key.role, key.description.as_str()), (KeyRole::Developer, "ci"));
        assert_eq!(key.lifetime, Some(Duration::from_secs(60)));
        assert_eq!(parse(&[("role", "admin"), ("expiration", "0")]).unwrap().lifetime, None);
    }

    #[test]
    fn bad_fields_are_refused_by_name() {
        for (fields, message) in [
            (&[][..], "'role' parameter is missing"),
            (&[("role", "root")], "'role' must be one of: admin, developer, basic, sending"),
            (&[("role", "sending")], "'domain_name' is required with the role 'sending'"),
            (&[("role", "admin"), ("kind", "domain")], "'domain_name' is required with 'kind' domain"),
            (
                &[("role", "admin"), ("kind", "user"), ("domain_name", "example.com")],
                "'domain_name' needs 'kind' to be domain",
            ),
            (&[("role", "admin"), ("kind", "web")], "'kind' web is not supported: it belongs to Mailgun's own pages"),
            (&[("kind", "x")], "expected `kind` param to be one of [domain user web] or absent"),
            (&[("role", "admin"), ("role", "basic")], "'role' is given more than once, with different values"),
            (&[("expiration", "-1")], "'expiration' must be a number of seconds, at most 3153600000"),
            (&[("expiration", "3153600001")], "'expiration' must be a number of seconds, at most 3153600000"),
            (&[("description", "a\nb")], "'description' has control characters"),
            (&[("domain_name", "a b")], "'domain_name' is not a valid domain"),
            (&[("colour", "red")], "'colour' is not a parameter"),
        ] {
            assert_eq!(parse(fields).unwrap_err().message(), message, "{fields:?}");
        }
    }
}
