//! A server on loopback with a store of its own, and the client's side of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use delivery::resolve::Dns;
use policy::tls::TlsSettings;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use server::api::{App, router};
use server::config::{Config, Dnssec};
use server::sending_dns::SendingDns;
use store::{Claim, ClaimedRecipient, Job, KeyHash, KeyRole, KeyScope, NewDomain, NewKey, NewState, RecipientOutcome};
use store::{NewEvent, Role, Store, Timestamp};
use tokio::sync::Notify;

pub(crate) const KEY: &str = "key-0123456789abcdef";

/// A running server with the sending domain `example.com`. Its data goes when it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) store: Store,
    pub(crate) wake: Arc<Notify>,
    client: reqwest::Client,
    pub(crate) directory: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    /// The error's text, with its status.
    pub(crate) fn error(&self) -> (u16, &str) {
        (self.status, self.json["message"].as_str().unwrap_or(&self.text))
    }
}

impl Server {
    /// With a resolver that never answers.
    pub(crate) async fn start() -> Server {
        Server::start_with(Dns::new(Some("127.0.0.1:9".parse().unwrap()))).await
    }

    pub(crate) async fn start_with(dns: Dns) -> Server {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("waxwing-api-{}-{number}", std::process::id()));
        let store = Store::open(&testkit::store::location(&directory).parse().unwrap(), Role::Server).await.unwrap();
        let (hash, now) = (KeyHash::of(KEY), Timestamp::now());
        let (scope, role) = (KeyScope::Account, KeyRole::Admin);
        let key = NewKey { hash, description: "test".into(), hint: "cdef".into(), scope, role, expires_at: None, now };
        store.create_key(key).await.unwrap();
        let wake = Arc::new(Notify::new());
        let ehlo_name = "mail.ours.test".parse().unwrap();
        // Nobody answers there: a look at a destination ends at once.
        let nobody = "127.0.0.1:9".parse().ok();
        let config = Config { ehlo_name, resolver: nobody, dnssec: Dnssec::Off, ..Config::default() };
        let sending_dns = SendingDns::of(&config, dns.clone());
        let app = App::new(store.clone(), wake.clone(), None, sending_dns).looking_by(&config, dns);
        let service = router(app);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = service.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let server = Server { url, store, wake, client: reqwest::Client::new(), directory };
        server.add_domain("example.com", TlsSettings::default()).await;
        server
    }

    pub(crate) async fn add_domain(&self, name: &str, tls: TlsSettings) {
        let new = NewDomain { name: name.parse().unwrap(), tls, dkim: None, now: Timestamp::now() };
        self.store.create_domain(new).await.unwrap();
    }

    /// A request without credentials.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) };
        self.client.request(method, url)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).basic_auth("api", Some(KEY))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn form(&self, method: Method, path: &str, fields: &[(&str, &str)]) -> Answer {
        send(self.request(method, path).form(fields)).await
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.form(Method::POST, path, fields).await
    }

    pub(crate) async fn put(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.form(Method::PUT, path, fields).await
    }

    pub(crate) async fn post_multipart(&self, path: &str, form: Form) -> Answer {
        send(self.request(Method::POST, path).multipart(form)).await
    }

    /// The good message with more fields.
    pub(crate) async fn send(&self, more: &[(&str, &str)]) -> Answer {
        self.send_for("example.com", more).await
    }

    pub(crate) async fn send_for(&self, domain: &str, more: &[(&str, &str)]) -> Answer {
        let mut fields = Vec::new();
        for good in [("from", "a@example.com"), ("to", "b@example.net"), ("subject", "hello"), ("text", "hello")] {
            if !more.iter().any(|(name, _)| *name == good.0) {
                fields.push(good);
            }
        }
        fields.extend_from_slice(more);
        self.post(&format!("/v3/{domain}/messages"), &fields).await
    }

    /// The events of a list, over the API.
    pub(crate) async fn events(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v3/example.com/events?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        answer.json["items"].as_array().unwrap().clone()
    }

    /// All that waits to be delivered.
    pub(crate) async fn claim(&self) -> Vec<Job> {
        let now = Timestamp::now();
        let lease_until = now + Duration::from_secs(60);
        let claim = Claim::all(now, lease_until, 1000);
        self.store.claim(claim).await.unwrap()
    }

    pub(crate) async fn record(&self, recipient: &ClaimedRecipient, state: NewState, event: NewEvent) {
        let outcome = RecipientOutcome { recipient: recipient.id, state, events: vec![event] };
        self.store.record(Timestamp::now(), vec![outcome]).await.unwrap();
    }

    /// Nothing was kept: no recipient is queued, no event was written.
    pub(crate) async fn assert_nothing_kept(&self, why: &str) {
        assert_eq!(self.store.queued().await.unwrap(), 0, "{why}");
        assert_eq!(self.events("").await.len(), 0, "{why}");
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Answer { status, content_type: content_type.unwrap_or_default(), text, json }
}

/// A file of a form.
pub(crate) fn file(name: &str, content_type: &str, content: impl Into<Vec<u8>>) -> Part {
    Part::bytes(content.into()).file_name(name.to_owned()).mime_str(content_type).unwrap()
}

/// The message's content as it will be sent, as text.
pub(crate) async fn content(server: &Server, job: &Job) -> String {
    let wire = server.store.wire(job.message).await.unwrap().unwrap();
    String::from_utf8(smtp::data::from_wire(&wire).into_owned()).unwrap()
}
