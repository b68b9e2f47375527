//! `template`: what a stored template makes of a message.

use message::{Identity, ReplaceError};
use serde_json::{Map, Value};
use store::Store;
use store::template::{TemplateUse, TemplateVersion};

use super::mime_headers::for_each_option;
use super::options::{Options, excerpt, once, plain_name};
use super::request::{Fields, MimeRequest};
use crate::api::http::error::ApiError;
use crate::api::http::form::Form;
use crate::copies::{Plan, TemplatePlan, any_placeholder};
use crate::templates::{self, Escape, TemplateError};

/// The headers that name a template and a version of it.
const NAME_HEADER: &str = "x-mailgun-template-name";
const VERSION_HEADER: &str = "x-mailgun-template-version";

/// The version of a template that a message is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UsedTemplate {
    name: String,
    version: TemplateVersion,
}

/// Which template a request names.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    name: Option<String>,
    tag: Option<String>,
}

impl Wanted {
    /// Takes what names a template or a version, be it a field or a header.
    fn take(&mut self, given: &str, value: &str) -> Result<(), ApiError> {
        let slot = match plain_name(given).trim_start_matches("h:").trim_start() {
            "template" | NAME_HEADER => &mut self.name,
            "t:version" | VERSION_HEADER => &mut self.tag,
            _ => return Ok(()),
        };
        match value.trim() {
            "" => Ok(()),
            value => once(slot, value.to_owned(), given),
        }
    }

    /// What a form says, and where it has a whole message, that.
    pub(super) fn of_form(form: &Form, is_whole: bool) -> Result<Wanted, ApiError> {
        let mut wanted = Wanted::default();
        for field in &form.fields {
            let name = plain_name(&field.name);
            if is_whole && name == "message" {
                wanted.take_message(&field.content)?;
            } else if name.starts_with("h:") || matches!(name.as_str(), "template" | "t:version") {
                wanted.take(&field.name, field.as_text()?)?;
            }
        }
        Ok(wanted)
    }

    /// What the headers of a whole message say.
    pub(super) fn take_message(&mut self, message: &[u8]) -> Result<(), ApiError> {
        for_each_option(message, |name, value| self.take(name, value))
    }
}

impl UsedTemplate {
    /// The template that is named, and of it the version that is named, or else the active one.
    pub(super) async fn find(store: &Store, domain: &smtp::Domain, wanted: Wanted) -> Result<Option<Self>, ApiError> {
        let Wanted { name, tag } = wanted;
        let Some(name) = name.map(|name| name.to_lowercase()) else { return Ok(None) };
        let refuse = |what: String| ApiError::bad_request(what);
        let version = match &tag {
            Some(tag) => store.template_version(domain, &name, tag).await?.map(|(_, version)| version),
            None => match store.template(domain, &name).await? {
                Some((_, Some(version))) => Some(version),
                Some((_, None)) => {
                    return Err(refuse(format!("template '{}' has no active version", excerpt(&name))));
                }
                None => None,
            },
        };
        let version = version.ok_or_else(|| match &tag {
            Some(tag) => refuse(format!("template '{}' with version '{}' not found", excerpt(&name), excerpt(tag))),
            None => refuse(format!("template '{}' not found", excerpt(&name))),
        })?;
        Ok(Some(UsedTemplate { name, version }))
    }

    /// Makes the HTML of a whole message, and what the message leaves to the template.
    pub(super) fn fill_whole(&self, request: &mut MimeRequest, identity: &Identity) -> Result<(), ApiError> {
        let options = &mut request.options;
        let variables = variables(options);
        let html = templates::render(&self.version.source, &variables, Escape::Html);
        let html = html.map_err(|error| self.refuse("", &error))?;
        let with_text = options.template.text == Some(true);
        for name in ["From", "Subject", "Reply-To"] {
            let is_given = options.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
                || message::has_field(&request.message, name);
            if let Some(value) = self.preset(name, &variables)?.filter(|_| !is_given) {
                options.headers.push((name.to_owned(), value));
            }
        }
        let replaced =
            message::with_html(&request.message, &html, with_text, identity).map_err(|error| match error {
                ReplaceError::HasHtml => ApiError::bad_request("Only one parameters 'html' or 'template' is allowed"),
                error => ApiError::bad_request(error.to_string()),
            })?;
        options.template.text = Some(replaced.is_text_made);
        options.template_variables = variables;
        request.message = replaced.content.into();
        Ok(())
    }

    /// Makes the HTML, the text if that is asked for, and the header fields that the request leaves to the template.
    pub(super) fn fill(&self, fields: &mut Fields) -> Result<(), ApiError> {
        if fields.html.is_some() {
            return Err(ApiError::bad_request("Only one parameters 'html' or 'template' is allowed"));
        }
        let variables = variables(&fields.options);
        let html = templates::render(&self.version.source, &variables, Escape::Html);
        let html = html.map_err(|error| self.refuse("", &error))?;
        if fields.options.template.text == Some(true) && fields.text.is_none() {
            fields.text = Some(message::html_to_text(&html));
        } else {
            fields.options.template.text = Some(false);
        }
        fields.html = Some(html);
        if fields.from.is_none() {
            fields.from = self.preset("From", &variables)?;
        }
        if fields.subject.is_none() {
            fields.subject = self.preset("Subject", &variables)?;
        }
        let headers = &mut fields.options.headers;
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Reply-To"))
            && let Some(value) = self.preset("Reply-To", &variables)?
        {
            headers.push(("Reply-To".to_owned(), value));
        }
        fields.options.template_variables = variables;
        Ok(())
    }

    fn preset(&self, name: &str, variables: &Map<String, Value>) -> Result<Option<String>, ApiError> {
        let Some(source) = self.version.headers.get(name).and_then(Value::as_str) else { return Ok(None) };
        let value = templates::render(source, variables, Escape::None);
        value.map(Some).map_err(|error| self.refuse(&format!(", header {name}"), &error))
    }

    fn refuse(&self, place: &str, error: &TemplateError) -> ApiError {
        ApiError::bad_request(format!("template '{}'{place}: {error}", excerpt(&self.name)))
    }

    /// What copies need to make their own HTML, if that depends on the recipient.
    pub(super) fn plan(&self, plan: &mut Plan, variables: &Map<String, Value>, is_text: bool) {
        if variables.values().any(any_placeholder) {
            let (source, variables) = (self.version.source.clone(), variables.clone());
            plan.template = Some(TemplatePlan { source, variables, is_text });
        }
    }

    /// What events tell of it.
    pub(super) fn told(&self, is_text: bool) -> TemplateUse {
        TemplateUse { name: self.name.clone(), version: self.version.tag.clone(), is_text }
    }
}

/// The variables of the template: those of the message, and over them those that are for it alone.
fn variables(options: &Options) -> Map<String, Value> {
    let mut variables = options.template_variables.clone();
    variables.extend(options.template.variables.clone().unwrap_or_default());
    variables
}
