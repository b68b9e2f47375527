//! A key as Mailgun's clients read it.

use serde_json::{Value, json};
use store::{ApiKey, KeyScope, Timestamp};

use crate::api::http::time::to_iso;
use crate::api::schema::{Schema, boolean, choice, text};

/// The key object, without the key.
pub(super) fn key(key: &ApiKey, now: Timestamp) -> Value {
    let created_at = to_iso(key.created_at.as_micros());
    let mut json = json!({
        "id": key.id.to_string(),
        "description": key.description,
        "kind": kind(&key.scope),
        "role": key.role.as_str(),
        "created_at": created_at,
        "updated_at": created_at,
        "is_disabled": key.is_expired(now),
        "domain_name": key.scope.domain(),
        "requestor": null,
        "user_name": null,
        "ends_with": key.hint,
    });
    if let Some(end) = key.expires_at {
        json["expires_at"] = to_iso(end.as_micros()).into();
    }
    if key.is_expired(now) {
        json["disabled_reason"] = "expired".into();
    }
    json
}

/// Mailgun's word for what a key opens.
pub(super) fn kind(scope: &KeyScope) -> &'static str {
    match scope {
        KeyScope::Account => "user",
        KeyScope::Domain(_) => "domain",
    }
}

/// The properties of the key object.
pub(super) fn properties() -> Vec<(&'static str, Schema)> {
    let when = || text().about("UTC, without a zone");
    vec![
        ("id", text()),
        ("description", text()),
        ("kind", choice(["domain", "user"])),
        ("role", choice(["admin", "developer", "basic", "sending"])),
        ("created_at", when()),
        ("updated_at", when()),
        ("expires_at", when()),
        ("is_disabled", boolean()),
        ("disabled_reason", text()),
        ("domain_name", text().nullable()),
        ("requestor", text().nullable()),
        ("user_name", text().nullable()),
        ("ends_with", text().about("The last four characters of the key")),
    ]
}
