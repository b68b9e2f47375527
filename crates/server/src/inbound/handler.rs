//! Which addresses take mail, and what becomes of it.
//!
//! - Return paths of ours take failure reports.
//! - `fbl`, `tls-reports`, `postmaster` and `abuse`, at this server's own name and at the hosts of return paths, take what
//!   they are for; what is no report goes to the [`postmaster`](super::postmaster).
//!
//! A feedback report is taken as what it is wherever it comes: providers differ in where they send them.

use std::net::IpAddr;
use std::sync::Arc;

use message::dsn::{self, Action, RecipientStatus, StatusReport};
use message::feedback::{self, FeedbackReport};
use policy::disposition::Stage;
use policy::suppression::is_no_such_mailbox;
use serde_json::{Value, json};
use smtp::request::{Mail, Rcpt};
use smtp::{Address, Domain, Reply};
use store::bounce::{DelayedBounce, Recorded};
use store::dsn::{Facts, LaterReport};
use store::{Store, StoreError, Timestamp};

use super::limits::{INLINE_OCTETS, RECIPIENTS};
use super::postmaster::Postmaster;
use super::return_path::{Delivery, FEEDBACK, ReturnPaths, sending_domain_of};
use crate::config::EhloName;
use crate::smtpd::{Handler, Transaction, reply};

/// The answer to a feedback report that changes nothing.
const NO_COMPLAINT: &str = "Read; it proves no complaint about mail of this server";

/// What all connections share.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) store: Store,
    pub(super) host: EhloName,
    pub(super) return_paths: Arc<ReturnPaths>,
    pub(super) postmaster: Postmaster,
}

impl Inbound {
    pub(super) fn connection(self: Arc<Self>, ip: IpAddr) -> Connection {
        Connection { inbound: self, ip, kind: None }
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct Connection {
    inbound: Arc<Inbound>,
    ip: IpAddr,
    /// Of the recipients of the transaction; none yet.
    kind: Option<Kind>,
}

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Failure reports.
    ReturnPath,
    /// Feedback reports.
    Feedback,
    /// Reports about TLS.
    TlsReports,
    /// People (RFC 5321 §4.5.1, RFC 2142 §4).
    Postmaster,
}

/// A report that was read.
enum Report {
    Status(StatusReport),
    Feedback(FeedbackReport),
}

impl Handler for Connection {
    async fn authenticate(&mut self, _: &str, _: &str) -> Result<(), Reply> {
        Err(reply(502, 5, 1, "AUTH is not offered"))
    }

    /// Reports have the null return path, but not all who write them know (RFC 3464 §2): nothing is ever sent there.
    async fn mail(&mut self, _: &Mail) -> Result<(), Reply> {
        self.kind = None;
        Ok(())
    }

    async fn rcpt(&mut self, rcpt: &Rcpt) -> Result<(), Reply> {
        let kind = self.inbound.kind_of(&rcpt.address).await.map_err(|error| not_now(&error))?;
        let kind = kind.ok_or_else(|| reply(550, 7, 1, "Only reports about mail of this server are taken here"))?;
        match *self.kind.get_or_insert(kind) == kind {
            true => Ok(()),
            // One answer is for all recipients, so they are of one kind.
            false => Err(reply(452, 5, 3, "Send that to this recipient in a transaction of its own")),
        }
    }

    async fn message(&mut self, transaction: Transaction, content: Vec<u8>) -> Reply {
        let inbound = &self.inbound;
        if self.kind == Some(Kind::TlsReports) {
            return inbound.take_tls_report(self.ip, content).await;
        }
        let Some((report, content)) = read(content).await else { return fault() };
        let answer = match self.kind {
            Some(Kind::ReturnPath) => inbound.take_report(self.ip, &transaction, report).await,
            _ => inbound.take_mail(self.ip, &transaction, self.kind == Some(Kind::Feedback), report, content).await,
        };
        answer.unwrap_or_else(|error| not_now(&error))
    }
}

/// A reader of mail ended by a panic; the mail is to come again.
pub(super) fn fault() -> Reply {
    reply(451, 3, 0, "A fault of ours, try again later")
}

/// The store does not answer.
fn not_now(error: &StoreError) -> Reply {
    tracing::error!(%error, "the store refused an operation");
    reply(451, 3, 0, "Nothing can be taken now, try again later")
}

async fn read(content: Vec<u8>) -> Option<(Option<Report>, Vec<u8>)> {
    let read = |content: Vec<u8>| {
        let feedback = || feedback::parse(&content).map(Report::Feedback);
        (dsn::parse(&content).map(Report::Status).or_else(feedback), content)
    };
    if content.len() <= INLINE_OCTETS {
        return Some(read(content));
    }
    tokio::task::spawn_blocking(move || read(content)).await.ok()
}

impl Inbound {
    /// What an address is for; `None` when it takes no mail.
    async fn kind_of(&self, address: &Address) -> Result<Option<Kind>, StoreError> {
        if self.return_paths.read(address).is_some() {
            return Ok(Some(Kind::ReturnPath));
        }
        let kind = match address.local_part().to_ascii_lowercase().as_str() {
            FEEDBACK => Kind::Feedback,
            "tls-reports" => Kind::TlsReports,
            "postmaster" | "abuse" => Kind::Postmaster,
            _ => return Ok(None),
        };
        Ok(self.is_ours(address.domain()).await?.then_some(kind))
    }

