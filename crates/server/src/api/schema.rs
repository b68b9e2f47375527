//! The shapes of what operations take and answer, as OpenAPI 3.0 writes them (a dialect of JSON Schema).
//!
//! A shape is put together from [`text`], [`integer`], [`list`], [`object`] and their like, and told more about with
//! methods: `integer().range(1, 300).default(100).about("At most so many")`. One that is used in several places gets a
//! name with [`named`], and stands under that name in the document, once.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Names of shapes, and what they stand for.
pub(super) type Named = BTreeMap<String, Value>;

/// The shape of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Schema {
    json: Value,
    about: Option<String>,
    required: bool,
    named: Named,
}

/// A text.
pub(super) fn text() -> Schema {
    Schema::of(json!({ "type": "string" }))
}

/// A whole number.
pub(super) fn integer() -> Schema {
    Schema::of(json!({ "type": "integer" }))
}

/// A number.
pub(super) fn number() -> Schema {
    Schema::of(json!({ "type": "number" }))
}

/// A point in time, as Unix seconds with a fraction.
pub(super) fn unix_seconds() -> Schema {
    number().about("Unix seconds")
}

/// `true` or `false` in JSON.
pub(super) fn boolean() -> Schema {
    Schema::of(json!({ "type": "boolean" }))
}

/// `yes`, `no`, `true` or `false` in a form or a query.
pub(super) fn switch() -> Schema {
    named("Switch", choice(["yes", "no", "true", "false"]))
}

/// A file, or octets of any kind.
pub(super) fn binary() -> Schema {
    text().with("format", "binary")
}

/// The name of a sending domain. Tests of access control know by this which fields lead to whose data.
pub(super) fn sending_domain() -> Schema {
    text().with("format", "sending-domain")
}

/// One of these words.
pub(super) fn choice<const N: usize>(words: [&str; N]) -> Schema {
    text().with("enum", json!(words.as_slice()))
}

/// A list of such values.
pub(super) fn list(of: Schema) -> Schema {
    let mut named = Named::new();
    let items = of.into_property(&mut named);
    Schema { named, ..Schema::of(json!({ "type": "array", "items": items })) }
}

/// An object with these properties.
pub(super) fn object<'a>(properties: impl IntoIterator<Item = (&'a str, Schema)>) -> Schema {
    let (mut named, mut described, mut required) = (Named::new(), Map::new(), Vec::new());
    for (name, schema) in properties {
        if schema.required {
            required.push(Value::from(name));
        }
        described.insert(name.to_owned(), schema.into_property(&mut named));
    }
    let mut json = json!({ "type": "object" });
    if !required.is_empty() {
        json["required"] = required.into();
    }
    if !described.is_empty() {
        json["properties"] = described.into();
    }
    Schema { named, ..Schema::of(json) }
}

/// An object of which nothing more is said.
pub(super) fn any_object() -> Schema {
    object([])
}

/// An object whose properties have any names, and values like this.
pub(super) fn map_of(of: Schema) -> Schema {
    let mut named = Named::new();
    let values = of.into_property(&mut named);
    Schema { named, ..any_object().with("additionalProperties", values) }
}

/// What is all of these at once.
pub(super) fn all_of<const N: usize>(schemas: [Schema; N]) -> Schema {
    let mut named = Named::new();
    let all: Vec<_> = schemas.into_iter().map(|schema| schema.into_property(&mut named)).collect();
    Schema { named, ..Schema::of(json!({ "allOf": all })) }
}

/// Gives a shape a name, which must be its alone.
pub(super) fn named(name: &str, schema: Schema) -> Schema {
    let mut named = Named::new();
    let json = schema.into_property(&mut named);
    named.insert(name.to_owned(), json);
    Schema { named, ..Schema::of(json!({ "$ref": format!("#/components/schemas/{name}") })) }
}

/// `{"message": …}`, as most changes and all refusals are answered.
pub(super) fn message() -> Schema {
    named("Message", object([("message", text()), ("detail", text())]))
}

impl Schema {
    fn of(json: Value) -> Schema {
        Schema { json, about: None, required: false, named: Named::new() }
    }

    /// What it means.
    pub(super) fn about(self, text: &str) -> Schema {
        Schema { about: Some(text.to_owned()), ..self }
    }

    /// It must be given.
    pub(super) fn required(self) -> Schema {
        Schema { required: true, ..self }
    }

    /// Adds any word of OpenAPI's: `with("maxItems", 10)`.
    pub(super) fn with(mut self, word: &str, value: impl Into<Value>) -> Schema {
        self.json[word] = value.into();
        self
    }

    /// It lies between these, which both belong to it.
    pub(super) fn range(self, least: usize, most: usize) -> Schema {
        self.with("minimum", least).with("maximum", most)
    }

    /// What holds when it is not given.
    pub(super) fn default(self, value: impl Into<Value>) -> Schema {
        self.with("default", value)
    }

    /// A value that would do; tests call operations with it.
    pub(super) fn example(self, value: impl Into<Value>) -> Schema {
        // OpenAPI 3.0 has no room for it beside a reference.
        let is_reference = self.json.get("$ref").is_some();
        let json = if is_reference { json!({ "allOf": [self.json] }) } else { self.json };
        Schema { json, ..self }.with("example", value)
    }

    /// It may be `null`.
    pub(super) fn nullable(self) -> Schema {
        self.with("nullable", true)
    }

    /// It has further properties.
    pub(super) fn and_more(self) -> Schema {
        self.with("additionalProperties", true)
    }

    /// Whether it must be given.
    pub(super) fn is_required(&self) -> bool {
        self.required
    }

    /// What it means.
    pub(super) fn meaning(&self) -> Option<&str> {
        self.about.as_deref()
    }

    /// As JSON without its meaning, with the names that it uses.
    pub(super) fn parts(&self) -> (&Value, &Named) {
        (&self.json, &self.named)
    }

    /// As JSON with its meaning; the names that it uses go into `named`.
    fn into_property(self, named: &mut Named) -> Value {
        named.extend(self.named);
        let Some(about) = self.about else { return self.json };
        // OpenAPI 3.0 has no room for a description beside a reference.
        let is_reference = self.json.get("$ref").is_some();
        let mut json = if is_reference { json!({ "allOf": [self.json] }) } else { self.json };
        json["description"] = about.into();
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_written_as_openapi_wants_them() {
        let size = named("Size", object([("width", integer().range(1, 9)), ("unit", choice(["cm", "in"]))]));
        let schema = object([
            ("name", text().required().about("What it is called").example("box")),
            ("size", size.clone().about("How large")),
            ("parts", list(size)),
            ("prices", map_of(number()).nullable()),
        ]);
        let (json, named) = schema.parts();
        let reference = json!({ "$ref": "#/components/schemas/Size" });
        let expected = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "example": "box", "description": "What it is called" },
                "size": { "allOf": [reference], "description": "How large" },
                "parts": { "type": "array", "items": reference },
                "prices": { "type": "object", "additionalProperties": { "type": "number" }, "nullable": true },
            },
        });
        assert_eq!(json, &expected);
        let size = json!({
            "type": "object",
            "properties": {
                "width": { "type": "integer", "minimum": 1, "maximum": 9 },
                "unit": { "type": "string", "enum": ["cm", "in"] },
            },
        });
        assert_eq!(named, &Named::from([("Size".to_owned(), size)]));
    }
}
