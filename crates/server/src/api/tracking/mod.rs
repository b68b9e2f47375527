//! What recipients do with messages: what a domain wants to know of it, and the links that tell it.

mod calls;
mod settings;
mod unsubscribe;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use store::tracking::{Interaction, TrackedCopy, TrackingSettings};
use store::{EventKind, Store};
use tokio::sync::Semaphore;
use url::Url;

use self::calls::{click, open};
use super::http::error::ApiError;
use super::limits::{TRACKED_ADDRESSES, TRACKED_AT_ONCE, TRACKED_PER_MINUTE, UNSUBSCRIBED_AT_ONCE};
use super::operation::{Access, Operation};
use super::schema::{any_object, binary, choice, switch, text};
use crate::tracking::{Seals, Tracking, Wanted};

/// How long a stop waits for what was not written yet.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What can be called about tracking, most of it by the programs of recipients.
pub(super) fn operations() -> Vec<Operation> {
    let active = || choice(["yes", "no", "true", "false", "htmlonly"]).example("no");
    let token = || text().about("As the link has it");
    let settings = [
        Operation::get("/v3/domains/{domain}/tracking", "readTracking", settings::read)
            .summary("What a domain wants to know of what recipients do")
            .ok("The settings", any_object()),
        Operation::put("/v3/domains/{domain}/tracking/open", "updateOpenTracking", settings::update_opens)
            .summary("Whether openings are tracked")
            .form([
                ("active", switch().example("no")),
                ("place_at_the_top", switch().about("The picture before the text")),
            ])
            .ok("Changed, for messages accepted from now on", any_object()),
        Operation::put("/v3/domains/{domain}/tracking/click", "updateClickTracking", settings::update_clicks)
            .summary("Whether links are tracked; htmlonly leaves plain text as it is")
            .form([("active", active())])
            .ok("Changed, for messages accepted from now on", any_object()),
        Operation::put(
            "/v3/domains/{domain}/tracking/unsubscribe",
            "updateUnsubscribes",
            settings::update_unsubscribes,
        )
        .summary("Whether messages tell how to unsubscribe, and in which words")
        .form([
            ("active", switch().example("no")),
            ("html_footer", text().about("HTML that ends messages which do not tell it themselves")),
            ("text_footer", text().about("The same in plain text")),
        ])
        .ok("Changed, for messages accepted from now on", any_object()),
    ];
    let calls = [
        Operation::get("/t/o/{token}", "trackOpen", open)
            .summary("The picture that tells of an opening; made for each recipient of a message")
            .access(Access::Open)
            .path("token", token())
            .answer_as(200, "The picture", "image/gif", binary())
            .answer(404, "There is no such link"),
        Operation::get("/t/c/{token}", "trackClick", click)
            .summary("A link of a message; made for each recipient")
            .access(Access::Open)
            .path("token", token())
            .answer(302, "To where the link leads")
            .answer(404, "There is no such link")
            .answer(503, "Where it leads cannot be told now"),
        Operation::get("/t/u/{token}", "askUnsubscribe", unsubscribe::ask)
            .summary("The page that asks whether to unsubscribe; made for each recipient of a message")
            .access(Access::Open)
            .path("token", token())
            .answer_as(200, "The page", "text/html", text())
            .answer(404, "There is no such link"),
        Operation::post("/t/u/{token}", "unsubscribe", unsubscribe::unsubscribe)
            .summary("Unsubscribes the recipient (RFC 8058)")
            .access(Access::Open)
            .path("token", token())
            .form([("List-Unsubscribe", choice(["One-Click"]).required())])
            .answer_as(200, "The recipient is unsubscribed", "text/html", text())
            .answer(404, "There is no such link"),
    ];
    settings.map(Operation::twin).into_iter().chain(calls).collect()
}

/// What all links have in common, and what waits to be written of them.
#[derive(Debug)]
pub(crate) struct Tracker {
    base: Option<Url>,
    seals: Seals,
    /// Shared out among events that are not written yet.
    unwritten: Arc<Semaphore>,
    /// Shared out among those who unsubscribe.
    unsubscribing: Semaphore,
    rate: Rate,
}

impl Tracker {
    /// `base` is where links lead to; without it nothing is tracked.
    pub(super) fn new(base: Option<Url>) -> Tracker {
        let unwritten = Arc::new(Semaphore::new(TRACKED_AT_ONCE));
        let unsubscribing = Semaphore::new(UNSUBSCRIBED_AT_ONCE);
        Tracker { base, seals: Seals::default(), unwritten, unsubscribing, rate: Rate::default() }
    }

    /// What a message tracks. To ask for what cannot be had is refused; what a domain asks for all its mail is left out.
    pub(crate) fn resolve(&self, wanted: Wanted, domain: &TrackingSettings) -> Result<Option<Tracking>, ApiError> {
        if wanted.asks() {
            self.needs_base()?;
        }
        Ok(Tracking::resolve(wanted, domain, self.base.as_ref()))
    }

    fn needs_base(&self) -> Result<(), ApiError> {
        let text = "tracking is not possible here: neither 'tracking_url' nor 'public_url' is configured";
        self.base.as_ref().map(|_| ()).ok_or_else(|| ApiError::bad_request(text))
    }

    /// Has the event of it written, without waiting. There are limits, so that nobody can fill the store with what he does to
    /// his own copy: what exceeds them is not told.
    fn tell(&self, store: &Store, copy: TrackedCopy, kind: EventKind, interaction: Interaction) {
        if !interaction.ip.is_none_or(|ip| self.rate.admits(ip, Instant::now())) {
            return;
        }
        let Ok(share) = self.unwritten.clone().try_acquire_owned() else {
            tracing::warn!(event = kind.as_str(), "too many events wait to be written: one is left out");
            return;
        };
        let store = store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.record_interaction(copy, kind, interaction).await {
                tracing::warn!(%error, event = kind.as_str(), "an event cannot be written");
            }
            drop(share);
        });
    }

    /// Waits for what is being written.
    pub(crate) async fn finish(&self) {
        let all = self.unwritten.acquire_many(TRACKED_AT_ONCE as u32);
        let _ = tokio::time::timeout(LAST_WRITES, all).await;
    }
}

/// How many calls of an address are told in a minute.
#[derive(Debug, Default)]
struct Rate(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Rate {
    fn admits(&self, ip: IpAddr, now: Instant) -> bool {
        const MINUTE: Duration = Duration::from_secs(60);
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= TRACKED_ADDRESSES && !addresses.contains_key(&ip) {
            addresses.retain(|_, (since, _)| now.duration_since(*since) < MINUTE);
            if addresses.len() >= TRACKED_ADDRESSES {
                addresses.clear();
            }
        }
        let (since, count) = addresses.entry(ip).or_insert((now, 0));
        if now.duration_since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= TRACKED_PER_MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_so_often_a_minute() {
        let (rate, now) = (Rate::default(), Instant::now());
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        assert!((0..TRACKED_PER_MINUTE).all(|_| rate.admits(one, now)));
        assert!(!rate.admits(one, now + Duration::from_secs(59)));
        assert!(rate.admits(other, now));
        assert!(rate.admits(one, now + Duration::from_secs(60)));
        for number in 0..TRACKED_ADDRESSES as u32 + 10 {
            rate.admits(IpAddr::V4(number.into()), now);
        }
        assert!(rate.0.lock().unwrap().len() <= TRACKED_ADDRESSES);
    }
}
