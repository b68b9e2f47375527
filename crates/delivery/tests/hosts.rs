//! Which hosts and addresses are tried, in which order, and which never.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use common::{Scenario, assert_nothing_said, route_to, switches};
use delivery::Timeouts;
use policy::tls::{Authentication, Minimum};
use smtp::EnhancedCode;
use testkit::{Answer, Behaviour, Host, Listen, Rtype, Stage, Tls, Zone};

fn good() -> Behaviour {
    Behaviour::default()
}

fn plain() -> Behaviour {
    Behaviour { tls: Tls::NotOffered, ..good() }
}

fn busy() -> Behaviour {
    Behaviour { mail: Some(Answer::new(451, "4.3.2 busy")), ..good() }
}

#[tokio::test]
async fn the_preferred_host_gets_the_message() {
    let run = Scenario::hosts(vec![Host::new("b", 20, good()), Host::new("a", 10, good())]).run().await;
    assert_eq!(run.steps(), [("a.d.test", "delivered", None)]);
    assert!(run.receivers[0].sessions().is_empty());
    run.assert_clean();
}

#[tokio::test]
async fn a_host_without_tls_is_left_for_the_next() {
    let hosts = vec![Host::new("a", 10, plain()), Host::new("b", 20, good())];
    let run = Scenario { policy: switches(true, false), ..Scenario::hosts(hosts) }.run().await;
    let left = ("a.d.test", "left", Some("starttls-not-supported"));
    assert_eq!(run.steps(), [left, ("b.d.test", "delivered", None)]);
    assert_nothing_said(&run.sessions(0, 1).await[0]);
    assert!(run.channel().unwrap().certificate_verified());
    run.assert_clean();
}

#[tokio::test]
async fn when_all_are_left_the_reason_is_told() {
    let garbage = Behaviour { tls: Tls::Broken(testkit::Breakage::Garbage), ..good() };
    let hosts = vec![
        Host::new("a", 10, plain()),
        Host::new("b", 20, garbage),
        // That this one cannot be reached says less than that the others have no TLS.
        Host::new("c", 30, good()).on(Listen::Closed),
    ];
    let run = Scenario { policy: switches(true, true), ..Scenario::hosts(hosts) }.run().await;
    assert_eq!(run.outcomes(), [("deferred", 451)]);
    let problem = run.problem();
    let told = (problem.reason, problem.enhanced_code);
    assert_eq!(told, (Some("handshake-failed"), Some(EnhancedCode::new(4, 7, 5))));
    assert_eq!(run.steps()[2], ("c.d.test", "connection-failed", Some("connection-failed")));
    assert_eq!(run.report.recipients[0].connection.as_ref().unwrap().mx_host, "b.d.test");
    for receiver in [0, 1] {
        assert_nothing_said(&run.sessions(receiver, 1).await[0]);
    }
}

