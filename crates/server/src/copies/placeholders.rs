//! Placeholders in texts: `%recipient.name%`, and the few that mean the recipient itself.

use message::Mailbox;
use serde_json::{Map, Value};

/// Longest placeholder, in octets, without its percent signs.
const PLACEHOLDER_OCTETS: usize = 256;
/// What every placeholder begins with.
const START: &str = "%recipient";

/// The text would be longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("with its placeholders filled the text would be longer than {0} octets")]
pub(crate) struct TooLong(usize);

/// What stands for the placeholders in the copy of one recipient.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placeholders<'a> {
    to: &'a Mailbox,
    variables: &'a Map<String, Value>,
}

impl<'a> Placeholders<'a> {
    pub(crate) fn new(to: &'a Mailbox, variables: &'a Map<String, Value>) -> Placeholders<'a> {
        Placeholders { to, variables }
    }

    /// The text with its placeholders filled, once: what is put in is not looked at again. `None` when there are none that
    /// mean anything; those that mean nothing stay as they are.
    pub(crate) fn fill(&self, text: &str, limit: usize) -> Result<Option<String>, TooLong> {
        let (mut filled, mut done, mut at) = (String::new(), 0, 0);
        let mut is_changed = false;
        while let Some(found) = text[at..].find(START) {
            let start = at + found;
            let Some((name, end)) = placeholder(text, start) else {
                at = start + 1;
                continue;
            };
            let Some(value) = self.value(name) else {
                at = end - 1;
                continue;
            };
            filled.push_str(&text[done..start]);
            filled.push_str(&value);
            if filled.len() > limit {
                return Err(TooLong(limit));
            }
            (done, at, is_changed) = (end, end, true);
        }
        filled.push_str(&text[done..]);
        if filled.len() > limit {
            return Err(TooLong(limit));
        }
        Ok(is_changed.then_some(filled))
    }

    /// The values of the map, filled wherever there are texts in them. `limit` is for all texts that are filled, together.
    pub(crate) fn fill_values(&self, map: &Map<String, Value>, limit: usize) -> Result<Map<String, Value>, TooLong> {
        let mut left = limit;
        let mut fill = |value: &Value| self.fill_value(value, &mut left);
        let filled: Result<_, TooLong> = map.iter().map(|(name, value)| Ok((name.clone(), fill(value)?))).collect();
        filled.map_err(|_| TooLong(limit))
    }

    fn fill_value(&self, value: &Value, left: &mut usize) -> Result<Value, TooLong> {
        Ok(match value {
            Value::String(text) => match self.fill(text, text.len().max(*left))? {
                Some(filled) => {
                    *left = left.checked_sub(filled.len()).ok_or(TooLong(*left))?;
                    Value::from(filled)
                }
                None => value.clone(),
            },
            Value::Array(values) => {
                values.iter().map(|value| self.fill_value(value, left)).collect::<Result<Vec<_>, _>>()?.into()
            }
            Value::Object(map) => {
                let fill = |(name, value): (&String, &Value)| Ok((name.clone(), self.fill_value(value, left)?));
                map.iter().map(fill).collect::<Result<Map<_, _>, TooLong>>()?.into()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        })
    }

    fn value(&self, name: &str) -> Option<String> {
        let words = || self.to.name().unwrap_or_default().split_whitespace();
        Some(match name {
            "recipient" => self.to.to_string(),
            "recipient_email" => self.to.address().to_string(),
            "recipient_name" => self.to.name().unwrap_or_default().to_owned(),
            "recipient_fname" => words().next().unwrap_or_default().to_owned(),
            "recipient_lname" => words().skip(1).last().unwrap_or_default().to_owned(),
            name => match self.variables.get(name.strip_prefix("recipient.")?)? {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                value => value.to_string(),
            },
        })
    }
}

/// The placeholder that begins with the percent sign at `start`, without its signs, and where it ends.
fn placeholder(text: &str, start: usize) -> Option<(&str, usize)> {
    let rest = &text[start + 1..];
    let length = rest.bytes().take(PLACEHOLDER_OCTETS + 1).position(|b| b == b'%')?;
    let name = &rest[..length];
    (!name.contains(['\r', '\n'])).then_some((name, start + length + 2))
}

