//! From the fields of a form to what a template says.

use serde_json::{Map, Value};

use crate::api::http::error::ApiError;
use crate::api::http::form::Form;
use crate::api::limits::{TEMPLATE_COMMENT_OCTETS, TEMPLATE_HEADERS_OCTETS, TEMPLATE_NAME_OCTETS};
use crate::api::sending::{excerpt, once, yes_no};
use crate::templates;

/// The fields of each request; any other is refused.
pub(super) const OF_TEMPLATE: &[&str] =
    &["name", "description", "createdBy", "template", "tag", "comment", "headers", "engine", "active"];
pub(super) const OF_DESCRIPTION: &[&str] = &["description"];
pub(super) const OF_VERSION: &[&str] = &["template", "tag", "comment", "headers", "engine", "active"];
pub(super) const OF_CHANGE: &[&str] = &["template", "comment", "headers", "engine", "active"];

/// The header fields that a template may preset.
pub(super) const PRESETS: [&str; 3] = ["From", "Subject", "Reply-To"];

/// What a request says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) created_by: Option<String>,
    /// A template, checked.
    pub(super) source: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) comment: Option<String>,
    /// By their names in [`PRESETS`].
    pub(super) headers: Option<Map<String, Value>>,
    pub(super) active: Option<bool>,
    engine: Option<()>,
}

impl Fields {
    pub(super) fn parse(form: &Form, known: &[&str]) -> Result<Fields, ApiError> {
        let mut fields = Fields::default();
        for field in &form.fields {
            let name = field.name.trim();
            if !known.contains(&name) {
                return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(name))));
            }
            let value = field.as_text()?;
            match name {
                "name" => once(&mut fields.name, template_name(value)?, name)?,
                "description" => once(&mut fields.description, comment(value, name)?, name)?,
                "createdBy" => once(&mut fields.created_by, comment(value, name)?, name)?,
                "comment" => once(&mut fields.comment, comment(value, name)?, name)?,
                "template" => once(&mut fields.source, source(value)?, name)?,
                // Clients send what they have nothing for.
                _ if value.trim().is_empty() => {}
                "tag" => once(&mut fields.tag, tag(value, name)?, name)?,
                "headers" => once(&mut fields.headers, headers(value)?, name)?,
                "active" => once(&mut fields.active, yes_no(value, name)?, name)?,
                _ if value.trim() == "handlebars" => once(&mut fields.engine, (), name)?,
                _ => return Err(ApiError::bad_request("'engine' can only be 'handlebars'")),
            }
        }
        Ok(fields)
    }

    /// What says something about a version has no place where there is none.
    pub(super) fn nothing_of_a_version(&self) -> Result<(), ApiError> {
        let given = [("tag", self.tag.is_some()), ("headers", self.headers.is_some())];
        match given.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(ApiError::bad_request(format!("'{name}' needs a 'template'"))),
            None => Ok(()),
        }
    }
}

/// The name of a template, in lower case.
pub(super) fn template_name(name: &str) -> Result<String, ApiError> {
    checked_name(name, "name").map(|name| name.to_lowercase())
}

/// The name of a version.
pub(super) fn tag(name: &str, field: &str) -> Result<String, ApiError> {
    checked_name(name, field).map(str::to_owned)
}

/// Names stand in paths.
fn checked_name<'a>(name: &'a str, field: &str) -> Result<&'a str, ApiError> {
    let name = name.trim();
    let is_good = !name.is_empty()
        && name.len() <= TEMPLATE_NAME_OCTETS
        && !name.contains(['/', '\\'])
        && !name.contains(char::is_control)
        && !matches!(name, "." | "..");
    let refuse = || {
        let limit = TEMPLATE_NAME_OCTETS;
        ApiError::bad_request(format!("'{field}' must have 1 to {limit} octets, no slash and no control characters"))
    };
    is_good.then_some(name).ok_or_else(refuse)
}

