//! `waxwing config`: what is in force and where it comes from.

use std::fmt::Write;

use serde_json::json;
use toml::Value;

use super::keys::KEYS;
use super::{Loaded, Origin, Place};

/// As TOML that says the same when it is read again (save for secrets), each origin in a comment.
pub fn as_toml(loaded: &Loaded) -> String {
    let mut text = String::new();
    for (key, origin) in KEYS.iter().zip(&loaded.origins) {
        let origin = in_words(origin);
        let _ = match key.value(&loaded.config) {
            Some(Value::Array(items)) if items.iter().any(Value::is_table) => {
                let lines: String = items.iter().map(|item| format!("    {item},\n")).collect();
                writeln!(text, "{} = [  # {origin}\n{lines}]", key.name)
            }
            Some(value) => writeln!(text, "{} = {value}  # {origin}", key.name),
            None => match key.unset {
                Some(words) => writeln!(text, "# {} is not set  # {origin}: {words}", key.name),
                None => writeln!(text, "# {} is not set  # {origin}", key.name),
            },
        };
        for warning in warnings(key.name, loaded) {
            let _ = writeln!(text, "# {warning}");
        }
    }
    text
}

/// As a JSON object: for each key its `value` (null when there is none), `source` and `place`, and `warnings` where there are
/// any.
pub fn as_json(loaded: &Loaded) -> serde_json::Value {
    let entries = KEYS.iter().zip(&loaded.origins).map(|(key, origin)| {
        let (source, place) = match origin {
            Origin::Default => ("default", None),
            Origin::Set(place @ Place::File { .. }) => ("file", Some(place.to_string())),
            Origin::Set(place @ Place::Variable(_)) => ("environment", Some(place.to_string())),
        };
        let mut entry = json!({ "value": key.value(&loaded.config), "source": source, "place": place });
        let warnings = warnings(key.name, loaded);
        if !warnings.is_empty() {
            entry["warnings"] = json!(warnings);
        }
        (key.name.to_owned(), entry)
    });
    serde_json::Value::Object(entries.collect())
}

/// What is in order and likely not meant any more.
fn warnings(key: &str, loaded: &Loaded) -> Vec<String> {
    let now = jiff::Timestamp::now().as_second();
    if key == "rules" { loaded.config.ended_rules(now) } else { Vec::new() }
}

fn in_words(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        // A path with a line break in it would end the comment.
        Origin::Set(place) => place.to_string().replace(char::is_control, "?"),
    }
}
