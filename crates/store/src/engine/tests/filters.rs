//! Filters: every field, and texts that try to be more than text.

use super::*;
use crate::{Field, StoreError};

/// Four kinds of events of two messages.
async fn example(directory: &Directory) -> Store {
    let store = directory.server().await;
    let first = NewMessage {
        header_to: "Bob <Bob@example.com>".to_owned(),
        ..message(&["Bob@example.com", "eve@example.org"])
    };
    store.accept(first).await.unwrap();
    let second = NewMessage {
        message_id: "second@sender.example".to_owned(),
        header_from: "Zoë <zoe@sender.example>".to_owned(),
        header_to: "jörg@example.net".to_owned(),
        subject: "100% of_it's \"free\" \\ STRASSE".to_owned(),
        size: 5000,
        attachments: Vec::new(),
        tags: vec!["other".to_owned()],
        method: Method::Smtp,
        ..message(&["jörg@example.net"])
    };
    store.accept(second).await.unwrap();
    let jobs = claim(&store, 10).await;
    let now = Timestamp::now();
    for job in jobs {
        let job = std::slice::from_ref(&job);
        let (state, event) = match job[0].destination.as_str() {
            "example.com" => (NewState::Delivered, delivered()),
            "example.org" => (NewState::Failed, failed(Severity::Permanent)),
            _ => (NewState::Deferred { until: soon() }, failed(Severity::Temporary)),
        };
        store.record(now, outcomes(job, state, &[event])).await.unwrap();
    }
    store
}

async fn count(store: &Store, filter: Filter) -> usize {
    store.events(query(filter)).await.unwrap().len()
}

fn is(field: Field, text: &str) -> Filter {
    Filter::Is(field, text.to_owned())
}

fn contains(field: Field, text: &str) -> Filter {
    Filter::Contains(field, text.to_owned())
}

