//! Kept messages: seen as they are, and sent once more.

use policy::tls::{Source, TlsSettings};
use reqwest::Method;
use reqwest::multipart::Form;
use serde_json::{Value, json};
use store::Purge;
use store::Timestamp;

use crate::support::{Server, content, file, send};

/// Where the message of an event is, without the server's address.
fn place(event: &Value) -> String {
    let url = event["storage"]["url"].as_str().unwrap();
    let key = event["storage"]["key"].as_str().unwrap();
    let path = format!("/v3/domains/example.com/messages/{key}");
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with(&path), "{url}");
    path
}

/// Sends a message with files, and gives its place.
async fn kept(server: &Server) -> String {
    let octets: Vec<u8> = (0..=255).collect();
    let form = Form::new()
        .text("from", "Änn <ann@example.com>")
        .text("to", "Bob <bob@example.net>, carl@example.org")
        .text("bcc", "dora@example.net")
        .text("subject", "Grüße")
        .text("text", "Zażółć")
        .text("html", "<p>Zażółć<img src=\"cid:a.png\"></p>")
        .text("o:tag", "news")
        .text("v:order", "4711")
        .text("o:require-tls", "yes")
        .part("attachment", file("<b>.html", "text/html", "<script>alert(1)</script>"))
        .part("inline", file("a.png", "image/png", octets));
    let answer = server.post_multipart("/v3/example.com/messages", form).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    place(&server.events("").await[0])
}

#[tokio::test]
async fn a_message_is_shown_in_parts() {
    let server = Server::start().await;
    let path = kept(&server).await;
    let shown = server.get(&path).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    let shown = shown.json;
    for (name, value) in [
        ("sender", "ann@example.com"),
        ("recipients", "bob@example.net, carl@example.org, dora@example.net"),
        ("subject", "Grüße"),
        ("Subject", "Grüße"),
        ("Mime-Version", "1.0"),
        ("X-Mailgun-Tag", "news"),
        ("body-html", "<p>Zażółć<img src=\"cid:a.png\"></p>"),
        ("stripped-signature", ""),
    ] {
        assert_eq!(shown[name], value, "{name}: {shown:#}");
    }
    assert_eq!(shown["body-plain"].as_str().unwrap().trim(), "Zażółć");
    assert_eq!(shown["body-plain"], shown["stripped-text"]);
    assert!(shown["To"].as_str().unwrap().contains("bob@example.net"), "{shown:#}");
    assert!(shown["message-headers"].as_array().unwrap().contains(&json!(["Subject", "Grüße"])), "{shown:#}");
    assert!(!shown["message-headers"].to_string().contains("dora"), "nothing of bcc is in the message");
    assert_eq!(server.get(&path.replace("/v3", "/v4")).await.json["subject"], "Grüße");

    let files = shown["attachments"].as_array().unwrap();
    let told = |name: &str| files.iter().find(|file| file["name"] == name).unwrap();
    assert_eq!((&told("a.png")["content-type"], &told("a.png")["size"]), (&json!("image/png"), &json!(256)));
    assert_eq!(&shown["content-id-map"]["<a.png>"], told("a.png"), "{shown:#}");
    let url = told("a.png")["url"].as_str().unwrap();
    let got = server.request(Method::GET, url).send().await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), (0..=255).collect::<Vec<u8>>());
    let html = server.request(Method::GET, told("<b>.html")["url"].as_str().unwrap()).send().await.unwrap();
    let header = |name: &str| html.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html");
    assert_eq!(header("content-disposition"), "attachment; filename*=UTF-8''%3Cb%3E%2Ehtml");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox");
    for none in ["2", "x", "-1"] {
        assert_eq!(server.get(&format!("{path}/attachments/{none}")).await.error(), (404, "Message not found"));
    }
}

#[tokio::test]
async fn a_message_is_shown_whole() {
    let server = Server::start().await;
    let path = kept(&server).await;
    let shown = send(server.request(Method::GET, &path).header("accept", "message/rfc2822")).await.json;
    let names: Vec<_> = shown.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["recipients", "sender", "from", "subject", "body-mime"]);
    let job = server.claim().await.remove(0);
    assert_eq!(shown["body-mime"], content(&server, &job).await);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start().await;
    server.add_domain("other.example", TlsSettings::default()).await;
    let path = kept(&server).await;
    let key = path.rsplit('/').next().unwrap();
    let copy = format!("{path}.{}", "Ym9iQGV4YW1wbGUubmV0");
    for path in ["/v3/domains/example.com/messages/x", &format!("/v3/domains/other.example/messages/{key}"), &copy] {
        assert_eq!(server.get(path).await.error(), (404, "Message not found"), "{path}");
        assert_eq!(server.post(path, &[("to", "x@example.net")]).await.error(), (404, "Message not found"), "{path}");
    }
    let unknown = server.get(&format!("/v3/domains/nobody.example/messages/{key}")).await;
    assert_eq!(unknown.error(), (404, "Domain not found"));

    // Content goes when all are told; what is told stays.
    server.send(&[("o:testmode", "yes"), ("subject", "short-lived")]).await;
    let event = server.events("subject=short-lived").await.remove(0);
    assert_eq!(server.get(&place(&event)).await.status, 200);
    let purge = Purge { events_before: Timestamp::from_micros(0), wire_before: Timestamp::now() };
    server.store.purge(purge).await.unwrap();
    assert_eq!(server.get(&place(&event)).await.error(), (404, "Message not found"));
}

