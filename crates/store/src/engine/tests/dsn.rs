//! Notifications: what is to be told is written with what makes it true, told once, and never lost between the two.

use smtp::dsn::{Action, MailDsn, Notify, RcptDsn, Ret};

use super::super::sql::NONE;
use super::*;
use crate::StoreError;
use crate::bounce::{DelayedBounce, Recorded};
use crate::dsn::{DsnRequest, DueNotices, Facts, LaterReport};
use crate::traffic::{Resolution, Slice, TrafficQuery};
use crate::webhook::{Subject, Subscription};

const MINUTE: Duration = Duration::from_secs(60);

/// A message whose recipients were given with these NOTIFY; an empty text is none.
fn asking(recipients: &[(&str, &str)]) -> NewMessage {
    let of_recipient = |(_, notify): &(&str, &str)| RcptDsn {
        notify: (!notify.is_empty()).then(|| notify.parse().unwrap()),
        orcpt: notify.contains("SUCCESS").then(|| "rfc822;alias@b.example".parse().unwrap()),
    };
    let dsn = DsnRequest {
        return_to: Some(address("app@sender.example")),
        unasked: true,
        mail: MailDsn { ret: Some(Ret::Full), envid: Some("QQ1".parse().unwrap()) },
        recipients: recipients.iter().map(of_recipient).collect(),
    };
    let names: Vec<&str> = recipients.iter().map(|(name, _)| *name).collect();
    NewMessage { dsn: Some(dsn), ..message(&names) }
}

async fn due(store: &Store, now: Timestamp) -> Option<DueNotices> {
    store.due_notices(now).await.unwrap()
}

fn told(due: &Option<DueNotices>) -> Vec<String> {
    let notices = due.iter().flat_map(|due| &due.notices);
    notices.map(|notice| format!("{} {}", notice.action.as_str(), notice.recipient)).collect()
}

/// Queues a notification that tells all of it.
async fn tell(store: &Store, due: &DueNotices) -> Result<crate::MessageKey, StoreError> {
    let notification = NewMessage { return_path: String::new(), ..message(&["app@sender.example"]) };
    store.notify(notification, due.notices.iter().map(|notice| notice.id).collect()).await
}

#[tokio::test]
async fn who_asked_is_told_and_nobody_else() {
    use NewState::{Bounced, Delivered, Failed, Relayed};
    for (notify, state, expected) in [
        ("", Failed, Some(Action::Failed)),
        ("", Bounced, Some(Action::Failed)),
        ("", Relayed, None),
        ("NEVER", Failed, None),
        ("FAILURE", Failed, Some(Action::Failed)),
        ("FAILURE", Relayed, None),
        ("SUCCESS", Failed, None),
        ("SUCCESS", Relayed, Some(Action::Relayed)),
        ("SUCCESS", Delivered, None),
        ("DELAY", Failed, None),
    ] {
        let directory = Directory::new();
        let store = directory.server().await;
        store.accept(asking(&[("a@example.com", notify)])).await.unwrap();
        // Nobody asked for these.
        store.accept(message(&["a@example.com"])).await.unwrap();
        let null = asking(&[("a@example.com", "SUCCESS,FAILURE")]);
        let dsn = null.dsn.clone().map(|dsn| DsnRequest { return_to: None, ..dsn });
        store.accept(NewMessage { dsn, ..null }).await.unwrap();

        let jobs = claim(&store, 10).await;
        assert_eq!(jobs.len(), 3);
        store.record(soon(), outcomes(&jobs, state, &[failed(Severity::Permanent)])).await.unwrap();
        let found = due(&store, soon()).await;
        let actions: Vec<Action> = found.iter().flat_map(|due| &due.notices).map(|notice| notice.action).collect();
        assert_eq!(actions, expected.into_iter().collect::<Vec<_>>(), "{notify} {state:?}");
        let Some(found) = found else { continue };
        tell(&store, &found).await.unwrap();
        assert_eq!(due(&store, soon() + 100 * MINUTE).await, None, "{notify} {state:?}: once");
    }
}