/// 3 accepted, 1 delivered, 1 failed for good, 1 deferred; two events for each recipient.
#[tokio::test]
async fn every_field_finds_its_events() {
    let directory = Directory::new();
    let store = example(&directory).await;
    for (filter, expected) in [
        (Filter::All, 6),
        (is(Field::Event, "Delivered"), 1),
        (is(Field::Event, "deliver"), 0),
        (contains(Field::Event, "ED"), 6),
        (is(Field::Severity, "temporary"), 1),
        (is(Field::Severity, "permanent"), 1),
        (contains(Field::Severity, "perm"), 1),
        (is(Field::Reason, "generic"), 2),
        (is(Field::Recipient, "bOB@example.com"), 2),
        (is(Field::Recipient, "JÖRG@example.net"), 2),
        (is(Field::Recipient, "example.com"), 0),
        (contains(Field::Recipient, "EXAMPLE.o"), 2),
        (contains(Field::Recipient, "JÖ"), 2),
        (is(Field::Recipients, "eve@EXAMPLE.org"), 4),
        (contains(Field::Recipients, "eve"), 4),
        (is(Field::From, "ZOË <zoe@sender.example>"), 2),
        (contains(Field::From, "ann@"), 4),
        (is(Field::To, "bob <bob@example.com>"), 4),
        (contains(Field::To, "BOB@"), 4),
        (is(Field::Subject, "GRÜSSE"), 0),
        (is(Field::Subject, "GRÜßE"), 4),
        (contains(Field::Subject, "strasse"), 2),
        (is(Field::MessageId, "SECOND@sender.example"), 2),
        (is(Field::MessageId, "sécond@sender.example"), 0),
        (contains(Field::MessageId, "second@"), 2),
        (is(Field::Tag, "WELCOME"), 4),
        (is(Field::Tag, "bulk"), 0),
        (contains(Field::Tag, "bulk"), 4),
        (is(Field::Attachment, "plan.PDF"), 4),
        (contains(Field::Attachment, ".pdf"), 4),
        (is(Field::Tls, "true"), 1),
        (is(Field::Tls, "false"), 0),
        (is(Field::Tls, "maybe"), 0),
        (is(Field::CertificateVerified, "FALSE"), 1),
        (contains(Field::CertificateVerified, "true"), 0),
        (is(Field::MxHost, "MX1.example.com"), 1),
        (contains(Field::MxHost, "mx1"), 1),
        (is(Field::Method, "smtp"), 2),
        (contains(Field::Method, "htt"), 4),
        (is(Field::Code, "451"), 2),
        (is(Field::Code, "many"), 0),
        (contains(Field::Code, "25"), 1),
        (Filter::SizeAbove(30), 2),
        (Filter::SizeAbove(29), 6),
        (Filter::SizeBelow(5000), 4),
        (Filter::SizeBelow(u64::MAX), 6),
    ] {
        assert_eq!(count(&store, filter.clone()).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn conditions_combine() {
    let directory = Directory::new();
    let store = example(&directory).await;
    let not = |filter| Filter::Not(Box::new(filter));
    for (filter, expected) in [
        (Filter::And(vec![]), 6),
        (Filter::Or(vec![]), 0),
        (not(Filter::All), 0),
        (Filter::Or(vec![is(Field::Event, "delivered"), is(Field::Event, "failed")]), 3),
        (Filter::And(vec![is(Field::Event, "failed"), is(Field::Severity, "permanent")]), 1),
        (Filter::And(vec![is(Field::Recipient, "bob@example.com"), is(Field::Event, "delivered")]), 1),
        (Filter::And(vec![is(Field::MessageId, "second@sender.example"), is(Field::Recipient, "x@y.example")]), 0),
        (Filter::And(vec![Filter::SizeAbove(10), Filter::SizeBelow(100)]), 4),
        // What an event does not have is not equal to anything.
        (not(is(Field::MxHost, "mx1.example.com")), 5),
        (not(contains(Field::MxHost, "mx1")), 5),
        (not(is(Field::Severity, "temporary")), 5),
        (not(is(Field::Tls, "true")), 5),
        (not(is(Field::Tag, "other")), 4),
        (not(is(Field::Code, "451")), 4),
        (not(is(Field::Recipient, "bob@example.com")), 4),
        (not(is(Field::MessageId, "second@sender.example")), 4),
        (not(Filter::Or(vec![is(Field::Event, "accepted"), is(Field::Event, "failed")])), 1),
    ] {
        assert_eq!(count(&store, filter.clone()).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_filter_has_an_end() {
    let directory = Directory::new();
    let store = example(&directory).await;
    let most = Filter::Or(vec![is(Field::Tag, "welcome"); 499]);
    assert_eq!(count(&store, most).await, 4);
    let too_many = Filter::Or(vec![is(Field::Tag, "welcome"); 500]);
    assert!(matches!(store.events(query(too_many)).await, Err(StoreError::Invalid(_))));
}

#[tokio::test]
async fn text_stays_text() {
    let directory = Directory::new();
    let store = example(&directory).await;
    let fields = [
        Field::Event,
        Field::Severity,
        Field::Reason,
        Field::Recipient,
        Field::Recipients,
        Field::From,
        Field::To,
        Field::Subject,
        Field::MessageId,
        Field::Tag,
        Field::Attachment,
        Field::Tls,
        Field::CertificateVerified,
        Field::MxHost,
        Field::Method,
        Field::Code,
    ];
    let texts = [
        "' OR 1=1 --",
        "\" OR \"\"=\"",
        "x'; DROP TABLE event; --",
        "?1) OR (1=1",
        "a' UNION SELECT * FROM api_key --",
        "\0",
        "%",
        "_",
        "*",
    ];
    for field in fields {
        for text in texts {
            assert_eq!(count(&store, is(field, text)).await, 0, "{field:?} is {text:?}");
            let expected = match (field, text) {
                (Field::Subject, "%" | "_") => 2,
                (Field::Tag, "_") => 4,
                _ => 0,
            };
            assert_eq!(count(&store, contains(field, text)).await, expected, "{field:?} contains {text:?}");
        }
    }
    for part in ["100% of_", "it's", "\"free\" \\"] {
        assert_eq!(count(&store, contains(Field::Subject, part)).await, 2, "{part}");
    }
    assert_eq!(count(&store, contains(Field::Subject, "100_ of")).await, 0);
    assert_eq!(count(&store, Filter::All).await, 6);
}
