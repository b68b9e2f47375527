//! Individual copies: a message that goes to each of its recipients as if to nobody else, with that recipient's own words
//! in it (`docs/decisions/0010-individual-copies.md`).
//!
//! Content is kept once. What the copies have in common is a [`Plan`], what a recipient's own copy is made with are its
//! variables; both are kept beside the content, and [`render`] makes the copy when it is delivered.

mod placeholders;
mod variables;

use message::{Changes, Mailbox, RewriteError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::IndividualCopy;

use crate::templates::{self, Escape, TemplateError};

use self::placeholders::TooLong;
pub(crate) use self::placeholders::{Placeholders, any_placeholder, has_placeholder};
pub(crate) use self::variables::{RecipientVariables, VARIABLES_OCTETS};

/// Longest copy, in octets: what a message may have anyway.
pub(crate) const COPY_OCTETS: usize = 25 * 1024 * 1024;
/// Longest variables of a message with their placeholders filled, in octets: what a header field may have anyway.
pub(crate) const USER_VARIABLES_OCTETS: usize = 64 * 1024;
/// The same for those of a template.
const TEMPLATE_VARIABLES_OCTETS: usize = 1024 * 1024;
/// The header that hands in what each recipient's copy is made with. Nobody may receive it: it names everybody.
pub(crate) const RECIPIENT_VARIABLES_HEADER: &str = "X-Mailgun-Recipient-Variables";
/// The header that carries an application's variables to the recipient.
pub(crate) const VARIABLES_HEADER: &str = "X-Mailgun-Variables";

/// What all copies of a message have in common, beside its content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Plan {
    /// Headers with placeholders. They are not in the content, since some are not valid until the placeholders are filled.
    pub(crate) headers: Vec<(String, String)>,
    /// The application's variables, if any has a placeholder.
    pub(crate) user_variables: Map<String, Value>,
    /// The application wrote a To of its own, which stays.
    pub(crate) own_to: bool,
    /// The template that the HTML is made of, if it depends on the recipient.
    pub(crate) template: Option<TemplatePlan>,
}

/// A template whose variables have placeholders, so that what comes of it depends on what they are filled with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TemplatePlan {
    /// The text of the version that was used when the message was accepted.
    pub(crate) source: String,
    pub(crate) variables: Map<String, Value>,
    /// The text is made of the HTML.
    pub(crate) is_text: bool,
}

