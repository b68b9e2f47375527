//! `GET /docs`: the description of this API for people. One page without scripts, made of what `/openapi.json` says.

use std::fmt::Write as _;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::openapi::document;
use super::operation::{Access, Operation};
use super::schema::text;

/// How the page looks; it stands in the page.
const STYLE: &str = include_str!("docs.css");

/// The operation that answers with the page.
pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::get("/docs", "page", serve).summary("This API for people to read").access(Access::Open).answer_as(
        200,
        "A page",
        "text/html",
        text(),
    )]
}

async fn serve() -> Response {
    static PAGE: OnceLock<(String, String)> = OnceLock::new();
    let (page, policy) = PAGE.get_or_init(|| (page(&super::operations()), policy()));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, page.as_str()).into_response()
}

/// Nothing is loaded, run, sent or framed; the one style is known by its hash.
fn policy() -> String {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn page(operations: &[Operation]) -> String {
    let document = document(operations);
    let mut areas = Vec::new();
    for operation in operations {
        if !areas.contains(&operation.area) {
            areas.push(operation.area);
        }
    }
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
        <meta name=\"viewport\" content=\"width=device-width\"><title>Waxwing's API</title><style>{STYLE}</style>\
        <h1>Waxwing's API</h1><p>Mailgun's sending API, and what Waxwing adds. HTTP Basic: the user is <code>api</code>, \
        the password an API key. For tools there is <a href=\"/openapi.json\">openapi.json</a>.</p><nav>"
    );
    for area in areas.iter().chain([&"shapes"]) {
        page.push_str(&format!("<a href=\"#{area}\">{area}</a>"));
    }
    page.push_str("</nav>");
    for area in areas {
        page.push_str(&format!("<h2 id=\"{area}\">{area}</h2>"));
        let shown = |one: &&Operation| one.area == area && one.twin_of.is_none();
        for operation in operations.iter().filter(shown) {
            add_operation(&mut page, operation, &document);
        }
    }
    page.push_str("<h2 id=\"shapes\">Shapes</h2>");
    for (name, shape) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let _ = write!(page, "<details id=\"shape-{name}\"><summary><code>{name}</code></summary><div>");
        add_shape(&mut page, shape);
        page.push_str("</div></details>");
    }
    page + "</html>"
}

fn add_operation(page: &mut String, operation: &Operation, document: &Value) {
    let described = &document["paths"][&operation.path][operation.method.as_str()];
    let (method, path, id) = (operation.method.as_str(), escape(&operation.path), &operation.id);
    let _ = write!(
        page,
        "<details id=\"{id}\"><summary><b class=\"{method}\">{}</b><code>{path}</code><span>{}</span></summary><div>",
        method.to_uppercase(),
        escape(&operation.summary)
    );
    let _ = write!(page, "<p>{} {}", escape(operation.about.as_deref().unwrap_or_default()), who(operation.access));
    if operation.has_twin {
        page.push_str(" The same under <code>/v3</code> and <code>/v4</code>.");
    }
    page.push_str("</p>");
    let parameters: Vec<_> = described["parameters"].as_array().into_iter().flatten().collect();
    if !parameters.is_empty() {
        page.push_str("<h3>Parameters</h3><table>");
        for parameter in parameters {
            let place = parameter["in"].as_str().unwrap_or_default();
            let about = parameter["description"].as_str().unwrap_or_default();
            add_row(page, &parameter["name"], parameter["required"] == true, &parameter["schema"], about, place);
        }
        page.push_str("</table>");
    }
    if let Some(content) = described["requestBody"]["content"].as_object() {
        page.push_str("<h3>Body</h3>");
        add_content(page, content);
    }
    page.push_str("<h3>Answers</h3><table>");
    for (status, answer) in described["responses"].as_object().into_iter().flatten() {
        let shared = answer["$ref"].as_str().and_then(|reference| document.pointer(reference.trim_start_matches('#')));
        let answer = shared.unwrap_or(answer);
        let about = escape(answer["description"].as_str().unwrap_or_default());
        let _ = write!(page, "<tr><td><code>{status}</code><td>{about} ");
        if let Some((_, content)) = answer["content"].as_object().and_then(|types| types.iter().next()) {
            page.push_str(&type_of(&content["schema"]));
        }
    }
    page.push_str("</table></div></details>");
}

