//! An event as Mailgun's clients read it, and what we say beyond: `tls-settings`, `delivery-status.tls-details`,
//! `tls-downgrade`.

use message::Mailbox;
use serde_json::{Map, Value, json};
use store::template::TemplateUse;
use store::tracking::Interaction;
use store::{AttachmentSummary, AttemptRecord, Event, EventKind, IndividualCopy, MessageSummary, Severity};

use crate::api::http::time::to_epoch;
use crate::api::stored::{key_of, url_of};
use crate::copies::{Placeholders, USER_VARIABLES_OCTETS};

/// The event object, with links that start with `base`.
pub(in crate::api) fn event(event: &Event, base: &str) -> Value {
    let message = &*event.message;
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        object.insert(name.to_owned(), value);
    };
    put("event", event.kind.as_str().into());
    put("id", event.key.as_str().into());
    put("timestamp", to_epoch(event.timestamp.as_micros()).into());
    put("log-level", log_level(event).into());
    if let Some(severity) = event.severity {
        put("severity", severity.as_str().into());
    }
    if let Some(reason) = event.reason {
        put("reason", reason.as_str().into());
    }
    put("method", message.method.as_str().into());
    put("recipient", event.recipient.to_string().into());
    put("recipient-domain", event.recipient.domain().as_str().into());
    put("envelope", envelope(event));
    put("flags", flags(event));
    let (subject, variables) = words_for(message, event.copy.as_ref());
    put("message", message_object(event, subject));
    let key = key_of(event);
    put("storage", json!({ "url": url_of(base, &message.domain, &key), "key": key }));
    if let Some(TemplateUse { name, version, is_text }) = &message.template {
        put("template", json!({ "name": name, "version": version, "is-text": is_text }));
    }
    put("tags", message.tags.as_slice().into());
    put("campaigns", json!([]));
    put("user-variables", Value::Object(variables));
    if event.kind == EventKind::Accepted {
        put("tls-settings", tls_settings(message));
        if let Some(ip) = message.originating_ip {
            put("originating-ip", ip.to_string().into());
        }
    }
    if let Some(Interaction { ip, url, client }) = &event.interaction {
        if let Some(ip) = ip {
            put("ip", ip.to_string().into());
        }
        if let Some(url) = url {
            put("url", url.as_str().into());
        }
        put("client-info", client.clone());
    }
    if let Some(attempt) = &event.attempt {
        let mut status = delivery_status(attempt);
        if let Some(report) = &event.report {
            status["bounce-code"] = attempt.enhanced_code.map(|code| code.to_string()).into();
            status["bounce-report"] = report.clone();
        }
        put("delivery-status", status);
    }
    if let (EventKind::Complained, Some(report)) = (event.kind, &event.report) {
        put("feedback-report", report.clone());
    }
    if let Some(story) = &event.downgrade {
        put("tls-downgrade", story.clone());
    }
    Value::Object(object)
}

/// How many of the events fit a page of so many octets; one always does.
pub(in crate::api) fn that_fit(events: &[Event], octets: usize) -> usize {
    let mut left = octets;
    let fits = |event: &&Event| {
        let fits = weight(event) <= left;
        left = left.saturating_sub(weight(event));
        fits
    };
    events.iter().take_while(fits).count().max(1)
}

/// Octets of an event that others may make many; about, since JSON escapes some of them.
fn weight(event: &Event) -> usize {
    const OTHER_OCTETS: usize = 4096;
    let message = &*event.message;
    let files = message.attachments.iter().map(|file| file.filename.len() + file.content_type.len() + 64);
    let recipients = match event.kind {
        EventKind::Accepted if !message.is_individual => {
            message.recipients.iter().map(|to| to.local_part().len() + to.domain().as_str().len() + 4).sum()
        }
        _ => 0,
    };
    let copy = event.copy.as_ref().map_or(0, |copy| copy.variables.len() * 64);
    let texts = message.header_to.len() + message.header_from.len() + message.subject.len();
    let url = event.interaction.as_ref().and_then(|done| done.url.as_ref()).map_or(0, String::len);
    OTHER_OCTETS + texts + url + recipients + copy + files.sum::<usize>()
}

fn log_level(event: &Event) -> &'static str {
    match (event.kind, event.severity) {
        (EventKind::Accepted | EventKind::Delivered | EventKind::Opened, _) => "info",
        (EventKind::Clicked | EventKind::Unsubscribed, _) => "info",
        (EventKind::Failed, Some(Severity::Temporary)) | (EventKind::TlsDowngraded | EventKind::Complained, _) => {
            "warn"
        }
        (EventKind::Failed, _) => "error",
    }
}

