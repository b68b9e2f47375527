//! Connections and TLS sessions that serve more than one delivery: what the receivers saw of it, and what is told.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{PATIENCE, Scenario, route_to, switches};
use delivery::resolve::Dns;
use delivery::tls::{Roots, TlsEngine};
use delivery::{Channel, Client, Credentials, Options, Outcome, Report, Reuse, Route};
use policy::tls::{Fallback, Minimum, Observed, Protection, TlsPolicy, Verdict, decide};
use testkit::{Answer, Auth, Behaviour, Breakage, Identity, Issue, Lab, Receiver, Session, Stage, Tls};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// A lab with one host for `d.test` and a client that makes many deliveries to it.
struct World {
    lab: Lab,
    host: Receiver,
    client: Client,
}

/// What differs from world to world.
struct Setting {
    behaviour: Behaviour,
    identity: fn(&Lab) -> Option<Identity>,
    reuse: Reuse,
    routes: fn(&Lab) -> Vec<Route>,
    session_lifetime: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        Setting {
            behaviour: Behaviour::default(),
            identity: |_| None,
            reuse: Reuse::default(),
            routes: |_| Vec::new(),
            session_lifetime: Duration::from_secs(3600),
        }
    }
}

/// No connection is kept, so that every delivery shakes hands.
const NO_REUSE: Reuse =
    Reuse { idle: Duration::ZERO, messages: 100, lifetime: Duration::from_secs(300), connections: 500, per_host: 10 };

impl Setting {
    async fn start(self) -> World {
        let mut lab = Lab::empty().await.unwrap();
        let identity = (self.identity)(&lab);
        let host = lab.add("d", Behaviour { identity, ..self.behaviour }).await.unwrap();
        let zone = lab.dns().zone().mx("other.test", 10, "mx.d.test");
        lab.dns().set(zone);
        let options = Options {
            ehlo_name: "waxwing.test".to_owned(),
            smtp_port: lab.smtp_port(),
            source_addresses: Vec::new(),
            deliver_to_private: vec!["127.0.0.0/8".parse().unwrap()],
            routes: (self.routes)(&lab),
            timeouts: Scenario::default().timeouts,
            reuse: self.reuse,
        };
        let engine = TlsEngine::new(Roots::of(lab.ca().roots())).unwrap().with_session_lifetime(self.session_lifetime);
        let client = Client::new(options, Dns::new(Some(lab.dns_addr())), engine);
        World { lab, host, client }
    }
}

impl World {
    async fn start() -> World {
        Setting::default().start().await
    }

    async fn deliver(&self, scenario: Scenario) -> Report {
        scenario.attempt_with(&self.client).await
    }

    async fn deliver_under(&self, policy: TlsPolicy) -> Report {
        self.deliver(Scenario { policy, ..Scenario::default() }).await
    }

    /// Closes the client and gives all sessions of the host.
    async fn sessions(&self) -> Vec<Session> {
        self.client.close().await;
        let sessions = self.host.wait_for_sessions(self.host.sessions().len(), PATIENCE).await;
        assert_eq!(self.lab.violations(), Vec::<String>::new());
        sessions
    }

    /// How many messages came on each connection.
    async fn messages_by_session(&self) -> Vec<usize> {
        self.sessions().await.iter().map(|session| session.messages.len()).collect()
    }
}

fn taken(report: &Report) -> bool {
    report.recipients.iter().all(|recipient| matches!(recipient.outcome, Outcome::Delivered(_)))
}

fn was_reused(report: &Report) -> bool {
    report.recipients[0].connection.as_ref().is_some_and(|connection| connection.reused)
}

fn channel(report: &Report) -> &Channel {
    report.recipients[0].connection.as_ref().and_then(|connection| connection.channel.as_ref()).unwrap()
}

fn self_signed(_: &Lab) -> Option<Identity> {
    Some(Identity::self_signed(&Issue::new("mx.d.test")).unwrap())
}

