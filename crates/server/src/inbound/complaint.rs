//! Feedback reports become complaints (`docs/decisions/0013-complaints.md`).
//!
//! A report is believed for what it gives back of the message: a token that we signed. It is in the header
//! (`CFBL-Feedback-ID`, RFC 9477), and in the return path.

use std::net::IpAddr;

use message::feedback::FeedbackReport;
use serde_json::{Value, json};
use smtp::Address;
use store::complaint::{Complaint, Heard};
use store::{StoreError, Timestamp};

use super::handler::Inbound;
use super::limits::COMPLAINTS;
use super::return_path::{Delivery, ReturnPaths};

impl Inbound {
    /// Records what a report complains about, and says whether there was anything. `known` are deliveries whose return paths
    /// it was sent to.
    pub(super) async fn hear(
        &self,
        ip: IpAddr,
        report: &FeedbackReport,
        known: Vec<Delivery>,
    ) -> Result<bool, StoreError> {
        let complaints = match report.kind.is_complaint() {
            true => complaints(&deliveries(&self.return_paths, report, known), report),
            false => Vec::new(),
        };
        let mut heard: Vec<Heard> = Vec::new();
        for complaint in complaints.into_iter().take(COMPLAINTS) {
            heard.push(self.store.record_complaint(Timestamp::now(), complaint).await?);
        }
        let (kind, reporter) = (report.kind.as_str(), report.reporting_mta.as_deref());
        tracing::info!(peer = %ip, kind, reporter, ?heard, "feedback report");
        Ok(heard.iter().any(|heard| *heard != Heard::Unknown))
    }
}

/// The deliveries that a report proves to know of, each once.
fn deliveries(return_paths: &ReturnPaths, report: &FeedbackReport, known: Vec<Delivery>) -> Vec<Delivery> {
    let by_id = report.feedback_ids.iter().filter_map(|id| return_paths.read_feedback_id(id));
    let by_path = report.return_paths.iter().filter_map(|path| return_paths.read(path));
    let mut deliveries: Vec<Delivery> = Vec::new();
    for delivery in known.into_iter().chain(by_id).chain(by_path) {
        if !deliveries.contains(&delivery) {
            deliveries.push(delivery);
        }
    }
    deliveries
}

/// The complaints of a report. Whoever was alone is who complained, whatever the report says. Of several it must name one;
/// and since each of them knows the token of all, nobody is kept from mail by what another may have written.
fn complaints(deliveries: &[Delivery], report: &FeedbackReport) -> Vec<Complaint> {
    let complaint = |delivery: &Delivery, address: Option<&Address>| Complaint {
        transaction: delivery.first,
        accepted_at: delivery.accepted_at,
        address: address.cloned(),
        suppress: delivery.alone,
        report: evidence(report),
    };
    let of = |delivery: &Delivery| -> Vec<Complaint> {
        match delivery.alone {
            true => vec![complaint(delivery, None)],
            false => report.recipients.iter().map(|address| complaint(delivery, Some(address))).collect(),
        }
    };
    deliveries.iter().flat_map(of).collect()
}

fn evidence(report: &FeedbackReport) -> Value {
    let mut evidence = json!({ "feedback-type": report.kind.as_str() });
    for (name, value) in [
        ("user-agent", &report.user_agent),
        ("reporting-mta", &report.reporting_mta),
        ("source-ip", &report.source_ip),
        ("arrival-date", &report.arrival_date),
    ] {
        if let Some(value) = value {
            evidence[name] = value.as_str().into();
        }
    }
    evidence
}

#[cfg(test)]
mod tests {
    use store::RecipientId;

    use super::*;

    #[test]
    fn of_several_the_one_that_is_named_complains() {
        let report = "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\n\
                      Feedback-Type: abuse\r\nUser-Agent: x/1\r\nOriginal-Rcpt-To: <a@b.example>\r\n\
                      Original-Rcpt-To: c@b.example\r\n\r\n--b--\r\n";
        let report = message::feedback::parse(report.as_bytes()).unwrap();
        let of_several = Delivery { first: RecipientId::of_number(7), alone: false, accepted_at: 9 };
        let alone = Delivery { first: RecipientId::of_number(8), alone: true, accepted_at: 9 };
        let found = complaints(&[of_several, alone], &report);
        let told = |it: &Complaint| (it.transaction, it.address.as_ref().map(ToString::to_string), it.suppress);
        let told: Vec<_> = found.iter().map(told).collect();
        let name = |text: &str| Some(text.to_owned());
        let expected = [
            (of_several.first, name("a@b.example"), false),
            (of_several.first, name("c@b.example"), false),
            (alone.first, None, true),
        ];
        assert_eq!(told, expected);
        assert_eq!(found[0].report, json!({ "feedback-type": "abuse", "user-agent": "x/1" }));
        let redacted = FeedbackReport { recipients: vec![], ..report };
        assert_eq!(complaints(&[of_several], &redacted), []);
    }
}
