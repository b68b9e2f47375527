//! Webhooks: who is told of which events, and how far the telling has come.
//!
//! Events are not copied. A webhook keeps a place in the list of events, before which everything is told; what could not
//! be told is set aside with its next time. So a webhook that nobody answers costs no more than one that does, and a
//! domain without webhooks costs nothing.

use std::fmt;

use serde::{Deserialize, Serialize};
use smtp::Domain;

use crate::{Event, EventKind, Severity, Store, StoreError, Timestamp};

/// Most events that one webhook has set aside. Beyond it the webhook's place stays where it is, and nothing is lost.
pub const SET_ASIDE_AT_MOST: u64 = 10_000;

/// A webhook, by the store's own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WebhookId(pub(crate) i64);

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What one can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A message was accepted.
    Accepted,
    /// It was delivered.
    Delivered,
    /// An attempt failed and another one follows.
    FailedTemporarily,
    /// It failed for good.
    FailedPermanently,
    /// It was opened.
    Opened,
    /// A link in it was followed.
    Clicked,
    /// The recipient wants no more of it.
    Unsubscribed,
    /// The recipient called it spam.
    Complained,
    /// A destination that did verified TLS no longer does.
    TlsDowngraded,
}

impl Subject {
    /// All of them.
    pub const ALL: [Subject; 9] = [
        Subject::Accepted,
        Subject::Delivered,
        Subject::FailedTemporarily,
        Subject::FailedPermanently,
        Subject::Opened,
        Subject::Clicked,
        Subject::Unsubscribed,
        Subject::Complained,
        Subject::TlsDowngraded,
    ];

    /// What an event is about.
    pub fn of(kind: EventKind, severity: Option<Severity>) -> Subject {
        match (kind, severity) {
            (EventKind::Accepted, _) => Subject::Accepted,
            (EventKind::Delivered, _) => Subject::Delivered,
            (EventKind::Failed, Some(Severity::Temporary)) => Subject::FailedTemporarily,
            (EventKind::Failed, _) => Subject::FailedPermanently,
            (EventKind::Opened, _) => Subject::Opened,
            (EventKind::Clicked, _) => Subject::Clicked,
            (EventKind::Unsubscribed, _) => Subject::Unsubscribed,
            (EventKind::Complained, _) => Subject::Complained,
            (EventKind::TlsDowngraded, _) => Subject::TlsDowngraded,
        }
    }
}

/// Who is told of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its name for those outside: random, URL-safe.
    pub key: String,
    /// Where it is told.
    pub url: String,
    /// What it is for, in its owner's words.
    pub description: String,
    /// Of what; each once, in the order of [`Subject::ALL`].
    pub subjects: Vec<Subject>,
    /// Since when.
    pub created_at: Timestamp,
}

impl Subscription {
    /// A new one.
    pub fn new(url: impl Into<String>, now: Timestamp) -> Subscription {
        Subscription {
            key: crate::engine::random_text(),
            url: url.into(),
            description: String::new(),
            subjects: Vec::new(),
            created_at: now,
        }
    }

    /// Adds a subject, if it is not there.
    pub fn add(&mut self, subject: Subject) {
        if !self.subjects.contains(&subject) {
            self.subjects.push(subject);
            self.subjects.sort_unstable();
        }
    }
}

/// A webhook as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The store's own number.
    pub id: WebhookId,
    /// Whose events; `None` for those of every domain.
    pub domain: Option<Domain>,
    /// Who is told of what.
    pub subscription: Subscription,
    /// Everything up to here was told or set aside.
    pub told_to: Timestamp,
    /// How many events are set aside and will be told again.
    pub set_aside: u64,
    /// What came of the last notification.
    pub last: Option<LastAnswer>,
    /// What came of the last one that failed.
    pub last_failure: Option<LastAnswer>,
}

/// What came of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAnswer {
    /// When.
    pub at: Timestamp,
    /// The status, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong; empty when nothing did.
    pub words: String,
}

/// The webhooks of a domain, or those of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhooksOf {
    /// All there are.
    Everybody,
    /// Those that are told of every domain.
    Account,
    /// Those of one domain.
    Domain(Domain),
}

/// What whoever tells must know again and again, as cheaply as it can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookPulse {
    /// Grows whenever a webhook or the signing key was changed.
    pub changes: i64,
    /// The last event that was written.
    pub last_event: Timestamp,
}

/// Events of a webhook, found behind a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Those that it is to be told of, oldest first.
    pub events: Vec<Timestamp>,
    /// There are no others up to here.
    pub searched_to: Timestamp,
    /// There may be more behind that.
    pub more: bool,
}

