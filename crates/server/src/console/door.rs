//! How people come in: the link that makes the first user, sign in, sign out.

use std::net::IpAddr;
use std::time::Instant;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;
use store::user::{NewUser, User, UserRole};
use store::{StoreError, Timestamp};

use super::Console;
use super::client::Refusal;
use super::layout::{error, outside};
use super::limits::NAME_OCTETS;
use super::parts::cut;
use super::session::{Fields, Submitted, forget, open, peer_of, see_other};
use super::users::{check_name, check_password};
use crate::config::Secret;

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/setup", get(setup_page).post(setup))
        .route("/sign-in", get(sign_in_page).post(sign_in))
        .route("/sign-out", axum::routing::post(sign_out))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SetupQuery {
    token: String,
}

async fn setup_page(State(console): State<Console>, Query(query): Query<SetupQuery>) -> Result<Response, Refusal> {
    match console.0.store.has_users().await? {
        true => Ok(see_other("/sign-in")),
        false => Ok(setup_form(&console, &query.token, "", None)),
    }
}

fn setup_form(console: &Console, token: &str, name: &str, wrong: Option<&str>) -> Response {
    if !console.opens_setup(&Secret::new(token)) {
        let body = html! {
            p { "This link is not the one that the server printed when it started." }
            p { "Open the newest one, or start the server again: it prints another as long as there is no user." }
        };
        return outside(StatusCode::FORBIDDEN, "This link opens nothing", body);
    }
    let body = html! {
        p { "Make the first user. This user may do everything, and can make others." }
        @if let Some(wrong) = wrong { (error(wrong)) }
        form method="post" action="/setup" {
            input type="hidden" name="token" value=(token);
            (name_field(name))
            (new_password_fields())
            button type="submit" { "Make the user and sign in" }
        }
    };
    outside(wrong.map_or(StatusCode::OK, |_| StatusCode::BAD_REQUEST), "Set up Waxwing", body)
}

/// Where a user's name is typed.
pub(super) fn name_field(name: &str) -> Markup {
    html! {
        label for="name" { "Name or address" }
        input #name name="name" value=(name) autocomplete="username" autocapitalize="none" spellcheck="false"
            maxlength=(NAME_OCTETS) required;
    }
}

/// Where a new password is typed, twice.
pub(super) fn new_password_fields() -> Markup {
    html! {
        label for="password" { "New password" }
        input #password name="password" type="password" autocomplete="new-password" required
            aria-describedby="password-rule";
        p.hint #password-rule { "At least 10 characters. Longer beats stranger." }
        label for="again" { "The same again" }
        input #again name="again" type="password" autocomplete="new-password" required;
    }
}

async fn setup(State(console): State<Console>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let (headers, peer) = (parts.headers.clone(), peer_of(&parts));
    let form = Fields::read(Request::from_parts(parts, body)).await?;
    let (token, name) = (form.get("token"), form.trimmed("name"));
    let again = |wrong: &str| Ok(setup_form(&console, token, name, Some(wrong)));
    if !console.opens_setup(&Secret::new(token)) {
        return Ok(setup_form(&console, token, name, None));
    }
    if let Err(wrong) = check_name(name).and_then(|()| check_password(&form)) {
        return again(&wrong);
    }
    let hash = console.0.passwords.hash(form.get("password")).await.map_err(|_| busy())?;
    let new = NewUser { name: name.to_owned(), hash, role: UserRole::Admin, now: Timestamp::now() };
    match console.0.store.create_first_user(new).await {
        Ok(user) => {
            *console.setup() = None;
            tracing::info!(user = user.name, "the first user was made");
            open(&console, &user, &headers, peer, "/").await
        }
        Err(StoreError::Conflict(_)) => Ok(see_other("/sign-in")),
        Err(error) => Err(error.into()),
    }
}

/// Too many passwords are looked at.
pub(super) fn busy() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Too many passwords are being looked at. Try again in a moment.")
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SignInQuery {
    next: String,
}

