//! The control panel over HTTP: who gets in, and what a browser is told beside the page. What people see and do is tested in a
//! browser (`interop/40-console`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use delivery::resolve::Dns;
use reqwest::{Client, Method, RequestBuilder, Response};
use server::api::App;
use server::config::Config;
use server::console::{Console, router};
use server::sending_dns::SendingDns;
use store::{Location, Role, Store};
use tokio::sync::Notify;
use url::Url;

const PASSWORD: &str = "correct horse battery";

/// A running server. Its data goes when it is dropped.
struct Server {
    url: String,
    setup: String,
    store: Store,
    client: Client,
    directory: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Server {
    async fn start(public_url: Option<&str>) -> Server {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("waxwing-console-{}-{number}", std::process::id()));
        let store = Store::open(&Location::sqlite(&directory), Role::Server).await.unwrap();
        let ehlo_name = "mail.ours.test".parse().unwrap();
        let dns = Dns::new(Some("127.0.0.1:9".parse().unwrap()));
        let sending_dns = SendingDns::of(&Config { ehlo_name, ..Config::default() }, dns);
        let public_url = public_url.map(|url| url.parse::<Url>().unwrap());
        let app = App::new(store.clone(), Arc::new(Notify::new()), public_url, sending_dns);
        let console = Console::new(&app);
        let setup = console.open_setup().await.unwrap().unwrap();
        let service = router(app, console).into_make_service_with_connect_info::<SocketAddr>();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, service).await });
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Server { url, setup, store, client, directory }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    async fn get(&self, path: &str, cookie: &str) -> Response {
        self.request(Method::GET, path).header("cookie", cookie).send().await.unwrap()
    }

    async fn post(&self, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Response {
        self.request(Method::POST, path).header("cookie", cookie).form(fields).send().await.unwrap()
    }

    /// Makes the first user, and gives the cookie of the session.
    async fn set_up(&self) -> String {
        let token = self.setup.split_once("token=").unwrap().1;
        let fields = [("token", token), ("name", "ann"), ("password", PASSWORD), ("again", PASSWORD)];
        let answer = self.post("/setup", "", &fields).await;
        assert_eq!(answer.status(), 303);
        cookie_of(&answer)
    }

    /// The token that forms of this session have.
    async fn csrf(&self, cookie: &str) -> String {
        let page = self.get("/account", cookie).await.text().await.unwrap();
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a page of somebody who is signed in");
        rest.split('"').next().unwrap().to_owned()
    }
}

