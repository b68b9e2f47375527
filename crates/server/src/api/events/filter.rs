//! The filter parameters of a list of events.

use store::{Field, Filter};

use super::expression;
use crate::api::http::error::ApiError;
use crate::api::sending::excerpt;

/// How the words of a parameter's expression are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Match {
    /// With the whole value.
    Whole(Field),
    /// With any part of it.
    Part(Field),
    /// A whole address, or a part of one when the word is no address.
    Address(Field),
    /// With the whole value, which is one of these words.
    OneOf(Field, &'static [&'static str]),
    /// `yes`, `no`, `true` or `false`.
    Switch(Field),
    /// A Message-ID, with or without its brackets.
    MessageId,
    /// `>10000`, `<20000` or a number.
    Size,
    /// Matches nothing: there is nothing of the kind here.
    Nothing,
}

/// Event types of Mailgun's, and ours; those that we never write match nothing.
pub(in crate::api) const EVENTS: &[&str] = &[
    "accepted",
    "delivered",
    "failed",
    "rejected",
    "opened",
    "clicked",
    "unsubscribed",
    "complained",
    "stored",
    "email_validation",
    "list_member_uploaded",
    "list_member_upload_error",
    "list_uploaded",
    // Ours.
    "tls-downgraded",
];

fn comparison(parameter: &str) -> Option<Match> {
    Some(match parameter {
        "event" => Match::OneOf(Field::Event, EVENTS),
        "severity" => Match::OneOf(Field::Severity, &["temporary", "permanent"]),
        "recipient" => Match::Address(Field::Recipient),
        "recipients" => Match::Address(Field::Recipients),
        "from" => Match::Part(Field::From),
        "to" => Match::Part(Field::To),
        "subject" => Match::Part(Field::Subject),
        "id" => Match::Whole(Field::Key),
        "message-id" => Match::MessageId,
        "tags" => Match::Whole(Field::Tag),
        "attachment" => Match::Part(Field::Attachment),
        "size" => Match::Size,
        // There are no mailing lists, so no message came through one.
        "list" => Match::Nothing,
        // Ours.
        "tls" => Match::Switch(Field::Tls),
        "certificate-verified" => Match::Switch(Field::CertificateVerified),
        "mx-host" => Match::Part(Field::MxHost),
        "method" => Match::OneOf(Field::Method, &["http", "smtp"]),
        "reason" => Match::Whole(Field::Reason),
        "code" => Match::Whole(Field::Code),
        "recipient-domain" => Match::Whole(Field::RecipientDomain),
        "tls-version" => Match::Whole(Field::TlsVersion),
        "key-exchange" => Match::Whole(Field::KeyExchange),
        "verification" => Match::Whole(Field::Verification),
        "observed" => Match::Whole(Field::Observed),
        "fallback" => Match::Whole(Field::Fallback),
        "demanded-by" => Match::Whole(Field::DemandedBy),
        _ => return None,
    })
}

/// Whether the parameter is a filter.
pub(super) fn is_filter(parameter: &str) -> bool {
    comparison(parameter).is_some()
}

/// The filter that all parameters together make.
pub(super) fn parse(parameters: &[(String, String)]) -> Result<Filter, ApiError> {
    let filters = parameters.iter().map(|(name, text)| parse_one(name, text));
    let mut filters = filters.collect::<Result<Vec<_>, _>>()?;
    Ok(match filters.len() {
        0 => Filter::All,
        1 => filters.remove(0),
        _ => Filter::And(filters),
    })
}

fn parse_one(name: &str, text: &str) -> Result<Filter, ApiError> {
    let how = comparison(name).ok_or_else(|| ApiError::bad_request(format!("'{}' is not a filter", excerpt(name))))?;
    expression::parse(text, &|word| compare(how, word))
        .map_err(|error| ApiError::bad_request(format!("'{name}' is not a valid filter expression: {error}")))
}

