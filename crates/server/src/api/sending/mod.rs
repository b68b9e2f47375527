//! `POST /v3/{domain}/messages` and `…/messages.mime`: from a form to a message that is kept.

mod individual;
mod mime_headers;
mod operations;
mod options;
mod request;
mod submitted;
mod template;

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use message::{Draft, Identity, Message};
use policy::tls;
use serde_json::json;
use smtp::{Address, Domain, ReturnPath};
use store::dsn::DsnRequest;
use store::template::TemplateUse;
use store::{AttachmentSummary, Method, NewCopies, NewMessage, SendingDomain, Timestamp};

pub(super) use self::request::addresses_to;
pub(super) use operations::operations;
pub(crate) use options::{excerpt, not_supported, once, plain_name, tracked_links, yes_no};
pub(crate) use submitted::{Refused, Submitted};

use self::options::{Options, TemplateOptions};
use self::request::{MimeRequest, Recipients, SendRequest, no_template};
use self::template::{UsedTemplate, Wanted};
use super::App;
use super::http::auth::Caller;
use super::http::domain::KnownDomain;
use super::http::error::{ApiError, Json};
use super::http::form::Form;
use super::http::time;
use super::limits::MESSAGE_OCTETS;
use crate::copies::{self, Plan, VARIABLES_HEADER, to_ascii_json};
use crate::tracking;

/// Forms above this size are worked on by a thread where they keep nobody waiting.
pub(crate) const INLINE_OCTETS: usize = 128 * 1024;

/// From a form to the bytes of its message.
type Work = fn(&Form, &Domain, Option<&UsedTemplate>) -> Result<Ready, ApiError>;

