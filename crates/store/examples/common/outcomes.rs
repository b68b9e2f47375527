//! Outcomes that examples record.

use std::time::Duration;

use store::{AttemptRecord, ConnectionRecord, EventKind, Job, NewEvent, NewState, RecipientOutcome};

/// What comes of a job at a host that takes it, with the evidence that such an attempt has.
pub(crate) fn outcomes(job: &Job) -> Vec<RecipientOutcome> {
    let attempt = AttemptRecord {
        message: "2.0.0 OK queued".to_owned(),
        session: Duration::from_millis(12),
        connection: Some(ConnectionRecord {
            mx_host: "mx.test".to_owned(),
            tls: true,
            certificate_verified: true,
            sending_ip: Some([127, 0, 0, 1].into()),
        }),
        details: serde_json::json!({
            "verification": "ok", "version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "key-exchange": "X25519MLKEM768",
            "observed": "verified", "require-tls": false, "skip-verification": false, "reused": true,
            "certificate": {"subject": "CN=mx.test", "issuer": "CN=test CA", "not-before": "2026-11-22T00:00:00Z",
                "not-after": "2026-12-22T00:00:00Z", "sha256": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
            "steps": [{"host": "mx.test", "address": "127.0.0.1", "result": "delivered"}],
        }),
        ..AttemptRecord::unconnected(1, 250)
    };
    let event = NewEvent { kind: EventKind::Delivered, severity: None, reason: None, attempt: Some(attempt) };
    let outcome = |id| RecipientOutcome { recipient: id, state: NewState::Relayed, events: vec![event.clone()] };
    job.recipients.iter().map(|recipient| outcome(recipient.id)).collect()
}
