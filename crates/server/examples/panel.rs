//! A server with the control panel, and receivers in every TLS state with mail on its way to them, on loopback: for tests
//! in a browser, and for looking at pages.
//!
//! Says in a line of JSON where it is and what opens it, and ends when standard input does.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use policy::tls::TlsPolicy;
use serde_json::{Value, json};
use server::config::{Config, Dnssec, Secret};
use server::serve::Server;
use testkit::Lab;
use testkit::receiver::{Answer, Behaviour};

type Error = Box<dyn std::error::Error + Send + Sync>;

const KEY: &str = "key-for-looking-at-pages-only";
const DOMAINS: [&str; 2] = ["shop.example", "other.example"];
/// What a stranger writes who hopes that a page runs it.
const HOSTILE: &str = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut lab = Lab::start().await?;
    let refusal = Answer::new(550, format!("5.1.1 {HOSTILE} \u{202e}no such user"));
    lab.add("hostile", Behaviour { rcpt: Some(refusal), ..Behaviour::default() }).await?;
    let full = Answer::new(452, "4.2.2 The mailbox is full");
    lab.add("full", Behaviour { rcpt: Some(full), ..Behaviour::default() }).await?;
    let scratch = std::env::temp_dir().join(format!("waxwing-panel-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&scratch)?;
    let server = Server::start(config_for(&lab, &scratch)?).await?;
    let base = format!("http://{}", server.http_addr());
    let api = Api { client: reqwest::Client::new(), base: base.clone() };
    send(&api, &lab).await?;
    let setup = server.setup().map(|path| format!("{base}{path}"));
    let states: Vec<_> = lab.states().iter().map(|state| &state.name).collect();
    println!("{}", json!({ "url": base, "setup": setup, "key": KEY, "domains": DOMAINS, "states": states }));
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    server.stop().await;
    std::fs::remove_dir_all(scratch)?;
    Ok(())
}

/// Sends to every receiver with each of the four settings, and waits until all were tried.
async fn send(api: &Api, lab: &Lab) -> Result<(), Error> {
    for domain in DOMAINS {
        api.post("/v4/domains", &[("name", domain)]).await?;
    }
    let [domain, other] = DOMAINS;
    let yes_or_no = |yes| if yes { "yes" } else { "no" };
    for state in lab.states() {
        for (row, policy) in TlsPolicy::ALL.into_iter().enumerate() {
            let to = format!("row{row}@{}", state.domain);
            let subject = format!("Your order, by {}", state.name);
            let subject = if state.name == "hostile" { HOSTILE } else { &subject };
            let form = [
                ("from", "The shop <shop@shop.example>"),
                ("to", &to),
                ("subject", subject),
                ("text", "Hello, and thank you for your order.\n"),
                ("o:tag", "orders"),
                ("o:require-tls", yes_or_no(policy.require_tls())),
                ("o:skip-verification", yes_or_no(policy.skip_verification())),
            ];
            api.post(&format!("/v3/{domain}/messages"), &form).await?;
        }
    }
    let form =
        [("from", "a@other.example"), ("to", "only@good.test"), ("subject", "Of the other domain"), ("text", "x")];
    api.post(&format!("/v3/{other}/messages"), &form).await?;

    let expected = lab.states().len() * TlsPolicy::ALL.len() + 1;
    let end = Instant::now() + Duration::from_secs(60);
    while tried(&api.get("/v1/events?event=delivered%20OR%20failed&limit=300").await?) < expected {
        if Instant::now() > end {
            return Err("the deliveries did not end in time".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn tried(answer: &Value) -> usize {
    answer["items"].as_array().map_or(0, Vec::len)
}

fn config_for(lab: &Lab, scratch: &Path) -> Result<Config, Error> {
    let roots = scratch.join("roots.pem");
    lab.write_ca_pem(&roots)?;
    Ok(Config {
        http_listen: "127.0.0.1:0".parse()?,
        store: format!("sqlite:{}", scratch.join("data").display()).parse()?,
        api_key: Some(Secret::new(KEY)),
        resolver: Some(lab.dns_addr()),
        dnssec: Dnssec::Off,
        trust_roots: Some(roots),
        deliver_to_private: vec!["127.0.0.0/8".parse()?],
        ehlo_name: "mail.shop.example".parse()?,
        smtp_port: lab.smtp_port(),
        ..Config::default()
    })
}

/// A client of the HTTP API.
struct Api {
    client: reqwest::Client,
    base: String,
}

impl Api {
    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Value, Error> {
        answer(self.client.post(format!("{}{path}", self.base)).form(form)).await
    }

    async fn get(&self, path: &str) -> Result<Value, Error> {
        answer(self.client.get(format!("{}{path}", self.base))).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value, Error> {
    let response = request.basic_auth("api", Some(KEY)).send().await?;
    let (status, body) = (response.status(), response.text().await?);
    if status.is_success() { Ok(serde_json::from_str(&body)?) } else { Err(format!("{status}: {body}").into()) }
}