/// A message given in parts.
async fn messages(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Json, ApiError> {
    send(&app, domain, request, false).await
}

/// A message given whole.
async fn messages_mime(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    request: Request,
) -> Result<Json, ApiError> {
    send(&app, domain, request, true).await
}

async fn send(app: &App, domain: SendingDomain, request: Request, is_whole: bool) -> Result<Json, ApiError> {
    let origin = Origin::of(&request);
    let form = Form::read(app, request).await?;
    let template = UsedTemplate::find(&app.store, &domain.name, Wanted::of_form(&form, is_whole)?).await?;
    let work: Work = if is_whole { accept_whole } else { compose };
    let ready = prepare(form, domain.name.clone(), template, work).await?;
    let message_id = keep(app, domain, origin, ready).await?;
    Ok(Json(json!({ "id": format!("<{message_id}>"), "message": "Queued. Thank you." })))
}

/// A message in its final bytes, with all that decides its fate.
pub(crate) struct Ready {
    /// What it says of itself; the content went into `wire`.
    message: Message,
    /// In octets, as content.
    size: usize,
    wire: Vec<u8>,
    recipients: Vec<Address>,
    copies: Option<NewCopies>,
    template: Option<TemplateUse>,
    options: Options,
    /// Somewhere in it is a placeholder of a link to unsubscribe.
    has_unsubscribe: bool,
    /// The reverse-path that was given; over HTTP there is none.
    return_path: Option<ReturnPath>,
    /// Of what the sender is to be told by mail.
    dsn: Option<DsnRequest>,
}

impl Ready {
    fn new(
        mut message: Message,
        recipients: Recipients,
        mut options: Options,
        plan: Option<Plan>,
    ) -> Result<Ready, ApiError> {
        if message.content.len() as u64 > MESSAGE_OCTETS {
            return Err(ApiError::too_large("message size exceeds 25MiB limit"));
        }
        let copies = plan.map(|plan| individual::copies(plan, &mut options, &recipients, &message.content));
        let copies = copies.transpose()?;
        let has_unsubscribe = has_unsubscribe(&message.content, copies.as_ref());
        let size = message.content.len();
        let wire = smtp::data::into_wire(std::mem::take(&mut message.content));
        let recipients = recipients.addresses;
        Ok(Ready {
            wire,
            size,
            message,
            recipients,
            copies,
            template: None,
            options,
            has_unsubscribe,
            return_path: None,
            dsn: None,
        })
    }
}

/// Whether there is a placeholder of a link to unsubscribe in the content, in what copies are made of or are made with.
fn has_unsubscribe(content: &[u8], copies: Option<&NewCopies>) -> bool {
    let in_copies = copies.is_some_and(|copies| {
        tracking::asks(&copies.plan.to_string()) || copies.copies.iter().any(|copy| tracking::asks(&copy.variables))
    });
    in_copies || message::has_words(content, &tracking::ASKING)
}

/// Runs `work` on the form, here or, when that would take long, on a thread of its own.
async fn prepare(form: Form, domain: Domain, template: Option<UsedTemplate>, work: Work) -> Result<Ready, ApiError> {
    let octets = form.fields.iter().map(|field| field.content.len()).sum::<usize>();
    if octets <= INLINE_OCTETS && template.is_none() {
        return work(&form, &domain, None);
    }
    let done = tokio::task::spawn_blocking(move || work(&form, &domain, template.as_ref())).await;
    done.unwrap_or_else(|error| {
        tracing::error!(%error, "composing a message failed");
        Err(ApiError::internal())
    })
}

fn compose(form: &Form, domain: &Domain, template: Option<&UsedTemplate>) -> Result<Ready, ApiError> {
    let now = time::now();
    let mut request = SendRequest::parse(form, template, now)?;
    let is_text = request.options.template.text == Some(true);
    let mut plan = individual::plan(&mut request.options)?;
    if let Some(plan) = &mut plan {
        // Each copy shows its own recipient in the place of this one.
        request.to.truncate(1);
        template.inspect(|template| template.plan(plan, &request.options.template_variables, is_text));
    }
    let draft = Draft {
        from: request.from,
        to: request.to,
        cc: request.cc,
        subject: request.subject,
        text: request.text,
        html: request.html,
        amp_html: request.amp_html,
        attachments: request.attachments,
        inline: request.inline,
        headers: all_headers(&request.options, plan.as_ref()),
    };
    let message = message::compose(&draft, &identity(now, domain));
    let message = message.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let ready = Ready::new(message, request.recipients, request.options, plan)?;
    Ok(Ready { template: template.map(|template| template.told(is_text)), ..ready })
}

fn accept_whole(form: &Form, domain: &Domain, template: Option<&UsedTemplate>) -> Result<Ready, ApiError> {
    let now = time::now();
    take_whole(MimeRequest::parse(form, now)?, template, "", domain, now)
}

/// A message that an application composed, whichever way it came. `trace` goes before all of it.
fn take_whole(
    mut request: MimeRequest,
    template: Option<&UsedTemplate>,
    trace: &str,
    domain: &Domain,
    now: i64,
) -> Result<Ready, ApiError> {
    let identity = identity(now, domain);
    match template {
        Some(template) => template.fill_whole(&mut request, &identity)?,
        None if request.options.template != TemplateOptions::default() => return Err(no_template()),
        None => {}
    }
    let is_text = request.options.template.text == Some(true);
    let mut plan = individual::plan(&mut request.options)?;
    if let (Some(template), Some(plan)) = (template, &mut plan) {
        template.plan(plan, &request.options.template_variables, is_text);
    }
    let headers = all_headers(&request.options, plan.as_ref());
    let refuse = |error: &dyn std::error::Error| ApiError::bad_request(error.to_string());
    let message = message::accept_behind(trace, &request.message, &headers, &identity);
    let mut message = message.map_err(|error| refuse(&error))?;
    if plan.is_some() {
        message.content = copies::without_variables(&message.content).map_err(|error| refuse(&error))?;
    }
    let ready = Ready::new(message, request.recipients, request.options, plan)?;
    Ok(Ready { template: template.map(|template| template.told(is_text)), ..ready })
}

fn identity(now: i64, domain: &Domain) -> Identity {
    Identity::new(now.div_euclid(1_000_000), rand::random(), domain)
}

/// The headers that were asked for, and the one that carries the variables unless it differs from copy to copy.
fn all_headers(options: &Options, plan: Option<&Plan>) -> Vec<(String, String)> {
    let varies = plan.is_some_and(|plan| !plan.user_variables.is_empty());
    let variables = (!options.variables.is_empty() && !varies).then(|| to_ascii_json(&options.variables));
    let variables = variables.map(|json| (VARIABLES_HEADER.to_owned(), json));
    options.headers.iter().cloned().chain(variables).collect()
}

/// Where a message came from, and how.
pub(crate) struct Origin {
    pub(crate) method: Method,
    pub(crate) key_id: Option<i64>,
    pub(crate) ip: Option<IpAddr>,
}

impl Origin {
    pub(super) fn of(request: &Request) -> Origin {
        let extensions = request.extensions();
        Origin {
            method: Method::Http,
            key_id: extensions.get::<Caller>().map(Caller::key_id),
            ip: extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip()),
        }
    }
}

