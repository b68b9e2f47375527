//! How people come in and out, and what keeps others from acting in their name.

use std::time::{Duration, Instant};

use reqwest::Method;
use store::Timestamp;
use tokio::task::JoinSet;

use crate::support::{PASSWORD, Panel, hidden};

/// All that a page about everything is asked for with.
const PAGES: [&str; 10] = [
    "/",
    "/account",
    "/users",
    "/keys",
    "/logs",
    "/destinations",
    "/queue",
    "/reports",
    "/sending/domains",
    "/sending/domains/example.com/security",
];

#[tokio::test]
async fn the_link_makes_the_first_user_and_then_nobody() {
    let panel = Panel::start().await;
    let mut browser = panel.browser();
    assert!(browser.get("/sign-in").await.text.contains("Open the link that the server printed"));
    let stale = panel.console.open_setup().await.unwrap().unwrap();
    let link = panel.console.open_setup().await.unwrap().unwrap();
    for path in ["/setup", "/setup?token=x", &stale] {
        assert_eq!(browser.get(path).await.status, 403, "{path}");
    }
    let good = [("name", "ann"), ("password", PASSWORD), ("again", PASSWORD)];
    for token in ["", "x", stale.split_once('=').unwrap().1] {
        let answer = browser.post("/setup", &[&[("token", token)], &good[..]].concat()).await;
        assert_eq!(answer.status, 403, "{token}");
    }
    assert_eq!(browser.get(&link).await.status, 200);
    let token = link.split_once('=').unwrap().1;
    for (fields, wrong) in [
        ([("name", "ann"), ("password", "short"), ("again", "short")], "at least 10 characters"),
        ([("name", "ann"), ("password", PASSWORD), ("again", "another one")], "not the same"),
        ([("name", " "), ("password", PASSWORD), ("again", PASSWORD)], "name is missing"),
    ] {
        let answer = browser.post("/setup", &[&[("token", token)], &fields[..]].concat()).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text.contains(wrong), "{}", answer.text);
    }
    assert!(!panel.store.has_users().await.unwrap());

    let made = browser.post("/setup", &[&[("token", token)], &good[..]].concat()).await;
    assert_eq!((made.status, made.location()), (303, "/"), "{}", made.text);
    assert_eq!(browser.get("/users").await.status, 200, "signed in, and may do everything");
    let again = panel.browser().post("/setup", &[&[("token", token)], &good[..]].concat()).await;
    assert_eq!(again.status, 403);
    assert_eq!(panel.browser().get(&link).await.location(), "/sign-in");
    assert_eq!(panel.console.open_setup().await.unwrap(), None);
    assert_eq!(panel.store.list_users().await.unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_passwords_are_slow_and_then_not_looked_at() {
    let panel = Panel::start().await;
    panel.add_user("ann", None).await;
    for (name, password) in [("ann", "wrong password"), ("nobody", PASSWORD), ("ann", "")] {
        let answer = panel.browser().post("/sign-in", &[("name", name), ("password", password)]).await;
        assert_eq!((answer.status, answer.set_cookies()), (401, vec![]));
        assert!(answer.text.contains("The name or the password is wrong."), "it does not say which");
    }
    // Those that come at the same time count each other.
    let started = Instant::now();
    let mut guesses = JoinSet::new();
    for _ in 0..12 {
        let mut browser = panel.browser();
        guesses
            .spawn(async move { browser.post("/sign-in", &[("name", "<b>x"), ("password", "wrong password")]).await });
    }
    let all = guesses.join_all().await;
    let count = |status| all.iter().filter(|answer| answer.status == status).count();
    assert!(count(401) >= 1 && count(429) >= 1 && count(401) + count(429) == 12);
    assert!(started.elapsed() >= Duration::from_secs(8), "the last that was looked at waits longest");
    assert!(all.iter().all(|answer| answer.text.contains("&lt;b&gt;x") && !answer.text.contains("<b>x")));
    let refused = panel.browser().post("/sign-in", &[("name", "ann"), ("password", PASSWORD)]).await;
    assert_eq!(refused.status, 429, "the address has guessed too often");
}

#[tokio::test]
async fn a_session_ends_where_it_is_told_to() {
    let panel = Panel::start().await;
    panel.add_user("ann", None).await;
    let (mut one, mut two) = (panel.signed_in("ann").await, panel.signed_in("Ann").await);
    let kept = one.clone();
    let out = one.submit("/sign-out", &[]).await;
    assert_eq!((out.status, out.location(), one.cookies.len()), (303, "/sign-in", 0));
    assert_eq!(kept.clone().get("/").await.location(), "/sign-in", "the cookie that was kept opens nothing");
    assert_eq!(two.get("/").await.status, 200, "the other session goes on");

    let mut three = panel.signed_in("ann").await;
    assert_eq!(two.submit("/account/sign-out", &[]).await.status, 303);
    assert_eq!(three.get("/").await.status, 303, "everywhere");
    assert_eq!(panel.store.list_sessions(1, Timestamp::now()).await.unwrap().len(), 0);
}

#[tokio::test]
async fn another_password_ends_the_other_sessions() {
    let panel = Panel::start().await;
    panel.add_user("ann", None).await;
    let (mut one, mut two) = (panel.signed_in("ann").await, panel.signed_in("ann").await);
    let new = "battery staple";
    let fields = |current| [("current", current), ("password", new), ("again", new)];
    let refused = one.submit("/account/password", &fields("not this one")).await;
    assert!(one.follow(&refused).await.text.contains("Not done."));
    assert_eq!(two.get("/").await.status, 200, "nothing has changed");
    let changed = one.submit("/account/password", &fields(PASSWORD)).await;
    assert!(one.follow(&changed).await.text.contains("You have another password now."));
    assert_eq!((one.get("/").await.status, two.get("/").await.status), (200, 303));
    let mut fresh = panel.browser();
    assert_eq!(fresh.post("/sign-in", &[("name", "ann"), ("password", PASSWORD)]).await.status, 401);
    assert_eq!(fresh.post("/sign-in", &[("name", "ann"), ("password", new)]).await.status, 303);
}

#[tokio::test]
async fn the_cookie_is_out_of_reach() {
    let fields = [("name", "ann"), ("password", PASSWORD)];
    for (public_url, forwarded, is_https) in
        [(None, "", false), (None, "https", true), (Some("https://mail.ours.test/"), "", true)]
    {
        let panel = Panel::start_behind(public_url).await;
        panel.add_user("ann", None).await;
        let mut browser = panel.browser();
        let request = browser.request(Method::POST, "/sign-in").form(&fields).header("x-forwarded-proto", forwarded);
        let answer = browser.send(request).await;
        let cookies = answer.set_cookies();
        assert_eq!((answer.status, cookies.len()), (303, 1));
        for part in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(cookies[0].contains(part), "{part}: {cookies:?}");
        }
        assert_eq!(cookies[0].contains("; Secure"), is_https, "{cookies:?}");
        assert_eq!(cookies[0].starts_with("__Host-"), is_https, "{cookies:?}");
        assert!(!cookies[0].contains("Domain="));
        let request = browser.request(Method::GET, "/").header("x-forwarded-proto", forwarded);
        assert_eq!(browser.send(request).await.status, 200);
    }
}

