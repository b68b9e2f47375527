//! What needs somebody, in words: made of what the API tells.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use maud::Markup;
use serde_json::Value;
use store::Timestamp;

use super::client::{Refusal, segment, with_query};
use super::json::Look;
use super::logs::reason;
use super::parts::{Tone, mark, shown};
use super::session::Viewer;

/// Most items of one kind; the link leads to the others.
const OF_A_KIND: usize = 5;
/// How long before its end a certificate is told of, in seconds.
const ENDS_SOON: i64 = 14 * 86_400;
/// Latest verified deliveries whose certificates are looked at.
const DELIVERIES: &str = "300";

/// Something that needs somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Whether mail is lost or kept back by it.
    pub(super) is_grave: bool,
    /// The sentence.
    pub(super) text: String,
    /// Where more stands: a name and an address.
    pub(super) link: Option<(&'static str, String)>,
}

impl Item {
    /// How grave it is, as a mark.
    pub(super) fn mark(&self) -> Markup {
        if self.is_grave { mark(Tone::Bad, "problem") } else { mark(Tone::Fair, "look") }
    }
}

/// What is found by reading many events, for each who may see them: looked for now and then, and never waited for.
#[derive(Debug, Default)]
pub(super) struct Found(Mutex<HashMap<Option<String>, Search>>);

#[derive(Debug)]
struct Search {
    began: Instant,
    items: Vec<Item>,
}

/// How long what was found in events is good enough.
const FOUND_TIME: Duration = Duration::from_secs(300);

impl Found {
    /// What was found last. Where that is long ago, or never was, somebody looks anew meanwhile.
    fn items(&self, viewer: &Viewer, now: i64) -> Vec<Item> {
        let whose = viewer.domain().map(str::to_owned);
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let items = found.get(&whose).map(|search| search.items.clone()).unwrap_or_default();
        if found.get(&whose).is_none_or(|search| search.began.elapsed() > FOUND_TIME) {
            found.retain(|_, search| search.began.elapsed() < 2 * FOUND_TIME);
            found.insert(whose.clone(), Search { began: Instant::now(), items: items.clone() });
            let viewer = viewer.clone();
            tokio::spawn(async move {
                match of_events(&viewer, now).await {
                    Ok(items) => {
                        let mut found = viewer.console.0.found.0.lock().unwrap_or_else(PoisonError::into_inner);
                        found.insert(whose, Search { began: Instant::now(), items });
                    }
                    Err(refusal) => tracing::warn!(words = refusal.message, "events could not be looked through"),
                }
            });
        }
        items
    }
}

async fn of_events(viewer: &Viewer, now: i64) -> Result<Vec<Item>, Refusal> {
    let week = (now - 7 * 86_400).to_string();
    let since = [("end", week.as_str()), ("ascending", "no")];
    let downgrades = [since[0], since[1], ("event", "tls-downgraded"), ("limit", "10")];
    let verified = [since[0], since[1], ("event", "delivered"), ("certificate-verified", "yes"), ("limit", DELIVERIES)];
    let downgrades = viewer.api().get(&with_query("/v1/events", &downgrades)).await?;
    let verified = viewer.api().get(&with_query("/v1/events", &verified)).await?;
    let mut items = of_downgrades(downgrades.items("/items"), now);
    items.extend(of_certificates(verified.items("/items"), now));
    Ok(items)
}

/// All that needs somebody, gravest first. `status` is what the server says of itself, for those who may know it.
pub(super) async fn items(viewer: &Viewer, status: &Value) -> Result<Vec<Item>, Refusal> {
    let now = Timestamp::now().as_micros() / 1_000_000;
    let day = (now - 86_400).to_string();
    let destinations = with_query("/v1/tls/destinations", &[("begin", &day), ("limit", "100")]);
    let destinations = viewer.api().get(&destinations).await?;
    let domains = match viewer.domain() {
        None => viewer.api().get("/v4/domains?state=unverified&limit=100").await?,
        Some(own) => {
            serde_json::json!({ "items": [viewer.api().get(&format!("/v4/domains/{}", segment(own))).await?["domain"]] })
        }
    };
    let mut items = of_server(status);
    items.extend(of_destinations(destinations.items("/items")));
    items.extend(viewer.console.0.found.items(viewer, now));
    items.extend(of_domains(domains.items("/items")));
    items.sort_by_key(|item| !item.is_grave);
    Ok(items)
}

