//! `/v1/keys`: API keys. A key is shown when it is made and never again.

mod fields;
mod json;

use std::collections::HashMap;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use serde_json::json;
use store::{NewKey, Timestamp};

use self::fields::{KeyFields, Wanted};
use super::App;
use super::http::error::{ApiError, Json};
use super::http::form::Form;
use super::limits::{KEY_DESCRIPTION_OCTETS, KEY_SECONDS, KEYS};
use super::operation::{Access, Operation};
use super::schema::{choice, integer, list, message, named, object, sending_domain, text};
use crate::serve::{generate_key, key_record};

/// What can be called about keys.
pub(super) fn operations() -> Vec<Operation> {
    let kind = || choice(["domain", "user", "web"]);
    let expiration = integer().range(0, KEY_SECONDS as usize).about("Seconds until it ends; 0 is never");
    let shown_once = [("secret", text().about("The key itself"))];
    let made = named("NewKey", object(json::properties().into_iter().chain(shown_once)));
    vec![
        Operation::get("/v1/keys", "listKeys", list_keys)
            .summary("List the API keys, never what they are")
            .access(Access::Admin)
            .query("domain_name", sending_domain().about("Only those of this domain"))
            .query("kind", kind().about("Only these"))
            .ok(
                "The keys",
                object([("total_count", integer()), ("items", list(named("Key", object(json::properties()))))]),
            ),
        Operation::post("/v1/keys", "createKey", create)
            .summary("Make an API key and show it, this once")
            .access(Access::Admin)
            .form([
                ("role", choice(["admin", "developer", "basic", "sending"]).required().example("sending")),
                ("kind", kind().about("domain if there is a domain_name, else user; web is refused")),
                ("domain_name", sending_domain().about("The only domain that it opens").example("example.com")),
                ("description", text().with("maxLength", KEY_DESCRIPTION_OCTETS)),
                ("expiration", expiration),
            ])
            .ok("Made", object([("message", text()), ("key", made)])),
        Operation::delete("/v1/keys/{key_id}", "deleteKey", delete)
            .summary("Delete an API key; requests with it are refused from now on")
            .access(Access::Admin)
            .path("key_id", text().about("Its id in the list").example("999999"))
            .ok("Deleted", message()),
    ]
}

async fn list_keys(State(app): State<App>, uri: Uri) -> Result<Json, ApiError> {
    let wanted = Wanted::parse(uri.query().unwrap_or_default())?;
    let (keys, now) = (app.store.list_keys().await?, Timestamp::now());
    let items: Vec<_> = keys.iter().filter(|key| wanted.includes(key)).map(|key| json::key(key, now)).collect();
    Ok(Json(json!({ "total_count": items.len(), "items": items })))
}

async fn create(State(app): State<App>, request: Request) -> Result<Json, ApiError> {
    let fields = KeyFields::parse(&Form::read(&app, request).await?)?;
    if app.store.list_keys().await?.len() >= KEYS {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "could not create key, account limit reached"));
    }
    let secret = generate_key().ok_or_else(ApiError::internal)?;
    let new = key_record(&secret, &fields.description);
    let expires_at = fields.lifetime.map(|lifetime| new.now + lifetime);
    let key = app.store.create_key(NewKey { scope: fields.scope, role: fields.role, expires_at, ..new }).await?;
    let mut made = json::key(&key, Timestamp::now());
    made["secret"] = secret.expose().into();
    Ok(Json(json!({ "message": "great success", "key": made })))
}

async fn delete(State(app): State<App>, Path(names): Path<HashMap<String, String>>) -> Result<Json, ApiError> {
    let deleted = match names.get("key_id").and_then(|id| id.parse().ok()) {
        Some(id) => app.store.delete_key(id).await?,
        None => false,
    };
    match deleted {
        true => Ok(Json(json!({ "message": "key deleted" }))),
        false => Err(ApiError::not_found("no key matching id")),
    }
}
