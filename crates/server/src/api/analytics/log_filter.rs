//! The filter of the logs: attributes, comparators and values.

use store::{Field, Filter};

use super::request::{Condition, Conditions};
use crate::api::events::filter::EVENTS;
use crate::api::http::error::ApiError;
use crate::api::limits::{EXPRESSION_OCTETS, LOG_VALUES};
use crate::api::sending::excerpt;

/// How the values of an attribute are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As they are.
    Text,
    /// One of these.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// An id in brackets or without.
    MessageId,
    /// A whole number.
    Number,
}

/// The attributes that there is a fact for: Mailgun's, then ours.
pub(super) const ATTRIBUTES: [&str; 28] = [
    "id",
    "domain",
    "ip",
    "recipient_domain",
    "event",
    "attachment_filename",
    "from",
    "message_id",
    "subject",
    "to",
    "size",
    "recipient",
    "recipients",
    "tag",
    "severity",
    "reason",
    "method",
    "user_variables",
    "delivery_status_code",
    "delivery_status_message",
    "tls",
    "certificate_verified",
    "mx_host",
    "tls_version",
    "key_exchange",
    "verification",
    "fallback",
    "demanded_by",
];

fn attribute(name: &str) -> Option<(Field, Kind)> {
    Some(match name {
        "id" => (Field::Key, Kind::Text),
        "domain" => (Field::Domain, Kind::Text),
        "ip" => (Field::SendingIp, Kind::Text),
        "recipient_domain" => (Field::RecipientDomain, Kind::Text),
        "event" => (Field::Event, Kind::Word(EVENTS)),
        "attachment_filename" => (Field::Attachment, Kind::Text),
        "from" => (Field::From, Kind::Text),
        "message_id" => (Field::MessageId, Kind::MessageId),
        "subject" => (Field::Subject, Kind::Text),
        "to" => (Field::To, Kind::Text),
        "recipient" => (Field::Recipient, Kind::Text),
        "recipients" => (Field::Recipients, Kind::Text),
        "tag" => (Field::Tag, Kind::Text),
        "severity" => (Field::Severity, Kind::Word(&["temporary", "permanent"])),
        "reason" => (Field::Reason, Kind::Text),
        "method" => (Field::Method, Kind::Word(&["http", "smtp"])),
        "user_variables" => (Field::UserVariables, Kind::Text),
        "delivery_status_code" => (Field::Code, Kind::Number),
        "delivery_status_message" => (Field::Text, Kind::Text),
        // Ours.
        "tls" => (Field::Tls, Kind::Flag),
        "certificate_verified" => (Field::CertificateVerified, Kind::Flag),
        "mx_host" => (Field::MxHost, Kind::Text),
        "tls_version" => (Field::TlsVersion, Kind::Text),
        "key_exchange" => (Field::KeyExchange, Kind::Text),
        "verification" => (Field::Verification, Kind::Text),
        "fallback" => (Field::Fallback, Kind::Text),
        "demanded_by" => (Field::DemandedBy, Kind::Text),
        _ => return None,
    })
}

/// The filter of a request: its conditions, and the events that it names.
pub(super) fn parse(conditions: &Conditions, events: &[String], metric_events: &[String]) -> Result<Filter, ApiError> {
    let values: usize = conditions.all.iter().map(|condition| condition.values.len().max(1)).sum();
    if values + events.len() + metric_events.len() > LOG_VALUES {
        return Err(ApiError::bad_request(format!("'filter' and 'events' have more than {LOG_VALUES} values")));
    }
    let mut filters = conditions.all.iter().map(parse_one).collect::<Result<Vec<_>, _>>()?;
    let named = events.iter().map(|name| event(name)).chain(metric_events.iter().map(|name| metric_event(name)));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    if !named.is_empty() {
        filters.push(Filter::Or(named));
    }
    Ok(if filters.is_empty() { Filter::All } else { flat(filters) })
}

/// Alone where it is alone, so that the store sees which index serves it.
fn flat(mut filters: Vec<Filter>) -> Filter {
    if filters.len() == 1 { filters.remove(0) } else { Filter::And(filters) }
}

fn event(name: &str) -> Result<Filter, ApiError> {
    let word = one_of(name, EVENTS).map_err(|words| ApiError::bad_request(format!("'events': {words}")))?;
    Ok(Filter::Is(Field::Event, word))
}

