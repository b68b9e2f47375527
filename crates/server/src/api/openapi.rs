//! `GET /openapi.json`: the description of this API for people's tools, made of the operations that there are.

use std::sync::OnceLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::operation::{Access, Answer, Body, Operation, Parameter, Place};
use super::schema::{Named, Schema, any_object, message, text};

/// The operation that answers with this document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/openapi.json", "description", serve)
            .summary("This document")
            .access(Access::Open)
            .ok("OpenAPI 3.0", any_object()),
    ]
}

async fn serve() -> Response {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| document(&super::operations()).to_string());
    ([(header::CONTENT_TYPE, "application/json")], document.as_str()).into_response()
}

/// Describes the operations.
pub(super) fn document(operations: &[Operation]) -> Value {
    let (mut named, mut paths, mut areas) = (Named::new(), Map::new(), Vec::new());
    for operation in operations {
        if !areas.contains(&operation.area) {
            areas.push(operation.area);
        }
        let path = paths.entry(operation.path.clone()).or_insert_with(|| json!({}));
        path[operation.method.as_str()] = describe(operation, &mut named);
    }
    let responses = common_answers(&mut named);
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Waxwing",
            "version": "1",
            "description": "Mailgun's sending API, and what Waxwing adds. docs/mailgun.md and docs/tls-posture.md say more.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "key": [] }],
        "tags": areas.iter().map(|area| json!({ "name": area })).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": { "type": "http", "scheme": "basic", "description": "User api, password an API key" },
            },
            "responses": responses,
            "schemas": named,
        },
    })
}

fn describe(operation: &Operation, named: &mut Named) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.area],
        "x-access": operation.access.as_str(),
    });
    if let Some(about) = &operation.about {
        described["description"] = about.as_str().into();
    }
    if operation.access == Access::Open {
        described["security"] = json!([]);
    }
    if !operation.parameters.is_empty() {
        described["parameters"] =
            operation.parameters.iter().map(|parameter| describe_parameter(parameter, named)).collect();
    }
    if let Some(body) = &operation.body {
        let content: Map<_, _> = match body {
            Body::Form(schema) => ["application/x-www-form-urlencoded", "multipart/form-data"]
                .map(|kind| (kind.to_owned(), content(schema, named)))
                .into_iter()
                .collect(),
            Body::Content(types) => {
                types.iter().map(|(kind, schema)| (kind.to_string(), content(schema, named))).collect()
            }
        };
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    described["responses"] = describe_answers(operation, named);
    described
}

fn describe_parameter(parameter: &Parameter, named: &mut Named) -> Value {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
    };
    let mut described = json!({ "name": parameter.name, "in": place });
    if let Some(about) = parameter.schema.meaning() {
        described["description"] = about.into();
    }
    if parameter.schema.is_required() {
        described["required"] = true.into();
    }
    described["schema"] = schema_of(&parameter.schema, named);
    described
}

/// What it answers itself, and what every operation of its kind may answer.
fn describe_answers(operation: &Operation, named: &mut Named) -> Value {
    let own = operation.answers.iter().map(|answer| (answer.status, describe_answer(answer, named)));
    let mut answers: Vec<(u16, Value)> = own.collect();
    if operation.access != Access::Open {
        let takes_more = operation.body.is_some() || operation.parameters.iter().any(|taken| taken.name != "domain");
        let (has_body, has_name) = (operation.body.is_some(), operation.path_names().next().is_some());
        let may_happen = [takes_more, true, true, has_name, has_body, true, true];
        for ((status, name, _), _) in COMMON.into_iter().zip(may_happen).filter(|(_, happens)| *happens) {
            if !answers.iter().any(|(known, _)| *known == status) {
                answers.push((status, json!({ "$ref": format!("#/components/responses/{name}") })));
            }
        }
    }
    answers.sort_by_key(|(status, _)| *status);
    answers.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect::<Map<_, _>>().into()
}

fn describe_answer(answer: &Answer, named: &mut Named) -> Value {
    let mut described = json!({ "description": answer.about });
    if let Some((kind, schema)) = &answer.content {
        described["content"] = json!({ *kind: content(schema, named) });
    }
    described
}

/// Refusals that many operations share.
const COMMON: [(u16, &str, &str); 7] = [
    (400, "BadRequest", "The request is wrong; the message says which field and why"),
    (401, "NoKey", "No valid key: the word Forbidden, or a message"),
    (403, "NotAllowed", "The key is good and may not do this"),
    (404, "NotFound", "No such domain, or what else the path names is not there"),
    (413, "TooLarge", "Larger than the limits"),
    (429, "TooMany", "Too many wrong keys came from this address; Retry-After says when to come again"),
    (503, "Unavailable", "The store cannot keep or find anything now; nothing was kept"),
];

fn common_answers(named: &mut Named) -> Map<String, Value> {
    let described = COMMON.map(|(status, name, about)| {
        let mut types = json!({ "application/json": content(&message(), named) });
        if status == 401 {
            types["text/plain"] = content(&text(), named);
        }
        (name.to_owned(), json!({ "description": about, "content": types }))
    });
    described.into_iter().collect()
}

fn content(schema: &Schema, named: &mut Named) -> Value {
    json!({ "schema": schema_of(schema, named) })
}

/// The shape; what it uses by name is put with the other names, each of which has one meaning.
fn schema_of(schema: &Schema, named: &mut Named) -> Value {
    let (json, uses) = schema.parts();
    for (name, meaning) in uses {
        let known = named.entry(name.clone()).or_insert_with(|| meaning.clone());
        debug_assert_eq!(known, meaning, "two shapes are called {name}");
    }
    json.clone()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::operations;

    fn parsed() -> Value {
        document(&operations())
    }

    #[test]
    fn every_operation_is_described_in_words() {
        let (mut ids, document) = (BTreeSet::new(), parsed());
        for operation in operations() {
            let name = format!("{} {}", operation.method.as_str(), operation.path);
            assert!(ids.insert(operation.id.clone()), "{name}: another is called {}", operation.id);
            assert!(!operation.summary.is_empty(), "{name} has no summary");
            let described = &document["paths"][&operation.path][operation.method.as_str()];
            assert_eq!(described["operationId"], operation.id.as_str(), "{name} is declared twice");
            let answers = described["responses"].as_object().unwrap();
            assert!(answers.keys().any(|status| status.starts_with(['2', '3'])), "{name} never succeeds");
        }
        assert!(ids.len() > 20);
    }

    #[test]
    fn every_parameter_of_a_path_is_described_once() {
        for operation in operations() {
            let described = operation.parameters.iter().filter(|parameter| parameter.place == Place::Path);
            let described: Vec<_> = described.map(|parameter| parameter.name.as_str()).collect();
            assert_eq!(described, operation.path_names().collect::<Vec<_>>(), "{}", operation.path);
        }
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
    fn nothing_says_that_a_key_is_not_needed_unless_it_is_open() {
        let document = parsed();
        for operation in operations() {
            let described = &document["paths"][&operation.path][operation.method.as_str()];
            let says_open = described["security"].as_array().is_some_and(Vec::is_empty);
            assert_eq!(says_open, operation.access == Access::Open, "{}", operation.path);
        }
    }
}