#[tokio::test]
async fn fifty_messages_take_one_connection_and_each_tells_its_handshake() {
    let world = World::start().await;
    for number in 0..50 {
        let report = world.deliver_under(switches(true, false)).await;
        assert!(taken(&report), "{report:?}");
        assert_eq!(was_reused(&report), number > 0);
        let evidence = serde_json::to_value(report.evidence(0)).unwrap();
        assert_eq!(evidence.get("reused").is_some_and(|reused| reused == true), number > 0);
        assert_eq!(evidence["verification"], "ok");
        assert_eq!(evidence["certificate"]["sans"][0], "mx.d.test");
        assert!(channel(&report).certificate_verified());
        let on = report.steps[0].detail.contains("on the connection of an earlier delivery");
        assert_eq!((report.steps.len(), on), (1, number > 0));
    }
    let sessions = world.sessions().await;
    assert_eq!((sessions.len(), sessions[0].messages.len(), sessions[0].closed_by_quit), (1, 50, true));
    assert_eq!(sessions[0].verbs().iter().filter(|verb| *verb == "STARTTLS").count(), 1);
}

#[tokio::test]
async fn deliveries_that_decide_otherwise_do_not_share() {
    let world = World::start().await;
    // Both of a pair would have delivered, verified; the others encrypted.
    for policy in [switches(false, false), switches(false, true), switches(true, false), switches(true, true)] {
        let report = world.deliver_under(policy).await;
        assert_eq!(was_reused(&report), policy.require_tls(), "{policy:?}");
        assert_eq!(channel(&report).certificate_verified(), !policy.skip_verification());
    }
    assert_eq!(world.messages_by_session().await, [2, 2]);
}

#[tokio::test]
async fn an_unverified_connection_serves_no_verified_demand() {
    let world = Setting { identity: self_signed, ..Setting::default() }.start().await;
    assert!(taken(&world.deliver_under(switches(true, true)).await));
    let report = world.deliver_under(switches(true, false)).await;
    assert!(matches!(report.recipients[0].outcome, Outcome::Deferred(_)), "{report:?}");
    // The default goes to plaintext here, and plaintext after a handshake is nothing to be kept.
    for _ in 0..2 {
        let report = world.deliver_under(switches(false, false)).await;
        assert!(!was_reused(&report) && !channel(&report).tls());
    }
    let unverified = Scenario { fallback: Fallback::Unverified, ..Scenario::default() };
    assert!(was_reused(&world.deliver(unverified).await), "it decides as the first did");
    assert_eq!(world.messages_by_session().await, [2, 0, 0, 1, 0, 1]);
}

#[tokio::test]
async fn a_plaintext_connection_never_serves_require_tls() {
    let world = Setting { behaviour: Behaviour { tls: Tls::NotOffered, ..Behaviour::default() }, ..Setting::default() };
    let world = world.start().await;
    assert!(taken(&world.deliver_under(switches(false, false)).await));
    for policy in [switches(true, false), switches(true, true)] {
        let report = world.deliver_under(policy).await;
        assert_eq!(report.steps[0].reason, Some("starttls-not-supported"));
        assert!(!taken(&report));
    }
    assert!(was_reused(&world.deliver_under(switches(false, true)).await));
    assert_eq!(world.messages_by_session().await, [2, 0, 0]);
}

#[tokio::test]
async fn plaintext_after_a_refused_starttls_is_not_kept() {
    let tls = Tls::RefusedWith(Answer::new(454, "not now"));
    let world = Setting { behaviour: Behaviour { tls, ..Behaviour::default() }, ..Setting::default() }.start().await;
    assert!(taken(&world.deliver(Scenario::default()).await));
    world.host.behave(Behaviour::default()).unwrap();
    let report = world.deliver(Scenario::default()).await;
    assert!(!was_reused(&report) && channel(&report).certificate_verified(), "{report:?}");
    assert_eq!(world.messages_by_session().await, [1, 1]);
}

