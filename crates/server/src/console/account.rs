//! One's own account: the password, and where one is signed in.

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use maud::html;
use store::Timestamp;

use super::Console;
use super::client::Refusal;
use super::door::{busy, is_own_password, new_password_fields};
use super::layout::{Page, Section, done, not_done};
use super::parts::{shown, table, when};
use super::session::{Submitted, Viewer, forget, see_other};
use super::users::check_password;

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/account", get(page))
        .route("/account/password", post(set_password))
        .route("/account/sign-out", post(sign_out))
}

async fn page(viewer: Viewer) -> Result<Response, Refusal> {
    let sessions = viewer.console.0.store.list_sessions(viewer.user.id, Timestamp::now()).await?;
    let rows = sessions.iter().map(|session| {
        vec![
            html! { (shown(&session.agent, 120)) @if session.id == viewer.session.id { " " span.tag { "this one" } } },
            html! { (shown(&session.address, 60)) },
            when(session.created_at),
            when(session.used_at),
        ]
    });
    let body = html! {
        p {
            "You are " strong { (viewer.user.name) } ", and may use "
            @match viewer.domain() { None => "everything.", Some(domain) => { "the domain " (domain) "." } }
        }
        section.card {
            h2 { "Where you are signed in" }
            (table("Sessions", &["Browser", "From", "Since", "Used last"], rows))
            (viewer.form("/account/sign-out", html! { button type="submit" { "Sign out everywhere" } }))
        }
        section.card {
            h2 { "Another password" }
            p { "Every other session of yours ends." }
            (viewer.form("/account/password", html! {
                input type="hidden" name="username" value=(viewer.user.name) autocomplete="username";
                label for="current" { "The password you have now" }
                input #current name="current" type="password" autocomplete="current-password" required;
                (new_password_fields())
                button type="submit" { "Change the password" }
            }))
        }
    };
    Ok(viewer.show(Page::new("Your account", Section::Account, body)))
}

async fn set_password(submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    if let Err(wrong) = check_password(&form) {
        return Ok(not_done("/account", wrong));
    }
    if !is_own_password(&viewer.console, viewer.ip(), &viewer.user, form.get("current")).await? {
        return Ok(not_done("/account", "The password you have now is another one."));
    }
    let hash = viewer.console.0.passwords.hash(form.get("password")).await.map_err(|_| busy())?;
    viewer.console.0.store.set_user_password(viewer.user.id, hash, Some(viewer.token)).await?;
    Ok(done("/account", "You have another password now."))
}

async fn sign_out(submitted: Submitted) -> Result<Response, Refusal> {
    let viewer = submitted.viewer;
    viewer.console.0.store.close_sessions(viewer.user.id).await?;
    let mut response = see_other("/sign-in");
    forget(&mut response);
    Ok(response)
}
