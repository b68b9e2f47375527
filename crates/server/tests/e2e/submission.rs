//! SMTP submission: what comes in at the listener goes out like what comes in over HTTP.

use policy::tls::{Fallback, Observed, Protection, TlsPolicy, Verdict, decide};
use serde_json::{Value, json};
use testkit::{Behaviour, Lab};

use crate::smtp_client::{id_of, timed};
use crate::world::{DOMAIN, World};

const HEADER: &str = "From: Me <me@sender.example>\r\nTo: a@good.test\r\nSubject: Hi\r\n";

async fn world_with(state: &str) -> World {
    let mut lab = Lab::empty().await.unwrap();
    lab.add(state, Behaviour::default()).await.unwrap();
    let world = World::start(lab).await;
    world.add_login().await;
    world
}

async fn accepted(world: &World, id: &str) -> Value {
    world.get(&format!("/v3/{DOMAIN}/events?event=accepted&message-id={id}")).await["items"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_travels_with_its_options_and_without_their_headers() {
    let world = world_with("good").await;
    let mut client = world.log_in().await;
    let message = format!(
        "X-Mailgun-Require-TLS: yes\r\n{HEADER}X-Mailgun-Tag: first\r\nX-Mailgun-Tag: second\r\nReceived: from app by host; date\r\n\
         X-Mailgun-Variables: {{\"order\":\r\n 4711}}\r\nX-Mailgun-Track: no\r\nBcc: hidden@good.test\r\n\r\nBody.\r\n..dot"
    );
    let id = id_of(&client.send("", &["a@good.test", "hidden@good.test", "a@good.test"], &message).await);
    let events = world.events_of(&id, 2).await;
    for event in &events {
        assert_eq!(event["event"], "delivered", "{event:#}");
        assert_eq!(event["delivery-status"]["tls"], true);
        assert_eq!(event["delivery-status"]["certificate-verified"], true);
    }
    let accepted = accepted(&world, &id).await;
    assert_eq!(accepted["method"], "smtp");
    assert_eq!(accepted["originating-ip"], "127.0.0.1");
    assert_eq!(accepted["flags"]["is-authenticated"], true);
    assert_eq!(accepted["tags"], json!(["first", "second"]));
    assert_eq!(accepted["user-variables"], json!({ "order": "4711" }));
    assert_eq!(accepted["tls-settings"]["require-tls"], true);
    assert_eq!(accepted["tls-settings"]["require-tls-from"], "message");
    assert_eq!(accepted["envelope"]["sender"], "me@sender.example", "as over HTTP, whatever MAIL said");

    let arrived = world.lab.receiver("good").messages()[0].text();
    let (header, body) = arrived.split_once("\r\n\r\n").unwrap();
    // Signed in between or not, the trace of this hop stands before the trace of the hops before.
    let trace = header.find("Received: from client.example ([127.0.0.1])\r\n\tby waxwing.sender.example with ESMTPSA;");
    assert!(trace.unwrap() < header.find("Received: from app by host; date").unwrap(), "{header}");
    for gone in ["Require-TLS", "X-Mailgun-Tag", "X-Mailgun-Track", "Bcc", "hidden"] {
        assert!(!header.contains(gone), "{gone}: {header}");
    }
    assert!(header.contains("X-Mailgun-Variables: {\"order\": \"4711\"}"), "{header}");
    assert!(header.contains(&format!("Message-ID: <{id}>")) && header.contains("Date: "), "{header}");
    assert_eq!(body.trim_end(), "Body.\r\n.dot");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_named_by_a_header() {
    let world = world_with("good").await;
    world.post(&format!("/v3/{DOMAIN}/templates"), &[("name", "hi"), ("template", "<p>Hi {{name}}</p>")]).await;
    let mut client = world.log_in().await;
    let named = |name: &str| {
        format!(
            "{HEADER}X-Mailgun-Template-Name: {name}\r\nX-Mailgun-Template-Variables: {{\"name\": \"Ann\"}}\r\n\r\nHi"
        )
    };
    let refused = client.send("", &["a@good.test"], &named("nobody")).await;
    assert!(refused.starts_with("550 5.7.0 template 'nobody' not found"), "{refused}");
    let id = id_of(&client.send("", &["a@good.test"], &named("Hi")).await);
    assert_eq!(world.events_of(&id, 1).await[0]["event"], "delivered");
    assert_eq!(accepted(&world, &id).await["template"]["name"], "hi");
    let arrived = world.lab.receiver("good").messages()[0].text();
    assert!(arrived.contains("<p>Hi Ann</p>") && !arrived.contains("X-Mailgun-"), "{arrived}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recipient_gets_a_copy_of_its_own_if_asked_for() {
    let world = world_with("good").await;
    let mut client = world.log_in().await;
    let message = "From: me@sender.example\r\nTo: %recipient%\r\nSubject: Hi %recipient.name%\r\n\
        X-Mailgun-Recipient-Variables: {\"a@good.test\": {\"name\": \"Ann\"},\r\n \"b@good.test\": {\"name\": \"Bob\"}}\r\n\r\nHi";
    let id = id_of(&client.send("", &["a@good.test", "b@good.test"], message).await);
    for event in world.events_of(&id, 2).await {
        assert_eq!(event["event"], "delivered", "{event:#}");
    }
    let mut subjects: Vec<String> = Vec::new();
    for message in world.lab.receiver("good").messages() {
        let text = message.text();
        assert!(!text.contains("Recipient-Variables"), "{text}");
        subjects.extend(text.lines().find(|line| line.starts_with("Subject:")).map(str::to_owned));
    }
    subjects.sort();
    assert_eq!(subjects, ["Subject: Hi Ann", "Subject: Hi Bob"]);
}

/// The columns that need a host each, with the four settings as headers: the table holds for submission too.
#[tokio::test(flavor = "multi_thread")]
async fn the_tls_table_holds() {
    let columns = [
        ("good", Observed::Verified),
        ("self-signed", Observed::Unverified),
        ("no-starttls", Observed::NotOffered),
        ("broken-handshake", Observed::HandshakeFailed),
    ];
    let world = World::start_without_reuse(Lab::start().await.unwrap()).await;
    world.add_login().await;
    let mut client = world.log_in().await;
    for (state, observed) in columns {
        for policy in TlsPolicy::ALL {
            let yes_or_no = |value| if value { "yes" } else { "no" };
            let options = format!(
                "X-Mailgun-Require-TLS: {}\r\nX-Mailgun-Skip-Verification: {}\r\n",
                yes_or_no(policy.require_tls()),
                yes_or_no(policy.skip_verification())
            );
            let to = format!("a@{state}.test");
            let id = id_of(&client.send("", &[&to], &format!("{HEADER}{options}\r\nHi")).await);
            let event = world.outcome_of(&id).await;
            let told = (event["event"].as_str().unwrap(), event["delivery-status"]["tls"].as_bool().unwrap());
            let expected = match decide(policy, Fallback::default(), observed) {
                Verdict::LeaveHost => ("failed", false),
                Verdict::ReconnectInPlaintext | Verdict::Deliver(Protection::Plaintext) => ("delivered", false),
                Verdict::Deliver(_) => ("delivered", true),
            };
            assert_eq!(told, expected, "{state}, {policy:?}: {event:#}");
        }
    }
    assert_eq!(world.lab.violations(), Vec::<String>::new());
}

/// What HTTP refuses, submission refuses, in the same words.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_and_nothing_is_kept() {
    let world = world_with("good").await;
    let mut client = world.log_in().await;
    for (field, enhanced) in [
        ("X-Mailgun-Require-TLS: perhaps", "5.7.0"),
        ("X-Mailgun-Require-TLS: yes\r\nX-Mailgun-Require-TLS: no", "5.7.0"),
        ("X-Mailgun-Skip-Verification:", "5.7.0"),
        ("x-mailgun-requiretls: yes", "5.7.0"),
        ("X-Mailgun-Sending-Ip: 192.0.2.1", "5.7.0"),
        ("X-Mailgun-Variables: [1]", "5.7.0"),
        ("X-Mailgun-Deliver-By: tomorrow", "5.7.0"),
        ("X-Mailgun-Unheard-Of: 1", "5.7.0"),
        ("From: other@sender.example", "5.6.0"),
        ("Message-ID: none", "5.6.0"),
        ("this is no field", "5.6.0"),
    ] {
        let message = format!("{HEADER}{field}\r\n\r\nHi\r\n");
        let form = [("to", "a@good.test"), ("message", message.as_str())];
        let over_http = world.refused("messages.mime", &form).await;
        let answer = client.send("", &["a@good.test"], message.trim_end()).await;
        assert_eq!(answer, format!("550 {enhanced} {over_http}"), "{field}");
    }
    let answer =
        client.send(" REQUIRETLS", &["a@good.test"], &format!("{HEADER}X-Mailgun-TLS-End-To-End: no\r\n\r\nHi")).await;
    assert!(answer.starts_with("550 5.7.0 'X-Mailgun-TLS-End-To-End' is given more than once"), "{answer}");
    let round = "Received: from a by b; date\r\n".repeat(101);
    let answer = client.send("", &["a@good.test"], &format!("{HEADER}{round}\r\nHi")).await;
    assert_eq!(answer, "554 5.4.6 The message has been going round in circles");
    let events = world.get(&format!("/v3/{DOMAIN}/events")).await;
    assert_eq!(events["items"], json!([]), "nothing was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn requiretls_and_its_opposite_are_what_they_are_over_http() {
    let world = world_with("good").await;
    let mut client = world.log_in().await;
    for (parameters, field, tag) in [
        ("", "", "none"),
        (" REQUIRETLS", "", "requiretls"),
        ("", "X-Mailgun-TLS-End-To-End: yes\r\n", "requiretls"),
        ("", "TLS-Required: No\r\n", "not-required"),
        (" REQUIRETLS", "TLS-Required: No\r\n", "requiretls"),
    ] {
        let message = format!("{HEADER}{field}X-Mailgun-Drop-Message: yes\r\n\r\nHi");
        let id = id_of(&client.send(parameters, &["a@good.test"], &message).await);
        let event = accepted(&world, &id).await;
        assert_eq!(event["tls-settings"]["tls-tag"], tag, "{parameters} {field}");
        assert_eq!(event["flags"]["is-test-mode"], true);
    }
}

/// Where failures are reported to: as over HTTP, and to nobody if the client says so.
#[tokio::test(flavor = "multi_thread")]
async fn the_return_path_is_the_sending_domains() {
    let world = world_with("good").await;
    let mut client = world.log_in().await;
    for (from, mail, sender) in [
        ("me@sender.example", "a@b.example", "me@sender.example"),
        ("me@elsewhere.example", "a@b.example", "postmaster@sender.example"),
        ("me@sender.example", "", ""),
    ] {
        client.ask(&format!("MAIL FROM:<{mail}>")).await;
        client.ask("RCPT TO:<a@good.test>").await;
        client.ask("DATA").await;
        let message = format!("From: {from}\r\nX-Mailgun-Drop-Message: yes\r\n\r\nHi\r\n.");
        let event = accepted(&world, &id_of(&client.ask(&message).await)).await;
        assert_eq!(event["envelope"]["sender"], sender, "{from} {mail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_recipients_and_no_more() {
    let world = world_with("good").await;
    let mut client = world.log_in().await;
    let recipients: String = (0..1001).map(|n| format!("RCPT TO:<r{n}@good.test>\r\n")).collect();
    client.say(&format!("MAIL FROM:<me@sender.example>\r\n{recipients}DATA\r\n")).await;
    assert!(client.reply().await.starts_with("250 "));
    for _ in 0..1000 {
        assert_eq!(client.reply().await, "250 2.1.5 Recipient OK");
    }
    assert_eq!(client.reply().await, "452 4.5.3 Too many recipients, max is 1000");
    assert!(client.reply().await.starts_with("354 "));
    let answer = client.ask(&format!("{HEADER}X-Mailgun-Drop-Message: yes\r\n\r\nHi\r\n.")).await;
    let event = accepted(&world, &id_of(&answer)).await;
    assert_eq!(event["message"]["recipients"].as_array().unwrap().len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_are_slow_and_few() {
    let world = world_with("good").await;
    let login = format!("app@{DOMAIN}");
    let mut client = world.connect().await;
    // A login that is not there is refused like one that is, and each answer is slower than the one before.
    let (known, first) = timed(client.auth(&login, "wrong horse")).await;
    let (unknown, second) = timed(client.auth(&format!("nobody@{DOMAIN}"), "wrong horse")).await;
    assert_eq!((known.as_str(), known == unknown), ("535 5.7.8 Wrong login or password", true));
    assert!(first.as_millis() >= 250 && second.as_millis() >= 500, "{first:?} {second:?}");
    assert_eq!(client.auth("no login at all", "wrong horse").await, "421 4.7.0 Too many wrong passwords");
    assert_eq!(client.reply().await, "");
    // Logins know no case; passwords do.
    let mut client = world.connect().await;
    assert!(client.auth(&login.to_uppercase(), "correct horse").await.starts_with("235 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_gone_begins_no_message() {
    let world = world_with("good").await;
    let mut client = world.log_in().await;
    id_of(&client.send("", &["a@good.test"], &format!("{HEADER}\r\nHi")).await);
    world.put(&format!("/v3/domains/{DOMAIN}/credentials/app"), &[("password", "battery staple")]).await;
    let answer = client.ask("MAIL FROM:<me@sender.example>").await;
    assert_eq!(answer, "421 4.7.0 The credential is no longer valid, log in again");
    let mut client = world.connect().await;
    assert!(client.auth(&format!("app@{DOMAIN}"), "correct horse").await.starts_with("535 "), "not even from memory");
    assert!(client.auth(&format!("app@{DOMAIN}"), "battery staple").await.starts_with("235 "));
}

/// 250 is said when the message is on disk: it survives that the program is killed right then.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_survives_sigkill() {
    let mut world = world_with("good").await;
    let mut client = world.log_in().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(id_of(&client.send("", &["a@good.test"], &format!("{HEADER}\r\nHi")).await));
    }
    // A sixth is under way.
    client.ask("MAIL FROM:<me@sender.example>").await;
    client.ask("RCPT TO:<a@good.test>").await;
    client.ask("DATA").await;
    client.say(HEADER).await;
    world.kill();
    world.run();
    for id in ids {
        assert_eq!(world.outcome_of(&id).await["event"], "delivered");
    }
    let all = world.get(&format!("/v3/{DOMAIN}/events?event=accepted")).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 5);
}

/// A store without room for new mail: the client may come again.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused_for_now() {
    let mut world = world_with("good").await;
    world.kill();
    // Where the store keeps its reserve nothing can be written.
    let reserve = world.directory.join("data/waxwing.reserve");
    std::fs::remove_file(&reserve).unwrap();
    std::fs::create_dir(&reserve).unwrap();
    world.run();
    let mut client = world.log_in().await;
    let answer = client.send("", &["a@good.test"], &format!("{HEADER}\r\nHi")).await;
    assert_eq!(answer, "452 4.3.1 The message cannot be kept now, try again later");
    // The session goes on.
    assert_eq!(client.ask("NOOP").await, "250 2.0.0 OK");
}
