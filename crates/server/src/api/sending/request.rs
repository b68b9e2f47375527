//! From the fields of a form to a typed request to send. No I/O and no clock: the whole of it is tested as tables.

use std::collections::HashSet;

use axum::body::Bytes;
use message::{Attachment, Mailbox, MailboxError};
use smtp::Address;

use super::options::{Options, TemplateOptions, asks_for_tls, excerpt, once, plain_name};
use super::template::UsedTemplate;
use crate::api::http::error::ApiError;
use crate::api::http::form::{Field, Form};
use crate::api::limits::RECIPIENTS;

/// `POST /v3/{domain}/messages`: the parts of a message.
#[derive(Debug, PartialEq)]
pub(crate) struct SendRequest {
    pub(crate) from: Vec<Mailbox>,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) cc: Vec<Mailbox>,
    pub(crate) subject: String,
    pub(crate) text: Option<String>,
    pub(crate) html: Option<String>,
    pub(crate) amp_html: Option<String>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) inline: Vec<Attachment>,
    pub(crate) recipients: Recipients,
    pub(crate) options: Options,
}

/// To whom a message goes.
#[derive(Debug, PartialEq)]
pub(crate) struct Recipients {
    /// To, cc and bcc: each address once, or, where each of `to` gets a copy of its own, once with each of them.
    pub(crate) addresses: Vec<Address>,
    /// For each of the addresses whose copy it gets; `None` when all get the message as it is.
    pub(crate) copies_of: Option<Vec<Mailbox>>,
}

/// `POST /v3/{domain}/messages.mime`: a message that the application composed.
#[derive(Debug, PartialEq)]
pub(crate) struct MimeRequest {
    pub(crate) message: Bytes,
    pub(crate) recipients: Recipients,
    pub(crate) options: Options,
}

impl SendRequest {
    /// Reads the fields; the first that is not right refuses the request. `template` is the one that the form names.
    pub(crate) fn parse(form: &Form, template: Option<&UsedTemplate>, now: i64) -> Result<SendRequest, ApiError> {
        let mut draft = Fields::default();
        for field in &form.fields {
            draft.take(field)?;
        }
        if let Some(template) = template {
            template.fill(&mut draft)?;
        } else if draft.options.template != TemplateOptions::default() {
            return Err(no_template());
        }
        let mut options = draft.options;
        options.settle(now)?;
        let from = draft.from.ok_or_else(|| ApiError::bad_request("from parameter is missing"))?;
        let from = Mailbox::parse_list(&from).map_err(|error| not_an_address("from", &error))?;
        let from: Vec<Mailbox> = once_each(&from).cloned().collect();
        if from.is_empty() {
            return Err(ApiError::bad_request("from parameter is missing"));
        }
        if draft.to.is_empty() {
            return Err(ApiError::bad_request("to parameter is missing"));
        }
        if draft.text.is_none() && draft.html.is_none() && draft.amp_html.is_none() {
            let text = "Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified";
            return Err(ApiError::bad_request(text));
        }
        let also: Vec<Mailbox> = draft.cc.iter().chain(&draft.bcc).cloned().collect();
        let recipients = Recipients::new(&draft.to, &also, &options)?;
        Ok(SendRequest {
            from,
            to: draft.to,
            cc: draft.cc,
            subject: draft.subject.unwrap_or_default(),
            text: draft.text,
            html: draft.html,
            amp_html: draft.amp_html,
            attachments: draft.attachments,
            inline: draft.inline,
            recipients,
            options,
        })
    }
}

/// What has been read of [`SendRequest`] so far.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) from: Option<String>,
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    bcc: Vec<Mailbox>,
    pub(super) subject: Option<String>,
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
    amp_html: Option<String>,
    attachments: Vec<Attachment>,
    inline: Vec<Attachment>,
    pub(super) options: Options,
}

impl Fields {
    fn take(&mut self, field: &Field) -> Result<(), ApiError> {
        if self.options.take(field)? {
            return Ok(());
        }
        match plain_name(&field.name).as_str() {
            "from" => also(&mut self.from, field.as_text()?),
            "to" => mailboxes(&mut self.to, "to", field),
            "cc" => mailboxes(&mut self.cc, "cc", field),
            "bcc" => mailboxes(&mut self.bcc, "bcc", field),
            "subject" => once(&mut self.subject, field.as_text()?.to_owned(), "subject"),
            "text" => once_unless_empty(&mut self.text, field),
            "html" => once_unless_empty(&mut self.html, field),
            "amp-html" => once_unless_empty(&mut self.amp_html, field),
            "recipient-variables" => self.options.individual(field.as_text()?, "recipient-variables"),
            // It was looked up before.
            "template" => Ok(()),
            "attachment" => attach(&mut self.attachments, field),
            "inline" => attach(&mut self.inline, field),
            name => unknown(name, field),
        }
    }
}

