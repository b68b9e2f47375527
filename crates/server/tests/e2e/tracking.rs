//! What recipients do with a message, from its links to the events.

use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method, Response, multipart, redirect};
use serde_json::{Value, json};
use testkit::{Behaviour, Lab, Received, Receiver};

use crate::world::{DOMAIN, KEY, PATIENCE, World};

/// Where links lead to; nobody is there but for a proxy.
const BASE: &str = "https://click.sender.example";
const HTML: &str = "<html><body class=x>Grüße <a href=\"https://shop.test/?a=1&amp;b=2#c\">Shop</a>\
    <a href='mailto:me@sender.example'>me</a><a href=\"#top\">top</a></body></html>";
const TEXT: &str = "See https://shop.test/text, bye.";
const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36";

/// All links of ours of one kind in a text, as they are behind the base.
fn links(text: &str, kind: &str) -> Vec<String> {
    let start = format!("{BASE}/t/{kind}/");
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let token = |rest: &str| rest.chars().take_while(|c| is_token(*c)).collect::<String>();
    text.split(&start).skip(1).map(|rest| format!("/t/{kind}/{}", token(rest))).collect()
}

fn decoded(content: &str, start: &str) -> String {
    // Soft line breaks and escapes of quoted-printable.
    let part = &content[content.find(start).unwrap_or_else(|| panic!("{content}"))..];
    let part = part.split("\r\n--").next().unwrap();
    part.replace("=\r\n", "").replace("=3D", "=").replace("=C3=BC", "ü").replace("=C3=9F", "ß")
}

async fn call(world: &World, method: Method, path: &str, agent: &str) -> Response {
    let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    let request = client.request(method, format!("{}{path}", world.base()));
    request.header("user-agent", agent).header("x-forwarded-for", "192.0.2.77").send().await.unwrap()
}

/// The events of this kind, once there are so many.
async fn told(world: &World, kind: &str, count: usize) -> Vec<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let page = world.get(&format!("/v3/{DOMAIN}/events?ascending=yes&event={kind}")).await;
        let items = page["items"].as_array().unwrap();
        if items.len() >= count {
            assert_eq!(items.len(), count);
            return items.clone();
        }
        assert!(Instant::now() < end, "only {items:?}");
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
}

/// The message that is meant, once it is there.
async fn arrived(receiver: &Receiver, is_it: impl Fn(&Received) -> bool) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(message) = receiver.messages().iter().find(|message| is_it(message)) {
            return message.text();
        }
        assert!(Instant::now() < end);
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
}