/// Hands the message to the store and gives its Message-ID, without brackets. Only when the store has it on disk is
/// anything promised.
pub(crate) async fn keep(app: &App, domain: SendingDomain, origin: Origin, ready: Ready) -> Result<String, ApiError> {
    let Ready { message, size, wire, recipients, copies, template, options, has_unsubscribe, return_path, dsn } = ready;
    let summary = |file: message::AttachmentSummary| AttachmentSummary {
        filename: file.filename,
        content_type: file.content_type,
        size: file.size as u64,
    };
    let wanted = tracking::Wanted { unsubscribes: has_unsubscribe, ..options.tracking };
    let tracking = app.tracking.resolve(wanted, &domain.tracking)?;
    let new = NewMessage {
        return_path: failures_to(return_path, &message, &domain.name),
        header_from: message.from_text(),
        size: size as u64,
        tls: tls::resolve(options.tls, domain.tls),
        domain: domain.name,
        message_id: message.message_id,
        // Nobody is told who else got a copy.
        header_to: if copies.is_some() { String::new() } else { message.to },
        subject: message.subject,
        wire: wire.into(),
        attachments: message.attachments.into_iter().map(summary).collect(),
        tags: options.tags,
        user_variables: options.variables,
        dkim: options.dkim.unwrap_or(true),
        method: origin.method,
        test_mode: options.test_mode.unwrap_or(false),
        deliver_at: options.deliver_at.map(Timestamp::from_micros),
        expires_at: options.expires_at.map(Timestamp::from_micros),
        recipients,
        copies,
        template,
        tracking: tracking.map(|tracking| tracking.to_json()),
        dsn,
        api_key_id: origin.key_id,
        originating_ip: origin.ip,
    };
    accept(app, new).await
}

/// The same for what is ready for the store.
pub(super) async fn accept(app: &App, new: NewMessage) -> Result<String, ApiError> {
    let message_id = new.message_id.clone();
    // A client that goes away now must not keep the queue from hearing of what the store keeps all the same.
    let App { store, wake, .. } = app.clone();
    let kept = tokio::spawn(async move { store.accept(new).await.inspect(|_| wake.notify_one()) });
    kept.await.map_err(|_| ApiError::internal())??;
    Ok(message_id)
}

/// Where failures are reported to: to the reverse-path that was given, if its domain is the sending domain (hosts below it
/// write their own names there, which nobody finds in the DNS), or else the author, if its domain is that or lies below it. To nobody if the null one was given (RFC 5321 §4.5.5).
///
/// Otherwise the sending domain's postmaster, so that SPF is asked about a domain that this server sends for
/// (RFC 7208 §2.4), and no third party gets reports about mail that it did not send.
fn failures_to(given: Option<ReturnPath>, message: &Message, domain: &Domain) -> String {
    let given = match &given {
        Some(ReturnPath::Null) => return String::new(),
        Some(ReturnPath::Address(address)) => Some(address),
        None => None,
    };
    let given = given.filter(|address| address.domain() == domain);
    let author =
        message.from.first().map(|author| author.address()).filter(|address| address.domain().is_within(domain));
    match given.or(author) {
        Some(address) => address.to_string(),
        None => format!("postmaster@{domain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_reported_to_the_sending_domain() {
        let domain: Domain = "example.com".parse().unwrap();
        for (from, given, expected) in [
            ("Bob <bob@example.com>", None, "bob@example.com"),
            ("bob@news.Example.com", None, "bob@news.example.com"),
            ("bob@example.org", None, "postmaster@example.com"),
            ("bob@notexample.com", None, "postmaster@example.com"),
            ("bob@example.com", Some("bounces@example.com"), "bounces@example.com"),
            ("bob@example.com", Some("ann@example.org"), "bob@example.com"),
            ("bob@example.com", Some("root@web1.example.com"), "bob@example.com"),
            ("bob@example.org", Some("ann@example.org"), "postmaster@example.com"),
            ("bob@example.com", Some(""), ""),
        ] {
            let mut draft = Draft::new(from.parse().unwrap(), "x");
            draft.text = Some("x".to_owned());
            let message = message::compose(&draft, &identity(0, &domain)).unwrap();
            let given = given.map(|given| given.parse().map_or(ReturnPath::Null, ReturnPath::Address));
            assert_eq!(failures_to(given, &message, &domain), expected);
        }
    }
}
