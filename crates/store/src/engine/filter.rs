//! Filters as SQL. What a caller names is always bound, never pasted.
//!
//! Each condition is 1 or 0 and never NULL, so that `NOT` means what people expect: an event without a host is one
//! whose host is not `mx.example.com`. Case is folded by Unicode's rules on both sides, and a part is found by
//! `instr`, which has no wildcards that would need to be escaped.

use rusqlite::types::Value;

use crate::{Field, Filter};

/// The condition of a filter; what it binds is appended to `values` in the order of the text.
pub(super) fn condition(filter: &Filter, values: &mut Vec<Value>) -> String {
    match filter {
        Filter::All => "1 = 1".to_owned(),
        Filter::And(filters) => joined(filters, " AND ", "1 = 1", values),
        Filter::Or(filters) => joined(filters, " OR ", "1 = 0", values),
        Filter::Not(filter) => format!("NOT ({})", condition(filter, values)),
        Filter::Is(field, text) => is(*field, text, values),
        Filter::Contains(field, text) => contains(*field, text, values),
        Filter::SizeAbove(octets) => size(">", *octets, values),
        Filter::SizeBelow(octets) => size("<", *octets, values),
    }
}

/// How many conditions a filter is made of.
pub(super) fn conditions(filter: &Filter) -> usize {
    match filter {
        Filter::And(filters) | Filter::Or(filters) => 1 + filters.iter().map(conditions).sum::<usize>(),
        Filter::Not(filter) => 1 + conditions(filter),
        Filter::All | Filter::Is(..) | Filter::Contains(..) | Filter::SizeAbove(_) | Filter::SizeBelow(_) => 1,
    }
}

/// The index that the rarest condition of a filter can use. SQLite has no statistics here, and would always go
/// through all events of the domain. The events of all domains are read in the order of the table, which is that of time.
pub(super) fn access_path(filter: &Filter, of_one_domain: bool) -> &'static str {
    let by_time = if of_one_domain { "INDEXED BY event_domain" } else { "NOT INDEXED" };
    match filter {
        Filter::Is(Field::Recipient, text) if of_one_domain && text.is_ascii() => "INDEXED BY event_recipient",
        Filter::Is(Field::MessageId, text) if text.is_ascii() => "INDEXED BY event_message",
        Filter::And(filters) => {
            let paths: Vec<&str> = filters.iter().map(|filter| access_path(filter, of_one_domain)).collect();
            let rarest = ["INDEXED BY event_message", "INDEXED BY event_recipient"];
            rarest.into_iter().find(|path| paths.contains(path)).unwrap_or(by_time)
        }
        _ => by_time,
    }
}

fn joined(filters: &[Filter], word: &str, of_none: &str, values: &mut Vec<Value>) -> String {
    if filters.is_empty() {
        return of_none.to_owned();
    }
    let conditions: Vec<String> = filters.iter().map(|filter| condition(filter, values)).collect();
    format!("({})", conditions.join(word))
}

fn size(comparison: &str, octets: u64, values: &mut Vec<Value>) -> String {
    values.push(Value::Integer(super::row::number(octets)));
    format!("message.size {comparison} ?")
}