#[tokio::test]
async fn what_is_told_outlives_a_crash_and_is_told_once() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(asking(&[("a@example.com", "SUCCESS,FAILURE"), ("b@example.org", "")])).await.unwrap();
    let jobs = claim(&store, 10).await;
    let now = Timestamp::now();
    store.record(now, outcomes(&jobs[..1], NewState::Failed, &[failed(Severity::Permanent)])).await.unwrap();
    assert_eq!(due(&store, now).await, None, "another may fail as well, and is waited for");
    assert_eq!(told(&due(&store, now + MINUTE).await), ["failed a@example.com"]);
    store.record(now, outcomes(&jobs[1..], NewState::Failed, &[failed(Severity::Permanent)])).await.unwrap();
    drop(store);

    let store = directory.server().await;
    let found = due(&store, now).await;
    assert_eq!(told(&found), ["failed a@example.com", "failed b@example.org"]);
    let found = found.unwrap();
    assert_eq!((found.return_to.to_string(), found.mail.ret), ("app@sender.example".to_owned(), Some(Ret::Full)));
    assert_eq!(found.notices[0].orcpt.as_ref().unwrap().to_string(), "rfc822;alias@b.example");
    let facts = &found.notices[0].facts;
    assert_eq!((facts.code, facts.status.as_deref(), facts.words.as_str()), (Some(451), Some("2.0.0"), "fine"));
    assert!(!facts.from_host && facts.host.is_none() && facts.attempts == 3);

    tell(&store, &found).await.unwrap();
    // Whoever tells the same again, as after an answer that was lost, queues nothing.
    assert!(matches!(tell(&store, &found).await, Err(StoreError::Conflict(_))));
    assert_eq!(due(&store, soon() + 100 * MINUTE).await, None);
    let jobs = claim(&store, 10).await;
    assert_eq!(addresses(&jobs), ["app@sender.example"]);
    assert!(jobs[0].is_notification && jobs[0].dsn.is_none());
    store.record(soon(), outcomes(&jobs, NewState::Failed, &[failed(Severity::Permanent)])).await.unwrap();
    assert_eq!(due(&store, soon() + 100 * MINUTE).await, None, "nothing is told of a notification");
}

