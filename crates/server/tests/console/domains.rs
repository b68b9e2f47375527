//! Sending → Domains → Domain settings: what is changed there holds in the API, and for nobody else's domain.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use store::{
    AttemptRecord, Claim, ConnectionRecord, EventKind, NewDomain, NewEvent, NewState, RecipientOutcome, Timestamp,
};

use crate::support::{Panel, hidden};

const SECURITY: &str = "/sending/domains/example.com/security";

/// A message that was delivered in plaintext, since the host offered nothing else.
async fn deliver_in_plaintext(panel: &Panel, to: &str) {
    let fields = [("from", "a@example.com"), ("to", to), ("subject", "hello"), ("text", "hello")];
    panel.api(Method::POST, "/v3/example.com/messages", &fields).await;
    let now = Timestamp::now();
    let job = panel.store.claim(Claim::all(now, now + Duration::from_secs(60), 10)).await.unwrap().remove(0);
    let mx_host = "mx<i>.example.net".into();
    let attempt = AttemptRecord {
        attempt_no: 1,
        code: 250,
        enhanced_code: None,
        message: "OK".into(),
        description: String::new(),
        session: Duration::from_millis(5),
        retry_after: None,
        utf8: false,
        connection: Some(ConnectionRecord { mx_host, tls: false, certificate_verified: false, sending_ip: None }),
        details: json!({ "observed": "not-offered", "fallback": "starttls-not-supported" }),
        last_code: None,
        last_message: None,
    };
    let event = NewEvent { kind: EventKind::Delivered, severity: None, reason: None, attempt: Some(attempt) };
    let outcome = RecipientOutcome { recipient: job.recipients[0].id, state: NewState::Delivered, events: vec![event] };
    panel.store.record(Timestamp::now(), vec![outcome]).await.unwrap();
}

#[tokio::test]
async fn required_tls_is_asked_about_before_it_holds() {
    let panel = Panel::start().await;
    deliver_in_plaintext(&panel, "b@example.net").await;
    let mut user = panel.user_of("example.com").await;
    assert_eq!(user.get(SECURITY).await.status, 200);
    let wanted = [("require_tls", "yes"), ("tls_fallback", "defer"), ("tls_failure", "fail")];
    let asked = user.submit(SECURITY, &wanted).await;
    assert_eq!(asked.status, 200);
    assert!(asked.text.contains("1 messages to 1 recipients"), "{}", asked.text);
    assert!(asked.text.contains("example.net") && asked.text.contains("mx&lt;i&gt;.example.net"));
    assert!(!asked.text.contains("mx<i>"));
    assert_eq!(panel.tls_of("example.com").await["require_tls"], false, "nothing holds before it is confirmed");

    // The second page has all that was typed on the first.
    let names = ["require_tls", "skip_verification", "tls_fallback", "tls_failure", "confirmed"];
    let fields = names.map(|name| (name, hidden(&asked.text, name).unwrap()));
    let saved = user.submit(SECURITY, &fields).await;
    assert!(user.follow(&saved).await.text.contains("Saved."));
    let tls = panel.tls_of("example.com").await;
    assert_eq!((&tls["require_tls"], &tls["skip_verification"]), (&json!(true), &json!(false)));
    assert_eq!((&tls["tls_fallback"], &tls["tls_failure"]), (&json!("defer"), &json!("fail")));

    // Less is not asked about, and a valid certificate on top is asked about again.
    let less =
        [("skip_verification", "yes"), ("tls_fallback", "plaintext"), ("tls_failure", "defer"), ("require_tls", "yes")];
    assert_eq!(user.submit(SECURITY, &less).await.status, 303);
    assert_eq!(panel.tls_of("example.com").await["skip_verification"], true);
    assert_eq!(user.submit(SECURITY, &less[1..]).await.status, 200);
    assert_eq!(panel.tls_of("example.com").await["skip_verification"], true, "nothing holds before it is confirmed");
    assert_eq!(user.submit(SECURITY, &less[..3]).await.status, 303);
    assert_eq!(panel.tls_of("example.com").await["require_tls"], false);
    assert_eq!(panel.tls_of("other.example").await["skip_verification"], false, "the other domain stays as it was");
}

