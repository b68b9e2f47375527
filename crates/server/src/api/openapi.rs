//! `GET /openapi.json`: the description of this API, for people's tools. A test holds it to the routes that there are.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Kept by hand, beside what it describes.
const DOCUMENT: &str = include_str!("openapi.json");

/// The document.
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::api::{Route, open_routes, routes};

    fn parsed() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let names = |routes: Vec<Route>| routes.into_iter().map(|(path, _)| path).collect::<BTreeSet<_>>();
        let document = parsed();
        let (mut open, mut guarded) = (BTreeSet::new(), BTreeSet::new());
        for (path, item) in document["paths"].as_object().unwrap() {
            let is_open =
                ["get", "post"].iter().any(|method| item[method]["security"].as_array().is_some_and(Vec::is_empty));
            if is_open {
                open.insert(path.clone())
            } else {
                guarded.insert(path.clone())
            };
        }
        assert_eq!(guarded, names(routes()));
        assert_eq!(open, names(open_routes()));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(object) => {
                    found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    object.values().for_each(|value| walk(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
                _ => {}
            }
        }
        let document = parsed();
        let mut references = Vec::new();
        walk(&document, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_parameter_of_a_path_is_described_and_every_operation_has_a_name() {
        let document = parsed();
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')) {
                let name = part.trim_end_matches('}');
                let described = item["parameters"].as_array().into_iter().flatten().any(|parameter| {
                    let pointer = parameter["$ref"].as_str().unwrap().trim_start_matches('#').to_owned();
                    document.pointer(&pointer).unwrap()["name"] == name
                });
                assert!(described, "{path}: {name}");
            }
            for method in ["get", "put", "post", "delete"].into_iter().filter_map(|method| item.get(method)) {
                assert!(ids.insert(method["operationId"].as_str().unwrap().to_owned()), "{path}");
                assert!(method["responses"].as_object().is_some_and(|responses| !responses.is_empty()), "{path}");
            }
        }
    }
}
