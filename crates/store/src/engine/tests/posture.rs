//! Counts of how mail travelled, and the memory that tells of downgrades.

use std::time::Instant;

use policy::tls::{Observed, TlsPolicy};
use serde_json::{Value, json};

use super::super::sql::NONE;
use super::super::{posture, posture_read};
use super::*;
use crate::Purge;
use crate::posture::{Count, Ending, Period, Posture, PostureQuery, Protected, Span, WhatIfQuery};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The evidence of an attempt.
fn evidence(observed: Observed, protection: Option<Protected>) -> AttemptRecord {
    let (verification, reason) = match observed {
        Observed::Verified => (json!("ok"), Value::Null),
        Observed::Unverified => (json!("certificate-expired"), json!("certificate-expired")),
        Observed::NotOffered => (Value::Null, json!("starttls-not-supported")),
        Observed::Refused => (Value::Null, json!("starttls-refused")),
        Observed::HandshakeFailed => (Value::Null, json!("handshake-failed")),
    };
    let mut details = json!({ "observed": observed.as_str(), "verification": verification });
    let encrypted = matches!(protection, Some(Protected::Encrypted | Protected::Verified));
    if encrypted {
        details["version"] = json!("TLSv1.3");
        details["key-exchange"] = json!("X25519");
        details["certificate"] = json!({ "subject": "CN=mx", "sha256": "ab", "sans": ["mx"] });
    }
    if protection == Some(Protected::Plaintext) {
        details["fallback"] = reason.clone();
    }
    let result = if protection.is_some() { "delivered" } else { "left" };
    details["steps"] = json!([{ "result": result, "reason": reason }]);
    let connection = ConnectionRecord {
        mx_host: "mx.example.net".to_owned(),
        tls: encrypted,
        certificate_verified: protection == Some(Protected::Verified),
        sending_ip: None,
    };
    AttemptRecord { details, connection: Some(connection), ..attempt() }
}

fn told(attempt: AttemptRecord, protection: Option<Protected>) -> NewEvent {
    match protection {
        Some(_) => NewEvent { attempt: Some(attempt), ..delivered() },
        None => NewEvent { attempt: Some(attempt), ..failed(Severity::Temporary) },
    }
}

/// Accepts a message for `recipients` and records an attempt at `now`.
async fn attempted(store: &Store, now: Timestamp, recipients: &[&str], event: NewEvent) {
    store.accept(message(recipients)).await.unwrap();
    let jobs = claim(store, 100).await;
    let state = match event.kind {
        EventKind::Delivered => NewState::Delivered,
        _ => NewState::Failed,
    };
    store.record(now, outcomes(&jobs, state, &[event])).await.unwrap();
}

async fn seen(store: &Store, now: Timestamp, to: &str, observed: Observed, protection: Option<Protected>) {
    attempted(store, now, &[to], told(evidence(observed, protection), protection)).await;
}

async fn posture_of(store: &Store, begin: Timestamp, end: Timestamp, resolution: Option<Span>) -> Vec<Posture> {
    let period = Period::covering(begin, end);
    let query = PostureQuery { domain: None, destination: None, period, resolution, limit: 100, skip: 0 };
    let page = store.posture(query).await.unwrap();
    assert_eq!(page.total, page.items.len() as u64);
    page.items
}

fn recipients<'a>(counts: impl IntoIterator<Item = &'a Count>) -> u64 {
    counts.into_iter().map(|count| count.recipients).sum()
}

/// A midnight by UTC.
fn midnight() -> Timestamp {
    Timestamp::from_secs(1_700_006_400)
}

