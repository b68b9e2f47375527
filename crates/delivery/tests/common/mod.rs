//! A delivery as a value: the default is the happy path, a test overrides what it is about.

// Each test program uses its own part.
#![allow(dead_code)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use delivery::resolve::Dns;
use delivery::tls::{Roots, TlsEngine};
use delivery::{Channel, Client, Job, Options, Outcome, Problem, Report, Reuse, Route, RouteHost, Timeouts};
use policy::route::DomainPattern;
use policy::rule::Rule;
use policy::tls::{Fallback, Minimum, Resolved, Source, TlsPolicy, TlsTag, WhenLeft};
use smtp::{Address, Reply, ReturnPath};
use testkit::{Behaviour, Host, Identity, Lab, Receiver, Session, Zone};

/// Long enough for a busy machine, short enough for a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The message of most tests.
pub(crate) const CONTENT: &[u8] = b"Subject: Hi\r\n\r\nHello\r\n";

/// `require_tls`, `skip_verification`.
pub(crate) fn switches(require_tls: bool, skip_verification: bool) -> TlsPolicy {
    TlsPolicy::from_switches(require_tls, skip_verification)
}

/// One delivery to one or more receivers.
pub(crate) struct Scenario {
    /// The MX host `mx.d.test` of the destination `d.test`.
    pub(crate) behaviour: Behaviour,
    /// Makes the certificate of that host, when it is to be other than good.
    pub(crate) identity: fn(&Lab) -> Option<Identity>,
    /// The hosts of `d.test` in place of the one.
    pub(crate) hosts: Vec<Host>,
    /// What more the DNS says, or says instead.
    pub(crate) zone: fn(Zone, &Lab) -> Zone,
    /// The recipients' domain.
    pub(crate) destination: &'static str,
    /// The recipients, at the destination unless they have a domain.
    pub(crate) recipients: Vec<&'static str>,
    pub(crate) return_path: &'static str,
    /// The content before it is brought into wire form.
    pub(crate) content: Vec<u8>,
    pub(crate) policy: TlsPolicy,
    pub(crate) fallback: Fallback,
    pub(crate) when_left: WhenLeft,
    pub(crate) tag: TlsTag,
    pub(crate) timeouts: Timeouts,
    /// The operator's routes, given the lab.
    pub(crate) routes: fn(&Lab) -> Vec<Route>,
    /// The operator's rules.
    pub(crate) rules: Vec<Rule>,
    /// Networks reached beside public ones.
    pub(crate) deliver_to_private: Vec<&'static str>,
    pub(crate) source_addresses: Vec<&'static str>,
    /// What is trusted; `None` is the lab's CA, as if it were a public one.
    pub(crate) roots: Option<fn(&Lab) -> Roots>,
}

impl Default for Scenario {
    fn default() -> Self {
        Scenario {
            behaviour: Behaviour::default(),
            identity: |_| None,
            hosts: Vec::new(),
            zone: |zone, _| zone,
            destination: "d.test",
            recipients: vec!["bob"],
            return_path: "alice@sender.test",
            content: CONTENT.to_vec(),
            policy: switches(false, false),
            fallback: Fallback::default(),
            when_left: WhenLeft::default(),
            tag: TlsTag::default(),
            timeouts: Timeouts { attempt: PATIENCE, ..Timeouts::default() },
            routes: |_| Vec::new(),
            rules: Vec::new(),
            deliver_to_private: vec!["127.0.0.0/8", "::1/128"],
            source_addresses: Vec::new(),
            roots: None,
        }
    }
}

/// What came of it.
pub(crate) struct Run {
    pub(crate) lab: Lab,
    /// The receivers that listen, in the order of the scenario's hosts.
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) report: Report,
}

impl Scenario {
    /// A scenario of one host that behaves like this.
    pub(crate) fn with(behaviour: Behaviour) -> Scenario {
        Scenario { behaviour, ..Scenario::default() }
    }

    /// A scenario of these hosts.
    pub(crate) fn hosts(hosts: Vec<Host>) -> Scenario {
        Scenario { hosts, ..Scenario::default() }
    }

    pub(crate) async fn run(self) -> Run {
        let mut lab = Lab::empty().await.unwrap();
        let hosts = if self.hosts.is_empty() {
            let identity = (self.identity)(&lab).or(self.behaviour.identity.clone());
            vec![Host::new("mx", 10, Behaviour { identity, ..self.behaviour.clone() })]
        } else {
            self.hosts.clone()
        };
        let receivers = lab.add_hosts("d", hosts).await.unwrap();
        let zone = (self.zone)(lab.dns().zone(), &lab);
        lab.dns().set(zone);
        let report = self.attempt(&lab).await;
        Run { lab, receivers, report }
    }

    /// The attempt alone, in a lab that is there already.
    pub(crate) async fn attempt(&self, lab: &Lab) -> Report {
        let client = self.client(lab);
        let report = self.attempt_with(&client).await;
        client.close().await;
        report
    }

    /// An attempt by a client that has made others, recorded at once.
    pub(crate) async fn attempt_with(&self, client: &Client) -> Report {
        let mut report = self.unrecorded(client).await;
        if let Some(receipt) = report.receipt.take() {
            receipt.settle();
        }
        report
    }