#[tokio::test]
async fn a_form_must_come_from_a_page_of_the_session() {
    let panel = Panel::start().await;
    let (mut admin, mut user) = (panel.admin().await, panel.user_of("example.com").await);
    admin.get("/account").await;
    user.get("/account").await;
    let own = admin.csrf.clone();
    assert_ne!(own, user.csrf);
    let form = |csrf: &str| [("csrf".to_owned(), csrf.to_owned()), ("name".to_owned(), "new.example".to_owned())];
    for token in ["", "x", &user.csrf, &own[1..]] {
        let request = admin.request(Method::POST, "/sending/domains").form(&form(token));
        let refused = admin.send(request).await;
        assert_eq!(refused.status, 403, "{token}");
        assert!(refused.text.contains("not from this session"));
    }
    let without = admin.post("/sending/domains", &[("name", "new.example")]).await;
    assert_eq!(without.status, 403);
    for (name, value) in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil")]
    {
        let request = admin.request(Method::POST, "/sending/domains").form(&form(&own)).header(name, value);
        assert_eq!(admin.send(request).await.status, 403, "{name}: {value}");
    }
    let elsewhere = panel.browser().request(Method::POST, "/sign-in").header("sec-fetch-site", "cross-site");
    let elsewhere = elsewhere.form(&[("name", "root"), ("password", PASSWORD)]);
    assert_eq!(panel.browser().send(elsewhere).await.status, 403, "nobody is signed in by another site");
    let count = async || panel.api(Method::GET, "/v4/domains", &[]).await["total_count"].as_u64();
    assert_eq!(count().await, Some(2));
    let request =
        admin.request(Method::POST, "/sending/domains").form(&form(&own)).header("sec-fetch-site", "same-origin");
    assert_eq!(admin.send(request).await.status, 303);
    assert_eq!(count().await, Some(3), "the same form counts when it comes from here");
}