#[tokio::test]
async fn attempts_are_counted_by_how_they_went() {
    let directory = Directory::new();
    let store = directory.server().await;
    let now = midnight();
    seen(&store, now, "a@one.example", Observed::Verified, Some(Protected::Verified)).await;
    seen(&store, now + HOUR, "a@one.example", Observed::Unverified, Some(Protected::Plaintext)).await;
    seen(&store, now + HOUR, "a@one.example", Observed::Unverified, Some(Protected::Encrypted)).await;
    seen(&store, now + HOUR, "a@one.example", Observed::NotOffered, None).await;
    let three = ["a@two.example", "b@two.example", "c@two.example"];
    let mut by_dane = evidence(Observed::Verified, Some(Protected::Verified));
    by_dane.details["dane"] = json!({ "state": "secure", "verdict": "ok" });
    by_dane.details["mta-sts"] = json!({ "mode": "testing" });
    attempted(&store, now, &three, told(by_dane, Some(Protected::Verified))).await;
    let refused = AttemptRecord { details: json!({ "steps": [{ "result": "not-delivered" }] }), ..attempt() };
    attempted(&store, now, &three[..1], told(AttemptRecord { code: 550, ..refused }, None)).await;

    let items = posture_of(&store, now, now + 2 * HOUR, None).await;
    let names: Vec<_> = items.iter().map(|item| item.destination.as_str()).collect();
    assert_eq!(names, ["one.example", "two.example"]);
    let ways: Vec<_> = items[0].ways.iter().map(|(way, count)| (way.clone(), count.recipients)).collect();
    let find = |ending, protected| ways.iter().find(|(way, _)| (way.ending, way.protected) == (ending, protected));
    let (verified, count) = find(Ending::Delivered, Some(Protected::Verified)).unwrap();
    assert_eq!((verified.version.as_str(), verified.key_exchange.as_str(), *count), ("TLSv1.3", "X25519", 1));
    assert_eq!(verified.reason, "");
    assert_eq!(find(Ending::Delivered, Some(Protected::Plaintext)).unwrap().0.reason, "certificate-expired");
    assert_eq!(find(Ending::Delivered, Some(Protected::Encrypted)).unwrap().0.reason, "certificate-expired");
    assert_eq!(find(Ending::Left, None).unwrap().0.reason, "starttls-not-supported");
    assert_eq!(items[0].hosts[0].0, "mx.example.net");
    assert_eq!(recipients(items[0].hosts.iter().map(|(_, count)| count)), 4);

    let (way, count) = &items[1].ways[0];
    assert!(way.by_dane && !way.by_mta_sts, "testing enforces nothing");
    assert_eq!((count.recipients, count.messages, count.first_at), (3, 1, now), "one message for three");
    assert_eq!((items[1].ways[1].0.ending, items[1].ways[1].0.reason.as_str()), (Ending::Failed, "550"));
}

/// The first host was left, the second did not answer: the first is what is reported, and what is counted.
#[tokio::test]
async fn the_host_that_decided_is_the_one_that_counts() {
    let directory = Directory::new();
    let store = directory.server().await;
    let mut left = evidence(Observed::Refused, None);
    left.details["steps"] = json!([
        { "host": "mx.example.net", "result": "left", "reason": "starttls-refused" },
        { "host": "mx2.example.net", "result": "connection-failed", "reason": "connection-failed" },
    ]);
    attempted(&store, midnight(), &["a@example.net"], told(left, None)).await;
    let items = posture_of(&store, midnight(), midnight() + HOUR, None).await;
    assert_eq!((items[0].ways[0].0.ending, items[0].ways[0].0.reason.as_str()), (Ending::Left, "starttls-refused"));
    // What strangers name is cut: names of versions, and of certificates.
    let mut long = evidence(Observed::Verified, Some(Protected::Verified));
    long.details["version"] = json!("ü".repeat(500));
    long.details["certificate"]["subject"] = json!("x".repeat(60_000));
    attempted(&store, midnight(), &["a@long.example"], told(long, Some(Protected::Verified))).await;
    let items = posture_of(&store, midnight(), midnight() + HOUR, None).await;
    let version = &items.iter().find(|item| item.destination == "long.example").unwrap().ways[0].0.version;
    assert_eq!(version.len(), 254);
    let longest = store.engine().readers.run(|connection| {
        Ok(connection.query_row("SELECT max(length(before)) FROM tls_history", NONE, |row| row.get::<_, i64>(0))?)
    });
    assert!(longest.await.unwrap() < 1000);
}

