//! Counts as JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use store::Timestamp;
use store::posture::{Count, Ending, KeptBack, Posture, Protected, Span, Way};

use crate::api::http::time::to_epoch;

/// What shares are made of.
#[derive(Default)]
struct Sums {
    delivered: u64,
    messages: u64,
    plaintext: u64,
    encrypted: u64,
    verified: u64,
    dane: u64,
    mta_sts: u64,
    left: u64,
    failed: u64,
}

impl Sums {
    fn add(&mut self, way: &Way, count: &Count) {
        let recipients = count.recipients;
        match way.ending {
            Ending::Delivered => {
                self.delivered += recipients;
                self.messages += count.messages;
            }
            Ending::Left => self.left += recipients,
            Ending::Failed => self.failed += recipients,
        }
        match way.protected {
            Some(Protected::Plaintext) => self.plaintext += recipients,
            Some(Protected::Encrypted) => self.encrypted += recipients,
            Some(Protected::Verified) => self.verified += recipients,
            None => {}
        }
        self.dane += if way.by_dane { recipients } else { 0 };
        self.mta_sts += if way.by_mta_sts { recipients } else { 0 };
    }

    fn counts(&self) -> Value {
        json!({
            "plaintext": self.plaintext,
            "encrypted": self.encrypted,
            "verified": self.verified,
            "dane": self.dane,
            "mta-sts": self.mta_sts,
        })
    }

    /// Of what was delivered, to four digits; nothing delivered has no shares.
    fn shares(&self) -> Value {
        if self.delivered == 0 {
            return Value::Null;
        }
        let share = |part: u64| (part as f64 / self.delivered as f64 * 1e4).round() / 1e4;
        json!({
            "plaintext": share(self.plaintext),
            "encrypted": share(self.encrypted),
            "verified": share(self.verified),
            "dane": share(self.dane),
            "mta-sts": share(self.mta_sts),
        })
    }

    fn failed_attempts(&self) -> Value {
        json!({ "tls": self.left, "other": self.failed })
    }
}

/// How mail travelled to a destination.
pub(super) fn destination(item: &Posture, resolution: Option<Span>) -> Value {
    let mut sums = Sums::default();
    let (mut versions, mut key_exchanges) = (BTreeMap::new(), BTreeMap::new());
    let (mut fallbacks, mut faults, mut failures) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (way, count) in &item.ways {
        sums.add(way, count);
        tally(&mut versions, &way.version, count);
        tally(&mut key_exchanges, &way.key_exchange, count);
        let reasons = match (way.ending, way.protected) {
            (Ending::Left | Ending::Failed, _) => &mut failures,
            (Ending::Delivered, Some(Protected::Plaintext)) => &mut fallbacks,
            (Ending::Delivered, _) => &mut faults,
        };
        tally(reasons, &way.reason, count);
    }
    let last_seen = item.ways.iter().map(|(_, count)| count.last_at.as_micros()).max().unwrap_or_default();
    let mut object = json!({
        "destination": item.destination,
        "domain": item.domain,
        "delivered": sums.delivered,
        "messages": sums.messages,
        "counts": sums.counts(),
        "shares": sums.shares(),
        "versions": versions,
        "key-exchanges": key_exchanges,
        "fallback-reasons": fallbacks,
        "certificate-faults": faults,
        "failed-attempts": sums.failed_attempts(),
        "failure-reasons": failures,
        "mx-hosts": item.hosts.iter().map(host).collect::<Vec<_>>(),
        "last-seen": to_epoch(last_seen),
    });
    if let Some(span) = resolution {
        object["buckets"] = buckets(item, span);
    }
    object
}

fn tally<'a>(counts: &mut BTreeMap<&'a str, u64>, word: &'a str, count: &Count) {
    if !word.is_empty() {
        *counts.entry(word).or_default() += count.recipients;
    }
}

fn host((name, count): &(String, Count)) -> Value {
    json!({ "host": name, "attempts": count.recipients, "last-seen": to_epoch(count.last_at.as_micros()) })
}

/// Only those hours or days in which anything was attempted.
fn buckets(item: &Posture, span: Span) -> Value {
    let mut by_time: BTreeMap<Timestamp, Sums> = BTreeMap::new();
    for (start, way, count) in &item.over_time {
        by_time.entry(*start).or_default().add(way, count);
    }
    let bucket = |(start, sums): (Timestamp, Sums)| {
        let mut object = Map::new();
        object.insert("begin".to_owned(), to_epoch(start.as_micros()).into());
        object.insert("end".to_owned(), to_epoch((start + span.length()).as_micros()).into());
        object.insert("delivered".to_owned(), sums.delivered.into());
        object.insert("counts".to_owned(), sums.counts());
        object.insert("failed-attempts".to_owned(), sums.failed_attempts());
        Value::Object(object)
    };
    by_time.into_iter().map(bucket).collect()
}

/// A destination to which mail would have been kept back.
pub(super) fn kept_back(item: &KeptBack) -> Value {
    let because = item.because.iter().map(|(observed, reason, mx_host, count)| {
        json!({
            "observed": observed.as_str(),
            "reason": reason,
            "mx-host": mx_host,
            "messages": count.messages,
            "recipients": count.recipients,
            "first": to_epoch(count.first_at.as_micros()),
            "last": to_epoch(count.last_at.as_micros()),
        })
    });
    json!({
        "destination": item.destination,
        "domain": item.domain,
        "messages": item.kept_back.messages,
        "recipients": item.kept_back.recipients,
        "first": to_epoch(item.kept_back.first_at.as_micros()),
        "last": to_epoch(item.kept_back.last_at.as_micros()),
        "still-delivered": item.delivered,
        "because": because.collect::<Vec<_>>(),
    })
}
