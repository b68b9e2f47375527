//! MAIL, RCPT, DATA: every answer, with PIPELINING and without.

mod common;

use std::time::{Duration, Instant};

use common::{Run, Scenario};
use delivery::Timeouts;
use testkit::{Answer, Behaviour, Stage, Tls};

/// The same host with PIPELINING and without.
async fn both_ways(behaviour: Behaviour, recipients: &[&'static str]) -> [Run; 2] {
    let run = |pipelining| {
        let behaviour = Behaviour { pipelining, ..behaviour.clone() };
        Scenario { recipients: recipients.to_vec(), ..Scenario::with(behaviour) }.run()
    };
    [run(true).await, run(false).await]
}

fn answer(code: u16) -> Option<Answer> {
    Some(Answer::new(code, "as the test says"))
}

fn picky(answers: &[(&str, u16)]) -> Behaviour {
    let answers = answers.iter().map(|(to, code)| ((*to).to_owned(), Answer::new(*code, "")));
    Behaviour { recipients: answers.collect(), ..Behaviour::default() }
}

#[tokio::test]
async fn each_recipient_has_its_own_answer() {
    let behaviour = picky(&[("busy", 450), ("never", 550), ("many", 552), ("forwarded", 251), ("odd", 354)]);
    for run in both_ways(behaviour, &["busy", "bob", "never", "many", "forwarded", "odd"]).await {
        let expected = [
            ("deferred", 450),
            ("delivered", 250),
            ("failed", 550),
            ("deferred", 552),
            ("delivered", 250),
            // An answer that is no refusal is told as ours: a failure with code 354 helps nobody.
            ("deferred", 451),
        ];
        assert_eq!(run.outcomes(), expected);
        assert_eq!(run.receiver().messages()[0].recipients, ["bob@d.test", "forwarded@d.test"]);
        // The steps are everyone's evidence: what a host said to one recipient is not told to the others.
        assert_eq!(run.report.steps.last().unwrap().detail, "2 of 6 recipients taken");
        run.assert_clean();
    }
}

#[tokio::test]
async fn when_nobody_is_taken_no_content_leaves() {
    for run in both_ways(picky(&[("a", 550), ("b", 450)]), &["a", "b"]).await {
        assert_eq!(run.outcomes(), [("failed", 550), ("deferred", 450)]);
        let sessions = run.sessions(0, 1).await;
        assert!(sessions[0].messages.is_empty() && sessions[0].closed_by_quit);
        run.assert_clean();
    }
}

#[tokio::test]
async fn an_answer_to_the_transaction_is_everyones() {
    let good = Behaviour::default;
    for (behaviour, outcome) in [
        (Behaviour { mail: answer(451), ..good() }, ("deferred", 451)),
        (Behaviour { mail: answer(421), ..good() }, ("deferred", 421)),
        (Behaviour { mail: answer(550), ..good() }, ("failed", 550)),
        (Behaviour { mail: answer(354), ..good() }, ("deferred", 451)),
        (Behaviour { data: answer(451), ..good() }, ("deferred", 451)),
        (Behaviour { data: answer(554), ..good() }, ("failed", 554)),
        (Behaviour { data: answer(250), ..good() }, ("deferred", 451)),
        (Behaviour { end_of_data: answer(451), ..good() }, ("deferred", 451)),
        (Behaviour { end_of_data: answer(421), ..good() }, ("deferred", 421)),
        (Behaviour { end_of_data: answer(554), ..good() }, ("failed", 554)),
        (Behaviour { end_of_data: answer(354), ..good() }, ("deferred", 451)),
    ] {
        for run in both_ways(behaviour.clone(), &["bob", "eve"]).await {
            assert_eq!(run.outcomes(), [outcome, outcome], "{behaviour:?}");
            assert!(run.receiver().messages().is_empty());
            run.assert_clean();
        }
    }
}

#[tokio::test]
async fn before_the_transaction_an_answer_is_about_the_host() {
    let good = Behaviour::default;
    let (no, nobody) = (answer(554), answer(502));
    for (behaviour, code) in [
        (Behaviour { greeting: no.clone(), ..good() }, 554),
        (Behaviour { greeting: answer(421), ..good() }, 421),
        (Behaviour { greeting: answer(250), ..good() }, 451),
        (Behaviour { ehlo: nobody.clone(), helo: no, ..good() }, 554),
        (Behaviour { ehlo: answer(451), ..good() }, 451),
        (Behaviour { ehlo: answer(354), ..good() }, 451),
    ] {
        let run = Scenario::with(behaviour.clone()).run().await;
        assert_eq!(run.outcomes(), [("deferred", code)], "{behaviour:?}");
        let connection = run.report.recipients[0].connection.as_ref().unwrap();
        assert!(connection.channel.is_none() && !connection.tls());
        assert!(!run.sessions(0, 1).await[0].saw_mail());
        run.assert_clean();
    }
    let greeting = Some(Answer::new(220, "mx.d.test\nwelcome\nto all"));
    assert_eq!(Scenario::with(Behaviour { greeting, ..good() }).run().await.outcomes(), [("delivered", 250)]);
    // HELO offers nothing, so no TLS either.
    let run = Scenario::with(Behaviour { ehlo: nobody, ..good() }).run().await;
    assert_eq!(run.channel().unwrap().fallback(), Some("starttls-not-supported"));
    assert_eq!(run.sessions(0, 1).await[0].verbs(), ["EHLO", "HELO", "MAIL", "RCPT", "DATA", "QUIT"]);
    run.assert_clean();
}

#[tokio::test]
async fn a_message_too_big_is_not_begun() {
    let run = Scenario::with(Behaviour { size: Some(5), ..Behaviour::default() }).run().await;
    assert_eq!((run.outcomes(), run.problem().reason), (vec![("failed", 552)], Some("message-too-big")));
    assert!(!run.sessions(0, 1).await[0].saw_mail());
    let content = b"Subject: dots\r\n\r\n.\r\n..\r\n".to_vec();
    let size = content.len();
    let run = Scenario { content, ..Scenario::default() }.run().await;
    assert_eq!(run.receiver().messages()[0].mail_params, [format!("SIZE={size}")], "doubled dots do not count");
}

#[tokio::test]
async fn addresses_beyond_ascii_need_smtputf8_and_others_do_not() {
    let recipients = vec!["jürgen", "bob"];
    let run = Scenario { recipients: recipients.clone(), ..Scenario::default() }.run().await;
    assert_eq!(run.outcomes(), [("delivered", 250), ("delivered", 250)]);
    assert!(run.receiver().messages()[0].mail_params.contains(&"SMTPUTF8".to_owned()));
    assert!(run.report.recipients[0].connection.as_ref().unwrap().smtputf8);
    run.assert_clean();

    let without = Behaviour { smtputf8: false, ..Behaviour::default() };
    for pipelining in [true, false] {
        let behaviour = Behaviour { pipelining, ..without.clone() };
        let run = Scenario { recipients: recipients.clone(), ..Scenario::with(behaviour) }.run().await;
        assert_eq!(run.outcomes(), [("failed", 553), ("delivered", 250)]);
        assert_eq!(run.receiver().messages()[0].recipients, ["bob@d.test"]);
        run.assert_clean();
    }
    let alone = Scenario { recipients: vec!["jürgen"], ..Scenario::with(without.clone()) }.run().await;
    assert_eq!((alone.outcomes(), alone.problem().reason), (vec![("failed", 553)], Some("smtputf8-not-supported")));
    let from = Scenario { return_path: "jürgen@sender.test", recipients, ..Scenario::with(without) }.run().await;
    assert_eq!(from.outcomes(), [("failed", 553), ("failed", 553)]);
    for run in [alone, from] {
        assert!(!run.sessions(0, 1).await[0].saw_mail());
        run.assert_clean();
    }
}

#[tokio::test]
async fn eight_bit_content_is_declared_where_that_is_offered() {
    let body = "Subject: x\r\n\r\nGrüße\r\n".as_bytes().to_vec();
    let header = "Subject: Grüße\r\n\r\nx\r\n".as_bytes().to_vec();
    for (content, params) in [(body.clone(), vec!["BODY=8BITMIME"]), (header, vec!["BODY=8BITMIME", "SMTPUTF8"])] {
        let run = Scenario { content, ..Scenario::default() }.run().await;
        assert_eq!(run.receiver().messages()[0].mail_params[1..], params);
        run.assert_clean();
    }
    // Where it is not, the content goes as it is: rewriting it would break its signatures.
    let behaviour = Behaviour { eight_bit_mime: false, ..Behaviour::default() };
    let run = Scenario { content: body.clone(), ..Scenario::with(behaviour) }.run().await;
    assert_eq!(run.receiver().messages()[0].content, body);
    assert_eq!(run.receiver().violations(), ["content beyond ASCII without BODY=8BITMIME"]);
}

#[tokio::test]
async fn the_message_arrives_as_it_was_sent() {
    let long = format!("Subject: x\r\n\r\n{}\r\n", ".".repeat(998));
    let many = "Subject: x\r\n\r\n".to_owned() + &".a line\r\n..\r\n".repeat(20_000);
    for content in [
        "",
        "\r\n",
        ".\r\n",
        "Subject: empty\r\n\r\n",
        "Subject: x\r\n\r\n.\r\n..\r\n.a\r\n\r\n.\r\nQUIT\r\n",
        "Subject: x\r\n\r\n\tGrüße \u{1f600}  \r\n",
        &long,
        &many,
    ] {
        for tls in [Tls::Good, Tls::NotOffered] {
            let behaviour = Behaviour { tls, ..Behaviour::default() };
            let run = Scenario { content: content.into(), ..Scenario::with(behaviour) }.run().await;
            let message = &run.receiver().messages()[0];
            assert!(message.content == content.as_bytes(), "{:?}", content.chars().take(40).collect::<String>());
            assert_eq!((message.return_path.as_str(), run.delivered().code()), ("alice@sender.test", 250));
            run.assert_clean();
        }
    }
    let run = Scenario { return_path: "", ..Scenario::default() }.run().await;
    assert_eq!(run.receiver().messages()[0].return_path, "");
    // Lines beyond the limit are the composer's to fold; here they are not cut.
    let content = format!("Subject: x\r\n\r\n{}\r\n", "a".repeat(2000)).into_bytes();
    let run = Scenario { content: content.clone(), ..Scenario::default() }.run().await;
    assert_eq!(run.receiver().messages()[0].content, content);
    assert_eq!(run.receiver().violations(), ["a line is longer than 998 octets"]);
}

#[tokio::test]
async fn a_hundred_recipients_go_at_once() {
    let names: Vec<&'static str> = (0..100).map(|n| &*Box::leak(format!("user{n}").into_boxed_str())).collect();
    for run in both_ways(Behaviour::default(), &names).await {
        assert_eq!(run.receiver().messages()[0].recipients.len(), 100);
        run.assert_clean();
    }
    let few = Behaviour { max_recipients: 2, ..Behaviour::default() };
    for run in both_ways(few, &names[..3]).await {
        assert_eq!(run.outcomes(), [("delivered", 250), ("delivered", 250), ("deferred", 452)]);
        run.assert_clean();
    }
}

#[tokio::test]
async fn every_stage_has_its_time() {
    let short = Duration::from_millis(150);
    let long = Timeouts::default();
    for (stage, timeouts) in [
        (Stage::Connect, Timeouts { greeting: short, ..long }),
        (Stage::Ehlo, Timeouts { command: short, ..long }),
        (Stage::Mail, Timeouts { mail: short, ..long }),
        (Stage::Rcpt, Timeouts { rcpt: short, ..long }),
        (Stage::Data, Timeouts { data: short, ..long }),
        (Stage::EndOfData, Timeouts { data_termination: short, ..long }),
    ] {
        let behaviour = Behaviour { delays: [(stage, Duration::from_secs(60))].into(), ..Behaviour::default() };
        let begun = Instant::now();
        let run = Scenario { timeouts, ..Scenario::with(behaviour) }.run().await;
        assert!(begun.elapsed() < Duration::from_secs(40), "{stage:?}");
        assert_eq!(
            (run.outcomes(), run.problem().reason),
            (vec![("deferred", 421)], Some("connection-lost")),
            "{stage:?}"
        );
        assert!(run.receiver().messages().is_empty(), "{stage:?}");
    }
    // STARTTLS that is not answered is TLS that failed; QUIT that is not answered is nothing.
    let behaviour = Behaviour { delays: [(Stage::StartTls, Duration::from_secs(60))].into(), ..Behaviour::default() };
    let run = Scenario { timeouts: Timeouts { command: 5 * short, ..long }, ..Scenario::with(behaviour) }.run().await;
    assert_eq!(run.channel().unwrap().fallback(), Some("starttls-no-reply"));
    let behaviour = Behaviour { delays: [(Stage::Quit, Duration::from_secs(60))].into(), ..Behaviour::default() };
    let begun = Instant::now();
    assert_eq!(Scenario::with(behaviour).run().await.outcomes(), [("delivered", 250)]);
    assert!(begun.elapsed() < Duration::from_secs(40));
}

#[tokio::test]
async fn a_hosts_words_drive_no_terminal() {
    let rcpt = Some(Answer::new(550, "5.1.1 \u{1b}[2Jno\u{0}\u{7f}\nsuch <user>"));
    let run = Scenario::with(Behaviour { rcpt, ..Behaviour::default() }).run().await;
    let told = format!("{} {}", run.problem().message, run.report.steps[0].detail);
    assert!(told.contains("such <user>") && !told.contains(char::is_control), "{told:?}");
}
