//! `waxwing doctor`: each thing that is wrong is found, and nothing is found where nothing is.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::signed::{SignedTree, SignedZone, Signing, tools_or_skip};
use testkit::{Behaviour, Lab, Tls};

use crate::world::{DOMAIN, World};

/// A directory of its own, gone when dropped.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        let directory = std::env::temp_dir().join(format!("waxwing-doctor-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&directory).unwrap();
        Place(directory)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The exit code and the points.
fn doctor(directory: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waxwing"));
    command.args(["doctor", "--json"]).args(arguments).env_clear().current_dir(directory);
    let output = command.envs(settings.iter().map(|(key, value)| (format!("WAXWING_{key}"), value))).output().unwrap();
    let found = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code(), found)
}

/// Publishes the DKIM keys that a command listed.
fn publish(lab: &Lab, keys: &Value) {
    let keys = keys.as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        let (name, record) = (key["record_name"].as_str().unwrap(), key["record"].as_str().unwrap());
        lab.dns().update(|zone| zone.txt(name, record));
    }
}

/// The state of a point, and what is said of it.
fn point(found: &Value, about: &str) -> (String, String) {
    let points = found["points"].as_array().unwrap();
    let point = points.iter().find(|point| point["about"] == about).unwrap_or_else(|| panic!("{about}: {found:#}"));
    let said = format!("{}; {}", point["finding"].as_str().unwrap(), point["advice"].as_str().unwrap_or_default());
    (point["state"].as_str().unwrap().to_owned(), said)
}