    /// Whether mail for a host comes here: our own name, or the host of a sending domain's return paths.
    async fn is_ours(&self, host: &Domain) -> Result<bool, StoreError> {
        if matches!(&self.host, EhloName::Name(ours) if ours == host) {
            return Ok(true);
        }
        match sending_domain_of(host) {
            Some(domain) => Ok(self.store.domain(&domain).await?.is_some()),
            None => Ok(false),
        }
    }

    /// The deliveries whose return paths are recipients.
    fn deliveries(&self, transaction: &Transaction) -> Vec<Delivery> {
        let mut deliveries: Vec<Delivery> = Vec::new();
        for rcpt in &transaction.recipients {
            deliveries.extend(self.return_paths.read(&rcpt.address).filter(|one| !deliveries.contains(one)));
        }
        deliveries
    }

    /// What came to return paths.
    async fn take_report(
        &self,
        ip: IpAddr,
        transaction: &Transaction,
        report: Option<Report>,
    ) -> Result<Reply, StoreError> {
        let deliveries = self.deliveries(transaction);
        match report {
            Some(Report::Status(report)) => self.take_failures(ip, &report, deliveries).await,
            Some(Report::Feedback(report)) => Ok(match self.hear(ip, &report, deliveries).await? {
                true => reply(250, 0, 0, "Recorded"),
                false => reply(250, 0, 0, NO_COMPLAINT),
            }),
            None => {
                tracing::info!(peer = %ip, "mail to a return path is no report, and was dropped");
                Ok(reply(250, 0, 0, "Read; it is no failure report"))
            }
        }
    }

    /// What came to an address for feedback reports, or for people. They get whatever made no complaint, except for
    /// reports at the address that is for them.
    async fn take_mail(
        &self,
        ip: IpAddr,
        transaction: &Transaction,
        for_feedback: bool,
        report: Option<Report>,
        content: Vec<u8>,
    ) -> Result<Reply, StoreError> {
        if let Some(Report::Feedback(report)) = report {
            if self.hear(ip, &report, Vec::new()).await? {
                return Ok(reply(250, 0, 0, "Recorded"));
            }
            if for_feedback {
                return Ok(reply(250, 0, 0, NO_COMPLAINT));
            }
        }
        self.forward(ip, transaction, content).await
    }

    async fn take_failures(
        &self,
        ip: IpAddr,
        report: &StatusReport,
        deliveries: Vec<Delivery>,
    ) -> Result<Reply, StoreError> {
        let mut is_early = false;
        for delivery in deliveries {
            let recorded = self.record(delivery, report).await?;
            tracing::info!(peer = %ip, ?recorded, "failure report");
            is_early |= recorded.contains(&Recorded::Early);
        }
        Ok(match is_early {
            true => reply(451, 4, 0, "That delivery has not been recorded yet, try again later"),
            false => reply(250, 0, 0, "Recorded"),
        })
    }

