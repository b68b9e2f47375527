//! From the fields of a form or a query to URLs and subjects.

use store::webhook::Subject;

use super::{subject, word};
use crate::api::http::error::ApiError;
use crate::api::http::form::Form;
use crate::api::limits::{WEBHOOK_DESCRIPTION_OCTETS, WEBHOOK_URL_OCTETS, WEBHOOK_URLS};
use crate::api::sending::{excerpt, once};

/// What a request says. Which of it must be there is the operation's matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) kind: Option<Subject>,
    pub(super) urls: Vec<String>,
    pub(super) subjects: Vec<Subject>,
    pub(super) description: Option<String>,
}

impl Fields {
    /// Reads the fields that an operation knows; any other refuses the request.
    pub(super) fn parse(form: &Form, known: &[&str]) -> Result<Fields, ApiError> {
        let mut fields = Fields::default();
        for field in &form.fields {
            let (name, value) = (field.name.trim(), field.as_text()?.trim());
            match name {
                _ if !known.contains(&name) => {
                    return Err(ApiError::bad_request(format!("'{}' is not a known parameter", excerpt(name))));
                }
                "id" => once(&mut fields.kind, known_subject(name, value)?, name)?,
                "url" => add(&mut fields.urls, url(value)?),
                "event_types" => {
                    for one in value.split(',').map(str::trim).filter(|one| !one.is_empty()) {
                        add(&mut fields.subjects, known_subject(name, one)?);
                    }
                }
                "description" => once(&mut fields.description, description(value)?, name)?,
                _ => {}
            }
        }
        Ok(fields)
    }

    /// One URL, or the refusal.
    pub(super) fn only_url(&self) -> Result<String, ApiError> {
        match self.urls.as_slice() {
            [] => Err(missing("url")),
            [url] => Ok(url.clone()),
            _ => Err(ApiError::bad_request("'url' may be given once")),
        }
    }

    /// At least one URL and not too many, or the refusal.
    pub(super) fn few_urls(self) -> Result<Vec<String>, ApiError> {
        match self.urls.len() {
            0 => Err(missing("url")),
            1..=WEBHOOK_URLS => Ok(self.urls),
            _ => Err(ApiError::bad_request(format!("'url' may be given {WEBHOOK_URLS} times"))),
        }
    }

    /// At least one subject, or the refusal.
    pub(super) fn some_subjects(&self) -> Result<Vec<Subject>, ApiError> {
        if self.subjects.is_empty() { Err(missing("event_types")) } else { Ok(self.subjects.clone()) }
    }
}

pub(super) fn missing(name: &str) -> ApiError {
    ApiError::bad_request(format!("'{name}' parameter is missing"))
}

fn add<T: PartialEq>(all: &mut Vec<T>, new: T) {
    if !all.contains(&new) {
        all.push(new);
    }
}

/// The subject that a field names.
pub(super) fn known_subject(name: &str, value: &str) -> Result<Subject, ApiError> {
    subject(value).ok_or_else(|| {
        let all = Subject::ALL.map(word).join(", ");
        ApiError::bad_request(format!("'{name}' must be one of: {all}")).because(excerpt(value))
    })
}

/// A URL that can be told, as it was given.
fn url(value: &str) -> Result<String, ApiError> {
    let bad = |why: &str| Err(ApiError::bad_request(format!("'url' {why}")));
    if value.len() > WEBHOOK_URL_OCTETS {
        return bad(&format!("is longer than {WEBHOOK_URL_OCTETS} octets"));
    }
    if value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return bad("has white space in it");
    }
    match crate::webhooks::place(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(_) => bad("must be an http or https URL with a host"),
    }
}

fn description(value: &str) -> Result<String, ApiError> {
    if value.len() > WEBHOOK_DESCRIPTION_OCTETS || value.chars().any(char::is_control) {
        let text = format!("'description' may have {WEBHOOK_DESCRIPTION_OCTETS} octets and no control characters");
        return Err(ApiError::bad_request(text));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::http::form::Field;

    fn parse(fields: &[(&str, &str)]) -> Result<Fields, ApiError> {
        let fields = fields.iter().map(|(name, value)| Field::text(*name, *value)).collect();
        Fields::parse(&Form::of(fields), &["id", "url", "event_types", "description"])
    }

    #[test]
    fn fields_are_read() {
        let fields = parse(&[
            ("id", "permanent_fail"),
            ("url", " https://a.test/x "),
            ("url", "http://me:pw@[2001:db8::1]:8080"),
            ("url", "https://a.test/x"),
            ("event_types", "opened, clicked"),
            ("event_types", "opened"),
            ("description", "mine"),
        ]);
        let expected = Fields {
            kind: Some(Subject::FailedPermanently),
            urls: vec!["https://a.test/x".to_owned(), "http://me:pw@[2001:db8::1]:8080".to_owned()],
            subjects: vec![Subject::Opened, Subject::Clicked],
            description: Some("mine".to_owned()),
        };
        assert_eq!(fields, Ok(expected));
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        for bad in [
            ("id", "bounced"),
            ("event_types", "delivered,failed"),
            ("url", ""),
            ("url", "a.test"),
            ("url", "ftp://a.test/"),
            ("url", "https://"),
            ("url", "file:///etc/passwd"),
            ("url", "https://a.test/x y"),
            ("url", "https://a.test\r\nX: y"),
            ("description", "a\nb"),
            ("require_tls", "yes"),
        ] {
            assert!(parse(&[bad]).is_err(), "{bad:?}");
        }
        assert!(parse(&[("url", &format!("https://a.test/{}", "x".repeat(WEBHOOK_URL_OCTETS)))]).is_err());
        let four: Vec<_> = ["a", "b", "c", "d"].map(|name| format!("https://{name}.test/")).into();
        let four: Vec<_> = four.iter().map(|url| ("url", url.as_str())).collect();
        assert!(parse(&four).unwrap().few_urls().is_err());
    }
}
