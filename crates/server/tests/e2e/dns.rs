//! The DNS records of a sending domain, as a person puts them up.

use serde_json::Value;
use testkit::Lab;

use crate::world::{DOMAIN, World};

#[tokio::test(flavor = "multi_thread")]
async fn what_records_prints_is_what_verify_wants() {
    let world = World::start(Lab::empty().await.unwrap()).await;
    let printed = world.tool(&["domain", "records", DOMAIN]);
    assert!(printed.contains("sender.example. TXT \"v=spf1 a:waxwing.sender.example ~all\"\n"), "{printed}");
    // An RSA key takes two strings.
    let key = printed.lines().find(|line| line.contains("._domainkey.")).unwrap();
    assert_eq!(key.matches('"').count(), 4, "{key}");

    // What is not a comment is put into the zone, its strings joined.
    world.lab.dns().update(|zone| {
        let zone = zone.a("waxwing.sender.example", "192.0.2.7".parse().unwrap());
        printed.lines().filter(|line| !line.starts_with(';')).fold(zone, |zone, line| {
            let (name, value) = line.split_once(". TXT ").unwrap();
            zone.txt(name, &value.trim_matches('"').replace("\" \"", ""))
        })
    });
    let told: Value = serde_json::from_str(&world.tool(&["domain", "verify", DOMAIN, "--json"])).unwrap();
    assert_eq!(told["verified"], true);
    assert_eq!(world.get(&format!("/v4/domains/{DOMAIN}")).await["domain"]["state"], "active");

    world.lab.dns().update(|zone| zone.txt(DOMAIN, "v=spf1 -all"));
    let (code, said) = world.failing_tool(&["domain", "verify", DOMAIN]);
    assert_eq!(code, Some(1));
    assert!(said.contains("2 SPF records are published") && said.contains("found:    v=spf1 -all"), "{said}");
    assert_eq!(world.get(&format!("/v4/domains/{DOMAIN}")).await["domain"]["state"], "unverified");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_managed_beside_the_server() {
    let world = World::start(Lab::empty().await.unwrap()).await;
    let pem = world.directory.join("key.pem");
    let key = message::dkim::SigningKey::generate(message::dkim::KeyKind::Ed25519).unwrap();
    std::fs::write(&pem, key.to_pem().unwrap()).unwrap();
    let dkim = |arguments: &[&str]| world.tool(&[&["domain", "dkim"], arguments].concat());
    let added = dkim(&["add", DOMAIN, "--selector", "own", "--pem", pem.to_str().unwrap()]);
    assert!(added.contains("own  Ed25519, inactive") && added.contains(&key.record()), "{added}");
    assert!(dkim(&["activate", DOMAIN, "own"]).contains("own  Ed25519, active"));
    dkim(&["deactivate", DOMAIN, "own"]);
    assert_eq!(dkim(&["delete", DOMAIN, "own"]), "own of sender.example deleted\n");
    let listed: Value = serde_json::from_str(&dkim(&["list", DOMAIN, "--json"])).unwrap();
    let last = listed[0]["selector"].as_str().unwrap();
    let (code, said) = world.failing_tool(&["domain", "dkim", "delete", DOMAIN, last]);
    assert!(code == Some(1) && said.contains("the last key of sender.example that signs"), "{said}");
    std::fs::write(&pem, "secret words").unwrap();
    let (code, said) = world.failing_tool(&["domain", "dkim", "add", DOMAIN, "--pem", pem.to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("no private key") && !said.contains("secret words"), "{said}");
}
