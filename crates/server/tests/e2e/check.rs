//! `waxwing check`: what it foretells is what a delivery does, and it says nothing of any message.

use std::process::Command;

use serde_json::Value;
use testkit::signed::{Delegation, Server, SignedTree, SignedZone, Signing, tools_or_skip};
use testkit::{Behaviour, Host, Lab, Listen, PolicySite, Tls};

/// What each of the four settings comes to, in the order of the table's rows.
const FORECASTS: [(&str, [&str; 4]); 9] = [
    ("good.test", ["verified", "encrypted", "verified", "encrypted"]),
    ("tls12-only.test", ["verified", "encrypted", "verified", "encrypted"]),
    ("self-signed.test", ["plaintext", "encrypted", "deferred", "encrypted"]),
    ("expired.test", ["plaintext", "encrypted", "deferred", "encrypted"]),
    ("wrong-name.test", ["plaintext", "encrypted", "deferred", "encrypted"]),
    ("no-starttls.test", ["plaintext", "plaintext", "deferred", "deferred"]),
    ("starttls-454.test", ["plaintext", "plaintext", "deferred", "deferred"]),
    ("broken-handshake.test", ["plaintext", "plaintext", "deferred", "deferred"]),
    ("nowhere.test", ["failed", "failed", "failed", "failed"]),
];

/// What each setting comes to: the four, REQUIRETLS, `TLS-Required: No`.
fn outcomes(settings: &Value) -> Vec<&str> {
    settings.as_array().unwrap().iter().map(|setting| setting["outcome"].as_str().unwrap()).collect()
}

fn check(lab: &Lab, domain: &str, further: &[&str]) -> String {
    check_with(lab, domain, further, &[])
}

