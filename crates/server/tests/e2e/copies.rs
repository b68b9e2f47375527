//! Individual copies, as receivers see them and events tell them.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use serde_json::{Value, json};
use testkit::{Behaviour, Lab};

use crate::world::{DOMAIN, PATIENCE, World};

/// The value of a header, unfolded.
fn header<'a>(content: &'a str, name: &str) -> Option<&'a str> {
    content
        .split("\r\n")
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_recipients_each_get_a_copy_of_their_own() {
    const COUNT: usize = 1000;
    let mut lab = Lab::empty().await.unwrap();
    let receivers =
        [lab.add("one", Behaviour::default()).await.unwrap(), lab.add("two", Behaviour::default()).await.unwrap()];
    let world = World::start(lab).await;
    let address = |n: usize| format!("u{n}@{}.test", ["one", "two"][n % 2]);
    let variables: Value = (0..COUNT).map(|n| (address(n), json!({ "name": format!("Näme {n}"), "id": n }))).collect();
    let to = (0..COUNT).map(|n| format!("N{n} <{}>", address(n))).collect::<Vec<_>>().join(",");
    let body = format!("<p>%recipient.name%</p>{}", "<p>The same for everybody. </p>".repeat(300));
    let started = Instant::now();
    let id = world
        .send(
            &to,
            &[
                ("subject", "Hi %recipient.name%"),
                ("text", "Dear %recipient.name% of %recipient_email%"),
                ("html", &body),
                ("recipient-variables", &variables.to_string()),
                ("h:List-Unsubscribe", "<https://sender.example/u/%recipient.id%>, <%tag_unsubscribe_email%>"),
                ("v:id", "%recipient.id%"),
                ("o:tag", "bulk"),
            ],
        )
        .await;
    println!("{COUNT} recipients and {} octets accepted in {:?}", body.len(), started.elapsed());

    let delivered = delivered(&world, &id, COUNT).await;
    println!("all delivered after {:?}", started.elapsed());
    let mut seen = HashSet::new();
    for message in receivers.iter().flat_map(|receiver| receiver.messages()) {
        let [recipient] = &message.recipients[..] else { panic!("{:?}", message.recipients) };
        let n: usize = recipient[1..recipient.find('@').unwrap()].parse().unwrap();
        assert!(seen.insert(n), "{recipient} got it twice");
        let text = message.text();
        assert_eq!(header(&text, "To"), Some(format!("\"N{n}\" <{recipient}>").as_str()));
        assert_eq!(header(&text, "Message-ID"), Some(format!("<{id}>").as_str()));
        assert_eq!(header(&text, "List-Unsubscribe"), Some(format!("<https://sender.example/u/{n}>").as_str()));
        assert_eq!(header(&text, "X-Mailgun-Variables"), Some(format!("{{\"id\": \"{n}\"}}").as_str()));
        assert!(text.contains(&format!("Dear N=C3=A4me {n} of {recipient}")), "{}", &text[..2000]);
        assert!(text.contains(&format!("<p>N=C3=A4me {n}</p>")) && !text.contains("%recipient"));
        let others = text.matches("@one.test").count() + text.matches("@two.test").count();
        assert_eq!(others, 2, "nobody else is named");
        assert_eq!(delivered[recipient]["user-variables"], json!({ "id": n.to_string() }));
        assert_eq!(delivered[recipient]["message"]["headers"]["to"], format!("N{n} <{recipient}>"));
        assert_eq!(delivered[recipient]["message"]["headers"]["subject"], format!("Hi Näme {n}"));
    }
    assert_eq!(seen.len(), COUNT);
}

/// The `delivered` event of each recipient, page by page, once there are so many.
async fn delivered(world: &World, id: &str, count: usize) -> HashMap<String, Value> {
    let end = Instant::now() + PATIENCE * 3;
    let mut page =
        world.get(&format!("/v3/{DOMAIN}/events?event=delivered&ascending=yes&limit=300&message-id={id}")).await;
    let mut all = HashMap::new();
    while all.len() < count {
        for event in page["items"].as_array().unwrap() {
            let recipient = event["recipient"].as_str().unwrap().to_owned();
            assert!(all.insert(recipient, event.clone()).is_none(), "{event}");
        }
        assert!(Instant::now() < end, "only {} were delivered", all.len());
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        let next = page["paging"]["next"].as_str().unwrap().strip_prefix(world.base()).unwrap().to_owned();
        page = world.get(&next).await;
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_cannot_be_made_fails_alone() {
    let mut lab = Lab::empty().await.unwrap();
    let receiver = lab.add("good", Behaviour::default()).await.unwrap();
    let world = World::start(lab).await;
    let variables = json!({ "a@good.test": { "reply": "x@sender.example" }, "b@good.test": { "reply": "no address" } });
    let further = [("recipient-variables", &*variables.to_string()), ("h:Reply-To", "%recipient.reply%")];
    let id = world.send("a@good.test, b@good.test", &further).await;
    let events = world.events_of(&id, 2).await;
    for event in &events {
        if event["recipient"] == "a@good.test" {
            assert_eq!(event["event"], "delivered", "{event:#}");
        } else {
            assert_eq!((&event["event"], &event["severity"]), (&json!("failed"), &json!("permanent")), "{event:#}");
            assert_eq!(event["delivery-status"]["code"], 554);
            let text = event["delivery-status"]["message"].as_str().unwrap();
            assert!(text.starts_with("the recipient's copy cannot be made: Reply-To is not valid"), "{text}");
        }
    }
    assert_eq!(receiver.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_window_ends_the_schedule() {
    let mut lab = Lab::empty().await.unwrap();
    let busy = Behaviour { rcpt: Some(testkit::Answer::new(450, "4.2.1 later")), ..Behaviour::default() };
    lab.add("busy", busy).await.unwrap();
    let world = World::start_with(lab, &[("retry_schedule", "1s,5m")]).await;
    let events = world.events_of(&world.send("a@busy.test", &[("o:deliver-within", "5m")]).await, 3).await;
    let codes: Vec<_> = events.iter().map(|event| event["delivery-status"]["code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [450, 450, 602], "the third attempt would come after the window");
    assert_eq!(events[2]["reason"], "old");
}
