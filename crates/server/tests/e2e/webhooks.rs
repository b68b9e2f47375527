//! Webhooks of the built program: every event is told, whatever is killed when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use testkit::Lab;
use tokio::net::TcpListener;

use crate::world::{DOMAIN, PATIENCE, World};

type Told = Arc<Mutex<Vec<Value>>>;

/// A receiver that fails now and then, and what it was told.
async fn receiver(fails_every: usize) -> (String, Told) {
    let told = Told::default();
    let taken = told.clone();
    let take = move |body: Bytes| {
        let mut told = taken.lock().unwrap();
        told.push(serde_json::from_slice(&body).unwrap());
        let fails = fails_every > 0 && told.len() % fails_every == 0;
        async move { if fails { StatusCode::NOT_ACCEPTABLE } else { StatusCode::OK } }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/hook", post(take))).await });
    (url, told)
}

fn by_id(told: &Told) -> BTreeMap<String, Vec<Value>> {
    let mut by_id: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for payload in told.lock().unwrap().iter() {
        let event = payload["event-data"].clone();
        by_id.entry(event["id"].as_str().unwrap().to_owned()).or_default().push(event);
    }
    by_id
}

/// The event without the URL of its message: each start of the server has another port.
fn portless(event: &Value) -> Value {
    let mut event = event.clone();
    event["storage"]["url"].take();
    event
}

/// SIGKILL in the midst of it, several times: every event of the events API is told at least once, as that API has it.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_told_whatever_is_killed() {
    let lab = Lab::start().await.unwrap();
    let mut world = World::start_with(lab, &[("webhook_allow_networks", "127.0.0.1")]).await;
    let (url, told) = receiver(7).await;
    let path = format!("/v4/domains/{DOMAIN}/webhooks");
    let kinds = [("url", url.as_str()), ("event_types", "accepted,delivered,temporary_fail,permanent_fail")];
    world.post(&path, &kinds).await;
    for round in 0..3 {
        for _ in 0..8 {
            world.send("a@good.test", &[]).await;
        }
        tokio::time::sleep(Duration::from_millis(300 * round)).await;
        world.kill();
        world.run();
    }
    let last = world.send("a@good.test", &[]).await;
    world.events_of(&last, 1).await;

    let end = Instant::now() + PATIENCE;
    loop {
        let page = world.get(&format!("/v3/{DOMAIN}/events?limit=300")).await;
        let (events, told) = (page["items"].as_array().unwrap().clone(), by_id(&told));
        let missing = events.iter().filter(|event| !told.contains_key(event["id"].as_str().unwrap())).count();
        // Each of the messages is accepted, and each is delivered.
        if missing == 0 && events.len() >= 2 * 25 {
            for event in &events {
                let event = portless(event);
                let told = &told[event["id"].as_str().unwrap()];
                assert!(told.iter().all(|as_told| portless(as_told) == event), "{event}");
            }
            println!("{} events, told {} times", events.len(), told.values().map(Vec::len).sum::<usize>());
            break;
        }
        assert!(Instant::now() < end, "{missing} of {} events were not told", events.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let delivered = by_id(&told).into_values().flatten().find(|event| event["event"] == "delivered").unwrap();
    let status = &delivered["delivery-status"];
    assert_eq!((&status["tls"], &status["certificate-verified"]), (&true.into(), &true.into()), "{status}");
    assert!(status["mx-host"].is_string() && status["tls-details"].is_object(), "{status}");
}