/// `name=value` of the session's cookie.
fn cookie_of(answer: &Response) -> String {
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

fn location(answer: &Response) -> &str {
    answer.headers()["location"].to_str().unwrap()
}

#[tokio::test]
async fn the_link_makes_one_user_and_then_none() {
    let server = Server::start(None).await;
    let fields = [("token", "guessed"), ("name", "eve"), ("password", PASSWORD), ("again", PASSWORD)];
    assert_eq!(server.post("/setup", "", &fields).await.status(), 403);
    let token = server.setup.split_once("token=").unwrap().1.to_owned();
    for (password, again) in [("short", "short"), (PASSWORD, "another password")] {
        let fields = [("token", token.as_str()), ("name", "eve"), ("password", password), ("again", again)];
        assert_eq!(server.post("/setup", "", &fields).await.status(), 400);
    }
    assert!(!server.store.has_users().await.unwrap());

    let cookie = server.set_up().await;
    assert_eq!(server.get("/", &cookie).await.status(), 200);
    let fields = [("token", token.as_str()), ("name", "eve"), ("password", PASSWORD), ("again", PASSWORD)];
    let again = server.post("/setup", "", &fields).await;
    assert_eq!((again.status().as_u16(), server.store.list_users().await.unwrap().len()), (403, 1));
    assert_eq!(location(&server.get(&server.setup, "").await), "/sign-in");
}

#[tokio::test]
async fn a_session_ends_when_it_is_told_to_and_everywhere() {
    let server = Server::start(None).await;
    let first = server.set_up().await;
    let second =
        server.post("/sign-in", "", &[("name", "Ann"), ("password", PASSWORD), ("next", "//elsewhere.test")]).await;
    assert_eq!(location(&second), "/", "nobody is led away");
    let second = cookie_of(&second);
    for cookie in [&first, &second] {
        assert_eq!(server.get("/logs", cookie).await.status(), 200);
    }
    let csrf = server.csrf(&first).await;
    assert_ne!(csrf, server.csrf(&second).await);
    assert_eq!(server.post("/sign-out", &second, &[("csrf", &csrf)]).await.status(), 403, "a form of another session");
    let other = "another password at all";
    let fields = [("csrf", csrf.as_str()), ("current", PASSWORD), ("password", other), ("again", other)];
    assert_eq!(server.post("/account/password", &first, &fields).await.status(), 303);
    assert_eq!(server.get("/logs", &first).await.status(), 200);
    assert_eq!(location(&server.get("/logs", &second).await), "/sign-in?next=%2Flogs", "the old password opened it");

    let wrong = server.post("/sign-in", "", &[("name", "ann"), ("password", PASSWORD)]).await;
    assert_eq!(wrong.status(), 401);
    let third = cookie_of(&server.post("/sign-in", "", &[("name", "ann"), ("password", other)]).await);
    let csrf = server.csrf(&third).await;
    assert_eq!(server.post("/account/sign-out", &third, &[("csrf", &csrf)]).await.status(), 303);
    for cookie in [&first, &third] {
        assert_eq!(server.get("/logs", cookie).await.status(), 303);
    }
}

#[tokio::test]
async fn forms_of_other_sites_and_without_a_token_change_nothing() {
    let server = Server::start(None).await;
    let cookie = server.set_up().await;
    let csrf = server.csrf(&cookie).await;
    let fields = |csrf: &str| [("csrf".to_owned(), csrf.to_owned()), ("name".to_owned(), "new.example".to_owned())];
    let send = async |csrf: &str, headers: &[(&str, &str)]| {
        let request = server.request(Method::POST, "/sending/domains").header("cookie", &cookie).form(&fields(csrf));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send("", &[]).await, 403);
    assert_eq!(send("wrong", &[]).await, 403);
    assert_eq!(send(&csrf, &[("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(send(&csrf, &[("origin", "https://elsewhere.test")]).await, 403);
    assert!(server.store.domain(&"new.example".parse().unwrap()).await.unwrap().is_none());
    assert_eq!(send(&csrf, &[("sec-fetch-site", "same-origin")]).await, 303);
    assert!(server.store.domain(&"new.example".parse().unwrap()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_browser_is_told_how_to_guard_the_page() {
    let server = Server::start(Some("https://panel.example/")).await;
    let token = server.setup.split_once("token=").unwrap().1;
    let fields = [("token", token), ("name", "ann"), ("password", PASSWORD), ("again", PASSWORD)];
    let answer = server.post("/setup", "", &fields).await;
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-waxwing="), "{cookie}");
    for part in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    for path in ["/", "/sign-in", "/logs", "/nothing-here", "/sending/domains/no.example"] {
        let answer = server.get(path, &cookie_of(&answer)).await;
        if path == "/nothing-here" {
            assert_eq!(answer.status(), 401, "what is no page is the API's, which asks for a key");
            continue;
        }
        let header = |name: &str| answer.headers()[name].to_str().unwrap();
        assert!(
            header("content-security-policy").starts_with("default-src 'none'; style-src 'self'; script-src 'self'")
        );
        assert_eq!((header("x-frame-options"), header("cache-control")), ("DENY", "no-store"), "{path}");
    }
    // The API stays what it is: a session is no key there.
    let api = server.get("/v4/domains", &cookie_of(&answer)).await;
    assert_eq!(api.status(), 401);
}

#[tokio::test]
async fn many_wrong_passwords_are_not_looked_at() {
    let server = Server::start(None).await;
    server.set_up().await;
    let mut statuses = Vec::new();
    let tries = (0..14).map(|_| server.post("/sign-in", "", &[("name", "ann"), ("password", "wrong wrong wrong")]));
    let mut tries: Vec<_> = tries.map(Box::pin).collect();
    // All at once: each waits longer than the one before.
    for one in futures(&mut tries).await {
        statuses.push(one.status().as_u16());
    }
    assert!(statuses.contains(&401) && statuses.contains(&429), "{statuses:?}");
}

/// All of them, at the same time.
async fn futures<F: Future + Unpin>(all: &mut Vec<F>) -> Vec<F::Output> {
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| match std::pin::Pin::new(one).poll(cx) {
            std::task::Poll::Ready(output) => {
                done.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}
