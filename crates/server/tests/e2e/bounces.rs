//! Failure reports that come after the delivery: they find their way back, count once, and nobody can forge them.

use std::net::SocketAddr;

use serde_json::{Value, json};
use testkit::{Behaviour, Lab};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::world::{DOMAIN, World};

/// Another server, which reports.
pub(crate) struct Reporter(BufReader<TcpStream>);

impl Reporter {
    pub(crate) async fn connect(address: SocketAddr) -> Reporter {
        let mut reporter = Reporter(BufReader::new(TcpStream::connect(address).await.unwrap()));
        assert!(reporter.reply().await.starts_with("220 "));
        let offered = reporter.ask("EHLO mx.good.test").await;
        assert!(offered.contains("STARTTLS") && !offered.contains("AUTH"), "{offered}");
        reporter
    }

    async fn reply(&mut self) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).await.unwrap() > 0, "{all}");
            all.push_str(&line);
            if line.as_bytes()[3] == b' ' {
                return all.trim_end().to_owned();
            }
        }
    }

    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.reply().await
    }

    pub(crate) async fn send(&mut self, to: &str, mail: &str) -> String {
        assert_eq!(self.ask("MAIL FROM:<>").await, "250 2.1.0 Sender OK");
        assert_eq!(self.ask(&format!("RCPT TO:<{to}>")).await, "250 2.1.5 Recipient OK");
        assert!(self.ask("DATA").await.starts_with("354 "));
        self.ask(&format!("{mail}\r\n.")).await
    }
}

/// A report of this action about a recipient.
pub(crate) fn report(recipient: &str, action: &str, status: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.good.test\r\nTo: <x@y.example>\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b/1\"\r\n\r\n--b/1\r\n\r\nSorry.\r\n--b/1\r\n\
         Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.good.test\r\n\r\n\
         Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\nRemote-MTA: dns; in.good.test\r\n\
         Diagnostic-Code: smtp; 550 {status} no such user\r\n\r\n--b/1--\r\n"
    )
}