#[tokio::test]
async fn domains_behind_one_host_share_when_they_decide_alike() {
    let world = World::start().await;
    assert!(taken(&world.deliver(Scenario::default()).await));
    let other = || Scenario { destination: "other.test", ..Scenario::default() };
    let report = world.deliver(other()).await;
    assert!(taken(&report) && was_reused(&report));
    assert!(!was_reused(&world.deliver(Scenario { policy: switches(false, true), ..other() }).await));
    assert_eq!(world.messages_by_session().await, [2, 1]);
}

/// Random demands at three hosts, eight at a time: each message is found on a connection that its own decision allows,
/// and only with messages that were decided on alike.
#[tokio::test]
async fn whatever_comes_travels_as_its_own_demand_says() {
    let world = Setting { reuse: Reuse { messages: 5, ..Reuse::default() }, ..Setting::default() };
    let World { mut lab, client, .. } = world.start().await;
    let self_signed = Some(Identity::self_signed(&Issue::new("mx.unverified.test")).unwrap());
    let states = [
        ("verified", Behaviour::default(), Observed::Verified),
        ("unverified", Behaviour { identity: self_signed, ..Behaviour::default() }, Observed::Unverified),
        ("plain", Behaviour { tls: Tls::NotOffered, ..Behaviour::default() }, Observed::NotOffered),
    ];
    for (name, behaviour, _) in &states {
        lab.add(name, behaviour.clone()).await.unwrap();
    }
    let fallbacks = [Fallback::Plaintext, Fallback::Unverified, Fallback::Defer];
    let destinations = ["verified.test", "unverified.test", "plain.test"];
    for _ in 0..25 {
        let eight = [(); 8].map(|()| async {
            let [policy, fallback, to] = [4, 3, 3].map(|most| rand::random_range(0..most));
            let content = format!("Subject: {policy} {fallback}\r\n\r\nHello\r\n").into_bytes();
            let (policy, fallback, destination) = (TlsPolicy::ALL[policy], fallbacks[fallback], destinations[to]);
            let scenario = Scenario { policy, fallback, destination, content, ..Scenario::default() };
            Box::pin(scenario.attempt_with(&client)).await
        });
        let [a, b, c, d, e, f, g, h] = eight;
        tokio::join!(a, b, c, d, e, f, g, h);
    }
    client.close().await;
    let (mut messages, mut connections) = (0, 0);
    for (name, _, observed) in states {
        for session in lab.receiver(name).sessions() {
            let verdict = |received: &testkit::Received| {
                let text = received.text();
                let subject = text.lines().next().and_then(|line| line.strip_prefix("Subject: ")).unwrap();
                let (policy, fallback) = subject.split_once(' ').unwrap();
                let (policy, fallback): (usize, usize) = (policy.parse().unwrap(), fallback.parse().unwrap());
                decide(TlsPolicy::ALL[policy], fallbacks[fallback], observed)
            };
            let verdicts: Vec<Verdict> = session.messages.iter().map(verdict).collect();
            for (verdict, received) in verdicts.iter().zip(&session.messages) {
                let in_plaintext =
                    matches!(verdict, Verdict::ReconnectInPlaintext | Verdict::Deliver(Protection::Plaintext));
                assert_ne!(*verdict, Verdict::LeaveHost, "{name}");
                assert_eq!((received.encrypted, *verdict), (!in_plaintext, verdicts[0]), "{name}");
            }
            messages += verdicts.len();
            connections += usize::from(!verdicts.is_empty());
        }
    }
    assert!(connections < messages, "{connections} connections, {messages} messages: nothing was reused");
    assert_eq!(lab.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_of_another_host_at_the_same_address_does_not_share() {
    let world = World::start().await;
    let zone = world.lab.dns().zone().mx("third.test", 10, "mx.third.test");
    let address = world.host.address().ip();
    world.lab.dns().set(zone.address("mx.third.test", address));
    assert!(taken(&world.deliver(Scenario::default()).await));
    let policy = switches(true, false);
    let report = world.deliver(Scenario { destination: "third.test", policy, ..Scenario::default() }).await;
    assert_eq!(report.steps[0].reason, Some("certificate-host-mismatch"), "{report:?}");
    assert_eq!(world.messages_by_session().await, [1, 0]);
}

#[tokio::test]
async fn a_connection_with_credentials_serves_its_route_alone() {
    let auth = Auth { user: "waxwing".to_owned(), password: "geheim".to_owned(), in_plaintext: false };
    let routes = |lab: &Lab| {
        let credentials = Credentials { username: "waxwing".to_owned(), password: "geheim".to_owned() };
        let login = Route { credentials: Some(credentials), ..route_to(lab, "mx.d.test", Minimum::Verified) };
        let bare = Route { pattern: "bare.test".parse().unwrap(), ..route_to(lab, "mx.d.test", Minimum::Verified) };
        vec![login, bare]
    };
    let behaviour = Behaviour { auth: Some(auth), ..Behaviour::default() };
    let world = Setting { behaviour, routes, ..Setting::default() }.start().await;
    for reused in [false, true] {
        let report = world.deliver(Scenario::default()).await;
        assert!(taken(&report));
        assert_eq!(was_reused(&report), reused);
    }
    // The same host by another route, and by the DNS: without credentials, so refused, and on connections of their own.
    for destination in ["bare.test", "other.test"] {
        let report = world.deliver(Scenario { destination, ..Scenario::default() }).await;
        assert!(!taken(&report) && !was_reused(&report), "{report:?}");
    }
    world.client.close().await;
    let sessions = world.host.wait_for_sessions(3, PATIENCE).await;
    let logins: Vec<_> = sessions.iter().map(|session| session.authenticated.is_some()).collect();
    assert_eq!(logins, [true, false, false]);
    assert_eq!(sessions[0].verbs().iter().filter(|verb| *verb == "AUTH").count(), 1);
}

#[tokio::test]
async fn a_host_that_hung_up_meanwhile_gets_the_message_once() {
    let behaviour = Behaviour { idle_timeout: Duration::from_millis(100), ..Behaviour::default() };
    let world = Setting { behaviour, ..Setting::default() }.start().await;
    assert!(taken(&world.deliver(Scenario::default()).await));
    world.host.wait_for_sessions(1, PATIENCE).await;
    let report = world.deliver(Scenario::default()).await;
    assert!(taken(&report) && !was_reused(&report), "{report:?}");
    assert_eq!(world.host.messages().len(), 2);
    assert_eq!(world.messages_by_session().await, [1, 1]);
}

/// A host without TLS and PIPELINING. On its first connection it takes a message, and says `then` to the command that
/// begins so and comes after; whatever `then` is, it hangs up with it. On all others it takes what comes. Gives what each
/// connection heard.
async fn moody(lab: &Lab, address: &str, begins: &'static str, then: &'static str) -> Heard {
    let listener = TcpListener::bind(format!("{address}:{}", lab.smtp_port())).await.unwrap();
    let heard = Heard::default();
    let all = heard.clone();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            all.lock().unwrap().push(Vec::new());
            let heard = all.clone();
            tokio::spawn(async move {
                let (reader, mut writer) = stream.into_split();
                let mut lines = BufReader::new(reader).lines();
                writer.write_all(b"220 mx.moody.test ESMTP\r\n").await.unwrap();
                let (mut taken, mut in_content) = (0, false);
                while let Ok(Some(line)) = lines.next_line().await {
                    heard.lock().unwrap()[number].push(line.clone());
                    if number == 0 && taken == 1 && line.starts_with(begins) {
                        let _ = writer.write_all(then.as_bytes()).await;
                        return;
                    }
                    let reply = match line.get(..4).unwrap_or(&line) {
                        "." => {
                            (in_content, taken) = (false, taken + 1);
                            "250 taken\r\n"
                        }
                        _ if in_content => continue,
                        "DATA" => {
                            in_content = true;
                            "354 go on\r\n"
                        }
                        _ => "250 mx.moody.test\r\n",
                    };
                    writer.write_all(reply.as_bytes()).await.unwrap();
                }
            });
        }
    });
    heard
}

