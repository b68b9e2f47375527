//! What the recipient's domain publishes, in an attempt: hosts that are not used at all, and when a failure waits.

use policy::dane::Dane;
use policy::disposition::Stage;
use policy::tls::TlsTag;
use smtp::EnhancedCode;
use tokio::time::timeout_at;

use super::{Attempt, Job, step};
use crate::client::{Client, Route, RouteHost};
use crate::hosts::is_authentic;
use crate::mta_sts::{Found, STS_MX_MISMATCH};
use crate::report::Problem;

impl Client {
    /// The MTA-STS policy of the destination. A route is the operator's, so nothing published applies; nor does anything
    /// to a message that says `TLS-Required: No` (RFC 8689 §5).
    pub(super) async fn published(&self, job: &Job<'_>, route: Option<&Route>) -> Found {
        match (&self.mta_sts, route, job.sender.tag) {
            (Some(mta_sts), None, TlsTag::None | TlsTag::Requiretls) => mta_sts.look(job.destination).await,
            _ => Found::NoPolicy,
        }
    }
}

pub(super) fn policy_unknown(detail: &str) -> Problem {
    let words = format!("whether an MTA-STS policy is in force is not known: {detail}");
    Problem::ours(Stage::Lookup, (451, EnhancedCode::new(4, 7, 5)), "sts-policy-unknown", words)
}

impl Attempt<'_> {
    /// Whether an MTA-STS policy lets mail go to the host (RFC 8461 §4.1); tells it where it does not.
    pub(super) fn admits(&mut self, host: &RouteHost) -> bool {
        let RouteHost::Name(name) = host else { return true };
        if self.published.admits(name) {
            return true;
        }
        let detail = "the domain's MTA-STS policy does not name it".to_owned();
        let words = format!("TLS is required, but not with {host}: {detail}");
        self.steps.push(step(host, None, "left", Some(STS_MX_MISMATCH), detail));
        let problem = Problem::ours(Stage::Starttls, (451, EnhancedCode::new(4, 7, 5)), STS_MX_MISMATCH, words);
        self.note_problem(&problem, None);
        false
    }

    /// A host whose TLSA records could not be looked up is passed over: to go on without them is what an attacker who
    /// suppresses the answer wants (RFC 7672 §2.2). `TLS-Required: No` lifts this too.
    pub(super) fn must_skip(&mut self, host: &RouteHost, dane: &Dane) -> bool {
        let Dane::LookupFailed { why, .. } = dane else { return false };
        if self.job.sender.tag == TlsTag::NotRequired {
            return false;
        }
        self.steps.push(step(host, None, "skipped", Some(dane.code()), why.clone()));
        let words = format!("{host}: {why}");
        // Not a host that was left for want of TLS: the next attempt may well find the answer.
        let problem = Problem::ours(Stage::Lookup, (451, EnhancedCode::new(4, 7, 5)), dane.code(), words);
        self.note_problem(&problem, None);
        true
    }

    /// Before anybody fails for good because of a policy, a newer one is looked for (RFC 8461 §5.1). One that could not be
    /// had now, and that would have made the hosts authentic, may be had by the next attempt.
    pub(super) async fn look_again(&mut self) {
        // What a host took waits for nothing: it is to be recorded now.
        let sender = self.job.sender;
        if self.has_delivered || !self.slots.iter().any(|slot| slot.gives_up(sender)) {
            return;
        }
        self.waits_for_policy = match (&self.client.mta_sts, &self.published) {
            (_, Found::Failed { .. }) => sender.tag == TlsTag::Requiretls,
            (Some(mta_sts), Found::Policy(obeyed)) => {
                let newer = timeout_at(self.deadline, mta_sts.newer_than(self.job.destination, obeyed)).await;
                matches!(newer, Ok(Some(_)))
            }
            _ => false,
        };
    }

    /// Whether something says that the host is the domain's.
    pub(super) fn mx_is_authentic(&self, host: &RouteHost) -> bool {
        is_authentic(host, self.route.is_some(), self.mx_is_signed, &self.published)
    }
}
