//! `/v1/queue`: what waits, recipient by recipient, and orders about it. No API of Mailgun's has this.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use smtp::Domain;
use store::RecipientId;
use store::waiting::{Order, Waiting, WaitingPlace, WaitingQuery, Whom};

use super::App;
use super::http::auth::Caller;
use super::http::error::{ApiError, Json};
use super::http::form::{Form, parse_query};
use super::http::time::to_epoch;
use super::http::url;
use super::limits::{QUEUE_IDS, QUEUE_PER_PAGE, QUEUE_PER_PAGE_DEFAULT, TOKEN_OCTETS};
use super::operation::{Access, Operation};
use super::schema::{Schema, boolean, integer, list, named, object, sending_domain, text, unix_seconds};
use super::sending::{excerpt, once};

pub(super) fn operations() -> Vec<Operation> {
    let limit = integer().range(1, QUEUE_PER_PAGE).default(QUEUE_PER_PAGE_DEFAULT);
    let listing = Operation::get("/v1/queue", "listQueue", read)
        .summary("What waits to be delivered, one item for each recipient")
        .access(Access::Filtered)
        .query("domain", sending_domain().about("Only of this sending domain"))
        .query("destination", text().about("Only at this recipient domain"))
        .query("limit", limit.about("At most so many"))
        .query("page", text().about("The page that the link of another names"))
        .ok("A page", page());
    let orders = [
        ("retry", "retryQueued", "Try recipients as soon as there is room, whatever the schedule of retries says"),
        ("hold", "holdQueued", "Have recipients wait until they are released"),
        ("release", "releaseQueued", "Have recipients that were held tried by the schedule again"),
        ("remove", "removeQueued", "Give up recipients: each fails, with an event"),
    ];
    let order = |(word, id, summary): (&str, &str, &str)| {
        let about = "What is being tried at this moment is passed over. At most 100,000 at once.";
        let path = format!("/v1/queue/{word}");
        let operation = match word {
            "retry" => Operation::post(&path, id, retry),
            "hold" => Operation::post(&path, id, hold),
            "release" => Operation::post(&path, id, release),
            _ => Operation::post(&path, id, remove),
        };
        operation
            .summary(summary)
            .about(about)
            .access(Access::Filtered)
            .form([
                ("id", list(text()).about("Which recipients, as the list has them; repeated").example("1")),
                ("destination", text().about("All at this recipient domain")),
                ("domain", sending_domain().about("All of this sending domain, or those of the others that are of it")),
            ])
            .ok("How many it was done for", object([("message", text()), ("count", integer())]))
    };
    std::iter::once(listing).chain(orders.map(order)).collect()
}

fn page() -> Schema {
    let last = object([
        ("timestamp", unix_seconds()),
        ("code", integer()),
        ("message", text()),
        ("mx-host", text().nullable()),
    ]);
    let item = object([
        ("id", text()),
        ("state", text().about("due, scheduled, deferred, held")),
        ("domain", text()),
        ("recipient", text()),
        ("destination", text()),
        ("from", text()),
        ("subject", text()),
        ("message-id", text()),
        ("storage-key", text()),
        ("accepted-at", unix_seconds()),
        ("attempts", integer()),
        ("next-attempt", unix_seconds().nullable().about("None while it is held")),
        ("expires-at", unix_seconds().nullable()),
        ("is-held", boolean()),
        ("last", last.nullable().about("What came of the last attempt")),
    ]);
    named("QueuePage", object([("items", list(item)), ("paging", object([("next", text().nullable())]))]))
}

/// `GET /v1/queue`
async fn read(State(app): State<App>, caller: Caller, uri: Uri, headers: HeaderMap) -> Result<Json, ApiError> {
    let (mut domain, mut destination, mut limit, mut after) = (None, None, None, None);
    for (name, value) in parse_query(uri.query().unwrap_or_default())? {
        match name.as_str() {
            _ if value.trim().is_empty() => {}
            "domain" => once(&mut domain, name_of(&value, "domain")?, &name)?,
            "destination" => once(&mut destination, name_of(&value, "destination")?, &name)?,
            "limit" => once(&mut limit, page_size(&value)?, &name)?,
            "page" => once(&mut after, place_of(&value)?, &name)?,
            _ => return Err(unknown(&name)),
        }
    }
    let limit = limit.unwrap_or(QUEUE_PER_PAGE_DEFAULT);
    let query = WaitingQuery { domain: caller.narrow(domain)?, destination, after, limit };
    let found = app.store.waiting(query.clone()).await?;
    let base = url::base(app.public_url.as_ref(), &headers);
    let next = found.last().filter(|_| found.len() == limit).map(|last| {
        let names = [("domain", &query.domain), ("destination", &query.destination)];
        let named = names.into_iter().filter_map(|(name, value)| Some(format!("{name}={}&", value.as_ref()?)));
        format!("{base}/v1/queue?{}limit={limit}&page={}", named.collect::<String>(), token_of(&last.place))
    });
    let now = store::Timestamp::now();
    let items: Vec<_> = found.iter().map(|one| item(one, now)).collect();
    Ok(Json(json!({ "items": items, "paging": { "next": next } })))
}

