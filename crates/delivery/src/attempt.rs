//! The attempt: hosts and addresses in order, until every recipient has its outcome.

mod published;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use policy::backoff::Contact;
use policy::dane::{Dane, NextHop, Security};
use policy::disposition::Stage;
use policy::tls::{
    Demands, Effective, Minimum, Protection, RequiretlsObstacle, Resolved, TlsTag, Verdict, decide, gives_up,
    may_carry, status_when_left, strengthen,
};
use smtp::dsn::{MailDsn, RcptDsn};
use smtp::limits::ADDRESSES_PER_ATTEMPT;
use smtp::{Address, Command, Domain, EnhancedCode, ReturnPath};
use tokio::time::{Instant, timeout_at};

use crate::client::{Client, Credentials, Route, RouteHost, Target};
use crate::connect::{NotOpened, open};
use crate::hosts::{Crowd, Hosts, NextHops, NoHosts, Place};
use crate::mta_sts::Found;
use crate::pool::{Reused, farewell};
use crate::receipt::{Owed, Receipt};
use crate::report::{
    Channel, ConnectionReport, Outcome, PlaintextReason, Problem, RecipientReport, Report, STARTTLS_NOT_SUPPORTED,
    STARTTLS_REFUSED, Step,
};
use crate::starttls::{Observation, Ready, observe};
use crate::tls::TlsFacts;
use crate::transaction::{self, Ended, Fate, Mail, NOTHING_ASKED, Recipient};
use published::policy_unknown;

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
    /// What MAIL says of notifications where the host offers DSN (RFC 3461 §5.2.1).
    pub dsn: &'a MailDsn,
    /// What RCPT says of them: one for each recipient, or none for all.
    pub recipient_dsn: &'a [RcptDsn],
}

/// Most hosts that are let into a transaction: where one postpones, a second may take the message, a third is
/// unlikely to (Postfix limits sessions the same way).
const SESSIONS: usize = 2;

impl Client {
    /// Attempts a delivery. Never fails: what went wrong is in the report.
    pub async fn attempt(&self, job: Job<'_>) -> Report {
        let next_hops = self.next_hops(job.destination).await;
        self.attempt_at(next_hops, job).await
    }

    /// The same, where [`Client::next_hops`] has found out already where the destination's mail goes.
    pub async fn attempt_at(&self, next_hops: NextHops, job: Job<'_>) -> Report {
        let NextHops { found, began, deadline, crowd } = next_hops;
        let route = self.route_for(job.destination);
        let mut attempt = Attempt::new(self, job, route, deadline);
        attempt.crowd = crowd;
        let published = timeout_at(deadline, self.published(&job, route)).await;
        if let (Some(hosts), Ok(published)) = (found, published) {
            attempt.published = published;
            match (hosts, &attempt.published) {
                (Err(NoHosts { problem, permanent, .. }), _) => attempt.settle_all(&problem, permanent),
                (Ok(_), Found::Unknown { detail }) => attempt.settle_all(&policy_unknown(detail), false),
                (Ok(hosts), _) => attempt.walk(hosts).await,
            }
        } // Else out of time, as every recipient without an outcome is told.
        Box::pin(attempt.look_again()).await;
        attempt.into_report(began)
    }
}

/// A recipient during the attempt.
#[derive(Default)]
struct Slot {
    settled: Option<RecipientReport>,
    /// The most telling of the problems so far; what is reported if nothing settles it.
    pending: Option<(Problem, Option<Arc<ConnectionReport>>)>,
    /// Whether anything was met but hosts that were left for want of TLS.
    met_more_than_leaving: bool,
}

struct Attempt<'a> {
    client: &'a Client,
    job: Job<'a>,
    route: Option<&'a Route>,
    /// The destination's MTA-STS policy.
    published: Found,
    /// Whether the MX records of the destination are signed.
    mx_is_signed: bool,
    /// Another policy than the one that was obeyed is there, or may be: nobody fails for good now.
    waits_for_policy: bool,
    /// What DANE means for the first host: whether it is off stands in the report also where no connection was made.
    dane: Option<Arc<Dane>>,
    deadline: Instant,
    crowd: Option<Crowd>,
    slots: Vec<Slot>,
    steps: Vec<Step>,
    observed: Vec<ConnectionReport>,
    addresses_tried: usize,
    sessions: usize,
    contact: Contact,
    /// What a host took must be recorded before anything else is tried, or a crash would send it again. Who was not
    /// taken waits for the next attempt.
    has_delivered: bool,
    receipt: Option<Receipt>,
}

