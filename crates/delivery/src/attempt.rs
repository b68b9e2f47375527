//! The attempt: hosts and addresses in order, until every recipient has its outcome.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use policy::disposition::Stage;
use policy::tls::{Effective, Minimum, Protection, Resolved, TlsPolicy, Verdict, decide, strengthen};
use smtp::limits::ADDRESSES_PER_ATTEMPT;
use smtp::{Address, Command, Domain, EnhancedCode, ReturnPath};
use tokio::time::timeout_at;

use crate::client::{Client, Credentials, Route, RouteHost, Target};
use crate::connect::{NotOpened, open};
use crate::hosts::NoHosts;
use crate::report::{
    Channel, ConnectionReport, Outcome, PlaintextReason, Problem, RecipientReport, Report, STARTTLS_NOT_SUPPORTED,
    STARTTLS_REFUSED, Step,
};
use crate::starttls::{Observation, Ready, observe};
use crate::tls::TlsFacts;
use crate::transaction::{self, Fate, Mail};

/// What is to be delivered: one message, its due recipients at one destination.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The recipients' domain.
    pub destination: &'a Domain,
    /// The reverse-path.
    pub return_path: &'a ReturnPath,
    /// The recipients, at most [`smtp::limits::RECIPIENTS_PER_TRANSACTION`].
    pub recipients: &'a [Address],
    /// The content in wire form ([`smtp::data::to_wire`]).
    pub wire: &'a [u8],
    /// What the sender asked for.
    pub sender: Resolved,
}

/// Most hosts that are let into a transaction: where one postpones, a second may take the message, a third is
/// unlikely to (Postfix limits sessions the same way).
const SESSIONS: usize = 2;

impl Client {
    /// Attempts a delivery. Never fails: what went wrong is in the report.
    pub async fn attempt(&self, job: Job<'_>) -> Report {
        let started = Instant::now();
        let route = self.route_for(job.destination);
        let effective = strengthen(job.sender.policy, route.map_or(Minimum::None, |route| route.minimum));
        let mut attempt = Attempt::new(self, job, route, effective.policy);
        match timeout_at(attempt.deadline, self.hosts(job.destination, route)).await {
            Ok(Ok(hosts)) => attempt.walk(&hosts).await,
            Ok(Err(NoHosts { problem, permanent })) => attempt.settle_all(&problem, permanent),
            Err(_) => {} // Out of time, as every recipient without an outcome is told.
        }
        attempt.into_report(started, effective)
    }
}

/// A recipient during the attempt.
#[derive(Default)]
struct Slot {
    settled: Option<RecipientReport>,
    /// The most telling of the problems so far; what is reported if nothing settles it.
    pending: Option<(Problem, Option<Arc<ConnectionReport>>)>,
}

struct Attempt<'a> {
    client: &'a Client,
    job: Job<'a>,
    route: Option<&'a Route>,
    policy: TlsPolicy,
    deadline: tokio::time::Instant,
    slots: Vec<Slot>,
    steps: Vec<Step>,
    addresses_tried: usize,
    sessions: usize,
    /// What a host took must be recorded before anything else is tried, or a crash would send it again. Who was not
    /// taken waits for the next attempt.
    has_delivered: bool,
}

impl<'a> Attempt<'a> {
    fn new(client: &'a Client, job: Job<'a>, route: Option<&'a Route>, policy: TlsPolicy) -> Self {
        Attempt {
            client,
            job,
            route,
            policy,
            deadline: tokio::time::Instant::now() + client.options.timeouts.attempt,
            slots: job.recipients.iter().map(|_| Slot::default()).collect(),
            steps: Vec::new(),
            addresses_tried: 0,
            sessions: 0,
            has_delivered: false,
        }
    }

