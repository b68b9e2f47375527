//! `/v1/webhooks`: those that are told of every domain.

use std::collections::HashMap;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use serde_json::{Value, json};
use store::Timestamp;
use store::webhook::{Subscription, Webhook, WebhooksOf};

use super::edit::{self, Refused};
use super::fields::Fields;
use super::{created_at, health, words};
use crate::api::App;
use crate::api::http::error::{ApiError, Json};
use crate::api::http::form::{Form, parse_query};
use crate::api::sending::yes_no;

const FIELDS: [&str; 3] = ["url", "event_types", "description"];

fn refusal(refused: Refused) -> ApiError {
    match refused {
        Refused::NotFound => ApiError::not_found("Webhook not found").told_as("Description"),
        Refused::Exists => {
            let text = "A webhook with this URL exists already";
            ApiError::new(StatusCode::CONFLICT, text).told_as("Description")
        }
        other => other.into(),
    }
}

async fn change<T: Send + 'static>(
    app: &App,
    edit: impl FnMut(&mut Vec<Subscription>) -> Result<T, Refused> + Send + 'static,
) -> Result<T, ApiError> {
    app.store.edit_webhooks(None, edit).await?.map_err(refusal)
}

/// `GET /v1/webhooks`
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Result<Json, ApiError> {
    let wanted = query(&uri)?.0;
    let all = app.store.webhooks(WebhooksOf::Account).await?;
    let is_wanted = |webhook: &&Webhook| wanted.as_ref().is_none_or(|keys| keys.contains(&webhook.subscription.key));
    Ok(Json(json!({ "webhooks": all.iter().filter(is_wanted).map(webhook).collect::<Vec<_>>() })))
}

/// `POST /v1/webhooks`
pub(super) async fn create(State(app): State<App>, request: Request) -> Result<Json, ApiError> {
    let fields = Fields::parse(&Form::read(&app, request).await?, &FIELDS)?;
    let mut new = Subscription::new(fields.only_url()?, Timestamp::now());
    fields.some_subjects()?.into_iter().for_each(|subject| new.add(subject));
    new.description = fields.description.unwrap_or_default();
    let key = change(&app, move |all| edit::add_to_account(all, new.clone())).await?;
    Ok(Json(json!({ "webhook_id": key })))
}

/// `GET /v1/webhooks/{webhook_id}`
pub(super) async fn read(State(app): State<App>, Path(names): Path<HashMap<String, String>>) -> Result<Json, ApiError> {
    let (key, all) = (key_of(names), app.store.webhooks(WebhooksOf::Account).await?);
    let found = all.iter().find(|webhook| webhook.subscription.key == key);
    found.map(|found| Json(webhook(found))).ok_or_else(|| refusal(Refused::NotFound))
}

/// `PUT /v1/webhooks/{webhook_id}`
pub(super) async fn update(
    State(app): State<App>,
    Path(names): Path<HashMap<String, String>>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let fields = Fields::parse(&Form::read(&app, request).await?, &FIELDS)?;
    let (key, url, subjects) = (key_of(names), fields.only_url()?, fields.some_subjects()?);
    let description = fields.description;
    let edit =
        move |all: &mut Vec<Subscription>| edit::change_in_account(all, &key, &url, &subjects, description.as_deref());
    change(&app, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/webhooks/{webhook_id}`
pub(super) async fn delete(
    State(app): State<App>,
    Path(names): Path<HashMap<String, String>>,
) -> Result<StatusCode, ApiError> {
    remove(&app, vec![key_of(names)]).await
}

/// `DELETE /v1/webhooks`
pub(super) async fn delete_several(State(app): State<App>, uri: Uri) -> Result<StatusCode, ApiError> {
    match query(&uri)? {
        (Some(_), true) => Err(ApiError::bad_request("Invalid parameter: one of 'webhook_ids' and 'all' is enough")),
        (Some(keys), false) => remove(&app, keys).await,
        (None, true) => {
            change(&app, |all| {
                all.clear();
                Ok(())
            })
            .await?;
            Ok(StatusCode::NO_CONTENT)
        }
        (None, false) => Err(ApiError::bad_request("Invalid parameter: 'webhook_ids' or 'all' is missing")),
    }
}

/// All of them or none.
async fn remove(app: &App, keys: Vec<String>) -> Result<StatusCode, ApiError> {
    change(app, move |all| {
        if keys.iter().any(|key| all.iter().all(|one| one.key != *key)) {
            return Err(Refused::NotFound);
        }
        all.retain(|one| !keys.contains(&one.key));
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `webhook_ids` and `all`.
fn query(uri: &Uri) -> Result<(Option<Vec<String>>, bool), ApiError> {
    let (mut keys, mut all) = (None::<Vec<String>>, false);
    for (name, value) in parse_query(uri.query().unwrap_or_default())? {
        match name.as_str() {
            "webhook_ids" => {
                let given: Vec<String> = value.split(',').map(|key| key.trim().to_owned()).collect();
                if given.iter().any(String::is_empty) {
                    let text = "malformed webhook_ids parameter: empty values not allowed";
                    return Err(ApiError::bad_request(format!("Invalid parameter: webhook_ids {text}")));
                }
                keys.get_or_insert_default().extend(given);
            }
            "all" => all = yes_no(&value, "all")?,
            _ => {}
        }
    }
    Ok((keys, all))
}

fn key_of(mut names: HashMap<String, String>) -> String {
    names.remove("webhook_id").unwrap_or_default()
}

fn webhook(webhook: &Webhook) -> Value {
    let one = &webhook.subscription;
    json!({
        "webhook_id": one.key,
        "description": one.description,
        "url": one.url,
        "event_types": words(one),
        "created_at": created_at(one),
        "health": health(webhook),
    })
}