    /// The same, not recorded yet: its receipt is out.
    pub(crate) async fn unrecorded(&self, client: &Client) -> Report {
        let full =
            |name: &&str| if name.contains('@') { name.to_string() } else { format!("{name}@{}", self.destination) };
        let recipients: Vec<Address> = self.recipients.iter().map(|name| full(name).parse().unwrap()).collect();
        let return_path = match self.return_path {
            "" => ReturnPath::Null,
            address => ReturnPath::Address(address.parse().unwrap()),
        };
        let wire = smtp::data::to_wire(&self.content);
        let destination = self.destination.parse().unwrap();
        let attempt = client.attempt(Job {
            destination: &destination,
            return_path: &return_path,
            recipients: &recipients,
            wire: &wire,
            sender: Resolved {
                policy: self.policy,
                fallback: self.fallback,
                when_left: self.when_left,
                tag: self.tag,
                require_tls_from: Source::Message,
                skip_verification_from: Source::Domain,
            },
            dsn: &smtp::dsn::MailDsn { ret: None, envid: None },
            recipient_dsn: &[],
        });
        // Every delivery moves it about.
        let size = std::mem::size_of_val(&attempt);
        assert!(size < 16 * 1024, "an attempt takes {size} octets");
        let report = tokio::time::timeout(2 * PATIENCE, attempt).await.expect("an attempt ends");
        assert_eq!(report.recipients.len(), recipients.len());
        report
    }

    pub(crate) fn client(&self, lab: &Lab) -> Client {
        let options = Options {
            ehlo_name: "waxwing.test".to_owned(),
            smtp_port: lab.smtp_port(),
            source_addresses: self.source_addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            deliver_to_private: self.deliver_to_private.iter().map(|net| net.parse().unwrap()).collect(),
            routes: (self.routes)(lab),
            timeouts: self.timeouts,
            reuse: Reuse::default(),
        };
        let roots = self.roots.map_or_else(|| Roots::of(lab.ca().roots()), |roots| roots(lab));
        Client::new(options, Dns::new(Some(lab.dns_addr())), TlsEngine::new(roots).unwrap())
            .with_rules(self.rules.clone())
    }
}

impl Run {
    /// The one receiver.
    pub(crate) fn receiver(&self) -> &Receiver {
        &self.receivers[0]
    }

    /// All sessions of the receiver, once `count` of them are over.
    pub(crate) async fn sessions(&self, receiver: usize, count: usize) -> Vec<Session> {
        let sessions = self.receivers[receiver].wait_for_sessions(count, PATIENCE).await;
        assert_eq!(sessions.len(), count, "{:?}", sessions.iter().map(Session::verbs).collect::<Vec<_>>());
        assert!(sessions.iter().all(|session| session.ended));
        sessions
    }

    /// The words of the outcome and its code, for each recipient.
    pub(crate) fn outcomes(&self) -> Vec<(&'static str, u16)> {
        let word = |outcome: &Outcome| match outcome {
            Outcome::Delivered(reply) => ("delivered", reply.code()),
            Outcome::Deferred(problem) => ("deferred", problem.code),
            Outcome::Failed(problem) => ("failed", problem.code),
        };
        self.report.recipients.iter().map(|recipient| word(&recipient.outcome)).collect()
    }

    pub(crate) fn delivered(&self) -> &Reply {
        match &self.report.recipients[0].outcome {
            Outcome::Delivered(reply) => reply,
            other => panic!("{other:?}, {:?}", self.report.steps),
        }
    }

    /// The first recipient's problem.
    pub(crate) fn problem(&self) -> &Problem {
        match &self.report.recipients[0].outcome {
            Outcome::Deferred(problem) | Outcome::Failed(problem) => problem,
            Outcome::Delivered(reply) => panic!("delivered: {reply}"),
        }
    }

    /// The first recipient's channel.
    pub(crate) fn channel(&self) -> Option<&Channel> {
        self.report.recipients[0].connection.as_ref()?.channel.as_ref()
    }

    /// `result` and `reason` of every step.
    pub(crate) fn steps(&self) -> Vec<(&str, &'static str, Option<&'static str>)> {
        self.report.steps.iter().map(|step| (step.host.as_str(), step.result, step.reason)).collect()
    }

    pub(crate) fn evidence(&self) -> serde_json::Value {
        serde_json::to_value(self.report.evidence(0)).unwrap()
    }

    /// Receivers saw nothing that breaks the protocol.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.lab.violations(), Vec::<String>::new());
    }
}

/// A session that was let in on nothing of the message.
pub(crate) fn assert_nothing_said(session: &Session) {
    let innocent = |verb: &String| matches!(verb.as_str(), "EHLO" | "HELO" | "STARTTLS" | "QUIT");
    assert!(session.verbs().iter().all(innocent), "{:?}", session.verbs());
    assert!(session.messages.is_empty());
}

/// A route for `d.test` to a host by name.
pub(crate) fn route_to(lab: &Lab, host: &str, minimum: Minimum) -> Route {
    Route {
        pattern: "d.test".parse::<DomainPattern>().unwrap(),
        host: match host.parse::<IpAddr>() {
            Ok(address) => RouteHost::Address(address),
            Err(_) => RouteHost::Name(host.parse().unwrap()),
        },
        port: lab.smtp_port(),
        minimum,
        credentials: None,
    }
}

/// Runs a table of scenarios side by side; the name goes with each failure.
pub(crate) async fn all<F>(cases: Vec<(String, F)>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut failed = Vec::new();
    let tasks: Vec<_> = cases.into_iter().map(|(name, case)| (Arc::new(name), tokio::spawn(case))).collect();
    for (name, task) in tasks {
        if task.await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