impl Plan {
    /// The plan in the form in which it is kept.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// Whether the copies of this plan are made of a template.
pub(crate) fn has_template(plan: &Value) -> bool {
    plan.get("template").is_some_and(|template| !template.is_null())
}

/// Why a copy cannot be made. It will not do better next time.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum CopyError {
    /// What is kept cannot be understood.
    #[error("what the copy is made with is damaged")]
    Damaged,
    /// The template leads to nothing for this recipient.
    #[error("the recipient's copy cannot be made: the template: {0}")]
    Template(#[from] TemplateError),
    /// It would be no message.
    #[error("the recipient's copy cannot be made: {0}")]
    Rewrite(#[from] RewriteError),
}

/// Makes the copy that `copy` describes from content whose lines end in CRLF and whose dots are not doubled. Where it is
/// tracked afterwards, ways to unsubscribe are still to come.
pub(crate) fn render(
    plan: &Value,
    content: &[u8],
    copy: &IndividualCopy,
    is_tracked: bool,
) -> Result<Vec<u8>, CopyError> {
    let plan: Plan = serde_json::from_value(plan.clone()).map_err(|_| CopyError::Damaged)?;
    let to: Mailbox = copy.to.parse().map_err(|_| CopyError::Damaged)?;
    let placeholders = Placeholders::new(&to, &copy.variables);
    let html = plan.template.as_ref().map(|template| {
        let variables = placeholders.fill_values(&template.variables, TEMPLATE_VARIABLES_OCTETS).map_err(too_long)?;
        Ok::<_, CopyError>(templates::render(&template.source, &variables, Escape::Html)?)
    });
    let is_text = plan.template.as_ref().is_some_and(|template| template.is_text);
    let mut filling = Filling { placeholders, html: html.transpose()?, is_text, is_tracked };
    let mut headers = Vec::with_capacity(plan.headers.len() + 2);
    if !plan.own_to {
        headers.push(("To".to_owned(), to.to_string()));
    }
    for (name, value) in plan.headers {
        let filled = filling.header(&name, &value).map_err(RewriteError::Refused)?.unwrap_or(value);
        if !filled.trim().is_empty() {
            headers.push((name, filled));
        }
    }
    if !plan.user_variables.is_empty() {
        let variables =
            filling.placeholders.fill_values(&plan.user_variables, USER_VARIABLES_OCTETS).map_err(too_long)?;
        headers.push((VARIABLES_HEADER.to_owned(), to_ascii_json(&variables)));
    }
    Ok(message::rewrite(content, &headers, &mut filling, COPY_OCTETS)?)
}

fn too_long(error: TooLong) -> RewriteError {
    RewriteError::Refused(error.to_string())
}

/// The content without the header that names all recipients.
pub(crate) fn without_variables(content: &[u8]) -> Result<Vec<u8>, RewriteError> {
    struct Leave;
    impl Changes for Leave {
        fn header(&mut self, name: &str, _: &str) -> Result<Option<String>, String> {
            Ok(name.eq_ignore_ascii_case(RECIPIENT_VARIABLES_HEADER).then(String::new))
        }

        fn text(&mut self, _: &str, _: &str) -> Result<Option<String>, String> {
            Ok(None)
        }
    }
    message::rewrite(content, &[], &mut Leave, usize::MAX)
}

/// JSON without a character beyond ASCII, with spaces where a header may be folded.
pub(crate) fn to_ascii_json(map: &Map<String, Value>) -> String {
    let pairs: Vec<String> =
        map.iter().map(|(name, value)| format!("{}: {value}", Value::from(name.as_str()))).collect();
    let mut json = String::new();
    for c in format!("{{{}}}", pairs.join(", ")).chars() {
        match c {
            ' '..='~' => json.push(c),
            c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| json.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    json
}

/// Fills the placeholders wherever they stand.
struct Filling<'a> {
    placeholders: Placeholders<'a>,
    /// What came of the template, to take the place of the HTML.
    html: Option<String>,
    /// It takes the place of the text too, without its markup.
    is_text: bool,
    is_tracked: bool,
}

impl Changes for Filling<'_> {
    fn header(&mut self, name: &str, value: &str) -> Result<Option<String>, String> {
        if name.eq_ignore_ascii_case(RECIPIENT_VARIABLES_HEADER) {
            return Ok(Some(String::new()));
        }
        let filled = self.placeholders.fill(value, COPY_OCTETS).map_err(|error| error.to_string())?;
        if name.eq_ignore_ascii_case("List-Unsubscribe") && !self.is_tracked {
            let value = filled.as_deref().unwrap_or(value);
            return Ok(without_open_ends(value).or(filled));
        }
        Ok(filled)
    }

    fn text(&mut self, media_type: &str, text: &str) -> Result<Option<String>, String> {
        let made = match (&self.html, media_type) {
            (Some(html), "text/html") => Some(html.clone()),
            (Some(html), "text/plain") if self.is_text => Some(message::html_to_text(html)),
            _ => None,
        };
        let filled = self.placeholders.fill(made.as_deref().unwrap_or(text), COPY_OCTETS);
        Ok(filled.map_err(|error| error.to_string())?.or(made))
    }
}

/// A `List-Unsubscribe` without those of its addresses that nobody can use: empty ones, and ones that are still a
/// placeholder. `None` when it has none of them. Readers take the whole field for broken where one address is.
fn without_open_ends(value: &str) -> Option<String> {
    let entries: Vec<&str> = value.split(',').map(str::trim).collect();
    let kept: Vec<&str> = entries.iter().copied().filter(|entry| !is_open_end(entry)).collect();
    (kept.len() < entries.len()).then(|| kept.join(", "))
}

/// Whether nobody can use this address of a `List-Unsubscribe`.
pub(crate) fn is_open_end(entry: &str) -> bool {
    let inner = entry.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(entry).trim();
    inner.is_empty()
        || inner.len() > 2 && inner.starts_with('%') && inner.find('%') != inner.rfind('%') && inner.ends_with('%')
}

#[cfg(test)]
mod tests;
