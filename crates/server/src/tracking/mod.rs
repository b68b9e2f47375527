//! What recipients do with a message: links of its own for each of them, and what they say when they are called
//! (`docs/decisions/0015-tracking.md`).
//!
//! What a message tracks is settled when it is accepted and kept with it. The links are put in when it is delivered, after
//! the recipient's copy was made and before it is signed.

mod client;
mod rewrite;
mod seal;
mod unsubscribe;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::tracking::{TrackedLinks, TrackingSettings};
use url::Url;

pub(crate) use self::client::client_info;
pub(crate) use self::rewrite::{TrackedRecipient, rewrite};
pub(crate) use self::seal::{Claim, Seal, Seals};
pub(crate) use self::unsubscribe::{ASKING, asks};

/// Where the links of this server begin, behind its public address.
pub(crate) const PREFIX: &str = "/t";
/// Longest link that is tracked, in octets. Others stay as they are.
pub(crate) const LINK_OCTETS: usize = 4096;
/// Most links of one message that are tracked. Others stay as they are.
pub(crate) const LINKS: usize = 1000;

/// What one message tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tracking {
    /// Where the links lead to, without a slash at the end.
    base: String,
    opens: bool,
    at_top: bool,
    clicks: TrackedLinks,
    /// How it says that one can unsubscribe, if it does not say it itself.
    #[serde(default)]
    footers: Option<Footers>,
}

/// What texts end with that tells how to unsubscribe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Footers {
    pub(crate) html: String,
    pub(crate) text: String,
}

impl Footers {
    /// Those of a domain.
    pub(crate) fn of(domain: &TrackingSettings) -> Footers {
        let html = "\n<p><a href=\"%unsubscribe_url%\">Unsubscribe</a></p>\n";
        let text = "\n\nUnsubscribe: %unsubscribe_url%\n";
        Footers {
            html: domain.html_footer.clone().unwrap_or_else(|| html.to_owned()),
            text: domain.text_footer.clone().unwrap_or_else(|| text.to_owned()),
        }
    }
}

/// What a message says of it; `None` leaves it to its domain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Anything at all.
    pub(crate) all: Option<TrackedLinks>,
    /// Whether it is opened.
    pub(crate) opens: Option<bool>,
    /// Whether the picture stands before the text.
    pub(crate) at_top: Option<bool>,
    /// Which links.
    pub(crate) clicks: Option<TrackedLinks>,
    /// It has placeholders of links to unsubscribe.
    pub(crate) unsubscribes: bool,
}

impl Wanted {
    /// Whether it asks for something that cannot be had without a public address.
    pub(crate) fn asks(&self) -> bool {
        let any = |links: Option<TrackedLinks>| links.is_some_and(|links| links != TrackedLinks::None);
        any(self.clicks) || self.opens == Some(true) || any(self.all)
    }
}

impl Tracking {
    /// Message over domain, each on its own; `None` when nothing is tracked.
    pub(crate) fn resolve(wanted: Wanted, domain: &TrackingSettings, base: Option<&Url>) -> Option<Tracking> {
        let of_all = wanted.all.map(|all| all != TrackedLinks::None);
        let tracking = Tracking {
            base: base?.as_str().trim_end_matches('/').to_owned(),
            opens: wanted.opens.or(of_all).unwrap_or(domain.opens),
            at_top: wanted.at_top.unwrap_or(domain.opens_at_top),
            clicks: wanted.clicks.or(wanted.all).unwrap_or(domain.clicks),
            footers: (domain.unsubscribes && of_all != Some(false)).then(|| Footers::of(domain)),
        };
        let tracks = tracking.opens || tracking.clicks != TrackedLinks::None;
        (tracks || tracking.footers.is_some() || wanted.unsubscribes).then_some(tracking)
    }

    /// In the form in which it is kept.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::TrackedLinks::{All, Html, None as No};
    use super::*;

    #[test]
    fn a_message_beats_its_domain_and_what_is_said_exactly_beats_what_is_said_of_all() {
        let base: Url = "https://t.example/".parse().unwrap();
        let resolved = |all, opens, clicks, domain: (bool, TrackedLinks)| {
            let wanted = Wanted { all, opens, clicks, ..Wanted::default() };
            let domain = TrackingSettings { opens: domain.0, clicks: domain.1, ..TrackingSettings::default() };
            assert_eq!(Tracking::resolve(wanted, &domain, None), None);
            Tracking::resolve(wanted, &domain, Some(&base)).map_or((false, No), |found| (found.opens, found.clicks))
        };
        for (all, opens, clicks, domain, expected) in [
            (None, None, None, (false, No), (false, No)),
            (None, None, None, (true, Html), (true, Html)),
            (Some(No), None, None, (true, All), (false, No)),
            (Some(All), None, None, (false, No), (true, All)),
            (Some(Html), None, None, (false, All), (true, Html)),
            (Some(No), Some(true), None, (false, All), (true, No)),
            (Some(All), Some(false), Some(Html), (true, No), (false, Html)),
            (None, Some(true), None, (false, Html), (true, Html)),
            (None, None, Some(No), (true, All), (true, No)),
        ] {
            assert_eq!(resolved(all, opens, clicks, domain), expected, "{all:?} {opens:?} {clicks:?} {domain:?}");
        }
    }

    #[test]
    fn footers_are_the_domains_to_want_and_the_messages_to_leave_out() {
        let base: Url = "https://t.example/".parse().unwrap();
        for (unsubscribes, all, has_placeholders, expected) in [
            (false, None, false, None),
            (false, Some(All), false, Some(false)),
            (false, None, true, Some(false)),
            (false, Some(No), true, Some(false)),
            (true, None, false, Some(true)),
            (true, None, true, Some(true)),
            (true, Some(No), false, None),
            (true, Some(Html), false, Some(true)),
        ] {
            let wanted = Wanted { all, unsubscribes: has_placeholders, ..Wanted::default() };
            let domain = TrackingSettings { unsubscribes, ..TrackingSettings::default() };
            let found = Tracking::resolve(wanted, &domain, Some(&base)).map(|found| found.footers.is_some());
            assert_eq!(found, expected, "{unsubscribes} {all:?} {has_placeholders}");
        }
    }
}
