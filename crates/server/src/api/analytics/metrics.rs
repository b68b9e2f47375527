//! Metrics: what each counts, and what each share is of.

use std::collections::BTreeMap;

use serde_json::Value;
use store::traffic::What;

/// Sums of what happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sums(BTreeMap<What, u64>);

/// Metrics of Mailgun's that count something which never happens here: nothing is received, stored for pick-up, delivered
/// by HTTP, or held back by a service of the operator's.
const NEVER: [&str; 9] = [
    "accepted_incoming_count",
    "delivered_http_count",
    "delivered_optimized_count",
    "stored_count",
    "rate_limit_count",
    "webhook_count",
    "permanent_failed_optimized_count",
    "delayed_bounce_count",
    "soft_bounces_count",
];

/// Counts: Mailgun's, then ours.
pub(super) const COUNTS: [&str; 29] = [
    "accepted_count",
    "accepted_outgoing_count",
    "delivered_count",
    "delivered_smtp_count",
    "processed_count",
    "sent_count",
    "opened_count",
    "clicked_count",
    "unsubscribed_count",
    "complained_count",
    "failed_count",
    "temporary_failed_count",
    "permanent_failed_count",
    "temporary_failed_esp_block_count",
    "permanent_failed_esp_block_count",
    "permanent_failed_old_count",
    "bounced_count",
    "hard_bounces_count",
    "suppressed_bounces_count",
    "suppressed_unsubscribed_count",
    "suppressed_complaints_count",
    "delivered_first_attempt_count",
    "delayed_first_attempt_count",
    "delivered_subsequent_count",
    "delivered_two_plus_attempts_count",
    // Ours.
    "tls_verified_count",
    "tls_encrypted_count",
    "plaintext_count",
    "tls_count",
];

/// Shares: of what each is a share, and what is shared.
const RATES: [(&str, &str, &str); 12] = [
    ("delivered_rate", "delivered_count", "processed_count"),
    ("opened_rate", "opened_count", "delivered_count"),
    ("clicked_rate", "clicked_count", "delivered_count"),
    ("unsubscribed_rate", "unsubscribed_count", "delivered_count"),
    ("complained_rate", "complained_count", "delivered_count"),
    ("bounce_rate", "bounced_count", "processed_count"),
    ("fail_rate", "failed_count", "processed_count"),
    ("permanent_fail_rate", "permanent_failed_count", "processed_count"),
    ("temporary_fail_rate", "temporary_failed_count", "processed_count"),
    ("delayed_rate", "delayed_first_attempt_count", "accepted_count"),
    ("tls_verified_rate", "tls_verified_count", "delivered_count"),
    ("plaintext_rate", "plaintext_count", "delivered_count"),
];

/// All metrics that count something.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COUNTS.into_iter().chain(RATES.into_iter().map(|(rate, _, _)| rate))
}

/// Whether there is a metric of that name.
pub(super) fn is_metric(name: &str) -> bool {
    NEVER.contains(&name) || COUNTS.contains(&name) || RATES.iter().any(|(rate, _, _)| *rate == name)
}

impl Sums {
    /// Adds what happened so often.
    pub(super) fn add(&mut self, what: &What, count: u64) {
        *self.0.entry(what.clone()).or_default() += count;
    }

    /// How often anything happened that this means.
    pub(super) fn count(&self, means: impl Fn(&What) -> bool) -> u64 {
        self.0.iter().filter(|(what, _)| means(what)).map(|(_, count)| count).sum()
    }

    /// A metric, as its type is at Mailgun: counts are numbers, shares are texts with four digits.
    pub(super) fn metric(&self, name: &str) -> Value {
        let Some((_, part, whole)) = RATES.iter().find(|(rate, _, _)| *rate == name) else {
            return self.named(name).into();
        };
        match self.named(whole) {
            0 => "0.0000".into(),
            whole => format!("{:.4}", self.named(part) as f64 / whole as f64).into(),
        }
    }

