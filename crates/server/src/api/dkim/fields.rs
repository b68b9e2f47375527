//! What requests about keys say.

use axum::extract::Request;
use message::dkim::KeyKind;
use serde_json::{Value, json};
use smtp::Domain;
use store::dkim::{DkimKeyQuery, PrivateKey};

use crate::api::App;
use crate::api::http::error::ApiError;
use crate::api::http::form::{Field, Form, parse_query, read_anywhere};
use crate::api::limits::{DKIM_KEYS_PER_PAGE, DKIM_KEYS_PER_PAGE_DEFAULT};
use crate::api::sending::{excerpt, once};
use crate::dkim::Source;

/// What a request to make a key says.
#[derive(Debug)]
pub(super) struct KeyFields {
    pub(super) domain: Domain,
    pub(super) selector: Domain,
    pub(super) source: Source,
}

impl KeyFields {
    pub(super) fn parse(form: &Form) -> Result<KeyFields, ApiError> {
        let (mut domain, mut selector, mut kind, mut bits, mut pem) = (None, None, None, None, None);
        for field in &form.fields {
            match field.name.trim() {
                "signing_domain" => once(&mut domain, domain_of(field)?, "signing_domain")?,
                "selector" => once(&mut selector, selector_of(field.as_text()?, "selector")?, "selector")?,
                "type" => once(&mut kind, field.as_text()?.trim().to_ascii_lowercase(), "type")?,
                "bits" if field.as_text()?.trim().is_empty() => {}
                "bits" => once(&mut bits, kind_of_bits(field.as_text()?, "bits")?, "bits")?,
                // As text, or as a file, which is how one has it.
                "pem" if field.content.is_empty() => {}
                "pem" => once(&mut pem, pem_of(field)?, "pem")?,
                name => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(name)))),
            }
        }
        let missing = |name: &str| ApiError::bad_request(format!("{name} parameter is missing"));
        let kind = match (kind.as_deref(), bits) {
            (None | Some("rsa"), bits) => bits.unwrap_or(KeyKind::Rsa2048),
            (Some("ed25519"), None) => KeyKind::Ed25519,
            (Some("ed25519"), Some(_)) => return Err(ApiError::bad_request("'bits' is for RSA keys only")),
            (Some(_), _) => return Err(ApiError::bad_request("'type' must be one of: rsa, ed25519")),
        };
        Ok(KeyFields {
            domain: domain.ok_or_else(|| missing("signing_domain"))?,
            selector: selector.ok_or_else(|| missing("selector"))?,
            source: pem.map_or(Source::Made(kind), Source::Given),
        })
    }
}

/// What RSA key a number of bits asks for. Mailgun's 1024 are refused.
pub(in crate::api) fn kind_of_bits(value: &str, name: &str) -> Result<KeyKind, ApiError> {
    match value.trim() {
        "2048" => Ok(KeyKind::Rsa2048),
        "4096" => Ok(KeyKind::Rsa4096),
        "1024" => Err(ApiError::bad_request(format!(
            "'{name}' of 1024 is refused: RSA keys of signers should have at least 2048 bits (RFC 8301 §3.2)"
        ))),
        _ => Err(ApiError::bad_request(format!("'{name}' must be one of: 2048, 4096"))),
    }
}

/// A selector (RFC 6376 §3.1).
pub(in crate::api) fn selector_of(value: &str, name: &str) -> Result<Domain, ApiError> {
    let wrong = || ApiError::bad_request(format!("'{name}' is not a valid DKIM selector"));
    value.trim().parse().map_err(|error| wrong().because(error))
}

fn domain_of(field: &Field) -> Result<Domain, ApiError> {
    let wrong = || ApiError::bad_request("'signing_domain' is not a valid domain");
    field.as_text()?.trim().parse().map_err(|error| wrong().because(error))
}

fn pem_of(field: &Field) -> Result<PrivateKey, ApiError> {
    let text = String::from_utf8(field.content.to_vec());
    text.map(PrivateKey::new).map_err(|_| ApiError::bad_request("'pem' parameter is not valid UTF-8"))
}

/// The one value that a request must have, and no other: in a form, or in the query, where mailgun.js puts it.
pub(super) async fn one_value(app: &App, request: Request, name: &str) -> Result<String, ApiError> {
    let mut found = None;
    for (field, value) in read_anywhere(app, request).await? {
        if field.trim() != name {
            return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(&field))));
        }
        once(&mut found, value.trim().to_owned(), name)?;
    }
    found.ok_or_else(|| ApiError::bad_request(format!("{name} parameter is missing")))
}

/// A name that a query must give.
pub(super) fn one_query(query: &str, name: &str) -> Result<Domain, ApiError> {
    let mut found = None;
    for (_, value) in parse_query(query)?.into_iter().filter(|(given, _)| given == name) {
        once(&mut found, value, name)?;
    }
    let value = found.ok_or_else(|| ApiError::bad_request(format!("{name} parameter is missing")))?;
    value.trim().parse().map_err(|error| ApiError::bad_request(format!("'{name}' is not a valid name")).because(error))
}

/// Which page of keys is wanted.
#[derive(Debug, Default)]
pub(super) struct Page {
    domain: Option<Domain>,
    selector: Option<Domain>,
    limit: Option<usize>,
    number: Option<usize>,
}

impl Page {
    pub(super) fn parse(query: &str) -> Result<Page, ApiError> {
        let mut page = Page::default();
        for (name, value) in parse_query(query)? {
            let value = value.trim();
            match name.as_str() {
                _ if value.is_empty() => {}
                "signing_domain" => once(&mut page.domain, selector_of(value, &name)?, &name)?,
                "selector" => once(&mut page.selector, selector_of(value, &name)?, &name)?,
                "limit" => once(&mut page.limit, number(value, &name)?.clamp(1, DKIM_KEYS_PER_PAGE), &name)?,
                "page" => once(&mut page.number, number(value, &name)?, &name)?,
                _ => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(&name)))),
            }
        }
        Ok(page)
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(DKIM_KEYS_PER_PAGE_DEFAULT)
    }

    pub(super) fn query(&self) -> DkimKeyQuery {
        DkimKeyQuery {
            domain: self.domain.clone(),
            selector: self.selector.clone(),
            limit: self.limit(),
            skip: self.number.unwrap_or(0).saturating_mul(self.limit()),
        }
    }

    /// Links to this page's neighbours; the one after the last has no items, and is where clients stop.
    pub(super) fn links(&self, base: &str, total: u64) -> Value {
        let last = usize::try_from(total).unwrap_or(usize::MAX).saturating_sub(1) / self.limit();
        let number = self.number.unwrap_or(0);
        let link = |number: usize| {
            let given = [("signing_domain", &self.domain), ("selector", &self.selector)];
            let given = given.iter().filter_map(|(name, value)| Some(format!("&{name}={}", value.as_ref()?)));
            format!("{base}?limit={}&page={number}{}", self.limit(), given.collect::<String>())
        };
        json!({
            "first": link(0),
            "previous": link(number.saturating_sub(1)),
            "next": link(number.saturating_add(1)),
            "last": link(last),
        })
    }
}

fn number(value: &str, name: &str) -> Result<usize, ApiError> {
    let number = value.parse::<u16>().map_err(|_| ApiError::bad_request(format!("'{name}' must be a number")))?;
    Ok(number.into())
}
