//! `waxwing demo`: the whole of Waxwing against receivers in every TLS state, in one process, on loopback.
//!
//! Nothing is pretended: the messages go in by the HTTP API of a real server, over real sockets to real TLS, and the
//! table is read from the events API.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use policy::tls::TlsPolicy;
use serde_json::Value;
use testkit::Lab;

use crate::config::{Config, Dnssec, Secret};
use crate::serve::Server;

/// The sending domain of the demonstration.
const DOMAIN: &str = "demo.example";
/// How long all deliveries together may take.
const PATIENCE: Duration = Duration::from_secs(60);

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs the demonstration and gives what it has to say: the table, or with `as_json` the events themselves.
///
/// # Errors
/// When a receiver or the server cannot start on loopback, or the events do not come.
pub async fn run(as_json: bool) -> Result<String, Error> {
    let started = Instant::now();
    let lab = Lab::start().await?;
    let scratch = Scratch::new()?;
    let key = Secret::new("key-for-the-demonstration-only");
    let server = Server::start(config_for(&lab, &scratch.0, key.clone())?).await?;
    let api = Api { client: reqwest::Client::new(), base: format!("http://{}", server.http_addr()), key };
    let outcomes = demonstrate(&api, &lab).await;
    server.stop().await;
    let outcomes = outcomes?;
    if as_json {
        return Ok(format!("{:#}\n", Value::from_iter(outcomes.into_values())));
    }
    Ok(table(&lab, &outcomes, started.elapsed()))
}

/// Which receiver, and which row of the table of TLS settings.
type Case = (String, usize);

