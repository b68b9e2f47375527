//! A sending domain as Mailgun's clients read it. Some of them are strict: a date in another form, or a number where
//! a string belongs, and they give up on the whole answer.

use serde_json::{Value, json};
use store::SendingDomain;
use store::retention::Retention;

use super::fields::{SPAM_ACTION, WEB_PREFIX, WEB_SCHEME};
use crate::api::http::time::to_date;

/// The domain object. What it keeps is what holds, by its own limits and by those for all domains.
pub(super) fn domain(domain: &SendingDomain, general: Retention) -> Value {
    let kept = domain.retention.and(general);
    json!({
        "id": domain.id,
        "name": domain.name.as_str(),
        "state": if domain.verified { "active" } else { "unverified" },
        "type": "custom",
        "created_at": to_date(domain.created_at.as_micros()),
        "is_disabled": false,
        "require_tls": domain.tls.require_tls.unwrap_or(false),
        "skip_verification": domain.tls.skip_verification.unwrap_or(false),
        "tls_fallback": domain.tls.fallback.unwrap_or_default().as_str(),
        "tls_failure": domain.tls.when_left.unwrap_or_default().as_str(),
        "smtp_login": format!("postmaster@{}", domain.name),
        "spam_action": SPAM_ACTION,
        "web_prefix": WEB_PREFIX,
        "web_scheme": WEB_SCHEME,
        "wildcard": false,
        "use_automatic_sender_security": false,
        "encrypt_incoming_message": false,
        "message_ttl": kept.contents.map(|time| time.as_secs()),
        "event_retention": kept.events.map(|time| time.as_secs()),
        "event_limit": kept.most_events,
        "message_limit": kept.most_octets,
    })
}