type Heard = Arc<Mutex<Vec<Vec<String>>>>;

/// Two deliveries to a host of that mood; the second report, and what the host heard.
async fn second_to(begins: &'static str, then: &'static str) -> (Report, Vec<Vec<String>>) {
    let world = World::start().await;
    let heard = moody(&world.lab, "127.0.0.200", begins, then).await;
    let zone = world.lab.dns().zone().mx("moody.test", 10, "mx.moody.test");
    world.lab.dns().set(zone.address("mx.moody.test", "127.0.0.200".parse().unwrap()));
    let scenario = || Scenario { destination: "moody.test", ..Scenario::default() };
    assert!(taken(&world.deliver(scenario()).await));
    let report = world.deliver(scenario()).await;
    let heard = heard.lock().unwrap().clone();
    (report, heard)
}

#[tokio::test]
async fn a_host_that_hangs_up_at_the_next_message_gets_it_on_a_new_connection() {
    for then in ["", "421 4.7.0 enough for now\r\n"] {
        let (report, heard) = second_to("MAIL", then).await;
        assert!(taken(&report) && !was_reused(&report), "{report:?}");
        let results: Vec<_> = report.steps.iter().map(|step| (step.result, step.reason)).collect();
        assert_eq!(results, [("reconnect", Some("connection-lost")), ("delivered", Some("starttls-not-supported"))]);
        let contents = |lines: &Vec<String>| lines.iter().filter(|line| *line == "DATA").count();
        assert_eq!(heard.iter().map(contents).collect::<Vec<_>>(), [1, 1]);
    }
}

