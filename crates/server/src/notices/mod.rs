//! Tells senders by mail what became of messages that came in by SMTP (RFC 3461, RFC 3464;
//! `docs/decisions/0014-notifications.md`).
//!
//! The store keeps what is to be told with the event that tells the same. Here it becomes a message, which is put into the
//! queue in the transaction that takes it off. [`words`]: what of it people read, and what programs do.

mod words;

use std::sync::Arc;
use std::time::Duration;

use message::Identity;
use message::notification::{Notification, RecipientNotice, compose, subject};
use policy::retry::Schedule;
use policy::tls::{Resolved, TlsTag};
use smtp::dsn::{Action, Ret};
use store::dsn::{DueNotices, Notice};
use store::{Method, NewMessage, Store, StoreError, Timestamp};
use tokio::sync::{Notify, watch};

use crate::api::App;
use crate::config::Config;
use crate::submission::Running;

/// How often one looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before a store that failed is asked again.
const STORE_PAUSE: Duration = Duration::from_secs(10);

/// The task.
pub(crate) struct Notifier {
    store: Store,
    /// What this server calls itself.
    host: String,
    schedule: Schedule,
    /// Has the queue look for what is due.
    wake: Arc<Notify>,
}

impl Notifier {
    /// The part of the server that tells whoever handed mail over by SMTP, now or before this start.
    pub(crate) fn start(app: &App, config: &Config, stop: &watch::Receiver<bool>) -> (&'static str, Running) {
        let (store, wake) = (app.store.clone(), app.wake.clone());
        let host = config.ehlo_name.to_string();
        let notifier = Notifier { store, host, schedule: config.retry_schedule.clone(), wake };
        ("notifications", Box::pin(notifier.run(stop.clone())))
    }

    /// Works until the server stops. What is not told by then is told after the next start.
    async fn run(self, mut stop: watch::Receiver<bool>) {
        loop {
            let pause = match self.tell_all(&stop).await {
                Ok(()) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "senders cannot be notified now; trying again");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    async fn tell_all(&self, stop: &watch::Receiver<bool>) -> Result<(), StoreError> {
        while !*stop.borrow() && self.store.has_duties() {
            let Some(due) = self.store.due_notices(Timestamp::now()).await? else { return Ok(()) };
            self.tell(&due).await?;
        }
        Ok(())
    }

    async fn tell(&self, due: &DueNotices) -> Result<(), StoreError> {
        // Without the content the rest is still worth telling.
        let wire = match self.store.wire(due.message).await {
            Err(StoreError::Damaged(what)) => {
                tracing::error!(
                    what,
                    message_id = due.message_id,
                    "the store is damaged: a notification has no content"
                );
                None
            }
            wire => wire?,
        };
        let content = wire.as_ref().map(|wire| smtp::data::from_wire(wire));
        let notification = self.notification(due, content.as_deref());
        let now = Timestamp::now().as_micros() / 1_000_000;
        let identity = Identity::new(now, rand::random(), &due.domain);
        let content = compose(&notification, &identity);
        let message = NewMessage {
            domain: due.domain.clone(),
            message_id: identity.message_id().to_owned(),
            // Nobody is told of what becomes of it (RFC 3464 §2).
            return_path: String::new(),
            header_from: format!("Mail Delivery System <postmaster@{}>", due.domain),
            header_to: due.return_to.to_string(),
            subject: subject(&notification.recipients).to_owned(),
            size: content.len() as u64,
            wire: smtp::data::to_wire(&content).into(),
            attachments: Vec::new(),
            tags: Vec::new(),
            user_variables: serde_json::Map::new(),
            tls: no_weaker(due.tls),
            dkim: true,
            method: Method::Smtp,
            test_mode: false,
            deliver_at: None,
            expires_at: None,
            recipients: vec![due.return_to.clone()],
            template: None,
            copies: None,
            tracking: None,
            dsn: None,
            api_key_id: None,
            originating_ip: None,
        };
        match self.store.notify(message, due.notices.iter().map(|notice| notice.id).collect()).await {
            Ok(_) => {
                tracing::info!(message_id = due.message_id, notification = identity.message_id(), "sender notified");
                self.wake.notify_one();
                Ok(())
            }
            // It was told by somebody else.
            Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn notification<'a>(&'a self, due: &'a DueNotices, content: Option<&'a [u8]>) -> Notification<'a> {
        Notification {
            domain: &due.domain,
            to: &due.return_to,
            reporting_mta: &self.host,
            message_id: &due.message_id,
            arrived_at: due.accepted_at.as_micros() / 1_000_000,
            envelope_id: due.mail.envid.as_ref().map(|envid| envid.decoded()),
            recipients: due.notices.iter().map(|notice| self.of_recipient(notice, due.expires_at)).collect(),
            content,
            // A message that must not travel without TLS is not given back whole (RFC 8689 §5).
            full: due.mail.ret == Some(Ret::Full) && due.tls.tag != TlsTag::Requiretls,
        }
    }

    fn of_recipient<'a>(&self, notice: &'a Notice, expires_at: Option<Timestamp>) -> RecipientNotice<'a> {
        let seconds = |time: Timestamp| time.as_micros() / 1_000_000;
        let until = (notice.action == Action::Delayed && !notice.facts.reported).then(|| {
            let left = self.schedule.left();
            let left = left.get(notice.facts.attempts as usize).copied().unwrap_or_default();
            expires_at.map_or(notice.at + left, |end| end.min(notice.at + left))
        });
        RecipientNotice {
            recipient: &notice.recipient,
            original: notice.orcpt.as_ref().map(|orcpt| orcpt.decoded()),
            action: notice.action,
            status: words::status(notice),
            at: seconds(notice.at),
            until: until.map(seconds),
            remote_mta: notice.facts.host.as_deref(),
            diagnostic: words::diagnostic(notice),
            words: words::for_people(notice),
        }
    }
}

/// What a notification demands of its own way: all that the message demanded, for it says much of it (RFC 8689 §5). What
/// the message waived is not waived for it.
fn no_weaker(message: Resolved) -> Resolved {
    let tag = if message.tag == TlsTag::NotRequired { TlsTag::None } else { message.tag };
    Resolved { tag, ..message }
}

#[cfg(test)]
mod tests {
    use policy::tls::{TlsPolicy, TlsSettings, resolve};

    use super::*;

    #[test]
    fn a_notification_demands_what_the_message_did() {
        for policy in TlsPolicy::ALL {
            for (tag, expected) in [
                (TlsTag::None, TlsTag::None),
                (TlsTag::Requiretls, TlsTag::Requiretls),
                (TlsTag::NotRequired, TlsTag::None),
            ] {
                let asked = TlsSettings {
                    require_tls: Some(policy.require_tls()),
                    skip_verification: Some(policy.skip_verification()),
                    ..TlsSettings::default()
                };
                let message = Resolved { tag, ..resolve(asked, TlsSettings::default()) };
                let own = no_weaker(message);
                assert_eq!((own.policy, own.fallback, own.tag), (message.policy, message.fallback, expected));
            }
        }
    }
}