#[tokio::test]
async fn what_if_can_be_asked_and_changes_nothing() {
    let panel = Panel::start().await;
    let mut admin = panel.admin().await;
    let page = admin.get(&format!("{SECURITY}?what-if=yes")).await;
    assert!(page.text.contains("would have kept nothing back"), "{}", page.text);
    deliver_in_plaintext(&panel, "b@example.net").await;
    let page = admin.get(&format!("{SECURITY}?what-if=yes")).await;
    assert!(page.text.contains("1 messages to 1 recipients"));
    assert_eq!(panel.tls_of("example.com").await["require_tls"], false);
    assert!(!admin.get(SECURITY).await.text.contains("1 messages to 1 recipients"));
}

#[tokio::test]
async fn a_refusal_keeps_what_was_typed() {
    let panel = Panel::start().await;
    let mut admin = panel.admin().await;
    let typed = [("skip_verification", "yes"), ("tls_fallback", "<b>never"), ("tls_failure", "fail")];
    let refused = admin.submit(SECURITY, &typed).await;
    assert!(refused.text.contains("Not done.") && refused.text.contains("tls_fallback"), "{}", refused.text);
    assert!(!refused.text.contains("<b>never"));
    let ticked = |name: &str| {
        refused.text.contains(&format!("id=\"{name}\" name=\"{name}\" type=\"checkbox\" value=\"yes\" checked"))
    };
    assert_eq!((ticked("skip_verification"), ticked("require_tls")), (true, false));
    assert_eq!(panel.tls_of("example.com").await["skip_verification"], false);
}

#[tokio::test]
async fn nobody_sees_or_changes_another_domain() {
    let panel = Panel::start().await;
    let mut user = panel.user_of("example.com").await;
    assert_eq!(user.get("/sending/domains").await.location(), "/sending/domains/example.com");
    assert_eq!(user.get("/sending/domains/example.com").await.status, 200);
    let other = "/sending/domains/other.example";
    for page in
        ["", "/security", "/security?what-if=yes", "/access", "/suppressions", "/webhooks", "/templates", "/settings"]
    {
        let answer = user.get(&format!("{other}{page}")).await;
        assert!(matches!(answer.status, 401 | 403 | 404), "{page}: {} {}", answer.status, answer.text);
        let own = user.get(&format!("/sending/domains/example.com{page}")).await;
        assert_eq!(own.status, 200, "{page}: {}", own.text);
    }
    let before = panel.api(Method::GET, "/v4/domains/other.example", &[]).await;
    let (tracking, logins) = ("/v3/domains/other.example/tracking", "/v3/domains/other.example/credentials");
    let tracked = panel.api(Method::GET, tracking, &[]).await;
    for (path, fields) in [
        (
            "/security",
            &[("require_tls", "yes"), ("confirmed", "yes"), ("tls_fallback", "defer"), ("tls_failure", "fail")][..],
        ),
        ("/verify", &[]),
        ("/access/credentials", &[("login", "app")]),
        ("/access/keys", &[("role", "sending")]),
        ("/settings/tracking", &[("open", "yes")]),
        ("/settings/delete", &[("typed", "other.example")]),
        ("/templates", &[("name", "x"), ("template", "x")]),
        ("/webhooks", &[("url", "https://a.example/"), ("event_types", "delivered")]),
    ] {
        let answer = user.submit(&format!("{other}{path}"), fields).await;
        let page = if answer.status == 303 { user.follow(&answer).await } else { answer };
        assert!(matches!(page.status, 401 | 403 | 404), "{path}: {} {}", page.status, page.text);
    }
    assert_eq!(panel.api(Method::GET, "/v4/domains/other.example", &[]).await, before);
    assert_eq!(panel.api(Method::GET, tracking, &[]).await, tracked);
    assert_eq!(panel.api(Method::GET, logins, &[]).await["total_count"], 0);
    // Domains are the account's: even the own one is neither ended nor joined by another.
    user.submit("/sending/domains", &[("name", "new.example")]).await;
    user.submit("/sending/domains/example.com/settings/delete", &[("typed", "example.com")]).await;
    assert_eq!(panel.api(Method::GET, "/v4/domains", &[]).await["total_count"], 2);
}

