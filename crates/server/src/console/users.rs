//! Users: who may use the panel, and for which domain. For administrators.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use maud::{Markup, html};
use store::user::{NewUser, User, UserRole};
use store::{StoreError, Timestamp};

use super::Console;
use super::client::Refusal;
use super::door::{busy, name_field, new_password_fields};
use super::json::Look;
use super::layout::{Page, Section, done, not_done};
use super::limits::{NAME_OCTETS, PASSWORD_CHARACTERS_MIN, PASSWORD_OCTETS_MAX};
use super::parts::{confirmed, table, when};
use super::session::{Fields, Submitted, Viewer};

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/users", get(page).post(create))
        .route("/users/password", post(set_password))
        .route("/users/sign-out", post(sign_out))
        .route("/users/delete", post(delete))
}

/// Whether a text can be a user's name.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("The name is missing.".to_owned()),
        name if name.len() > NAME_OCTETS => Err(format!("The name is longer than {NAME_OCTETS} octets.")),
        name if name.chars().any(char::is_control) => Err("The name has control characters.".to_owned()),
        _ => Ok(()),
    }
}

/// Whether a form has a password that can be one, twice.
pub(super) fn check_password(form: &Fields) -> Result<(), String> {
    check_new(form.get("password"))?;
    match form.get("password") == form.get("again") {
        true => Ok(()),
        false => Err("The two passwords are not the same.".to_owned()),
    }
}

/// Whether a text can be a password.
pub(crate) fn check_new(password: &str) -> Result<(), String> {
    match password {
        password if password.chars().count() < PASSWORD_CHARACTERS_MIN => {
            Err(format!("The password must have at least {PASSWORD_CHARACTERS_MIN} characters."))
        }
        password if password.len() > PASSWORD_OCTETS_MAX => {
            Err(format!("The password is longer than {PASSWORD_OCTETS_MAX} octets."))
        }
        _ => Ok(()),
    }
}

async fn page(viewer: Viewer) -> Result<Response, Refusal> {
    viewer.admin()?;
    let users = viewer.console.0.store.list_users().await?;
    let domains = viewer.api().get("/v4/domains?limit=1000").await?;
    let names: Vec<_> = domains.items("/items").iter().map(|one| one.text("/name")).collect();
    let body = html! {
        p { "An administrator may do everything. A user of a domain sees and changes what belongs to that domain, and nothing else." }
        (table("Users", &["Name", "May", "Since", "Signed in last", ""], users.iter().map(|user| row(&viewer, user))))
        section.card {
            h2 { "Add a user" }
            (viewer.form("/users", html! {
                (name_field(""))
                label for="domain" { "May use" }
                select #domain name="domain" {
                    option value="" { "everything (administrator)" }
                    @for name in names { option value=(name) { "the domain " (name) } }
                }
                (new_password_fields())
                button type="submit" { "Add the user" }
            }))
        }
    };
    Ok(viewer.show(Page::new("Users", Section::Users, body)))
}

fn row(viewer: &Viewer, user: &User) -> Vec<Markup> {
    let id = html! { input type="hidden" name="id" value=(user.id); };
    let question = format!("Delete the user {}?", user.name);
    let actions = html! {
        div.actions {
            @if user.id == viewer.user.id {
                a href="/account" { "Your account" }
            } @else {
                details {
                    summary { "Another password" }
                    (viewer.form("/users/password", html! {
                        (id)
                        label { "New password" input name="password" type="password" autocomplete="new-password" required; }
                        label { "The same again" input name="again" type="password" autocomplete="new-password" required; }
                        button type="submit" { "Set the password" }
                    }))
                }
                (viewer.form("/users/sign-out", html! { (id) button type="submit" { "Sign out everywhere" } }))
                (viewer.form("/users/delete", html! { (id) (confirmed("Delete", &question)) }))
            }
        }
    };
    vec![
        html! { (user.name) },
        html! { @match user.role.domain() { None => "everything", Some(domain) => (domain.as_str()) } },
        when(user.created_at),
        html! { @match user.signed_in_at { None => "never", Some(time) => (when(time)) } },
        actions,
    ]
}

async fn create(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    viewer.admin()?;
    let name = form.trimmed("name");
    if let Err(wrong) = check_name(name).and_then(|()| check_password(&form)) {
        return Ok(not_done("/users", wrong));
    }
    let role = match form.get("domain") {
        "" => UserRole::Admin,
        domain => match domain.parse() {
            Ok(domain) => UserRole::Domain(domain),
            Err(_) => return Ok(not_done("/users", "That is no domain.")),
        },
    };
    let hash = viewer.console.0.passwords.hash(form.get("password")).await.map_err(|_| busy())?;
    let new = NewUser { name: name.to_owned(), hash, role, now: Timestamp::now() };
    match viewer.console.0.store.create_user(new).await {
        Ok(user) => {
            tracing::info!(user = user.name, by = viewer.user.name, "a user was made");
            Ok(done("/users", format!("The user {} can sign in now.", user.name)))
        }
        Err(StoreError::Conflict(_)) => Ok(not_done("/users", "There is a user of that name.")),
        Err(StoreError::Invalid(why)) => Ok(not_done("/users", why)),
        Err(error) => Err(error.into()),
    }
}

fn id_of(form: &Fields) -> Result<i64, Refusal> {
    form.get("id").parse().map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "The form names no user."))
}

async fn set_password(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    viewer.admin()?;
    let id = id_of(&form)?;
    if let Err(wrong) = check_password(&form) {
        return Ok(not_done("/users", wrong));
    }
    let hash = viewer.console.0.passwords.hash(form.get("password")).await.map_err(|_| busy())?;
    match viewer.console.0.store.set_user_password(id, hash, Some(viewer.token)).await? {
        true => Ok(done("/users", "The user has another password, and is signed out everywhere.")),
        false => Ok(gone()),
    }
}

async fn sign_out(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    viewer.admin()?;
    let count = viewer.console.0.store.close_sessions(id_of(&form)?).await?;
    Ok(done("/users", format!("Sessions that were ended: {count}.")))
}

async fn delete(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    viewer.admin()?;
    match viewer.console.0.store.delete_user(id_of(&form)?).await {
        Ok(true) => Ok(done("/users", "The user is gone, and signed out everywhere.")),
        Ok(false) => Ok(gone()),
        Err(StoreError::Invalid(_)) => Ok(not_done("/users", "Somebody must be left who may do everything.")),
        Err(error) => Err(error.into()),
    }
}

fn gone() -> Response {
    not_done("/users", "There is no such user any more.")
}
