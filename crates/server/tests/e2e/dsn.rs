//! Senders who submit by SMTP are told by mail: of failures, of what they ask for, once, and never less protected.

use std::collections::BTreeSet;
use std::time::Instant;

use message::dsn::{Action, StatusReport, parse};
use serde_json::{Value, json};
use testkit::{Answer, Behaviour, Lab, Receiver};

use crate::bounces::{Reporter, report};
use crate::smtp_client::{Client, id_of};
use crate::world::{DOMAIN, PATIENCE, World};

/// A world in which mail for the sending domain comes to a receiver of its own, and mail for `none.test` to nobody.
async fn world(settings: &[(&'static str, &str)]) -> (World, Receiver) {
    let mut lab = Lab::empty().await.unwrap();
    let home = lab.add("home", Behaviour::default()).await.unwrap();
    let none = Behaviour { rcpt: Some(Answer::new(550, "5.1.1 no such user")), ..Behaviour::default() };
    lab.add("none", none).await.unwrap();
    lab.add("good", Behaviour::default()).await.unwrap();
    lab.add("dsn", Behaviour { extensions: vec!["DSN".to_owned()], ..Behaviour::default() }).await.unwrap();
    let world = World::start_with(lab, settings).await;
    world.lab.dns().update(|zone| zone.mx(DOMAIN, 10, "mx.home.test"));
    world.add_login().await;
    (world, home)
}

/// Submits, and gives the Message-ID.
async fn submit(client: &mut Client, mail: &str, to: &[&str], fields: &str) -> String {
    assert_eq!(client.ask(&format!("MAIL FROM:{mail}")).await, "250 2.1.0 Sender OK");
    for to in to {
        assert_eq!(client.ask(&format!("RCPT TO:{to}")).await, "250 2.1.5 Recipient OK");
    }
    assert!(client.ask("DATA").await.starts_with("354 "));
    let message = format!("From: me@{DOMAIN}\r\nTo: you@b.example\r\nSubject: Hi\r\n{fields}\r\nSecret.\r\n.");
    id_of(&client.ask(&message).await)
}

/// The notifications at a receiver, once there are so many, each with the message that it is about.
async fn told(receiver: &Receiver, count: usize) -> Vec<(String, StatusReport, String)> {
    let messages = receiver.wait_for_messages(count, PATIENCE).await;
    assert_eq!(messages.len(), count, "{:?}", messages.iter().map(|message| message.text()).collect::<Vec<_>>());
    let told = messages.iter().map(|message| {
        assert_eq!(message.return_path, "", "nobody is told of what becomes of a notification");
        let text = message.text();
        let report = parse(&message.content).unwrap_or_else(|| panic!("no report: {text}"));
        let about = text.lines().find_map(|line| line.strip_prefix("In-Reply-To: <")?.strip_suffix('>'));
        (about.unwrap().to_owned(), report, text.clone())
    });
    told.collect()
}

async fn events(world: &World, query: &str) -> Vec<Value> {
    world.get(&format!("/v3/{DOMAIN}/events?ascending=yes&limit=300&{query}")).await["items"]
        .as_array()
        .unwrap()
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_with_its_reason() {
    let (world, home) = world(&[]).await;
    let mut client = world.log_in().await;
    assert!(client.ask("EHLO client.example").await.contains("\n250-DSN\n"));
    let to = ["<a@none.test> ORCPT=rfc822;alias+2Bx@b.example", "<b@none.test>"];
    let id = submit(&mut client, "<app@sender.example> ENVID=QQ+2B1", &to, "").await;
    let (about, report, text) = told(&home, 1).await.remove(0);
    assert_eq!((about, report.reporting_mta.as_deref()), (id.clone(), Some("waxwing.sender.example")));
    let [one, other] = &report.recipients[..] else { panic!("{text}") };
    assert_eq!(
        (one.action, one.reply_code, one.remote_mta.as_deref()),
        (Action::Failed, Some(550), Some("mx.none.test"))
    );
    assert_eq!(one.original.as_ref().unwrap().to_string(), "alias+x@b.example");
    assert_eq!(other.last.as_ref().unwrap().to_string(), "b@none.test");
    for part in [
        "\r\nOriginal-Envelope-Id: QQ+1\r\n",
        "\r\nTo: <app@sender.example>\r\n",
        "DKIM-Signature: ",
        "mx.none.test said: 550 5.1.1 no such user.",
        "\r\n    with a certificate that was verified.",
        "Content-Type: text/rfc822-headers\r\n",
        "\r\nSubject: Hi\r\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("Secret."), "the header alone, since nobody asked for more");

    // The log has the notification, with what became of it; the metrics have the message alone.
    let end = Instant::now() + PATIENCE;
    let own = loop {
        let own = events(&world, "recipient=app@sender.example").await;
        if own.len() >= 2 {
            break own;
        }
        assert!(Instant::now() < end, "{own:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(own.iter().map(|event| &event["event"]).collect::<Vec<_>>(), ["accepted", "delivered"]);
    assert_eq!(own[0]["envelope"]["sender"], "");
    let stats = world.get(&format!("/v3/{DOMAIN}/stats/total?event=accepted&event=delivered&duration=1h")).await;
    let total = |kind: &str| {
        stats["stats"].as_array().unwrap().iter().map(|part| part[kind]["total"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((total("accepted"), total("delivered")), (2, 0), "{stats:#}");

    // All of it, if asked for.
    submit(&mut client, "<app@sender.example> RET=FULL", &["<a@none.test>"], "").await;
    let text = told(&home, 2).await.remove(1).2;
    assert!(text.contains("Content-Type: message/rfc822\r\n") && text.contains("\r\nSecret.\r\n"), "{text}");
    assert_eq!(world.lab.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_who_did_not_ask() {
    let (world, home) = world(&[]).await;
    let mut client = world.log_in().await;
    let mut ids = Vec::new();
    for (mail, to) in [
        ("<>", "<a@none.test> NOTIFY=FAILURE"),
        ("<app@sender.example>", "<a@none.test> NOTIFY=NEVER"),
        ("<app@sender.example>", "<a@none.test> NOTIFY=SUCCESS,DELAY"),
        // No address of the domain, and nobody asked there.
        ("<app@good.test>", "<a@none.test>"),
    ] {
        ids.push(submit(&mut client, mail, &[to], "").await);
    }
    ids.push(world.send("a@none.test", &[]).await);
    for id in ids {
        assert_eq!(world.outcome_of(&id).await["severity"], "permanent");
    }
    let asked = submit(&mut client, "<app@good.test>", &["<a@none.test> NOTIFY=FAILURE"], "").await;
    let good = world.lab.receiver("good");
    assert_eq!(told(good, 1).await[0].0, asked);
    let last = submit(&mut client, "<app@sender.example>", &["<a@none.test>"], "").await;
    assert_eq!(told(&home, 1).await[0].0, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn success_is_told_by_the_last_server_that_can() {
    let (world, home) = world(&[]).await;
    let mut client = world.log_in().await;
    let to = ["<a@dsn.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@b.example", "<b@dsn.test>"];
    let id = submit(&mut client, "<app@sender.example> RET=HDRS ENVID=QQ1", &to, "").await;
    world.events_of(&id, 2).await;
    let session = world.lab.receiver("dsn").sessions().remove(0);
    let lines: Vec<&str> = session.commands.iter().map(|seen| seen.line.as_str()).collect();
    let mail = lines.iter().find(|line| line.starts_with("MAIL ")).unwrap();
    assert!(mail.starts_with("MAIL FROM:<app@sender.example> ") && mail.ends_with(" RET=HDRS ENVID=QQ1"), "{mail}");
    assert!(lines.contains(&"RCPT TO:<a@dsn.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@b.example"), "{lines:?}");
    assert!(lines.contains(&"RCPT TO:<b@dsn.test>"), "{lines:?}");

    let id = submit(&mut client, "<app@sender.example>", &["<c@good.test> NOTIFY=SUCCESS"], "").await;
    let (about, report, text) = told(&home, 1).await.remove(0);
    let [relayed] = &report.recipients[..] else { panic!("{text}") };
    assert_eq!((about, relayed.action), (id, Action::Relayed));
    assert_eq!(relayed.status.unwrap().to_string(), "2.1.9");
    assert_eq!(world.lab.violations(), Vec::<String>::new(), "no parameter where it is not offered");
}

/// What a sender demands of a message he demands of what is told about it.
#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_no_less_protected() {
    let (world, home) = world(&[]).await;
    home.behave(Behaviour { tls: testkit::Tls::NotOffered, ..Behaviour::default() }).unwrap();
    let mut client = world.log_in().await;
    for (mail, fields, setting) in [
        ("<app@sender.example>", "X-Mailgun-Require-TLS: yes\r\n", ("require-tls", json!(true))),
        ("<app@sender.example> REQUIRETLS RET=FULL", "", ("tls-tag", json!("requiretls"))),
    ] {
        submit(&mut client, mail, &["<a@none.test>"], fields).await;
        let end = Instant::now() + PATIENCE;
        let (accepted, failed) = loop {
            let own = events(&world, "recipient=app@sender.example").await;
            if let [.., accepted, failed] = &own[..]
                && failed["event"] == "failed"
                && accepted["event"] == "accepted"
                && accepted["tls-settings"][setting.0] == setting.1
            {
                break (accepted.clone(), failed.clone());
            }
            assert!(Instant::now() < end, "{own:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        assert_eq!(accepted["message"]["headers"]["message-id"], failed["message"]["headers"]["message-id"]);
        assert_eq!(failed["delivery-status"]["tls"], false, "nothing of it left");
    }
    assert!(home.messages().is_empty());
}

/// Killed right after the failures are on record, before or while senders are told: each is told once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_told_survives_sigkill() {
    const MESSAGES: usize = 12;
    let (mut world, home) = world(&[]).await;
    let mut ids = BTreeSet::new();
    for _ in 0..2 {
        let mut client = world.log_in().await;
        for _ in 0..MESSAGES / 2 {
            ids.insert(submit(&mut client, "<app@sender.example>", &["<a@none.test>"], "").await);
        }
        while events(&world, "event=failed").await.len() < ids.len() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        world.kill();
        world.run();
    }
    let end = Instant::now() + PATIENCE;
    let about = |text: &str| {
        text.lines().find_map(|line| line.strip_prefix("In-Reply-To: <")?.strip_suffix('>')).unwrap().to_owned()
    };
    loop {
        let arrived: BTreeSet<String> = home.messages().iter().map(|message| about(&message.text())).collect();
        if arrived == ids {
            break;
        }
        assert!(Instant::now() < end, "{} of {MESSAGES} are told", arrived.len());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let queued = events(&world, "event=accepted&recipient=app@sender.example").await;
    assert_eq!(queued.len(), MESSAGES, "each once");
}

/// The report of another server comes to our return path, and goes on to whoever sent the message.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_to_us_goes_on_to_the_sender() {
    let (world, home) = world(&[("bounce_listen", "127.0.0.1:0")]).await;
    crate::bounces::with_records(&world);
    world.put(&format!("/v4/domains/{DOMAIN}/verify"), &[]).await;
    let mut client = world.log_in().await;
    let to = ["<a@dsn.test> NOTIFY=SUCCESS", "<b@dsn.test> NOTIFY=NEVER", "<c@dsn.test>"];
    let id = submit(&mut client, "<app@sender.example>", &to, "").await;
    world.events_of(&id, 3).await;
    let receiver = world.lab.receiver("dsn");
    let path = receiver.messages()[0].return_path.clone();
    assert!(path.starts_with("bounce+"), "{path}");
    let lines: Vec<String> = receiver.sessions()[0].commands.iter().map(|seen| seen.line.clone()).collect();
    // Failures become events, whatever the sender wants to be told of them.
    for line in
        ["RCPT TO:<a@dsn.test> NOTIFY=SUCCESS,FAILURE", "RCPT TO:<b@dsn.test> NOTIFY=FAILURE", "RCPT TO:<c@dsn.test>"]
    {
        assert!(lines.iter().any(|found| found == line), "{line} in {lines:?}");
    }
    let mut reporter = Reporter::connect(world.bounces()).await;
    for (recipient, action, status) in [
        ("b@dsn.test", "failed", "5.1.1"),
        ("c@dsn.test", "delivered", "2.0.0"),
        ("c@dsn.test", "failed", "5.1.1"),
        ("a@dsn.test", "delivered", "2.0.0"),
        ("a@dsn.test", "delivered", "2.0.0"),
    ] {
        assert_eq!(reporter.send(&path, &report(recipient, action, status)).await, "250 2.0.0 Recorded");
    }
    let end = Instant::now() + PATIENCE;
    let told = loop {
        let texts: Vec<StatusReport> = home.messages().iter().filter_map(|message| parse(&message.content)).collect();
        let told: Vec<_> = texts.into_iter().flat_map(|report| report.recipients).collect();
        if told.len() >= 2 {
            break told;
        }
        assert!(Instant::now() < end, "{told:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let told: Vec<_> = told.iter().map(|one| (one.last.as_ref().unwrap().to_string(), one.action)).collect();
    assert_eq!(told, [("c@dsn.test".to_owned(), Action::Failed), ("a@dsn.test".to_owned(), Action::Delivered)]);
    let failed: Vec<Value> = events(&world, &format!("event=failed&message-id={id}")).await;
    assert_eq!(failed.iter().map(|event| &event["recipient"]).collect::<Vec<_>>(), ["b@dsn.test", "c@dsn.test"]);
}