async fn sign_in_page(State(console): State<Console>, Query(query): Query<SignInQuery>) -> Result<Response, Refusal> {
    if !console.0.store.has_users().await? {
        let body = html! {
            p { "There is no user yet. Open the link that the server printed in its terminal when it started; start it again for another link." }
        };
        return Ok(outside(StatusCode::OK, "Set up Waxwing", body));
    }
    Ok(sign_in_form(StatusCode::OK, "", &query.next, None))
}

fn sign_in_form(status: StatusCode, name: &str, next: &str, wrong: Option<&str>) -> Response {
    let body = html! {
        @if let Some(wrong) = wrong { (error(wrong)) }
        form method="post" action="/sign-in" {
            input type="hidden" name="next" value=(next);
            (name_field(name))
            label for="password" { "Password" }
            input #password name="password" type="password" autocomplete="current-password" required;
            button type="submit" { "Sign in" }
        }
    };
    outside(status, "Sign in", body)
}

async fn sign_in(State(console): State<Console>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let (headers, peer) = (parts.headers.clone(), peer_of(&parts));
    let form = Fields::read(Request::from_parts(parts, body)).await?;
    let (name, next) = (form.trimmed("name"), form.get("next"));
    let ip = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip());
    match who(&console, ip, name, form.get("password")).await? {
        Ok(user) => open(&console, &user, &headers, peer, local(next)).await,
        Err((status, wrong)) => Ok(sign_in_form(status, name, next, Some(wrong))),
    }
}

type Wrong = (StatusCode, &'static str);

/// The user with this name and password. Wrong ones are counted by address and by name, and make the answers slow.
async fn who(console: &Console, ip: IpAddr, name: &str, password: &str) -> Result<Result<User, Wrong>, Refusal> {
    let folded = cut(&name.to_lowercase(), NAME_OCTETS).to_owned();
    let Some(delay) = console.0.guard.attempt(ip, &folded, Instant::now()) else {
        tracing::warn!(peer = %ip, "too many wrong passwords: a sign-in was refused without a look");
        let words = "Too many wrong passwords. Wait some minutes and try again.";
        return Ok(Err((StatusCode::TOO_MANY_REQUESTS, words)));
    };
    let forgive = |was_right| console.0.guard.forgive(ip, &folded, was_right, Instant::now());
    let known = console.0.store.find_user(name).await.inspect_err(|_| forgive(false))?;
    match console.0.passwords.verify(password, known.as_ref().map(|user| &user.hash)).await {
        Ok(true) => {
            forgive(true);
            known.map(Ok).ok_or_else(busy)
        }
        Ok(false) => {
            tracing::warn!(peer = %ip, "wrong name or password");
            tokio::time::sleep(delay).await;
            Ok(Err((StatusCode::UNAUTHORIZED, "The name or the password is wrong.")))
        }
        Err(_) => {
            forgive(false);
            Err(busy())
        }
    }
}

/// Whether the password is the user's own, counted as at the door.
pub(super) async fn is_own_password(
    console: &Console,
    ip: Option<IpAddr>,
    user: &User,
    password: &str,
) -> Result<bool, Refusal> {
    let ip = ip.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    match who(console, ip, &user.name, password).await? {
        Ok(found) => Ok(found.id == user.id),
        Err((StatusCode::TOO_MANY_REQUESTS, words)) => Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, words)),
        Err(_) => Ok(false),
    }
}

/// The page to go on to, if it is one of ours.
fn local(next: &str) -> &str {
    let is_ours = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n', '\t']);
    if is_ours { next } else { "/" }
}

async fn sign_out(submitted: Submitted) -> Result<Response, Refusal> {
    let viewer = submitted.viewer;
    viewer.console.0.store.close_session(viewer.token).await?;
    let mut response = see_other("/sign-in");
    forget(&mut response);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_away() {
        for (next, expected) in [
            ("/logs?event=failed", "/logs?event=failed"),
            ("", "/"),
            ("https://elsewhere.example/", "/"),
            ("//elsewhere.example/", "/"),
            ("/\\elsewhere.example/", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
        ] {
            assert_eq!(local(next), expected, "{next:?}");
        }
    }
}
