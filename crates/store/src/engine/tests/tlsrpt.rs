//! Counters of TLS sessions, reports on their way, reports received.

use policy::tlsrpt::{AppliedPolicy, Counted, Day, Failure, Outcome, Report, ResultType, SessionResult};

use super::*;
use crate::tlsrpt::{Kept, NewReceivedTlsReport, NewTlsReport, RECEIVED_PER_DAY, TlsCount, TlsReportState, Via};

fn count(day: i64, destination: &str, reason: Option<&str>, sessions: u64) -> TlsCount {
    let outcome = match reason {
        None => Outcome::Success,
        Some(reason) => Outcome::Failure(Failure {
            failure_reason_code: Some(reason.to_owned()),
            ..Failure::of(ResultType::ValidationFailure)
        }),
    };
    let result = SessionResult::new(AppliedPolicy::none(domain(destination)), outcome);
    TlsCount { day: Day::from_number(day), destination: domain(destination), counted: Counted { result, sessions } }
}

#[tokio::test]
async fn sessions_are_added_up_by_day_domain_and_result() {
    let directory = Directory::new();
    let store = directory.server().await;
    let counts = vec![
        count(7, "b.example", None, 3),
        count(7, "b.example", Some("x"), 1),
        count(7, "b.example", None, 4),
        count(8, "b.example", None, 1),
        count(7, "a.example", None, 1),
        count(9, "a.example", None, 1),
    ];
    store.count_tls(counts).await.unwrap();
    let days = store.tls_days(Day::from_number(9), 10).await.unwrap();
    let named: Vec<_> = days.iter().map(|(day, name)| (day.number(), name.as_str())).collect();
    assert_eq!(named, [(7, "a.example"), (7, "b.example"), (8, "b.example")]);
    assert_eq!(store.tls_days(Day::from_number(9), 1).await.unwrap().len(), 1);

    let mut found = store.tls_results(Day::from_number(7), &domain("b.example")).await.unwrap();
    found.sort_by_key(|counted| counted.sessions);
    assert_eq!(found, [count(7, "b.example", Some("x"), 1).counted, count(7, "b.example", None, 7).counted]);
}

#[tokio::test]
async fn a_domain_with_a_thousand_kinds_of_failure_fills_no_disk() {
    let directory = Directory::new();
    let store = directory.server().await;
    let kinds = (0..1000).map(|number| count(7, "b.example", Some(&number.to_string()), 1));
    store.count_tls(kinds.collect()).await.unwrap();
    let found = store.tls_results(Day::from_number(7), &domain("b.example")).await.unwrap();
    assert_eq!(found.len(), 201);
    assert_eq!(found.iter().map(|counted| counted.sessions).sum::<u64>(), 1000, "none is lost");
    // The policies themselves may be a stranger's too.
    let policies = (0..1000).map(|number| {
        let mut count = count(7, "b.example", None, 1);
        let policy = AppliedPolicy::none(domain(&format!("p{number}.example")));
        count.counted.result = SessionResult::new(policy, Outcome::Success);
        count
    });
    store.count_tls(policies.collect()).await.unwrap();
    assert_eq!(store.tls_results(Day::from_number(7), &domain("b.example")).await.unwrap().len(), 400);
}

#[tokio::test]
async fn a_report_takes_the_place_of_its_counters_and_is_tried_until_it_is_done() {
    let directory = Directory::new();
    let store = directory.server().await;
    let (day, name) = (Day::from_number(7), domain("b.example"));
    store.count_tls(vec![count(7, "b.example", None, 1), count(7, "c.example", None, 1)]).await.unwrap();
    let now = Timestamp::from_secs(1_000_000);
    let places = ["mailto:tls@b.example", "https://b.example/r"].map(|place| place.parse().unwrap()).to_vec();
    let report = NewTlsReport { id: "1@x.example".to_owned(), content: b"gz".to_vec(), places, now };
    store.file_tls_report(day, &name, Some(report)).await.unwrap();
    store.file_tls_report(day, &domain("c.example"), None).await.unwrap();
    assert_eq!(store.tls_days(Day::from_number(99), 10).await.unwrap(), []);

    assert_eq!(store.due_tls_reports(now - Duration::from_secs(1), 10).await.unwrap(), []);
    let due = store.due_tls_reports(now, 10).await.unwrap();
    assert_eq!(
        due.iter().map(|report| report.place.to_string()).collect::<Vec<_>>(),
        ["mailto:tls@b.example", "https://b.example/r"]
    );
    assert_eq!((due[0].day, &due[0].destination, due[0].attempts, due[0].made_at), (day, &name, 0, now));
    assert_eq!(store.tls_report_content(due[1].id).await.unwrap(), b"gz");

    let later = now + Duration::from_secs(600);
    store.set_tls_report(due[0].id, TlsReportState::Sent, "queued").await.unwrap();
    store.set_tls_report(due[1].id, TlsReportState::Waiting(later), "answered 503").await.unwrap();
    assert_eq!(store.due_tls_reports(now, 10).await.unwrap(), []);
    let again = store.due_tls_reports(later, 10).await.unwrap();
    assert_eq!((again.len(), again[0].attempts, again[0].last.as_str()), (1, 1, "answered 503"));
    store.set_tls_report(again[0].id, TlsReportState::Failed, "answered 503").await.unwrap();
    // What is done stays as it is.
    store.set_tls_report(again[0].id, TlsReportState::Waiting(later), "late").await.unwrap();
    let (total, kept) = store.tls_reports_sent(10, 0).await.unwrap();
    let states: Vec<_> = kept.iter().map(|report| report.state).collect();
    assert_eq!((total, states), (2, vec![TlsReportState::Failed, TlsReportState::Sent]));
    assert_eq!(store.tls_reports_sent(1, 1).await.unwrap().1, kept[1..]);
}

