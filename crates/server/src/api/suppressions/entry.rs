//! An entry of a list, from whatever it is given in: a form, JSON, a row of a file.

use serde_json::{Map, Value, json};
use smtp::{Address, Domain};
use store::Timestamp;
use store::suppression::{Suppression, SuppressionList, TAGS_PER_ADDRESS};

use crate::api::http::form::Form;
use crate::api::http::time;
use crate::api::limits::{SUPPRESSION_CODE_OCTETS, SUPPRESSION_TEXT_OCTETS, TAG_OCTETS};

/// What a bounce has whose code was not given, as at Mailgun.
const CODE: &str = "550";

/// An entry as it is being read.
#[derive(Debug, Default)]
pub(super) struct Given {
    address: Option<Address>,
    domain: Option<Domain>,
    code: Option<String>,
    text: String,
    tags: Vec<String>,
    created_at: Option<i64>,
}

impl Given {
    /// Takes one property. What a list does not have is passed over, as is an empty value: exports have columns for it.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let value = value.trim();
        match name {
            _ if value.is_empty() => {}
            "address" => {
                self.address =
                    Some(value.parse().map_err(|error| format!("'address' is not a valid address: {error}"))?);
            }
            "domain" => {
                self.domain = Some(value.parse().map_err(|error| format!("'domain' is not a valid domain: {error}"))?);
            }
            "code" => self.code = Some(short(name, value, SUPPRESSION_CODE_OCTETS)?),
            "error" | "reason" => self.text = short(name, value, SUPPRESSION_TEXT_OCTETS)?,
            "tag" | "tags" => self.tag(value)?,
            "created_at" | "createdAt" => {
                self.created_at =
                    Some(point_in_time(value).ok_or_else(|| {
                        format!("'{name}' is neither a date of RFC 2822 or RFC 3339 nor Unix seconds")
                    })?)
            }
            _ => {}
        }
        Ok(())
    }

    fn tag(&mut self, tag: &str) -> Result<(), String> {
        if tag.len() > TAG_OCTETS {
            return Err(format!("'tags' has one of more than {TAG_OCTETS} octets"));
        }
        self.tags.push(tag.to_lowercase());
        match self.tags.len() > TAGS_PER_ADDRESS {
            true => Err(format!("'tags' has more than {TAGS_PER_ADDRESS}")),
            false => Ok(()),
        }
    }

    /// A cell of a file may hold several: as JSON, or with commas.
    pub(super) fn take_cell(&mut self, name: &str, value: &str) -> Result<(), String> {
        if !matches!(name, "tag" | "tags") {
            return self.take(name, value);
        }
        match serde_json::from_str::<Vec<String>>(value) {
            Ok(tags) => tags.iter().try_for_each(|tag| self.take(name, tag)),
            Err(_) => value.split(',').try_for_each(|tag| self.take(name, tag)),
        }
    }

    /// The entry, or what it lacks.
    pub(super) fn entry(self, list: SuppressionList, now: Timestamp) -> Result<Suppression, String> {
        let created_at = self.created_at.map_or(now, Timestamp::from_micros);
        let of_address = |address: Address| Suppression::of(&address, created_at);
        let entry = match list {
            SuppressionList::Allowlist => {
                let of_domain = |domain: Domain| Suppression::of_domain(&domain, created_at);
                let entry = self.address.map(of_address).or_else(|| self.domain.map(of_domain));
                entry.ok_or("Missing mandatory parameter: address/domain")?
            }
            _ => self.address.map(of_address).ok_or("Missing mandatory parameter: address")?,
        };
        let (code, tags) = match list {
            SuppressionList::Bounces => (self.code.unwrap_or_else(|| CODE.to_owned()), Vec::new()),
            SuppressionList::Unsubscribes => (String::new(), self.tags),
            SuppressionList::Complaints | SuppressionList::Allowlist => (String::new(), Vec::new()),
        };
        let has_text = matches!(list, SuppressionList::Bounces | SuppressionList::Allowlist);
        Ok(Suppression { code, tags, text: if has_text { self.text } else { String::new() }, ..entry })
    }
}

fn short(name: &str, value: &str, octets: usize) -> Result<String, String> {
    match value.len() <= octets {
        true => Ok(value.to_owned()),
        false => Err(format!("'{name}' is longer than {octets} octets")),
    }
}

/// Programs also write dates as JSON does.
fn point_in_time(text: &str) -> Option<i64> {
    time::parse(text).or_else(|| text.parse::<jiff::Timestamp>().ok().map(|time| time.as_microsecond()))
}

