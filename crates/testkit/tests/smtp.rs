//! What receivers do and note, command by command.

mod common;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use common::{Client, PATIENCE, credulous};
use testkit::{Answer, Auth, Behaviour, Receiver, Stage, Tls};

async fn start(behaviour: Behaviour) -> Receiver {
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Receiver::start(anywhere, behaviour).await.unwrap()
}

async fn extended(receiver: &Receiver) -> Client<tokio::net::TcpStream> {
    let mut client = Client::connect(receiver.address()).await;
    client.expect(&[("EHLO client.test", 250)]).await;
    client
}

#[tokio::test]
async fn a_message_is_kept_as_it_came() {
    let receiver = start(Behaviour::default()).await;
    let mut client = extended(&receiver).await;
    client
        .expect(&[("MAIL FROM:<> SIZE=9 BODY=8BITMIME", 250), ("RCPT TO:<a@x.test>", 250), ("RCPT TO:<b@x.test>", 250)])
        .await;
    client.expect(&[("DATA", 354)]).await;
    client.send("..dö\r\n.\r\n".as_bytes()).await;
    assert_eq!(client.reply().await.0, 250);
    client.expect(&[("QUIT", 221)]).await;

    let session = &receiver.sessions()[0];
    let message = &session.messages[0];
    assert_eq!((message.return_path.as_str(), message.mail_params.len()), ("", 2));
    assert_eq!(message.recipients, ["a@x.test", "b@x.test"]);
    assert_eq!((message.text().as_str(), message.raw_wire.as_slice()), (".dö\r\n", "..dö\r\n".as_bytes()));
    assert_eq!((message.encrypted, message.answer), (false, Some(250)));
    assert_eq!(session.peer, client.stream.local_addr().unwrap());
    assert_eq!(session.local, receiver.address());
    assert_eq!(session.violations, Vec::<String>::new());
}

