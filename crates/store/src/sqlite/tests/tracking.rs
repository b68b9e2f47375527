//! What recipients do with a message.

use serde_json::json;

use super::*;
use crate::NewDomain;
use crate::tracking::{
    INTERACTIONS_PER_COPY, Interaction, TrackedCopy, TrackedLinks, TrackingChange, TrackingSettings,
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
    let change = |opens, clicks| TrackingChange { opens, clicks, opens_at_top: None };
    store.change_tracking(&name, change(Some(true), None)).await.unwrap();
    let settings = store.change_tracking(&name, change(None, Some(TrackedLinks::Html))).await.unwrap().unwrap();
    assert_eq!(settings, TrackingSettings { opens: true, opens_at_top: false, clicks: TrackedLinks::Html });
    assert_eq!(store.domain(&name).await.unwrap().unwrap().tracking, settings);
    assert_eq!(store.change_tracking(&domain("x.example"), change(None, None)).await.unwrap(), None);
    assert_eq!(store.tracking_key().await.unwrap(), store.tracking_key().await.unwrap());
}
