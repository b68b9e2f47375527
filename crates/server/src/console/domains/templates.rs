//! Templates: their versions, what is in them, and what they lead to with some variables.

use axum::extract::{Path, Query};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Tab;
use crate::console::client::{Refusal, segment, with_query};
use crate::console::json::Look;
use crate::console::layout::{done, error, not_done};
use crate::console::parts::{Tone, confirmed, mark, shown, table};
use crate::console::session::{Submitted, Viewer};
use crate::templates::{Escape, render};

/// A template that runs nothing, loads nothing and knows nothing of the panel around it.
const PREVIEW_POLICY: &str =
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";

pub(super) async fn list(viewer: Viewer, Path(domain): Path<String>) -> Result<Response, Refusal> {
    let answer = viewer.api().get(&format!("/v3/{}/templates?limit=100", segment(&domain))).await?;
    let path = Tab::Templates.path(&domain);
    let rows = answer.items("/items").iter().map(|one| {
        let name = one.text("/name");
        vec![
            html! { a href=(format!("{path}/{}", segment(name))) { (shown(name, 100)) } },
            html! { (shown(one.text("/description"), 200)) },
            html! { (one.text("/createdAt")) },
        ]
    });
    let body = html! {
        p { "Messages name a template by " code { "template" } " and give it variables by " code { "t:variables" } ". The language is Handlebars." }
        (table("Templates", &["Name", "For", "Since"], rows))
        section.card {
            h2 { "Make a template" }
            (viewer.form(&path, html! {
                label for="name" { "Name" }
                input #name name="name" required autocomplete="off" autocapitalize="none";
                label for="description" { "What it is for" }
                input #description name="description" autocomplete="off";
                label for="template" { "Template" }
                textarea #template name="template" spellcheck="false" required {}
                button type="submit" { "Make the template" }
            }))
        }
    };
    Ok(viewer.show(super::page(&domain, Tab::Templates, body)))
}

pub(super) async fn create(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let path = Tab::Templates.path(&domain);
    let name = form.trimmed("name");
    let fields = [("name", name), ("description", form.get("description")), ("template", form.get("template"))];
    let made = viewer.api().post(&format!("/v3/{}/templates", segment(&domain)), &fields).await;
    match made {
        // The API keeps names in lower case.
        Ok(answer) => Ok(done(&format!("{path}/{}", segment(answer.text("/template/name"))), "The template is there.")),
        Err(refusal) if refusal.is_of_request() => Ok(not_done(&path, refusal.message)),
        Err(refusal) => Err(refusal),
    }
}

/// Which version of a template, and with which variables it is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    version: String,
    variables: String,
}

/// The active version of a template, or the one that is named.
async fn version(viewer: &Viewer, domain: &str, name: &str, tag: &str) -> Result<Value, Refusal> {
    let path = format!("/v3/{}/templates/{}", segment(domain), segment(name));
    match tag {
        "" => viewer.api().get(&format!("{path}?active=yes")).await,
        tag => viewer.api().get(&format!("{path}/versions/{}", segment(tag))).await,
    }
}

