//! The lab as a whole: its names resolve to its receivers.

mod common;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use common::{Client, trusting};
use testkit::{Answer, Behaviour, Host, Lab, Listen, Tls, Zone};

#[tokio::test]
async fn every_state_has_a_domain_an_mx_and_an_address_of_its_own() {
    let lab = Lab::start().await.unwrap();
    let mut ips = BTreeSet::new();
    for state in lab.states() {
        assert_eq!(state.domain, format!("{}.test", state.name));
        assert_eq!(state.mx_hosts, [format!("mx.{}.test", state.name)]);
        assert!(!state.description.is_empty());
        let address = lab.receiver(&state.name).address();
        assert_eq!(address.port(), lab.smtp_port());
        assert!(address.ip() != IpAddr::V4(Ipv4Addr::LOCALHOST) && address.ip().is_loopback());
        assert_eq!(lab.receiver(&state.mx_hosts[0]).address(), address);
        ips.insert(address.ip());
    }
    assert_eq!(ips.len(), 8);
    assert!(lab.smtp_port() > 1024);
    assert!(lab.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(lab.find("nonesuch").is_none());
    assert!(format!("{:?}", lab.dns().zone()).contains("good"));
}

#[tokio::test]
async fn labs_live_side_by_side() {
    let (one, two) = (Lab::start().await.unwrap(), Lab::start().await.unwrap());
    assert_ne!(one.smtp_port(), two.smtp_port());
    assert_ne!(one.dns_addr(), two.dns_addr());
}

#[tokio::test]
async fn a_test_adds_its_own_receivers() {
    let mut lab = Lab::empty().await.unwrap();
    let full = Behaviour { mail: Some(Answer::new(452, "4.3.1 Disk full")), ..Behaviour::default() };
    let receiver = lab.add("full", full).await.unwrap();
    let client = Client::connect(receiver.address()).await;
    // The certificate is made for the MX host, by the lab's CA.
    let mut inside = client.starttls(&trusting(lab.ca().roots()), "mx.full.test").await.unwrap();
    inside.expect(&[("EHLO c.test", 250), ("MAIL FROM:<a@b.test>", 452), ("QUIT", 221)]).await;

    // A receiver that changes its mind keeps its name and certificate.
    receiver.behave(Behaviour::default()).unwrap();
    let client = Client::connect(receiver.address()).await;
    let mut inside = client.starttls(&trusting(lab.ca().roots()), "mx.full.test").await.unwrap();
    inside.expect(&[("EHLO c.test", 250), ("MAIL FROM:<a@b.test>", 250)]).await;
}

#[tokio::test]
async fn a_domain_has_several_hosts() {
    let mut lab = Lab::empty().await.unwrap();
    let plain = Behaviour { tls: Tls::NotOffered, ..Behaviour::default() };
    let hosts = vec![
        Host::new("mx2", 20, Behaviour::default()),
        Host::new("mx1", 10, plain),
        Host::new("mx3", 30, Behaviour::default()).on(Listen::Closed),
        Host::new("mx4", 40, Behaviour::default()).on(Listen::Nowhere),
    ];
    let receivers = lab.add_hosts("several", hosts).await.unwrap();
    assert_eq!(receivers.len(), 2);
    assert_eq!(lab.receiver("mx1.several.test").address(), receivers[1].address());
    let hosts: Vec<_> = (1..=4).map(|i| format!("mx{i}.several.test")).collect();
    assert_eq!(lab.states()[0].mx_hosts, hosts);
    let offer = Client::connect(receivers[1].address()).await.ask("EHLO c.test").await.1;
    assert!(offer.starts_with("250-mx1.several.test") && !offer.contains("STARTTLS"));
    lab.dns().update(|zone: Zone| zone.null_mx("nomail.test"));
}

#[tokio::test]
async fn hosts_listen_on_ipv6_where_there_is_one() {
    if tokio::net::TcpListener::bind("[::1]:0").await.is_err() {
        return;
    }
    let mut lab = Lab::empty().await.unwrap();
    let host = Host::new("mx", 10, Behaviour::default()).on(Listen::Both);
    let receiver = lab.add_hosts("six", vec![host]).await.unwrap().remove(0);
    assert_eq!(receiver.addresses().len(), 2);
    for address in receiver.addresses() {
        Client::connect(*address).await.expect(&[("EHLO c.test", 250), ("QUIT", 221)]).await;
    }
    assert!(receiver.sessions()[1].peer.is_ipv6());
}