/// The types of a body, and its shape, which all of them share if they are forms.
fn add_content(page: &mut String, content: &serde_json::Map<String, Value>) {
    for (kind, content) in content {
        let _ = write!(page, "<p><code>{}</code>: {}</p>", escape(kind), type_of(&content["schema"]));
    }
}

fn add_shape(page: &mut String, shape: &Value) {
    let Some(properties) = shape["properties"].as_object() else {
        let _ = write!(page, "<p>{}</p>", type_of(shape));
        return;
    };
    page.push_str("<table>");
    for (name, property) in properties {
        let is_required = shape["required"].as_array().into_iter().flatten().any(|one| one == name);
        let about = property["description"].as_str().unwrap_or_default();
        add_row(page, &name.as_str().into(), is_required, property, about, "");
    }
    page.push_str("</table>");
}

fn add_row(page: &mut String, name: &Value, is_required: bool, schema: &Value, about: &str, place: &str) {
    let required = if is_required { " <i>required</i>" } else { "" };
    let place = if place.is_empty() { String::new() } else { format!(" <i>in the {place}</i>") };
    let name = escape(name.as_str().unwrap_or_default());
    let _ = write!(page, "<tr><td><code>{name}</code>{required}<td>{}{place}<td>{}", type_of(schema), escape(about));
}

/// A type in a few words; names lead to their shapes.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return format!("<a href=\"#shape-{name}\">{name}</a>");
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().map(type_of).collect::<Vec<_>>().join(" and ");
    }
    let mut words = match schema["type"].as_str() {
        Some("array") => format!("list of {}", type_of(&schema["items"])),
        Some("string") => "text".to_owned(),
        Some(other) => escape(other),
        None => "anything".to_owned(),
    };
    if let Some(choices) = schema["enum"].as_array() {
        let choices: Vec<_> = choices.iter().filter_map(Value::as_str).map(escape).collect();
        words = format!("<code>{}</code>", choices.join("</code>, <code>"));
    }
    if let Some(properties) = schema["properties"].as_object() {
        let names: Vec<_> = properties.keys().map(|name| escape(name)).collect();
        words = format!("object with <code>{}</code>", names.join("</code>, <code>"));
    }
    for (word, said) in [("minimum", "at least"), ("maximum", "at most"), ("default", "default")] {
        if let Some(value) = schema.get(word) {
            let _ = write!(words, ", {said} {}", escape(&value.to_string()));
        }
    }
    words
}

fn who(access: Access) -> &'static str {
    match access {
        Access::Open => "Needs no key.",
        Access::Sending => "Keys that may send for the domain.",
        Access::Domain => "Keys of the account or of the domain.",
        Access::Filtered => "Keys of the account or of a domain, which is then the only one that is shown.",
        Access::Account => "Keys of the account.",
        Access::Admin => "Keys of the account with the role admin.",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::operations;

    #[test]
    fn every_operation_and_every_shape_is_on_the_page_and_links_lead_somewhere() {
        let page = page(&operations());
        for operation in operations().iter().filter(|operation| operation.twin_of.is_none()) {
            assert!(page.contains(&format!("<details id=\"{}\">", operation.id)), "{}", operation.id);
        }
        let links = page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next());
        for link in links.collect::<std::collections::BTreeSet<_>>() {
            assert_eq!(page.matches(&format!(" id=\"{link}\"")).count(), 1, "{link}");
        }
    }

    #[test]
    fn the_page_loads_and_runs_nothing() {
        let page = page(&operations());
        for word in ["<script", "src=", "http://", "https://", " style=", " onclick", "url("] {
            assert!(!page.contains(word), "{word}");
        }
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