fn compare(how: Match, word: &str) -> Result<Filter, String> {
    match how {
        Match::Whole(field) => Ok(Filter::Is(field, word.to_owned())),
        Match::Part(field) => Ok(Filter::Contains(field, word.to_owned())),
        Match::Address(field) => Ok(match word.split_once('@') {
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() => Filter::Is(field, word.to_owned()),
            _ => Filter::Contains(field, word.to_owned()),
        }),
        Match::OneOf(field, words) => {
            let found = words.iter().find(|known| known.eq_ignore_ascii_case(word));
            let unknown = || format!("'{}' is not one of: {}", excerpt(word), words.join(", "));
            found.map(|known| Filter::Is(field, (*known).to_owned())).ok_or_else(unknown)
        }
        Match::Switch(field) => match word.to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(Filter::Is(field, "true".to_owned())),
            "no" | "false" => Ok(Filter::Is(field, "false".to_owned())),
            _ => Err(format!("'{}' is not one of: yes, no, true, false", excerpt(word))),
        },
        Match::MessageId => {
            let bare = word.strip_prefix('<').and_then(|word| word.strip_suffix('>')).unwrap_or(word);
            Ok(Filter::Is(Field::MessageId, bare.to_owned()))
        }
        Match::Nothing => Ok(Filter::Or(Vec::new())),
        Match::Size => size(word).ok_or_else(|| format!("'{}' is not a size", excerpt(word))),
    }
}

fn size(word: &str) -> Option<Filter> {
    // SQL integers are signed.
    let number = |digits: &str| digits.parse::<u32>().ok().map(u64::from);
    if let Some(digits) = word.strip_prefix('>') {
        return number(digits).map(Filter::SizeAbove);
    }
    if let Some(digits) = word.strip_prefix('<') {
        return number(digits).map(Filter::SizeBelow);
    }
    let exactly = number(word)?;
    let above = Filter::Not(Box::new(Filter::SizeAbove(exactly)));
    let below = Filter::Not(Box::new(Filter::SizeBelow(exactly)));
    Some(Filter::And(vec![above, below]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Filter, ApiError> {
        parse(&[(name.to_owned(), text.to_owned())])
    }

    #[test]
    fn words_are_compared_as_their_parameter_wants() {
        let is = |field, word: &str| Filter::Is(field, word.to_owned());
        let contains = |field, word: &str| Filter::Contains(field, word.to_owned());
        for (name, text, filter) in [
            ("event", "Delivered", is(Field::Event, "delivered")),
            ("event", "opened", is(Field::Event, "opened")),
            ("severity", "temporary", is(Field::Severity, "temporary")),
            ("recipient", "a@example.com", is(Field::Recipient, "a@example.com")),
            ("recipient", "@example.com", contains(Field::Recipient, "@example.com")),
            ("recipients", "example.com", contains(Field::Recipients, "example.com")),
            ("subject", "hello", contains(Field::Subject, "hello")),
            ("message-id", "<1@example.com>", is(Field::MessageId, "1@example.com")),
            ("message-id", "1@example.com", is(Field::MessageId, "1@example.com")),
            ("tags", "bulk-email", is(Field::Tag, "bulk-email")),
            ("tls", "yes", is(Field::Tls, "true")),
            ("certificate-verified", "False", is(Field::CertificateVerified, "false")),
            ("mx-host", "google.com", contains(Field::MxHost, "google.com")),
            ("size", ">10", Filter::SizeAbove(10)),
            ("list", "news@example.com", Filter::Or(Vec::new())),
            ("id", "Fp_TmTf9tNeblmbVyBh1tQ", is(Field::Key, "Fp_TmTf9tNeblmbVyBh1tQ")),
            ("demanded-by", "dane", is(Field::DemandedBy, "dane")),
            ("size", ">10 <20", Filter::And(vec![Filter::SizeAbove(10), Filter::SizeBelow(20)])),
        ] {
            assert_eq!(read(name, text), Ok(filter), "{name}={text}");
        }
        assert_eq!(parse(&[]), Ok(Filter::All));
    }

    #[test]
    fn bad_words_are_refused() {
        for (name, text, end) in [
            ("tls", "maybe", "'maybe' is not one of: yes, no, true, false"),
            ("severity", "bad", "'bad' is not one of: temporary, permanent"),
            ("size", "> 10", "'>' is not a size"),
            ("size", ">1k", "'>1k' is not a size"),
            ("subject", "(a", "a parenthesis is not closed"),
        ] {
            let expected = format!("'{name}' is not a valid filter expression: {end}");
            assert_eq!(read(name, text).unwrap_err().message(), expected, "{name}={text}");
        }
        assert!(read("event", "deliverd").unwrap_err().message().contains("'deliverd' is not one of: accepted,"));
        assert_eq!(read("color", "red").unwrap_err().message(), "'color' is not a filter");
    }
}
