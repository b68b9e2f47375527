//! How long, and how much, is kept of one sending domain's mail.

use std::time::Duration;

use smtp::Domain;

use crate::{NewDomain, Purged, SendingDomain, Store, StoreError, Timestamp};

/// Limits of one domain. `None` limits nothing.
///
/// What has still to be delivered is kept whatever they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// How long its events can be read.
    pub events: Option<Duration>,
    /// How long the content of its messages is kept.
    pub contents: Option<Duration>,
    /// Most events; the latest stay. A message goes, with its content, when its last event does.
    pub most_events: Option<u64>,
    /// Most octets of content; that of the latest messages stays.
    pub most_octets: Option<u64>,
}

impl Retention {
    /// What holds where both hold.
    #[must_use]
    pub fn and(self, other: Retention) -> Retention {
        fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            one.into_iter().chain(other).min()
        }
        Retention {
            events: least(self.events, other.events),
            contents: least(self.contents, other.contents),
            most_events: least(self.most_events, other.most_events),
            most_octets: least(self.most_octets, other.most_octets),
        }
    }
}

/// A change of a domain's limits: what is `None` stays, what is `Some(None)` is limited no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionChange {
    /// See [`Retention::events`].
    pub events: Option<Option<Duration>>,
    /// See [`Retention::contents`].
    pub contents: Option<Option<Duration>>,
    /// See [`Retention::most_events`].
    pub most_events: Option<Option<u64>>,
    /// See [`Retention::most_octets`].
    pub most_octets: Option<Option<u64>>,
}

impl Store {
    /// As [`Store::create_domain`], with limits.
    pub async fn create_limited_domain(
        &self,
        domain: NewDomain,
        limits: RetentionChange,
    ) -> Result<SendingDomain, StoreError> {
        self.engine().create_domain(domain, limits).await
    }

    /// Changes the limits of a domain; `None` when there is no such domain.
    pub async fn limit_domain(
        &self,
        name: &Domain,
        limits: RetentionChange,
    ) -> Result<Option<SendingDomain>, StoreError> {
        self.engine().limit_domain(name, limits).await
    }

    /// Deletes what each domain has beyond its own limits and `general`, which holds for all, in small transactions.
    pub async fn purge_domains(&self, now: Timestamp, general: Retention) -> Result<Purged, StoreError> {
        self.engine().purge_domains(now, general).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_of_two_limits_holds() {
        let hour = Duration::from_secs(3600);
        let one = Retention { events: Some(hour), contents: Some(2 * hour), most_events: None, most_octets: Some(7) };
        let other = Retention { events: Some(2 * hour), contents: Some(hour), most_events: Some(9), most_octets: None };
        let both = Retention { events: Some(hour), contents: Some(hour), most_events: Some(9), most_octets: Some(7) };
        assert_eq!((one.and(other), other.and(one)), (both, both));
        assert_eq!(Retention::default().and(Retention::default()), Retention::default());
    }
}