#[tokio::test]
async fn what_a_host_has_heard_of_is_not_said_again() {
    // It may have the message: nothing is tried until the next attempt.
    let (report, heard) = second_to(".", "").await;
    assert!(
        matches!(&report.recipients[0].outcome, Outcome::Deferred(problem) if problem.reason == Some("connection-lost"))
    );
    assert!(was_reused(&report));
    assert_eq!(heard.len(), 1);
    // An answer to MAIL is one, on whichever connection.
    let (report, heard) = second_to("MAIL", "550 5.7.1 no more\r\n").await;
    assert!(matches!(&report.recipients[0].outcome, Outcome::Failed(problem) if problem.code == 550));
    assert_eq!(heard.len(), 1);
}

#[tokio::test]
async fn after_so_many_messages_a_new_connection() {
    let reuse = Reuse { messages: 3, ..Reuse::default() };
    let world = Setting { reuse, ..Setting::default() }.start().await;
    for _ in 0..7 {
        assert!(taken(&world.deliver(Scenario::default()).await));
    }
    assert_eq!(world.messages_by_session().await, [3, 3, 1]);
}

#[tokio::test]
async fn what_waits_too_long_is_told_farewell() {
    let reuse = Reuse { idle: Duration::from_millis(100), ..Reuse::default() };
    let world = Setting { reuse, ..Setting::default() }.start().await;
    assert!(taken(&world.deliver(Scenario::default()).await));
    let sessions = world.host.wait_for_sessions(1, PATIENCE).await;
    assert!(sessions[0].ended && sessions[0].closed_by_quit);
    assert!(!was_reused(&world.deliver(Scenario::default()).await));
}

