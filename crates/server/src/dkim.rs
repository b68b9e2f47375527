//! DKIM keys: how one is made, and how it gets its selector.

use message::dkim::{GenerateError, KeyError, KeyKind, SigningKey};
use smtp::Domain;
use store::Timestamp;
use store::dkim::{DkimKey, NewDkimKey, PrivateKey};

/// Longest RSA key: what every verifier takes (RFC 8301 §3.2).
const RSA_BITS: usize = 4096;

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoKey {
    /// What was given is no key that can sign.
    #[error(transparent)]
    Unusable(#[from] KeyError),
    /// It is longer than what verifiers must take.
    #[error("the RSA key is longer than the {RSA_BITS} bits that verifiers must take (RFC 8301 §3.2)")]
    TooLong,
    /// None could be made.
    #[error(transparent)]
    NotMade(#[from] GenerateError),
}

/// Where a key comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// It is made.
    Made(KeyKind),
    /// It is given, as PEM.
    Given(PrivateKey),
}

impl Source {
    /// A key that is made, of the same kind as another.
    pub(crate) fn like(key: &DkimKey) -> Source {
        Source::Made(match key.rsa_bits {
            None => KeyKind::Ed25519,
            Some(4096) => KeyKind::Rsa4096,
            // Whatever was imported: the length that every receiver checks quickly.
            Some(_) => KeyKind::Rsa2048,
        })
    }
}

/// What is made with a new domain: the key that every receiver can check, which signs at once. As long as its record is
/// not published a signature counts as none (RFC 6376 §6.1.2).
pub(crate) async fn first_key() -> Result<NewDkimKey, NoKey> {
    new_key(Source::Made(KeyKind::Rsa2048), None, true).await
}

/// A key, ready to be kept, under `selector` or one that tells the day. Works on a thread where it keeps nobody waiting.
pub(crate) async fn new_key(source: Source, selector: Option<Domain>, active: bool) -> Result<NewDkimKey, NoKey> {
    let made = tokio::task::spawn_blocking(move || key_of(source)).await;
    let key = made.map_err(|_| NoKey::NotMade(GenerateError))??;
    let now = Timestamp::now();
    Ok(NewDkimKey {
        selector: selector.unwrap_or_else(|| selector_of(now)),
        rsa_bits: key.rsa_bits().and_then(|bits| u32::try_from(bits).ok()),
        private: PrivateKey::new(key.to_pem()?),
        record: key.record(),
        active,
        now,
    })
}

fn key_of(source: Source) -> Result<SigningKey, NoKey> {
    let key = match source {
        Source::Made(kind) => SigningKey::generate(kind)?,
        Source::Given(pem) => SigningKey::from_pem(pem.expose())?,
    };
    if key.rsa_bits().is_some_and(|bits| bits > RSA_BITS) { Err(NoKey::TooLong) } else { Ok(key) }
}

/// Such as `wx20261123-3fa2`: it tells when the key was made, and is not used again, so that a record that resolvers
/// still remember is never taken for another key's.
fn selector_of(now: Timestamp) -> Domain {
    let time = jiff::Timestamp::from_microsecond(now.as_micros()).unwrap_or_default();
    let text = format!("{}-{:04x}", time.strftime("wx%Y%m%d"), rand::random::<u16>());
    text.parse().expect("letters and digits are a label")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_made_and_given() {
        let made = new_key(Source::Made(KeyKind::Ed25519), None, false).await.unwrap();
        assert_eq!((made.rsa_bits, made.active), (None, false));
        let selector: Domain = "s1".parse().unwrap();
        let given = new_key(Source::Given(made.private.clone()), Some(selector.clone()), true).await.unwrap();
        assert_eq!((given.record, given.selector, given.active), (made.record, selector, true));
        let nothing = new_key(Source::Given(PrivateKey::new("x".to_owned())), None, true).await;
        assert_eq!(nothing, Err(NoKey::Unusable(KeyError::NoKey)));
        let first = first_key().await.unwrap();
        assert_eq!((first.rsa_bits, first.active), (Some(2048), true));
        assert!(first.record.starts_with("v=DKIM1; k=rsa; p="));
    }

    #[test]
    fn a_selector_tells_when_its_key_was_made() {
        let selector = selector_of(Timestamp::from_secs(1_764_000_000));
        assert!(selector.as_str().starts_with("wx20251124-") && selector.as_str().len() == 15, "{selector}");
    }
}
