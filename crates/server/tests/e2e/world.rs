//! The built program, the lab's receivers and DNS, and a client of the HTTP API.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::Lab;

pub(crate) const KEY: &str = "key-for-the-end-to-end-tests";
pub(crate) const DOMAIN: &str = "sender.example";
/// How long anything may take before a test gives up. Far more than is needed, since machines are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server on the lab's DNS, with its own directory.
pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) directory: PathBuf,
    settings: BTreeMap<&'static str, String>,
    server: Option<Running>,
    client: reqwest::Client,
}

struct Running {
    process: Child,
    base: String,
    submission: SocketAddr,
    bounces: Option<SocketAddr>,
}

impl World {
    /// A server for `lab`, with the domain [`DOMAIN`].
    pub(crate) async fn start(lab: Lab) -> World {
        World::start_with(lab, &[]).await
    }

    /// The same, and every delivery makes a connection of its own and sees what the host shows now.
    pub(crate) async fn start_without_reuse(lab: Lab) -> World {
        World::start_with(lab, &[("connection_idle_time", "0s")]).await
    }

    /// The same with further settings, or others: `("retry_schedule", "1s")`.
    pub(crate) async fn start_with(lab: Lab, settings: &[(&'static str, &str)]) -> World {
        let directory = std::env::temp_dir().join(format!("waxwing-e2e-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&directory).unwrap();
        let roots = directory.join("roots.pem");
        lab.write_ca_pem(&roots).unwrap();
        let mut all = BTreeMap::from([
            ("http_listen", "127.0.0.1:0".to_owned()),
            ("store", testkit::store::location(&directory.join("data"))),
            ("directory", directory.join("data").display().to_string()),
            ("api_key", KEY.to_owned()),
            ("resolver", lab.dns_addr().to_string()),
            ("trust_roots", roots.display().to_string()),
            ("deliver_to_private", "127.0.0.0/8,::1".to_owned()),
            ("ehlo_name", "waxwing.sender.example".to_owned()),
            ("smtp_port", lab.smtp_port().to_string()),
            ("log_format", "json".to_owned()),
            ("submission_listen", "127.0.0.1:0".to_owned()),
        ]);
        all.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let mut world = World { lab, directory, settings: all, server: None, client: reqwest::Client::new() };
        world.run();
        world.post("/v4/domains", &[("name", DOMAIN)]).await;
        world
    }

    /// Starts the program, and waits until it serves.
    pub(crate) fn run(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waxwing"));
        command.arg("serve").env_clear().stdout(Stdio::null()).stderr(Stdio::piped());
        for (key, value) in &self.settings {
            command.env(format!("WAXWING_{}", key.to_uppercase()), value);
        }
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (address, submission, bounces) = loop {
            let line = lines.next().expect("the server ended before it served").unwrap();
            let log: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = log["http_addr"].as_str() {
                let bounces = log["bounce_addr"].as_str().map(|address| address.parse().unwrap());
                break (address.to_owned(), log["submission_addr"].as_str().unwrap().parse().unwrap(), bounces);
            }
            eprintln!("{line}");
        };
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        self.server = Some(Running { process, base: format!("http://{address}"), submission, bounces });
    }

    /// Stops the program, and starts it with other settings.
    pub(crate) fn restart_with(&mut self, settings: &[(&'static str, &str)]) {
        assert_eq!(self.terminate(), Some(0));
        self.settings.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
        self.run();
    }

    /// What a command says, run beside the server on its store. It must succeed.
    pub(crate) fn tool(&self, arguments: &[&str]) -> String {
        let output = self.run_tool(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same of one that must fail: its exit code and all that it says.
    pub(crate) fn failing_tool(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run_tool(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    /// What a command prints, however it ends.
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.run_tool(arguments).stdout).unwrap()
    }

    fn run_tool(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waxwing"));
        command.args(arguments).env_clear();
        for (key, value) in &self.settings {
            command.env(format!("WAXWING_{}", key.to_uppercase()), value);
        }
        command.output().unwrap()
    }

    /// SIGKILL: nothing is finished, nothing is flushed.
    pub(crate) fn kill(&mut self) {
        let mut running = self.server.take().unwrap();
        running.process.kill().unwrap();
        running.process.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let mut running = self.server.take().unwrap();
        let pid = running.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        running.process.wait().unwrap().code()
    }

    pub(crate) fn base(&self) -> &str {
        &self.server.as_ref().unwrap().base
    }

    /// Where SMTP submission listens.
    pub(crate) fn submission(&self) -> SocketAddr {
        self.server.as_ref().unwrap().submission
    }

    /// Where failure reports are received.
    pub(crate) fn bounces(&self) -> SocketAddr {
        self.server.as_ref().unwrap().bounces.unwrap()
    }

    /// POSTs a form that must be taken.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        self.answer(self.client.post(format!("{}{path}", self.base())).form(form)).await
    }

    /// PUTs a form that must be taken.
    pub(crate) async fn put(&self, path: &str, form: &[(&str, &str)]) -> Value {
        self.answer(self.client.put(format!("{}{path}", self.base())).form(form)).await
    }

    /// POSTs a form that is refused with 400, and gives the words.
    pub(crate) async fn refused(&self, path: &str, form: &[(&str, &str)]) -> String {
        let form = form.iter().fold(reqwest::multipart::Form::new(), |form, (name, value)| {
            form.text((*name).to_owned(), (*value).to_owned())
        });
        let request = self.client.post(format!("{}/v3/{DOMAIN}/{path}", self.base())).multipart(form);
        let response = request.basic_auth("api", Some(KEY)).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 400, "{text}");
        let body: Value = serde_json::from_str(&text).unwrap();
        body["message"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.answer(self.client.get(format!("{}{path}", self.base()))).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Value {
        let response = request.basic_auth("api", Some(KEY)).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Sends a plain message with further fields; gives its Message-ID without brackets.
    pub(crate) async fn send(&self, to: &str, further: &[(&str, &str)]) -> String {
        self.try_send(to, further).await.unwrap()
    }

    /// The same from a server that may be dying.
    pub(crate) async fn try_send(&self, to: &str, further: &[(&str, &str)]) -> Result<String, String> {
        let usual = [("from", "Sender <me@sender.example>"), ("to", to), ("subject", "Hi"), ("text", "Secret.")];
        let mut form = further.to_vec();
        form.extend(usual.into_iter().filter(|(name, _)| further.iter().all(|(given, _)| given != name)));
        let request = self.client.post(format!("{}/v3/{DOMAIN}/messages", self.base())).form(&form);
        let response = request.basic_auth("api", Some(KEY)).send().await.map_err(|error| error.to_string())?;
        let (status, text) = (response.status(), response.text().await.map_err(|error| error.to_string())?);
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        match body["id"].as_str() {
            Some(id) if status.is_success() => Ok(id.trim_matches(['<', '>']).to_owned()),
            _ => Err(format!("{status}: {text}")),
        }
    }

    /// All events of a message that are not `accepted`, oldest first, once there are `count` of them.
    pub(crate) async fn events_of(&self, message_id: &str, count: usize) -> Vec<Value> {
        let path = format!("/v3/{DOMAIN}/events?ascending=yes&limit=300&message-id={message_id}");
        let end = Instant::now() + PATIENCE;
        loop {
            let mut page = self.get(&path).await;
            let items = page["items"].as_array_mut().unwrap();
            let told: Vec<Value> = items.drain(..).filter(|event| event["event"] != "accepted").collect();
            if told.len() >= count {
                return told;
            }
            assert!(Instant::now() < end, "only {told:?}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// The one event that tells how a message to one recipient ended.
    pub(crate) async fn outcome_of(&self, message_id: &str) -> Value {
        self.events_of(message_id, 1).await.remove(0)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(running) = &mut self.server {
            let _ = running.process.kill();
            let _ = running.process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
