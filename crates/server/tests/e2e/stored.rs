//! A kept message, sent once more.

use testkit::{Behaviour, Lab, Tls};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_sent_once_more_arrives_as_it_was() {
    let mut lab = Lab::empty().await.unwrap();
    let (good, other) =
        (lab.add("good", Behaviour::default()).await.unwrap(), lab.add("other", Behaviour::default()).await.unwrap());
    let plain = lab.add("plain", Behaviour { tls: Tls::NotOffered, ..Behaviour::default() }).await.unwrap();
    let world = World::start(lab).await;
    let id = world.send("a@good.test", &[("o:require-tls", "yes"), ("text", ".Secret.\n.")]).await;
    let event = world.outcome_of(&id).await;
    let path = event["storage"]["url"].as_str().unwrap().strip_prefix(world.base()).unwrap().to_owned();
    world.post(&path, &[("to", "b@other.test, c@plain.test")]).await;
    for event in &world.events_of(&id, 3).await[1..] {
        let told = match event["recipient"].as_str().unwrap() {
            "b@other.test" => event["event"] == "delivered" && event["delivery-status"]["tls"] == true,
            // It demanded TLS when it was first sent.
            _ => event["event"] == "failed" && event["delivery-status"]["enhanced-code"] == "4.7.4",
        };
        assert!(told, "{event:#}");
    }
    // All but the signature, which tells its time.
    let unsigned = |text: String| text[text.find("\r\nMessage-ID").unwrap()..].to_owned();
    let (first, again) = (good.messages().remove(0), other.messages().remove(0));
    assert_eq!(unsigned(again.text().to_string()), unsigned(first.text().to_string()));
    assert_eq!(again.recipients, ["b@other.test"]);
    assert!(plain.messages().is_empty());
}
