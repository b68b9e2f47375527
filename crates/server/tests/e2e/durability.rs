//! What was acknowledged is delivered, whatever is killed when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use testkit::{Behaviour, Lab, Stage};

use crate::world::{PATIENCE, World};

/// Connections to the one destination of these tests.
const CONNECTIONS: usize = 5;

/// SIGKILL while messages come in and go out, several times; then everything acknowledged arrives, and at most what
/// was on an open connection arrives twice.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_sigkill() {
    const KILLS: usize = 3;
    let mut lab = Lab::empty().await.unwrap();
    let slow = Behaviour { delays: [(Stage::EndOfData, Duration::from_millis(5))].into(), ..Behaviour::default() };
    let receiver = lab.add("sink", slow).await.unwrap();
    let connections = CONNECTIONS.to_string();
    let mut world = World::start_with(lab, &[("concurrency_per_site", connections.as_str())]).await;

    let mut acknowledged = BTreeSet::new();
    for round in 0..KILLS {
        acknowledged.extend(inject_until_killed(&mut world, Duration::from_millis(300 + 150 * round as u64)).await);
        world.run();
    }
    assert!(acknowledged.len() > KILLS, "hardly anything was sent: {}", acknowledged.len());

    let end = Instant::now() + PATIENCE;
    let arrivals = loop {
        let arrivals = arrivals(&receiver);
        if acknowledged.iter().all(|id| arrivals.contains_key(id)) {
            break arrivals;
        }
        let missing = acknowledged.iter().filter(|id| !arrivals.contains_key(*id)).count();
        assert!(Instant::now() < end, "{missing} of {} acknowledged messages are lost", acknowledged.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let repeated: usize = arrivals.values().map(|count| count - 1).sum();
    println!("{} acknowledged, {} arrived, {repeated} of them again", acknowledged.len(), arrivals.len());
    assert!(repeated <= KILLS * CONNECTIONS, "{repeated} messages were delivered again");
}

/// Sends from several clients; kills the server in the midst; gives the ids that were answered.
async fn inject_until_killed(world: &mut World, after: Duration) -> Vec<String> {
    let acknowledged = {
        let world = &*world;
        let end = tokio::time::Instant::now() + after;
        let client = async |_| {
            let mut ids = Vec::new();
            while tokio::time::Instant::now() < end {
                match tokio::time::timeout_at(end, world.try_send("a@sink.test", &[])).await {
                    Ok(Ok(id)) => ids.push(id),
                    Ok(Err(error)) => panic!("{error}"),
                    Err(_) => break,
                }
            }
            ids
        };
        let (a, b, c, d) = tokio::join!(client(0), client(1), client(2), client(3));
        [a, b, c, d].concat()
    };
    world.kill();
    acknowledged
}

/// How often each Message-ID arrived.
fn arrivals(receiver: &testkit::Receiver) -> BTreeMap<String, usize> {
    let mut arrivals = BTreeMap::new();
    for message in receiver.messages() {
        let text = message.text();
        let id = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("message-id").then(|| value.trim().trim_matches(['<', '>']).to_owned())
        });
        *arrivals.entry(id.expect("every message has an id")).or_default() += 1;
    }
    arrivals
}

/// SIGTERM ends in good order: what runs is finished, nothing is delivered twice, and the next start goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_graceful_and_a_restart_goes_on() {
    let mut lab = Lab::empty().await.unwrap();
    let slow = Behaviour { delays: [(Stage::EndOfData, Duration::from_millis(300))].into(), ..Behaviour::default() };
    let receiver = lab.add("slow", slow).await.unwrap();
    let mut world = World::start_with(lab, &[("concurrency_per_site", "2")]).await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(world.send("a@slow.test", &[]).await);
    }
    assert_eq!(world.terminate(), Some(0));
    let before = receiver.messages().len();
    assert!(before < 8, "the stop came before all were delivered");
    world.run();
    for id in &ids {
        assert_eq!(world.outcome_of(id).await["event"], "delivered");
    }
    assert_eq!(receiver.messages().len(), 8, "each message once");
}

/// A stop that does not wait for a slow receiver: it ends in time, nothing is told of the attempt that was cut short,
/// and the next start delivers. The message may arrive twice, since its final dot was in flight.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_little_patience_loses_nothing() {
    let mut lab = Lab::empty().await.unwrap();
    let slow = Behaviour { delays: [(Stage::EndOfData, Duration::from_secs(120))].into(), ..Behaviour::default() };
    let receiver = lab.add("slow", slow).await.unwrap();
    let mut world = World::start_with(lab, &[("shutdown_grace", "1s"), ("concurrency_per_site", "2")]).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(world.send("a@slow.test", &[]).await);
    }
    let begun = Instant::now();
    while receiver.sessions().len() < 2 {
        assert!(begun.elapsed() < PATIENCE, "nothing is attempted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let begun = Instant::now();
    assert_eq!(world.terminate(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());

    receiver.behave(Behaviour::default()).unwrap();
    world.run();
    for id in &ids {
        let told = world.events_of(id, 1).await;
        assert_eq!((told.len(), told[0]["event"].as_str()), (1, Some("delivered")), "{told:?}");
        assert_eq!(told[0]["delivery-status"]["attempt-no"], 1, "an attempt that was cut short is not counted");
    }
    let arrivals = arrivals(&receiver);
    assert_eq!(arrivals.len(), 4);
    assert!(arrivals.values().sum::<usize>() <= 4 + 2, "{arrivals:?}");
}
