//! What recipients do with a message: what a domain wants to know of it, and what becomes of that.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use smtp::{Address, Domain};

use crate::{EventKind, Job, RecipientId, Store, StoreError, Timestamp};

/// Most events that one copy of a message is worth: whoever has a link may call it as often as he likes.
pub const INTERACTIONS_PER_COPY: u32 = 100;

/// Which links of a message are tracked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackedLinks {
    /// None.
    #[default]
    None,
    /// Those in HTML.
    Html,
    /// Those in HTML and in plain text.
    All,
}

/// What a sending domain wants to know of what recipients do, unless a message says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrackingSettings {
    /// Whether messages are opened.
    pub opens: bool,
    /// Whether the picture that tells it stands before the text.
    pub opens_at_top: bool,
    /// Whether links are followed.
    pub clicks: TrackedLinks,
    /// Whether messages say how to unsubscribe, if they do not say it themselves.
    pub unsubscribes: bool,
    /// What HTML ends with then; `None` is what the program says by itself.
    pub html_footer: Option<String>,
    /// The same of plain text.
    pub text_footer: Option<String>,
}

/// What changes of [`TrackingSettings`]; `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrackingChange {
    /// Of `opens`.
    pub opens: Option<bool>,
    /// Of `opens_at_top`.
    pub opens_at_top: Option<bool>,
    /// Of `clicks`.
    pub clicks: Option<TrackedLinks>,
    /// Of `unsubscribes`.
    pub unsubscribes: Option<bool>,
    /// Of `html_footer`.
    pub html_footer: Option<String>,
    /// Of `text_footer`.
    pub text_footer: Option<String>,
}

impl TrackingChange {
    /// The settings after the change.
    pub fn apply(self, settings: TrackingSettings) -> TrackingSettings {
        TrackingSettings {
            opens: self.opens.unwrap_or(settings.opens),
            opens_at_top: self.opens_at_top.unwrap_or(settings.opens_at_top),
            clicks: self.clicks.unwrap_or(settings.clicks),
            unsubscribes: self.unsubscribes.unwrap_or(settings.unsubscribes),
            html_footer: self.html_footer.or(settings.html_footer),
            text_footer: self.text_footer.or(settings.text_footer),
        }
    }
}

/// One recipient's copy of a message, as a link names it. No other copy ever has the same: the store's numbers may come
/// again once everything was purged, a time does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackedCopy {
    pub(crate) recipient: RecipientId,
    pub(crate) accepted_at: Timestamp,
}

impl TrackedCopy {
    /// The copy of a recipient of the job.
    pub fn of(job: &Job, recipient: RecipientId) -> TrackedCopy {
        TrackedCopy { recipient, accepted_at: job.accepted_at }
    }
}

impl fmt::Display for TrackedCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.recipient.0, self.accepted_at.as_micros())
    }
}

/// A text that names no copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this names no copy of a message")]
pub struct TrackedCopyError;

impl FromStr for TrackedCopy {
    type Err = TrackedCopyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (recipient, accepted_at) = text.split_once('.').ok_or(TrackedCopyError)?;
        let number = |text| i64::from_str_radix(text, 16).map_err(|_| TrackedCopyError);
        let accepted_at = Timestamp::from_micros(number(accepted_at)?);
        Ok(TrackedCopy { recipient: RecipientId(number(recipient)?), accepted_at })
    }
}

/// Who did something with a message, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interaction {
    /// The address that it was done from.
    pub ip: Option<IpAddr>,
    /// The link that was followed.
    pub url: Option<String>,
    /// What is known of the program that it was done with. Kept as it is and given back as it is.
    pub client: Value,
}

/// That a recipient wants no more mail. It says all that it means, so that it holds when the message was purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscription {
    /// The copy that had the link.
    pub copy: TrackedCopy,
    /// From the mail of this sending domain.
    pub domain: Domain,
    /// Who.
    pub address: Address,
    /// From messages with these tags; none is all messages.
    pub tags: Vec<String>,
}

impl Store {
    /// Changes what a domain wants to know and gives what it is now; `None` when there is no such domain.
    pub async fn change_tracking(
        &self,
        domain: &Domain,
        change: TrackingChange,
    ) -> Result<Option<TrackingSettings>, StoreError> {
        self.engine().change_tracking(domain, change).await
    }

    /// The key of this store's links. It is made when it is asked for the first time, and stays.
    pub async fn tracking_key(&self) -> Result<[u8; 32], StoreError> {
        self.engine().tracking_key(rand::random()).await
    }

    /// Writes the event of something that was done, and says whether it did: not when the message was purged, or the copy
    /// has [`INTERACTIONS_PER_COPY`].
    pub async fn record_interaction(
        &self,
        copy: TrackedCopy,
        kind: EventKind,
        interaction: Interaction,
    ) -> Result<bool, StoreError> {
        self.engine().record_interaction(copy, kind, interaction).await
    }

    /// Puts who unsubscribes on the sending domain's unsubscribes and, if the message is still there, writes the event of
    /// it, both or neither. Says whether that was news: who is on the list already stays as he is.
    pub async fn unsubscribe(
        &self,
        unsubscription: Unsubscription,
        interaction: Interaction,
    ) -> Result<bool, StoreError> {
        self.engine().unsubscribe(unsubscription, interaction).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_survives_its_text() {
        let copy = TrackedCopy { recipient: RecipientId(77), accepted_at: Timestamp::now() };
        assert_eq!(copy.to_string().parse(), Ok(copy));
        for text in ["", ".", "1", "1.", ".1", "x.1", "1.fffffffffffffffff"] {
            assert_eq!(text.parse::<TrackedCopy>(), Err(TrackedCopyError), "{text:?}");
        }
    }
}
