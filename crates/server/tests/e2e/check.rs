//! `waxwing check`: what it foretells is what a delivery does, and it says nothing of any message.

use std::process::Command;

use serde_json::Value;
use testkit::{Behaviour, Host, Lab, Listen, Tls};

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

fn check(lab: &Lab, domain: &str, further: &[&str]) -> String {
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
        .current_dir(&directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!directory.join("data").exists(), "a check needs no store");
    std::fs::remove_dir_all(&directory).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_is_foretold() {
    let lab = Lab::start().await.unwrap();
    for (domain, expected) in FORECASTS {
        let found: Value = serde_json::from_str(&check(&lab, domain, &["--json"])).unwrap();
        let outcomes: Vec<_> =
            found["settings"].as_array().unwrap().iter().map(|s| s["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, expected, "{found:#}");
    }
    for (state, receiver) in lab.receivers() {
        assert!(receiver.sessions().iter().all(|session| !session.saw_mail()), "{state}");
    }
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