/// The server's own state.
fn of_server(status: &Value) -> Vec<Item> {
    let mut items = Vec::new();
    if let Some(problem) = status.some("/store/problem").and_then(Value::as_str) {
        let text =
            format!("Nothing can be kept, and no mail is accepted, until the server is started again: {problem}");
        items.push(Item { is_grave: true, text, link: None });
    }
    if status.some("/dnssec/on") == Some(&Value::Bool(false)) {
        let text = format!("DNSSEC, and DANE with it, is {}.", shown(status.text("/dnssec/status"), 300));
        items.push(Item { is_grave: false, text, link: None });
    }
    items
}

/// Destinations of the last day where nothing arrives, or TLS keeps mail back.
fn of_destinations(destinations: &[Value]) -> Vec<Item> {
    let link = |one: &Value| {
        let path = format!("/destinations/{}", segment(one.text("/destination")));
        Some(("How it travelled", with_query(&path, &[("domain", one.text("/domain")), ("period", "day")])))
    };
    let attempts = |count: i64| if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") };
    let failing = destinations.iter().filter_map(|one| {
        let (tls, other) = (one.number("/failed-attempts/tls"), one.number("/failed-attempts/other"));
        let name = shown(one.text("/destination"), 80);
        let from = one.text("/domain");
        let why = one.parts("/failure-reasons").into_iter().max_by_key(|(_, count)| count.as_u64());
        let why = why.map(|(code, _)| reason(code).map_or_else(|| shown(code, 60), str::to_owned));
        let because = why.map(|why| format!(" ({why})")).unwrap_or_default();
        let text = match (one.number("/delivered"), tls, other) {
            (_, 1.., _) => format!(
                "Mail from {from} to {name} is kept back for want of TLS: {} in the last day{because}.",
                attempts(tls)
            ),
            (0, 0, 1..) => {
                format!("Nothing from {from} reached {name} in the last day: {} failed{because}.", attempts(other))
            }
            _ => return None,
        };
        Some(Item { is_grave: true, text, link: link(one) })
    });
    failing.take(OF_A_KIND).collect()
}

/// Destinations that did verified TLS and stopped, in the last week.
fn of_downgrades(events: &[Value], now: i64) -> Vec<Item> {
    let mut told = BTreeSet::new();
    let recent = events.iter().filter(|event| event.number("/timestamp") > now - 7 * 86_400);
    let fresh = recent.filter(|event| told.insert(event.text("/tls-downgrade/destination").to_owned()));
    let item = |event: &Value| {
        let (destination, host) = (event.text("/tls-downgrade/destination"), event.text("/tls-downgrade/mx-host"));
        let text = format!(
            "{} did verified TLS until lately, and {} no longer does.",
            shown(destination, 80),
            shown(host, 80)
        );
        Item { is_grave: false, text, link: Some(("Events", with_query("/logs", &[("event", "tls-downgraded")]))) }
    };
    fresh.take(OF_A_KIND).map(item).collect()
}

/// Certificates that end soon, of servers that mail is only sent to because they are valid.
fn of_certificates(events: &[Value], now: i64) -> Vec<Item> {
    let mut told = BTreeSet::new();
    let required = events.iter().filter(|event| event.is("/delivery-status/tls-details/policy/require-tls"));
    let ending = required.filter_map(|event| {
        let host = event.text("/delivery-status/mx-host");
        // The newest first: a certificate that took the place of another is seen before it.
        if !told.insert(host) {
            return None;
        }
        let ends: jiff::Timestamp = event.text("/delivery-status/tls-details/certificate/not-after").parse().ok()?;
        let left = ends.as_second() - now;
        let days = left.max(0) / 86_400;
        let text = format!(
            "The certificate of {} ends in {days} days. {} requires TLS there, so its mail will wait if it is not renewed.",
            shown(host, 80),
            event.text("/domain/name"),
        );
        let link = Some(("Its domain", format!("/destinations/{}", segment(event.text("/recipient-domain")))));
        (left < ENDS_SOON).then_some(Item { is_grave: false, text, link })
    });
    ending.take(OF_A_KIND).collect()
}