#[tokio::test]
async fn domains_come_and_go() {
    let panel = Panel::start().await;
    let mut admin = panel.admin().await;
    let refused = admin.submit("/sending/domains", &[("name", "<b>no domain")]).await;
    let page = admin.follow(&refused).await;
    assert!(page.text.contains("Not done.") && !page.text.contains("<b>no domain"), "{}", page.text);
    let made = admin.submit("/sending/domains", &[("name", "New.Example")]).await;
    assert_eq!(made.location(), "/sending/domains/new.example");
    let page = admin.follow(&made).await;
    assert!(page.text.contains("TXT") && page.text.contains("v=spf1"), "{}", page.text);
    assert!(!admin.get("/sending/domains/new.example").await.text.contains("The domain is there."), "said once");
    let listed = admin.get("/sending/domains?search=new.ex").await;
    assert!(listed.text.contains("href=\"/sending/domains/new.example\"") && !listed.text.contains("other.example"));
    let looked = admin.submit("/sending/domains/new.example/verify", &[]).await;
    assert!(admin.follow(&looked).await.text.contains("not there yet"));

    let delete = "/sending/domains/new.example/settings/delete";
    for typed in ["", "new", "example.com"] {
        assert_eq!(admin.submit(delete, &[("typed", typed)]).await.status, 303, "{typed}");
        assert_eq!(admin.get("/sending/domains/new.example").await.status, 200, "{typed}");
    }
    assert_eq!(admin.submit(delete, &[("typed", "new.example")]).await.status, 303);
    assert_eq!(admin.get("/sending/domains/new.example").await.status, 404);
}

/// A name cannot lead a page to something else of the API.
#[tokio::test]
async fn a_strange_name_is_a_name() {
    let panel = Panel::start().await;
    let hostile = NewDomain {
        name: "xn--bcher-kva.example".parse().unwrap(),
        tls: policy::tls::TlsSettings::default(),
        dkim: None,
        now: Timestamp::now(),
    };
    panel.store.create_domain(hostile).await.unwrap();
    let mut admin = panel.admin().await;
    assert_eq!(admin.get("/sending/domains/xn--bcher-kva.example/security").await.status, 200);
    for name in
        ["..%2Fkeys", "%2E%2E", "example.com%2Fconnection", "%3Cscript%3E", "a%00b", "%F0%9F%92%A9", "a%3Fb%23c"]
    {
        for page in ["", "/security", "/access", "/settings"] {
            let answer = admin.get(&format!("/sending/domains/{name}{page}")).await;
            assert!((400..500).contains(&answer.status), "{name}{page}: {}", answer.status);
            assert!(!answer.text.contains("<script>"), "{name}{page}");
        }
    }
}

#[tokio::test]
async fn tracking_is_switched_and_keeps_its_kind() {
    let nowhere = Panel::start().await;
    let path = "/sending/domains/example.com/settings";
    let mut user = nowhere.user_of("example.com").await;
    let refused = user.submit(&format!("{path}/tracking"), &[("open", "yes")]).await;
    assert!(user.follow(&refused).await.text.contains("tracking is not possible here"));

    let panel = Panel::start_behind(Some("http://mail.ours.test/")).await;
    let mut user = panel.user_of("example.com").await;
    let click = "/v3/domains/example.com/tracking/click";
    panel.api(Method::PUT, click, &[("active", "htmlonly")]).await;
    let page = user.get(path).await;
    assert!(page.text.contains("name=\"click\" value=\"htmlonly\" checked"), "{}", page.text);
    let saved = user.submit(&format!("{path}/tracking"), &[("open", "yes"), ("click", "htmlonly")]).await;
    assert!(user.follow(&saved).await.text.contains("Saved."));
    let tracking = panel.api(Method::GET, "/v3/domains/example.com/tracking", &[]).await["tracking"].clone();
    let active = ["open", "click", "unsubscribe"].map(|kind| tracking[kind]["active"].clone());
    assert_eq!(active, [json!(true), json!("htmlonly"), json!(false)]);
    assert!(user.get(path).await.text.contains("name=\"open\" value=\"yes\" checked"));
    user.submit(&format!("{path}/tracking"), &[]).await;
    let tracking = panel.api(Method::GET, "/v3/domains/example.com/tracking", &[]).await["tracking"].clone();
    assert_eq!((&tracking["open"]["active"], &tracking["click"]["active"]), (&json!(false), &json!(false)));
}
