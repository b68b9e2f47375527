//! What recipients do with a message.

use serde_json::json;

use super::*;
use crate::NewDomain;
use crate::suppression::{Suppression, SuppressionList};
use crate::tracking::{
    INTERACTIONS_PER_COPY, Interaction, TrackedCopy, TrackedLinks, TrackingChange, TrackingSettings, Unsubscription,
};

fn interaction(url: Option<&str>) -> Interaction {
    Interaction { ip: Some("192.0.2.1".parse().unwrap()), url: url.map(str::to_owned), client: json!({ "bot": "" }) }
}

#[tokio::test]
async fn each_recipient_is_a_job_and_its_events_are_counted() {
    let scratch = Directory::new();
    let store = scratch.server().await;
    let tracking = Some(json!({ "opens": true }));
    let new = NewMessage { tracking: tracking.clone(), ..message(&["a@example.com", "b@example.com"]) };
    store.accept(new).await.unwrap();
    let jobs = claim(&store, 10).await;
    assert_eq!(jobs.iter().map(|job| job.recipients.len()).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(jobs[1].tracking, tracking);

    let copy = TrackedCopy::of(&jobs[1], jobs[1].recipients[0].id);
    assert!(store.record_interaction(copy, EventKind::Clicked, interaction(Some("https://x/"))).await.unwrap());
    for _ in 1..INTERACTIONS_PER_COPY {
        assert!(store.record_interaction(copy, EventKind::Opened, interaction(None)).await.unwrap());
    }
    assert!(!store.record_interaction(copy, EventKind::Opened, interaction(None)).await.unwrap(), "enough");
    let other = TrackedCopy { accepted_at: Timestamp::from_micros(1), ..copy };
    assert!(!store.record_interaction(other, EventKind::Opened, interaction(None)).await.unwrap(), "another copy");

    let events = all_events(&store).await;
    let clicked: Vec<_> = events.iter().filter(|event| event.kind == EventKind::Clicked).collect();
    assert_eq!(clicked.len(), 1);
    assert_eq!(clicked[0].interaction, Some(interaction(Some("https://x/"))));
    assert_eq!(clicked[0].recipient, jobs[1].recipients[0].address);
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::Opened).count() as u32, INTERACTIONS_PER_COPY - 1);
}

#[tokio::test]
async fn settings_change_one_by_one_and_the_key_stays() {
    let scratch = Directory::new();
    let store = scratch.server().await;
    let name = domain("sender.example");
    let (tls, now) = (TlsSettings::default(), Timestamp::from_secs(1));
    store.create_domain(NewDomain { name: name.clone(), tls, dkim: None, now }).await.unwrap();
    let change = |opens, clicks| TrackingChange { opens, clicks, ..TrackingChange::default() };
    store.change_tracking(&name, change(Some(true), None)).await.unwrap();
    let settings = store.change_tracking(&name, change(None, Some(TrackedLinks::Html))).await.unwrap().unwrap();
    assert_eq!(settings, TrackingSettings { opens: true, clicks: TrackedLinks::Html, ..Default::default() });
    let footer = TrackingChange { html_footer: Some("<p>".to_owned()), ..TrackingChange::default() };
    let settings = store.change_tracking(&name, footer).await.unwrap().unwrap();
    assert_eq!((settings.html_footer.as_deref(), settings.text_footer.as_deref()), (Some("<p>"), None));
    assert_eq!(store.domain(&name).await.unwrap().unwrap().tracking, settings);
    assert_eq!(store.change_tracking(&domain("x.example"), change(None, None)).await.unwrap(), None);
    assert_eq!(store.tracking_key().await.unwrap(), store.tracking_key().await.unwrap());
}

#[tokio::test]
async fn who_unsubscribes_is_listed_and_told_once() {
    let scratch = Directory::new();
    let store = scratch.server().await;
    let new = NewMessage { tracking: Some(json!({})), ..message(&["Ann@example.com"]) };
    let name = new.domain.clone();
    store.accept(new).await.unwrap();
    let jobs = claim(&store, 10).await;
    let copy = TrackedCopy::of(&jobs[0], jobs[0].recipients[0].id);
    let of = |tags: &[&str], copy| Unsubscription {
        copy,
        domain: name.clone(),
        address: "Ann@example.com".parse().unwrap(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    };
    let gone = TrackedCopy { accepted_at: Timestamp::from_micros(1), ..copy };
    for (unsubscription, is_news, tags, events) in [
        (of(&["News"], copy), true, &["news"][..], 1),
        (of(&["news"], copy), false, &["news"], 1),
        // The message was purged; what its link says holds all the same.
        (of(&["offers"], gone), true, &["news", "offers"], 1),
        (of(&[], copy), true, &["*"], 2),
        (of(&["else"], copy), false, &["*"], 2),
        (of(&[], copy), false, &["*"], 2),
    ] {
        assert_eq!(store.unsubscribe(unsubscription.clone(), interaction(None)).await.unwrap(), is_news);
        let found = store.suppression(&name, SuppressionList::Unsubscribes, "ann@example.com").await.unwrap();
        assert_eq!(
            found.map(|Suppression { tags, .. }| tags),
            Some(tags.iter().map(|tag| (*tag).to_owned()).collect())
        );
        let told = all_events(&store).await.into_iter().filter(|event| event.kind == EventKind::Unsubscribed);
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), events, "{unsubscription:?}");
        assert_eq!(told[0].interaction, Some(interaction(None)));
        assert_eq!(told[0].recipient, "Ann@example.com".parse().unwrap());
    }
}
