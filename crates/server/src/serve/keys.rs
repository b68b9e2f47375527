//! API keys: how one is made, and the first one of a new store.

use store::{KeyHash, KeyRole, KeyScope, NewKey, Store, StoreError, Timestamp};

use super::StartError;
use crate::config::Secret;

/// Octets of randomness in a key; more than anybody can guess.
const KEY_OCTETS: usize = 24;

/// A new key from the system's randomness: `key-` and 48 hexadecimal digits. `None` when the system has none to give.
pub fn generate() -> Option<Secret> {
    let mut octets = [0; KEY_OCTETS];
    aws_lc_rs::rand::fill(&mut octets).ok()?;
    let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    Some(Secret::new(format!("key-{digits}")))
}

/// What the store keeps of a key of the account that may do everything.
pub fn record(key: &Secret, description: &str) -> NewKey {
    let key = key.expose();
    NewKey {
        hash: KeyHash::of(key),
        description: description.to_owned(),
        hint: key.get(key.len().saturating_sub(4)..).unwrap_or_default().to_owned(),
        scope: KeyScope::Account,
        role: KeyRole::Admin,
        expires_at: None,
        now: Timestamp::now(),
    }
}

/// Makes sure that the configured key exists; without one, that there is any. A key made here is returned, since it
/// can never be read from the store.
pub(super) async fn ensure_first(store: &Store, configured: Option<&Secret>) -> Result<Option<Secret>, StartError> {
    if let Some(key) = configured {
        return match store.create_key(record(key, "from the configuration")).await {
            Ok(_) | Err(StoreError::Conflict(_)) => Ok(None),
            Err(error) => Err(error.into()),
        };
    }
    if store.has_keys().await? {
        return Ok(None);
    }
    let key = generate().ok_or(StartError::NoRandomness)?;
    store.create_key(record(&key, "made at the first start")).await?;
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_and_differ() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, other);
        let digits = one.expose().strip_prefix("key-").unwrap();
        assert!(digits.len() == 48 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(record(&one, "").hint, digits[44..]);
    }
}
