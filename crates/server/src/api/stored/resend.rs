//! A kept message is sent once more: the same octets, to others.

use std::collections::HashMap;

use axum::extract::{Path, Request, State};
use policy::tls;
use serde_json::json;
use smtp::Address;
use store::{Method, NewMessage, SendingDomain};

use super::{Shown, name, with_message};
use crate::api::App;
use crate::api::http::domain::KnownDomain;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::form::Form;
use crate::api::sending::{Origin, accept, addresses_to};

/// `POST`
pub(super) async fn resend(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Path<HashMap<String, String>>,
    request: Request,
) -> Result<Json, ApiError> {
    let origin = Origin::of(&request);
    let recipients = addresses_to(&Form::read(&app, request).await?)?;
    let of = domain.name.clone();
    let once_more = move |shown| new_message(shown, recipients, &domain, &origin);
    let new = with_message(&app, &of, name(&names, "key"), once_more).await?;
    let message_id = accept(&app, new).await?;
    Ok(Json(json!({ "id": format!("<{message_id}>"), "message": "Queued. Thank you." })))
}

/// A message of its own, with all that belongs to the content of the first: also what it demands of TLS, which nothing
/// weakens. What belonged to the sending of the first is not repeated: when, by whom, until when.
fn new_message(
    shown: Shown,
    recipients: Vec<Address>,
    domain: &SendingDomain,
    origin: &Origin,
) -> Result<NewMessage, ApiError> {
    if shown.is_template {
        let text = "each recipient of this message has a copy of its own: use the storage key of one of its events";
        return Err(ApiError::bad_request(text));
    }
    let message = shown.message;
    Ok(NewMessage {
        domain: domain.name.clone(),
        message_id: message.message_id,
        return_path: message.return_path,
        header_from: message.header_from,
        header_to: shown.to,
        subject: shown.subject,
        size: shown.content.len() as u64,
        wire: smtp::data::to_wire(&shown.content).into(),
        attachments: message.attachments,
        tags: message.tags,
        user_variables: shown.variables,
        tls: tls::resolve_again(message.tls, domain.tls),
        dkim: shown.dkim,
        method: Method::Http,
        test_mode: message.test_mode,
        deliver_at: None,
        expires_at: None,
        recipients,
        template: message.template,
        copies: None,
        tracking: shown.tracking,
        dsn: None,
        api_key_id: origin.key_id,
        originating_ip: origin.ip,
    })
}