pub(super) async fn one(
    viewer: Viewer,
    Path((domain, name)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let answer = version(&viewer, &domain, &name, &asked.version).await?;
    let shown_version = &answer["template"]["version"];
    let at = format!("/v3/{}/templates/{}/versions?limit=100", segment(&domain), segment(&name));
    let versions = viewer.api().get(&at).await?;
    let path = format!("{}/{}", Tab::Templates.path(&domain), segment(&name));
    let rows = versions.items("/template/versions").iter().map(|one| version_row(&viewer, &path, one));
    let body = html! {
        h2 { "Versions of " (shown(&name, 100)) }
        (table("Versions", &["Version", "State", "Comment", "Since", ""], rows))
        (preview(&path, shown_version, &asked))
        section.card {
            h2 { "Another version" }
            (viewer.form(&format!("{path}/versions"), html! {
                label for="tag" { "Name of the version" }
                input #tag name="tag" required autocomplete="off" autocapitalize="none" placeholder="v2";
                label for="comment" { "Comment" }
                input #comment name="comment" autocomplete="off";
                label for="template" { "Template" }
                textarea #template name="template" spellcheck="false" required { (shown_version.text("/template")) }
                label.choice { input type="checkbox" name="active" value="yes" checked; "Messages get this version from now on" }
                button type="submit" { "Save the version" }
            }))
        }
        section.card {
            h2 { "Delete the template" }
            (viewer.form(&format!("{path}/delete"), confirmed("Delete it and its versions", &format!("Delete the template {name}?"))))
        }
    };
    Ok(viewer.show(super::page(&domain, Tab::Templates, body).below("Templates", Tab::Templates.path(&domain))))
}

fn version_row(viewer: &Viewer, path: &str, one: &Value) -> Vec<Markup> {
    let tag = one.text("/tag");
    let is_active = one.is("/active");
    vec![
        html! { a href=(with_query(path, &[("version", tag)])) { (shown(tag, 100)) } },
        html! { @if is_active { (mark(Tone::Good, "active")) } },
        html! { (shown(one.text("/comment"), 200)) },
        html! { (one.text("/createdAt")) },
        html! {
            @if !is_active {
                div.actions {
                    (viewer.form(&format!("{path}/activate"), html! {
                        input type="hidden" name="tag" value=(tag);
                        button type="submit" { "Make active" }
                    }))
                }
            }
        },
    ]
}

fn preview(path: &str, version: &Value, asked: &Asked) -> Markup {
    let tag = version.text("/tag");
    let variables = if asked.variables.trim().is_empty() { "{}" } else { &asked.variables };
    let source = with_query(&format!("{path}/preview"), &[("version", tag), ("variables", variables)]);
    html! {
        section.card {
            h2 { "What " (shown(tag, 100)) " leads to" }
            form method="get" action=(path) {
                input type="hidden" name="version" value=(tag);
                label for="variables" { "With these variables, as JSON" }
                textarea #variables.short name="variables" spellcheck="false" { (variables) }
                button type="submit" { "Show" }
            }
            iframe.preview title="Preview of the template" src=(source) sandbox="" {}
            details { summary { "The template as it is written" } pre tabindex="0" { (version.text("/template")) } }
        }
    }
}

/// What the template leads to, as a document of its own within the page.
pub(super) async fn rendered(
    viewer: Viewer,
    Path((domain, name)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let answer = version(&viewer, &domain, &name, &asked.version).await?;
    let source = answer.text("/template/version/template").to_owned();
    let variables = serde_json::from_str::<Map<String, Value>>(&asked.variables);
    let bad = |error: serde_json::Error| format!("The variables are not a JSON object: {error}");
    let work = move |variables: Map<String, Value>| render(&source, &variables, Escape::Html);
    let html = match variables.map_err(bad) {
        Ok(variables) => tokio::task::spawn_blocking(move || work(variables))
            .await
            .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "The template could not be tried."))?
            .map_err(|error| format!("The template cannot be filled: {error}")),
        Err(words) => Err(words),
    };
    let html = html.unwrap_or_else(|words| self::error(&words).into_string());
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PREVIEW_POLICY),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    Ok((headers, html).into_response())
}

/// Does something to a template, and leads back to its page.
async fn change(
    viewer: &Viewer,
    back: &str,
    at: &str,
    fields: &[(&str, &str)],
    is_new: bool,
    words: &str,
) -> Result<Response, Refusal> {
    let changed = match is_new {
        true => viewer.api().post(at, fields).await,
        false => viewer.api().put(at, fields).await,
    };
    match changed {
        Ok(_) => Ok(done(back, words)),
        Err(refusal) if refusal.is_of_request() => Ok(not_done(back, refusal.message)),
        Err(refusal) => Err(refusal),
    }
}

pub(super) async fn add_version(
    Path((domain, name)): Path<(String, String)>,
    submitted: Submitted,
) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let back = format!("{}/{}", Tab::Templates.path(&domain), segment(&name));
    let at = format!("/v3/{}/templates/{}/versions", segment(&domain), segment(&name));
    let active = if form.get("active") == "yes" { "yes" } else { "no" };
    let fields = [
        ("tag", form.trimmed("tag")),
        ("comment", form.get("comment")),
        ("template", form.get("template")),
        ("active", active),
    ];
    change(&viewer, &back, &at, &fields, true, "The version is there.").await
}

pub(super) async fn activate(
    Path((domain, name)): Path<(String, String)>,
    submitted: Submitted,
) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let back = format!("{}/{}", Tab::Templates.path(&domain), segment(&name));
    let tag = segment(form.get("tag"));
    let at = format!("/v3/{}/templates/{}/versions/{tag}", segment(&domain), segment(&name));
    change(&viewer, &back, &at, &[("active", "yes")], false, "Messages get this version from now on.").await
}

pub(super) async fn delete(
    Path((domain, name)): Path<(String, String)>,
    submitted: Submitted,
) -> Result<Response, Refusal> {
    let path = Tab::Templates.path(&domain);
    submitted.viewer.api().delete(&format!("/v3/{}/templates/{}", segment(&domain), segment(&name))).await?;
    Ok(done(&path, "The template is gone."))
}
