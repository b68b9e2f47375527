//! What requests in JSON have in common.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::api::http::error::ApiError;
use crate::api::http::time;
use crate::api::limits::{JSON_OCTETS, JSON_TIME};
use crate::api::sending::excerpt;

const HOUR: i64 = 3600 * 1_000_000;
const DAY: i64 = 24 * HOUR;
/// The range when none is given.
const USUAL: i64 = 7 * DAY;
/// Longest duration, in hours: a hundred years.
const LONGEST: i64 = 876_000;

/// Reads a body in JSON; none at all is an empty object. Whoever cannot put it in these words hears the field's name.
pub(super) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        let words = "compressed requests are not supported";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
    }
    let octets = match timeout(JSON_TIME, to_bytes(body, JSON_OCTETS)).await {
        Ok(Ok(octets)) => octets,
        Ok(Err(_)) => {
            return Err(ApiError::too_large(format!("the request is longer than {JSON_OCTETS} octets, or broke off")));
        }
        Err(_) => return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the request took too long to arrive")),
    };
    let octets = if octets.is_empty() { b"{}".as_slice() } else { &octets };
    let bad = |error: serde_json::Error| ApiError::bad_request(format!("the request is no good JSON: {error}"));
    // An object: what is read into fields by name would else take a list by position.
    let object: Map<String, Value> = serde_json::from_slice(octets).map_err(bad)?;
    serde_json::from_value(Value::Object(object)).map_err(bad)
}

/// A condition as Mailgun's clients write it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition {
    pub(super) attribute: String,
    pub(super) comparator: String,
    pub(super) values: Vec<Wanted>,
}

/// Conditions that must all hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Conditions {
    #[serde(rename = "AND", default)]
    pub(super) all: Vec<Condition>,
}

/// A value to compare with.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Wanted {
    /// With the label that a person sees.
    Labelled {
        /// What is compared.
        value: Scalar,
    },
    /// Alone.
    Bare(Scalar),
}

/// A text, or what others write instead of one.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Text(String),
    Number(serde_json::Number),
    Switch(bool),
}

impl Wanted {
    /// The value as text.
    pub(super) fn text(&self) -> String {
        match self {
            Wanted::Labelled { value } | Wanted::Bare(value) => match value {
                Scalar::Text(text) => text.clone(),
                Scalar::Number(number) => number.to_string(),
                Scalar::Switch(switch) => switch.to_string(),
            },
        }
    }
}

/// A range of time, in microseconds. `end` is `None` where the request names none: it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) begin: i64,
    pub(super) end: Option<i64>,
}

/// Reads `start`, `end` and `duration`, which counts back from the end and wins over `start`.
pub(super) fn range(
    start: Option<&str>,
    end: Option<&str>,
    duration: Option<&str>,
    now: i64,
) -> Result<Range, ApiError> {
    let point = |name: &str, text: Option<&str>| {
        let text = text.filter(|text| !text.trim().is_empty());
        let read = |text: &str| {
            let words = || format!("'{name}' is neither an RFC 2822 date, an RFC 3339 date nor Unix seconds");
            time::parse_any(text).ok_or_else(|| ApiError::bad_request(words()))
        };
        text.map(read).transpose()
    };
    let (start, end) = (point("start", start)?, point("end", end)?);
    let until = end.unwrap_or(now);
    let begin = match duration.map(str::trim).filter(|text| !text.is_empty()) {
        Some(duration) => until.saturating_sub(length(duration)?).max(0),
        None => start.unwrap_or(until - USUAL),
    };
    if begin > until && end.is_some() {
        return Err(ApiError::bad_request("'start' is later than 'end'"));
    }
    Ok(Range { begin, end })
}

/// `24h`, `7d` or `1m`, a month of thirty days.
fn length(text: &str) -> Result<i64, ApiError> {
    let words = || ApiError::bad_request(format!("'duration' is no number of h, d or m: '{}'", excerpt(text)));
    let unit = text.chars().last().ok_or_else(words)?;
    let hours = match unit {
        'h' => 1,
        'd' => 24,
        'm' => 720,
        _ => return Err(words()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| words())?;
    let hours = i64::from(number).checked_mul(hours).filter(|hours| *hours <= LONGEST).ok_or_else(words)?;
    Ok(hours * HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 100 * DAY;

    #[test]
    fn ranges_are_read() {
        let of = |begin: i64, end: Option<i64>| Ok(Range { begin, end });
        for (start, end, duration, expected) in [
            (None, None, None, of(NOW - 7 * DAY, None)),
            (None, None, Some("24h"), of(NOW - DAY, None)),
            (Some("86400"), None, None, of(DAY, None)),
            (Some("86400"), Some("172800"), None, of(DAY, Some(2 * DAY))),
            (Some("0"), Some("1970-01-03T00:00:00Z"), Some("1d"), of(DAY, Some(2 * DAY))),
            (Some(""), Some("Fri, 03 Apr 1970 00:00:00 GMT"), Some("1m"), of(62 * DAY, Some(92 * DAY))),
        ] {
            assert_eq!(range(start, end, duration, NOW), expected, "{start:?} {end:?} {duration:?}");
        }
    }

    #[test]
    fn bad_ranges_are_refused() {
        for (start, end, duration, words) in [
            (Some("soon"), None, None, "'start' is neither an RFC 2822 date, an RFC 3339 date nor Unix seconds"),
            (None, Some("soon"), None, "'end' is neither an RFC 2822 date, an RFC 3339 date nor Unix seconds"),
            (Some("9"), Some("8"), None, "'start' is later than 'end'"),
            (None, None, Some("7 days"), "'duration' is no number of h, d or m: '7 days'"),
            (None, None, Some("é"), "'duration' is no number of h, d or m: 'é'"),
            (None, None, Some("d"), "'duration' is no number of h, d or m: 'd'"),
            (None, None, Some("4294967295m"), "'duration' is no number of h, d or m: '4294967295m'"),
        ] {
            assert_eq!(range(start, end, duration, NOW).unwrap_err().message(), words);
        }
    }
}