#[tokio::test]
async fn nobody_is_led_away_by_signing_in() {
    let panel = Panel::start().await;
    panel.add_user("ann", None).await;
    let asked = panel.browser().get("/logs?event=failed").await;
    assert_eq!((asked.status, asked.location()), (303, "/sign-in?next=%2Flogs%3Fevent%3Dfailed"));
    let form = panel.browser().get(asked.location()).await;
    assert_eq!(hidden(&form.text, "next"), Some("/logs?event=failed"));
    for (next, expected) in [
        ("/logs?event=failed", "/logs?event=failed"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("/\\elsewhere.example", "/"),
        ("javascript:alert(1)", "/"),
    ] {
        let fields = [("name", "ann"), ("password", PASSWORD), ("next", next)];
        assert_eq!(panel.browser().post("/sign-in", &fields).await.location(), expected, "{next}");
    }
}

#[tokio::test]
async fn every_page_is_guarded_and_has_only_its_own_token() {
    let panel = Panel::start().await;
    let (mut one, mut two) = (panel.admin().await, panel.signed_in("root").await);
    two.get("/").await;
    for path in PAGES {
        let page = one.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert!(!page.text.contains(&two.csrf), "{path}");
        assert!(!one.cookies.values().any(|token| page.text.contains(token)), "{path}");
        assert_eq!(page.text.matches("<h1>").count(), 1, "{path}");
        assert!(!page.text.contains("<style") && !page.text.contains(" style=") && !page.text.contains("<script>"));
    }
    let stranger = PAGES.iter().chain(&["/sign-in", "/nothing/here", "/sending/domains/nobody.example"]);
    for path in stranger {
        let pages = [panel.browser().get(path).await, one.get(path).await];
        for page in pages.iter().filter(|page| page.header("content-type").starts_with("text/html")) {
            let policy = page.header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
            assert!(!policy.contains("unsafe"), "{path}");
            assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
            assert_eq!(page.header("referrer-policy"), "same-origin", "{path}");
            assert_eq!(page.header("cache-control"), "no-store", "{path}");
        }
    }
    for path in PAGES {
        let asked = panel.browser().get(path).await;
        assert_eq!(asked.status, 303, "{path}");
        assert!(asked.location().starts_with("/sign-in"), "{path}");
    }
}

#[tokio::test]
async fn users_are_made_and_ended_by_administrators_only() {
    let panel = Panel::start().await;
    let (mut admin, mut user) = (panel.admin().await, panel.user_of("example.com").await);
    let new = [("name", "<i>bob"), ("domain", "other.example"), ("password", PASSWORD), ("again", PASSWORD)];
    assert_eq!(user.get("/users").await.status, 403);
    assert_eq!(user.submit("/users", &new).await.status, 403);
    for path in ["/users/delete", "/users/sign-out"] {
        assert_eq!(user.submit(path, &[("id", "1")]).await.status, 403);
    }
    let fields = [("id", "1"), ("password", "battery staple"), ("again", "battery staple")];
    assert_eq!(user.submit("/users/password", &fields).await.status, 403);
    assert_eq!(panel.store.list_users().await.unwrap().len(), 2);
    assert_eq!(admin.get("/").await.status, 200, "still signed in");

    let made = admin.submit("/users", &new).await;
    let page = admin.follow(&made).await;
    assert!(page.text.contains("&lt;i&gt;bob") && !page.text.contains("<i>bob"), "{}", page.text);
    let mut bob = panel.signed_in("<i>BOB").await;
    let bobs = panel.store.find_user("<i>bob").await.unwrap().unwrap();
    assert_eq!(bob.get("/sending/domains").await.location(), "/sending/domains/other.example");
    assert_eq!(admin.submit("/users/delete", &[("id", &bobs.id.to_string())]).await.status, 303);
    assert_eq!(bob.get("/").await.location(), "/sign-in", "gone, and signed out");
    let own = panel.store.find_user("root").await.unwrap().unwrap();
    let last = admin.submit("/users/delete", &[("id", &own.id.to_string())]).await;
    assert!(admin.follow(&last).await.text.contains("Somebody must be left"));
}