/// Where a field is found.
enum Place {
    /// A column with our own words in lower case.
    Word(&'static str),
    /// A column with text of others.
    Text(&'static str),
    /// A column with 0 or 1.
    Flag(&'static str),
    /// A column with a number.
    Number(&'static str),
    /// Several texts: a query of them, to be closed with a condition on `text`.
    Several(&'static str),
}

fn place(field: Field) -> Place {
    match field {
        Field::Event => Place::Word("event.kind"),
        Field::Severity => Place::Word("event.severity"),
        Field::Reason => Place::Word("event.reason"),
        Field::Method => Place::Word("message.method"),
        Field::Recipient => Place::Text("event.recipient"),
        Field::From => Place::Text("message.header_from"),
        // Who has a copy of its own is who its To shows.
        Field::To => Place::Text("CASE WHEN message.copy_plan IS NULL THEN message.header_to ELSE event.recipient END"),
        Field::Subject => Place::Text("message.subject"),
        Field::MessageId => Place::Text("message.message_id"),
        Field::MxHost => Place::Text("event.mx_host"),
        Field::Tls => Place::Flag("event.tls"),
        Field::CertificateVerified => Place::Flag("event.certificate_verified"),
        Field::Code => Place::Number("event.code"),
        Field::Recipients => Place::Several(
            "SELECT address AS text FROM recipient INDEXED BY recipient_message WHERE recipient.message = message.id",
        ),
        Field::Text => Place::Text("event.text"),
        Field::Key => Place::Text("event.key"),
        Field::Domain => Place::Word("event.domain"),
        // What follows the last at sign: a quoted local part may have others.
        Field::RecipientDomain => Place::Text(
            "substr(event.recipient, length(rtrim(event.recipient, replace(event.recipient, '@', ''))) + 1)",
        ),
        Field::SendingIp => Place::Text("event.sending_ip"),
        Field::UserVariables => Place::Text("message.user_variables"),
        Field::TlsVersion => Place::Text("json_extract(event.details, '$.version')"),
        Field::KeyExchange => Place::Text("json_extract(event.details, '$.\"key-exchange\"')"),
        Field::Verification => Place::Text("json_extract(event.details, '$.verification')"),
        Field::Observed => Place::Text("json_extract(event.details, '$.observed')"),
        Field::Fallback => Place::Text("json_extract(event.details, '$.fallback')"),
        Field::DemandedBy => {
            Place::Several("SELECT value AS text FROM json_each(event.details, '$.policy.\"demanded-by\"')")
        }
        Field::Tag => Place::Several("SELECT value AS text FROM json_each(message.tags)"),
        Field::Attachment => {
            Place::Several("SELECT json_extract(value, '$.filename') AS text FROM json_each(message.attachments)")
        }
    }
}

fn is(field: Field, text: &str, values: &mut Vec<Value>) -> String {
    let folded = text.to_lowercase();
    let mut bind = |text: &str| values.push(Value::Text(text.to_owned()));
    match (field, place(field)) {
        // An index can answer these two, by ASCII's rules.
        (Field::Recipient, _) if text.is_ascii() => {
            bind(text);
            "event.recipient = ? COLLATE NOCASE".to_owned()
        }
        (Field::MessageId, _) if text.is_ascii() => {
            bind(text);
            "event.message IN (SELECT id FROM message INDEXED BY message_message_id \
             WHERE message_id = ? COLLATE NOCASE)"
                .to_owned()
        }
        (_, Place::Word(column)) => {
            bind(&folded);
            format!("{column} IS NOT DISTINCT FROM ?")
        }
        (_, Place::Text(column)) => {
            bind(&folded);
            format!("fold({column}) IS NOT DISTINCT FROM ?")
        }
        (_, Place::Flag(column)) => flag(column, &folded),
        (_, Place::Number(column)) => match folded.parse() {
            Ok(number) => {
                values.push(Value::Integer(number));
                format!("{column} IS NOT DISTINCT FROM ?")
            }
            Err(_) => "1 = 0".to_owned(),
        },
        (_, Place::Several(texts)) => {
            bind(&folded);
            format!("EXISTS (SELECT 1 FROM ({texts}) AS texts WHERE fold(text) = ?)")
        }
    }
}

fn contains(field: Field, text: &str, values: &mut Vec<Value>) -> String {
    let folded = text.to_lowercase();
    let column = match place(field) {
        Place::Flag(column) => return flag(column, &folded),
        Place::Several(texts) => {
            values.push(Value::Text(folded));
            return format!("EXISTS (SELECT 1 FROM ({texts}) AS texts WHERE instr(fold(text), ?) > 0)");
        }
        Place::Word(column) => column.to_owned(),
        Place::Text(column) => format!("fold({column})"),
        Place::Number(column) => format!("CAST({column} AS TEXT)"),
    };
    values.push(Value::Text(folded));
    format!("coalesce(instr({column}, ?), 0) > 0")
}

fn flag(column: &str, folded: &str) -> String {
    match folded {
        "true" => format!("{column} IS NOT DISTINCT FROM 1"),
        "false" => format!("{column} IS NOT DISTINCT FROM 0"),
        _ => "1 = 0".to_owned(),
    }
}
