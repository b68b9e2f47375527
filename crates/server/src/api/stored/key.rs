//! The keys of kept messages: the store's, and behind a dot the recipient whose copy is meant.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smtp::Address;
use store::Event;

/// Longest key, in octets: room for the longest address in base64.
const KEY_OCTETS: usize = 1024;

/// The key of what the recipient of an event got.
pub(in crate::api) fn key_of(event: &Event) -> String {
    let key = &event.message.key;
    match event.copy {
        Some(_) => format!("{key}.{}", URL_SAFE_NO_PAD.encode(event.recipient.to_string())),
        None => key.to_string(),
    }
}

/// The store's key, and the recipient. `None` when it is none of [`key_of`]'s.
pub(super) fn parse(key: &str) -> Option<(&str, Option<Address>)> {
    if key.len() > KEY_OCTETS {
        return None;
    }
    let Some((key, recipient)) = key.split_once('.') else { return Some((key, None)) };
    let recipient = String::from_utf8(URL_SAFE_NO_PAD.decode(recipient).ok()?).ok()?;
    Some((key, Some(recipient.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_a_message_and_perhaps_a_recipient() {
        let coded = URL_SAFE_NO_PAD.encode("ann@example.net");
        assert_eq!(parse("AbC-_"), Some(("AbC-_", None)));
        assert_eq!(parse(&format!("AbC.{coded}")), Some(("AbC", Some("ann@example.net".parse().unwrap()))));
        for none in [format!("AbC.{coded}="), "AbC.".to_owned(), "AbC.!".to_owned(), "x".repeat(KEY_OCTETS + 1)] {
            assert_eq!(parse(&none), None, "{none}");
        }
    }
}
