//! From what an attempt reports to what is kept of each recipient.

use std::borrow::Cow;
use std::time::Duration;

use delivery::report::ConnectionReport;
use delivery::{Outcome, Problem, RecipientReport, Report};
use policy::retry::Schedule;
use policy::suppression::{self, Listed, Suppressed};
use smtp::EnhancedCode;
use store::{
    AttemptRecord, ClaimedRecipient, ConnectionRecord, EventKind, FailureReason, Job, NewEvent, NewState,
    RecipientOutcome, Severity, Timestamp,
};

/// The code of a failure whose schedule has come to its end: what Mailgun's users know as "Too old".
pub(super) const TOO_OLD: u16 = 602;

/// What becomes of each recipient of `job` after `report`, and the events that tell it.
pub(super) fn of_report(
    job: &Job,
    report: &Report,
    is_asked: bool,
    schedule: &Schedule,
    now: Timestamp,
) -> Vec<RecipientOutcome> {
    let recipients = job.recipients.iter().zip(&report.recipients).enumerate();
    recipients
        .map(|(index, (recipient, part))| {
            let details = serde_json::to_value(report.evidence(index)).unwrap_or_default();
            let told = Told { recipient, part, session: report.session, details };
            let (state, events) = match &part.outcome {
                Outcome::Delivered(reply) => (taken_by(part, is_asked), vec![told.delivered(reply)]),
                Outcome::Failed(problem) => (given_up_by(problem), vec![told.failed(problem)]),
                Outcome::Deferred(problem) => match wait(job, schedule, told.attempt_no(), now) {
                    Some(wait) => (NewState::Deferred { until: now + wait }, vec![told.deferred(problem, Some(wait))]),
                    None => (NewState::Failed, vec![told.deferred(problem, None), told.too_old(problem)]),
                },
            };
            RecipientOutcome { recipient: recipient.id, state, events }
        })
        .collect()
}

/// Whether the host tells of the delivery whoever asked to be told (RFC 3461 §5.2), if it was asked.
fn taken_by(part: &RecipientReport, is_asked: bool) -> NewState {
    if is_asked && part.connection.as_ref().is_some_and(|connection| connection.dsn) {
        NewState::Delivered
    } else {
        NewState::Relayed
    }
}

/// Whether a failure also puts the recipient on the bounces.
fn given_up_by(problem: &Problem) -> NewState {
    let no_mailbox = suppression::is_no_such_mailbox(problem.stage, problem.code, problem.enhanced_code);
    if problem.from_host && no_mailbox { NewState::Bounced } else { NewState::Failed }
}

/// Tells those recipients apart to whom nothing is sent, and leaves the others in the job. `listed` has one for each.
pub(super) fn suppressed<'a>(job: &'a Job, listed: &[Listed]) -> (Vec<RecipientOutcome>, Cow<'a, Job>) {
    let verdicts = listed.iter().map(|listed| match job.is_notification {
        true => suppression::decide_for_notification(listed),
        false => suppression::decide(listed, &job.tags),
    });
    let (mut outcomes, mut wanted) = (Vec::new(), Vec::new());
    for (recipient, verdict) in job.recipients.iter().zip(verdicts) {
        match verdict {
            None => wanted.push(recipient.clone()),
            Some(why) => outcomes.push(RecipientOutcome {
                recipient: recipient.id,
                state: NewState::Failed,
                events: vec![not_tried(recipient, why)],
            }),
        }
    }
    match outcomes.is_empty() {
        true => (outcomes, Cow::Borrowed(job)),
        false => (outcomes, Cow::Owned(Job { recipients: wanted, ..job.clone() })),
    }
}

/// Codes and words as Mailgun's users know them.
fn not_tried(recipient: &ClaimedRecipient, why: Suppressed) -> NewEvent {
    let (code, reason, words) = match why {
        Suppressed::Bounced => (605, FailureReason::SuppressBounce, "Not delivering to previously bounced address"),
        Suppressed::Unsubscribed => (606, FailureReason::SuppressUnsubscribe, "Not delivering to unsubscribed address"),
        Suppressed::Complained => (
            607,
            FailureReason::SuppressComplaint,
            "Not delivering to an address that complained about mail of this domain",
        ),
    };
    let attempt = AttemptRecord {
        enhanced_code: None,
        message: String::new(),
        ..ours(recipient, code, EnhancedCode::new(5, 0, 0), words)
    };
    failure(Severity::Permanent, reason, attempt)
}