#[tokio::test]
async fn every_range_counts_each_attempt_once() {
    let directory = Directory::new();
    let store = directory.server().await;
    // One attempt in each of 75 hours.
    let first = midnight() + 5 * HOUR;
    let hours: Vec<Timestamp> = (0..75).map(|hour| first + hour * HOUR).collect();
    for hour in &hours {
        seen(&store, *hour + Duration::from_secs(1), "a@example.net", Observed::Refused, None).await;
    }
    for (begin, end) in [(0, 75), (0, 1), (3, 20), (18, 20), (19, 43), (18, 68), (19, 67), (40, 41), (50, 50), (0, 0)] {
        for resolution in [None, Some(Span::Hour), Some(Span::Day)] {
            let (from, until) = (first + begin * HOUR, first + end * HOUR);
            let found = posture_of(&store, from, until, resolution).await;
            let counted = recipients(found.iter().flat_map(|item| item.ways.iter().map(|(_, count)| count)));
            assert_eq!(counted, u64::from(end - begin), "{begin}..{end} {resolution:?}");
            let Some(span) = resolution else { continue };
            let over_time: Vec<_> = found.iter().flat_map(|item| &item.over_time).collect();
            assert_eq!(recipients(over_time.iter().map(|(_, _, count)| count)), counted);
            assert!(over_time.iter().all(|(start, ..)| span.start(*start) == *start));
            let expected = if span == Span::Hour { (end - begin) as usize } else { over_time.len() };
            assert_eq!(over_time.len(), expected);
        }
    }
}

#[tokio::test]
async fn what_would_have_been_kept_back_is_what_the_table_says() {
    let directory = Directory::new();
    let store = directory.server().await;
    let now = midnight();
    for (number, observed) in Observed::ALL.into_iter().enumerate() {
        for recipient in 0..=number {
            let protection =
                Some(if observed == Observed::Verified { Protected::Verified } else { Protected::Plaintext });
            let to = format!("r{recipient}@{}.example", observed.as_str());
            seen(&store, now, &to, observed, protection).await;
        }
        // What was not delivered is no delivery that could have been kept back.
        seen(&store, now, "x@left.example", observed, None).await;
    }
    attempted(&store, now, &["x@old.example"], delivered()).await;
    for policy in TlsPolicy::ALL {
        let kept_back_by: Vec<_> =
            Observed::ALL.into_iter().filter(|saw| !policy::posture::would_deliver(policy, *saw)).collect();
        let expected: usize =
            kept_back_by.iter().map(|saw| 1 + Observed::ALL.iter().position(|o| o == saw).unwrap()).sum();
        let query = WhatIfQuery {
            domain: Some(domain("sender.example")),
            period: Period::covering(now, now + HOUR),
            kept_back_by: kept_back_by.clone(),
            limit: 100,
            skip: 0,
        };
        let answer = store.what_if(query.clone()).await.unwrap();
        assert_eq!(answer.kept_back.map_or(0, |count| count.recipients), expected as u64, "{policy:?}");
        assert_eq!(answer.delivered.unwrap().recipients, 15 - expected as u64, "{policy:?}");
        assert_eq!(answer.unknown.unwrap().recipients, 1, "no evidence, no answer");
        assert_eq!((answer.total as usize, answer.items.len()), (kept_back_by.len(), kept_back_by.len()));
        for item in &answer.items {
            let (observed, reason, host, count) = &item.because[0];
            assert_eq!(item.destination, format!("{}.example", observed.as_str()));
            assert!(!reason.is_empty() && host == "mx.example.net" && *count == item.kept_back && item.delivered == 0);
        }
        let other = WhatIfQuery { domain: Some(domain("other.example")), ..query };
        assert_eq!(store.what_if(other).await.unwrap(), Default::default());
    }
}

async fn downgrades(store: &Store) -> Vec<Event> {
    let filter = Filter::Is(crate::Field::Event, "tls-downgraded".to_owned());
    store.events(query(filter)).await.unwrap()
}