/// An event that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetAside {
    /// The event.
    pub event: Timestamp,
    /// How often it was told in vain.
    pub attempts: u32,
    /// When it is told again.
    pub due_at: Timestamp,
}

/// How far telling has come since it was last written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Everything up to here was told or is set aside. It never goes back.
    pub to: Option<Timestamp>,
    /// What is set aside, new or again.
    pub set_aside: Vec<SetAside>,
    /// What was set aside and needs no more telling.
    pub finished: Vec<Timestamp>,
    /// What came of the last notification.
    pub last: Option<LastAnswer>,
    /// What came of the last one that failed.
    pub last_failure: Option<LastAnswer>,
}

impl Store {
    /// Webhooks, oldest first.
    pub async fn webhooks(&self, of: WebhooksOf) -> Result<Vec<Webhook>, StoreError> {
        self.engine().webhooks(of).await
    }

    /// Changes the webhooks of a domain, or for `None` those of the account, in one transaction. `edit` is given what is
    /// there and leaves what shall be; when it returns an error nothing is changed. It may be called more than once.
    ///
    /// What is new is told of events that come after it. Whoever has no subject left goes.
    ///
    /// # Errors
    /// The outer one is the store's; [`StoreError::Conflict`] when the domain does not exist.
    pub async fn edit_webhooks<T, E>(
        &self,
        domain: Option<&Domain>,
        edit: impl FnMut(&mut Vec<Subscription>) -> Result<T, E> + Send + 'static,
    ) -> Result<Result<T, E>, StoreError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        self.engine().edit_webhooks(domain, edit).await
    }

    /// Whether anything has changed, and which event is the last.
    pub async fn webhook_pulse(&self) -> Result<WebhookPulse, StoreError> {
        self.engine().webhook_pulse().await
    }

    /// What the events behind one place and up to another are about.
    pub async fn webhook_news(&self, after: Timestamp, to: Timestamp) -> Result<Vec<(Domain, Subject)>, StoreError> {
        self.engine().webhook_news(after, to).await
    }

    /// Looks for events that a webhook is to be told of, behind a place, through at most `limit` events.
    pub async fn find_for_webhook(
        &self,
        webhook: &Webhook,
        after: Timestamp,
        limit: usize,
    ) -> Result<Found, StoreError> {
        self.engine().find_for_webhook(webhook, after, limit).await
    }

    /// The event of that time, if it is still there.
    pub async fn event_at(&self, at: Timestamp) -> Result<Option<Event>, StoreError> {
        self.engine().event_at(at).await
    }

    /// What a webhook has set aside, soonest due first, and how much that is in all.
    pub async fn set_aside(&self, webhook: WebhookId, limit: usize) -> Result<(u64, Vec<SetAside>), StoreError> {
        self.engine().set_aside(webhook, limit).await
    }

    /// Writes how far telling has come, all or nothing. For a webhook that is gone nothing is written.
    pub async fn told(&self, webhook: WebhookId, told: Told) -> Result<(), StoreError> {
        self.engine().told(webhook, told).await
    }

    /// The key that signs notifications; `or` becomes it where there is none.
    pub async fn signing_key(&self, or: String) -> Result<String, StoreError> {
        self.engine().signing_key(or).await
    }

    /// Puts another key in the place of the one that signs notifications.
    pub async fn set_signing_key(&self, key: String) -> Result<(), StoreError> {
        self.engine().set_signing_key(key).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_what_they_are_about() {
        for (kind, severity, subject) in [
            (EventKind::Accepted, None, Subject::Accepted),
            (EventKind::Delivered, None, Subject::Delivered),
            (EventKind::Failed, Some(Severity::Temporary), Subject::FailedTemporarily),
            (EventKind::Failed, Some(Severity::Permanent), Subject::FailedPermanently),
            (EventKind::Opened, None, Subject::Opened),
            (EventKind::Clicked, None, Subject::Clicked),
            (EventKind::Unsubscribed, None, Subject::Unsubscribed),
            (EventKind::Complained, None, Subject::Complained),
            (EventKind::TlsDowngraded, None, Subject::TlsDowngraded),
        ] {
            assert_eq!(Subject::of(kind, severity), subject);
        }
    }

    #[test]
    fn a_subject_is_named_once() {
        let mut subscription = Subscription::new("https://a.test/", Timestamp::from_secs(0));
        [Subject::Opened, Subject::Accepted, Subject::Opened].into_iter().for_each(|subject| subscription.add(subject));
        assert_eq!(subscription.subjects, [Subject::Accepted, Subject::Opened]);
    }
}