async fn demonstrate(api: &Api, lab: &Lab) -> Result<BTreeMap<Case, Value>, Error> {
    api.post("/v4/domains", &[("name", DOMAIN)]).await?;
    for state in lab.states() {
        for (row, policy) in TlsPolicy::ALL.into_iter().enumerate() {
            let form = [
                ("from", format!("Waxwing <demo@{DOMAIN}>")),
                ("to", format!("row{row}@{}", state.domain)),
                ("subject", format!("For {}", state.name)),
                ("text", "Hello.".to_owned()),
                ("o:require-tls", yes_or_no(policy.require_tls()).to_owned()),
                ("o:skip-verification", yes_or_no(policy.skip_verification()).to_owned()),
            ];
            api.post(&format!("/v3/{DOMAIN}/messages"), &form).await?;
        }
    }
    let expected = lab.states().len() * TlsPolicy::ALL.len();
    let end = Instant::now() + PATIENCE;
    loop {
        let outcomes = outcomes(api.get(&format!("/v3/{DOMAIN}/events?limit=300")).await?);
        if outcomes.len() == expected {
            return Ok(outcomes);
        }
        if Instant::now() > end {
            return Err(format!("only {} of {expected} deliveries ended in time", outcomes.len()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The first event that is not `accepted`, for each case.
fn outcomes(mut page: Value) -> BTreeMap<Case, Value> {
    let Some(items) = page["items"].as_array_mut() else { return BTreeMap::new() };
    let of_case = |event: &Value| -> Option<Case> {
        let (local_part, domain) = event["recipient"].as_str()?.split_once('@')?;
        let row = local_part.strip_prefix("row")?.parse().ok()?;
        Some((domain.strip_suffix(".test")?.to_owned(), row))
    };
    let told = items.drain(..).filter(|event| event["event"] != "accepted");
    told.filter_map(|event| Some((of_case(&event)?, event))).collect()
}

fn table(lab: &Lab, outcomes: &BTreeMap<Case, Value>, took: Duration) -> String {
    let mut text = format!(
        "\n{} messages, sent by the HTTP API to {} receivers on loopback, read back from the events API:\n\n",
        outcomes.len(),
        lab.states().len()
    );
    let column = |text: &mut String, first: &str, cells: [&str; 4]| {
        let _ = writeln!(text, "  {first:<17} {:<16} {:<16} {:<16} {}", cells[0], cells[1], cells[2], cells[3]);
    };
    column(&mut text, "require_tls", ["false", "false", "true", "true"]);
    column(&mut text, "skip_verification", ["false", "true", "false", "true"]);
    column(&mut text, "", ["---------------"; 4]);
    for state in lab.states() {
        let cell = |row: usize| outcomes.get(&(state.name.clone(), row)).map_or("?", in_a_word);
        column(&mut text, &state.name, [cell(0), cell(1), cell(2), cell(3)]);
    }
    text.push_str("\nWhat each receiver showed, as the events tell it:\n\n");
    for state in lab.states() {
        let shown = outcomes.get(&(state.name.clone(), 0)).map(reason).unwrap_or_default();
        let _ = writeln!(text, "  {:<17} {shown}", state.name);
    }
    let _ = writeln!(
        text,
        "\n\
         With skip_verification nothing depends on the certificate, so certificate-verified is false even for a valid\n\
         one. A deferred message is tried again by the schedule, and fails when the schedule ends.\n\
         `waxwing demo --json` prints the events in full. Done in {:.1} seconds.",
        took.as_secs_f64()
    );
    text
}

/// How the message travelled, from its event.
fn in_a_word(event: &Value) -> &'static str {
    let status = &event["delivery-status"];
    match (event["event"].as_str(), status["tls"].as_bool(), status["certificate-verified"].as_bool()) {
        (Some("delivered"), Some(true), Some(true)) => "TLS, verified",
        (Some("delivered"), Some(true), Some(false)) => "TLS",
        (Some("delivered"), Some(false), Some(false)) => "plaintext",
        (Some("failed"), ..) if event["severity"] == "temporary" => "deferred",
        (Some("failed"), ..) => "failed",
        _ => "?",
    }
}

/// What the receiver showed of TLS, from the event of a message that insisted on nothing.
fn reason(event: &Value) -> String {
    let details = &event["delivery-status"]["tls-details"];
    let retry = || details["steps"].as_array()?.iter().find(|step| step["result"] == "plaintext-retry");
    let words = details["verification-detail"].as_str().or_else(|| retry()?["detail"].as_str());
    match (details["fallback"].as_str(), words) {
        (None, _) => {
            let [version, cipher, verdict] = ["version", "cipher", "verification"].map(|key| text_of(&details[key]));
            format!("{version}, {cipher}, certificate {verdict}")
        }
        (Some(code), Some(words)) => format!("{code}: {words}"),
        (Some(code), None) => code.to_owned(),
    }
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn config_for(lab: &Lab, scratch: &Path, key: Secret) -> Result<Config, Error> {
    let roots = scratch.join("roots.pem");
    lab.write_ca_pem(&roots)?;
    Ok(Config {
        http_listen: "127.0.0.1:0".parse()?,
        store: format!("sqlite:{}", scratch.join("data").display()).parse()?,
        api_key: Some(key),
        resolver: Some(lab.dns_addr()),
        dnssec: Dnssec::Off,
        trust_roots: Some(roots),
        deliver_to_private: vec!["127.0.0.0/8".parse()?],
        ehlo_name: "waxwing.demo.example".parse()?,
        smtp_port: lab.smtp_port(),
        ..Config::default()
    })
}

/// A client of the HTTP API.
struct Api {
    client: reqwest::Client,
    base: String,
    key: Secret,
}

impl Api {
    async fn post(&self, path: &str, form: &[(&str, impl AsRef<str>)]) -> Result<Value, Error> {
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        self.answer(self.client.post(format!("{}{path}", self.base)).form(&form)).await
    }

    async fn get(&self, path: &str) -> Result<Value, Error> {
        self.answer(self.client.get(format!("{}{path}", self.base))).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, Error> {
        let response = request.basic_auth("api", Some(self.key.expose())).send().await?;
        let (status, body) = (response.status(), response.text().await?);
        if status.is_success() { Ok(serde_json::from_str(&body)?) } else { Err(format!("{status}: {body}").into()) }
    }
}

/// A directory that is gone when the demonstration is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Scratch> {
        let path = std::env::temp_dir().join(format!("waxwing-demo-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
