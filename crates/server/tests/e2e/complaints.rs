//! Other mail that comes in: feedback reports, reports about TLS, and mail for people.

use std::time::Instant;

use serde_json::{Value, json};

use crate::bounces::{Reporter, delivered, world};
use crate::world::{DOMAIN, PATIENCE, World};

const RECORDED: &str = "250 2.0.0 Recorded";
const UNPROVEN: &str = "250 2.0.0 Read; it proves no complaint about mail of this server";

/// A report of this type that gives back this header.
fn report(kind: &str, fields: &str, header: &str) -> String {
    format!(
        "From: feedback@provider.test\r\nSubject: FW: Hi\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=\"b/1\"\r\n\r\n--b/1\r\n\r\nSpam.\r\n--b/1\r\n\
         Content-Type: message/feedback-report\r\n\r\nFeedback-Type: {kind}\r\nUser-Agent: Provider/1\r\nVersion: 1\r\n\
         Reporting-MTA: dns; mx.provider.test\r\n{fields}\r\n--b/1\r\nContent-Type: text/rfc822-headers\r\n\r\n\
         {header}\r\n\r\n--b/1--\r\n"
    )
}

/// The header of the message that came last.
fn last_header(world: &World) -> String {
    let text = world.lab.receiver("good").messages().last().unwrap().text();
    text.split_once("\r\n\r\n").unwrap().0.to_owned()
}

fn value<'a>(header: &'a str, name: &str) -> &'a str {
    let line = header.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {header}"))
}