    /// Every host, every address of it, until nobody waits any more or the limits are reached.
    async fn walk(&mut self, hosts: &[RouteHost]) {
        for host in hosts {
            if self.is_over() {
                break;
            }
            let looked_up = timeout_at(self.deadline, self.client.addresses(host, self.route)).await;
            let Ok((addresses, skipped)) = looked_up else { break };
            for step in skipped {
                self.note_problem(&problem_of_skipped(&step), None);
                self.steps.push(step);
            }
            for address in addresses {
                if self.is_over() {
                    break;
                }
                self.addresses_tried += 1;
                self.visit(&Target { host: host.clone(), address }).await;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.slots.iter().all(|slot| slot.settled.is_some())
            || self.addresses_tried >= ADDRESSES_PER_ATTEMPT
            || self.sessions >= SESSIONS
            || self.has_delivered
            || tokio::time::Instant::now() >= self.deadline
    }

    /// One address: connect, observe, decide, and deliver, reconnect or leave as decided.
    async fn visit(&mut self, target: &Target) {
        let opened = match open(self.client, target, self.deadline).await {
            Ok(opened) => opened,
            Err(not_opened) => return self.not_opened(target, not_opened, None),
        };
        let mut report = connection_report(target, opened.local, opened.extensions.smtputf8);
        let observation = observe(self.client, target, opened).await;
        report.handshake = observation.facts().cloned();
        match (decide(self.policy, observation.observed()), observation) {
            (Verdict::Deliver(Protection::Verified), Observation::Encrypted(ready, facts)) => {
                self.transact(target, ready, Channel::Verified(facts), report).await;
            }
            (Verdict::Deliver(Protection::Encrypted), Observation::Encrypted(ready, facts)) => {
                self.transact(target, ready, Channel::Encrypted(facts), report).await;
            }
            (Verdict::Deliver(Protection::Plaintext), Observation::NotOffered(ready)) => {
                self.transact(target, ready, Channel::Plaintext(PlaintextReason::NotOffered), report).await;
            }
            (Verdict::Deliver(Protection::Plaintext), Observation::Refused(ready, reply)) => {
                self.transact(target, ready, Channel::Plaintext(PlaintextReason::Refused(reply)), report).await;
            }
            (Verdict::ReconnectInPlaintext, observation) => self.reconnect(target, observation, report).await,
            // Whatever else a verdict could say of an observation it does not fit: leaving is always safe.
            (Verdict::LeaveHost | Verdict::Deliver(_), observation) => self.leave(target, observation, report).await,
        }
    }

    /// A new connection to the same address, and no TLS on it.
    async fn reconnect(&mut self, target: &Target, observation: Observation, mut report: ConnectionReport) {
        let (reason, detail) = match &observation {
            Observation::HandshakeFailed(error, _) => {
                (PlaintextReason::HandshakeFailed(error.clone()), error.to_string())
            }
            Observation::Encrypted(_, facts) => (PlaintextReason::CertificateInvalid(facts.clone()), in_words(facts)),
            Observation::NotOffered(_) | Observation::Refused(..) => {
                return self.leave(target, observation, report).await;
            }
        };
        observation.close().await;
        self.steps.push(step(&target.host, Some(target.ip()), "plaintext-retry", Some(reason.code()), detail));
        match open(self.client, target, self.deadline).await {
            Ok(opened) => {
                report.smtputf8 = opened.extensions.smtputf8;
                let ready = Ready { session: opened.connection.boxed(), extensions: opened.extensions };
                self.transact(target, ready, Channel::Plaintext(reason), report).await;
            }
            Err(not_opened) => self.not_opened(target, not_opened, Some(report)),
        }
    }

    /// TLS was demanded and this host does not give it: nothing of the message is said to it.
    async fn leave(&mut self, target: &Target, observation: Observation, report: ConnectionReport) {
        let (reason, enhanced, detail) = match &observation {
            Observation::NotOffered(_) => {
                (STARTTLS_NOT_SUPPORTED, EnhancedCode::new(4, 7, 4), "it does not offer STARTTLS".to_owned())
            }
            Observation::Refused(_, reply) => {
                (STARTTLS_REFUSED, EnhancedCode::new(4, 7, 4), format!("it refused STARTTLS: {reply}"))
            }
            Observation::HandshakeFailed(error, _) => (error.code(), EnhancedCode::new(4, 7, 5), error.to_string()),
            Observation::Encrypted(_, facts) => {
                (facts.verification.code(), EnhancedCode::new(4, 7, 5), in_words(facts))
            }
        };
        observation.close().await;
        let words = format!("TLS is required, but not with {} [{}]: {detail}", target.host, target.ip());
        self.steps.push(step(&target.host, Some(target.ip()), "left", Some(reason), detail));
        let problem = Problem::ours(Stage::Starttls, (451, enhanced), reason, words);
        self.note_problem(&problem, Some(Arc::new(report)));
    }

    /// The host could not be spoken to. `earlier` is the report of the connection that came before this one.
    fn not_opened(&mut self, target: &Target, not_opened: NotOpened, earlier: Option<ConnectionReport>) {
        let NotOpened { problem, local } = not_opened;
        let result = problem.reason.unwrap_or("refused-session");
        self.steps.push(step(&target.host, Some(target.ip()), result, problem.reason, said(&problem)));
        let report = earlier.or_else(|| local.map(|local| connection_report(target, local, false)));
        self.note_problem(&problem, report.map(Arc::new));
    }

    /// MAIL, RCPT, DATA on a channel that has been decided on.
    async fn transact(&mut self, target: &Target, mut ready: Ready, channel: Channel, mut report: ConnectionReport) {
        report.smtputf8 = ready.extensions.smtputf8;
        if let Some(credentials) = self.route.and_then(|route| route.credentials.as_ref())
            && let Err(problem) = authenticate(&mut ready, credentials, &channel, target).await
        {
            ready.session.quit().await;
            self.steps.push(step(&target.host, Some(target.ip()), "auth-failed", problem.reason, said(&problem)));
            return self.note_problem(&problem, Some(Arc::new(report)));
        }
        report.channel = Some(channel);
        let report = Arc::new(report);
        let waiting: Vec<usize> = (0..self.slots.len()).filter(|i| self.slots[*i].settled.is_none()).collect();
        let recipients = waiting.iter().map(|index| &self.job.recipients[*index]).collect();
        let mail = Mail { return_path: self.job.return_path, recipients, wire: self.job.wire };
        self.sessions += 1;
        let fates = transaction::run(ready, &mail, &target.host.to_string(), target.ip()).await;
        self.steps.push(step_of_transaction(target, &report, &fates));
        self.has_delivered |= fates.iter().any(|fate| matches!(fate, Fate::Accepted(_)));
        for (index, fate) in waiting.into_iter().zip(fates) {
            self.settle(index, fate, &report);
        }
    }

    fn settle(&mut self, index: usize, fate: Fate, report: &Arc<ConnectionReport>) {
        let slot = &mut self.slots[index];
        let outcome = match fate {
            Fate::Accepted(reply) => Outcome::Delivered(reply),
            Fate::Rejected(problem) => Outcome::Failed(problem),
            Fate::Uncertain(problem) => Outcome::Deferred(problem),
            Fate::Postponed(problem) => return slot.note(&problem, Some(report.clone())),
        };
        slot.settled = Some(RecipientReport { outcome, connection: Some(report.clone()) });
    }

    fn note_problem(&mut self, problem: &Problem, report: Option<Arc<ConnectionReport>>) {
        for slot in self.slots.iter_mut().filter(|slot| slot.settled.is_none()) {
            slot.note(problem, report.clone());
        }
    }

    fn settle_all(&mut self, problem: &Problem, permanent: bool) {
        let make = if permanent { Outcome::Failed } else { Outcome::Deferred };
        for slot in &mut self.slots {
            slot.settled = Some(RecipientReport { outcome: make(problem.clone()), connection: None });
        }
    }

    fn into_report(self, started: Instant, effective: Effective) -> Report {
        Report {
            recipients: self.slots.into_iter().map(Slot::into_report).collect(),
            steps: self.steps,
            sender: self.job.sender,
            effective,
            session: started.elapsed(),
        }
    }
}

impl Slot {
    /// Keeps the most telling problem; of equals, the later.
    fn note(&mut self, problem: &Problem, report: Option<Arc<ConnectionReport>>) {
        if self.pending.as_ref().is_none_or(|(kept, _)| problem.weight() >= kept.weight()) {
            self.pending = Some((problem.clone(), report));
        }
    }

    fn into_report(self) -> RecipientReport {
        let unsettled = |pending: Option<(Problem, Option<Arc<ConnectionReport>>)>| {
            let (problem, connection) = pending.unwrap_or_else(|| {
                let words = "no host could be tried in the time of one attempt".to_owned();
                (Problem::ours(Stage::Lookup, (451, EnhancedCode::new(4, 4, 1)), "out-of-time", words), None)
            });
            RecipientReport { outcome: Outcome::Deferred(problem), connection }
        };
        self.settled.unwrap_or_else(|| unsettled(self.pending))
    }
}

/// AUTH PLAIN (RFC 4616). A password leaves within verified TLS or not at all.
async fn authenticate(
    ready: &mut Ready,
    credentials: &Credentials,
    channel: &Channel,
    target: &Target,
) -> Result<(), Problem> {
    use base64::Engine;
    let ours = |reason, words: &str| {
        let words = format!("{} [{}]: {words}", target.host, target.ip());
        Problem::ours(Stage::Auth, (451, EnhancedCode::new(4, 7, 0)), reason, words)
    };
    let Channel::Verified(_) = channel else {
        return Err(ours("auth-needs-verified-tls", "credentials are only sent within verified TLS"));
    };
    if !ready.extensions.auth_plain {
        return Err(ours("auth-not-offered", "the host does not offer AUTH PLAIN"));
    }
    let response = format!("\0{}\0{}", credentials.username, credentials.password);
    let response = base64::engine::general_purpose::STANDARD.encode(response);
    let patience = ready.session.timeouts.command;
    match ready.session.command(&Command::AuthPlain(&response), patience).await {
        Ok(reply) if reply.is_positive() => Ok(()),
        Ok(reply) => Err(without_echo(Problem::replied(Stage::Auth, &reply), &response)),
        Err(error) => Err(Problem::no_reply(Stage::Auth, &error, &target.host.to_string(), target.ip())),
    }
}

/// Some hosts repeat the command that they refuse; what they say becomes an event that others than the operator read.
fn without_echo(problem: Problem, secret: &str) -> Problem {
    let start = secret.get(..8).unwrap_or(secret).to_ascii_lowercase();
    if !problem.message.to_ascii_lowercase().contains(&start) {
        return problem;
    }
    Problem { message: "(the host repeated the credentials; its words are left out)".to_owned(), ..problem }
}

fn connection_report(target: &Target, local: SocketAddr, smtputf8: bool) -> ConnectionReport {
    ConnectionReport {
        mx_host: target.host.to_string(),
        peer_ip: target.ip(),
        sending_ip: local.ip(),
        channel: None,
        handshake: None,
        smtputf8,
    }
}

fn problem_of_skipped(step: &Step) -> Problem {
    let enhanced = EnhancedCode::new(4, 4, if step.reason == Some("dns-failed") { 3 } else { 4 });
    let words = match step.address {
        Some(address) => format!("{} [{address}]: {}", step.host, step.detail),
        None => step.detail.clone(),
    };
    Problem::ours(Stage::Lookup, (451, enhanced), step.reason.unwrap_or("no-address"), words)
}

pub(crate) fn step(
    host: &RouteHost,
    address: Option<IpAddr>,
    result: &'static str,
    reason: Option<&'static str>,
    detail: String,
) -> Step {
    Step { host: host.to_string(), address, result, reason, detail }
}

/// A transaction in one step. It stands in the evidence of every recipient, so it quotes what the host said only where
/// that was said to all of them.
fn step_of_transaction(target: &Target, report: &ConnectionReport, fates: &[Fate]) -> Step {
    let accepted = fates.iter().filter(|fate| matches!(fate, Fate::Accepted(_))).count();
    let result = if accepted > 0 { "delivered" } else { "not-delivered" };
    let mut words = format!("{accepted} of {} recipients taken", fates.len());
    let mut problems = fates.iter().map(Fate::problem);
    if let Some(Some(problem)) = problems.next()
        && problems.all(|other| other == Some(problem))
    {
        words = format!("{words}: {}", said(problem));
    }
    let reason = report.channel.as_ref().and_then(Channel::fallback);
    step(&target.host, Some(target.ip()), result, reason, words)
}

/// The problem in the host's words and code, or ours.
fn said(problem: &Problem) -> String {
    if problem.from_host { format!("{} {}", problem.code, problem.message) } else { problem.message.clone() }
}

fn in_words(facts: &TlsFacts) -> String {
    facts.verification.detail().unwrap_or("the certificate is valid").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_repeats_credentials_is_not_quoted() {
        let secret = "AHdheHdpbmcAZ2VoZWlt";
        let told = |text: &str| {
            let reply = smtp::Reply::new(502, [text]);
            without_echo(Problem::replied(Stage::Auth, &reply), secret)
        };
        for text in ["what is AUTH PLAIN AHdheHdpbmcAZ2VoZWlt?", "auth plain ahdhehdpbmcaz...", "5.5.2 'AHdheHdpbm'"] {
            let problem = told(text);
            assert!(problem.code == 502 && !problem.message.to_lowercase().contains("ahdh"), "{problem:?}");
        }
        assert_eq!(told("5.7.8 wrong").message, "5.7.8 wrong");
    }
}