#[tokio::test]
async fn a_message_is_sent_once_more_to_others() {
    let server = Server::start().await;
    let path = kept(&server).await;
    let first = server.claim().await.remove(0);
    server.put("/v3/domains/example.com/connection", &[("skip_verification", "no"), ("tls_fallback", "defer")]).await;
    let answer =
        server.post(&path, &[("to", "Eve <eve@example.edu>, bob@example.edu"), ("to", "eve@example.edu")]).await;
    assert_eq!((answer.status, &answer.json["message"]), (200, &json!("Queued. Thank you.")), "{}", answer.text);
    assert_eq!(answer.json["id"], format!("<{}>", first.message_id));

    let jobs = server.claim().await;
    let [again] = &jobs[..] else { panic!("{jobs:?}") };
    let to: Vec<_> = again.recipients.iter().map(|recipient| recipient.address.to_string()).collect();
    assert_eq!(to, ["eve@example.edu", "bob@example.edu"]);
    assert_ne!(again.message, first.message);
    assert_eq!(content(&server, again).await, content(&server, &first).await, "octet for octet");
    assert_eq!((&again.return_path, &again.tags, again.dkim), (&first.return_path, &first.tags, first.dkim));
    assert!(again.tls.policy.require_tls() && again.tls.require_tls_from == Source::Message);
    assert_eq!(again.tls.fallback.as_str(), "defer", "the domain is stricter by now");

    let event = server.events("recipient=eve%40example.edu").await.remove(0);
    assert_eq!(event["user-variables"], json!({ "order": "4711" }));
    assert_eq!((&event["tags"], &event["method"]), (&json!(["news"]), &json!("http")));
    assert_ne!(place(&event), path, "a message of its own");
    assert_eq!(server.get(&place(&event)).await.json["recipients"], "eve@example.edu, bob@example.edu");
}

#[tokio::test]
async fn what_cannot_be_sent_once_more_is_refused() {
    let server = Server::start().await;
    let path = kept(&server).await;
    let many = (0..1001).map(|n| format!("u{n}@example.net")).collect::<Vec<_>>().join(",");
    for (fields, message) in [
        (&[][..], "to parameter is missing"),
        (&[("to", "")], "to parameter is missing"),
        (&[("to", "nobody")], "to parameter is not a valid address. please check documentation"),
        (&[("to", &*many)], "Too many recipients, max is 1000"),
        (&[("to", "x@example.net"), ("o:require-tls", "no")], "'o:require-tls' is not a parameter"),
        (&[("to", "x@example.net"), ("cc", "y@example.net")], "'cc' is not a parameter"),
    ] {
        assert_eq!(server.post(&path, fields).await.error(), (400, message));
    }
    assert_eq!(server.store.queued().await.unwrap(), 3, "only the first message waits");
}

#[tokio::test]
async fn of_individual_copies_each_recipient_has_its_own() {
    let server = Server::start().await;
    let variables = json!({ "a@example.net": { "n": "Ann" }, "b@example.net": { "n": "Bob" } }).to_string();
    let fields = [
        ("to", "a@example.net, b@example.net"),
        ("subject", "Hi %recipient.n%"),
        ("text", "Dear %recipient.n%"),
        ("recipient-variables", &variables),
        ("v:n", "%recipient.n%"),
    ];
    assert_eq!(server.send(&fields).await.status, 200);
    server.claim().await;
    let event = server.events("recipient=b%40example.net").await.remove(0);
    let path = place(&event);
    let shown = server.get(&path).await.json;
    assert_eq!(
        (&shown["subject"], &shown["To"], &shown["recipients"]),
        (&json!("Hi Bob"), &json!("<b@example.net>"), &json!("b@example.net"))
    );
    assert_eq!(shown["body-plain"].as_str().unwrap().trim(), "Dear Bob");
    assert!(!shown.to_string().contains("a@example.net"), "{shown:#}");

    // The key without a recipient shows what all copies are made of, and that goes to nobody.
    let (common, _) = path.rsplit_once('.').unwrap();
    assert_eq!(server.get(common).await.json["subject"], "Hi %recipient.n%");
    let refused = server.post(common, &[("to", "c@example.edu")]).await;
    assert!(refused.error().1.starts_with("each recipient of this message has a copy"), "{}", refused.text);
    let stranger = format!("{common}.YEBleGFtcGxlLm5ldA");
    assert_eq!(server.get(&stranger).await.error(), (404, "Message not found"));

    assert_eq!(server.post(&path, &[("to", "c@example.edu")]).await.status, 200);
    let jobs = server.claim().await;
    assert!(jobs[0].copy_plan.is_none());
    let again = content(&server, &jobs[0]).await;
    assert!(again.contains("Dear Bob") && again.contains("To: <b@example.net>") && !again.contains('%'), "{again}");
    let event = server.events("recipient=c%40example.edu").await.remove(0);
    assert_eq!(
        (&event["message"]["headers"]["subject"], &event["user-variables"]["n"]),
        (&json!("Hi Bob"), &json!("Bob"))
    );
}
