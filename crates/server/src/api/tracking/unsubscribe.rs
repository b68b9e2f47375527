//! Where recipients unsubscribe. Programs follow links that nobody has clicked, so looking changes nothing: only a form does,
//! sent by the button of the page or by the mail program that the header told of it (RFC 8058).

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use store::tracking::Unsubscription;
use tokio::time::timeout;

use super::calls::{claim, interaction, no_link, private};
use crate::api::App;
use crate::api::http::error::ApiError;
use crate::api::http::form::Form;
use crate::api::limits::{FORM_TIME, FORM_WAIT, UNSUBSCRIBE_OCTETS};
use crate::tracking::Claim;

/// The field that there must be, and its value (RFC 8058 §3.2).
const FIELD: (&str, &str) = ("List-Unsubscribe", "One-Click");

/// `GET /t/u/{token}`: the page that asks.
pub(super) async fn ask(State(app): State<App>, Path(token): Path<String>) -> Result<Response, ApiError> {
    let from = unsubscription(&claim(&app, &token).await?)?;
    let (name, value) = FIELD;
    let button = format!(
        "<form method=\"post\"><input type=\"hidden\" name=\"{name}\" value=\"{value}\">\
        <button type=\"submit\">Unsubscribe</button></form>"
    );
    Ok(page("Unsubscribe?", &format!("<p>You will get no more {} then.</p>{button}", mail_of(&from))))
}

/// `POST /t/u/{token}`: he is unsubscribed once this answers. No redirect, as RFC 8058 §3.1 wants it.
pub(super) async fn unsubscribe(
    State(app): State<App>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let from = unsubscription(&claim(&app, &token).await?)?;
    let interaction = interaction(&request);
    if !confirms(&app, request).await? {
        let (name, value) = FIELD;
        return Err(ApiError::bad_request(format!("'{name}' must be '{value}' (RFC 8058)")));
    }
    let turn = timeout(FORM_WAIT, app.tracking.unsubscribing.acquire()).await;
    let _turn = turn.map_err(|_| ApiError::unavailable())?.map_err(|_| ApiError::internal())?;
    let text = format!("<p>You will get no more {}.</p>", mail_of(&from));
    app.store.unsubscribe(from, interaction).await?;
    Ok(page("You are unsubscribed", &text))
}

/// Whether the form says what it must. It is short: nobody's key is asked for it.
async fn confirms(app: &App, request: Request) -> Result<bool, ApiError> {
    let (parts, body) = request.into_parts();
    let too_large = |_| ApiError::too_large("the form is too long");
    let read = timeout(FORM_TIME, to_bytes(body, UNSUBSCRIBE_OCTETS)).await;
    let body = read.map_err(|_| ApiError::bad_request("the form did not come in time"))?.map_err(too_large)?;
    let form = Form::read(app, Request::from_parts(parts, Body::from(body))).await?;
    Ok(form.fields.iter().any(|field| field.name == FIELD.0 && field.content.eq_ignore_ascii_case(FIELD.1.as_bytes())))
}

fn unsubscription(claim: &Claim) -> Result<Unsubscription, ApiError> {
    let Claim::Unsubscribe(_, domain, address, tags) = claim else { return Err(no_link()) };
    Ok(Unsubscription {
        copy: claim.copy().ok_or_else(no_link)?,
        domain: domain.parse().map_err(|_| no_link())?,
        address: address.parse().map_err(|_| no_link())?,
        tags: tags.clone(),
    })
}

/// The address is not shown: a message may have been passed on.
fn mail_of(from: &Unsubscription) -> String {
    let kind = if from.tags.is_empty() { "mail" } else { "mail of this kind" };
    format!("{kind} from {}", from.domain)
}

/// A page without anything from elsewhere, that no other page can show as its own.
fn page(title: &str, content: &str) -> Response {
    const POLICY: &str = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"></head>\n\
        <body><h1>{title}</h1>{content}</body></html>\n"
    );
    let mut response = private(Html(html).into_response());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert("x-robots-tag", HeaderValue::from_static("noindex"));
    response
}