/// The content of a message is gone although it was not finished: reported, never silently dropped.
pub(super) fn content_lost(job: &Job) -> Vec<RecipientOutcome> {
    let words = "the content of the message is no longer in the store";
    given_up(job, |recipient| {
        let attempt = ours(recipient, 554, EnhancedCode::new(5, 3, 0), words);
        failure(Severity::Permanent, FailureReason::Generic, attempt)
    })
}

/// What would be sent is no message (RFC 3463 §3.7), and no further attempt would change that.
pub(super) fn refused(job: &Job, words: &str) -> Vec<RecipientOutcome> {
    given_up(job, |recipient| {
        let attempt = ours(recipient, 554, EnhancedCode::new(5, 6, 0), words);
        failure(Severity::Permanent, FailureReason::Generic, attempt)
    })
}

/// The delivery window ended before this attempt began.
pub(super) fn expired(job: &Job) -> Vec<RecipientOutcome> {
    too_late(job, "the delivery window has ended")
}

/// Their time was over before another attempt: told as the end of the schedule, and why.
pub(super) fn too_late(job: &Job, words: &str) -> Vec<RecipientOutcome> {
    given_up(job, |recipient| {
        let attempt = AttemptRecord {
            attempt_no: recipient.attempts,
            code: TOO_OLD,
            enhanced_code: None,
            message: "Too old".to_owned(),
            ..ours(recipient, TOO_OLD, EnhancedCode::new(4, 4, 7), words)
        };
        failure(Severity::Permanent, FailureReason::Old, attempt)
    })
}

fn given_up(job: &Job, event: impl Fn(&ClaimedRecipient) -> NewEvent) -> Vec<RecipientOutcome> {
    let outcome = |recipient: &ClaimedRecipient| RecipientOutcome {
        recipient: recipient.id,
        state: NewState::Failed,
        events: vec![event(recipient)],
    };
    job.recipients.iter().map(outcome).collect()
}

/// How long until the next attempt, if there is one: the schedule knows one, and it lies within the message's window.
fn wait(job: &Job, schedule: &Schedule, attempt_no: u32, now: Timestamp) -> Option<Duration> {
    schedule.wait_within(attempt_no, job.expires_at.map(|end| end.since(now)))
}

/// An attempt failed by a fault of our own: told and counted like any other, so that it cannot go on for ever.
pub(super) fn fault(job: &Job, words: &str, schedule: &Schedule, now: Timestamp) -> Vec<RecipientOutcome> {
    let failed = |recipient: &ClaimedRecipient| {
        let retry_after = wait(job, schedule, recipient.attempts + 1, now);
        let attempt = AttemptRecord { retry_after, ..ours(recipient, 451, EnhancedCode::new(4, 3, 0), words) };
        let (state, last) = match retry_after {
            Some(wait) => (NewState::Deferred { until: now + wait }, None),
            None => (NewState::Failed, Some(old(attempt.clone()))),
        };
        let first = failure(Severity::Temporary, FailureReason::Generic, attempt);
        RecipientOutcome { recipient: recipient.id, state, events: [Some(first), last].into_iter().flatten().collect() }
    };
    job.recipients.iter().map(failed).collect()
}

/// An attempt that came to no host.
fn ours(recipient: &ClaimedRecipient, code: u16, enhanced_code: EnhancedCode, words: &str) -> AttemptRecord {
    AttemptRecord {
        enhanced_code: Some(enhanced_code),
        message: words.to_owned(),
        description: words.to_owned(),
        ..AttemptRecord::unconnected(recipient.attempts + 1, code)
    }
}