#[track_caller]
fn assert_point(found: &Value, about: &str, state: &str, words: &str) {
    let (is, said) = point(found, about);
    assert!(is == state && said.contains(words), "{about} is {is}, not {state}: {said} (not: {words})");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_works_has_no_problem() {
    let lab = Lab::start().await.unwrap();
    lab.dns().update(|zone| {
        zone.a("waxwing.sender.example", [127, 0, 0, 1].into())
            .ptr("1.0.0.127.in-addr.arpa", "waxwing.sender.example")
            .mx(DOMAIN, 10, "mx.sender.example")
    });
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let world = World::start_with(lab, &[("http_listen", &free), ("source_addresses", "127.0.0.1")]).await;
    let keys: Value = serde_json::from_str(&world.tool(&["domain", "dkim", "list", DOMAIN, "--json"])).unwrap();
    publish(&world.lab, &keys);
    let found: Value = serde_json::from_str(&world.tool(&["doctor", "--json", "--probe", "good.test"])).unwrap();
    for (about, words) in [
        ("configuration", "no file is named"),
        ("store", "held by a running server, writable"),
        ("disk space", "free where the store lies"),
        ("http_listen", "is held by a running waxwing"),
        ("trust roots", "1 of trust_roots"),
        ("resolver", "answers"),
        ("clock", "nothing here contradicts it"),
        ("ehlo_name", "waxwing.sender.example leads to 127.0.0.1"),
        ("reverse DNS", "127.0.0.1 is waxwing.sender.example, and back"),
        ("API keys", "1"),
        ("domain sender.example", "exists; its DKIM key is published"),
        ("TLS reports", "none are sent"),
        ("outgoing connections", "mx.good.test [127.0.0."),
    ] {
        assert_point(&found, about, "ok", words);
    }
    assert_point(&found, "DNSSEC", "warning", "off, because the resolver");
    assert_eq!(found["state"], "warning");

    // The server goes on, and people read the same.
    let text = world.tool(&["doctor"]);
    println!("{text}");
    assert!(text.contains("\nwarning  DNSSEC") && text.contains("\nok       store"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    world.outcome_of(&world.send("a@good.test", &[]).await).await;
    for (host, receiver) in world.lab.receivers() {
        let visited = receiver.sessions().iter().filter(|session| !session.saw_mail()).count();
        assert_eq!(visited, usize::from(host == "mx.good.test"), "only who was named is visited");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_thing_that_is_wrong_is_found() {
    let lab = Lab::start().await.unwrap();
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    // It takes connections, and hangs up on each.
    let address = taken.local_addr().unwrap().to_string();
    std::thread::spawn(move || taken.incoming().for_each(drop));
    let file = place.file("waxwing.toml", "api_key = \"a-key-for-the-tests-0123456789\"\n");
    let resolver = lab.dns_addr().to_string();
    let settings = [
        ("RESOLVER", resolver.as_str()),
        ("HTTP_LISTEN", &address),
        ("RULES", "[{ hosts = [\"*\"], minimum = \"encrypted\", until = 2020-02-29 }]"),
        ("TLS_REPORT_DKIM_SELECTOR", "s1"),
        ("EHLO_NAME", "nowhere.sender.example"),
        ("TRUST_ROOTS", "none.pem"),
        ("DNSSEC_ANCHOR", "none.key"),
    ];
    place.file("none.pem", "no certificate\n");
    place.file("none.key", "no key\n");
    let (code, found) = doctor(&place.0, &["--config", file.to_str().unwrap(), "--probe", "good.test"], &settings);
    assert_eq!((code, &found["state"]), (Some(1), &"problem".into()), "{found:#}");
    for (about, state, words) in [
        ("configuration", "warning", "chmod o-r"),
        ("rules", "warning", "rules[1] has ended (until 2020-02-29)"),
        ("store", "warning", "there is none at sqlite:./data"),
        ("http_listen", "problem", "is taken by another program"),
        ("trust roots", "problem", "none.pem"),
        ("DNSSEC", "problem", "none.key"),
        ("ehlo_name", "warning", "has no address"),
        ("TLS reports", "problem", "tls_report_dkim_selector: needs tls_report_dkim_key"),
        ("outgoing connections", "problem", "nothing is delivered with it"),
    ] {
        assert_point(&found, about, state, words);
    }
    assert!(!place.0.join("data").exists(), "nothing was made");

    // A resolver that says nothing: found once, and not asked again.
    let (code, found) = doctor(&place.0, &[], &[("RESOLVER", "127.0.0.1:9"), ("HTTP_LISTEN", "127.0.0.1:0")]);
    assert_eq!(code, Some(1));
    assert_point(&found, "resolver", "problem", "no resolver answered");
    assert_point(&found, "DNSSEC", "warning", "off, because the resolver 127.0.0.1:9 did not answer the self-test");

    // What is told with the command line is no finding.
    let output = Command::new(env!("CARGO_BIN_EXE_waxwing")).args(["doctor", "--config", "nowhere.toml"]).output();
    assert_eq!(output.unwrap().status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_for_a_sender_is_looked_up() {
    let lab = Lab::start().await.unwrap();
    let place = Place::new();
    let resolver = lab.dns_addr().to_string();
    let settings = [
        ("RESOLVER", resolver.as_str()),
        ("HTTP_LISTEN", "127.0.0.1:0"),
        ("SOURCE_ADDRESSES", "127.0.0.1"),
        ("EHLO_NAME", "good.test"),
    ];
    let tool = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waxwing"));
        command.args(arguments).env_clear().current_dir(&place.0);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for name in ["good.test", "gone.example", "empty.test"] {
        tool(&["domain", "add", name]);
    }
    lab.dns().update(|zone| {
        zone.txt("empty.test", "nothing but this")
            .a("good.test", [127, 0, 0, 9].into())
            .ptr("1.0.0.127.in-addr.arpa", "other.test")
            .a("other.test", [127, 0, 0, 1].into())
    });
    let (code, found) = doctor(&place.0, &[], &settings);
    assert_eq!(code, Some(0), "{found:#}");
    assert_point(&found, "store", "ok", "no server runs on it, writable");
    assert_point(&found, "API keys", "warning", "there is none");
    assert_point(&found, "domain good.test", "warning", "no TXT record at ");
    assert_point(&found, "domain good.test", "warning", "`waxwing domain dkim list good.test` shows it");
    assert_point(&found, "domain gone.example", "warning", "does not exist in the DNS");
    assert_point(&found, "domain empty.test", "warning", "neither MX records nor an address");
    assert_point(&found, "reverse DNS", "warning", "127.0.0.1 is other.test, and back; EHLO says good.test");

    // A name that does not lead back is no name.
    lab.dns().update(|zone| zone.without("other.test"));
    let (_, found) = doctor(&place.0, &[], &settings);
    assert_point(&found, "reverse DNS", "warning", "is not a public address");

    // The key that signs a domain's mail must be published, and be the same.
    let keys = |domain| serde_json::from_str(&tool(&["domain", "dkim", "list", domain, "--json"])).unwrap();
    let (ours, other): (Value, Value) = (keys("good.test"), keys("empty.test"));
    lab.dns().update(|zone| zone.txt(ours[0]["record_name"].as_str().unwrap(), other[0]["record"].as_str().unwrap()));
    let (_, found) = doctor(&place.0, &[], &settings);
    assert_point(&found, "domain good.test", "warning", "another key at ");
    publish(&lab, &ours);
    let (_, found) = doctor(&place.0, &[], &settings);
    assert_point(&found, "domain good.test", "ok", "exists; its DKIM key is published");
}

/// The way out: it is blocked, or the host has something against us.
#[tokio::test(flavor = "multi_thread")]
async fn the_outgoing_port_is_tried_where_the_operator_says() {
    let mut lab = Lab::empty().await.unwrap();
    lab.add("plain", Behaviour { tls: Tls::NotOffered, ..Behaviour::default() }).await.unwrap();
    lab.dns()
        .update(|zone| zone.mx("blocked.test", 10, "mx.blocked.test").a("mx.blocked.test", [127, 0, 0, 250].into()));
    let place = Place::new();
    let (resolver, port) = (lab.dns_addr().to_string(), lab.smtp_port().to_string());
    let settings = [
        ("RESOLVER", resolver.as_str()),
        ("HTTP_LISTEN", "127.0.0.1:0"),
        ("SMTP_PORT", &port),
        ("DELIVER_TO_PRIVATE", "127.0.0.0/8"),
    ];
    for (domain, code, state, words) in [
        ("plain.test", 0, "ok", "answers"),
        ("blocked.test", 1, "problem", "many providers block outgoing connections"),
        ("nowhere.test", 1, "problem", "try a domain that has mail hosts"),
    ] {
        let (ended, found) = doctor(&place.0, &["--probe", domain], &settings);
        assert_eq!(ended, Some(code), "{found:#}");
        assert_point(&found, "outgoing connections", state, words);
    }
    assert_eq!(lab.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_dnssec_works_is_told_in_the_words_of_the_log() {
    if !tools_or_skip("whether_dnssec_works_is_told_in_the_words_of_the_log") {
        return;
    }
    let tree = SignedTree::start(vec![SignedZone::new(".", Signing::Nsec, "")]).unwrap();
    let place = Place::new();
    let anchor = place.file("anchor", tree.anchor());
    for (validates, dnssec, state, words) in [
        (false, "validate", "ok", "validating"),
        (true, "trust-ad", "ok", "trust-ad passed the self-test"),
        (false, "trust-ad", "warning", "lacks the AD bit"),
        (false, "off", "ok", "off, because dnssec is set to off"),
    ] {
        let resolver = tree.resolver(validates).unwrap();
        let address = resolver.address().to_string();
        let settings = [
            ("RESOLVER", address.as_str()),
            ("DNSSEC", dnssec),
            ("DNSSEC_ANCHOR", anchor.to_str().unwrap()),
            ("HTTP_LISTEN", "127.0.0.1:0"),
        ];
        let (_, found) = doctor(&place.0, &[], &settings);
        assert_point(&found, "DNSSEC", state, words);
        let in_date = point(&found, "clock").1.contains("in date");
        assert_eq!(in_date, dnssec == "validate", "{found:#}");
    }
}