#[tokio::test]
async fn a_destination_that_stops_is_told_of_once_a_day() {
    let directory = Directory::new();
    let store = directory.server().await;
    let mut now = midnight();
    let verified = Some(Protected::Verified);
    for _ in 0..2 {
        seen(&store, now, "a@example.net", Observed::Verified, verified).await;
    }
    seen(&store, now, "a@example.net", Observed::NotOffered, None).await;
    assert_eq!(downgrades(&store).await, [], "two deliveries are no habit");
    seen(&store, now, "a@example.net", Observed::Verified, verified).await;
    seen(&store, now, "b@elsewhere.example", Observed::NotOffered, Some(Protected::Plaintext)).await;
    assert_eq!(downgrades(&store).await, []);

    now = now + DAY;
    for _ in 0..5 {
        seen(&store, now, "a@example.net", Observed::Unverified, None).await;
    }
    let found = downgrades(&store).await;
    assert_eq!(found.len(), 1, "one a day: {found:#?}");
    let story = found[0].downgrade.as_ref().unwrap();
    assert_eq!((&story["destination"], &story["habit-of"]), (&json!("example.net"), &json!("host")));
    assert_eq!((&story["before"]["observed"], &story["before"]["version"]), (&json!("verified"), &json!("TLSv1.3")));
    assert_eq!((&story["before"]["deliveries"], &story["before"]["certificate"]["sha256"]), (&json!(3), &json!("ab")));
    assert_eq!((&story["after"]["observed"], &story["after"]["ending"]), (&json!("unverified"), &json!("left")));
    assert_eq!(story["after"]["reason"], "certificate-expired");
    assert_eq!(found[0].recipient, address("a@example.net"));

    // Nothing came through, so the habit stands, and a day later it is told again.
    now = now + DAY;
    seen(&store, now, "a@example.net", Observed::NotOffered, Some(Protected::Plaintext)).await;
    assert_eq!(downgrades(&store).await.len(), 2);
    // But this went through in plaintext: that is the habit now.
    seen(&store, now + 2 * DAY, "a@example.net", Observed::NotOffered, Some(Protected::Plaintext)).await;
    assert_eq!(downgrades(&store).await.len(), 2);
}

#[tokio::test]
async fn damaged_memories_hold_up_nothing() {
    let directory = Directory::new();
    let store = directory.server().await;
    let now = midnight();
    for _ in 0..3 {
        seen(&store, now, "a@example.net", Observed::Verified, Some(Protected::Verified)).await;
    }
    let damage =
        |sql: &'static str| store.engine().writer.run(0, move |writing| Ok(writing.connection.execute(sql, NONE)?));
    damage("UPDATE tls_history SET before = '{'").await.unwrap();
    seen(&store, now, "a@example.net", Observed::Refused, None).await;
    assert_eq!(downgrades(&store).await[0].downgrade.as_ref().unwrap()["before"], Value::Null);
    damage("UPDATE tls_history SET recent = 'x'").await.unwrap();
    seen(&store, now, "a@example.net", Observed::Refused, None).await;
    assert_eq!(posture_of(&store, now, now + HOUR, None).await[0].ways.len(), 2);
}

#[tokio::test]
async fn counts_and_memories_go_with_the_events() {
    let directory = Directory::new();
    let store = directory.server().await;
    for day in 0..4 {
        seen(
            &store,
            midnight() + day * DAY,
            &format!("a@d{day}.example"),
            Observed::Verified,
            Some(Protected::Verified),
        )
        .await;
    }
    let before = midnight() + 2 * DAY + HOUR;
    store.purge(Purge { events_before: before, wire_before: before }).await.unwrap();
    let left = store.engine().readers.run(|connection| {
        let mut select = connection.prepare_cached(
            "SELECT span || ' ' || destination FROM tls_posture
            UNION ALL SELECT count(*) || ' histories' FROM tls_history ORDER BY 1",
        )?;
        let left = select.query_map(NONE, |row| row.get::<_, String>(0))?;
        Ok(left.collect::<Result<Vec<_>, _>>()?)
    });
    assert_eq!(left.await.unwrap(), ["2 histories", "day d2.example", "day d3.example", "hour d3.example"]);
}