#[tokio::test]
async fn hosts_that_cannot_be_reached_are_passed_over() {
    let hosts = vec![
        Host::new("a", 10, good()).on(Listen::Nowhere),
        Host::new("b", 20, good()).on(Listen::Closed),
        Host::new("c", 30, Behaviour { greeting: Some(Answer::new(554, "no mail here")), ..good() }),
        Host::new("d", 40, good()).on(Listen::V6),
    ];
    let run = Scenario::hosts(hosts).run().await;
    let expected = [
        ("a.d.test", "skipped", Some("no-address")),
        ("b.d.test", "connection-failed", Some("connection-failed")),
        ("c.d.test", "refused-session", None),
        ("d.d.test", "delivered", None),
    ];
    assert_eq!(run.steps(), expected);
    assert_eq!(run.report.steps[3].address, Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    run.assert_clean();
}

#[tokio::test]
async fn without_any_connection_none_is_told() {
    let run = Scenario::hosts(vec![Host::new("a", 10, good()).on(Listen::Closed)]).run().await;
    assert_eq!((run.outcomes(), run.problem().reason), (vec![("deferred", 451)], Some("connection-failed")));
    assert!(run.report.recipients[0].connection.is_none());
    let run = Scenario::hosts(vec![Host::new("a", 10, good()).on(Listen::Nowhere)]).run().await;
    assert_eq!((run.outcomes(), run.problem().reason), (vec![("deferred", 451)], Some("no-address")));
    assert!(run.report.recipients[0].connection.is_none());
}

#[tokio::test]
async fn a_transient_answer_gives_the_next_host_a_chance_and_no_third() {
    let run = Scenario::hosts(vec![Host::new("a", 10, busy()), Host::new("b", 20, good())]).run().await;
    assert_eq!(run.outcomes(), [("delivered", 250)]);
    let hosts = (1..=3).map(|n| Host::new(&format!("h{n}"), n, busy())).collect();
    let run = Scenario::hosts(hosts).run().await;
    assert_eq!((run.outcomes(), run.report.steps.len()), (vec![("deferred", 451)], 2));
    assert!(run.receivers[2].sessions().is_empty());
    run.assert_clean();
}

#[tokio::test]
async fn only_those_who_wait_are_taken_to_the_next_host() {
    let hosts = || {
        let recipients = [("later", 450), ("never", 550)].map(|(to, code)| (to.to_owned(), Answer::new(code, "")));
        let picky = Behaviour { recipients: recipients.into(), ..good() };
        vec![Host::new("a", 10, picky), Host::new("b", 20, good())]
    };
    let run = Scenario { recipients: vec!["never", "later"], ..Scenario::hosts(hosts()) }.run().await;
    assert_eq!(run.outcomes(), [("failed", 550), ("delivered", 250)]);
    assert_eq!(run.receivers[1].messages()[0].recipients, ["later@d.test"]);
    let host = |index: usize| run.report.recipients[index].connection.as_ref().unwrap().mx_host.clone();
    assert_eq!([host(0), host(1)], ["a.d.test", "b.d.test"]);

    // What a host took is recorded before anything else is tried: who was not taken waits for the next attempt.
    let run = Scenario { recipients: vec!["never", "bob", "later"], ..Scenario::hosts(hosts()) }.run().await;
    assert_eq!(run.outcomes(), [("failed", 550), ("delivered", 250), ("deferred", 450)]);
    assert_eq!(run.receivers[0].messages()[0].recipients, ["bob@d.test"]);
    assert!(run.receivers[1].sessions().is_empty());
}

#[tokio::test]
async fn a_permanent_answer_is_final() {
    let no = Behaviour { rcpt: Some(Answer::new(550, "5.1.1 no such user")), ..good() };
    let run = Scenario::hosts(vec![Host::new("a", 10, no), Host::new("b", 20, good())]).run().await;
    assert_eq!(run.outcomes(), [("failed", 550)]);
    assert!(run.receivers[1].sessions().is_empty());
}

#[tokio::test]
async fn after_a_lost_final_answer_no_other_host_is_tried() {
    for drops in [true, false] {
        let lost = match drops {
            true => Behaviour { drop_after: Some(Stage::EndOfData), ..good() },
            false => Behaviour { delays: [(Stage::EndOfData, Duration::from_secs(60))].into(), ..good() },
        };
        let hosts = vec![Host::new("a", 10, lost), Host::new("b", 20, good())];
        let timeouts = Timeouts { data_termination: Duration::from_millis(200), ..Timeouts::default() };
        let run = Scenario { timeouts, ..Scenario::hosts(hosts) }.run().await;
        assert_eq!((run.outcomes(), run.problem().reason), (vec![("deferred", 421)], Some("connection-lost")));
        assert!(run.receivers[1].sessions().is_empty());
    }
}

#[tokio::test]
async fn a_session_lost_before_the_final_dot_is_begun_again_elsewhere() {
    for stage in [Stage::Connect, Stage::Ehlo, Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Content] {
        let lost = Behaviour { drop_after: Some(stage), ..good() };
        let hosts = vec![Host::new("a", 10, lost), Host::new("b", 20, good())];
        // More than all buffers on the way hold, so that the dot cannot have left when the host hangs up.
        let content =
            if stage == Stage::Content { "a line\r\n".repeat(2_000_000).into() } else { common::CONTENT.into() };
        let run = Scenario { content, ..Scenario::hosts(hosts) }.run().await;
        assert_eq!(run.outcomes(), [("delivered", 250)], "{stage:?}");
        assert!(run.receivers[0].messages().is_empty(), "{stage:?}");
        assert_eq!(run.receivers[1].messages().len(), 1, "{stage:?}");
        run.assert_clean();
    }
    let run = Scenario::with(Behaviour { drop_after: Some(Stage::Quit), ..good() }).run().await;
    assert_eq!(run.outcomes(), [("delivered", 250)], "the farewell changes nothing");
}

#[tokio::test]
async fn a_host_and_its_addresses_are_tried_a_limited_number_of_times() {
    let crowd = |zone: Zone, host: &str, from: u8| {
        (0..12).fold(zone, |zone, i| zone.a(host, Ipv4Addr::new(127, 0, 1, from + i)))
    };
    let run = Scenario {
        destination: "crowd.test",
        zone: |zone, _| {
            let zone = zone.mx("crowd.test", 10, "a.crowd.test").mx("crowd.test", 20, "b.crowd.test");
            zone.mx("crowd.test", 30, "A.CROWD.test").mx("crowd.test", 40, "c.crowd.test")
        },
        ..Scenario::default()
    };
    let mut lab = testkit::Lab::empty().await.unwrap();
    lab.add("d", good()).await.unwrap();
    let zone = (run.zone)(lab.dns().zone(), &lab);
    lab.dns().set(crowd(crowd(zone, "a.crowd.test", 10), "b.crowd.test", 50));
    let report = run.attempt(&lab).await;
    let tried = |host: &str| report.steps.iter().filter(|step| step.host == host).count();
    assert_eq!((tried("a.crowd.test"), tried("b.crowd.test"), report.steps.len()), (8, 2, 10));
}

#[tokio::test]
async fn what_the_dns_says_of_a_domain() {
    let zone = |zone: Zone, _: &testkit::Lab| {
        let zone = zone.null_mx("null.test").servfail("broken.test").a("implicit.test", [127, 0, 0, 2].into());
        let zone = zone.mx("literal.test", 10, "127.0.0.2").mx("dangling.test", 10, "nowhere.test");
        let zone = zone.txt("silent.test", "a name without MX and without address");
        let zone = zone.mx("alias.test", 10, "other.alias.test").cname("other.alias.test", "mx.d.test");
        let zone = zone.mx("half.test", 10, "mx.half.test").a("mx.half.test", [127, 0, 0, 2].into());
        let zone = zone.servfail_for("mx.half.test", Rtype::AAAA).servfail_for("unknown.test", Rtype::A);
        let many = |zone: Zone, n: u16| zone.mx("many.test", n, &format!("a-rather-long-name-{n}.many.test"));
        (100..200).fold(zone, many).mx("many.test", 10, "mx.d.test").mx("unknown.test", 10, "unknown.test")
    };
    for (destination, outcome, enhanced, reason) in [
        ("null.test", ("failed", 556), (5, 1, 10), "null-mx"),
        ("nonesuch.test", ("failed", 550), (5, 1, 2), "no-such-domain"),
        ("literal.test", ("failed", 550), (5, 4, 4), "no-usable-mx"),
        ("silent.test", ("failed", 550), (5, 4, 4), "no-address"),
        ("broken.test", ("deferred", 451), (4, 4, 3), "dns-failed"),
        ("unknown.test", ("deferred", 451), (4, 4, 3), "dns-failed"),
        ("dangling.test", ("deferred", 451), (4, 4, 4), "no-address"),
    ] {
        let run = Scenario { destination, zone, ..Scenario::default() }.run().await;
        assert_eq!(run.outcomes(), [outcome], "{destination}");
        let (class, subject, detail) = enhanced;
        let enhanced = Some(EnhancedCode::new(class, subject, detail));
        assert_eq!((run.problem().enhanced_code, run.problem().reason), (enhanced, Some(reason)), "{destination}");
        assert!(run.report.recipients[0].connection.is_none() && run.receiver().sessions().is_empty());
    }
    for (destination, host) in [
        ("implicit.test", "implicit.test"),
        ("alias.test", "other.alias.test"),
        ("half.test", "mx.half.test"),
        ("many.test", "mx.d.test"),
    ] {
        let policy = switches(true, true);
        let run = Scenario { destination, zone, policy, ..Scenario::default() }.run().await;
        assert_eq!(run.outcomes(), [("delivered", 250)], "{destination}: {:?}", run.report.steps);
        // The name that a certificate is checked for is the one in the MX record, whatever it is an alias of.
        assert_eq!(run.sessions(0, 1).await[0].tls.as_ref().unwrap().sni.as_deref(), Some(host), "{destination}");
        let by_tcp = run.lab.dns().queries().iter().any(|asked| asked.tcp);
        assert_eq!(by_tcp, destination == "many.test", "{destination}");
    }
}

#[tokio::test]
async fn the_time_of_an_attempt_covers_the_dns_and_every_host() {
    let timeouts = Timeouts { attempt: Duration::from_millis(1000), ..Timeouts::default() };
    let silent_mx = Scenario { zone: |zone, _| zone.silent("d.test"), timeouts, ..Scenario::default() };
    let silent_host = Scenario { zone: |zone, _| zone.silent("mx.d.test"), timeouts, ..Scenario::default() };
    let slow = || Behaviour { delays: [(Stage::Connect, Duration::from_secs(60))].into(), ..good() };
    let hosts = (1..=3).map(|n| Host::new(&format!("h{n}"), n, slow())).collect();
    let silent_greeting = Scenario { timeouts, ..Scenario::hosts(hosts) };
    let stalled = Behaviour { tls: Tls::Broken(testkit::Breakage::Stall), ..good() };
    let stalled_handshake = Scenario { timeouts, ..Scenario::with(stalled) };
    let cases = [
        (silent_mx, "out-of-time"),
        (silent_host, "out-of-time"),
        (silent_greeting, "connection-lost"),
        (stalled_handshake, "connection-failed"),
    ];
    let case = |(scenario, reason): (Scenario, &'static str)| async move {
        let begun = Instant::now();
        let run = scenario.run().await;
        assert!(begun.elapsed() < Duration::from_secs(9), "{reason}: {:?}", begun.elapsed());
        assert_eq!(run.outcomes()[0].0, "deferred");
        assert_eq!(run.problem().reason, Some(reason), "{:?}", run.report.steps);
        assert!(run.receivers.iter().all(|receiver| receiver.sessions().iter().all(|session| !session.saw_mail())));
    };
    common::all(cases.into_iter().map(|told| (told.1.to_owned(), case(told))).collect()).await;
}

#[tokio::test]
async fn nothing_connects_to_what_is_not_allowed() {
    let mapped = |zone: Zone, _: &testkit::Lab| {
        let mapped: Ipv6Addr = "::ffff:127.0.0.2".parse().unwrap();
        zone.without("mx.d.test").aaaa("mx.d.test", mapped).aaaa("mx.d.test", Ipv6Addr::LOCALHOST)
    };
    let plainly = |zone: Zone, _: &testkit::Lab| zone;
    for (zone, allowed) in [(plainly as fn(Zone, &_) -> Zone, "10.0.0.0/8"), (mapped, "127.0.0.3/32")] {
        let run = Scenario { zone, deliver_to_private: vec![allowed], ..Scenario::default() }.run().await;
        assert_eq!((run.outcomes(), run.problem().reason), (vec![("deferred", 451)], Some("address-prohibited")));
        assert!(run.steps().iter().all(|step| *step == ("mx.d.test", "skipped", Some("address-prohibited"))));
        assert!(run.report.recipients[0].connection.is_none() && run.receiver().sessions().is_empty());
    }
    // A mapped address is the IPv4 address that it stands for, also where that is allowed.
    let run = Scenario { zone: mapped, deliver_to_private: vec!["127.0.0.0/8"], ..Scenario::default() }.run().await;
    assert_eq!(run.outcomes(), [("delivered", 250)], "{:?}", run.report.steps);
    // What the operator names in a route is meant.
    let routes = |lab: &testkit::Lab| vec![route_to(lab, "mx.d.test", Minimum::None)];
    let run = Scenario { routes, deliver_to_private: vec![], ..Scenario::default() }.run().await;
    assert_eq!(run.outcomes(), [("delivered", 250)]);
}

/// Addresses that lead to this machine or beside it without looking so, and an operator who allows loopback alone.
#[tokio::test]
async fn other_names_of_what_is_not_allowed() {
    let mut lab = testkit::Lab::empty().await.unwrap();
    let receiver = lab.add("d", good()).await.unwrap();
    for address in [
        "0.0.0.0",
        "0.0.0.1",
        "169.254.169.254",
        "255.255.255.255",
        "::",
        "::ffff:0.0.0.0",
        "::ffff:10.0.0.1",
        "::7f00:2",
        "64:ff9b::7f00:2",
        "2002:7f00:2::1",
        "fe80::1",
    ] {
        let only = |zone: Zone| zone.without("mx.d.test").address("mx.d.test", address.parse().unwrap());
        lab.dns().update(only);
        let report = Scenario { deliver_to_private: vec!["127.0.0.0/8"], ..Scenario::default() }.attempt(&lab).await;
        let steps: Vec<_> = report.steps.iter().map(|step| (step.result, step.reason)).collect();
        assert_eq!(steps, [("skipped", Some("address-prohibited"))], "{address}");
    }
    assert!(receiver.sessions().is_empty());
}

/// The address that was looked at is the one that is connected to, both times: a name that leads elsewhere meanwhile
/// leads nobody.
#[tokio::test]
async fn an_address_is_looked_up_once_for_all_its_connections() {
    let mut lab = testkit::Lab::empty().await.unwrap();
    let greeting = Some(Answer::new(220, "hi").after(Duration::from_millis(500)));
    let behaviour = Behaviour { tls: Tls::Broken(testkit::Breakage::Garbage), greeting, ..good() };
    let receiver = lab.add("d", behaviour).await.unwrap();
    let flips = async {
        while receiver.sessions().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lab.dns().update(|zone| zone.without("mx.d.test").a("mx.d.test", [169, 254, 169, 254].into()));
    };
    let scenario = Scenario::default();
    let (report, ()) = tokio::join!(scenario.attempt(&lab), flips);
    let steps: Vec<_> = report.steps.iter().map(|step| (step.result, step.address)).collect();
    let address = Some(receiver.address().ip());
    assert_eq!(steps, [("plaintext-retry", address), ("delivered", address)]);
}

#[tokio::test]
async fn names_beyond_ascii_are_asked_for_in_a_labels() {
    let zone = |zone: Zone, _: &testkit::Lab| {
        let zone = zone.mx("xn--bcher-kva.test", 10, "mx.xn--bcher-kva.test");
        zone.a("mx.xn--bcher-kva.test", [127, 0, 0, 2].into())
    };
    let identity = |lab: &testkit::Lab| Some(lab.ca().issue(&testkit::Issue::new("mx.xn--bcher-kva.test")).unwrap());
    let policy = switches(true, false);
    for destination in ["bücher.test", "BÜCHER.test", "xn--bcher-kva.test"] {
        let run = Scenario { destination, zone, identity, policy, ..Scenario::default() }.run().await;
        assert_eq!(run.outcomes(), [("delivered", 250)], "{destination}: {:?}", run.report.steps);
        assert!(run.channel().unwrap().certificate_verified());
        let sessions = run.sessions(0, 1).await;
        assert_eq!(sessions[0].tls.as_ref().unwrap().sni.as_deref(), Some("mx.xn--bcher-kva.test"));
        run.assert_clean();
    }
}

#[tokio::test]
async fn a_configured_source_address_is_used_and_no_other() {
    let run = Scenario { source_addresses: vec!["::1", "127.0.0.99"], ..Scenario::default() }.run().await;
    assert_eq!(run.sessions(0, 1).await[0].peer.ip().to_string(), "127.0.0.99");
    assert_eq!(run.report.recipients[0].connection.as_ref().unwrap().sending_ip.to_string(), "127.0.0.99");
    let run = Scenario { source_addresses: vec!["::1"], ..Scenario::default() }.run().await;
    assert_eq!(run.outcomes(), [("deferred", 451)]);
    assert!(run.problem().message.contains("source_addresses"), "{}", run.problem().message);
    assert_eq!(run.report.steps[0].reason, Some("no-source-address"));
    assert!(run.receiver().sessions().is_empty());
}

#[tokio::test]
async fn a_probe_says_nothing_of_mail() {
    let hosts = vec![Host::new("a", 10, plain()), Host::new("b", 20, good()).on(Listen::Both)];
    let run = Scenario::hosts(hosts).run().await;
    let probe = Scenario::default().client(&run.lab).probe(&"d.test".parse().unwrap()).await;
    let seen: Vec<_> = probe.hosts.iter().map(|host| (host.host.as_str(), host.address.is_ipv4())).collect();
    assert_eq!(seen, [("a.d.test", true), ("b.d.test", true), ("b.d.test", false)]);
    let verdicts = probe.hosts.iter().map(|host| host.seen.as_ref().unwrap().observed(Authentication::Pkix));
    use policy::tls::Observed::{NotOffered, Verified};
    assert!(verdicts.eq([NotOffered, Verified, Verified]));
    for session in &run.sessions(1, 2).await {
        assert_nothing_said(session);
    }
    run.assert_clean();
}
