//! An event as Mailgun's clients read it, and what we say beyond: `tls-settings`, `delivery-status.tls-details`,
//! `tls-downgrade`.

use serde_json::{Map, Value, json};
use store::{AttachmentSummary, AttemptRecord, Event, EventKind, MessageSummary, Severity};

use crate::api::http::time::to_epoch;

/// The event object.
pub(in crate::api) fn event(event: &Event) -> Value {
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
    put("flags", flags(message));
    put("message", message_object(event.kind, message));
    put("tags", message.tags.as_slice().into());
    put("campaigns", json!([]));
    put("user-variables", Value::Object(message.user_variables.clone()));
    if event.kind == EventKind::Accepted {
        put("tls-settings", tls_settings(message));
        if let Some(ip) = message.originating_ip {
            put("originating-ip", ip.to_string().into());
        }
    }
    if let Some(attempt) = &event.attempt {
        put("delivery-status", delivery_status(attempt));
    }
    if let Some(story) = &event.downgrade {
        put("tls-downgrade", story.clone());
    }
    Value::Object(object)
}

/// How many of the events fit a page of so many octets; one always does.
pub(super) fn that_fit(events: &[Event], octets: usize) -> usize {
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
        EventKind::Accepted => {
            message.recipients.iter().map(|to| to.local_part().len() + to.domain().as_str().len() + 4).sum()
        }
        EventKind::Delivered | EventKind::Failed | EventKind::TlsDowngraded => 0,
    };
    let texts = message.header_to.len() + message.header_from.len() + message.subject.len();
    OTHER_OCTETS + texts + recipients + files.sum::<usize>()
}

fn log_level(event: &Event) -> &'static str {
    match (event.kind, event.severity) {
        (EventKind::Accepted | EventKind::Delivered, _) => "info",
        (EventKind::Failed, Some(Severity::Temporary)) | (EventKind::TlsDowngraded, _) => "warn",
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

fn flags(message: &MessageSummary) -> Value {
    json!({
        "is-authenticated": true,
        "is-routed": false,
        "is-system-test": false,
        "is-test-mode": message.test_mode,
    })
}

fn message_object(kind: EventKind, message: &MessageSummary) -> Value {
    let attachment = |file: &AttachmentSummary| json!({ "filename": file.filename, "content-type": file.content_type, "size": file.size });
    let mut object = json!({
        "headers": {
            "to": message.header_to,
            "message-id": message.message_id,
            "from": message.header_from,
            "subject": message.subject,
        },
        "attachments": message.attachments.iter().map(attachment).collect::<Vec<_>>(),
        "size": message.size,
    });
    if kind == EventKind::Accepted {
        object["recipients"] = message.recipients.iter().map(ToString::to_string).collect::<Vec<_>>().into();
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