#[tokio::test]
async fn a_connection_has_an_end_whatever_the_traffic() {
    let reuse = Reuse { lifetime: Duration::from_millis(300), ..Reuse::default() };
    let world = Setting { reuse, ..Setting::default() }.start().await;
    let until = tokio::time::Instant::now() + Duration::from_millis(700);
    while tokio::time::Instant::now() < until {
        assert!(taken(&world.deliver(Scenario::default()).await));
    }
    let sessions = world.sessions().await;
    assert!(sessions.len() >= 2, "{}", sessions.len());
}

#[tokio::test]
async fn no_more_wait_than_may() {
    let reuse = Reuse { per_host: 2, ..Reuse::default() };
    let behaviour =
        Behaviour { delays: [(Stage::EndOfData, Duration::from_millis(200))].into(), ..Behaviour::default() };
    let world = Setting { reuse, behaviour, ..Setting::default() }.start().await;
    let scenario = Scenario::default();
    let four = [(); 4].map(|()| scenario.attempt_with(&world.client));
    let [one, two, three, four] = four;
    let reports = tokio::join!(one, two, three, four);
    assert!([&reports.0, &reports.1, &reports.2, &reports.3].into_iter().all(taken));
    let ended = world.host.wait_for_sessions(2, PATIENCE).await;
    assert_eq!((ended.len(), ended.iter().filter(|session| session.ended).count()), (4, 2));
    world.client.close().await;
    let ended = world.host.wait_for_sessions(4, PATIENCE).await;
    assert!(ended.iter().all(|session| session.ended && session.closed_by_quit));
    // Whoever delivers after the farewell keeps nothing.
    assert!(taken(&world.deliver(Scenario::default()).await));
    assert!(world.host.wait_for_sessions(5, PATIENCE).await.iter().all(|session| session.ended));
}

#[tokio::test]
async fn a_host_that_refuses_or_falls_silent_is_not_kept() {
    let silent = Behaviour { delays: [(Stage::EndOfData, PATIENCE)].into(), ..Behaviour::default() };
    let refusing = Behaviour { end_of_data: Some(Answer::new(451, "4.3.0 later")), ..Behaviour::default() };
    let no_rcpt = Behaviour { rcpt: Some(Answer::new(550, "5.1.1 who?")), ..Behaviour::default() };
    for (name, behaviour) in [("silent", silent), ("refusing", refusing), ("no recipient", no_rcpt)] {
        let world = Setting { behaviour, ..Setting::default() }.start().await;
        let mut scenario = Scenario::default();
        scenario.timeouts.data_termination = Duration::from_millis(200);
        let client = scenario.client(&world.lab);
        for _ in 0..2 {
            let report = scenario.attempt_with(&client).await;
            assert!(!taken(&report) && !was_reused(&report), "{name}");
        }
        assert_eq!(world.host.sessions().len(), 2, "{name}");
    }
}

// Sessions.

async fn resuming(setting: Setting) -> World {
    Setting { reuse: NO_REUSE, ..setting }.start().await
}

fn facts(report: &Report) -> &delivery::tls::TlsFacts {
    match channel(report) {
        Channel::Encrypted(facts) | Channel::Verified(facts) => facts,
        Channel::Plaintext(reason) => panic!("{reason:?}"),
    }
}

/// What each connection's handshake was, once all are over.
async fn resumed(world: &World, count: usize) -> Vec<bool> {
    let sessions = world.host.wait_for_sessions(count, PATIENCE).await;
    sessions.iter().filter_map(|session| session.tls.as_ref()).map(|tls| tls.resumed).collect()
}

#[tokio::test]
async fn a_resumed_session_carries_the_verdict_of_its_handshake() {
    let world = resuming(Setting::default()).await;
    let first = world.deliver_under(switches(true, false)).await;
    let second = world.deliver_under(switches(true, false)).await;
    let third = world.deliver_under(switches(false, true)).await;
    assert_eq!(resumed(&world, 3).await, [false, true, true]);
    let made = facts(&first);
    for report in [&second, &third] {
        let facts = facts(report);
        assert!(facts.resumed && facts.verification.is_ok());
        assert_eq!(facts.key_proof, made.key_proof);
        let sha256 = |facts: &delivery::tls::TlsFacts| facts.certificate.as_ref().unwrap().sha256.clone();
        assert_eq!(sha256(facts), sha256(made));
        assert_eq!(serde_json::to_value(report.evidence(0)).unwrap()["resumed"], true);
    }
    assert!(!made.resumed && channel(&second).certificate_verified() && !channel(&third).certificate_verified());
}

