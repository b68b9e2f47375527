//! Individual copies: kept beside their recipients, claimed one by one, told in events.

use serde_json::json;

use super::*;
use crate::{NewCopies, NewCopy};

/// A message with a copy for each, whose variable `n` is its number.
fn individual(recipients: &[&str]) -> NewMessage {
    let copy = |(n, to): (usize, &&str)| NewCopy {
        to: format!("To {n} <{to}>"),
        variables: json!({ "z": 1, "n": n }).to_string(),
    };
    let copies = recipients.iter().enumerate().map(copy).collect();
    NewMessage { copies: Some(NewCopies { plan: json!({ "p": [1] }), copies }), ..message(recipients) }
}

#[tokio::test]
async fn each_recipient_is_a_job_of_its_own() {
    let directory = Directory::new();
    let store = directory.server().await;
    let to = ["a@example.com", "b@example.com", "c@example.net", "a@example.com"];
    store.accept(individual(&to)).await.unwrap();
    store.accept(message(&["x@example.com", "y@example.com"])).await.unwrap();

    let jobs = claim(&store, 10).await;
    let sizes: Vec<usize> = jobs.iter().map(|job| job.recipients.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 6, "{sizes:?}");
    let (individual, plain): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.copy_plan.is_some());
    assert_eq!((individual.len(), plain.len()), (4, 1));
    let mut numbers = Vec::new();
    for job in &individual {
        assert_eq!(job.copy_plan, Some(json!({ "p": [1] })));
        let copy = store.copy(job.recipients[0].id).await.unwrap().unwrap();
        let n = copy.variables["n"].as_u64().unwrap();
        assert_eq!(copy.to, format!("To {n} <{}>", job.recipients[0].address));
        numbers.push(n);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3]);
    assert_eq!(store.copy(plain[0].recipients[0].id).await.unwrap(), None);
}

#[tokio::test]
async fn events_tell_whose_copy_it_is() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(individual(&["a@example.com", "B@example.com"])).await.unwrap();
    store.accept(NewMessage { test_mode: true, ..individual(&["t@example.com"]) }).await.unwrap();
    store.accept(message(&["x@example.com"])).await.unwrap();
    let events = store.events(query(Filter::All)).await.unwrap();
    let mut told: Vec<_> = events
        .iter()
        .map(|event| {
            assert_eq!(event.message.is_individual, event.copy.is_some());
            (event.recipient.to_string(), event.copy.as_ref().map(|copy| copy.to.clone()))
        })
        .collect();
    told.sort();
    told.dedup();
    let copy = |n: u32, to: &str| (to.to_owned(), Some(format!("To {n} <{to}>")));
    let expected = [
        copy(1, "B@example.com"),
        copy(0, "a@example.com"),
        copy(0, "t@example.com"),
        ("x@example.com".to_owned(), None),
    ];
    assert_eq!(told, expected);

    // The whole list of recipients is nobody's To.
    let to = |text: &str| query(Filter::Contains(crate::Field::To, text.to_owned()));
    let found = store.events(to("a@example.com")).await.unwrap();
    assert!(!found.is_empty() && found.iter().all(|event| event.recipient.to_string() == "a@example.com"));
}

#[tokio::test]
async fn long_variables_are_not_in_events() {
    let directory = Directory::new();
    let store = directory.server().await;
    for (octets, told) in [(16_384 - 8, true), (16_384 - 7, false)] {
        let mut new = individual(&["a@example.com"]);
        new.copies.as_mut().unwrap().copies[0].variables = json!({ "x": "y".repeat(octets) }).to_string();
        store.accept(new).await.unwrap();
        let copy = all_events(&store).await.pop().unwrap().copy.unwrap();
        assert_eq!((copy.variables.is_empty(), copy.to.as_str()), (!told, "To 0 <a@example.com>"));
        let id = claim(&store, 1).await[0].recipients[0].id;
        assert_eq!(store.copy(id).await.unwrap().unwrap().variables["x"].as_str().unwrap().len(), octets);
    }
}

#[tokio::test]
async fn copies_outlive_a_restart_and_go_with_their_message() {
    let directory = Directory::new();
    let store = directory.server().await;
    let expires_at = Some(Timestamp::from_micros(Timestamp::now().as_micros() + 1_000_000));
    store.accept(NewMessage { expires_at, ..individual(&["a@example.com"]) }).await.unwrap();
    store.close().await;
    let store = directory.server().await;
    let job = claim(&store, 1).await.remove(0);
    assert_eq!(job.expires_at, expires_at);
    let id = job.recipients[0].id;
    assert!(store.copy(id).await.unwrap().is_some());

    let outcome = RecipientOutcome { recipient: id, state: NewState::Delivered, events: Vec::new() };
    store.record(Timestamp::now(), vec![outcome]).await.unwrap();
    let later = Timestamp::from_micros(i64::MAX);
    store.purge(crate::Purge { events_before: later, wire_before: later }).await.unwrap();
    assert_eq!(store.copy(id).await.unwrap(), None);
}

#[tokio::test]
async fn a_copy_for_each_or_none() {
    let directory = Directory::new();
    let store = directory.server().await;
    let mut one_less = individual(&["a@example.com", "b@example.com"]);
    one_less.copies.as_mut().unwrap().copies.pop();
    assert!(store.accept(one_less).await.is_err());
    assert_eq!(store.queued().await.unwrap(), 0);
}
