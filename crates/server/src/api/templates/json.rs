//! Templates as Mailgun's clients read them.

use serde_json::{Value, json};
use store::template::{Template, TemplateVersion};

use crate::api::http::time::to_date;
use crate::api::schema::{Schema, boolean, map_of, named, object, text};

/// A template; its text only if `with_source`.
pub(super) fn template(template: &Template, of: Option<&TemplateVersion>, with_source: bool) -> Value {
    let mut json = json!({
        "name": template.name,
        "description": template.description,
        "createdAt": to_date(template.created_at.as_micros()),
        "createdBy": template.created_by,
        "id": template.key,
    });
    if let Some(of) = of {
        json["version"] = version(of, with_source);
    }
    json
}

pub(super) fn version(version: &TemplateVersion, with_source: bool) -> Value {
    let mut json = json!({
        "tag": version.tag,
        "engine": "handlebars",
        "mjml": "",
        "createdAt": to_date(version.created_at.as_micros()),
        "comment": version.comment,
        "active": version.active,
        "id": version.key,
    });
    if !version.headers.is_empty() {
        json["headers"] = version.headers.clone().into();
    }
    if with_source {
        json["template"] = version.source.as_str().into();
    }
    json
}

pub(super) fn template_schema() -> Schema {
    let template = [
        ("name", text()),
        ("description", text()),
        ("createdAt", text()),
        ("createdBy", text()),
        ("id", text()),
        ("version", version_schema()),
    ];
    named("Template", object(template))
}

pub(super) fn version_schema() -> Schema {
    let version = [
        ("tag", text()),
        ("template", text()),
        ("engine", text()),
        ("mjml", text()),
        ("createdAt", text()),
        ("comment", text()),
        ("active", boolean()),
        ("id", text()),
        ("headers", map_of(text())),
    ];
    named("TemplateVersion", object(version))
}