#[tokio::test]
async fn a_delay_is_told_once_and_not_at_once() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(asking(&[("a@example.com", "FAILURE,DELAY")])).await.unwrap();
    let start = Timestamp::now();
    for (minutes, expected) in [(0, 0), (29, 0), (31, 1), (61, 0)] {
        let now = start + minutes * MINUTE;
        let jobs = claim_at(&store, now + 2 * MINUTE, 10, &[]).await;
        let later = NewState::Deferred { until: now };
        store.record(now, outcomes(&jobs, later, &[failed(Severity::Temporary)])).await.unwrap();
        let found = due(&store, now + MINUTE).await;
        assert_eq!(told(&found), vec!["delayed a@example.com"; expected], "after {minutes} minutes");
        if let Some(found) = found {
            tell(&store, &found).await.unwrap();
            let notification = claim_at(&store, soon(), 1, &[]).await;
            store.record(now, outcomes(&notification, NewState::Delivered, &[delivered()])).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_another_server_reports_is_passed_on() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(asking(&[("a@example.com", "SUCCESS,DELAY,FAILURE"), ("b@example.com", "")])).await.unwrap();
    let jobs = claim(&store, 10).await;
    let report = |address: &str, action| LaterReport {
        transaction: jobs[0].recipients[0].id,
        accepted_at: jobs[0].accepted_at.as_micros() / 1_000_000,
        address: Some(super::address(address)),
        action,
        facts: Facts { reported: true, ..Facts::default() },
    };
    let record = |report| store.record_report(Timestamp::now(), report);
    assert_eq!(record(report("a@example.com", Action::Delivered)).await, Ok(Recorded::Early));
    store.record(soon(), outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();
    for (address, action, taken) in [
        ("a@example.com", Action::Delayed, Recorded::Noted),
        ("A@example.com", Action::Delayed, Recorded::Known),
        ("a@example.com", Action::Delivered, Recorded::Noted),
        ("a@example.com", Action::Expanded, Recorded::Known),
        ("b@example.com", Action::Delivered, Recorded::Known),
        ("c@example.com", Action::Delivered, Recorded::Unknown),
    ] {
        assert_eq!(record(report(address, action)).await, Ok(taken), "{address} {action:?}");
    }
    let bounce = DelayedBounce {
        transaction: jobs[0].recipients[0].id,
        accepted_at: jobs[0].accepted_at.as_micros() / 1_000_000,
        address: Some(super::address("b@example.com")),
        code: 550,
        enhanced_code: Some("5.1.1".parse().unwrap()),
        message: "550 5.1.1 no such user".to_owned(),
        no_such_mailbox: false,
        report: serde_json::json!({ "reporting-mta": "mx.example.com" }),
    };
    store.record_bounce(Timestamp::now(), bounce).await.unwrap();
    let found = due(&store, soon()).await;
    assert_eq!(told(&found), ["delayed a@example.com", "delivered a@example.com", "failed b@example.com"]);
    let facts = &found.unwrap().notices[2].facts;
    assert_eq!((facts.host.as_deref(), facts.reported, facts.from_host), (Some("mx.example.com"), true, true));
}

#[tokio::test]
async fn what_was_asked_reaches_the_queue() {
    let directory = Directory::new();
    let store = directory.server().await;
    store
        .accept(asking(&[("a@example.com", "SUCCESS"), ("b@example.com", ""), ("c@example.com", "NEVER")]))
        .await
        .unwrap();
    let jobs = claim(&store, 10).await;
    assert_eq!(jobs[0].dsn.as_ref().map(|dsn| dsn.mail.to_string()).as_deref(), Some(" RET=FULL ENVID=QQ1"));
    let asked: Vec<String> = jobs[0].recipients.iter().map(|recipient| recipient.dsn.to_string()).collect();
    assert_eq!(asked, [" NOTIFY=SUCCESS ORCPT=rfc822;alias@b.example", "", " NOTIFY=NEVER"]);
    assert_eq!(jobs[0].recipients[2].dsn.notify, Some(Notify::default()));
}

#[tokio::test]
async fn notifications_are_not_mail_that_the_domain_sent() {
    let directory = Directory::new();
    let store = directory.server().await;
    let subscribed = store
        .edit_webhooks(None, |all| {
            all.push(Subscription {
                key: "k".to_owned(),
                url: "https://hook.test/".to_owned(),
                description: String::new(),
                subjects: vec![Subject::Accepted, Subject::Delivered],
                created_at: Timestamp::now(),
            });
            Ok::<_, ()>(())
        })
        .await;
    subscribed.unwrap().unwrap();
    store.accept(asking(&[("a@example.com", "")])).await.unwrap();
    let jobs = claim(&store, 10).await;
    store.record(soon(), outcomes(&jobs, NewState::Failed, &[failed(Severity::Permanent)])).await.unwrap();
    tell(&store, &due(&store, soon()).await.unwrap()).await.unwrap();
    let jobs = claim(&store, 10).await;
    store.record(soon(), outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();

    use EventKind::{Accepted, Delivered, Failed};
    assert_eq!(kinds(&all_events(&store).await), [Accepted, Failed, Accepted, Delivered], "the log has all of it");
    let query = TrafficQuery {
        domain: Some(domain("sender.example")),
        slice: Slice::All,
        resolution: Resolution::Day,
        begin: Timestamp::from_secs(0),
        end: soon() + 100 * MINUTE,
        value: None,
        over_time: false,
    };
    let counted: u64 = store.traffic(query).await.unwrap().iter().map(|count| count.count).sum();
    assert_eq!(counted, 2, "the metrics have the message");
    let webhook = store.webhooks(crate::webhook::WebhooksOf::Everybody).await.unwrap().remove(0);
    assert_eq!(store.find_for_webhook(&webhook, webhook.told_to, 100).await.unwrap().events.len(), 1);
}

/// A row that cannot be read keeps nobody else from being told.
#[tokio::test]
async fn damage_holds_up_nobody() {
    let directory = Directory::new();
    let store = directory.server().await;
    for name in ["a@example.com", "b@example.com"] {
        store.accept(asking(&[(name, "")])).await.unwrap();
    }
    let jobs = claim(&store, 10).await;
    store.record(soon(), outcomes(&jobs, NewState::Failed, &[failed(Severity::Permanent)])).await.unwrap();
    let damage = "UPDATE dsn SET return_to = 'nobody' WHERE message = (SELECT min(message) FROM dsn)";
    store.engine().writer.run(0, move |writing| Ok(writing.connection.execute(damage, NONE)?)).await.unwrap();
    assert_eq!(told(&due(&store, soon()).await), ["failed b@example.com"]);
}

#[tokio::test]
async fn nothing_is_forgotten_of_which_somebody_is_still_to_be_told() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(asking(&[("a@example.com", "")])).await.unwrap();
    let jobs = claim(&store, 10).await;
    store.record(soon(), outcomes(&jobs, NewState::Failed, &[failed(Severity::Permanent)])).await.unwrap();
    let later = soon() + 100 * MINUTE;
    let purge = crate::Purge { events_before: later, wire_before: later };
    store.purge(purge).await.unwrap();
    let found = due(&store, later).await.expect("the notice outlives the event");
    tell(&store, &found).await.unwrap();
    assert!(store.purge(purge).await.unwrap().messages > 0, "what is told may go");
}

#[tokio::test]
async fn a_delay_is_not_told_once_the_recipient_is_done() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.accept(asking(&[("a@example.com", "DELAY,FAILURE"), ("b@example.com", "FAILURE")])).await.unwrap();
    let much_later = soon() + 1000 * MINUTE;
    let deferred = NewState::Deferred { until: much_later };
    let jobs = claim(&store, 10).await;
    store.record(much_later, outcomes(&jobs, deferred, &[failed(Severity::Temporary)])).await.unwrap();
    assert_eq!(told(&due(&store, much_later + 1000 * MINUTE).await), ["delayed a@example.com"]);
    let jobs = store.claim(Claim::all(much_later, much_later + MINUTE, 10)).await.unwrap();
    store.record(much_later, outcomes(&jobs, NewState::Failed, &[failed(Severity::Permanent)])).await.unwrap();
    let told = told(&due(&store, much_later + 1000 * MINUTE).await);
    assert_eq!(told, ["failed a@example.com", "failed b@example.com"]);
}