#[tokio::test]
async fn counts_are_read_along_the_primary_key() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    for (sql, index) in [
        (posture_read::pairs_sql(), "PRIMARY KEY (span=? AND domain=? AND start>? AND start<?)"),
        (posture::NEXT_DOMAIN.to_owned(), "PRIMARY KEY (span=? AND domain>?)"),
        (posture::OLDEST.to_owned(), "PRIMARY KEY (span=? AND domain=? AND start<?)"),
        (posture::HISTORY.to_owned(), "(domain=? AND destination=? AND mx_host=?)"),
        (super::super::purge::OLD_HISTORIES.to_owned(), "tls_history_age (last_at<?)"),
    ] {
        let plan = super::plans::plan(&store, sql).await;
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.lines().any(|line| line.contains("SCAN tls_") || line.contains("SCAN p")), "{plan}");
    }
}

/// Figures for `docs/tls-posture.md`; run it by name, in a release build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure() {
    let directory = Directory::new();
    let store = directory.server().await;
    let sql = "
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999),
            h(t) AS (SELECT 0 UNION ALL SELECT t + 1 FROM h WHERE t < 719)
        INSERT INTO tls_posture SELECT 'hour', 'sender.example', t * 3600000000, 'd' || i || '.example', 'delivered',
            'verified', 'verified', 0, 0, 'TLSv1.3', 'X25519', '', 'mx.d' || i || '.example', 3, 3, 0, 0
        FROM n, h WHERE (i + t) % 5 = 0";
    let days = "
        INSERT INTO tls_posture SELECT 'day', domain, start - start % 86400000000, destination, ending, protected,
            observed, by_dane, by_mta_sts, version, key_exchange, reason, mx_host, sum(recipients), sum(messages), 0, 0
        FROM tls_posture WHERE span = 'hour' GROUP BY start - start % 86400000000, destination";
    for sql in [sql, days] {
        store.engine().writer.run(0, move |writing| Ok(writing.connection.execute(sql, NONE)?)).await.unwrap();
    }
    let size = std::fs::metadata(directory.0.join("waxwing.db")).unwrap().len();
    println!("30 days of 10000 destinations, each in every fifth hour: {} MiB", size >> 20);
    let hour = Timestamp::from_secs;
    for (what, begin, end) in [("7 days", 20 * 86_400 + 7200, 27 * 86_400 + 7200), ("30 days", 0, 30 * 86_400)] {
        let began = Instant::now();
        let items = {
            let period = Period::covering(hour(begin), hour(end));
            let query = PostureQuery { domain: None, destination: None, period, resolution: None, limit: 100, skip: 0 };
            store.posture(query).await.unwrap()
        };
        println!("posture of {what}: {:?}, {} pairs", began.elapsed(), items.total);
    }
    let per_event = counting_costs(&store).await;
    println!("an outcome: its event {:?}, its counts and memories {:?}", per_event.0, per_event.1);
}

/// What an event costs and what counting it costs, each in one transaction without its sync.
async fn counting_costs(store: &Store) -> (Duration, Duration) {
    const OUTCOMES: u32 = 20_000;
    store.accept(message(&["a@example.net"])).await.unwrap();
    let message = claim(store, 1).await[0].message;
    let told = told(evidence(Observed::Verified, Some(Protected::Verified)), Some(Protected::Verified));
    let event = told.clone();
    let events = store.engine().writer.run(0, move |writing| {
        let began = Instant::now();
        for _ in 0..OUTCOMES {
            super::super::event::insert(writing, soon(), message, "sender.example", "a@example.net", &event)?;
        }
        Ok(began.elapsed() / OUTCOMES)
    });
    let events = events.await.unwrap();
    let counts = store.engine().writer.run(0, move |writing| {
        let began = Instant::now();
        for number in 0..OUTCOMES {
            let destination = format!("d{}.example", number % 5000);
            let (domain, address) = ("sender.example".to_owned(), format!("a@{destination}"));
            let mut tally = posture::Tally::default();
            tally.add(
                soon(),
                &posture::Recorded { message, domain, destination, address },
                std::slice::from_ref(&told),
            );
            tally.write(writing)?;
        }
        Ok(began.elapsed() / OUTCOMES)
    });
    (events, counts.await.unwrap())
}
