//! Mail for people: `postmaster` (RFC 5321 §4.5.1) and `abuse` (RFC 2142 §4) go on to an address that the operator names.
//!
//! It goes on as it came, with the null return path: a failure of it makes no mail, so nothing can go round between two
//! servers by notifications; and mail that has been here before is refused.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use message::Identity;
use policy::tls::{TlsSettings, TlsTag, resolve};
use smtp::{Address, Reply};
use store::suppression::SuppressionList;
use store::{Method, NewMessage, StoreError, Timestamp};
use tokio::sync::Notify;

use super::handler::Inbound;
use super::limits::{FORWARDED_OCTETS, FORWARDED_PER_HOUR};
use crate::config::EhloName;
use crate::smtpd::{Transaction, reply, trace};

/// Who reads such mail, and how much there was.
#[derive(Debug)]
pub(super) struct Postmaster {
    to: Option<Address>,
    /// Has the queue look for it.
    wake: Arc<Notify>,
    /// The beginning of an hour, and how many went on since.
    recent: Mutex<(Instant, u32)>,
}

impl Postmaster {
    pub(super) fn new(to: Option<Address>, wake: Arc<Notify>) -> Postmaster {
        Postmaster { to, wake, recent: Mutex::new((Instant::now(), 0)) }
    }

    fn admits(&self, now: Instant) -> bool {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(recent.0) >= Duration::from_secs(3600) {
            *recent = (now, 0);
        }
        recent.1 += 1;
        recent.1 <= FORWARDED_PER_HOUR
    }
}

impl Inbound {
    /// Puts mail into the queue for the postmaster.
    pub(super) async fn forward(
        &self,
        ip: IpAddr,
        transaction: &Transaction,
        content: Vec<u8>,
    ) -> Result<Reply, StoreError> {
        let (Some(to), EhloName::Name(host)) = (&self.postmaster.to, &self.host) else {
            return Ok(reply(550, 1, 1, "Nobody reads mail here, only reports are taken"));
        };
        if content.len() > FORWARDED_OCTETS {
            return Ok(reply(552, 3, 4, "The message is too large for the postmaster"));
        }
        if trace::goes_round(&content) || was_here(&content, transaction) {
            return Ok(reply(554, 4, 6, "The message has been going round in circles"));
        }
        if !self.postmaster.admits(Instant::now()) {
            return Ok(reply(452, 3, 2, "Too much mail for the postmaster, try again later"));
        }
        let now = Timestamp::now().as_micros() / 1_000_000;
        // Its name in our events; the message keeps its own.
        let identity = Identity::new(now, rand::random(), host);
        let mut whole = delivered_to(transaction);
        whole.push_str(&trace::received(transaction, ip, &self.host.to_string()));
        let whole = [whole.as_bytes(), &content].concat();
        let tag = transaction.mail.requiretls.then_some(TlsTag::Requiretls);
        let message = NewMessage {
            domain: host.clone(),
            message_id: identity.message_id().to_owned(),
            return_path: String::new(),
            header_from: String::new(),
            header_to: to.to_string(),
            subject: "mail for the postmaster".to_owned(),
            size: whole.len() as u64,
            wire: smtp::data::to_wire(&whole).into(),
            attachments: Vec::new(),
            tags: vec!["postmaster".to_owned()],
            user_variables: serde_json::Map::new(),
            tls: resolve(TlsSettings { tag, ..TlsSettings::default() }, TlsSettings::default()),
            dkim: false,
            method: Method::Smtp,
            test_mode: false,
            deliver_at: None,
            expires_at: None,
            template: None,
            copies: None,
            tracking: None,
            recipients: vec![to.clone()],
            dsn: None,
            api_key_id: None,
            originating_ip: Some(ip),
        };
        // Nobody could take the address off that list, and all later mail would be lost unseen.
        let subject = to.to_string().to_lowercase();
        if self.store.suppression(host, SuppressionList::Bounces, &subject).await?.is_some() {
            tracing::warn!(%to, "the postmaster's host refused the address before; trying again");
            self.store.unsuppress(host, SuppressionList::Bounces, &subject, None).await?;
        }
        self.store.accept(message).await?;
        self.postmaster.wake.notify_one();
        tracing::info!(peer = %ip, %to, message_id = identity.message_id(), "mail for the postmaster goes on");
        Ok(reply(250, 0, 0, "It goes on to the postmaster"))
    }
}

/// The marks by which mail is known that comes back.
fn delivered_to(transaction: &Transaction) -> String {
    transaction.recipients.iter().map(|rcpt| format!("Delivered-To: {}\r\n", rcpt.address)).collect()
}

fn was_here(content: &[u8], transaction: &Transaction) -> bool {
    let marks = delivered_to(transaction);
    let marks: Vec<&str> = marks.split_terminator("\r\n").collect();
    trace::header_lines(content).any(|line| {
        let line = line.trim_ascii_end();
        marks.iter().any(|mark| line.eq_ignore_ascii_case(mark.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_has_its_limit() {
        let (postmaster, now) = (Postmaster::new(None, Arc::default()), Instant::now());
        assert!((0..FORWARDED_PER_HOUR).all(|_| postmaster.admits(now)));
        assert!(!postmaster.admits(now + Duration::from_secs(3500)));
        assert!(postmaster.admits(now + Duration::from_secs(3601)));
    }
}