fn item(one: &Waiting, now: store::Timestamp) -> Value {
    let epoch = |time: store::Timestamp| to_epoch(time.as_micros());
    let last = one.last.as_ref().map(
        |last| json!({ "timestamp": epoch(last.at), "code": last.code, "message": last.text, "mx-host": last.mx_host }),
    );
    let state = match (one.is_held, one.next_attempt_at <= now, one.attempts) {
        (true, ..) => "held",
        (false, true, _) => "due",
        (false, false, 0) => "scheduled",
        (false, false, _) => "deferred",
    };
    json!({
        "id": one.id.number().to_string(),
        "state": state,
        "domain": one.domain,
        "recipient": one.recipient,
        "destination": one.place.destination,
        "from": one.from,
        "subject": one.subject,
        "message-id": one.message_id,
        "storage-key": one.key.to_string(),
        "accepted-at": epoch(one.accepted_at),
        "attempts": one.attempts,
        "next-attempt": (!one.is_held).then(|| epoch(one.next_attempt_at)),
        "expires-at": one.expires_at.map(epoch),
        "is-held": one.is_held,
        "last": last,
    })
}

async fn retry(State(app): State<App>, caller: Caller, request: Request) -> Result<Json, ApiError> {
    carry_out(app, caller, request, Order::Retry, "will be tried").await
}

async fn hold(State(app): State<App>, caller: Caller, request: Request) -> Result<Json, ApiError> {
    carry_out(app, caller, request, Order::Hold, "held").await
}

async fn release(State(app): State<App>, caller: Caller, request: Request) -> Result<Json, ApiError> {
    carry_out(app, caller, request, Order::Release, "released").await
}

async fn remove(State(app): State<App>, caller: Caller, request: Request) -> Result<Json, ApiError> {
    carry_out(app, caller, request, Order::Remove, "removed").await
}

async fn carry_out(app: App, caller: Caller, request: Request, order: Order, done: &str) -> Result<Json, ApiError> {
    let (whom, domain) = whom(&Form::read(&app, request).await?)?;
    let domain = caller.narrow(domain)?;
    // It may take a while. What was begun is brought to its end also if the client does not wait.
    let (store, wake) = (app.store.clone(), app.wake.clone());
    let carrying_out = tokio::spawn(async move {
        let count = store.order(order, whom, domain.as_ref()).await;
        wake.notify_one();
        count
    });
    let count = carrying_out.await.map_err(|_| ApiError::internal())??;
    tracing::info!(?order, count, "an order about the queue was carried out");
    Ok(Json(json!({ "message": done, "count": count })))
}

/// Whom a form is about. An order that names nobody is refused: it would be about everybody.
fn whom(form: &Form) -> Result<(Whom, Option<Domain>), ApiError> {
    let (mut ids, mut destination, mut domain) = (Vec::new(), None, None);
    for field in &form.fields {
        let (name, value) = (field.name.trim(), field.as_text()?.trim());
        match name {
            _ if value.is_empty() => {}
            "id" => ids.push(id_of(value)?),
            "destination" => once(&mut destination, name_of(value, name)?, name)?,
            "domain" => once(&mut domain, name_of(value, name)?, name)?,
            _ => return Err(unknown(name)),
        }
    }
    if ids.len() > QUEUE_IDS {
        return Err(ApiError::bad_request(format!("'id' is given more than {QUEUE_IDS} times")));
    }
    let whom = match (ids.is_empty(), destination, &domain) {
        (false, None, _) => Whom::Ids(ids),
        (false, Some(_), _) => return Err(ApiError::bad_request("'destination' stands beside 'id'; give one of them")),
        (true, Some(destination), _) => Whom::Destination(destination),
        (true, None, Some(_)) => Whom::All,
        (true, None, None) => return Err(ApiError::bad_request("need one of 'id', 'destination' and 'domain'")),
    };
    Ok((whom, domain))
}

fn id_of(value: &str) -> Result<RecipientId, ApiError> {
    let bad = |_| ApiError::bad_request(format!("'id': '{}' is not an id of the list", excerpt(value)));
    value.parse::<i64>().map(RecipientId::of_number).map_err(bad)
}

fn name_of(value: &str, name: &str) -> Result<Domain, ApiError> {
    let bad = |error| ApiError::bad_request(format!("'{name}' is not a valid domain")).because(error);
    value.trim().parse().map_err(bad)
}

fn page_size(value: &str) -> Result<usize, ApiError> {
    let size = value.trim().parse().ok().filter(|size| (1..=QUEUE_PER_PAGE).contains(size));
    size.ok_or_else(|| ApiError::bad_request(format!("'limit' must be a number from 1 to {QUEUE_PER_PAGE}")))
}

fn unknown(name: &str) -> ApiError {
    ApiError::bad_request(format!("'{}' is not a parameter", excerpt(name)))
}

fn token_of(place: &WaitingPlace) -> String {
    URL_SAFE_NO_PAD.encode(json!([place.destination, place.first, place.recipient.number()]).to_string())
}

fn place_of(token: &str) -> Result<WaitingPlace, ApiError> {
    let invalid = || ApiError::bad_request("the page token is not valid");
    if token.len() > TOKEN_OCTETS {
        return Err(invalid());
    }
    let json = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let (destination, first, recipient): (String, i64, i64) = serde_json::from_slice(&json).map_err(|_| invalid())?;
    Ok(WaitingPlace { destination, first, recipient: RecipientId::of_number(recipient) })
}
