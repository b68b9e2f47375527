//! Answers of the DNS that serve more than one delivery: what the authority was asked.

mod common;

use common::Scenario;
use delivery::{Client, Outcome};
use testkit::{Behaviour, Lab, Zone};

/// A lab with one host for `d.test`.
async fn lab(zone: impl FnOnce(Zone) -> Zone) -> Lab {
    let mut lab = Lab::empty().await.unwrap();
    lab.add("d", Behaviour::default()).await.unwrap();
    lab.dns().update(zone);
    lab
}

/// How often each question was asked during so many deliveries, one after the other.
async fn asked_during(deliveries: usize, lab: &Lab, client: &Client) -> Vec<(String, usize)> {
    let before = lab.dns().queries().len();
    for _ in 0..deliveries {
        let report = Scenario::default().attempt_with(client).await;
        assert!(matches!(report.recipients[0].outcome, Outcome::Delivered(_)), "{report:?}");
    }
    let mut counted = std::collections::BTreeMap::new();
    for question in &lab.dns().queries()[before..] {
        *counted.entry(question.to_string()).or_default() += 1;
    }
    counted.into_iter().collect()
}

fn each(count: usize) -> Vec<(String, usize)> {
    ["d.test MX", "mx.d.test A", "mx.d.test AAAA"].map(|question| (question.to_owned(), count)).into()
}

#[tokio::test]
async fn answers_serve_deliveries_for_their_time_and_denials_too() {
    let lab = lab(|zone| zone.ttl(60)).await;
    let client = Scenario::default().client(&lab).remembering();
    assert_eq!(asked_during(5, &lab, &client).await, each(1));
    assert_eq!(asked_during(5, &lab, &client).await, []);
    // Who wants to see what is there now sees it.
    let fresh = client.dns().fresh();
    lab.dns().update(|zone| zone.without("mx.d.test"));
    let host = "mx.d.test".parse().unwrap();
    assert!(fresh.addresses(&host).await.unwrap().is_empty());
    assert!(!client.dns().addresses(&host).await.unwrap().is_empty());
}

#[tokio::test]
async fn without_a_time_to_live_every_delivery_asks() {
    let lab = lab(|zone| zone.ttl(0)).await;
    let client = Scenario::default().client(&lab).remembering();
    assert_eq!(asked_during(3, &lab, &client).await, each(3));
}

#[tokio::test]
async fn only_a_client_that_is_told_to_remembers() {
    let lab = lab(|zone| zone.ttl(60)).await;
    let client = Scenario::default().client(&lab);
    assert_eq!(asked_during(3, &lab, &client).await, each(3));
}

#[tokio::test]
async fn a_lookup_that_failed_is_made_again() {
    let lab = lab(|zone| zone.ttl(60).servfail("d.test")).await;
    let client = Scenario::default().client(&lab).remembering();
    let report = Scenario::default().attempt_with(&client).await;
    assert!(matches!(report.recipients[0].outcome, Outcome::Deferred(_)), "{report:?}");
    lab.dns().update(|zone| zone.without("d.test").mx("d.test", 10, "mx.d.test"));
    assert_eq!(asked_during(2, &lab, &client).await, each(1));
}
