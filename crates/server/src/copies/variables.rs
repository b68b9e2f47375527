//! What an application says about each recipient: one JSON object of objects, by address.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};
use smtp::Address;

/// Longest text of all variables, in octets, and of those of all copies together: with `cc` and `bcc` one recipient's are
/// kept many times. Room for sixteen thousand octets about each of a thousand recipients.
pub(crate) const VARIABLES_OCTETS: usize = 16 * 1024 * 1024;
/// Longest text of one recipient's, in octets: a page of events has those of some hundreds in memory.
const RECIPIENT_OCTETS: usize = 64 * 1024;
/// Most recipients that variables are told of; each may have some.
const RECIPIENTS: usize = 10_000;

/// The variables of each recipient, as JSON objects in text: a thousand maps of small values would take many times as much
/// memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecipientVariables(HashMap<String, String>);

/// Why a text says nothing about recipients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VariablesError {
    /// It is no JSON object of objects.
    #[error("{0}")]
    Json(String),
    /// It is too long.
    #[error("it is longer than {VARIABLES_OCTETS} octets")]
    TooLong,
}

impl RecipientVariables {
    /// Reads `{"a@example.com": {"name": "Ann", "id": 7}, …}`.
    pub(crate) fn parse(json: &str) -> Result<RecipientVariables, VariablesError> {
        if json.len() > VARIABLES_OCTETS {
            return Err(VariablesError::TooLong);
        }
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let read = deserializer.deserialize_map(ByAddress);
        let read = read.and_then(|map| deserializer.end().map(|()| map));
        read.map(RecipientVariables).map_err(|error| VariablesError::Json(error.to_string()))
    }

    /// What is said about this recipient; an empty object where nothing is. Domains know no case, and a name before the @
    /// that is written in another case is still the nearest that there is.
    pub(crate) fn of(&self, address: &Address) -> &str {
        let name = address.to_string();
        let found = self.0.get(&name).or_else(|| self.0.get(&name.to_lowercase()));
        found.map_or("{}", String::as_str)
    }
}

struct ByAddress;

impl<'de> Visitor<'de> for ByAddress {
    type Value = HashMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of objects, by address")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all: HashMap<String, String> = HashMap::new();
        // One recipient's values at a time.
        while let Some((key, values)) = map.next_entry::<String, Map<String, Value>>()? {
            if all.len() >= 2 * RECIPIENTS {
                return Err(A::Error::custom(format!("more than {RECIPIENTS} recipients")));
            }
            let values = Value::from(values).to_string();
            if values.len() > RECIPIENT_OCTETS {
                return Err(A::Error::custom(format!(
                    "one recipient's variables are longer than {RECIPIENT_OCTETS} octets"
                )));
            }
            // The address as it is, in its usual form; and, for lack of better, in lower case.
            let name = key.trim().parse::<Address>().map_or_else(|_| key.trim().to_owned(), |a| a.to_string());
            let lower = name.to_lowercase();
            if lower != name {
                all.entry(lower).or_insert_with(|| values.clone());
            }
            all.insert(name, values);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_by_address() {
        let json = r#"{"Ann@Example.NET": {"n": 1}, "bob+x@example.net": {"n": 2}, "no address": {"n": 3},
            "carl@example.net": {"n": 4}, "CARL@example.net": {"n": 5}}"#;
        let variables = RecipientVariables::parse(json).unwrap();
        for (address, expected) in [
            ("Ann@example.net", r#"{"n":1}"#),
            ("ANN@example.net", r#"{"n":1}"#),
            ("bob+x@example.net", r#"{"n":2}"#),
            ("carl@example.net", r#"{"n":4}"#),
            ("CARL@example.net", r#"{"n":5}"#),
            ("dora@example.net", "{}"),
        ] {
            assert_eq!(variables.of(&address.parse().unwrap()), expected, "{address}");
        }
        assert_eq!(RecipientVariables::parse(" {} ").unwrap(), RecipientVariables::default());
    }

    #[test]
    fn anything_but_an_object_of_objects_is_refused() {
        for json in [
            "",
            "[]",
            "null",
            "1",
            "{",
            r#"{"a@example.net": 1}"#,
            r#"{"a@example.net": "x"}"#,
            "{} x",
            r#"{"a@example.net": [{}]}"#,
        ] {
            assert!(matches!(RecipientVariables::parse(json), Err(VariablesError::Json(_))), "{json}");
        }
        assert_eq!(RecipientVariables::parse(&" ".repeat(VARIABLES_OCTETS + 1)), Err(VariablesError::TooLong));
        let long = |octets: usize| format!("{{\"a@example.net\": {{\"x\": \"{}\"}}}}", "y".repeat(octets));
        assert!(RecipientVariables::parse(&long(60_000)).is_ok());
        assert!(matches!(RecipientVariables::parse(&long(70_000)), Err(VariablesError::Json(_))));
        let many: Vec<String> = (0..30_000).map(|n| format!("\"u{n}@example.net\":{{}}")).collect();
        assert!(RecipientVariables::parse(&format!("{{{}}}", many.join(","))).is_err());
    }
}
