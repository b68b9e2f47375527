//! Suppression lists, as they act on what is sent.

use serde_json::json;
use testkit::{Answer, Behaviour, Lab};

use crate::world::{DOMAIN, World};

#[tokio::test(flavor = "multi_thread")]
async fn who_is_on_a_list_gets_nothing_and_the_event_says_why() {
    let mut lab = Lab::empty().await.unwrap();
    let receiver = lab.add("good", Behaviour::default()).await.unwrap();
    let world = World::start(lab).await;
    let add = |list: &'static str, address: &'static str, tag: &'static str| {
        let (world, path) = (&world, format!("/v3/{DOMAIN}/{list}"));
        async move { world.post(&path, &[("address", address), ("tags", tag)]).await }
    };
    add("bounces", "bounced@good.test", "").await;
    add("unsubscribes", "gone@good.test", "").await;
    add("unsubscribes", "picky@good.test", "News").await;
    add("complaints", "angry@good.test", "").await;
    add("whitelists", "plain@good.test", "").await;
    let to = "Bounced@good.test, gone@good.test, picky@good.test, angry@good.test, plain@good.test";
    for (tag, picky) in [("news", Some(606)), ("receipts", None)] {
        let id = world.send(to, &[("o:tag", tag)]).await;
        for event in world.events_of(&id, 5).await {
            let (code, reason) = match event["recipient"].as_str().unwrap() {
                "Bounced@good.test" => (Some(605), "suppress-bounce"),
                "gone@good.test" => (Some(606), "suppress-unsubscribe"),
                "picky@good.test" => (picky, "suppress-unsubscribe"),
                "angry@good.test" => (Some(607), "suppress-complaint"),
                _ => (None, ""),
            };
            let status = &event["delivery-status"];
            match code {
                None => assert_eq!(event["event"], "delivered", "{event:#}"),
                Some(code) => {
                    assert_eq!((&event["event"], &event["severity"]), (&json!("failed"), &json!("permanent")));
                    assert_eq!((&status["code"], &event["reason"]), (&json!(code), &json!(reason)), "{event:#}");
                    let connection = ["tls", "certificate-verified", "mx-host", "tls-details"];
                    assert!(connection.iter().all(|name| status.get(name).is_none()), "{event:#}");
                }
            }
        }
    }
    let recipients: Vec<_> = receiver.messages().iter().map(|message| message.recipients.clone()).collect();
    assert!(
        recipients.iter().flatten().all(|to| !to.contains("ounced") && !to.contains("gone") && !to.contains("angry"))
    );
    assert_eq!(recipients.iter().flatten().count(), 3, "{recipients:?}");
    let path = format!("/v3/{DOMAIN}/events?reason=suppress-bounce");
    assert_eq!(world.get(&path).await["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_does_not_exist_is_asked_once() {
    let refusing = |text: &str| Behaviour { rcpt: Some(Answer::new(550, text)), ..Behaviour::default() };
    let mut lab = Lab::empty().await.unwrap();
    let none = lab.add("none", refusing("5.1.1 no such user")).await.unwrap();
    lab.add("policy", refusing("5.7.1 not from you")).await.unwrap();
    let world = World::start(lab).await;
    for (to, codes) in [("a@none.test", [550, 605]), ("a@policy.test", [550, 550])] {
        for code in codes {
            let event = world.outcome_of(&world.send(to, &[]).await).await;
            assert_eq!(event["delivery-status"]["code"], code, "{event:#}");
        }
    }
    assert_eq!(none.sessions().len(), 1, "the second message makes no connection");
    let bounces = world.get(&format!("/v3/{DOMAIN}/bounces")).await["items"].clone();
    assert_eq!(bounces.as_array().unwrap().len(), 1);
    assert_eq!((&bounces[0]["address"], &bounces[0]["code"]), (&json!("a@none.test"), &json!("550")));
    assert!(bounces[0]["error"].as_str().unwrap().contains("no such user"), "{bounces}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_waited_obeys_what_was_asked_meanwhile() {
    let mut lab = Lab::empty().await.unwrap();
    let busy = Behaviour { rcpt: Some(Answer::new(450, "4.2.1 later")), ..Behaviour::default() };
    lab.add("busy", busy).await.unwrap();
    let world = World::start_with(lab, &[("retry_schedule", "5s,5s,5s")]).await;
    let id = world.send("a@busy.test", &[]).await;
    assert_eq!(world.events_of(&id, 1).await[0]["delivery-status"]["code"], 450);
    world.post(&format!("/v3/{DOMAIN}/unsubscribes"), &[("address", "a@busy.test")]).await;
    let events = world.events_of(&id, 2).await;
    let last = &events.last().unwrap()["delivery-status"];
    assert_eq!((&last["code"], &last["attempt-no"]), (&json!(606), &json!(events.len())), "{events:#?}");
}