/// Sends a message whole, tracked.
async fn post_whole(world: &World, whole: &str) {
    let file = multipart::Part::text(whole.to_owned()).file_name("message.mime");
    let form = multipart::Form::new().text("to", "a@good.test").text("o:tracking", "yes").part("message", file);
    let request = Client::new().post(format!("{}/v3/{DOMAIN}/messages.mime", world.base())).multipart(form);
    let answer = request.basic_auth("api", Some(KEY)).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

/// The body as RFC 6376 §3.4.4 hashes it.
fn body_hash(content: &str) -> String {
    let (_, body) = content.split_once("\r\n\r\n").unwrap();
    let line = |line: &str| {
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        let indent = if line.starts_with([' ', '\t']) && !words.is_empty() { " " } else { "" };
        format!("{indent}{}\r\n", words.join(" "))
    };
    let mut body: String = body.split_terminator("\r\n").map(line).collect();
    while body.ends_with("\r\n\r\n") {
        body.truncate(body.len() - 2);
    }
    STANDARD.encode(digest(&SHA256, body.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn openings_and_clicks_of_each_recipient_are_told() {
    let mut lab = Lab::empty().await.unwrap();
    let receiver = lab.add("good", Behaviour::default()).await.unwrap();
    let mut world = World::start_with(lab, &[("tracking_url", BASE)]).await;

    let settings = format!("/v3/domains/{DOMAIN}/tracking");
    let changed = world.put(&format!("{settings}/open"), &[("active", "yes")]).await;
    assert_eq!(changed["open"], json!({ "active": true, "place_at_the_top": false }));
    assert_eq!(changed["message"], "Domain tracking settings have been updated");
    let changed = world.put(&format!("{settings}/click"), &[("active", "htmlonly")]).await;
    assert_eq!(changed["click"], json!({ "active": "htmlonly" }));
    let read = world.get(&settings).await;
    assert_eq!(read["tracking"]["open"]["active"], true);
    assert_eq!(read["tracking"]["web_scheme"], "https");

    let id = world.send("a@good.test, b@good.test", &[("html", HTML), ("text", TEXT), ("v:order", "7")]).await;
    world.events_of(&id, 2).await;
    let received = receiver.messages();
    assert_eq!(received.len(), 2, "each recipient got a message");
    let mut all = Vec::new();
    for message in &received {
        let content = message.text();
        assert!(
            ["a@good.test", "b@good.test"].iter().all(|to| content.contains(to)),
            "the header says what the sender said: {content}"
        );
        assert!(content.contains("See https://shop.test/text, bye."), "text is as it was");
        let html = decoded(&content, "<html>");
        let [open] = &links(&html, "o")[..] else { panic!("{html}") };
        let [click] = &links(&html, "c")[..] else { panic!("{html}") };
        let expected = HTML.replace("https://shop.test/?a=1&amp;b=2#c", &format!("{BASE}{click}")).replace(
            "</body>",
            &format!("<img src=\"{BASE}{open}\" width=\"1\" height=\"1\" alt=\"\" style=\"border:0\"></body>"),
        );
        assert!(html.starts_with(&expected), "{html}\n{expected}");
        let hash = content.replace("\r\n\t", "").replace("\r\n ", "");
        let hash = hash.split("bh=").nth(1).unwrap().split(';').next().unwrap().replace(' ', "");
        assert_eq!(hash, body_hash(&content), "it was signed as it went out");
        all.push((message.recipients[0].trim_matches(['<', '>']).to_owned(), open.clone(), click.clone()));
    }
    assert_ne!(all[0].1, all[1].1);
    let (address, open, click) = &all[0];

    let answer = call(&world, Method::HEAD, open, CHROME).await;
    assert_eq!(answer.status(), 200);
    let answer = call(&world, Method::GET, open, CHROME).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (200, &"image/gif".parse().unwrap()));
    assert_eq!(answer.headers()["cache-control"], "no-store, private");
    assert!(!answer.headers().contains_key("set-cookie"));
    assert!(answer.bytes().await.unwrap().starts_with(b"GIF89a"));
    let answer = call(&world, Method::GET, click, "curl/8").await;
    assert_eq!(answer.status(), 302);
    assert_eq!(answer.headers()["location"], "https://shop.test/?a=1&b=2#c");

    let opened = told(&world, "opened", 1).await.remove(0);
    assert_eq!(opened["recipient"], address.as_str());
    assert_eq!(opened["ip"], "192.0.2.77");
    assert_eq!(opened["client-info"]["client-name"], "Chrome");
    assert_eq!(opened["client-info"]["bot"], "");
    assert_eq!(opened["message"]["headers"]["message-id"], id);
    assert_eq!(opened["user-variables"], json!({ "order": "7" }));
    let clicked = told(&world, "clicked", 1).await.remove(0);
    assert_eq!(clicked["url"], "https://shop.test/?a=1&b=2#c");
    assert_eq!(clicked["client-info"]["bot"], "generic");

    // Sent once more it is tracked as it was, and its new recipient has links of his own.
    let path = format!("/v3/domains/{DOMAIN}/messages/{}", opened["storage"]["key"].as_str().unwrap());
    world.post(&path, &[("to", "c@good.test")]).await;
    let again = arrived(&receiver, |message| message.recipients.iter().any(|to| to.contains("c@good.test"))).await;
    let again = links(&decoded(&again, "<html>"), "c");
    assert!(again.len() == 1 && again[0] != *click, "{again:?}");

    // Links outlive a restart, and nobody makes one.
    world.restart_with(&[]);
    assert_eq!(call(&world, Method::GET, click, CHROME).await.status(), 302);
    told(&world, "clicked", 2).await;
    let swapped = click.replace("/c/", "/o/");
    let cut = &click[..click.len() - 1];
    for path in [&*swapped, cut, &format!("{click}A"), "/t/c/https%3A%2F%2Fevil.test", "/t/c/A"] {
        assert_eq!(call(&world, Method::GET, path, CHROME).await.status(), 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_says_what_is_tracked_of_it() {
    let mut lab = Lab::empty().await.unwrap();
    let receiver = lab.add("good", Behaviour::default()).await.unwrap();
    let mut world = World::start_with(lab, &[("tracking_url", BASE)]).await;
    let parts = [("html", HTML), ("text", TEXT)];
    for (options, opens, clicks) in [
        (&[][..], 0, 0),
        (&[("o:tracking", "yes")][..], 1, 2),
        (&[("o:tracking", "htmlonly"), ("o:tracking-opens", "no")], 0, 1),
        (&[("o:tracking-opens", "True"), ("o:tracking-pixel-location-top", "yes")], 1, 0),
    ] {
        let further: Vec<_> = parts.iter().chain(options).copied().collect();
        let id = world.send("a@good.test", &further).await;
        world.outcome_of(&id).await;
        let messages = receiver.messages();
        let content = messages.iter().map(|message| message.text()).find(|text| text.contains(&id)).unwrap();
        let whole = content.replace("=\r\n", "").replace("=3D", "=");
        assert_eq!((links(&whole, "o").len(), links(&whole, "c").len()), (opens, clicks), "{options:?}: {content}");
        if options.len() == 2 && opens == 1 {
            assert!(whole.contains("<body class=x><img "), "{whole}");
        }
    }

    // What others signed stays as it is; so does all but the link in a message that came whole.
    let signed = format!(
        "From: me@sender.example\r\nTo: a@good.test\r\nSubject: sealed\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/signed; boundary=b; protocol=\"application/pgp-signature\"; micalg=pgp-sha256\r\n\r\n\
         --b\r\nContent-Type: text/html\r\n\r\n{}\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n",
        HTML.replace("Grüße", "Hello")
    );
    let plain = "From: me@sender.example\r\nTo: a@good.test\r\nSubject: plain\r\nMIME-Version: 1.0\r\nX-Odd:  two  spaces\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\nodd preamble\r\n--b\r\nContent-Type: text/html\r\n\r\n\
        <a href=https://x.test/>x</a>\r\n--b\r\nContent-Type: text/html; name=file.html\r\nContent-Disposition: attachment\r\n\r\n\
        <a href=https://file.test/>x</a>\r\n--b--\r\n";
    for (whole, kept) in [
        (signed.as_str(), signed.split_once("\r\n\r\n").unwrap().1),
        (plain, "Content-Disposition: attachment\r\n\r\n<a href=https://file.test/>x</a>\r\n--b--\r\n"),
    ] {
        post_whole(&world, whole).await;
        let subject = whole.split("Subject: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let content = arrived(&receiver, |m| m.text().contains(&format!("Subject: {subject}\r\n"))).await;
        assert!(content.ends_with(kept), "{content}");
        assert_eq!(links(&content.replace("=\r\n", ""), "c").len(), usize::from(subject == "plain"), "{content}");
    }

    world.restart_with(&[("tracking_url", "")]);
    let refused = world
        .refused(
            "messages",
            &[("from", "me@sender.example"), ("to", "a@good.test"), ("text", "x"), ("o:tracking", "yes")],
        )
        .await;
    assert!(refused.starts_with("tracking is not possible here"), "{refused}");
}

/// The value of a header field, unfolded.
fn field(content: &str, name: &str) -> Option<String> {
    let head = content.split_once("\r\n\r\n").unwrap().0.replace("\r\n ", " ").replace("\r\n\t", " ");
    head.split("\r\n").find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
}

async fn one_click(world: &World, path: &str, body: &'static str) -> (u16, String) {
    let request = Client::new().post(format!("{}{path}", world.base())).body(body);
    let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_unsubscribes_gets_no_more() {
    const YES: &str = "List-Unsubscribe=One-Click";
    let mut lab = Lab::empty().await.unwrap();
    let receiver = lab.add("good", Behaviour::default()).await.unwrap();
    let mut world = World::start_with(lab, &[("tracking_url", BASE)]).await;
    let settings = format!("/v3/domains/{DOMAIN}/tracking/unsubscribe");
    let changed = world.put(&settings, &[("active", "yes"), ("text_footer", "\nOut: %unsubscribe_url%")]).await;
    assert_eq!(changed["unsubscribe"]["active"], true);

    let id = world.send("a@good.test", &[("html", "<p>Hello</p>"), ("text", "Hello"), ("o:tag", "News")]).await;
    world.outcome_of(&id).await;
    let content = arrived(&receiver, |message| message.text().contains(&id)).await;
    let whole = content.replace("=\r\n", "").replace("=3D", "=");
    let header = field(&content, "List-Unsubscribe").unwrap();
    assert_eq!(field(&content, "List-Unsubscribe-Post").as_deref(), Some(YES));
    let signed = field(&content, "DKIM-Signature").unwrap().to_ascii_lowercase();
    let covered = signed.split("h=").nth(1).unwrap().split(';').next().unwrap().replace(' ', "");
    for name in ["list-unsubscribe", "list-unsubscribe-post"] {
        assert!(covered.split(':').any(|one| one == name), "{covered}");
    }
    assert!(whole.contains(&format!("Hello\r\nOut: {}", &header[1..header.len() - 1])), "{whole}");
    assert!(whole.contains(">Unsubscribe</a></p>"), "{whole}");
    assert!(links(&whole, "c").is_empty() && links(&whole, "o").is_empty());
    assert_eq!(links(&whole, "u").len(), 3);
    let link = links(&header, "u").remove(0);
    assert!(!link.contains("good"));

    // Looking changes nothing, whoever looks.
    assert_eq!(call(&world, Method::HEAD, &link, CHROME).await.status(), 200);
    let page = call(&world, Method::GET, &link, CHROME).await;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(page.headers()["cache-control"], "no-store, private");
    assert!(!page.headers().contains_key("set-cookie"));
    let page = page.text().await.unwrap();
    assert!(page.contains("<form method=\"post\">") && !page.contains("good.test"), "{page}");
    for body in ["", "List-Unsubscribe=no", "x=One-Click"] {
        assert_eq!(one_click(&world, &link, body).await.0, 400, "{body}");
    }
    let list = format!("/v3/{DOMAIN}/unsubscribes");
    assert_eq!(world.get(&list).await["items"], json!([]));

    // A link of another kind, or with another word in it, is none.
    for path in [link.replace("/u/", "/c/"), link.replace("/u/", "/o/"), format!("{link}A")] {
        assert_eq!(call(&world, Method::GET, &path, CHROME).await.status(), 404, "{path}");
    }
    assert_eq!(one_click(&world, &format!("{link}A"), YES).await.0, 404);

    // What the sender wrote himself stands, and is only from what the message is tagged as.
    let own = [
        ("h:List-Unsubscribe", "<mailto:out@sender.example>, <%tag_unsubscribe_url%>, <%tag_unsubscribe_email%>"),
        ("html", "<a href=\"%tag_unsubscribe_url%\">no</a>"),
        ("text", "%mailing_list_unsubscribe_url%"),
        ("o:tag", "News"),
    ];
    let id = world.send("b@good.test", &own).await;
    world.outcome_of(&id).await;
    let content = arrived(&receiver, |message| message.text().contains(&id)).await;
    let whole = content.replace("=\r\n", "").replace("=3D", "=");
    let header = field(&content, "List-Unsubscribe").unwrap();
    assert!(header.starts_with("<mailto:out@sender.example>, <https://") && !header.contains('%'), "{header}");
    assert!(!whole.contains("Out:") && !whole.contains(">Unsubscribe<"), "{whole}");
    let tagged = links(&header, "u").remove(0);

    // One-Click is enough, more than once too, and outlives a restart.
    world.restart_with(&[]);
    for _ in 0..2 {
        let (status, text) = one_click(&world, &link, YES).await;
        assert_eq!(status, 200);
        assert!(text.contains("You are unsubscribed"), "{text}");
        assert_eq!(one_click(&world, &tagged, YES).await.0, 200);
    }
    let events = told(&world, "unsubscribed", 2).await;
    assert_eq!([&events[0]["recipient"], &events[1]["recipient"]], ["a@good.test", "b@good.test"]);
    assert_eq!(events[0]["tags"], json!(["News"]));
    let entry = |address: &str| format!("{list}/{address}");
    assert_eq!(world.get(&entry("a@good.test")).await["tags"], json!(["*"]));
    assert_eq!(world.get(&entry("b@good.test")).await["tags"], json!(["news"]));
    for (to, tag, event) in
        [("a@good.test", "other", "failed"), ("b@good.test", "NEWS", "failed"), ("b@good.test", "other", "delivered")]
    {
        let outcome = world.outcome_of(&world.send(to, &[("o:tag", tag)]).await).await;
        assert_eq!(outcome["event"], event, "{outcome}");
        let reason = if event == "failed" { json!("suppress-unsubscribe") } else { Value::Null };
        assert_eq!(outcome["reason"], reason);
    }
}