/// Whether any text within the value may have a placeholder.
pub(crate) fn any_placeholder(value: &Value) -> bool {
    match value {
        Value::String(text) => has_placeholder(text),
        Value::Array(values) => values.iter().any(any_placeholder),
        Value::Object(map) => map.values().any(any_placeholder),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether the text may have a placeholder.
pub(crate) fn has_placeholder(text: &str) -> bool {
    text.contains(START)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn placeholders_are_filled_once_and_unknown_ones_stay() {
        let variables = json!({
            "name": "Ann", "id": 7, "flag": true, "none": null, "list": [1, 2], "v:order": "o", "first name": "A",
            "loop": "%recipient.name%", "grüße": "ü",
        });
        let to: Mailbox = "\"Ann B. Cee\" <ann@example.net>".parse().unwrap();
        let placeholders = Placeholders::new(&to, variables.as_object().unwrap());
        for (text, filled) in [
            ("Hello %recipient.name%!", Some("Hello Ann!")),
            ("%recipient.id%/%recipient.flag%/%recipient.none%/%recipient.list%", Some("7/true//[1,2]")),
            ("%recipient.v:order%%recipient.first name%%recipient.grüße%", Some("oAü")),
            ("%recipient.loop%", Some("%recipient.name%")),
            ("100%recipient.name%", Some("100Ann")),
            ("50% off, %recipient.name%", Some("50% off, Ann")),
            ("%recipient.what%recipient.name%", Some("%recipient.whatAnn")),
            ("%recipient% is %recipient_email%", Some("Ann B. Cee <ann@example.net> is ann@example.net")),
            ("%recipient_name%, %recipient_fname% %recipient_lname%", Some("Ann B. Cee, Ann Cee")),
            ("%recipient.what%", None),
            ("%recipients%", None),
            ("%recipient.\r\nname%", None),
            ("%recipient.name", None),
            ("%name% %unsubscribe_url%", None),
            ("%Recipient.name%", None),
            ("", None),
        ] {
            assert_eq!(placeholders.fill(text, 1000).unwrap().as_deref(), filled, "{text}");
        }
        let bare: Mailbox = "a@example.net".parse().unwrap();
        let bare = Placeholders::new(&bare, variables.as_object().unwrap());
        assert_eq!(
            bare.fill("<%recipient_name%%recipient_lname%> %recipient%", 99).unwrap().unwrap(),
            "<> a@example.net"
        );
    }

    #[test]
    fn what_is_filled_has_a_limit() {
        let variables = json!({ "x": "y".repeat(1000) });
        let to: Mailbox = "a@example.net".parse().unwrap();
        let placeholders = Placeholders::new(&to, variables.as_object().unwrap());
        let text = "%recipient.x%".repeat(100_000);
        assert_eq!(placeholders.fill(&text, 10_000), Err(TooLong(10_000)));
        // Nothing that anybody writes makes the search go back and forth.
        let text = "%recipient.".repeat(100_000);
        assert!(placeholders.fill(&text, 2_000_000) == Ok(None));
    }

    #[test]
    fn values_are_filled_in_variables() {
        let variables = json!({ "id": "4\"2" });
        let to: Mailbox = "a@example.net".parse().unwrap();
        let placeholders = Placeholders::new(&to, variables.as_object().unwrap());
        let map = json!({ "a": "%recipient.id%", "b": 1, "%recipient.id%": "c" });
        let filled = json!({ "a": "4\"2", "b": 1, "%recipient.id%": "c" });
        assert_eq!(Value::from(placeholders.fill_values(map.as_object().unwrap(), 100).unwrap()), filled);
    }

    #[test]
    fn all_values_together_have_a_limit() {
        let variables = json!({ "x": "y".repeat(1000) });
        let to: Mailbox = "a@example.net".parse().unwrap();
        let placeholders = Placeholders::new(&to, variables.as_object().unwrap());
        for (count, fits) in [(65, true), (66, false), (800, false)] {
            let map = (0..count).map(|n| (format!("v{n}"), json!(["%recipient.x%"]))).collect();
            let filled = placeholders.fill_values(&map, 65_536);
            assert_eq!(filled.is_ok(), fits, "{count}");
            assert!(fits || filled == Err(TooLong(65_536)));
        }
    }
}