async fn complaints(world: &World, id: &str) -> Vec<Value> {
    let page = world.get(&format!("/v3/{DOMAIN}/events?event=complained&ascending=yes&message-id={id}")).await;
    page["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_becomes_an_event_and_an_entry_once() {
    let mut world = world(&[]).await;
    delivered(&world, "before@good.test").await;
    assert!(!last_header(&world).contains("CFBL-"), "reports would not find their way");
    world.put(&format!("/v4/domains/{DOMAIN}/verify"), &[]).await;
    let (id, path) = delivered(&world, "Angry@good.test").await;
    let header = last_header(&world);
    assert_eq!(value(&header, "CFBL-Address"), "fbl@bounces.sender.example; report=arf");
    let token = value(&header, "CFBL-Feedback-ID").to_owned();
    let signed = header.split_once("DKIM-Signature:").unwrap().1.replace("\r\n ", "");
    assert!(signed.contains(":CFBL-Address:CFBL-Feedback-ID;"), "{signed}");
    world.kill();
    world.run();

    let mut reporter = Reporter::connect(world.bounces()).await;
    let fbl = "FBL@bounces.sender.example";
    let forged = token.replace(['0', '1', '2', '3'], "4");
    for (mail, answer) in [
        (report("abuse", "Original-Rcpt-To: angry@good.test\r\n", &format!("Message-ID: <{id}>")), UNPROVEN),
        (report("abuse", "", &format!("CFBL-Feedback-ID: {forged}")), UNPROVEN),
        (report("auth-failure", "Auth-Failure: dmarc\r\n", &header), UNPROVEN),
        (report("not-spam", "", &header), UNPROVEN),
    ] {
        assert_eq!(reporter.send(fbl, &mail).await, answer, "{mail}");
    }
    assert_eq!(complaints(&world, &id).await, Vec::<Value>::new());

    // By what is in the header, by the return path as the report or the message has it, and sent there: once.
    let redacted = report("abuse", "Original-Rcpt-To: redacted\r\nSource-IP: 192.0.2.7\r\n", &header);
    let by_report = report("fraud", &format!("Original-Mail-From: <{path}>\r\n"), "Subject: Hi");
    let by_message = report("abuse", "", &format!("Return-Path: <{path}>"));
    let bare = report("abuse", "", "Subject: Hi");
    let name = "abuse@waxwing.sender.example";
    for (to, mail) in [(fbl, &redacted), (fbl, &by_report), (name, &by_message), (&path, &bare)] {
        assert_eq!(reporter.send(to, mail).await, RECORDED, "{mail}");
    }
    let [event] = &complaints(&world, &id).await[..] else { panic!("one event for one complaint") };
    assert_eq!((&event["recipient"], &event["log-level"]), (&json!("Angry@good.test"), &json!("warn")));
    assert_eq!(event["message"]["headers"]["message-id"], id.as_str());
    let evidence = json!({
        "feedback-type": "abuse",
        "user-agent": "Provider/1",
        "reporting-mta": "mx.provider.test",
        "source-ip": "192.0.2.7",
    });
    assert_eq!(event["feedback-report"], evidence);
    assert!(event.get("delivery-status").is_none() && event["flags"].get("is-delayed-bounce").is_none());
    world.get(&format!("/v3/{DOMAIN}/complaints/angry@good.test")).await;
    let stats = world.get(&format!("/v3/{DOMAIN}/stats/total?event=complained")).await;
    let days = stats["stats"].as_array().unwrap().iter();
    assert_eq!(days.filter_map(|day| day["complained"]["total"].as_u64()).sum::<u64>(), 1, "{stats:#}");
    let next = world.send("angry@good.test", &[]).await;
    assert_eq!(world.outcome_of(&next).await["delivery-status"]["code"], 607);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_recipients_the_one_that_is_named_complains() {
    let world = world(&[]).await;
    world.put(&format!("/v4/domains/{DOMAIN}/verify"), &[]).await;
    let own = [("h:CFBL-Address", "own@sender.example")];
    let id = world.send("a@good.test,b@good.test", &own).await;
    world.events_of(&id, 2).await;
    let header = last_header(&world);
    assert_eq!(value(&header, "CFBL-Address"), "own@sender.example");
    assert!(!header.contains("CFBL-Feedback-ID"), "who asks for reports elsewhere is left alone");

    let (id, _) = delivered(&world, "a@good.test,b@good.test").await;
    let header = last_header(&world);
    let mut reporter = Reporter::connect(world.bounces()).await;
    for (fields, answer) in [
        ("Original-Rcpt-To: <B@good.test>\r\n", RECORDED),
        ("Original-Rcpt-To: stranger@good.test\r\n", UNPROVEN),
        ("", UNPROVEN),
    ] {
        let answered = reporter.send("fbl@waxwing.sender.example", &report("abuse", fields, &header)).await;
        assert_eq!(answered, answer, "{fields}");
    }
    let complaints = complaints(&world, &id).await;
    assert_eq!(complaints.iter().map(|event| &event["recipient"]).collect::<Vec<_>>(), ["b@good.test"]);
    let listed = world.get(&format!("/v3/{DOMAIN}/complaints")).await;
    assert_eq!(listed["items"], json!([]), "another recipient may have written it");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_about_tls_come_by_mail() {
    let world = world(&[]).await;
    let mail = |domain: &str| {
        format!(
            "From: tlsrpt@provider.test\r\nContent-Type: multipart/report; report-type=tlsrpt; boundary=b\r\n\r\n--b\r\n\r\n\
             A report.\r\n--b\r\nContent-Type: application/tlsrpt+json\r\n\r\n{{\"organization-name\":\"Provider\",\
             \"date-range\":{{\"start-datetime\":\"2016-04-01T00:00:00Z\",\"end-datetime\":\"2016-04-01T23:59:59Z\"}},\
             \"contact-info\":\"a@y.example\",\"report-id\":\"1\",\"policies\":[{{\"policy\":{{\"policy-type\":\"no-policy-found\",\
             \"policy-domain\":\"{domain}\"}},\"summary\":{{\"total-successful-session-count\":5,\
             \"total-failure-session-count\":2}}}}]}}\r\n--b--\r\n"
        )
    };
    let mut reporter = Reporter::connect(world.bounces()).await;
    let to = "tls-reports@bounces.sender.example";
    assert_eq!(reporter.send(to, &mail(DOMAIN)).await, RECORDED);
    let other = "550 5.6.0 the report is about no domain of this server";
    assert_eq!(reporter.send(to, &mail("other.test")).await, other);
    let none = "550 5.6.0 Only reports about TLS (RFC 8460) are taken here";
    assert_eq!(reporter.send(to, "Subject: Hi\r\n\r\nHi").await, none);
    let list = world.get(&format!("/v1/tls/reports?domain={DOMAIN}")).await;
    assert_eq!((&list["total_count"], &list["items"][0]["via"]), (&json!(1), &json!("mail")));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_for_people_goes_to_the_postmaster_and_not_round() {
    let mut world = world(&[]).await;
    let mut reporter = Reporter::connect(world.bounces()).await;
    let nobody = "550 5.1.1 Nobody reads mail here, only reports are taken";
    assert_eq!(reporter.send("postmaster@bounces.sender.example", "Subject: Hi\r\n\r\nHi").await, nobody);

    world.restart_with(&[("postmaster", "ops@good.test")]);
    let mut reporter = Reporter::connect(world.bounces()).await;
    let taken = "250 2.0.0 It goes on to the postmaster";
    let confirmation = "Subject: Confirm your feedback loop\r\n\r\n.Hi";
    let mut goes_on = 0;
    for to in ["Postmaster@waxwing.sender.example", "abuse@bounces.sender.example", "fbl@waxwing.sender.example"] {
        assert_eq!(reporter.send(to, confirmation).await, taken, "{to}");
        goes_on += 1;
        let end = Instant::now() + PATIENCE;
        while world.lab.receiver("good").messages().len() < goes_on {
            assert!(Instant::now() < end);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let mail = world.lab.receiver("good").messages().pop().unwrap();
        assert_eq!((mail.return_path.as_str(), &mail.recipients), ("", &vec!["ops@good.test".to_owned()]));
        let text = mail.text();
        assert!(
            text.starts_with(&format!("Delivered-To: {to}\r\nReceived: from mx.good.test ([127.0.0.1])\r\n")),
            "{text}"
        );
        assert!(text.ends_with("Subject: Confirm your feedback loop\r\n\r\nHi\r\n"), "{text}");
        // What comes back goes no further.
        assert_eq!(reporter.send(to, &text).await, "554 5.4.6 The message has been going round in circles");
    }
    // A report that nobody can match is for people where people read, and dropped where none do.
    let unproven = report("abuse", "", "Subject: Hi");
    assert_eq!(reporter.send("abuse@waxwing.sender.example", &unproven).await, taken);
    assert_eq!(reporter.send("fbl@waxwing.sender.example", &unproven).await, UNPROVEN);
    let events = world.get(&format!("/v3/{DOMAIN}/events")).await;
    assert_eq!(events["items"], json!([]), "it is no mail of the sending domain");

    assert_eq!(reporter.ask("MAIL FROM:<a@provider.test>").await, "250 2.1.0 Sender OK");
    assert_eq!(reporter.ask("rcpt to:<postmaster>").await, "250 2.1.5 Recipient OK");
    assert_eq!(reporter.ask("RCPT TO:<abuse@bounces.sender.example>").await, "250 2.1.5 Recipient OK");
    let apart = "452 4.5.3 Send that to this recipient in a transaction of its own";
    assert_eq!(reporter.ask("RCPT TO:<fbl@bounces.sender.example>").await, apart);
}