/// One line for the operator for each recipient: how it ended and how it travelled. Never a body, never a header.
pub(super) fn log(job: &Job, report: &Report) {
    for (recipient, part) in job.recipients.iter().zip(&report.recipients) {
        let (outcome, code, text) = match &part.outcome {
            Outcome::Delivered(reply) => ("delivered", reply.code(), reply.text()),
            Outcome::Deferred(problem) => ("deferred", problem.code, problem.message.clone()),
            Outcome::Failed(problem) => ("failed", problem.code, problem.message.clone()),
        };
        let connection = part.connection.as_deref();
        tracing::info!(
            outcome,
            recipient = %recipient.address,
            message_id = job.message_id,
            attempt_no = recipient.attempts + 1,
            mx_host = connection.map(|c| c.mx_host.as_str()),
            tls = connection.map(ConnectionReport::tls),
            certificate_verified = connection.map(ConnectionReport::certificate_verified),
            fallback = connection.and_then(|c| c.channel.as_ref()?.fallback()),
            code,
            text,
            "delivery"
        );
    }
}

/// One recipient's part, to be told as events.
struct Told<'a> {
    recipient: &'a ClaimedRecipient,
    part: &'a RecipientReport,
    session: Duration,
    details: serde_json::Value,
}

impl Told<'_> {
    fn attempt_no(&self) -> u32 {
        self.recipient.attempts + 1
    }

    fn delivered(&self, reply: &smtp::Reply) -> NewEvent {
        let attempt = AttemptRecord {
            code: reply.code(),
            enhanced_code: reply.enhanced_code(),
            message: reply.text(),
            ..self.attempt()
        };
        NewEvent { kind: EventKind::Delivered, severity: None, reason: None, attempt: Some(attempt) }
    }

    fn deferred(&self, problem: &Problem, retry_after: Option<Duration>) -> NewEvent {
        let attempt = AttemptRecord { retry_after, ..self.attempt_with(problem) };
        failure(Severity::Temporary, FailureReason::Generic, attempt)
    }

    fn failed(&self, problem: &Problem) -> NewEvent {
        let reason = if problem.from_host { FailureReason::Bounce } else { FailureReason::Generic };
        failure(Severity::Permanent, reason, self.attempt_with(problem))
    }

    /// After the last deferral: its own event has the evidence, this one says that there is no further attempt.
    fn too_old(&self, problem: &Problem) -> NewEvent {
        old(AttemptRecord { code: problem.code, message: problem.message.clone(), ..self.attempt() })
    }

    fn attempt_with(&self, problem: &Problem) -> AttemptRecord {
        AttemptRecord {
            code: problem.code,
            enhanced_code: problem.enhanced_code,
            message: problem.message.clone(),
            description: if problem.from_host { String::new() } else { problem.message.clone() },
            ..self.attempt()
        }
    }

    fn attempt(&self) -> AttemptRecord {
        let connection = self.part.connection.as_deref();
        AttemptRecord {
            attempt_no: self.attempt_no(),
            code: 0,
            enhanced_code: None,
            message: String::new(),
            description: String::new(),
            session: self.session,
            retry_after: None,
            utf8: connection.is_some_and(|c| c.smtputf8),
            connection: connection.map(connection_record),
            details: self.details.clone(),
            last_code: None,
            last_message: None,
        }
    }
}

/// The end of the schedule, after this last attempt.
fn old(last: AttemptRecord) -> NewEvent {
    let attempt = AttemptRecord {
        code: TOO_OLD,
        enhanced_code: None,
        message: "Too old".to_owned(),
        description: String::new(),
        retry_after: None,
        last_code: Some(last.code),
        last_message: Some(last.message),
        ..last
    };
    failure(Severity::Permanent, FailureReason::Old, attempt)
}

fn failure(severity: Severity, reason: FailureReason, attempt: AttemptRecord) -> NewEvent {
    NewEvent { kind: EventKind::Failed, severity: Some(severity), reason: Some(reason), attempt: Some(attempt) }
}

fn connection_record(connection: &ConnectionReport) -> ConnectionRecord {
    ConnectionRecord {
        mx_host: connection.mx_host.clone(),
        tls: connection.tls(),
        certificate_verified: connection.certificate_verified(),
        sending_ip: Some(connection.sending_ip),
    }
}
