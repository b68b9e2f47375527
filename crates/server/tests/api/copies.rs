//! Individual copies: what `recipient-variables` leads to, as far as acceptance goes.

use reqwest::multipart::Form;
use serde_json::{Value, json};

use crate::support::{Server, content, file};

#[tokio::test]
async fn one_content_is_kept_and_each_recipient_is_told_of_its_own() {
    let server = Server::start().await;
    let variables =
        json!({ "a@example.net": { "id": "\"1\"", "name": "Ann" }, "b@example.net": { "id": 2, "name": "Bob" } });
    let answer = server
        .send(&[
            ("to", "Ann A <a@example.net>, b@example.net"),
            ("subject", "Hi %recipient.name%"),
            ("recipient-variables", &variables.to_string()),
            ("v:id", "%recipient.id%"),
            ("v:same", "x"),
            ("h:X-Name", "%recipient.name%"),
            ("h:X-Same", "y"),
        ])
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let id = answer.json["id"].as_str().unwrap().trim_matches(['<', '>']).to_owned();

    let jobs = server.claim().await;
    assert_eq!(jobs.len(), 2, "each recipient is a job");
    assert!(jobs.iter().all(|job| job.recipients.len() == 1 && job.message_id == id && job.copy_plan.is_some()));
    assert_eq!(jobs[0].message, jobs[1].message, "the content is kept once");
    let kept = content(&server, &jobs[0]).await;
    assert!(kept.contains("\r\nX-Same: y\r\n") && !kept.contains("X-Name") && !kept.contains("X-Mailgun"), "{kept}");
    assert!(!kept.contains("b@example.net"), "{kept}");

    let mut told: Vec<Value> = server
        .events("")
        .await
        .into_iter()
        .map(|event| {
            let message = &event["message"];
            json!([
                event["user-variables"],
                message["headers"]["to"],
                message["headers"]["subject"],
                message["recipients"]
            ])
        })
        .collect();
    told.sort_by_key(|told| told[3].to_string());
    let expected = [
        json!([{ "id": "\"1\"", "same": "x" }, "Ann A <a@example.net>", "Hi Ann", ["a@example.net"]]),
        json!([{ "id": "2", "same": "x" }, "b@example.net", "Hi Bob", ["b@example.net"]]),
    ];
    assert_eq!(told, expected);
    assert_eq!(server.events("to=b%40example.net").await.len(), 1);
    assert_eq!(server.events(&format!("message-id={id}&recipient=a%40example.net")).await.len(), 1);
}

#[tokio::test]
async fn without_variables_for_it_a_recipient_still_has_a_copy_of_its_own() {
    let server = Server::start().await;
    let answer = server.send(&[("to", "a@example.net, b@example.net"), ("recipient-variables", "{}")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(server.claim().await.len(), 2);
    // In test mode nobody gets any, and everybody is told.
    let test = [("to", "a@example.net, b@example.net"), ("recipient-variables", "{}"), ("o:testmode", "yes")];
    server.send(&test).await;
    let events = server.events("event=delivered").await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["message"]["headers"]["to"], events[0]["recipient"]);
}

#[tokio::test]
async fn whole_messages_are_individual_by_field_or_header() {
    let server = Server::start().await;
    let variables = r#"{"a@example.net": {"n": "A"}, "b@example.net": {"n": "B"}}"#;
    let message = |header: &str| {
        format!(
            "From: a@example.com\r\nTo: %recipient%\r\n{header}Reply-To: %recipient.n%@example.com\r\n\r\nHi %recipient.n%\r\n"
        )
    };
    let by_header = message(&format!("X-Mailgun-Recipient-Variables: {}\r\n", variables.replace(", ", ",\r\n ")));
    for (message, field) in [(message(""), Some(variables)), (by_header, None)] {
        let mut form = Form::new().text("to", "a@example.net").text("to", "b@example.net");
        form = form.part("message", file("MimeMessage", "message/rfc822", message));
        if let Some(field) = field {
            form = form.text("recipient-variables", field.to_owned());
        }
        let answer = server.post_multipart("/v3/example.com/messages.mime", form).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let jobs = server.claim().await;
        assert_eq!(jobs.len(), 2);
        let kept = content(&server, &jobs[0]).await;
        assert!(!kept.to_lowercase().contains("recipient-variables"), "{kept}");
        assert!(kept.contains("Hi %recipient.n%"), "{kept}");
    }
}

#[tokio::test]
async fn what_could_not_be_sent_is_refused_at_once() {
    let server = Server::start().await;
    let variables = r#"{"b@example.net": {"reply": "no address"}}"#;
    for (name, value, message) in [
        ("h:Reply-To", "%recipient.reply%", "the recipient's copy cannot be made: Reply-To is not valid"),
        ("h:Bcc", "%recipient_email%", "the recipient's copy cannot be made: header Bcc cannot be set"),
        (
            "h:Content-Type",
            "%recipient.reply%",
            "the recipient's copy cannot be made: header Content-Type cannot be set",
        ),
        ("h:Message-ID", "<%recipient.reply%@x>", "'h:Message-ID' must be the same in all copies"),
        ("h:Date", "%recipient.reply%", "the recipient's copy cannot be made: Date is not valid"),
        ("from", "%recipient.reply%", "from parameter is not a valid address"),
        ("o:time-zone-localize", "02:00PM", "'o:time-zone-localize' is not supported yet"),
        ("o:deliverytime-optimize-period", "24h", "'o:deliverytime-optimize-period' is not supported yet"),
        ("o:deliver-within", "25h", "'o:deliver-within' must be a time like 1h30m, from 5m to 24h"),
    ] {
        let answer = server.send(&[("recipient-variables", variables), (name, value)]).await;
        assert_eq!(answer.status, 400, "{name}={value}");
        assert!(answer.error().1.starts_with(message), "{name}={value}: {}", answer.text);
    }
    server.assert_nothing_kept("bad copies").await;
}

#[tokio::test]
async fn the_end_of_the_window_is_kept() {
    let server = Server::start().await;
    assert_eq!(server.send(&[("o:deliver-within", "1h30m")]).await.status, 200);
    let job = server.claim().await.remove(0);
    let window = job.expires_at.unwrap().since(job.accepted_at).as_secs();
    assert!((5390..=5400).contains(&window), "{window}");
}