fn report(id: &str) -> Report {
    let text = format!(
        r#"{{"organization-name":"X","date-range":{{"start-datetime":"a","end-datetime":"b"}},"report-id":"{id}",
        "policies":[{{"policy":{{"policy-type":"sts","policy-domain":"sender.example"}},"summary":{{}}}}]}}"#
    );
    Report::parse(text.as_bytes()).unwrap()
}

fn received(id: &str, now: Timestamp) -> NewReceivedTlsReport {
    NewReceivedTlsReport { domain: domain("sender.example"), via: Via::Https, report: report(id), now }
}

#[tokio::test]
async fn received_reports_are_kept_once_and_not_without_end() {
    let directory = Directory::new();
    let store = directory.server().await;
    let now = Timestamp::from_secs(1_000_000);
    assert_eq!(store.receive_tls_report(received("0", now)).await, Ok(Kept::New));
    assert_eq!(store.receive_tls_report(received("0", now)).await, Ok(Kept::Known));
    for number in 1..RECEIVED_PER_DAY {
        assert_eq!(store.receive_tls_report(received(&number.to_string(), now)).await, Ok(Kept::New));
    }
    assert_eq!(store.receive_tls_report(received("one more", now)).await, Ok(Kept::TooMany));
    let other = NewReceivedTlsReport { domain: domain("other.example"), via: Via::Mail, ..received("0", now) };
    assert_eq!(store.receive_tls_report(other).await, Ok(Kept::New));
    let tomorrow = now + Duration::from_secs(24 * 3600);
    assert_eq!(store.receive_tls_report(received("one more", tomorrow)).await, Ok(Kept::New));

    let (total, page) = store.tls_reports_received(Some(&domain("sender.example")), 2, 0).await.unwrap();
    assert_eq!((total, page.len()), (u64::from(RECEIVED_PER_DAY) + 1, 2));
    assert_eq!((page[0].received_at, &page[0].report, page[0].via), (tomorrow, &report("one more"), Via::Https));
    assert_eq!(store.tls_reports_received(None, 500, 0).await.unwrap().1.len(), RECEIVED_PER_DAY as usize + 2);
}

#[tokio::test]
async fn what_is_old_goes_and_what_waits_stays() {
    let directory = Directory::new();
    let store = directory.server().await;
    let now = Timestamp::from_secs(1_000_000);
    store.count_tls(vec![count(7, "b.example", None, 1), count(9, "b.example", None, 1)]).await.unwrap();
    store.receive_tls_report(received("0", now)).await.unwrap();
    let places = ["mailto:tls@b.example", "mailto:x@b.example"].map(|place| place.parse().unwrap()).to_vec();
    let new = NewTlsReport { id: "1@x.example".to_owned(), content: Vec::new(), places, now };
    store.file_tls_report(Day::from_number(6), &domain("b.example"), Some(new)).await.unwrap();
    let due = store.due_tls_reports(now, 10).await.unwrap();
    store.set_tls_report(due[0].id, TlsReportState::Sent, "").await.unwrap();

    store.purge_tls_reports(now + Duration::from_secs(1), Day::from_number(9)).await.unwrap();
    assert_eq!(store.tls_days(Day::from_number(99), 10).await.unwrap(), [(Day::from_number(9), domain("b.example"))]);
    assert_eq!(store.tls_reports_sent(10, 0).await.unwrap().0, 1);
    assert_eq!(store.tls_reports_received(None, 10, 0).await.unwrap(), (0, Vec::new()));
}
