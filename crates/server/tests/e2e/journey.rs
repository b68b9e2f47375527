//! Messages on their way: retries, refusals, several hosts, content as it was given.

use testkit::{Answer, Behaviour, Host, Lab, Tls};

use crate::world::{DOMAIN, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_recipient_is_tried_by_the_schedule_and_then_too_old() {
    let mut lab = Lab::empty().await.unwrap();
    let busy = Behaviour { rcpt: Some(Answer::new(450, "4.2.1 later")), ..Behaviour::default() };
    lab.add("busy", busy).await.unwrap();
    let world = World::start_with(lab, &[("retry_schedule", "1s,1s")]).await;
    let events = world.events_of(&world.send("a@busy.test", &[]).await, 4).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let status = &event["delivery-status"];
            (
                event["severity"].as_str().unwrap(),
                status["code"].as_u64().unwrap(),
                status["attempt-no"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [("temporary", 450, 1), ("temporary", 450, 2), ("temporary", 450, 3), ("permanent", 602, 3)]);
    assert_eq!(events[0]["delivery-status"]["retry-seconds"], 1);
    assert_eq!(events[3]["reason"], "old");
    assert_eq!(events[3]["delivery-status"]["message"], "Too old");
    assert_eq!(events[3]["delivery-status"]["last-code"], 450);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_recipient_is_delivered_when_the_host_recovers() {
    let mut lab = Lab::empty().await.unwrap();
    let receiver = lab.add("grey", Behaviour { rcpt: Some(Answer::new(450, "4.7.1 wait")), ..Behaviour::default() });
    let receiver = receiver.await.unwrap();
    let world = World::start_with(lab, &[("retry_schedule", "1s,1s,1s,1s,1s")]).await;
    let id = world.send("a@grey.test", &[]).await;
    world.events_of(&id, 1).await;
    receiver.behave(Behaviour::default()).unwrap();
    let mut count = 2;
    loop {
        let events = world.events_of(&id, count).await;
        if events.last().unwrap()["event"] == "delivered" {
            break;
        }
        count += 1;
    }
    assert_eq!(receiver.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recipient_has_its_own_fate_in_one_transaction() {
    let mut lab = Lab::empty().await.unwrap();
    let recipients = [("gone", Answer::new(550, "5.1.1 no such user")), ("full", Answer::new(452, "4.2.2 full"))];
    let recipients = recipients.map(|(name, answer)| (name.to_owned(), answer)).into();
    lab.add("mixed", Behaviour { recipients, ..Behaviour::default() }).await.unwrap();
    let world = World::start(lab).await;
    let id =
        world.send("ok@mixed.test, gone@mixed.test", &[("cc", "full@mixed.test"), ("bcc", "hid@mixed.test")]).await;
    let mut told: Vec<_> = world
        .events_of(&id, 4)
        .await
        .iter()
        .map(|event| format!("{} {} {}", event["recipient"], event["event"], event["severity"]).replace('"', ""))
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "full@mixed.test failed temporary",
            "gone@mixed.test failed permanent",
            "hid@mixed.test delivered null",
            "ok@mixed.test delivered null"
        ]
    );
    let messages = world.lab.receiver("mixed").messages();
    assert_eq!(messages.len(), 1, "one transaction");
    assert_eq!(messages[0].recipients, ["ok@mixed.test", "hid@mixed.test"]);
    assert!(!messages[0].text().to_lowercase().contains("hid@"), "nobody sees who had a blind copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_the_tls_that_is_required_is_left_for_the_next() {
    let mut lab = Lab::empty().await.unwrap();
    let plain = Behaviour { tls: Tls::NotOffered, ..Behaviour::default() };
    let hosts = vec![Host::new("mx1", 10, plain), Host::new("mx2", 20, Behaviour::default())];
    let receivers = lab.add_hosts("two", hosts).await.unwrap();
    let world = World::start(lab).await;
    let event = world.outcome_of(&world.send("a@two.test", &[("o:require-tls", "yes")]).await).await;
    assert_eq!(event["delivery-status"]["mx-host"], "mx2.two.test");
    assert_eq!(event["delivery-status"]["certificate-verified"], true);
    let steps = event["delivery-status"]["tls-details"]["steps"].as_array().unwrap();
    let results: Vec<_> =
        steps.iter().map(|step| (step["host"].as_str().unwrap(), step["result"].as_str().unwrap())).collect();
    assert_eq!(results, [("mx1.two.test", "left"), ("mx2.two.test", "delivered")]);
    assert!(receivers[0].messages().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_send_us_to_private_addresses() {
    let mut lab = Lab::empty().await.unwrap();
    let receiver = lab.add("inside", Behaviour::default()).await.unwrap();
    let world = World::start_with(lab, &[("deliver_to_private", "")]).await;
    let event = world.outcome_of(&world.send("a@inside.test", &[]).await).await;
    assert_eq!(event["severity"], "temporary");
    assert_eq!(event["delivery-status"]["tls-details"]["steps"][0]["reason"], "address-prohibited");
    assert!(receiver.sessions().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn content_arrives_as_it_was_given() {
    let world = World::start(Lab::start().await.unwrap()).await;
    let text = format!(".\n..\nÆrø.\n{}\nend", "x".repeat(3000));
    let id = world.send("a@good.test", &[("text", &text)]).await;
    world.outcome_of(&id).await;
    let messages = world.lab.receiver("good").messages();
    let content = String::from_utf8(messages[0].content.clone()).unwrap();
    assert!(
        content.contains(&format!("Message-ID: <{id}>")) || content.contains(&format!("Message-Id: <{id}>")),
        "{content}"
    );
    assert!(content.lines().all(|line| line.len() <= 998));
    assert_eq!(world.lab.violations(), Vec::<String>::new());

    let mime = "From: me@sender.example\r\nTo: a@good.test\r\nSubject: raw\r\nMessage-ID: <raw@sender.example>\r\n\
                Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n.\r\n..dots\r\n\r\nlast\r\n";
    let path = format!("/v3/{}/messages.mime", crate::world::DOMAIN);
    let form = reqwest::multipart::Form::new()
        .text("to", "a@good.test")
        .part("message", reqwest::multipart::Part::bytes(mime.as_bytes()).file_name("message"));
    let request = reqwest::Client::new().post(format!("{}{path}", world.base())).multipart(form);
    let response = request.basic_auth("api", Some(crate::world::KEY)).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    world.outcome_of("raw@sender.example").await;
    let messages = world.lab.receiver("good").messages();
    let text = messages[1].text();
    let (signature, rest) = text.split_at(text.len() - mime.len());
    assert_eq!(rest, mime);
    assert!(signature.starts_with("DKIM-Signature: ") && !signature.contains("\r\n\r\n"), "{signature}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_is_signed_with_the_keys_of_the_moment() {
    let mut lab = Lab::empty().await.unwrap();
    let receiver = lab.add("grey", Behaviour { rcpt: Some(Answer::new(450, "4.7.1 wait")), ..Behaviour::default() });
    let receiver = receiver.await.unwrap();
    let world = World::start_with(lab, &[("retry_schedule", "2s,2s,2s,2s,2s,2s")]).await;
    let id = world.send("a@grey.test", &[]).await;
    world.events_of(&id, 1).await;
    // Another process rotates while the message waits.
    let dkim = |arguments: &[&str]| world.tool(&[&["domain", "dkim"], arguments].concat());
    let first: serde_json::Value = serde_json::from_str(&dkim(&["list", DOMAIN, "--json"])).unwrap();
    let first = first[0]["selector"].as_str().unwrap();
    dkim(&["add", DOMAIN, "--selector", "next", "--type", "ed25519", "--active"]);
    dkim(&["deactivate", DOMAIN, first]);
    receiver.behave(Behaviour::default()).unwrap();
    let mut count = 2;
    while world.events_of(&id, count).await.last().unwrap()["event"] != "delivered" {
        count += 1;
    }
    let text = receiver.messages()[0].text().to_owned();
    assert!(text.starts_with("DKIM-Signature: v=1; a=ed25519-sha256;") && text.contains(" s=next;"), "{text}");
    assert!(!text.contains(first), "{text}");

    world.outcome_of(&world.send("a@grey.test", &[("o:dkim", "no")]).await).await;
    assert!(!receiver.messages()[1].text().contains("DKIM-Signature"));
}