fn envelope(event: &Event) -> Value {
    let mut envelope = json!({
        "sender": event.message.return_path,
        "targets": event.recipient.to_string(),
        "transport": "smtp",
    });
    let connection = event.attempt.as_ref().and_then(|attempt| attempt.connection.as_ref());
    if let Some(ip) = connection.and_then(|connection| connection.sending_ip) {
        envelope["sending-ip"] = ip.to_string().into();
    }
    envelope
}

fn flags(event: &Event) -> Value {
    let mut flags = json!({
        "is-authenticated": true,
        "is-routed": false,
        "is-system-test": false,
        "is-test-mode": event.message.test_mode,
    });
    if event.kind == EventKind::Failed && event.report.is_some() {
        flags["is-delayed-bounce"] = true.into();
    }
    flags
}

/// The subject and the application's variables, with a recipient's own words in them where it has a copy.
pub(in crate::api) fn words_for(
    message: &MessageSummary,
    copy: Option<&IndividualCopy>,
) -> (String, Map<String, Value>) {
    const SUBJECT_OCTETS: usize = 16 * 1024;
    let (subject, variables) = (&message.subject, &message.user_variables);
    let filled = |copy: &IndividualCopy| {
        let to: Mailbox = copy.to.parse().ok()?;
        let placeholders = Placeholders::new(&to, &copy.variables);
        let subject = placeholders.fill(subject, SUBJECT_OCTETS).ok()?.unwrap_or_else(|| subject.clone());
        let filled = placeholders.fill_values(variables, USER_VARIABLES_OCTETS);
        Some((subject, filled.unwrap_or_else(|_| variables.clone())))
    };
    copy.and_then(filled).unwrap_or_else(|| (subject.clone(), variables.clone()))
}

fn message_object(event: &Event, subject: String) -> Value {
    let message = &*event.message;
    let attachment = |file: &AttachmentSummary| json!({ "filename": file.filename, "content-type": file.content_type, "size": file.size });
    let mut object = json!({
        "headers": {
            "to": event.copy.as_ref().map_or(&message.header_to, |copy| &copy.to),
            "message-id": message.message_id,
            "from": message.header_from,
            "subject": subject,
        },
        "attachments": message.attachments.iter().map(attachment).collect::<Vec<_>>(),
        "size": message.size,
    });
    if event.kind == EventKind::Accepted {
        // Who has a copy of its own has it alone.
        let own = std::slice::from_ref(&event.recipient);
        let recipients = if message.is_individual { own } else { &message.recipients };
        object["recipients"] = recipients.iter().map(ToString::to_string).collect::<Vec<_>>().into();
        if let Some(at) = message.deliver_at {
            // Whole seconds: some clients read an integer here.
            object["scheduled-for"] = at.as_micros().div_euclid(1_000_000).into();
        }
    }
    object
}

/// What was asked for, message over domain, and who asked for it.
fn tls_settings(message: &MessageSummary) -> Value {
    let tls = message.tls;
    json!({
        "require-tls": tls.policy.require_tls(),
        "require-tls-from": tls.require_tls_from,
        "skip-verification": tls.policy.skip_verification(),
        "skip-verification-from": tls.skip_verification_from,
        "tls-fallback": tls.fallback,
        "tls-failure": tls.when_left,
        "tls-tag": tls.tag,
    })
}

/// `tls`, `certificate-verified` and `mx-host` are told only where there was a connection: "no" is not "unknown".
fn delivery_status(attempt: &AttemptRecord) -> Value {
    let mut status = Map::new();
    let mut put = |name: &str, value: Value| {
        status.insert(name.to_owned(), value);
    };
    if let Some(connection) = &attempt.connection {
        put("tls", connection.tls.into());
        put("certificate-verified", connection.certificate_verified.into());
        put("mx-host", connection.mx_host.as_str().into());
    }
    put("code", attempt.code.into());
    if let Some(code) = attempt.enhanced_code {
        put("enhanced-code", code.to_string().into());
    }
    put("message", attempt.message.as_str().into());
    put("description", attempt.description.as_str().into());
    put("attempt-no", attempt.attempt_no.into());
    put("session-seconds", attempt.session.as_secs_f64().into());
    if let Some(after) = attempt.retry_after {
        put("retry-seconds", after.as_secs().into());
    }
    put("utf8", attempt.utf8.into());
    if let Some(code) = attempt.last_code {
        put("last-code", code.into());
    }
    if let Some(message) = &attempt.last_message {
        put("last-message", message.as_str().into());
    }
    if !attempt.details.is_null() {
        put("tls-details", attempt.details.clone());
    }
    Value::Object(status)
}