/// An event by the name that metrics have for it.
fn metric_event(name: &str) -> Result<Filter, ApiError> {
    let is = |field, word: &str| Filter::Is(field, word.to_owned());
    let failed = |severity| Filter::And(vec![is(Field::Event, "failed"), is(Field::Severity, severity)]);
    match name.trim_end_matches("_count") {
        "accepted_outgoing" => Ok(is(Field::Event, "accepted")),
        "delivered_smtp" => Ok(is(Field::Event, "delivered")),
        "temporary_failed" => Ok(failed("temporary")),
        "permanent_failed" => Ok(failed("permanent")),
        "bounced" | "hard_bounces" => Ok(Filter::And(vec![failed("permanent"), is(Field::Reason, "bounce")])),
        other => {
            let word = one_of(other, EVENTS);
            let words = |words| ApiError::bad_request(format!("'metric_events': {words}"));
            word.map(|word| is(Field::Event, &word)).map_err(words)
        }
    }
}

fn parse_one(condition: &Condition) -> Result<Filter, ApiError> {
    let name = condition.attribute.as_str();
    if name == "size" {
        return size(condition);
    }
    let unknown = || {
        let words =
            format!("'{}' is not an attribute of the logs; there are: {}", excerpt(name), ATTRIBUTES.join(", "));
        ApiError::bad_request(words)
    };
    let (field, kind) = attribute(name).ok_or_else(unknown)?;
    if condition.values.is_empty() {
        return Err(ApiError::bad_request(format!("'{name}' has no values to compare with")));
    }
    let values = condition.values.iter().map(|value| read(name, kind, &value.text()));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let any = |how: fn(Field, String) -> Filter| {
        let mut filters: Vec<Filter> = values.into_iter().map(|value| how(field, value)).collect();
        if filters.len() == 1 { filters.remove(0) } else { Filter::Or(filters) }
    };
    let none = |filter| Filter::Not(Box::new(filter));
    match condition.comparator.as_str() {
        "=" => Ok(any(Filter::Is)),
        "!=" => Ok(none(any(Filter::Is))),
        "contains" => Ok(any(Filter::Contains)),
        "not contains" => Ok(none(any(Filter::Contains))),
        _ => Err(bad_comparator(condition, "=, !=, contains, not contains")),
    }
}

fn read(name: &str, kind: Kind, text: &str) -> Result<String, ApiError> {
    let refuse = |words: String| ApiError::bad_request(format!("'{name}': {words}"));
    if text.len() > EXPRESSION_OCTETS {
        return Err(refuse(format!("a value is longer than {EXPRESSION_OCTETS} octets")));
    }
    match kind {
        Kind::Text => Ok(text.to_owned()),
        Kind::Word(words) => one_of(text, words).map_err(refuse),
        Kind::Flag => match text.to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok("true".to_owned()),
            "no" | "false" => Ok("false".to_owned()),
            _ => Err(refuse(format!("'{}' is not one of: true, false", excerpt(text)))),
        },
        Kind::MessageId => {
            Ok(text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text).to_owned())
        }
        Kind::Number => match text.parse::<u32>() {
            Ok(number) => Ok(number.to_string()),
            Err(_) => Err(refuse(format!("'{}' is not a number", excerpt(text)))),
        },
    }
}

fn one_of(text: &str, words: &[&str]) -> Result<String, String> {
    let found = words.iter().find(|word| word.eq_ignore_ascii_case(text));
    found
        .map(|word| (*word).to_owned())
        .ok_or_else(|| format!("'{}' is not one of: {}", excerpt(text), words.join(", ")))
}

fn size(condition: &Condition) -> Result<Filter, ApiError> {
    let [value] = condition.values.as_slice() else {
        return Err(ApiError::bad_request("'size' is compared with one value"));
    };
    let octets = u64::from(read("size", Kind::Number, &value.text())?.parse::<u32>().unwrap_or_default());
    let not = |filter| Filter::Not(Box::new(filter));
    let exactly = Filter::And(vec![not(Filter::SizeAbove(octets)), not(Filter::SizeBelow(octets))]);
    match condition.comparator.as_str() {
        "=" => Ok(exactly),
        "!=" => Ok(not(exactly)),
        ">" => Ok(Filter::SizeAbove(octets)),
        "<" => Ok(Filter::SizeBelow(octets)),
        ">=" => Ok(not(Filter::SizeBelow(octets))),
        "<=" => Ok(not(Filter::SizeAbove(octets))),
        _ => Err(bad_comparator(condition, "=, !=, >, <, >=, <=")),
    }
}

fn bad_comparator(condition: &Condition, there_are: &str) -> ApiError {
    let (name, given) = (excerpt(&condition.attribute), excerpt(&condition.comparator));
    ApiError::bad_request(format!("'{name}': '{given}' is not a comparator; there are: {there_are}"))
}