    async fn record(&self, delivery: Delivery, report: &StatusReport) -> Result<Vec<Recorded>, StoreError> {
        let mut all = Vec::new();
        for (candidates, bounce) in bounces(delivery, report) {
            let mut recorded = Recorded::Unknown;
            for address in candidates {
                let bounce = DelayedBounce { address, ..bounce.clone() };
                recorded = self.store.record_bounce(Timestamp::now(), bounce).await?;
                if recorded != Recorded::Unknown {
                    break;
                }
            }
            all.push(recorded);
        }
        for (candidates, later) in later_reports(delivery, report) {
            let mut recorded = Recorded::Unknown;
            for address in candidates {
                let later = LaterReport { address, ..later.clone() };
                recorded = self.store.record_report(Timestamp::now(), later).await?;
                if recorded != Recorded::Unknown {
                    break;
                }
            }
            all.push(recorded);
        }
        Ok(all)
    }
}

/// The recipients whose a status may be, the likelier first. Whoever was alone is who it is about, whatever address it
/// ended at. Of several, the report must name one.
fn whose(delivery: Delivery, status: &RecipientStatus) -> Vec<Option<Address>> {
    match delivery.alone {
        true => vec![None],
        false => [&status.original, &status.last].into_iter().flatten().cloned().map(Some).collect(),
    }
}

/// What is told beside failures: that it was delivered, or takes long. Senders may have asked for it, and the report came
/// to us in their place.
fn later_reports(delivery: Delivery, report: &StatusReport) -> Vec<(Vec<Option<Address>>, LaterReport)> {
    let others = report.recipients.iter().filter(|status| status.action != Action::Failed);
    let later = |status: &RecipientStatus| LaterReport {
        transaction: delivery.first,
        accepted_at: delivery.accepted_at,
        address: None,
        action: status.action,
        facts: Facts {
            code: status.reply_code,
            status: status.status.map(|status| status.to_string()),
            words: status.diagnostic.clone().unwrap_or_default(),
            from_host: true,
            host: status.remote_mta.clone().or_else(|| report.reporting_mta.clone()),
            reported: true,
            ..Facts::default()
        },
    };
    others.map(|status| (whose(delivery, status), later(status))).take(RECIPIENTS).collect()
}

/// The bounces that a report tells of, each with the recipients [`whose`] it may be.
fn bounces(delivery: Delivery, report: &StatusReport) -> Vec<(Vec<Option<Address>>, DelayedBounce)> {
    let failed = report.recipients.iter().filter(|status| status.action == Action::Failed);
    let most = if delivery.alone { 1 } else { usize::MAX };
    failed.take(most).map(|status| (whose(delivery, status), bounce(delivery, report, status))).collect()
}

fn bounce(delivery: Delivery, report: &StatusReport, status: &RecipientStatus) -> DelayedBounce {
    let evidence: serde_json::Map<String, Value> = [
        ("reporting-mta", report.reporting_mta.as_ref()),
        ("remote-mta", status.remote_mta.as_ref()),
        ("final-recipient", status.last.as_ref().map(ToString::to_string).as_ref()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), json!(value?))))
    .collect();
    // Failed is failed: a code of class 4 says that somebody gave up after a while (RFC 3464 §2.3.4).
    let class = status.status.map_or(5, |status| status.class);
    let code = status.reply_code.unwrap_or(if class == 4 { 450 } else { 550 });
    DelayedBounce {
        transaction: delivery.first,
        accepted_at: delivery.accepted_at,
        address: None,
        code,
        enhanced_code: status.status,
        // Each of several recipients knows the return path of them all, and must not keep mail from another.
        no_such_mailbox: delivery.alone && is_no_such_mailbox(Stage::Rcpt, code, status.status),
        message: status.diagnostic.clone().unwrap_or_default(),
        report: evidence.into(),
    }
}

#[cfg(test)]
mod tests {
    use store::RecipientId;

    use super::*;

    fn status(action: Action, original: Option<&str>, last: Option<&str>, code: &str) -> RecipientStatus {
        RecipientStatus {
            original: original.map(|text| text.parse().unwrap()),
            last: last.map(|text| text.parse().unwrap()),
            action,
            status: code.parse().ok(),
            diagnostic: None,
            reply_code: None,
            remote_mta: Some("in.example".to_owned()),
        }
    }

    #[test]
    fn failures_and_nothing_else_are_bounces() {
        let recipients = vec![
            status(Action::Delayed, None, Some("a@b.example"), "4.4.1"),
            status(Action::Delivered, None, Some("b@b.example"), "2.0.0"),
            status(Action::Failed, None, Some("c@b.example"), "4.4.7"),
            status(Action::Failed, Some("d@b.example"), Some("e@c.example"), "5.1.1"),
            status(Action::Failed, None, None, ""),
        ];
        let report = StatusReport { reporting_mta: Some("mx.example".to_owned()), recipients };
        let delivery = Delivery { first: RecipientId::of_number(7), alone: false, accepted_at: 9 };
        let of_several = bounces(delivery, &report);
        let told: Vec<_> = of_several
            .iter()
            .map(|(who, bounce)| {
                let who: Vec<_> = who.iter().flatten().map(ToString::to_string).collect();
                (who.join(" "), bounce.code, bounce.enhanced_code.map(|code| code.to_string()))
            })
            .collect();
        let code = |code: &str| Some(code.to_owned());
        let expected = [
            ("c@b.example".to_owned(), 450, code("4.4.7")),
            ("d@b.example e@c.example".to_owned(), 550, code("5.1.1")),
            (String::new(), 550, None),
        ];
        assert_eq!(told, expected);
        let evidence =
            json!({ "reporting-mta": "mx.example", "remote-mta": "in.example", "final-recipient": "e@c.example" });
        assert_eq!(of_several[1].1.report, evidence);

        let of_one = bounces(Delivery { alone: true, ..delivery }, &report);
        assert_eq!((of_one.len(), &of_one[0].0, of_one[0].1.code), (1, &vec![None], 450));
        assert!(!of_one[0].1.no_such_mailbox && !of_several[1].1.no_such_mailbox);
        let gone = StatusReport { recipients: vec![report.recipients[3].clone()], ..report };
        assert!(bounces(Delivery { alone: true, ..delivery }, &gone)[0].1.no_such_mailbox);
    }
}
