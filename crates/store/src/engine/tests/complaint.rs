//! Complaints: told once for each recipient, kept on the list where nobody else can have made them up.

use serde_json::json;

use super::*;
use crate::RecipientId;
use crate::complaint::{Complaint, Heard};

/// A complaint about the mail of this job.
fn complaint(job: &Job, address: Option<&str>) -> Complaint {
    Complaint {
        transaction: job.recipients[0].id,
        accepted_at: job.accepted_at.as_micros() / 1_000_000,
        address: address.map(super::address),
        suppress: address.is_none(),
        report: json!({ "feedback-type": "abuse" }),
    }
}

async fn recorded(store: &Store, complaint: Complaint) -> Heard {
    store.record_complaint(Timestamp::now(), complaint).await.unwrap()
}

#[tokio::test]
async fn a_recipient_complains_once() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(message(&["A@example.com", "b@example.com", "c@example.net"])).await.unwrap();
    let jobs = claim(&store, 10).await;
    let job = jobs.iter().find(|job| job.recipients.len() == 2).unwrap().clone();
    store.record(soon(), outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();

    assert_eq!(recorded(&store, complaint(&job, None)).await, Heard::Told);
    assert_eq!(recorded(&store, complaint(&job, None)).await, Heard::Known);
    assert_eq!(recorded(&store, complaint(&job, Some("B@example.COM"))).await, Heard::Told);
    assert_eq!(recorded(&store, complaint(&job, Some("b@example.com"))).await, Heard::Known);
    for other in ["c@example.net", "x@example.com"] {
        assert_eq!(recorded(&store, complaint(&job, Some(other))).await, Heard::Unknown, "{other}");
    }
    let reused = Complaint { accepted_at: complaint(&job, None).accepted_at - 1, ..complaint(&job, None) };
    assert_eq!(recorded(&store, reused).await, Heard::Unknown);
    let nobody = Complaint { transaction: RecipientId::of_number(i64::MAX), ..complaint(&job, None) };
    assert_eq!(recorded(&store, nobody).await, Heard::Unknown);

    let events = all_events(&store).await;
    let told: Vec<_> = events.iter().filter(|event| event.kind == EventKind::Complained).collect();
    let who: Vec<_> = told.iter().map(|event| event.recipient.to_string()).collect();
    assert_eq!(who, ["A@example.com", "b@example.com"]);
    for event in told {
        assert_eq!((event.severity, event.reason, &event.attempt), (None, None, &None));
        assert_eq!(event.report, Some(json!({ "feedback-type": "abuse" })));
    }
    let listed = store.listed(&domain("sender.example"), &[address("a@example.com"), address("b@example.com")]).await;
    assert_eq!(listed.unwrap().iter().map(|listed| listed.complained).collect::<Vec<_>>(), [true, false]);
}