/// `waxwing check` with further settings, or others.
fn check_with(lab: &Lab, domain: &str, further: &[&str], settings: &[(&str, &str)]) -> String {
    let directory = std::env::temp_dir().join(format!("waxwing-check-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&directory).unwrap();
    let roots = directory.join("roots.pem");
    lab.write_ca_pem(&roots).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_waxwing"))
        .args(["check", domain])
        .args(further)
        .env_clear()
        .env("WAXWING_RESOLVER", lab.dns_addr().to_string())
        .env("WAXWING_TRUST_ROOTS", &roots)
        .env("WAXWING_DELIVER_TO_PRIVATE", "127.0.0.0/8")
        .env("WAXWING_SMTP_PORT", lab.smtp_port().to_string())
        .env("WAXWING_MTA_STS_PORT", lab.https_port().to_string())
        .envs(settings.iter().copied())
        .current_dir(&directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!directory.join("data").exists(), "a check needs no store");
    std::fs::remove_dir_all(&directory).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The text without its line breaks, as somebody reads it.
fn read(text: &str) -> String {
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "too long for 100 columns: {line}");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn assert_nothing_said(lab: &Lab) {
    for (host, receiver) in lab.receivers() {
        assert!(receiver.sessions().iter().all(|session| !session.saw_mail()), "{host}");
    }
    assert_eq!(lab.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_is_foretold() {
    let lab = Lab::start().await.unwrap();
    for (domain, expected) in FORECASTS {
        let found = json(&check(&lab, domain, &["--json"]));
        let outcomes = outcomes(&found["settings"]);
        assert_eq!(outcomes[..4], expected, "{found:#}");
        // Nothing says that any of these hosts is the domain's, and nothing is demanded that could be lifted.
        assert_eq!(outcomes[4..], ["failed", expected[0]], "{found:#}");
    }
    assert_nothing_said(&lab);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_each_host_and_each_setting() {
    let mut lab = Lab::start().await.unwrap();
    let plain = Behaviour { tls: Tls::NotOffered, ..Behaviour::default() };
    let gone = Host::new("mx0", 5, Behaviour::default()).on(Listen::Closed);
    let hosts = vec![gone, Host::new("mx1", 10, plain), Host::new("mx2", 20, Behaviour::default())];
    lab.add_hosts("several", hosts).await.unwrap();
    let text = check(&lab, "several.test", &[]);
    println!("{text}{}", check(&lab, "wrong-name.test", &[]));
    let text = read(&text);
    for words in [
        "mx1.several.test",
        "it does not offer STARTTLS",
        "TLSv1.3",
        "would go to mx1.several.test in plaintext",
        "would go to mx2.several.test within TLS, certificate verified",
        "mx1.several.test is left",
        "mx0.several.test is out of reach",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

fn with_requiretls() -> Behaviour {
    Behaviour { extensions: vec!["REQUIRETLS".to_owned()], ..Behaviour::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_demands_what_at_each_host_is_told() {
    let mut lab = Lab::empty().await.unwrap();
    let plain = Behaviour { tls: Tls::NotOffered, ..Behaviour::default() };
    let hosts = vec![
        Host::new("mx1", 10, plain),
        Host::new("mx2", 20, Behaviour::default()),
        Host::new("mx3", 30, with_requiretls()),
        Host::new("mx4", 40, with_requiretls()),
    ];
    lab.add_hosts("d", hosts).await.unwrap();
    let policy = "version: STSv1\nmode: enforce\nmx: mx1.d.test\nmx: mx2.d.test\nmx: mx3.d.test\nmax_age: 86400\n";
    lab.publish_policy("d.test", "7", PolicySite::good(policy)).unwrap();
    lab.dns().update(|zone| {
        zone.txt("_smtp._tls.d.test", "v=TLSRPTv1; rua=mailto:tls@d.test,https://reports.d.test/upload")
    });

    let found = json(&check(&lab, "d.test", &["--json"]));
    assert_eq!((&found["mta-sts"]["mode"], &found["mta-sts"]["id"]), (&"enforce".into(), &"7".into()));
    let reporting = &found["tls-reporting"];
    assert_eq!(reporting["state"], "published");
    assert_eq!(reporting["destinations"], serde_json::json!(["mailto:tls@d.test", "https://reports.d.test/upload"]));
    let hosts = found["hosts"].as_array().unwrap();
    let at = |index: usize| outcomes(&hosts[index]["settings"]);
    // What MTA-STS demands binds whatever the two switches say, and the message's own word lifts it.
    assert_eq!(at(0), ["left", "left", "left", "left", "left", "plaintext"], "{found:#}");
    assert_eq!(at(1), ["verified", "verified", "verified", "verified", "left", "verified"]);
    assert_eq!(at(2), ["verified"; 6]);
    assert_eq!(at(3), ["left", "left", "left", "left", "left", "verified"], "the policy does not name it");
    let requiretls: Vec<_> = hosts.iter().map(|host| host["requiretls"].as_bool()).collect();
    assert_eq!(requiretls, [None, Some(false), Some(true), Some(true)]);
    let demanded = &hosts[1]["settings"];
    assert_eq!(demanded[1]["demanded-by"], serde_json::json!(["mta-sts"]));
    assert_eq!(demanded[2]["demanded-by"], serde_json::json!(["require-tls", "mta-sts"]));
    assert_eq!(demanded[4]["demanded-by"], serde_json::json!(["requiretls", "mta-sts"]));
    let lifting = &demanded[5];
    assert_eq!((&lifting["demanded"], &lifting["lifted"]), (&"none".into(), &serde_json::json!(["mta-sts"])));
    let taken_by: Vec<_> =
        found["settings"].as_array().unwrap().iter().map(|s| s["mx-host"].as_str().unwrap()).collect();
    let two = "mx2.d.test";
    assert_eq!(taken_by, [two, two, two, two, "mx3.d.test", "mx1.d.test"]);

    let text = check(&lab, "d.test", &[]);
    println!("{text}");
    let text = read(&text);
    for words in [
        "MTA-STS only the hosts that the policy names, and verified TLS with them (enforce, id 7)",
        "TLS reports go to mailto:tls@d.test, https://reports.d.test/upload",
        "REQUIRETLS offered within TLS, and this is the domain's host for certain",
        "REQUIRETLS not offered: there is no TLS",
        "false true verified TLS, for MTA-STS: left, since it does not offer STARTTLS",
        "true false verified TLS, for require_tls, MTA-STS: within TLS, certificate verified",
        "o:tls-end-to-end (REQUIRETLS) verified TLS, for REQUIRETLS, MTA-STS: left, since it does not offer REQUIRETLS",
        "o:tls-required=no nothing is demanded (MTA-STS lifted): in plaintext: it does not offer STARTTLS",
        "left, since the domain's MTA-STS policy does not name it",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    assert_nothing_said(&lab);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_tls_reporting_that_are_no_good_are_named() {
    let mut lab = Lab::empty().await.unwrap();
    for name in ["none", "misspelt", "twice", "empty", "broken"] {
        lab.add(name, Behaviour::default()).await.unwrap();
    }
    lab.dns().update(|zone| {
        zone.txt("_smtp._tls.misspelt.test", "v=TLSRPT1; rua=mailto:tls@\u{1b}[2Jmisspelt.test")
            .txt("_smtp._tls.twice.test", "v=TLSRPTv1; rua=mailto:a@twice.test")
            .txt("_smtp._tls.twice.test", "v=TLSRPTv1; rua=mailto:b@twice.test")
            .txt("_smtp._tls.empty.test", "v=TLSRPTv1; rua=ftp://empty.test/")
            .servfail("_smtp._tls.broken.test")
    });
    for (name, state, words) in [
        ("none", "absent", "go nowhere: it publishes no TLSRPT record (absent)"),
        ("misspelt", "absent", "instead of one: \"v=TLSRPT1; rua=mailto:tls@ [2Jmisspelt.test\""),
        ("twice", "several", "go nowhere: it publishes more than one TLSRPT record (several)"),
        ("empty", "unusable", "names no mailto or https address (unusable)"),
        ("broken", "dns-failed", "(dns-failed)"),
    ] {
        let domain = format!("{name}.test");
        let found = json(&check(&lab, &domain, &["--json"]));
        assert_eq!(found["tls-reporting"]["state"], state, "{found:#}");
        assert_eq!(outcomes(&found["settings"])[0], "verified", "reports have no say in deliveries");
        let text = check(&lab, &domain, &[]);
        assert!(read(&text).contains(words) && !text.contains('\u{1b}'), "{words}:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_stands_in_for_what_is_published() {
    let mut lab = Lab::empty().await.unwrap();
    lab.add("d", with_requiretls()).await.unwrap();
    lab.add("smart", Behaviour { tls: Tls::NotOffered, ..Behaviour::default() }).await.unwrap();
    let route =
        format!("[{{ domain = \"d.test\", host = \"mx.smart.test:{}\", tls = \"encrypted\" }}]", lab.smtp_port());
    let settings = [("WAXWING_ROUTES", route.as_str())];
    let found = json(&check_with(&lab, "d.test", &["--json"], &settings));
    assert_eq!(found["route"], serde_json::json!({ "host": "mx.smart.test", "tls": "encrypted" }));
    assert_eq!(outcomes(&found["hosts"][0]["settings"]), ["left"; 6], "{found:#}");
    assert_eq!(found["hosts"][0]["settings"][5]["demanded-by"], serde_json::json!(["route"]), "nobody lifts that");
    assert!(found["tls-reporting"].is_null() && found["dnssec"]["mx"].is_null(), "{found:#}");
    let text = read(&check_with(&lab, "d.test", &[], &settings));
    let words = "route by a configured route to mx.smart.test; any TLS, for the route";
    assert!(text.contains(words), "{text}");
}

/// The server itself reads the rule and obeys it: a host that all the world trusts is not the one that is pinned.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_taken_into_account() {
    let mut lab = Lab::empty().await.unwrap();
    lab.add("d", Behaviour::default()).await.unwrap();
    let rule = |keys: &str| format!("[{{ hosts = [\"*.d.test\"], {keys} }}]");
    let other = rule(&format!("certificate = [\"{}\"]", "07".repeat(32)));
    let settings = [("WAXWING_RULES", other.as_str())];
    let found = json(&check_with(&lab, "d.test", &["--json"], &settings));
    assert_eq!(outcomes(&found["hosts"][0]["settings"]), ["left"; 6], "{found:#}");
    assert_eq!(found["hosts"][0]["settings"][0]["demanded-by"], serde_json::json!(["rule"]));
    let text = read(&check_with(&lab, "d.test", &[], &settings));
    let words = "verified TLS, for the operator's rule: left, since the certificate is none of those that";
    assert!(text.contains(words), "{text}");

    let fingerprint = found["hosts"][0]["tls"]["certificate"]["sha256"].as_str().unwrap();
    let same = rule(&format!("certificate = [\"{fingerprint}\"]"));
    let text = read(&check_with(&lab, "d.test", &[], &[("WAXWING_RULES", same.as_str())]));
    assert!(text.contains("verified TLS, for the operator's rule: within TLS, with the pinned certificate"), "{text}");
    let ended = rule("minimum = \"verified\", until = 2020-02-29");
    let found = json(&check_with(&lab, "d.test", &["--json"], &[("WAXWING_RULES", ended.as_str())]));
    assert_eq!(outcomes(&found["hosts"][0]["settings"])[1], "encrypted", "{found:#}");
}

/// A domain for each thing that DNSSEC can say, with a receiver; and the settings that find them.
struct Signed {
    lab: Lab,
    tree: SignedTree,
    resolver: Server,
}

impl Signed {
    /// `None` where the tools are missing.
    async fn start(test: &str) -> Option<Signed> {
        if !tools_or_skip(test) {
            return None;
        }
        let mut lab = Lab::empty().await.unwrap();
        let port = lab.smtp_port();
        let mut domain = async |name: &str, tlsa: Option<&str>| {
            let receiver = lab.add(name, with_requiretls()).await.unwrap();
            let tlsa = tlsa.map(|digest| format!("_{port}._tcp.mx TLSA 3 1 1 {digest}\n")).unwrap_or_default();
            format!("@ MX 10 mx\nmx A {}\n{tlsa}", receiver.address().ip())
        };
        // Nobody shows such a certificate.
        let digest = "00000000000000aa".repeat(4);
        let forged = Some(("00000000000000aa".to_owned(), "00000000000000bb".to_owned()));
        let zones = vec![
            SignedZone::new(".", Signing::Nsec, ""),
            SignedZone::new("test.", Signing::Nsec, ""),
            SignedZone::new("secure.test.", Signing::Nsec, domain("secure", Some(&digest)).await),
            SignedZone::new("bare.test.", Signing::Nsec, domain("bare", None).await),
            SignedZone::new("insecure.test.", Signing::Unsigned, domain("insecure", Some(&digest)).await),
            SignedZone {
                delegation: Delegation::Wrong,
                ..SignedZone::new("bogus.test.", Signing::Nsec, domain("bogus", Some(&digest)).await)
            },
            SignedZone {
                forged,
                ..SignedZone::new("forged.test.", Signing::Nsec, domain("forged", Some(&digest)).await)
            },
            SignedZone::new("astray.test.", Signing::Nsec, "@ MX 10 mx.bogus.test.\n"),
        ];
        let tree = SignedTree::start(zones).unwrap();
        let resolver = tree.resolver(false).unwrap();
        Some(Signed { lab, tree, resolver })
    }

    /// The check of a domain below the key of this zone: JSON and text.
    fn check(&self, domain: &str, anchor: &str) -> (Value, String) {
        let file = self.tree.anchor_file().with_extension(format!("of{anchor}x"));
        std::fs::write(&file, self.tree.anchor_of(anchor)).unwrap();
        let resolver = self.resolver.address().to_string();
        let settings = [("WAXWING_RESOLVER", resolver.as_str()), ("WAXWING_DNSSEC_ANCHOR", file.to_str().unwrap())];
        let found = json(&check_with(&self.lab, domain, &["--json"], &settings));
        let text = check_with(&self.lab, domain, &[], &settings);
        println!("{text}");
        assert_eq!(found["dnssec"]["status"], "validating", "{found:#}");
        (found, read(&text))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secure_insecure_bogus_and_indeterminate_are_told_apart() {
    let Some(signed) = Signed::start("secure_insecure_bogus_and_indeterminate_are_told_apart").await else { return };
    let whole = signed.check("secure.test", ".");
    let (found, text) = &whole;
    assert_eq!((&found["dnssec"]["mx"], &found["hosts"][0]["dnssec"]), (&"secure".into(), &"secure".into()));
    assert_eq!(found["hosts"][0]["dane"]["state"], "usable");
    // The certificate is one that a root vouches for, and not the one that the records name.
    assert_eq!(outcomes(&found["settings"]), ["deferred", "deferred", "deferred", "deferred", "failed", "verified"]);
    assert_eq!(found["hosts"][0]["settings"][1]["demanded-by"], serde_json::json!(["dane"]));
    assert!(text.contains("DNSSEC validating; the MX answer is signed (secure)"), "{text}");
    assert!(text.contains("false true verified TLS, for DANE: left, since the certificate matches none of"), "{text}");
    assert!(text.contains("nothing is demanded (DANE lifted): within TLS, certificate verified"), "{text}");

    let (found, text) = signed.check("bare.test", ".");
    assert_eq!(found["hosts"][0]["dane"]["state"], "no-tlsa");
    assert_eq!(outcomes(&found["settings"])[4], "verified", "signed MX records are enough for REQUIRETLS: {text}");

    let (found, text) = signed.check("insecure.test", ".");
    assert_eq!((&found["dnssec"]["mx"], &found["hosts"][0]["dnssec"]), (&"insecure".into(), &"insecure".into()));
    assert_eq!(found["hosts"][0]["dane"]["state"], "mx-insecure");
    assert_eq!(outcomes(&found["settings"]), ["verified", "encrypted", "verified", "encrypted", "failed", "verified"]);
    assert!(text.contains("the MX answer is not signed (insecure)"), "{text}");
    assert!(text.contains("left, since neither DNSSEC nor MTA-STS says that it is the domain's host"), "{text}");

    let (found, text) = signed.check("bogus.test", ".");
    assert_eq!((&found["dnssec"]["mx"], &found["problem"]["reason"]), (&"bogus".into(), &"dnssec-invalid".into()));
    assert_eq!(outcomes(&found["settings"]), ["deferred"; 6], "no answer at all, whatever the message says");
    assert!(text.contains("the MX records are wrongly signed (bogus)"), "{text}");
    assert!(text.contains("(dnssec-invalid)"), "{text}");

    // The same at the host: its address, its TLSA records.
    let (found, _) = signed.check("astray.test", ".");
    assert_eq!((&found["dnssec"]["mx"], &found["skipped"][0]["reason"]), (&"secure".into(), &"dnssec-invalid".into()));
    let (found, text) = signed.check("forged.test", ".");
    assert_eq!(found["hosts"][0]["dane"]["state"], "dnssec-invalid");
    let told = outcomes(&found["hosts"][0]["settings"]);
    assert_eq!(told, ["skipped", "skipped", "skipped", "skipped", "skipped", "verified"], "{text}");

    // Beside the one trust anchor that there is.
    let (found, text) = signed.check("insecure.test", "secure.test.");
    assert_eq!(found["dnssec"]["mx"], "indeterminate", "{found:#}");
    assert_eq!(outcomes(&found["settings"])[0], "verified", "mail goes on as if nothing were signed");
    assert!(text.contains("the MX answer is not covered by any trust anchor"), "{text}");
    let (found, _) = signed.check("secure.test", "secure.test.");
    assert_eq!(found["dnssec"]["mx"], "secure", "{found:#}");
    assert_nothing_said(&signed.lab);
}

#[tokio::test(flavor = "multi_thread")]
async fn dnssec_that_is_off_is_told_with_its_reason() {
    let mut lab = Lab::empty().await.unwrap();
    lab.add("d", Behaviour::default()).await.unwrap();
    // The lab's own authority knows nothing of DNSSEC, as many a router.
    for (dnssec, because) in [
        ("validate", format!("off, because the resolver {} ", lab.dns_addr())),
        ("trust-ad", format!("off, because the resolver {} ", lab.dns_addr())),
        ("off", "off, because dnssec is set to off".to_owned()),
    ] {
        let settings = [("WAXWING_DNSSEC", dnssec)];
        let found = json(&check_with(&lab, "d.test", &["--json"], &settings));
        let status = found["dnssec"]["status"].as_str().unwrap();
        assert!(status.starts_with(&because), "{status}");
        let dane = &found["hosts"][0]["dane"];
        assert_eq!(
            (dane["state"].as_str(), dane["because"].as_str()),
            (Some("off"), status.strip_prefix("off, because "))
        );
        let text = check_with(&lab, "d.test", &[], &settings);
        let text = read(&text);
        assert!(text.contains(&format!("DNSSEC {}", because.trim())), "{text}");
        assert!(text.contains("DANE off, as DNSSEC is"), "{text}");
    }
}
