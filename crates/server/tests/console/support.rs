//! A server on loopback with a store of its own, and the browser's side of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use delivery::resolve::Dns;
use policy::tls::TlsSettings;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use server::api::App;
use server::config::Config;
use server::console::{Console, router};
use server::sending_dns::SendingDns;
use store::user::{NewUser, User, UserRole};
use store::{KeyHash, KeyRole, KeyScope, NewDomain, NewKey, PasswordHash, Role, Store, Timestamp};
use tokio::sync::Notify;

/// What every user here signs in with.
pub(crate) const PASSWORD: &str = "correct horse";
/// A key of the account.
pub(crate) const KEY: &str = "key-0123456789abcdef";

/// A running server with the sending domains `example.com` and `other.example`. Its data goes when it is dropped.
pub(crate) struct Panel {
    pub(crate) url: String,
    pub(crate) store: Store,
    pub(crate) console: Console,
    directory: PathBuf,
}

impl Drop for Panel {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Panel {
    /// Reached as the address says that it listens at.
    pub(crate) async fn start() -> Panel {
        Panel::start_behind(None).await
    }

    /// Reached at a public address.
    pub(crate) async fn start_behind(public_url: Option<&str>) -> Panel {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("waxwing-console-{}-{number}", std::process::id()));
        let store = Store::open(&testkit::store::location(&directory).parse().unwrap(), Role::Server).await.unwrap();
        let (hash, now) = (KeyHash::of(KEY), Timestamp::now());
        let (scope, role) = (KeyScope::Account, KeyRole::Admin);
        let key = NewKey { hash, description: "test".into(), hint: "cdef".into(), scope, role, expires_at: None, now };
        store.create_key(key).await.unwrap();
        // Nobody answers there: a look for DNS records ends at once.
        let dns = Dns::new(Some("127.0.0.1:9".parse().unwrap()));
        let config = Config { ehlo_name: "mail.ours.test".parse().unwrap(), ..Config::default() };
        let public_url = public_url.map(|url| url.parse().unwrap());
        let app = App::new(store.clone(), Arc::new(Notify::new()), public_url, SendingDns::of(&config, dns));
        let console = Console::new(&app);
        let service = router(app, console.clone()).into_make_service_with_connect_info::<SocketAddr>();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, service).await });
        for name in ["example.com", "other.example"] {
            let new = NewDomain { name: name.parse().unwrap(), tls: TlsSettings::default(), dkim: None, now };
            store.create_domain(new).await.unwrap();
        }
        Panel { url, store, console, directory }
    }

    /// A user with [`PASSWORD`]; of everything, or of one domain.
    pub(crate) async fn add_user(&self, name: &str, domain: Option<&str>) -> User {
        // As cheap as it gets: what is tested is not how long a password takes to guess.
        let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        let hash = PasswordHash::new(cheap.hash_password(PASSWORD.as_bytes()).unwrap().to_string());
        let role = domain.map_or(UserRole::Admin, |domain| UserRole::Domain(domain.parse().unwrap()));
        self.store.create_user(NewUser { name: name.into(), hash, role, now: Timestamp::now() }).await.unwrap()
    }

    /// A browser that nobody used yet.
    pub(crate) fn browser(&self) -> Browser {
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Browser { client, url: self.url.clone(), cookies: BTreeMap::new(), csrf: String::new() }
    }

    /// A browser in which an administrator signed in.
    pub(crate) async fn admin(&self) -> Browser {
        self.add_user("root", None).await;
        self.signed_in("root").await
    }

    /// A browser in which a user of the domain signed in.
    pub(crate) async fn user_of(&self, domain: &str) -> Browser {
        self.add_user(domain, Some(domain)).await;
        self.signed_in(domain).await
    }

    /// A browser in which this user signed in.
    pub(crate) async fn signed_in(&self, name: &str) -> Browser {
        let mut browser = self.browser();
        let answer = browser.post("/sign-in", &[("name", name), ("password", PASSWORD)]).await;
        assert_eq!((answer.status, answer.location()), (303, "/"), "{}", answer.text);
        browser
    }

    /// What the API says to the key of the account.
    pub(crate) async fn api(&self, method: Method, path: &str, form: &[(&str, &str)]) -> Value {
        let request = Client::new().request(method, format!("{}{path}", self.url)).basic_auth("api", Some(KEY));
        let response = if form.is_empty() { request } else { request.form(form) }.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    /// The TLS settings of a domain, as the API has them.
    pub(crate) async fn tls_of(&self, domain: &str) -> Value {
        self.api(Method::GET, &format!("/v3/domains/{domain}/connection"), &[]).await
    }
}

/// What keeps cookies, and the token that forms have on the page that was seen last.
#[derive(Clone)]
pub(crate) struct Browser {
    client: Client,
    url: String,
    pub(crate) cookies: BTreeMap<String, String>,
    pub(crate) csrf: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The value of a header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Where it leads.
    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    /// What it has the browser keep, as it is written.
    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect()
    }
}

impl Browser {
    /// A request with the cookies.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.client.request(method, format!("{}{path}", self.url));
        if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) }
    }

    /// Sends it, and keeps what a browser keeps.
    pub(crate) async fn send(&mut self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Answer { status, headers, text: response.text().await.unwrap() };
        for cookie in answer.set_cookies() {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match cookie.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        if let Some(token) = hidden(&answer.text, "csrf") {
            self.csrf = token.to_owned();
        }
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// A form as it is, without a token.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(self.request(Method::POST, path).form(fields)).await
    }

    /// A form with the token of the page that was seen last, or of the first page.
    pub(crate) async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        if self.csrf.is_empty() {
            assert_eq!(self.get("/account").await.status, 200);
        }
        let token = self.csrf.clone();
        let with_token: Vec<_> = [("csrf", token.as_str())].into_iter().chain(fields.iter().copied()).collect();
        self.post(path, &with_token).await
    }

    /// The page that a form led to.
    pub(crate) async fn follow(&mut self, answer: &Answer) -> Answer {
        assert_eq!(answer.status, 303, "{}", answer.text);
        self.get(answer.location()).await
    }
}

/// The value of a hidden field of a page.
pub(crate) fn hidden<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("type=\"hidden\" name=\"{name}\" value=\""))?;
    Some(rest.split_once('"')?.0)
}
