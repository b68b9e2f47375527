//! Webhooks: who is told of what, in the three forms that Mailgun has for it, and the key that signs.
//!
//! All forms speak of the same thing: a URL is told of some events, of a domain or of the whole account. `/v3/domains` has
//! a list of URLs for each kind of event, `/v4/domains` a list of kinds for each URL, `/v1/webhooks` a name for each URL.

mod account;
mod domain;
mod edit;
mod fields;
mod operations;
mod payload;
mod signing_key;
mod test;

use serde_json::{Value, json};
use store::webhook::{LastAnswer, Subject, Subscription, Webhook};

pub(super) use self::operations::operations;
pub(crate) use self::payload::{new_signing_key, payload};
pub(super) use self::test::Tester;
use super::http::time::{to_date, to_epoch};

/// Mailgun's word for a subject. `tls-downgraded` is ours alone.
fn word(subject: Subject) -> &'static str {
    match subject {
        Subject::Accepted => "accepted",
        Subject::Delivered => "delivered",
        Subject::FailedTemporarily => "temporary_fail",
        Subject::FailedPermanently => "permanent_fail",
        Subject::Opened => "opened",
        Subject::Clicked => "clicked",
        Subject::Unsubscribed => "unsubscribed",
        Subject::Complained => "complained",
        Subject::TlsDowngraded => "tls-downgraded",
    }
}

/// The subject of a word.
fn subject(word: &str) -> Option<Subject> {
    Subject::ALL.into_iter().find(|subject| self::word(*subject) == word)
}

/// `{"delivered":{"urls":[…]}}`: the kinds that anybody is told of.
fn by_subject<'a>(subscriptions: impl Iterator<Item = &'a Subscription> + Clone) -> Value {
    let urls = |subject: Subject| -> Vec<&str> {
        let told = subscriptions.clone().filter(|one| one.subjects.contains(&subject));
        told.map(|one| one.url.as_str()).collect()
    };
    let kinds = Subject::ALL.into_iter().map(|subject| (subject, urls(subject)));
    kinds
        .filter(|(_, urls)| !urls.is_empty())
        .map(|(subject, urls)| (word(subject).to_owned(), json!({ "urls": urls })))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The words of what one is told of.
pub(crate) fn words(subscription: &Subscription) -> Vec<&'static str> {
    subscription.subjects.iter().copied().map(word).collect()
}

/// How telling a webhook goes, which Mailgun does not say.
fn health(webhook: &Webhook) -> Value {
    let answer = |last: &Option<LastAnswer>| match last {
        None => Value::Null,
        Some(LastAnswer { at, status, words }) => {
            json!({ "timestamp": to_epoch(at.as_micros()), "status": status, "error": words })
        }
    };
    json!({
        "told-to": to_epoch(webhook.told_to.as_micros()),
        "to-be-retried": webhook.set_aside,
        "last": answer(&webhook.last),
        "last-failure": answer(&webhook.last_failure),
    })
}

fn created_at(subscription: &Subscription) -> String {
    to_date(subscription.created_at.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_has_its_word() {
        for one in Subject::ALL {
            assert_eq!(subject(word(one)), Some(one));
        }
        assert_eq!(subject("failed"), None);
        assert_eq!(subject("Delivered"), None);
    }
}