impl MimeRequest {
    /// Reads the fields, then the options among the message's own headers.
    pub(crate) fn parse(form: &Form, now: i64) -> Result<MimeRequest, ApiError> {
        let (mut to, mut message, mut options) = (Vec::new(), None, Options::default());
        for field in &form.fields {
            if options.take(field)? {
                continue;
            }
            match plain_name(&field.name).as_str() {
                "to" => mailboxes(&mut to, "to", field)?,
                "recipient-variables" => options.individual(field.as_text()?, "recipient-variables")?,
                // A file in most clients, a plain field in some.
                "message" => once(&mut message, field.content.clone(), "message")?,
                name @ ("cc" | "bcc" | "attachment" | "inline") => {
                    let text = format!("'{name}' parameter has no place in messages.mime: 'to' names every recipient");
                    return Err(ApiError::bad_request(text));
                }
                // It was looked up before.
                "template" => {}
                name => unknown(name, field)?,
            }
        }
        if to.is_empty() {
            return Err(ApiError::bad_request("to parameter is missing"));
        }
        let message = message.filter(|message| !message.is_empty());
        let message = message.ok_or_else(|| ApiError::bad_request("message parameter is missing"))?;
        super::mime_headers::for_each_option(&message, |name, value| options.take_own_header(name, value))?;
        options.settle(now)?;
        Ok(MimeRequest { message, recipients: Recipients::new(&to, &[], &options)?, options })
    }
}

/// The refusal of what is said of a template where none is named.
pub(super) fn no_template() -> ApiError {
    ApiError::bad_request("parameters starting with t: need a 'template'")
}

/// The recipients of what is sent once more: a form with `to` and nothing else.
pub(in crate::api) fn addresses_to(form: &Form) -> Result<Vec<Address>, ApiError> {
    let mut to = Vec::new();
    for field in &form.fields {
        match plain_name(&field.name).as_str() {
            "to" => mailboxes(&mut to, "to", field)?,
            _ => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(&field.name)))),
        }
    }
    if to.is_empty() {
        return Err(ApiError::bad_request("to parameter is missing"));
    }
    Ok(Recipients::new(&to, &[], &Options::default())?.addresses)
}

/// Mailgun passes over fields that it does not know, and so do we, unless that would lose something: a file, or a
/// demand for TLS that is written in another way.
fn unknown(name: &str, field: &Field) -> Result<(), ApiError> {
    if asks_for_tls(name) || name.contains("tls") {
        let text = format!("'{}' is not a parameter; write o:require-tls or o:skip-verification", excerpt(&field.name));
        return Err(ApiError::bad_request(text));
    }
    if field.file.is_some() {
        let text = format!("'{}' is not a parameter that takes a file", excerpt(&field.name));
        return Err(ApiError::bad_request(text));
    }
    Ok(())
}

/// Empty texts are as good as none: clients send fields that they have nothing for.
fn once_unless_empty(slot: &mut Option<String>, field: &Field) -> Result<(), ApiError> {
    match field.as_text()? {
        "" => Ok(()),
        text => once(slot, text.to_owned(), &field.name),
    }
}

/// Several authors are one list.
fn also(list: &mut Option<String>, text: &str) -> Result<(), ApiError> {
    match list {
        _ if text.trim().is_empty() => {}
        Some(list) => list.extend([", ", text]),
        none => *none = Some(text.to_owned()),
    }
    Ok(())
}

fn mailboxes(list: &mut Vec<Mailbox>, name: &str, field: &Field) -> Result<(), ApiError> {
    let text = field.as_text()?;
    if text.trim().is_empty() {
        return Ok(());
    }
    list.extend(Mailbox::parse_list(text).map_err(|error| not_an_address(name, &error))?);
    if list.len() > RECIPIENTS { Err(too_many_recipients()) } else { Ok(()) }
}

fn not_an_address(name: &str, error: &MailboxError) -> ApiError {
    match error {
        MailboxError::TooMany | MailboxError::TooLong => too_many_recipients(),
        error => {
            let text = format!("{name} parameter is not a valid address. please check documentation");
            ApiError::bad_request(text).because(error)
        }
    }
}

fn attach(list: &mut Vec<Attachment>, field: &Field) -> Result<(), ApiError> {
    let not_a_file = || ApiError::bad_request(format!("'{}' parameter is not a file", field.name));
    let file = field.file.as_ref().ok_or_else(not_a_file)?;
    // What a browser sends for a file input that nobody filled.
    if file.filename.is_empty() && field.content.is_empty() {
        return Ok(());
    }
    let filename = if file.filename.is_empty() { "attachment" } else { &file.filename };
    list.push(Attachment {
        filename: filename.to_owned(),
        content_type: file.content_type.clone(),
        bytes: field.content.to_vec(),
    });
    Ok(())
}

impl Recipients {
    pub(super) fn new(to: &[Mailbox], also: &[Mailbox], options: &Options) -> Result<Recipients, ApiError> {
        if options.recipient_variables.is_none() {
            let addresses: Vec<_> = once_each(to.iter().chain(also)).map(|mailbox| mailbox.address().clone()).collect();
            let recipients = Recipients { addresses, copies_of: None };
            return if recipients.addresses.len() > RECIPIENTS { Err(too_many_recipients()) } else { Ok(recipients) };
        }
        let (mut addresses, mut copies_of) = (Vec::new(), Vec::new());
        for shown in once_each(to) {
            for mailbox in once_each(std::iter::once(shown).chain(also)) {
                if addresses.len() == RECIPIENTS {
                    return Err(too_many_recipients());
                }
                addresses.push(mailbox.address().clone());
                copies_of.push(shown.clone());
            }
        }
        Ok(Recipients { addresses, copies_of: Some(copies_of) })
    }
}

/// Each address once, in the order of its first mention. Domains know no case; local-parts are their host's business.
fn once_each<'a>(mailboxes: impl IntoIterator<Item = &'a Mailbox>) -> impl Iterator<Item = &'a Mailbox> {
    let mut seen = HashSet::new();
    mailboxes.into_iter().filter(move |mailbox| seen.insert(mailbox.address()))
}

fn too_many_recipients() -> ApiError {
    ApiError::bad_request(format!("Too many recipients, max is {RECIPIENTS}"))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
