//! Against a real DNS authority and a real store.

use policy::tls::TlsSettings;
use store::{Location, NewDomain, Role};
use testkit::{Lab, Zone};

use super::*;
use crate::dkim::{Source, new_key};

struct Scene {
    lab: Lab,
    store: Store,
    dns: SendingDns,
    directory: std::path::PathBuf,
    key: String,
}

const OURS: &str = "mail.ours.test";

impl Scene {
    /// `x.test` with an active key `s1`, and this server at 192.0.2.7.
    async fn new() -> Scene {
        let lab = Lab::empty().await.unwrap();
        let directory = std::env::temp_dir().join(format!("waxwing-dns-{:016x}", rand::random::<u64>()));
        let store = Store::open(&Location::sqlite(&directory), Role::Server).await.unwrap();
        let made = Source::Made(message::dkim::KeyKind::Ed25519);
        let key = new_key(made, Some("s1".parse().unwrap()), true).await.unwrap();
        let record = key.record.clone();
        let (name, now) = ("x.test".parse().unwrap(), Timestamp::now());
        let new = NewDomain { name, tls: TlsSettings::default(), dkim: Some(key), now };
        store.create_domain(new).await.unwrap();
        let config = Config { ehlo_name: EhloName::Name(OURS.parse().unwrap()), ..Config::default() };
        let dns = SendingDns::of(&config, Dns::new(Some(lab.dns_addr())));
        let scene = Scene { lab, store, dns, directory, key: record };
        scene.publish(|zone| zone.a(OURS, "192.0.2.7".parse().unwrap()));
        scene
    }

    fn publish(&self, change: impl FnOnce(Zone) -> Zone) {
        self.lab.dns().update(change);
    }

    fn domain(&self) -> Domain {
        "x.test".parse().unwrap()
    }

    /// Whether the domain is verified after a look, and what is said of each record.
    async fn verify(&self) -> (bool, Vec<String>) {
        let records = self.dns.verify(&self.store, &self.domain()).await.unwrap();
        assert_eq!(self.dns.known(&self.store, &self.domain()).await.unwrap().records, records.records);
        let said = |record: &Record| {
            let words = record.finding.words.as_deref().unwrap_or_default();
            format!("{} {} {words}", record.purpose.as_str(), record.finding.validity.as_str())
        };
        let verified = self.store.domain(&self.domain()).await.unwrap().unwrap().verified;
        (verified, records.records.iter().map(said).collect())
    }

