//! From a request of the HTTP API to a composed message: key, form, options, addresses, composing. Everything but the store, and
//! the sockets.
//!
//! The message asks for tracking, which a server without a public address refuses after all of that and before anything is
//! kept; the refusal is looked at, so that nothing else is measured unseen.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use delivery::resolve::Dns;
use divan::Bencher;
use divan::counter::BytesCount;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use server::api::{App, router};
use server::config::Config;
use server::sending_dns::SendingDns;
use store::{KeyHash, KeyRole, KeyScope, Location, NewDomain, NewKey, Role, Store, Timestamp};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const KEY: &str = "key-0123456789abcdef";

struct Place {
    runtime: Runtime,
    api: TowerToHyperService<Router>,
    store: Store,
    directory: PathBuf,
}

impl Place {
    fn new() -> Place {
        let runtime = Runtime::new().expect("a runtime");
        let directory = std::env::temp_dir().join(format!("waxwing-bench-{:016x}", rand::random::<u64>()));
        let (api, store) = runtime.block_on(async {
            let store = Store::open(&Location::sqlite(&directory), Role::Server).await.expect("a store");
            let (hash, now) = (KeyHash::of(KEY), Timestamp::now());
            let (scope, role) = (KeyScope::Account, KeyRole::Admin);
            let (description, hint) = ("bench".to_owned(), "cdef".to_owned());
            let key = NewKey { hash, description, hint, scope, role, expires_at: None, now };
            store.create_key(key).await.expect("a key");
            let name = "example.com".parse().expect("a name");
            let domain = NewDomain { name, tls: Default::default(), dkim: None, now };
            store.create_domain(domain).await.expect("a domain");
            let dns = Dns::new("127.0.0.1:9".parse().ok());
            let app = App::new(store.clone(), Arc::new(Notify::new()), None, SendingDns::of(&Config::default(), dns));
            (TowerToHyperService::new(router(app)), store)
        });
        Place { runtime, api, store, directory }
    }

    /// Posts the form, and gives what came back.
    fn post(&self, kind: &str, form: &str) -> (StatusCode, String) {
        let request = Request::post("/v3/example.com/messages")
            .header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(format!("api:{KEY}"))))
            .header(header::CONTENT_TYPE, kind)
            .header(header::CONTENT_LENGTH, form.len())
            .body(Body::from(form.to_owned()))
            .expect("a request");
        self.runtime.block_on(async {
            let Ok(response) = self.api.call(request).await;
            let status = response.status();
            let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("an answer");
            (status, String::from_utf8_lossy(&body).into_owned())
        })
    }

    fn bench(&self, bencher: Bencher, kind: &str, form: &str) {
        let (status, answer) = self.post(kind, form);
        assert!(
            status == StatusCode::BAD_REQUEST && answer.contains("tracking is not possible here"),
            "{status} {answer}"
        );
        bencher.counter(BytesCount::new(form.len())).bench_local(|| self.post(kind, form));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.runtime.block_on(self.store.close());
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn fields(octets: usize) -> [(&'static str, String); 9] {
    let text = "All work and no play makes a dull message, and so on to the end of it.\r\n".repeat(octets / 144);
    [
        ("from", "App <app@example.com>".to_owned()),
        ("to", "Ann <ann@example.net>".to_owned()),
        ("subject", "A message".to_owned()),
        ("html", format!("<p>{text}</p>")),
        ("text", text),
        ("o:tag", "bench".to_owned()),
        ("o:require-tls", "yes".to_owned()),
        ("o:tracking", "yes".to_owned()),
        ("v:order", "4711".to_owned()),
    ]
}

#[divan::bench(args = SIZES)]
fn multipart_form(bencher: Bencher, octets: usize) {
    let part = |(name, value): &(&str, String)| {
        format!("--boundary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form = fields(octets).iter().map(part).collect::<String>() + "--boundary--\r\n";
    Place::new().bench(bencher, "multipart/form-data; boundary=boundary", &form);
}

#[divan::bench(args = SIZES)]
fn urlencoded_form(bencher: Bencher, octets: usize) {
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields(octets)).finish();
    Place::new().bench(bencher, "application/x-www-form-urlencoded", &form);
}
