//! `/metrics` for Prometheus, on a listener of its own: how the server does, in numbers.
//!
//! No number is of a recipient, a domain or a tenant: labels have few values, all of them words of our own.

mod exposition;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use store::figures::Durations;
use store::{EventKind, Store, Timestamp};

use self::exposition::Exposition;
use crate::queue::Attempts;
use crate::smtpd::certificate::Certificates;

/// Most connections to this listener at the same time.
pub(crate) const CONNECTIONS: usize = 16;

/// Where the numbers come from.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) store: Store,
    pub(crate) attempts: Attempts,
    /// Connections of the HTTP API.
    pub(crate) http: Arc<AtomicUsize>,
    /// What listeners for SMTP show, if there are any.
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) started: SystemTime,
}

/// `GET /metrics`, and nothing else.
pub(crate) fn router(metrics: Metrics) -> Router {
    Router::new().route("/metrics", get(answer)).with_state(metrics)
}

async fn answer(State(metrics): State<Metrics>) -> Response {
    match metrics.write().await {
        Ok(text) => ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::warn!(%error, "metrics: the store cannot be read");
            (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read\n").into_response()
        }
    }
}

impl Metrics {
    async fn write(&self) -> Result<String, store::StoreError> {
        let mut document = Exposition::default();
        self.program(&mut document);
        self.queue(&mut document).await?;
        self.events(&mut document);
        self.store(&mut document);
        Ok(document.finish())
    }

    fn program(&self, document: &mut Exposition) {
        document.family("waxwing_build_info", "gauge", "Which version runs.");
        document.sample("waxwing_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        document.single(
            "waxwing_start_time_seconds",
            "gauge",
            "When the server started, in Unix seconds.",
            self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        );
        document.single(
            "waxwing_http_connections",
            "gauge",
            "Connections of the HTTP API that are open.",
            self.http.load(Ordering::Relaxed),
        );
        if let Some(not_after) = self.certificates.as_ref().and_then(|certificates| certificates.not_after()) {
            document.single(
                "waxwing_certificate_not_after_seconds",
                "gauge",
                "When the certificate that SMTP listeners show ends, in Unix seconds.",
                not_after.as_secs_f64(),
            );
        }
    }

    async fn queue(&self, document: &mut Exposition) -> Result<(), store::StoreError> {
        let figures = self.store.figures().await?;
        let now = Timestamp::now();
        let age = |since: Option<Timestamp>| since.map_or(0.0, |since| now.since(since).as_secs_f64());
        for (name, help, value) in [
            ("waxwing_queue_recipients", "Recipients that wait to be delivered.", figures.queued as f64),
            (
                "waxwing_queue_oldest_seconds",
                "How long ago the mail was accepted that waits longest.",
                age(figures.oldest_accepted_at),
            ),
            (
                "waxwing_queue_overdue_seconds",
                "For how long that recipient is due that is due longest and is not being tried.",
                age(figures.due_at),
            ),
            ("waxwing_attempts_running", "Attempts to deliver that are under way.", self.attempts.running() as f64),
            ("waxwing_webhooks", "Webhooks.", figures.webhooks as f64),
            (
                "waxwing_webhook_retries",
                "Events that a webhook could not be told of, and will be told again.",
                figures.webhook_retries as f64,
            ),
        ] {
            document.single(name, "gauge", help, value);
        }
        Ok(())
    }

    /// Counted by recipients: a message to three of them is accepted three times.
    fn events(&self, document: &mut Exposition) {
        let (mut events, mut deliveries) = (BTreeMap::new(), BTreeMap::new());
        for (what, count) in self.store.happened() {
            if what.kind == EventKind::Delivered.as_str() {
                *deliveries.entry(what.protected).or_insert(0) += count;
            }
            *events.entry((what.kind, what.severity, what.reason)).or_insert(0) += count;
        }
        let name = "waxwing_events_total";
        document.family(name, "counter", "Events since the start, one for each recipient; failed ones are attempts.");
        for ((event, severity, reason), count) in &events {
            document.sample(name, &[("event", event), ("severity", severity), ("reason", reason)], count);
        }
        let name = "waxwing_deliveries_total";
        document.family(name, "counter", "Deliveries since the start by how the message travelled.");
        // All three from the start on, so that a rate is right from the first of each.
        for tls in ["plaintext", "encrypted", "verified"] {
            document.sample(name, &[("tls", tls)], deliveries.get(tls).copied().unwrap_or(0u64));
        }
    }

    fn store(&self, document: &mut Exposition) {
        let name = "waxwing_store_commit_seconds";
        document.family(name, "histogram", "How long transactions that write took, the sync of the disk included.");
        let Durations { within, count, sum } = self.store.commit_durations();
        let bucket = format!("{name}_bucket");
        for (bound, count) in Durations::BOUNDS.iter().zip(within) {
            let bound = (*bound as f64 / 1000.0).to_string();
            document.sample(&bucket, &[("le", &bound)], count);
        }
        document.sample(&bucket, &[("le", "+Inf")], count);
        document.sample(&format!("{name}_sum"), &[], sum.as_secs_f64());
        document.sample(&format!("{name}_count"), &[], count);
        let stats = self.store.stats();
        document.single(
            "waxwing_store_failed_commits_total",
            "counter",
            "Transactions that could not be written.",
            stats.failed_commits,
        );
        document.single(
            "waxwing_store_writable",
            "gauge",
            "0 after the disk failed to write: nothing more is kept until a restart. Else 1.",
            u64::from(self.store.health().is_ok()),
        );
        document.single(
            "waxwing_store_operations_total",
            "counter",
            "Operations that write; several share a transaction.",
            stats.operations,
        );
    }
}
