//! Telling a URL of an event that never happened, to see what it answers.

use std::sync::Arc;
use std::time::Duration;

use delivery::web::Web;
use serde_json::{Value, json};
use smtp::Domain;
use store::webhook::Subject;
use store::{Store, Timestamp};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::payload::signed;
use super::{new_signing_key, word};
use crate::api::http::error::ApiError;
use crate::api::http::time::to_epoch;
use crate::api::limits::{WEBHOOK_TEST_TIME, WEBHOOK_TESTS_AT_ONCE};

/// Tells URLs on request.
#[derive(Clone)]
pub(in crate::api) struct Tester {
    web: Option<Web>,
    slots: Arc<Semaphore>,
}

impl std::fmt::Debug for Tester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tester")
    }
}

impl Tester {
    /// Without a client it tells nobody.
    pub(in crate::api) fn new(web: Option<Web>) -> Tester {
        Tester { web, slots: Arc::new(Semaphore::new(WEBHOOK_TESTS_AT_ONCE)) }
    }

    /// What came of it: the status, or 0 when there was no answer, and words.
    pub(super) async fn tell(
        &self,
        store: &Store,
        domain: &Domain,
        subject: Subject,
        url: &str,
    ) -> Result<Value, ApiError> {
        let Some(web) = &self.web else {
            return Ok(json!({ "code": 0, "message": "this server tells nobody" }));
        };
        let _slot = self.slots.try_acquire().map_err(|_| ApiError::unavailable())?;
        let new = new_signing_key().ok_or_else(ApiError::internal)?;
        let (key, now) = (store.signing_key(new).await?, Timestamp::now());
        let event = sample(domain, subject, now);
        let body = signed(&key, event, now.as_micros() / 1_000_000).ok_or_else(ApiError::internal)?;
        let place = crate::webhooks::place(url).map_err(|error| ApiError::bad_request(error.words))?;
        let posting = async { web.connect(&place).await?.post(&place, "application/json", body).await };
        let patience: Duration = WEBHOOK_TEST_TIME;
        Ok(match timeout(patience, posting).await {
            Ok(Ok(status)) => json!({ "code": status.as_u16(), "message": format!("answered {}", status.as_u16()) }),
            Ok(Err(error)) => json!({ "code": 0, "message": error.words }),
            Err(_) => json!({ "code": 0, "message": format!("no answer within {} s", patience.as_secs()) }),
        })
    }
}

/// An event of the kind, about nobody; `is-test-mode` and its id say so.
fn sample(domain: &Domain, subject: Subject, now: Timestamp) -> Value {
    let (event, severity) = match subject {
        Subject::FailedTemporarily => ("failed", Some("temporary")),
        Subject::FailedPermanently => ("failed", Some("permanent")),
        other => (word(other), None),
    };
    let mut sample = json!({
        "event": event,
        "id": format!("test-{}", now.as_micros()),
        "timestamp": to_epoch(now.as_micros()),
        "log-level": "info",
        "recipient": "alice@example.com",
        "recipient-domain": "example.com",
        "envelope": { "sender": format!("bob@{domain}"), "targets": "alice@example.com", "transport": "smtp" },
        "flags": { "is-authenticated": true, "is-routed": false, "is-system-test": true, "is-test-mode": true },
        "message": {
            "headers": {
                "to": "alice@example.com",
                "from": format!("bob@{domain}"),
                "message-id": format!("test@{domain}"),
                "subject": "A test of this webhook",
            },
            "attachments": [],
            "size": 0,
        },
        "tags": [],
        "campaigns": [],
        "user-variables": {},
    });
    if let Some(severity) = severity {
        sample["severity"] = severity.into();
        sample["reason"] = "generic".into();
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_of_the_kind_that_was_asked_for() {
        let domain = "example.org".parse().unwrap();
        let kind = |subject| {
            let sample = sample(&domain, subject, Timestamp::from_secs(1));
            (sample["event"].as_str().unwrap().to_owned(), sample["severity"].as_str().map(str::to_owned))
        };
        assert_eq!(kind(Subject::Clicked), ("clicked".to_owned(), None));
        assert_eq!(kind(Subject::FailedPermanently), ("failed".to_owned(), Some("permanent".to_owned())));
    }
}