/// The one domain that all of what the filter means belongs to, if it names one.
pub(super) fn only_domain(conditions: &Conditions) -> Option<String> {
    let names = conditions.all.iter().filter(|one| one.attribute == "domain" && one.comparator == "=");
    let mut names = names.filter_map(|one| match one.values.as_slice() {
        [value] => Some(value.text()),
        _ => None,
    });
    names.next()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(attribute: &str, comparator: &str, values: Value) -> Result<Filter, ApiError> {
        let all = json!({ "AND": [{ "attribute": attribute, "comparator": comparator, "values": values }] });
        parse(&serde_json::from_value(all).unwrap(), &[], &[])
    }

    fn is(field: Field, word: &str) -> Filter {
        Filter::Is(field, word.to_owned())
    }

    #[test]
    fn conditions_become_filters() {
        let not = |filter| Filter::Not(Box::new(filter));
        let either = Filter::Or(vec![is(Field::Tag, "a"), is(Field::Tag, "b")]);
        for (attribute, comparator, values, filter) in [
            ("tag", "=", json!([{"label": "A", "value": "a"}]), is(Field::Tag, "a")),
            ("tag", "=", json!(["a", "b"]), either.clone()),
            ("tag", "!=", json!(["a", "b"]), not(either)),
            ("subject", "contains", json!(["x"]), Filter::Contains(Field::Subject, "x".to_owned())),
            ("mx_host", "not contains", json!(["x"]), not(Filter::Contains(Field::MxHost, "x".to_owned()))),
            ("tls", "=", json!([false]), is(Field::Tls, "false")),
            (
                "certificate_verified",
                "=",
                json!([{"label": "", "value": "yes"}]),
                is(Field::CertificateVerified, "true"),
            ),
            ("message_id", "=", json!(["<1@example.com>"]), is(Field::MessageId, "1@example.com")),
            ("delivery_status_code", "=", json!([550]), is(Field::Code, "550")),
            ("event", "=", json!(["Failed"]), is(Field::Event, "failed")),
            ("size", ">", json!(["10"]), Filter::SizeAbove(10)),
            ("size", "<=", json!([10]), not(Filter::SizeAbove(10))),
        ] {
            assert_eq!(read(attribute, comparator, values.clone()), Ok(filter), "{attribute} {comparator} {values}");
        }
    }

    #[test]
    fn every_attribute_that_is_named_is_there() {
        for name in ATTRIBUTES {
            assert!(name == "size" || attribute(name).is_some(), "{name}");
        }
    }

    #[test]
    fn bad_conditions_are_refused_by_name() {
        for (attribute, comparator, values, start) in [
            ("country", "=", json!(["DE"]), "'country' is not an attribute of the logs; there are: id, domain"),
            (
                "tag",
                "like",
                json!(["a"]),
                "'tag': 'like' is not a comparator; there are: =, !=, contains, not contains",
            ),
            ("tag", "=", json!([]), "'tag' has no values to compare with"),
            ("tls", "=", json!(["maybe"]), "'tls': 'maybe' is not one of: true, false"),
            ("event", "=", json!(["sent"]), "'event': 'sent' is not one of: accepted"),
            ("delivery_status_code", "=", json!(["x"]), "'delivery_status_code': 'x' is not a number"),
            ("size", "contains", json!([1]), "'size': 'contains' is not a comparator; there are: =, !=, >"),
            ("size", "=", json!([1, 2]), "'size' is compared with one value"),
            ("tag", "=", json!(vec!["a"; LOG_VALUES + 1]), "'filter' and 'events' have more than"),
        ] {
            let error = read(attribute, comparator, values).unwrap_err();
            assert!(error.message().starts_with(start), "{}", error.message());
        }
    }

    #[test]
    fn events_are_named_beside_the_filter() {
        let events = |events: &[&str], metrics: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            parse(&Conditions::default(), &own(events), &own(metrics))
        };
        assert_eq!(events(&[], &[]), Ok(Filter::All));
        assert_eq!(events(&["delivered"], &[]), Ok(Filter::Or(vec![is(Field::Event, "delivered")])));
        let temporary = Filter::And(vec![is(Field::Event, "failed"), is(Field::Severity, "temporary")]);
        assert_eq!(
            events(&["opened"], &["temporary_failed_count"]),
            Ok(Filter::Or(vec![is(Field::Event, "opened"), temporary]))
        );
        assert!(events(&["sent"], &[]).unwrap_err().message().starts_with("'events': 'sent' is not one of"));
        assert!(events(&[], &["sent"]).unwrap_err().message().starts_with("'metric_events': 'sent' is not one of"));
    }
}