#[tokio::test]
async fn an_unverified_session_is_resumed_by_nobody() {
    let world = resuming(Setting { identity: self_signed, ..Setting::default() }).await;
    for policy in [switches(false, true), switches(false, true), switches(true, true)] {
        assert!(taken(&world.deliver_under(policy).await));
    }
    let report = world.deliver_under(switches(true, false)).await;
    assert_eq!(report.steps[0].reason, Some("certificate-not-trusted"));
    assert_eq!(resumed(&world, 4).await, [false; 4]);
}

#[tokio::test]
async fn a_host_that_forgot_the_session_is_verified_anew() {
    let world = resuming(Setting::default()).await;
    assert!(channel(&world.deliver_under(switches(true, false)).await).certificate_verified());
    // A new process behind the same address: another key for tickets, and another certificate.
    world.host.behave(Behaviour { identity: self_signed(&world.lab), ..Behaviour::default() }).unwrap();
    for _ in 0..2 {
        let report = world.deliver_under(switches(true, false)).await;
        assert_eq!(report.steps[0].reason, Some("certificate-not-trusted"), "{report:?}");
    }
    // And again, the other way round.
    let good = world.lab.ca().issue(&Issue::new("mx.d.test")).unwrap();
    world.host.behave(Behaviour { identity: Some(good), ..Behaviour::default() }).unwrap();
    for _ in 0..2 {
        assert!(channel(&world.deliver_under(switches(true, false)).await).certificate_verified());
    }
    assert_eq!(resumed(&world, 5).await, [false, false, false, false, true]);
}

#[tokio::test]
async fn sessions_of_tls_1_2_and_those_turned_off_are_not_resumed() {
    let old = Setting { behaviour: Behaviour { tls: Tls::Tls12Only, ..Behaviour::default() }, ..Setting::default() };
    let off = Setting { session_lifetime: Duration::ZERO, ..Setting::default() };
    for setting in [old, off] {
        let world = resuming(setting).await;
        for _ in 0..3 {
            assert!(channel(&world.deliver(Scenario::default()).await).certificate_verified());
        }
        assert_eq!(resumed(&world, 3).await, [false; 3]);
    }
}

#[tokio::test]
async fn sessions_end_with_their_time() {
    let world = resuming(Setting { session_lifetime: Duration::from_millis(200), ..Setting::default() }).await;
    world.deliver(Scenario::default()).await;
    world.deliver(Scenario::default()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.deliver(Scenario::default()).await;
    // A resumed one does not live longer for it.
    assert_eq!(resumed(&world, 3).await, [false, true, false]);
}

#[tokio::test]
async fn a_host_that_fails_on_a_session_is_asked_without_one() {
    let world = resuming(Setting::default()).await;
    assert!(taken(&world.deliver_under(switches(true, false)).await));
    let broken = Behaviour { tls: Tls::Broken(Breakage::Close), ..Behaviour::default() };
    world.host.behave(broken).unwrap();
    // With a session and without; from then on without.
    for connections in [3, 4] {
        let report = world.deliver_under(switches(true, false)).await;
        assert_eq!(report.steps[0].reason, Some("handshake-failed"));
        assert_eq!(world.host.sessions().len(), connections);
    }
    world.host.behave(Behaviour { tls: Tls::Good, ..Behaviour::default() }).unwrap();
    for _ in 0..2 {
        assert!(taken(&world.deliver_under(switches(true, false)).await));
    }
    assert_eq!(resumed(&world, 6).await, [false; 3]);
}