    /// What is said of an SPF record, with whatever else is published for it.
    async fn spf(&self, record: &str) -> String {
        self.publish(|zone| zone.without("x.test").txt("x.test", record));
        self.verify().await.1.remove(0)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test]
async fn a_domain_becomes_verified_and_loses_it_again() {
    let scene = Scene::new().await;
    let known = scene.dns.known(&scene.store, &scene.domain()).await.unwrap();
    assert_eq!(known.checked_at, None);
    assert!(known.records.iter().all(|record| record.finding.validity == Validity::Unknown));
    assert_eq!(known.records[0].value, "v=spf1 a:mail.ours.test ~all");
    assert_eq!(
        (known.records[1].name.as_str(), known.records[1].value.as_str()),
        ("s1._domainkey.x.test", &*scene.key)
    );

    let (verified, said) = scene.verify().await;
    assert!(!verified && said[0].contains("no SPF record") && said[1].contains("not published"), "{said:?}");
    assert!(said[2].starts_with("dmarc invalid") && said[3].starts_with("return-path invalid no MX"), "{said:?}");

    let key = scene.key.clone();
    scene.publish(|zone| {
        let zone = zone.txt("x.test", "v=spf1 a:mail.ours.test ~all").txt("x.test", "unrelated=1");
        zone.txt("s1._domainkey.x.test", &key).txt("_dmarc.x.test", "v=DMARC1; p=reject").mx("x.test", 10, "mx.x.test")
    });
    let (verified, said) = scene.verify().await;
    assert!(
        verified && said[0] == "spf valid " && said[1] == "dkim valid " && said[3] == "return-path valid ",
        "{said:?}"
    );
    assert!(said[2].starts_with("dmarc valid"), "{said:?}");

    // A resolver in trouble takes nothing away, and gives nothing.
    scene.publish(|zone| zone.servfail("s1._domainkey.x.test"));
    let (verified, said) = scene.verify().await;
    assert!(verified && said[1].starts_with("dkim unknown"), "{said:?}");

    // A key that does not sign yet does not count; one that does, does.
    let made = Source::Made(message::dkim::KeyKind::Ed25519);
    let next = new_key(made, Some("s2".parse().unwrap()), false).await.unwrap();
    scene.store.create_dkim_key(&scene.domain(), next).await.unwrap();
    scene.publish(|zone| zone.without("s1._domainkey.x.test").txt("s1._domainkey.x.test", &key));
    assert!(scene.verify().await.0);
    scene.store.set_dkim_key_active(&scene.domain(), &"s2".parse().unwrap(), true).await.unwrap();
    let (verified, said) = scene.verify().await;
    assert!(!verified && said[2].starts_with("dkim invalid"), "{said:?}");
}

#[tokio::test]
async fn others_can_be_asked_to_report_about_tls_here() {
    let mut scene = Scene::new().await;
    let about_tls = async |scene: &Scene| {
        let mut said = scene.verify().await.1;
        said.retain(|said| said.starts_with("tls-reports") || said.starts_with("mta-sts"));
        said
    };
    assert_eq!(about_tls(&scene).await.len(), 1, "nobody reaches this server by https");
    let public_url = Some("https://mail.ours.test/".parse().unwrap());
    let config = Config { ehlo_name: EhloName::Name(OURS.parse().unwrap()), public_url, ..Config::default() };
    scene.dns = SendingDns::of(&config, Dns::new(Some(scene.lab.dns_addr())));
    let known = scene.dns.known(&scene.store, &scene.domain()).await.unwrap();
    let record = known.records.iter().find(|record| record.purpose == Purpose::TlsReports).unwrap().clone();
    assert_eq!(record.name, "_smtp._tls.x.test");
    assert_eq!(record.value, "v=TLSRPTv1; rua=https://mail.ours.test/v1/tls/reports/upload");
    let said = about_tls(&scene).await;
    assert!(said[0].starts_with("tls-reports invalid") && said[1].starts_with("mta-sts invalid"), "{said:?}");
    scene.publish(|zone| zone.txt(&record.name, &record.value).txt("_mta-sts.x.test", "v=STSv1; id=20261123"));
    assert_eq!(about_tls(&scene).await, ["tls-reports valid ", "mta-sts valid "]);
}

#[tokio::test]
async fn spf_is_followed_as_receivers_do() {
    let scene = Scene::new().await;
    scene.publish(|zone| {
        let zone = zone.txt("inc.test", "v=spf1 ip4:192.0.2.0/24 -all").txt("no.test", "v=spf1 -all");
        let zone = zone.txt("loop.test", "v=spf1 include:loop.test").txt("two.test", "v=spf1 +all");
        zone.txt("two.test", "v=spf1 -all")
            .mx("mx.test", 10, "h.mx.test")
            .address("h.mx.test", "192.0.2.9".parse().unwrap())
    });
    for (record, expected) in [
        ("v=spf1 a:mail.ours.test -all", "spf valid "),
        ("v=spf1 ip4:192.0.2.7 ip4:198.51.100.0/24 ?all", "spf valid "),
        ("v=spf1 include:inc.test -all", "spf valid "),
        ("v=spf1 redirect=inc.test", "spf valid "),
        ("v=spf1 mx:mx.test/28 -all", "spf valid "),
        ("v=spf1 exists:%{i}.x.test ip4:192.0.2.7 -all", "spf valid "),
        ("v=spf1 mx:mx.test -all", "does not include 192.0.2.7"),
        ("v=spf1 include:no.test ~all", "does not include 192.0.2.7"),
        ("v=spf1 -ip4:192.0.2.7 +all", "does not include 192.0.2.7"),
        ("v=spf1", "does not include 192.0.2.7"),
        ("v=spf1 include:two.test", "two.test: 2 SPF records"),
        ("v=spf1 include:gone.test", "gone.test: no SPF record"),
        ("v=spf1 include:loop.test", "more than 10 times"),
        ("v=spf1 ip4:nonsense", "cannot be read: ip4:nonsense"),
        ("v=spf1 exists:%{i}.x.test -all", "spf unknown exists:%{i}.x.test decides"),
    ] {
        let said = scene.spf(record).await;
        assert!(said.contains(expected), "{record}: {said}");
    }
    scene.publish(|zone| zone.servfail("inc.test"));
    assert!(scene.spf("v=spf1 include:inc.test -all").await.starts_with("spf unknown"));
    scene.publish(|zone| zone.without(OURS));
    assert!(scene.spf("v=spf1 a:mail.ours.test -all").await.contains("has no address"));
}

#[tokio::test]
async fn the_record_names_the_addresses_that_are_configured() {
    let lab = Lab::empty().await.unwrap();
    let dns = |sources: &[&str], name: &str| {
        let source_addresses = sources.iter().map(|text| text.parse().unwrap()).collect();
        let config = Config { source_addresses, ehlo_name: name.parse().unwrap(), ..Config::default() };
        SendingDns::of(&config, Dns::new(Some(lab.dns_addr())))
    };
    assert_eq!(dns(&["203.0.114.7", "2a00::7"], OURS).spf_record(), "v=spf1 ip4:203.0.114.7 ip6:2a00::7 ~all");
    assert_eq!(dns(&["10.0.0.7"], OURS).spf_record(), "v=spf1 a:mail.ours.test ~all");
    assert_eq!(dns(&[], "[203.0.114.7]").spf_record(), "v=spf1 ip4:203.0.114.7 ~all");
}

#[tokio::test]
async fn bounces_come_back_only_where_all_records_lead_here() {
    let mut scene = Scene::new().await;
    let in_force = async |scene: &Scene| {
        let mut said = scene.verify().await.1;
        said.retain(|said| said.starts_with("bounces"));
        (scene.dns.bounce_host_in_force(&scene.store, &scene.domain()).await.unwrap().is_some(), said)
    };
    assert_eq!(in_force(&scene).await, (false, vec![]), "nobody listens");

    let bounce_listen = Some("127.0.0.1:0".parse().unwrap());
    let config = Config { ehlo_name: EhloName::Name(OURS.parse().unwrap()), bounce_listen, ..Config::default() };
    scene.dns = SendingDns::of(&config, Dns::new(Some(scene.lab.dns_addr())));
    assert!(scene.dns.bounce_host_in_force(&scene.store, &scene.domain()).await.unwrap().is_none(), "never looked for");
    let (is, said) = in_force(&scene).await;
    assert!(!is && said[0].starts_with("bounces invalid no MX") && said[1].contains("no SPF record"), "{said:?}");
    scene.publish(|zone| zone.mx("bounces.x.test", 10, OURS));
    assert!(!in_force(&scene).await.0, "the SPF record is missing");
    scene.publish(|zone| zone.txt("bounces.x.test", "v=spf1 a:mail.ours.test ~all"));
    assert_eq!(in_force(&scene).await, (true, vec!["bounces valid ".to_owned(), "bounces valid ".to_owned()]));
    scene.publish(|zone| zone.mx("bounces.x.test", 20, "mx.other.test"));
    let (is, said) = in_force(&scene).await;
    assert!(!is && said[0].contains("another host"), "{said:?}");

    // A server that nobody can name as an MX has none of this.
    let config = Config { ehlo_name: "[203.0.114.7]".parse().unwrap(), bounce_listen, ..Config::default() };
    scene.dns = SendingDns::of(&config, Dns::new(Some(scene.lab.dns_addr())));
    assert_eq!(in_force(&scene).await, (false, vec![]));
}
