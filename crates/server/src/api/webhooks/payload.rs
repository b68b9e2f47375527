//! A notification as Mailgun's clients read it: the event as the events API gives it, and a signature.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use aws_lc_rs::rand;
use bytes::Bytes;
use serde_json::{Value, json};
use store::Event;

use crate::api::events::event_json;

/// Octets of randomness in a token; twice as many hexadecimal digits, which is as long as Mailgun's are.
const TOKEN_OCTETS: usize = 25;
/// Octets of randomness in a signing key.
const KEY_OCTETS: usize = 16;

/// A new key to sign with; `None` when the system has no randomness to give.
pub(crate) fn new_signing_key() -> Option<String> {
    random_hex::<KEY_OCTETS>()
}

/// The notification of an event, signed at `seconds` since the epoch. Each has a token of its own, also when the same
/// event is told again: receivers may remember tokens, and refuse what they have seen. Links start with `base`.
pub(crate) fn payload(key: &str, event: &Event, base: &str, seconds: i64) -> Option<Bytes> {
    signed(key, event_json(event, base), seconds)
}

/// The same for an event that is not one of the store's.
pub(super) fn signed(key: &str, event: Value, seconds: i64) -> Option<Bytes> {
    let (timestamp, token) = (seconds.to_string(), random_hex::<TOKEN_OCTETS>()?);
    let signature = signature(key, &timestamp, &token);
    let payload = json!({
        "signature": { "timestamp": timestamp, "token": token, "signature": signature },
        "event-data": event,
    });
    Some(payload.to_string().into())
}

/// HMAC-SHA256 over timestamp and token, one right after the other, in hexadecimal digits.
fn signature(key: &str, timestamp: &str, token: &str) -> String {
    let key = Key::new(HMAC_SHA256, key.as_bytes());
    hex(sign(&key, format!("{timestamp}{token}").as_bytes()).as_ref())
}

fn random_hex<const OCTETS: usize>() -> Option<String> {
    let mut octets = [0; OCTETS];
    rand::fill(&mut octets).ok()?;
    Some(hex(&octets))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_openssl_computes() {
        // printf 1529006854a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0 | openssl dgst -sha256 -hmac 0123456789abcdef
        let signature =
            signature("0123456789abcdef", "1529006854", "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0");
        assert_eq!(signature, "cea1e27a8e74b08860e608838a0c7f83d5e683d974630175698823e4215fb0d8");
    }

    #[test]
    fn every_payload_has_its_own_token() {
        let token = || {
            let payload: Value = serde_json::from_slice(&signed("k", json!({}), 1).unwrap()).unwrap();
            assert_eq!(payload["signature"]["timestamp"], "1");
            payload["signature"]["token"].as_str().unwrap().to_owned()
        };
        assert_eq!(token().len(), 50);
        assert_ne!(token(), token());
        assert_eq!(new_signing_key().unwrap().len(), 32);
    }
}