/// A server that receives reports, and whose domain has the records that this takes.
pub(crate) async fn world(settings: &[(&'static str, &str)]) -> World {
    let mut lab = Lab::empty().await.unwrap();
    lab.add("good", Behaviour::default()).await.unwrap();
    let world = World::start_with(lab, &[&[("bounce_listen", "127.0.0.1:0")], settings].concat()).await;
    with_records(&world);
    world
}

/// Publishes the records that return paths of ours need.
pub(crate) fn with_records(world: &World) {
    world.lab.dns().update(|zone| {
        let host = format!("bounces.{DOMAIN}");
        let zone = zone.a("waxwing.sender.example", "192.0.2.7".parse().unwrap());
        zone.mx(&host, 10, "waxwing.sender.example").txt(&host, "v=spf1 a:waxwing.sender.example ~all")
    });
}

/// Sends, waits until all is delivered, and gives the Message-ID and the return path of the last transaction.
pub(crate) async fn delivered(world: &World, to: &str) -> (String, String) {
    let id = world.send(to, &[]).await;
    for event in world.events_of(&id, to.split(',').count()).await {
        assert_eq!(event["event"], "delivered", "{event:#}");
    }
    (id, world.lab.receiver("good").messages().last().unwrap().return_path.clone())
}

async fn failures(world: &World, id: &str) -> Vec<Value> {
    let page = world.get(&format!("/v3/{DOMAIN}/events?event=failed&ascending=yes&message-id={id}")).await;
    page["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_the_delivery_becomes_an_event() {
    let mut world = world(&[]).await;
    let (_, own) = delivered(&world, "a@good.test").await;
    assert_eq!(own, "me@sender.example", "nobody has looked for the records yet");
    let verified = world.put(&format!("/v4/domains/{DOMAIN}/verify"), &[]).await;
    let records = verified["recommended_dns_records"].as_array().unwrap();
    let bounces: Vec<_> = records.iter().filter(|record| record["purpose"] == "bounces").collect();
    assert_eq!(bounces.len(), 2);
    assert!(bounces.iter().all(|record| record["valid"] == "valid"), "{bounces:#?}");

    let (id, path) = delivered(&world, "alias@good.test").await;
    assert!(path.starts_with("bounce+") && path.ends_with("@bounces.sender.example"), "{path}");
    assert!(path.split_once('@').unwrap().0.len() <= 64);
    // What was handed out before a crash is known after it.
    world.kill();
    world.run();
    let mut reporter = Reporter::connect(world.bounces()).await;
    for (mail, answer) in [
        (report("real@elsewhere.test", "delayed", "4.4.1"), "250 2.0.0 Recorded"),
        (
            "Subject: I am away\r\nAuto-Submitted: auto-replied\r\n\r\nBye".to_owned(),
            "250 2.0.0 Read; it is no failure report",
        ),
    ] {
        assert_eq!(reporter.send(&path, &mail).await, answer);
    }
    assert!(failures(&world, &id).await.is_empty());

    // Twice, and with the local part in another case: once.
    for to in [&path, &path.to_uppercase()] {
        assert_eq!(reporter.send(to, &report("real@elsewhere.test", "failed", "5.1.1")).await, "250 2.0.0 Recorded");
    }
    let [event] = &failures(&world, &id).await[..] else { panic!("one event for one bounce") };
    assert_eq!((&event["severity"], &event["reason"]), (&json!("permanent"), &json!("bounce")));
    assert_eq!(event["recipient"], "alias@good.test", "the one that was sent to");
    assert_eq!(event["flags"]["is-delayed-bounce"], true);
    let status = &event["delivery-status"];
    assert_eq!((&status["code"], &status["bounce-code"]), (&json!(550), &json!("5.1.1")));
    assert_eq!((&status["enhanced-code"], &status["message"]), (&json!("5.1.1"), &json!("550 5.1.1 no such user")));
    let evidence = json!({ "reporting-mta": "mx.good.test", "remote-mta": "in.good.test", "final-recipient": "real@elsewhere.test" });
    assert_eq!(status["bounce-report"], evidence);
    let listed = world.get(&format!("/v3/{DOMAIN}/bounces/alias@good.test")).await;
    assert_eq!((&listed["code"], &listed["error"]), (&json!("550"), &json!("550 5.1.1 no such user")));
    for absent in ["tls", "certificate-verified", "mx-host"] {
        assert!(status.get(absent).is_none(), "there was no connection of ours: {absent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_recipients_the_one_that_is_named_fails() {
    let world = world(&[]).await;
    world.put(&format!("/v4/domains/{DOMAIN}/verify"), &[]).await;
    let (id, path) = delivered(&world, "a@good.test,b@good.test").await;
    assert_eq!(world.lab.receiver("good").messages().last().unwrap().recipients.len(), 2, "one transaction still");
    let mut reporter = Reporter::connect(world.bounces()).await;
    for recipient in ["b@good.test", "stranger@good.test"] {
        assert_eq!(reporter.send(&path, &report(recipient, "failed", "5.2.2")).await, "250 2.0.0 Recorded");
    }
    let failures = failures(&world, &id).await;
    assert_eq!(failures.iter().map(|event| &event["recipient"]).collect::<Vec<_>>(), ["b@good.test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_taken() {
    let world = world(&[]).await;
    world.put(&format!("/v4/domains/{DOMAIN}/verify"), &[]).await;
    let (_, path) = delivered(&world, "a@good.test").await;
    let (local, host) = path.split_once('@').unwrap();
    let forged = format!("{}{}@{host}", &local[..local.len() - 1], if local.ends_with('0') { '1' } else { '0' });
    let mut reporter = Reporter::connect(world.bounces()).await;
    assert_eq!(reporter.ask("AUTH PLAIN AGEAYg==").await, "502 5.5.1 AUTH is not offered");
    assert_eq!(reporter.ask("MAIL FROM:<spam@spam.test>").await, "250 2.1.0 Sender OK");
    for to in [
        &*forged,
        "a@good.test",
        "me@sender.example",
        &format!("{local}@good.test"),
        "postmaster@good.test",
        "fbl@bounces.good.test",
        "tls-reports@sender.example",
    ] {
        let answer = reporter.ask(&format!("RCPT TO:<{to}>")).await;
        assert_eq!(answer, "550 5.7.1 Only reports about mail of this server are taken here", "{to}");
    }
    assert!(reporter.ask("DATA").await.starts_with("503 "));
    assert_eq!(world.lab.receiver("good").messages().len(), 1, "and nothing was sent because of it");
}