    /// A count by its name.
    pub(super) fn named(&self, name: &str) -> u64 {
        let failed = |what: &What, severity: &str| what.kind == "failed" && what.severity == severity;
        let permanent = |what: &What, reason: &str| failed(what, "permanent") && what.reason == reason;
        let is_final = |what: &What| what.kind == "delivered" || failed(what, "permanent");
        self.count(|what| match name {
            "accepted_count" | "accepted_outgoing_count" => what.kind == "accepted",
            "delivered_count" | "delivered_smtp_count" => what.kind == "delivered",
            "processed_count" => is_final(what),
            // What was kept back was not sent.
            "sent_count" => is_final(what) && !what.reason.starts_with("suppress-"),
            "opened_count" => what.kind == "opened",
            "clicked_count" => what.kind == "clicked",
            "unsubscribed_count" => what.kind == "unsubscribed",
            "complained_count" => what.kind == "complained",
            "failed_count" => what.kind == "failed",
            "temporary_failed_count" => failed(what, "temporary"),
            "permanent_failed_count" => failed(what, "permanent"),
            "temporary_failed_esp_block_count" => failed(what, "temporary") && what.reason == "espblock",
            "permanent_failed_esp_block_count" => permanent(what, "espblock"),
            "permanent_failed_old_count" => permanent(what, "old"),
            "bounced_count" | "hard_bounces_count" => permanent(what, "bounce"),
            "suppressed_bounces_count" => permanent(what, "suppress-bounce"),
            "suppressed_unsubscribed_count" => permanent(what, "suppress-unsubscribe"),
            "suppressed_complaints_count" => permanent(what, "suppress-complaint"),
            "delivered_first_attempt_count" => what.kind == "delivered" && what.first_attempt,
            "delayed_first_attempt_count" => failed(what, "temporary") && what.first_attempt,
            "delivered_subsequent_count" | "delivered_two_plus_attempts_count" => {
                what.kind == "delivered" && !what.first_attempt
            }
            "tls_verified_count" => what.protected == "verified",
            "tls_encrypted_count" => what.protected == "encrypted",
            "plaintext_count" => what.protected == "plaintext",
            "tls_count" => matches!(what.protected.as_str(), "verified" | "encrypted"),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums() -> Sums {
        let mut sums = Sums::default();
        for (kind, severity, reason, protected, first_attempt, count) in [
            ("accepted", "", "", "", false, 10),
            ("delivered", "", "", "verified", true, 4),
            ("delivered", "", "", "plaintext", false, 2),
            ("failed", "temporary", "generic", "", true, 3),
            ("failed", "permanent", "bounce", "", true, 1),
            ("failed", "permanent", "suppress-bounce", "", true, 1),
        ] {
            let what = What {
                kind: kind.into(),
                severity: severity.into(),
                reason: reason.into(),
                protected: protected.into(),
                first_attempt,
            };
            sums.add(&what, count);
        }
        sums
    }

    #[test]
    fn metrics_count_what_they_say() {
        let sums = sums();
        for (name, value) in [
            ("accepted_count", 10),
            ("delivered_count", 6),
            ("processed_count", 8),
            ("sent_count", 7),
            ("failed_count", 5),
            ("temporary_failed_count", 3),
            ("permanent_failed_count", 2),
            ("bounced_count", 1),
            ("suppressed_bounces_count", 1),
            ("delivered_first_attempt_count", 4),
            ("delivered_subsequent_count", 2),
            ("delayed_first_attempt_count", 3),
            ("tls_verified_count", 4),
            ("tls_encrypted_count", 0),
            ("plaintext_count", 2),
            ("tls_count", 4),
            ("opened_count", 0),
            ("stored_count", 0),
        ] {
            assert_eq!(sums.metric(name), value, "{name}");
            assert!(is_metric(name), "{name}");
        }
        assert_eq!(sums.metric("delivered_rate"), "0.7500");
        assert_eq!(sums.metric("plaintext_rate"), "0.3333");
        assert_eq!(Sums::default().metric("delivered_rate"), "0.0000");
        assert!(!is_metric("unique_opened_count"));
    }

    /// A name that no arm knows would count nothing for ever.
    #[test]
    fn every_count_counts_something() {
        let mut all = sums();
        let kinds = ["opened", "clicked", "unsubscribed", "complained"];
        let whats = kinds.map(|kind| What { kind: kind.into(), ..What::default() }).into_iter();
        let failed = |severity: &str, reason: &str| What {
            kind: "failed".into(),
            severity: severity.into(),
            reason: reason.into(),
            ..What::default()
        };
        let reasons = ["espblock", "old", "suppress-unsubscribe", "suppress-complaint"].map(|r| failed("permanent", r));
        let encrypted = What { kind: "delivered".into(), protected: "encrypted".into(), ..What::default() };
        for what in whats.chain(reasons).chain([failed("temporary", "espblock"), encrypted]) {
            all.add(&what, 1);
        }
        for name in COUNTS {
            assert!(all.named(name) > 0, "{name}");
        }
    }
}