fn comment(text: &str, field: &str) -> Result<String, ApiError> {
    if text.len() > TEMPLATE_COMMENT_OCTETS {
        return Err(ApiError::bad_request(format!("'{field}' is longer than {TEMPLATE_COMMENT_OCTETS} octets")));
    }
    Ok(text.to_owned())
}

fn source(text: &str) -> Result<String, ApiError> {
    let refuse = |error| ApiError::bad_request(format!("'template' is not valid: {error}"));
    templates::check(text).map_err(refuse)?;
    Ok(text.to_owned())
}

fn headers(json: &str) -> Result<Map<String, Value>, ApiError> {
    let refuse = |why: &str| Err(ApiError::bad_request(format!("'headers' {why}")));
    if json.len() > TEMPLATE_HEADERS_OCTETS {
        return refuse(&format!("is longer than {TEMPLATE_HEADERS_OCTETS} octets"));
    }
    let Ok(Value::Object(given)) = serde_json::from_str(json) else { return refuse("is not a valid JSON object") };
    let mut headers = Map::new();
    for (name, value) in given {
        let Some(preset) = PRESETS.iter().find(|preset| preset.eq_ignore_ascii_case(&name)) else {
            return refuse("can only have From, Subject and Reply-To");
        };
        match &value {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => {
                if let Err(error) = templates::check(text) {
                    return refuse(&format!("has no valid {preset}: {error}"));
                }
                headers.insert((*preset).to_owned(), value);
            }
            _ => return refuse("can only have texts"),
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::http::form::Field;

    fn parse(fields: &[(&str, &str)], known: &[&str]) -> Result<Fields, ApiError> {
        let fields = fields.iter().map(|(name, value)| Field::text(*name, (*value).to_owned())).collect();
        Fields::parse(&Form::of(fields), known)
    }

    #[test]
    fn fields_are_read_as_clients_send_them() {
        let fields = parse(
            &[
                ("name", "My Template.1"),
                ("description", ""),
                ("template", "{{x}}"),
                ("tag", ""),
                ("engine", "handlebars"),
                ("headers", r#"{"from": "a@example.com", "Subject": "{{x}}", "Reply-To": ""}"#),
                ("active", "yes"),
            ],
            OF_TEMPLATE,
        )
        .unwrap();
        assert_eq!(fields.name.as_deref(), Some("my template.1"));
        assert_eq!((fields.description.as_deref(), fields.tag, fields.active), (Some(""), None, Some(true)));
        assert_eq!(Value::from(fields.headers.unwrap()), json!({ "From": "a@example.com", "Subject": "{{x}}" }));
    }

    #[test]
    fn bad_fields_are_refused_by_name() {
        let long = "x".repeat(300);
        let name = "must have 1 to 255 octets, no slash and no control characters";
        for (field, value, message) in [
            ("name", "", format!("'name' {name}")),
            ("name", "a/b", format!("'name' {name}")),
            ("name", "..", format!("'name' {name}")),
            ("tag", &long, format!("'tag' {name}")),
            ("tag", "a\nb", format!("'tag' {name}")),
            ("template", "{{#if}}", "'template' is not valid: ".to_owned()),
            ("template", "{{> x}}", "'template' is not valid: partials and decorators are not supported".to_owned()),
            ("headers", "[]", "'headers' is not a valid JSON object".to_owned()),
            ("headers", r#"{"Bcc": "x"}"#, "'headers' can only have From, Subject and Reply-To".to_owned()),
            ("headers", r#"{"From": 1}"#, "'headers' can only have texts".to_owned()),
            ("headers", r#"{"Subject": "{{x"}"#, "'headers' has no valid Subject: ".to_owned()),
            ("engine", "go", "'engine' can only be 'handlebars'".to_owned()),
            ("active", "1", "'active' must be one of: yes, no, true, false".to_owned()),
            ("mjml", "x", "'mjml' is not a parameter".to_owned()),
        ] {
            let error = parse(&[(field, value)], OF_TEMPLATE).unwrap_err();
            assert!(error.message().starts_with(&message), "{field}={value}: {}", error.message());
        }
    }
}