/// The one entry of a form.
pub(super) fn of_form(form: &Form, list: SuppressionList, now: Timestamp) -> Result<Suppression, String> {
    let mut given = Given::default();
    for field in &form.fields {
        let text = std::str::from_utf8(&field.content).map_err(|_| format!("'{}' is not valid UTF-8", field.name))?;
        given.take(&field.name, text)?;
    }
    given.entry(list, now)
}

/// An entry in JSON.
pub(super) fn of_json(value: &Value, list: SuppressionList, now: Timestamp) -> Result<Suppression, String> {
    let object: &Map<String, Value> = value.as_object().ok_or("it is not an object")?;
    let mut given = Given::default();
    for (name, value) in object {
        match value {
            Value::Null => {}
            Value::String(text) => given.take(name, text)?,
            Value::Number(number) => given.take(name, &number.to_string())?,
            Value::Array(values) => values.iter().try_for_each(|value| {
                given.take(name, value.as_str().ok_or_else(|| format!("'{name}' has something that is no text"))?)
            })?,
            _ => return Err(format!("'{name}' must be a text")),
        }
    }
    given.entry(list, now)
}

/// An entry as Mailgun's clients read it.
pub(super) fn json(list: SuppressionList, entry: &Suppression) -> Value {
    let at = time::to_date(entry.created_at.as_micros());
    let subject = entry.subject.as_str();
    match list {
        SuppressionList::Bounces => {
            json!({ "address": subject, "code": entry.code, "error": entry.text, "created_at": at })
        }
        SuppressionList::Unsubscribes => json!({ "address": subject, "tags": entry.tags, "created_at": at }),
        SuppressionList::Complaints => json!({ "address": subject, "created_at": at }),
        SuppressionList::Allowlist => {
            json!({ "type": kind_of(subject), "value": subject, "reason": entry.text, "createdAt": at })
        }
    }
}

/// What an entry of the allowlist names.
pub(super) fn kind_of(subject: &str) -> &'static str {
    if subject.contains('@') { "address" } else { "domain" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read() {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        for (list, given, expected) in [
            (
                SuppressionList::Bounces,
                json!({ "address": "Bob@Example.NET", "code": 550, "error": "gone", "created_at": "Thu, 13 Oct 2011 18:02:00 UTC" }),
                json!({ "address": "bob@example.net", "code": "550", "error": "gone", "created_at": "Thu, 13 Oct 2011 18:02:00 GMT" }),
            ),
            (
                SuppressionList::Bounces,
                json!({ "address": "b@x.test", "created_at": "2011-10-13T18:02:00.000Z", "tags": ["x"] }),
                json!({ "address": "b@x.test", "code": "550", "error": "", "created_at": "Thu, 13 Oct 2011 18:02:00 GMT" }),
            ),
            (
                SuppressionList::Unsubscribes,
                json!({ "address": "b@x.test", "tags": ["News", "offers"], "created_at": null }),
                json!({ "address": "b@x.test", "tags": ["news", "offers"], "created_at": "Tue, 14 Nov 2023 22:13:20 GMT" }),
            ),
            (
                SuppressionList::Allowlist,
                json!({ "domain": "Example.NET", "reason": "ours" }),
                json!({ "type": "domain", "value": "example.net", "reason": "ours", "createdAt": "Tue, 14 Nov 2023 22:13:20 GMT" }),
            ),
        ] {
            assert_eq!(json(list, &of_json(&given, list, now).unwrap()), expected, "{given}");
        }
    }

    #[test]
    fn bad_entries_are_refused_by_the_name_of_what_is_wrong() {
        let long = "x".repeat(3000);
        for (given, why) in [
            (json!({}), "Missing mandatory parameter: address"),
            (json!([]), "it is not an object"),
            (json!({ "address": "bob" }), "'address' is not a valid address: there is no '@'"),
            (json!({ "address": {} }), "'address' must be a text"),
            (json!({ "address": "b@x.test", "created_at": "soon" }), "'created_at' is neither"),
            (json!({ "address": "b@x.test", "error": long }), "'error' is longer than"),
            (json!({ "address": "b@x.test", "code": long }), "'code' is longer than"),
            (json!({ "address": "b@x.test", "tags": [1] }), "'tags' has something that is no text"),
            (json!({ "address": "b@x.test", "tags": vec!["x"; 101] }), "'tags' has more than 100"),
        ] {
            let told = of_json(&given, SuppressionList::Bounces, Timestamp::from_micros(0)).unwrap_err();
            assert!(told.starts_with(why), "{told}");
        }
    }
}
