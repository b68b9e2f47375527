//! What the examples share.

use bytes::Bytes;
use policy::tls::{TlsSettings, resolve};
use store::{Method, NewMessage};

/// A message from `app@DOMAIN` to one recipient, by SMTP, not signed.
pub(crate) fn message(number: usize, domain: &str, recipient: &str, wire: Bytes) -> NewMessage {
    let sender = format!("app@{domain}");
    NewMessage {
        domain: domain.parse().expect("a name"),
        message_id: format!("{number:016x}@{domain}"),
        return_path: sender.clone(),
        header_from: sender,
        header_to: recipient.to_owned(),
        subject: "A message of a load".to_owned(),
        size: wire.len() as u64,
        wire,
        attachments: Vec::new(),
        tags: Vec::new(),
        user_variables: serde_json::Map::new(),
        tls: resolve(TlsSettings::default(), TlsSettings::default()),
        dkim: false,
        method: Method::Smtp,
        test_mode: false,
        deliver_at: None,
        expires_at: None,
        recipients: vec![recipient.parse().expect("an address")],
        template: None,
        copies: None,
        tracking: None,
        dsn: None,
        api_key_id: None,
        originating_ip: None,
    }
}
