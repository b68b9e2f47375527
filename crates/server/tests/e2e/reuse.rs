//! Connections that serve again, seen by the receiver and told by the events.

use testkit::{Behaviour, Lab};

use crate::world::{PATIENCE, World};

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_what_decides_alike_and_ends_with_the_server() {
    let mut lab = Lab::empty().await.unwrap();
    let receiver = lab.add("good", Behaviour::default()).await.unwrap();
    let mut world = World::start(lab).await;
    for number in 0..10 {
        let id = world.send("bob@good.test", &[("o:require-tls", "yes")]).await;
        let event = world.outcome_of(&id).await;
        let details = &event["delivery-status"]["tls-details"];
        assert_eq!(event["delivery-status"]["certificate-verified"], true, "{event:#}");
        assert_eq!(details.get("reused").is_some(), number > 0, "{event:#}");
        assert!(details["certificate"]["sha256"].is_string(), "{event:#}");
    }
    let id = world.send("bob@good.test", &[("o:skip-verification", "yes")]).await;
    let event = world.outcome_of(&id).await;
    let details = &event["delivery-status"]["tls-details"];
    assert_eq!((details.get("reused"), details["resumed"].as_bool()), (None, Some(true)), "{event:#}");
    assert_eq!(event["delivery-status"]["certificate-verified"], false);

    world.terminate();
    let sessions = receiver.wait_for_sessions(2, PATIENCE).await;
    let messages: Vec<_> = sessions.iter().map(|session| session.messages.len()).collect();
    assert_eq!(messages, [10, 1]);
    assert!(sessions.iter().all(|session| session.closed_by_quit && session.violations.is_empty()));
    assert_eq!(sessions[1].tls.as_ref().map(|tls| tls.resumed), Some(true));
}
