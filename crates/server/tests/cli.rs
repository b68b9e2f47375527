//! The built program: its commands, what they print, how they end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

const KEY: &str = "a-key-for-the-tests-0123456789";

#[test]
fn help_and_version_are_no_errors_and_nonsense_is_one() {
    let place = Place::new();
    assert!(text(&place.run(&["--version"]).stdout).starts_with("waxwing "));
    let help = place.run(&["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("Exit codes: 0 done; 1 it failed; 2"));
    for arguments in [&["fly"][..], &["domain"], &["domain", "add"], &["domain", "add", "a b"], &["key", "delete", "x"]]
    {
        assert_eq!(place.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let output = place.run(&["domain", "add", "example.com", "--require-tls=maybe"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_wrong_configuration_ends_every_command_with_2() {
    let place = Place::new();
    let file = place.file("bad.toml", "\nsmtp_prot = 25\n");
    for arguments in [&["serve"][..], &["config"], &["domain", "list"], &["key", "list"], &[]] {
        let output = place.run(&[&["--config", file.to_str().unwrap()], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = text(&output.stderr);
        assert!(told.contains("bad.toml:2:1: unknown key 'smtp_prot'; did you mean 'smtp_port'?"), "{told}");
    }
    let output = place.command(&["config"]).env("WAXWING_SMTP_PROT", "25").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("WAXWING_SMTP_PROT: unknown variable"));
    let output = place.run(&["config", "--config", "nowhere.toml"]);
    assert!(text(&output.stderr).starts_with("nowhere.toml: cannot be read") && output.status.code() == Some(2));
}

#[test]
fn roots_that_are_none_are_a_wrong_configuration() {
    let place = Place::new();
    place.file("roots.pem", "no certificate\n");
    let file = place.file("waxwing.toml", "http_listen = \"127.0.0.1:0\"\ntrust_roots = \"roots.pem\"\n");
    for arguments in [&["serve"][..], &["check", "example.com"]] {
        let output = place.run(&[arguments, &["--config", file.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = text(&output.stderr);
        assert!(told.contains("waxwing.toml:2:1: trust_roots: ") && told.contains("roots.pem"), "{told}");
    }
    assert!(!place.directory.join("data").exists(), "nothing was touched");
}

#[test]
fn trust_anchors_that_are_none_are_a_wrong_configuration() {
    let place = Place::new();
    place.file("root.key", "trust-anchors { };\n");
    let file = place.file("waxwing.toml", "http_listen = \"127.0.0.1:0\"\ndnssec_anchor = \"root.key\"\n");
    for arguments in [&["serve"][..], &["check", "example.com"]] {
        let output = place.run(&[arguments, &["--config", file.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = text(&output.stderr);
        assert!(told.contains("waxwing.toml:2:1: dnssec_anchor: root.key: ") && told.contains("DNSKEY"), "{told}");
    }
    assert!(!place.directory.join("data").exists(), "nothing was touched");
}

#[test]
fn check_tells_a_finding_and_demo_takes_no_configuration() {
    let place = Place::new();
    // Nobody answers at this resolver: that is a finding about the destination.
    let mut command = place.command(&["check", "example.test", "--json"]);
    let output = command.env("WAXWING_RESOLVER", "127.0.0.1:9").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["domain"], found["settings"].as_array().unwrap().len()), (&"example.test".into(), 6));

    let output = place.run(&["demo", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let events: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(events.as_array().unwrap().len() >= 32, "the four settings at eight receivers");
}

#[test]
fn config_shows_what_is_in_force() {
    let place = Place::new();
    let file = place.file("waxwing.toml", "smtp_port = 2525\n");
    let mut command = place.command(&["config"]);
    command.env("WAXWING_CONFIG", &file).env("WAXWING_API_KEY", KEY).env("WAXWING_LOG_LEVEL", "warn");
    let output = command.output().unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success() && !shown.contains(KEY), "{shown}");
    let table: toml::Table = shown.parse().expect("it is TOML");
    assert_eq!(table["smtp_port"].as_integer(), Some(2525));
    assert!(shown.contains("log_level = \"warn\"  # WAXWING_LOG_LEVEL\n"), "{shown}");

    let json = place.json(&["config", "--json", "--config", file.to_str().unwrap()]);
    assert_eq!((&json["smtp_port"]["value"], &json["smtp_port"]["source"]), (&2525.into(), &"file".into()));
}

#[test]
fn domains_are_added_changed_and_deleted() {
    let place = Place::new();
    let added = place.json(&["domain", "add", "Example.COM", "--require-tls", "--json"]);
    assert_eq!((&added["name"], &added["require_tls"]), (&"example.com".into(), &true.into()));
    assert_eq!(added["skip_verification"], Value::Null);
    assert_eq!(added["id"].as_str().unwrap().len(), 24);

    let again = place.run(&["domain", "add", "example.com"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("exists"), "{}", text(&again.stderr));

    let set = place.json(&["domain", "set", "example.com", "--skip-verification=true", "--json"]);
    assert_eq!((&set["require_tls"], &set["skip_verification"]), (&true.into(), &true.into()));
    let set = place.json(&["domain", "set", "example.com", "--require-tls=false", "--json"]);
    assert_eq!((&set["require_tls"], &set["skip_verification"]), (&false.into(), &true.into()));
    assert_eq!(place.json(&["domain", "show", "example.com", "--json"]), set);

    let chosen = ["domain", "set", "example.com", "--tls-fallback=unverified", "--tls-failure=fail", "--json"];
    let set = place.json(&chosen);
    assert_eq!((&set["tls_fallback"], &set["tls_failure"]), (&"unverified".into(), &"fail".into()));
    place.json(&["domain", "set", "example.com", "--tls-fallback=plaintext", "--tls-failure=defer", "--json"]);
    let limited = [
        "domain",
        "set",
        "example.com",
        "--event-retention=7d",
        "--event-limit=1000",
        "--message-limit=5000",
        "--json",
    ];
    let set = place.json(&limited);
    assert_eq!((&set["event_retention"], &set["event_limit"]), (&"7d".into(), &1000.into()));
    assert_eq!((&set["message_retention"], &set["message_limit"]), (&Value::Null, &5000.into()));
    let set = place.json(&["domain", "set", "example.com", "--event-limit=default", "--json"]);
    assert_eq!((&set["event_limit"], &set["message_limit"]), (&Value::Null, &5000.into()));
    let shown = text(&place.run(&["domain", "show", "example.com"]).stdout);
    let line = "event_retention 7d, message_retention default, event_limit default, message_limit 5000\n";
    assert!(shown.contains(line), "{shown}");
    for bad in ["--event-retention=5m", "--event-limit=0", "--message-limit=many", "--message-retention=3"] {
        let refused = place.run(&["domain", "set", "example.com", bad]);
        assert_eq!(refused.status.code(), Some(2), "{bad}");
        assert!(text(&refused.stderr).contains("nor 'default'"), "{bad}: {}", text(&refused.stderr));
    }
    place.json(&["domain", "add", "a.example", "--json"]);
    let all = place.json(&["domain", "list", "--json"]);
    let names: Vec<_> = all.as_array().unwrap().iter().map(|domain| domain["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.example", "example.com"]);
    assert_eq!(place.json(&["domain", "list", "--search", "com", "--json"]).as_array().unwrap().len(), 1);
    let shown = text(&place.run(&["domain", "list"]).stdout);
    let line = "example.com  require_tls false, skip_verification true, tls_fallback plaintext, tls_failure defer\n";
    assert!(shown.contains(line), "{shown}");

    assert!(place.run(&["domain", "delete", "example.com"]).status.success());
    for command in ["delete", "show", "set"] {
        let output = place.run(&["domain", command, "example.com"]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert_eq!(text(&output.stderr), "waxwing: there is no domain example.com\n");
    }
}

#[test]
fn credentials_are_made_changed_and_deleted() {
    let place = Place::new();
    place.json(&["domain", "add", "example.com", "--json"]);
    let password = text(&place.run(&["credential", "create", "App@example.com"]).stdout).trim().to_owned();
    assert_eq!(password.len(), 32);
    let made = place.json(&["credential", "create", "other@example.com", "--json"]);
    assert_eq!((&made["login"], made["password"].as_str().unwrap().len()), (&"other@example.com".into(), 32));
    place.assert_nowhere(&password);
    let shown = text(&place.run(&["credential", "list", "example.com"]).stdout);
    assert!(shown.starts_with("app@example.com  since ") && !shown.contains(&password), "{shown}");

    for (arguments, expected) in [
        (&["create", "app@example.com"][..], "the credential app@example.com exists already"),
        (&["create", "app@example.net"], "there is no domain example.net"),
        (&["password", "nobody@example.com"], "there is no credential nobody@example.com"),
        (&["delete", "nobody@example.com"], "there is no credential nobody@example.com"),
        (&["list", "example.net"], "there is no domain example.net"),
    ] {
        let output = place.run(&[&["credential"], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(text(&output.stderr), format!("waxwing: {expected}\n"), "{arguments:?}");
    }
    let changed = text(&place.run(&["credential", "password", "app@example.com"]).stdout).trim().to_owned();
    assert!(changed.len() == 32 && changed != password);
    assert!(place.run(&["credential", "delete", "app@example.com"]).status.success());
    assert_eq!(place.json(&["credential", "list", "example.com", "--json"]).as_array().unwrap().len(), 1);
}

#[test]
fn keys_are_shown_once_and_kept_as_hashes() {
    let place = Place::new();
    let key = text(&place.run(&["key", "add", "--description", "for the shop"]).stdout).trim().to_owned();
    assert!(key.starts_with("key-") && key.len() == 52, "{key}");
    let list = place.run(&["key", "list"]);
    let shown = text(&list.stdout);
    assert!(shown.contains("for the shop") && shown.contains(&key[48..]) && !shown.contains(&key), "{shown}");
    place.assert_nowhere(&key);

    let id = place.json(&["key", "list", "--json"])[0]["id"].to_string();
    assert!(place.run(&["key", "delete", &id]).status.success());
    assert_eq!(place.run(&["key", "delete", &id]).status.code(), Some(1));
    assert_eq!(place.json(&["key", "list", "--json"]), Value::Array(Vec::new()));
}

#[test]
fn users_of_the_control_panel_are_made_changed_and_deleted() {
    let place = Place::new();
    assert!(place.run(&["domain", "add", "example.com"]).status.success());
    let password = text(&place.run(&["user", "create", "Ann"]).stdout).trim().to_owned();
    assert_eq!(password.len(), 32);
    let other = place.json(&["user", "create", "olga", "--domain", "example.com", "--json"]);
    assert_eq!(other["name"], "olga");
    let again = text(&place.run(&["user", "password", "ann"]).stdout).trim().to_owned();
    assert_ne!(again, password);
    let shown = text(&place.run(&["user", "list"]).stdout).to_owned();
    assert!(shown.contains("Ann  everything") && shown.contains("olga  example.com"), "{shown}");
    for (arguments, words) in [
        (&["create", "ANN"][..], "the user ANN exists already"),
        (&["create", "x", "--domain", "no.example"], "there is no domain no.example"),
        (&["delete", "ann"], "nobody would be left who may do everything"),
        (&["delete", "nobody"], "there is no user nobody"),
    ] {
        let output = place.run(&[&["user"][..], arguments].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
    assert!(place.run(&["user", "delete", "olga"]).status.success());
    assert_eq!(place.json(&["user", "list", "--json"]).as_array().unwrap().len(), 1);
    [password, again].iter().for_each(|password| place.assert_nowhere(password));
}

#[test]
fn the_first_start_shows_a_key_that_works_and_no_later_one_does() {
    let place = Place::new();
    let server = Running::start(&place, &[]);
    let address = server.address;
    let printed = server.stop();
    let key =
        printed.lines().map(str::trim).find(|line| line.starts_with("key-")).expect("the key on a line of its own");
    assert!(printed.contains("waxwing domain add example.com"), "{printed}");
    let curl = format!("curl --user 'api:{key}' http://{address}/v3/example.com/messages");
    assert!(printed.contains(&curl), "{printed}");
    place.assert_nowhere(key);

    let server = Running::start(&place, &[]);
    assert_eq!(server.get("/v4/domains", "wrong-key-wrong-key").0, 401);
    assert_eq!(server.get("/v4/domains", key).0, 200);
    // As long as nobody uses the control panel, a start shows the way in, and then nothing.
    let printed = server.stop();
    assert!(printed.contains("/setup?token=") && !printed.contains("key-"), "{printed}");
    assert!(place.run(&["user", "create", "ann"]).status.success());
    let server = Running::start(&place, &[]);
    assert_eq!(server.stop(), "", "a later start prints nothing");
}

#[test]
fn a_configured_key_works_and_is_not_shown() {
    let place = Place::new();
    for _ in 0..2 {
        let server = Running::start(&place, &[("WAXWING_API_KEY", KEY)]);
        assert_eq!(server.get("/v4/domains", KEY).0, 200);
        assert!(!server.stop().contains("API key"));
    }
    assert_eq!(place.json(&["key", "list", "--json"]).as_array().unwrap().len(), 1);
    place.assert_nowhere(KEY);
}

#[test]
fn commands_work_beside_a_running_server() {
    let place = Place::new();
    let server = Running::start(&place, &[("WAXWING_API_KEY", KEY)]);
    assert_eq!(server.get("/v4/domains/example.com", KEY).0, 404);
    place.json(&["domain", "add", "example.com", "--require-tls", "--json"]);
    let (status, body) = server.get("/v3/domains/example.com/connection", KEY);
    assert_eq!(status, 200);
    assert!(body.replace(' ', "").contains(r#""require_tls":true"#), "{body}");

    let other = text(&place.run(&["key", "create"]).stdout).trim().to_owned();
    assert_eq!(server.get("/v4/domains", &other).0, 200);
    let keys = place.json(&["key", "list", "--json"]);
    place.run(&["key", "delete", &keys[1]["id"].to_string()]);
    // The server remembers for a second that the key was good.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(server.get("/v4/domains", &other).0, 401);
    server.stop();
}

#[test]
fn what_is_taken_is_told() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = place.command(&["serve"]).env("WAXWING_HTTP_LISTEN", &address).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&format!("cannot listen on {address} (http_listen)")));
    assert!(!place.directory.join("data").exists(), "nothing was touched");

    let server = Running::start(&place, &[]);
    let second = place.command(&["serve"]).env("WAXWING_HTTP_LISTEN", "127.0.0.1:0").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("in use by another waxwing server"), "{}", text(&second.stderr));
    server.stop();
}

#[test]
fn a_second_signal_does_not_wait() {
    let place = Place::new();
    let mut server = Running::start(&place, &[("WAXWING_API_KEY", KEY), ("WAXWING_SHUTDOWN_GRACE", "60s")]);
    // A request whose body never comes keeps the server from stopping.
    let mut stuck = TcpStream::connect(server.address).unwrap();
    let login = login(KEY);
    write!(
        stuck,
        "POST /v3/domains HTTP/1.1\r\nHost: x\r\n{login}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nname="
    )
    .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    server.signal("-TERM");
    std::thread::sleep(Duration::from_millis(300));
    assert!(server.process.try_wait().unwrap().is_none(), "it waits for the request");
    server.signal("-INT");
    assert_eq!(server.wait().0, Some(0));
}

#[test]
fn interrupt_stops_like_terminate_and_the_grace_ends() {
    let place = Place::new();
    let mut server = Running::start(&place, &[("WAXWING_SHUTDOWN_GRACE", "200ms")]);
    let idle = TcpStream::connect(server.address).unwrap();
    server.signal("-INT");
    assert_eq!(server.wait().0, Some(0));
    drop(idle);
}

/// A directory of its own, with a store below it.
struct Place {
    directory: PathBuf,
}

impl Place {
    fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Place { directory }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The program in this directory, with nothing of our own environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waxwing"));
        command.args(arguments).current_dir(&self.directory).env_clear().stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// No file below the directory holds `secret`.
    fn assert_nowhere(&self, secret: &str) {
        let mut folders = vec![self.directory.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => assert!(!holds(&path, secret), "{} holds the key", path.display()),
                }
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn holds(path: &Path, secret: &str) -> bool {
    let content = std::fs::read(path).unwrap();
    content.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// `waxwing serve`, killed when dropped.
struct Running {
    process: Child,
    address: SocketAddr,
}

impl Running {
    fn start(place: &Place, variables: &[(&str, &str)]) -> Running {
        let mut command = place.command(&["serve"]);
        command.env("WAXWING_HTTP_LISTEN", "127.0.0.1:0").env("WAXWING_LOG_FORMAT", "json");
        // Nothing is looked up in these tests; should it be, then at nobody.
        command.env("WAXWING_RESOLVER", "127.0.0.1:9").envs(variables.iter().copied());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended without having started");
            let entry: Value = serde_json::from_str(&line).expect("a log line is a JSON object");
            if entry["message"] == "started" {
                break entry["http_addr"].as_str().unwrap().parse().unwrap();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Running { process, address }
    }

    /// A GET with an API key: the status and the body.
    fn get(&self, path: &str, key: &str) -> (u16, String) {
        let login = login(key);
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{login}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Stops it in good order and returns what it printed.
    fn stop(mut self) -> String {
        self.signal("-TERM");
        let (code, printed) = self.wait();
        assert_eq!(code, Some(0));
        printed
    }

    fn wait(&mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not stop");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut printed = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        (status.code(), printed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The header that a key is sent in.
fn login(key: &str) -> String {
    use base64::Engine;

    format!("Authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("api:{key}")))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
