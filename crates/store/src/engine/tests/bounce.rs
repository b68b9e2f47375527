//! Delayed bounces: counted once, of the right recipient, never before the delivery.

use serde_json::json;

use super::*;
use crate::RecipientId;
use crate::bounce::{DelayedBounce, Recorded};

/// A bounce of the transaction of this job.
fn bounce(job: &Job, address: Option<&str>) -> DelayedBounce {
    DelayedBounce {
        transaction: job.recipients[0].id,
        accepted_at: job.accepted_at.as_micros() / 1_000_000,
        address: address.map(super::address),
        code: 550,
        enhanced_code: Some("5.1.1".parse().unwrap()),
        message: "550 5.1.1 no such user".to_owned(),
        no_such_mailbox: address.is_none(),
        report: json!({ "reporting-mta": "mx.example.com" }),
    }
}

async fn recorded(store: &Store, bounce: DelayedBounce) -> Recorded {
    store.record_bounce(Timestamp::now(), bounce).await.unwrap()
}

#[tokio::test]
async fn a_delivered_recipient_fails_once() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["a@example.com", "B@example.com", "c@example.net"])).await.unwrap();
    let jobs = claim(&store, 10).await;
    let job = jobs.iter().find(|job| job.recipients.len() == 2).unwrap().clone();
    assert_eq!(recorded(&store, bounce(&job, None)).await, Recorded::Early, "its outcome is not known yet");
    store.record(soon(), outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();

    assert_eq!(recorded(&store, bounce(&job, Some("b@EXAMPLE.com"))).await, Recorded::Failed);
    assert_eq!(recorded(&store, bounce(&job, Some("B@example.com"))).await, Recorded::Known);
    assert_eq!(recorded(&store, bounce(&job, None)).await, Recorded::Failed);
    // Who got the mail in another transaction, or not at all, or another mail, is not in question.
    for other in ["c@example.net", "x@example.com"] {
        assert_eq!(recorded(&store, bounce(&job, Some(other))).await, Recorded::Unknown, "{other}");
    }
    let reused = DelayedBounce { accepted_at: bounce(&job, None).accepted_at - 1, ..bounce(&job, None) };
    assert_eq!(recorded(&store, reused).await, Recorded::Unknown);
    let nobody = DelayedBounce { transaction: RecipientId::of_number(i64::MAX), ..bounce(&job, None) };
    assert_eq!(recorded(&store, nobody).await, Recorded::Unknown);

    let told: Vec<Event> = all_events(&store).await.into_iter().filter(|event| event.report.is_some()).collect();
    assert_eq!(
        told.iter().map(|event| event.recipient.to_string()).collect::<Vec<_>>(),
        ["B@example.com", "a@example.com"]
    );
    for event in &told {
        assert_eq!(
            (event.kind, event.severity, event.reason),
            (EventKind::Failed, Some(Severity::Permanent), Some(FailureReason::Bounce))
        );
        let attempt = event.attempt.as_ref().unwrap();
        assert_eq!((attempt.code, attempt.attempt_no, &attempt.connection), (550, 1, &None));
        assert_eq!(event.report, Some(json!({ "reporting-mta": "mx.example.com" })));
    }
    let listed = store.listed(&domain("sender.example"), &[address("a@example.com"), address("b@example.com")]).await;
    assert_eq!(listed.unwrap().iter().map(|listed| listed.bounced).collect::<Vec<_>>(), [true, false]);
    assert_eq!(kinds(&all_events(&store).await).len(), 3 + 3 + 2);
}

#[tokio::test]
async fn a_secret_is_made_once() {
    let directory = Directory::new();
    let store = directory.server().await;
    let secret = store.secret("one").await.unwrap();
    assert_ne!(secret, store.secret("other").await.unwrap());
    store.close().await;
    assert_eq!(directory.server().await.secret("one").await.unwrap(), secret);
}