impl<'a> Attempt<'a> {
    fn new(client: &'a Client, job: Job<'a>, route: Option<&'a Route>, deadline: Instant) -> Self {
        Attempt {
            client,
            job,
            route,
            published: Found::NoPolicy,
            mx_is_signed: false,
            waits_for_policy: false,
            dane: None,
            deadline,
            crowd: None,
            slots: job.recipients.iter().map(|_| Slot::default()).collect(),
            steps: Vec::new(),
            observed: Vec::new(),
            addresses_tried: 0,
            sessions: 0,
            contact: Contact::Untried,
            has_delivered: false,
            receipt: None,
        }
    }

    /// Every host, every address of it, until nobody waits any more or the limits are reached.
    async fn walk(&mut self, hosts: Hosts) {
        let Hosts { names, next_hop, .. } = hosts;
        self.mx_is_signed = next_hop == NextHop::Mx(Security::Secure);
        for host in &names {
            if self.is_over() {
                break;
            }
            if !self.admits(host) {
                continue;
            }
            let place = self.client.place(self.job.destination, host, &next_hop, self.route);
            let Ok(Place { addresses, skipped, dane, .. }) = timeout_at(self.deadline, place).await else { break };
            for step in skipped {
                self.note_problem(&problem_of_skipped(&step), None);
                self.steps.push(step);
            }
            if self.must_skip(host, &dane) {
                continue;
            }
            let (dane, rules) = (Arc::new(dane), self.client.ruling(self.job.destination, host));
            self.dane.get_or_insert_with(|| dane.clone());
            for address in addresses {
                if self.is_over() {
                    break;
                }
                self.addresses_tried += 1;
                let target = Target { host: host.clone(), address, dane: dane.clone(), rules: rules.clone() };
                self.visit(&target).await;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.slots.iter().all(|slot| slot.settled.is_some())
            || self.addresses_tried >= ADDRESSES_PER_ATTEMPT
            || self.sessions >= SESSIONS
            || self.has_delivered
            || Instant::now() >= self.deadline
    }

    /// Everything that is demanded at a host.
    fn demands(&self, target: &Target) -> Demands {
        Demands {
            sender: self.job.sender,
            route: self.route.map_or(Minimum::None, |route| route.minimum),
            rule: target.rules.demand(),
            dane: target.dane.demand(),
            mta_sts_enforced: self.published.enforces(),
        }
    }

    /// One address: connect, observe, decide, and deliver, reconnect or leave as decided.
    async fn visit(&mut self, target: &Target) {
        let effective = strengthen(self.demands(target));
        if self.reuse(target, &effective).await {
            return;
        }
        // Boxed, so that what is needed now and then takes no room in every delivery.
        Box::pin(self.connect(target, effective)).await;
    }

    /// The same on a new connection.
    async fn connect(&mut self, target: &Target, effective: Effective) {
        if let Some(crowd) = &self.crowd {
            self.client.pool.make_room(crowd).await;
        }
        let opened = match open(self.client, target, self.deadline).await {
            Ok(opened) => opened,
            Err(not_opened) => return self.not_opened(target, not_opened, None),
        };
        self.contact = self.contact.and(Contact::Answered);
        let mut report = connection_report(target, opened.local, opened.extensions.smtputf8, effective.clone());
        let observation = observe(self.client, target, opened).await;
        let observed = observation.observed(effective.authentication);
        report.observed = Some(observed);
        report.handshake = observation.facts().cloned();
        self.observed.push(report.clone());
        match (decide(effective.policy, effective.fallback, observed), observation) {
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

    /// Delivers on a connection that an earlier delivery made, where one serves. `false`: there is none, or its host had
    /// hung up; a new one is needed.
    async fn reuse(&mut self, target: &Target, effective: &Effective) -> bool {
        let endpoint = self.client.endpoint(target, self.route);
        match self.client.pool.take(&endpoint, effective, self.deadline).await {
            Some(Reused { ready, channel, report }) => {
                let (dane, rules) = (target.dane.clone(), target.rules.clone());
                let report = ConnectionReport { dane, rules, ..report };
                self.transact(target, ready, channel, report).await
            }
            None => false,
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
        let (reason, detail) = match &observation {
            Observation::NotOffered(_) => (STARTTLS_NOT_SUPPORTED, "it does not offer STARTTLS".to_owned()),
            Observation::Refused(_, reply) => (STARTTLS_REFUSED, format!("it refused STARTTLS: {reply}")),
            Observation::HandshakeFailed(error, _) => (error.code(), error.to_string()),
            Observation::Encrypted(_, facts) => {
                let verdict = facts.verdict(report.effective.authentication);
                (verdict.code(), verdict.detail().unwrap_or("its certificate is valid").to_owned())
            }
        };
        let observed = observation.observed(report.effective.authentication);
        let status = status_when_left(self.job.sender.tag, observed);
        observation.close().await;
        self.left(target, status, reason, detail, report);
    }

    /// TLS is in order, but this host cannot carry REQUIRETLS on.
    async fn leave_for_requiretls(
        &mut self,
        target: &Target,
        obstacle: RequiretlsObstacle,
        ready: Ready,
        report: ConnectionReport,
    ) {
        let (status, reason, detail) = match obstacle {
            RequiretlsObstacle::NotOffered => ((7, 30), "requiretls-not-supported", "it does not offer REQUIRETLS"),
            RequiretlsObstacle::MxNotAuthentic => {
                ((7, 10), "mx-not-authenticated", "neither DNSSEC nor MTA-STS says that it is the domain's host")
            }
        };
        farewell(ready);
        self.left(target, status, reason, detail.to_owned(), report);
    }

    fn left(
        &mut self,
        target: &Target,
        (subject, number): (u16, u16),
        reason: &'static str,
        detail: String,
        report: ConnectionReport,
    ) {
        let enhanced = EnhancedCode::new(4, subject, number);
        let words = format!("TLS is required, but not with {} [{}]: {detail}", target.host, target.ip());
        self.steps.push(step(&target.host, Some(target.ip()), "left", Some(reason), detail));
        let problem = Problem::ours(Stage::Starttls, (451, enhanced), reason, words);
        self.note_problem(&problem, Some(Arc::new(report)));
    }

    /// The host could not be spoken to. `earlier` is the report of the connection that came before this one.
    fn not_opened(&mut self, target: &Target, not_opened: NotOpened, earlier: Option<ConnectionReport>) {
        let NotOpened { problem, local } = not_opened;
        let met = if problem.turns_us_away() { Contact::TurnedAway } else { Contact::Unreached };
        self.contact = self.contact.and(met);
        let result = problem.reason.unwrap_or("refused-session");
        self.steps.push(step(&target.host, Some(target.ip()), result, problem.reason, said(&problem)));
        let demanded = || strengthen(self.demands(target));
        let report = earlier.or_else(|| local.map(|local| connection_report(target, local, false, demanded())));
        self.note_problem(&problem, report.map(Arc::new));
    }

    /// MAIL, RCPT, DATA on a channel that has been decided on. `false` when the connection was an earlier delivery's and
    /// could not carry this message too.
    async fn transact(
        &mut self,
        target: &Target,
        mut ready: Ready,
        channel: Channel,
        mut report: ConnectionReport,
    ) -> bool {
        (report.smtputf8, report.dsn) = (ready.extensions.smtputf8, ready.extensions.dsn);
        let authentic = self.mx_is_authentic(&target.host);
        if let Err(obstacle) = may_carry(self.job.sender.tag, authentic, ready.extensions.requiretls) {
            self.leave_for_requiretls(target, obstacle, ready, report).await;
            return true;
        }
        if !report.reused
            && let Some(credentials) = self.route.and_then(|route| route.credentials.as_ref())
            && let Err(problem) = authenticate(&mut ready, credentials, &channel, target).await
        {
            ready.session.quit().await;
            self.steps.push(step(&target.host, Some(target.ip()), "auth-failed", problem.reason, said(&problem)));
            self.note_problem(&problem, Some(Arc::new(report)));
            return true;
        }
        report.channel = Some(channel);
        let report = Arc::new(report);
        let waiting: Vec<usize> = (0..self.slots.len()).filter(|i| self.slots[*i].settled.is_none()).collect();
        let recipient_dsn: &[RcptDsn] = if ready.extensions.dsn { self.job.recipient_dsn } else { &[] };
        let recipients = waiting.iter().map(|index| Recipient {
            address: &self.job.recipients[*index],
            dsn: recipient_dsn.get(*index).unwrap_or(&NOTHING_ASKED),
        });
        let recipients = recipients.collect();
        let requiretls = self.job.sender.tag == TlsTag::Requiretls;
        let Job { return_path, wire, dsn, .. } = self.job;
        let mail = Mail { return_path, recipients, wire, requiretls, dsn };
        let Ended { fates, ready, unheard } =
            transaction::run(ready, &mail, &target.host.to_string(), target.ip()).await;
        if let (true, Some(unheard)) = (report.reused, unheard) {
            let (reason, words) = unheard.told();
            self.steps.push(step(&target.host, Some(target.ip()), "reconnect", Some(reason), words.to_owned()));
            return false;
        }
        if let Some(mut ready) = ready {
            let (receipt, owed) = Owed::new();
            (self.receipt, ready.session.owed) = (Some(receipt), owed);
            let site = self.crowd.as_ref().map(|crowd| crowd.site.clone());
            self.client.pool.give(self.client.endpoint(target, self.route), site, ready, &report);
        }
        self.sessions += 1;
        let is_sent_away = fates.iter().filter_map(Fate::problem).any(Problem::turns_us_away);
        self.contact = self.contact.and(if is_sent_away { Contact::TurnedAway } else { Contact::Answered });
        self.steps.push(step_of_transaction(target, &report, &fates));
        self.has_delivered |= fates.iter().any(|fate| matches!(fate, Fate::Accepted(_)));
        for (index, fate) in waiting.into_iter().zip(fates) {
            self.settle(index, fate, &report);
        }
        true
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

    fn into_report(self, began: Instant) -> Report {
        let (sender, waits) = (self.job.sender, self.waits_for_policy);
        Report {
            recipients: self.slots.into_iter().map(|slot| slot.into_report(sender, waits)).collect(),
            steps: self.steps,
            sender,
            observed: self.observed,
            published: self.published,
            contact: if self.has_delivered { Contact::Answered } else { self.contact },
            dane: self.dane,
            session: began.elapsed(),
            receipt: self.receipt,
        }
    }
}

impl Slot {
    /// Keeps the most telling problem; of equals, the later.
    fn note(&mut self, problem: &Problem, report: Option<Arc<ConnectionReport>>) {
        self.met_more_than_leaving |= problem.stage != Stage::Starttls;
        if self.pending.as_ref().is_none_or(|(kept, _)| problem.weight() >= kept.weight()) {
            self.pending = Some((problem.clone(), report));
        }
    }

    /// Whether the recipient has failed because every host was left.
    fn gives_up(&self, sender: Resolved) -> bool {
        let only_left = self.pending.is_some() && !self.met_more_than_leaving;
        self.settled.is_none() && gives_up(sender.when_left, sender.tag, only_left)
    }

    fn into_report(self, sender: Resolved, waits_for_policy: bool) -> RecipientReport {
        let gives_up = self.gives_up(sender) && !waits_for_policy;
        if let Some(settled) = self.settled {
            return settled;
        }
        let Some((problem, connection)) = self.pending else {
            let words = "no host could be tried in the time of one attempt".to_owned();
            let problem = Problem::ours(Stage::Lookup, (451, EnhancedCode::new(4, 4, 1)), "out-of-time", words);
            return RecipientReport { outcome: Outcome::Deferred(problem), connection: None };
        };
        let outcome = if gives_up { Outcome::Failed(problem.made_permanent()) } else { Outcome::Deferred(problem) };
        RecipientReport { outcome, connection }
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

fn connection_report(target: &Target, local: SocketAddr, smtputf8: bool, effective: Effective) -> ConnectionReport {
    ConnectionReport {
        mx_host: target.host.to_string(),
        peer_ip: target.ip(),
        sending_ip: local.ip(),
        channel: None,
        observed: None,
        handshake: None,
        smtputf8,
        dsn: false,
        effective,
        dane: target.dane.clone(),
        rules: target.rules.clone(),
        reused: false,
    }
}

fn problem_of_skipped(step: &Step) -> Problem {
    let is_dns = matches!(step.reason, Some("dns-failed" | "dnssec-invalid"));
    let enhanced = EnhancedCode::new(4, 4, if is_dns { 3 } else { 4 });
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
    let on = if report.reused { " on the connection of an earlier delivery" } else { "" };
    let mut words = format!("{accepted} of {} recipients taken{on}", fates.len());
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