#[tokio::test]
async fn extensions_are_offered_as_told() {
    let all = ["PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "STARTTLS"];
    let receiver = start(Behaviour::default()).await;
    let offer = Client::connect(receiver.address()).await.ask("EHLO c.test").await.1;
    assert!(all.iter().all(|line| offer.contains(line)), "{offer}");

    let bare = Behaviour {
        host_name: Some("mx.bare.test".into()),
        tls: Tls::NotOffered,
        pipelining: false,
        eight_bit_mime: false,
        smtputf8: false,
        enhanced_status_codes: false,
        size: None,
        extensions: vec!["X-TRA 1".into()],
        ..Behaviour::default()
    };
    receiver.behave(bare).unwrap();
    let mut client = Client::connect(receiver.address()).await;
    assert_eq!(client.ask("EHLO c.test").await.1, "250-mx.bare.test at your service\r\n250 X-TRA 1\r\n");
    assert_eq!(client.ask("MAIL FROM:<a@b.test> X-TRA=2").await.1, "250 Sender fine\r\n");
}

#[tokio::test]
async fn every_answer_can_be_another() {
    let no = |code| Some(Answer::new(code, "no"));
    let recipients = [("unknown", Answer::new(550, "5.1.1 who?")), ("grey@x.test", Answer::new(450, "4.7.1 later"))];
    let recipients = recipients.map(|(key, answer)| (key.to_owned(), answer)).into();
    let default = Behaviour::default;
    let hello = &[("EHLO c.test", 250)];
    let cases: [(Behaviour, &[(&str, u16)]); 7] = [
        (
            Behaviour { ehlo: no(502), ..default() },
            &[("EHLO c.test", 502), ("HELO c.test", 250), ("MAIL FROM:<a@b.test>", 250)],
        ),
        (Behaviour { helo: no(504), ehlo: no(550), ..default() }, &[("EHLO c.test", 550), ("HELO c.test", 504)]),
        (
            Behaviour { mail: no(451), ..default() },
            &[hello[0], ("MAIL FROM:<a@b.test>", 451), ("RCPT TO:<a@x.test>", 503)],
        ),
        (
            Behaviour { rcpt: no(550), ..default() },
            &[hello[0], ("MAIL FROM:<>", 250), ("RCPT TO:<a@x.test>", 550), ("DATA", 554)],
        ),
        (
            Behaviour { recipients, ..default() },
            &[
                hello[0],
                ("MAIL FROM:<>", 250),
                ("RCPT TO:<unknown@y.test>", 550),
                ("RCPT TO:<Grey@x.test>", 450),
                ("RCPT TO:<a@x.test>", 250),
            ],
        ),
        (
            Behaviour { data: no(451), ..default() },
            &[hello[0], ("MAIL FROM:<>", 250), ("RCPT TO:<a@x.test>", 250), ("DATA", 451)],
        ),
        (
            Behaviour { max_recipients: 1, size: Some(10), rset: no(250), ..default() },
            &[
                hello[0],
                ("MAIL FROM:<> SIZE=11", 552),
                ("MAIL FROM:<> SIZE=10", 250),
                ("RCPT TO:<a@x.test>", 250),
                ("RCPT TO:<b@x.test>", 452),
                ("RSET", 250),
            ],
        ),
    ];
    for (behaviour, dialogue) in cases {
        let receiver = start(behaviour).await;
        let mut client = Client::connect(receiver.address()).await;
        client.expect(dialogue).await;
        client.expect(&[("NOOP", 250), ("QUIT", 221)]).await;
        assert_eq!(receiver.violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_final_dot_can_be_refused() {
    for (code, accepted) in [(250, 1), (451, 0), (552, 0)] {
        let receiver = start(Behaviour { end_of_data: Some(Answer::new(code, "so")), ..Behaviour::default() }).await;
        let mut client = extended(&receiver).await;
        assert_eq!(client.mail("a@x.test", "Hi\r\n.\r\n").await, code);
        assert_eq!(receiver.messages().len(), accepted);
        assert_eq!(receiver.sessions()[0].messages[0].answer, Some(code));
    }
    let receiver = start(Behaviour { size: Some(20), ..Behaviour::default() }).await;
    let mut client = extended(&receiver).await;
    assert_eq!(client.mail("a@x.test", "1234567890\r\n1234567890\r\n.\r\n").await, 552);
    assert_eq!(client.mail("a@x.test", "1234567890\r\n123456\r\n.\r\n").await, 250);
}

#[tokio::test]
async fn greetings_can_be_long_slow_or_negative() {
    let greeting = Answer::new(220, "one\ntwo").after(Duration::from_millis(100));
    let receiver = start(Behaviour { greeting: Some(greeting), ..Behaviour::default() }).await;
    let began = Instant::now();
    assert_eq!(Client::silent(receiver.address()).await.reply().await.1, "220-one\r\n220 two\r\n");
    assert!(began.elapsed() >= Duration::from_millis(100));

    receiver.behave(Behaviour { greeting: Some(Answer::new(554, "no mail")), ..Behaviour::default() }).unwrap();
    let mut client = Client::silent(receiver.address()).await;
    assert_eq!(client.reply().await.0, 554);
    client.expect(&[("EHLO c.test", 503), ("QUIT", 221)]).await;

    receiver.behave(Behaviour { greeting: Some(Answer::new(421, "busy")), ..Behaviour::default() }).unwrap();
    let mut client = Client::silent(receiver.address()).await;
    assert_eq!(client.reply().await.0, 421);
    assert_eq!(client.try_reply().await, None);
}

#[tokio::test]
async fn the_connection_drops_at_every_stage() {
    let stages = [Stage::Connect, Stage::Ehlo, Stage::Mail, Stage::Rcpt, Stage::Data, Stage::EndOfData, Stage::Quit];
    for stage in stages {
        let receiver = start(Behaviour { drop_after: Some(stage), ..Behaviour::default() }).await;
        let mut client = Client::silent(receiver.address()).await;
        let mut answered = usize::from(client.try_reply().await.is_some());
        let dialogue = ["EHLO c.test", "MAIL FROM:<a@b.test>", "RCPT TO:<a@x.test>", "DATA", "Hi\r\n.", "QUIT"];
        for line in dialogue.iter().take(if answered == 0 { 0 } else { dialogue.len() }) {
            client.send(format!("{line}\r\n").as_bytes()).await;
            match client.try_reply().await {
                Some(_) => answered += 1,
                None => break,
            }
        }
        let expected = stages.iter().position(|other| *other == stage).unwrap();
        assert_eq!(answered, expected, "{stage:?}");
        let session = receiver.wait_for_sessions(1, PATIENCE).await.remove(0);
        assert!(session.ended && !session.closed_by_quit);
        let answers: Vec<_> = session.messages.iter().map(|message| message.answer).collect();
        let told: &[Option<u16>] = match stage {
            Stage::EndOfData => &[None],
            Stage::Quit => &[Some(250)],
            _ => &[],
        };
        assert_eq!(answers, told, "{stage:?}");
    }
}

#[tokio::test]
async fn stages_can_be_slow() {
    let delay = Duration::from_millis(150);
    let receiver = start(Behaviour { delays: [(Stage::Mail, delay)].into(), ..Behaviour::default() }).await;
    let mut client = extended(&receiver).await;
    let began = Instant::now();
    client.expect(&[("MAIL FROM:<a@b.test>", 250)]).await;
    assert!(began.elapsed() >= delay);
}

#[tokio::test]
async fn idle_clients_are_sent_away() {
    let receiver = start(Behaviour { idle_timeout: Duration::from_millis(50), ..Behaviour::default() }).await;
    let mut client = Client::connect(receiver.address()).await;
    assert_eq!(client.reply().await.0, 421);
    assert_eq!(client.try_reply().await, None);
}

#[tokio::test]
async fn pipelining_works_and_is_judged() {
    let group = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n";
    // Behind MAIL, RCPT, RCPT and the final dot.
    for (pipelining, faults) in [(true, 0), (false, 4)] {
        let receiver = start(Behaviour { pipelining, ..Behaviour::default() }).await;
        let mut client = extended(&receiver).await;
        client.send(group).await;
        for code in [250, 250, 250, 354] {
            assert_eq!(client.reply().await.0, code);
        }
        client.send(b"Hi\r\n.\r\nQUIT\r\n").await;
        assert_eq!((client.reply().await.0, client.reply().await.0), (250, 221));
        let said = receiver.violations();
        assert_eq!(said.len(), faults, "{said:?}");
    }
}

#[tokio::test]
async fn breaches_of_the_protocol_are_noted() {
    let long = format!("NOOP {}\r\n", "x".repeat(600));
    let to_data = "EHLO c.test\r\n|MAIL FROM:<a@b.test>\r\n|RCPT TO:<a@x.test>\r\n|DATA\r\n|";
    let data = |content: &str| format!("{to_data}{content}");
    for (said, violation) in [
        ("MAIL FROM:<a@b.test>\r\n".to_owned(), "MAIL before EHLO"),
        ("STARTTLS\r\n".to_owned(), "STARTTLS without an offer"),
        ("EHLO c.test\n".to_owned(), "a command line with a bare CR or LF"),
        ("EHLO\r\n".to_owned(), "EHLO without a name"),
        ("FROB\r\n".to_owned(), "a command that was not offered"),
        (long, "a command line longer than the limit"),
        ("EHLO c.test\r\n|RCPT TO:<a@x.test>\r\n".to_owned(), "RCPT before MAIL"),
        ("EHLO c.test\r\n|DATA\r\n".to_owned(), "DATA before MAIL"),
        ("EHLO c.test\r\n|MAIL FROM:<a@b.test>\r\n|MAIL FROM:<a@b.test>\r\n".to_owned(), "MAIL inside a transaction"),
        ("EHLO c.test\r\n|MAIL FROM: <a@b.test>\r\n".to_owned(), "a path without angle brackets"),
        ("EHLO c.test\r\n|MAIL FROM:<a@b.test> RET=FULL\r\n".to_owned(), "parameter RET=FULL without an offer"),
        ("HELO c.test\r\n|MAIL FROM:<a@b.test> SIZE=1\r\n".to_owned(), "parameter SIZE=1 without an offer"),
        ("EHLO c.test\r\n|MAIL FROM:<ä@b.test>\r\n".to_owned(), "an address beyond ASCII without SMTPUTF8"),
        ("EHLO c.test\r\n|AUTH PLAIN AGEAYg==\r\n".to_owned(), "credentials in plaintext"),
        (data("a\n.\nb\r\n.\r\n"), "bare LF in the content"),
        (data("ä\r\n.\r\n"), "content beyond ASCII without BODY=8BITMIME"),
        (format!("{}Hi\r\n.\r\n", to_data.trim_end_matches('|')), "content before the answer to DATA"),
    ] {
        let receiver = start(Behaviour::default()).await;
        let mut client = Client::connect(receiver.address()).await;
        for part in said.split('|') {
            client.send(part.as_bytes()).await;
            client.reply().await;
        }
        assert_eq!(receiver.violations(), [violation], "{said:?}");
    }
}

#[tokio::test]
async fn a_line_without_end_is_cut_off() {
    let receiver = start(Behaviour::default()).await;
    let mut client = Client::connect(receiver.address()).await;
    client.send("x".repeat(20_000).as_bytes()).await;
    assert_eq!(client.reply().await.0, 421);
    assert_eq!(receiver.violations(), ["a command line without end"]);
}

#[tokio::test]
async fn credentials_are_taken_inside_tls_and_not_kept() {
    let auth = Auth { user: "user".into(), password: "secret".into(), in_plaintext: false };
    assert!(!format!("{auth:?}").contains("secret"));
    let receiver = start(Behaviour { auth: Some(auth), ..Behaviour::default() }).await;
    let mut client = Client::connect(receiver.address()).await;
    assert!(!client.ask("EHLO c.test").await.1.contains("AUTH"));
    let mut inside = client.starttls(&credulous(), "localhost").await.unwrap();
    assert!(inside.ask("EHLO c.test").await.1.contains("AUTH PLAIN"));
    let (right, wrong) = ("AHVzZXIAc2VjcmV0", "AHVzZXIAd3Jvbmc=");
    inside.expect(&[("MAIL FROM:<a@b.test>", 530), (&format!("AUTH PLAIN {wrong}"), 535)]).await;
    inside.expect(&[("AUTH PLAIN", 334), (right, 235), ("MAIL FROM:<a@b.test>", 250)]).await;
    let session = &receiver.sessions()[0];
    assert_eq!(session.authenticated.as_deref(), Some("user"));
    let said: Vec<_> = session.commands.iter().map(|seen| seen.line.as_str()).collect();
    assert!(!said.iter().any(|line| line.contains(right) || line.contains(wrong)), "{said:?}");
    assert_eq!(session.violations, Vec::<String>::new());
}

#[tokio::test]
async fn messages_can_be_waited_for() {
    let receiver = start(Behaviour::default()).await;
    let waiting = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.wait_for_messages(2, PATIENCE).await.len() }
    });
    let mut client = extended(&receiver).await;
    for _ in 0..2 {
        assert_eq!(client.mail("a@x.test", "Hi\r\n.\r\n").await, 250);
    }
    assert_eq!(waiting.await.unwrap(), 2);
    assert_eq!(receiver.wait_for_messages(3, Duration::from_millis(20)).await.len(), 2);
}

#[tokio::test]
async fn a_dropped_receiver_is_gone() {
    let receiver = start(Behaviour::default()).await;
    let address = receiver.address();
    let mut client = extended(&receiver).await;
    drop(receiver);
    assert_eq!(client.try_reply().await, None);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
