//! Who may send for a domain: API keys that open it, and logins for SMTP. A secret is shown once, when it is made.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::Tab;
use crate::console::client::{Refusal, segment, with_query};
use crate::console::json::Look;
use crate::console::layout::{done, not_done};
use crate::console::parts::{confirmed, copyable, shown, table};
use crate::console::session::{Fields, Submitted, Viewer};

pub(super) async fn page(viewer: Viewer, Path(domain): Path<String>) -> Result<Response, Refusal> {
    show(&viewer, &domain, html! {}).await
}

async fn show(viewer: &Viewer, domain: &str, made: Markup) -> Result<Response, Refusal> {
    let credentials = viewer.api().get(&format!("/v3/domains/{}/credentials?limit=1000", segment(domain))).await?;
    // Keys belong to the account; a user of a domain has nothing to do with them.
    let keys = match viewer.is_admin() {
        true => Some(viewer.api().get(&with_query("/v1/keys", &[("domain_name", domain)])).await?),
        false => None,
    };
    let path = Tab::Access.path(domain);
    let logins = credentials.items("/items").iter().map(|one| {
        let login = one.text("/login");
        let remove = html! { input type="hidden" name="login" value=(login); (confirmed("Delete", &format!("Delete the login {login}?"))) };
        let remove = viewer.form(&format!("{path}/credentials/delete"), remove);
        vec![html! { (login) }, html! { (one.text("/created_at")) }, html! { div.actions { (remove) } }]
    });
    let body = html! {
        (made)
        @if let Some(keys) = &keys {
            section.card {
                h2 { "API keys of this domain" }
                (key_table(viewer, keys, &format!("{path}/keys/delete")))
                h3 { "Make a key" }
                (viewer.form(&format!("{path}/keys"), key_form(&[])))
            }
        }
        section.card {
            h2 { "Logins for SMTP" }
            (table("Logins for SMTP submission", &["Login", "Since", ""], logins))
            h3 { "Make a login" }
            (viewer.form(&format!("{path}/credentials"), html! {
                label for="login" { "Login" }
                input #login name="login" required placeholder="app" autocomplete="off" aria-describedby="login-rule";
                p.hint #login-rule { "What stands before @" (domain) ". The password is made here and shown once." }
                button type="submit" { "Make the login" }
            }))
        }
    };
    Ok(viewer.show(super::page(domain, Tab::Access, body)))
}

/// Keys, and a button that deletes each.
pub(in crate::console) fn key_table(viewer: &Viewer, keys: &Value, delete: &str) -> Markup {
    let rows = keys.items("/items").iter().map(|key| {
        let id = key.text("/id");
        let ends_with = format!("…{}", key.text("/ends_with"));
        let remove = html! { input type="hidden" name="id" value=(id); (confirmed("Delete", &format!("Delete the key {ends_with}?"))) };
        let opens = key.text("/domain_name");
        vec![
            html! { code { (ends_with) } },
            html! { (shown(key.text("/description"), 200)) },
            html! { (key.text("/role")) },
            html! { @if opens.is_empty() { "all domains" } @else { (opens) } },
            html! { (key.text("/created_at")) },
            html! { @match key.text("/expires_at") { "" => "never", time => (time) } },
            html! { div.actions { (viewer.form(delete, remove)) } },
        ]
    });
    table("API keys", &["Key", "For", "Role", "Opens", "Since (UTC)", "Ends (UTC)", ""], rows)
}

/// The fields of a key that is to be made; of one of these domains, where there are any to choose.
pub(in crate::console) fn key_form(domains: &[String]) -> Markup {
    let roles = [
        ("sending", "send, and nothing else"),
        ("basic", "look at everything"),
        ("developer", "everything but keys"),
        ("admin", "everything"),
    ];
    html! {
        @if !domains.is_empty() {
            label for="key-domain" { "Opens" }
            select #key-domain name="domain_name" {
                option value="" { "all domains" }
                @for domain in domains { option value=(domain) { (domain) } }
            }
        }
        label for="description" { "What it is for" }
        input #description name="description" maxlength="200" autocomplete="off" placeholder="the shop";
        label for="role" { "It may" }
        select #role name="role" {
            @for (word, about) in roles { @if word != "admin" || !domains.is_empty() { option value=(word) { (about) } } }
        }
        label for="expiration" { "It ends after" }
        select #expiration name="expiration" {
            option value="" { "never" }
            @for (seconds, words) in [("2592000", "30 days"), ("7776000", "90 days"), ("31536000", "a year")] { option value=(seconds) { (words) } }
        }
        button type="submit" { "Make the key" }
    }
}

/// Makes a key of what a form says; of `domain`, or of what the form names. What comes back is the only look at it.
pub(in crate::console) async fn made_key(viewer: &Viewer, form: &Fields, domain: &str) -> Result<Markup, Refusal> {
    let kind = if domain.is_empty() { "user" } else { "domain" };
    let named = [("description", form.trimmed("description")), ("role", form.get("role")), ("kind", kind)];
    let optional = [("domain_name", domain), ("expiration", form.get("expiration"))];
    let fields: Vec<_> = named.into_iter().chain(optional.into_iter().filter(|(_, value)| !value.is_empty())).collect();
    let answer = viewer.api().post("/v1/keys", &fields).await?;
    Ok(secret("Your new API key, shown only now", answer.text("/key/secret")))
}

fn secret(title: &str, secret: &str) -> Markup {
    html! { div.notice.good role="status" { p { strong { (title) } } p { (copyable(secret)) } } }
}

pub(super) async fn create_key(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    match made_key(&viewer, &form, &domain).await {
        Ok(made) => show(&viewer, &domain, made).await,
        Err(refusal) if refusal.is_of_request() => Ok(not_done(&Tab::Access.path(&domain), refusal.message)),
        Err(refusal) => Err(refusal),
    }
}

pub(super) async fn delete_key(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    viewer.api().delete(&format!("/v1/keys/{}", segment(form.get("id")))).await?;
    Ok(done(&Tab::Access.path(&domain), "The key opens nothing any more."))
}

pub(super) async fn create_credential(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let path = format!("/v3/domains/{}/credentials", segment(&domain));
    let made = viewer.api().post(&path, &[("login", form.trimmed("login"))]).await;
    match made {
        Ok(answer) => {
            let made = answer.parts("/credentials").into_iter().next();
            let (login, password) =
                made.map(|(login, password)| (login, password.as_str().unwrap_or_default())).unwrap_or_default();
            show(&viewer, &domain, secret(&format!("The password of {login}, shown only now"), password)).await
        }
        Err(refusal) if refusal.is_of_request() => Ok(not_done(&Tab::Access.path(&domain), refusal.message)),
        Err(refusal) => Err(refusal),
    }
}

pub(super) async fn delete_credential(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let path = format!("/v3/domains/{}/credentials/{}", segment(&domain), segment(form.get("login")));
    viewer.api().delete(&path).await?;
    Ok(done(&Tab::Access.path(&domain), "The login is gone."))
}
