//! `template`: what a stored template makes of a message.

use serde_json::{Map, Value};
use store::Store;
use store::template::{TemplateUse, TemplateVersion};

use super::options::{excerpt, once, plain_name};
use super::request::Fields;
use crate::api::http::error::ApiError;
use crate::api::http::form::Form;
use crate::copies::{Plan, TemplatePlan, any_placeholder};
use crate::templates::{self, Escape, TemplateError};

/// The version of a template that a message is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct UsedTemplate {
    name: String,
    version: TemplateVersion,
}

impl UsedTemplate {
    /// The template that the form names, and of it the version that it names, or else the active one.
    pub(super) async fn find(store: &Store, domain: &smtp::Domain, form: &Form) -> Result<Option<Self>, ApiError> {
        let (mut name, mut tag) = (None, None);
        for field in &form.fields {
            let slot = match plain_name(&field.name).as_str() {
                "template" => &mut name,
                "t:version" => &mut tag,
                _ => continue,
            };
            let value = field.as_text()?.trim();
            if !value.is_empty() {
                once(slot, value.to_owned(), &field.name)?;
            }
        }
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

    /// Makes the HTML, the text if that is asked for, and the header fields that the request leaves to the template.
    pub(super) fn fill(&self, fields: &mut Fields) -> Result<(), ApiError> {
        if fields.html.is_some() {
            return Err(ApiError::bad_request("Only one parameters 'html' or 'template' is allowed"));
        }
        let variables = variables(fields);
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
fn variables(fields: &Fields) -> Map<String, Value> {
    let mut variables = fields.options.template_variables.clone();
    variables.extend(fields.options.template.variables.clone().unwrap_or_default());
    variables
}
