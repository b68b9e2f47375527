//! A kept message as Mailgun's clients read it.

use message::read::FileSummary;
use serde_json::{Map, Value, json};
use smtp::{Address, Domain};

use super::{Shown, unreadable};
use crate::api::http::error::ApiError;

/// Fields of the header that stand beside the others, as Mailgun spells them.
const FIELDS: [&str; 11] = [
    "From",
    "To",
    "Cc",
    "Reply-To",
    "Subject",
    "Date",
    "Message-Id",
    "Mime-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "X-Mailgun-Variables",
];

/// Where a kept message is.
pub(in crate::api) fn url_of(base: &str, domain: &Domain, key: &str) -> String {
    format!("{base}/v3/domains/{domain}/messages/{key}")
}

/// The message in one piece. What is not UTF-8 in it is shown as U+FFFD.
pub(super) fn whole(shown: &Shown) -> Value {
    let mut answer = envelope(shown);
    answer.insert("body-mime".to_owned(), String::from_utf8_lossy(&shown.content).into());
    Value::Object(answer)
}

/// The message in parts. Nothing is stripped of a message that is no reply.
pub(super) fn parts(shown: &Shown, url: &str) -> Result<Value, ApiError> {
    let contents = message::read(&shown.content).map_err(|error| unreadable(&error))?;
    let mut answer = envelope(shown);
    let mut put = |name: &str, value: Value| answer.insert(name.to_owned(), value);
    for name in FIELDS {
        if let Some((_, value)) = contents.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)) {
            put(name, value.as_str().into());
        }
    }
    if !shown.message.tags.is_empty() {
        put("X-Mailgun-Tag", shown.message.tags.join(", ").into());
    }
    if let Some(template) = &shown.message.template {
        put("X-Mailgun-Template-Name", template.name.as_str().into());
        put("X-Mailgun-Template-Version", template.version.as_str().into());
    }
    let (text, html) = (contents.text.unwrap_or_default(), contents.html.unwrap_or_default());
    put("stripped-text", text.as_str().into());
    put("stripped-html", html.as_str().into());
    put("stripped-signature", "".into());
    put("body-plain", text.into());
    put("body-html", html.into());
    put("message-headers", contents.fields.iter().map(|(name, value)| json!([name, value])).collect());
    put("message-url", url.into());
    let file = |(number, file): (usize, &FileSummary)| {
        let summary = &file.summary;
        json!({
            "name": summary.filename,
            "content-type": summary.content_type,
            "size": summary.size,
            "url": format!("{url}/attachments/{number}"),
        })
    };
    let files: Vec<Value> = contents.files.iter().enumerate().map(file).collect();
    let named = contents.files.iter().zip(&files);
    let ids = named.filter_map(|(file, json)| Some((format!("<{}>", file.content_id.as_ref()?), json.clone())));
    put("content-id-map", Value::Object(ids.collect()));
    put("attachments", files.into());
    Ok(Value::Object(answer))
}

fn envelope(shown: &Shown) -> Map<String, Value> {
    let recipients: Vec<String> = shown.recipients.iter().map(Address::to_string).collect();
    let texts = [
        ("recipients", recipients.join(", ")),
        ("sender", shown.message.return_path.clone()),
        ("from", shown.message.header_from.clone()),
        ("subject", shown.subject.clone()),
    ];
    texts.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect()
}