/// Sending domains whose DNS records were not all there when they were last looked for.
fn of_domains(domains: &[Value]) -> Vec<Item> {
    let unverified = domains.iter().filter(|domain| domain.text("/state") == "unverified");
    let item = |domain: &Value| {
        let name = domain.text("/name");
        let text = format!("The DNS records of {name} were not all there when they were last looked for.");
        Item { is_grave: false, text, link: Some(("DNS records", format!("/sending/domains/{}", segment(name)))) }
    };
    unverified.take(OF_A_KIND).map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(items: Vec<Item>) -> Vec<String> {
        items.into_iter().map(|item| item.text).collect()
    }

    #[test]
    fn the_server_tells_what_is_wrong_with_it() {
        assert_eq!(of_server(&Value::Null), []);
        let fine = json!({ "dnssec": { "on": true, "status": "validating" }, "store": { "problem": null } });
        assert_eq!(of_server(&fine), []);
        let broken =
            json!({ "dnssec": { "on": false, "status": "off, because it is" }, "store": { "problem": "the disk" } });
        let items = of_server(&broken);
        assert!(items[0].is_grave && items[0].text.ends_with("the disk"));
        assert_eq!(items[1].text, "DNSSEC, and DANE with it, is off, because it is.");
    }

    #[test]
    fn destinations_that_fail_are_named_and_others_are_not() {
        let one = |delivered: u64, tls: u64, other: u64| {
            json!({ "destination": "d.example", "domain": "s.example", "delivered": delivered,
                "failed-attempts": { "tls": tls, "other": other }, "failure-reasons": { "starttls-not-supported": tls } })
        };
        assert!(of_destinations(&[one(5, 0, 0), one(5, 0, 9), one(0, 0, 0)]).is_empty());
        let told = texts(of_destinations(&[one(5, 2, 0), one(0, 0, 3)]));
        assert_eq!(
            told[0],
            "Mail from s.example to d.example is kept back for want of TLS: 2 attempts in the last day (the server does not offer STARTTLS)."
        );
        assert!(told[1].starts_with("Nothing from s.example reached d.example in the last day: 3 attempts failed"));
        assert_eq!(of_destinations(&vec![one(0, 1, 0); 50]).len(), OF_A_KIND);
    }

    #[test]
    fn a_certificate_is_told_of_where_mail_hangs_on_it() {
        let now = 1_795_478_400; // 24 November 2026
        let event = |host: &str, requires: bool, ends: &str| {
            let details = json!({ "policy": { "require-tls": requires }, "certificate": { "not-after": ends } });
            json!({ "domain": { "name": "s.example" }, "recipient-domain": "d.example",
                "delivery-status": { "mx-host": host, "tls-details": details } })
        };
        let events = [
            event("soon", true, "2026-11-30T00:00:00Z"),
            event("renewed", true, "2027-02-01T00:00:00Z"),
            event("renewed", true, "2026-11-25T00:00:00Z"),
            event("not-required", false, "2026-11-25T00:00:00Z"),
            event("unreadable", true, "soon"),
        ];
        let told = texts(of_certificates(&events, now));
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("The certificate of soon ends in 6 days. s.example requires TLS there"),
            "{told:?}"
        );
    }

    #[test]
    fn old_downgrades_and_verified_domains_need_nobody() {
        let event =
            |at: i64| json!({ "timestamp": at, "tls-downgrade": { "destination": "d.example", "mx-host": "mx" } });
        assert_eq!(of_downgrades(&[event(1_000_000), event(999_000)], 1_000_100).len(), 1);
        assert!(of_downgrades(&[event(1)], 1_000_000).is_empty());
        let domains =
            [json!({ "name": "a.example", "state": "active" }), json!({ "name": "b.example", "state": "unverified" })];
        assert_eq!(of_domains(&domains).len(), 1);
    }
}
