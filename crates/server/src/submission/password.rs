//! Passwords: made, hashed with Argon2id (RFC 9106), compared.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use aws_lc_rs::hmac;
use store::PasswordHash;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::limits::{
    HASH_WAIT, HASHES_AT_ONCE, PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN, VERIFIED, VERIFIED_TIME,
};
use crate::config::Secret;

/// What a password is compared with when there is no such login, so that the answer takes as long. Nobody knows a password
/// for it: the hash is 32 octets of chance.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Xw3Y6bJm0sQe8nF1tLhKzA$7Jt0m3wqYb8XcVhR5e2PzK1sNfGdLaUo9ijT4uWkE6Q";

/// Too many passwords are being looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// Why a text is no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PasswordError {
    #[error("Password is too short. It must be between 5 and 32 characters.")]
    TooShort,
    #[error("Password is too long. It must be between 5 and 32 characters.")]
    TooLong,
    #[error("Password must not have control characters.")]
    Characters,
}

/// Whether a text can be a password.
pub(crate) fn check(password: &str) -> Result<(), PasswordError> {
    match password.chars().count() {
        count if count < PASSWORD_CHARACTERS_MIN => Err(PasswordError::TooShort),
        count if count > PASSWORD_CHARACTERS_MAX => Err(PasswordError::TooLong),
        _ if password.chars().any(char::is_control) => Err(PasswordError::Characters),
        _ => Ok(()),
    }
}

/// A new password from the system's randomness, 32 hexadecimal digits. `None` when the system has none to give.
pub(crate) fn generate() -> Option<Secret> {
    let mut octets = [0; PASSWORD_CHARACTERS_MAX / 2];
    aws_lc_rs::rand::fill(&mut octets).ok()?;
    Some(Secret::new(octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>()))
}

/// Hashes a password, which takes a while. `None` when the system gives no salt.
pub(crate) fn hash(password: &str) -> Option<PasswordHash> {
    let hashed = Argon2::default().hash_password(password.as_bytes()).ok()?;
    Some(PasswordHash::new(hashed.to_string()))
}

/// Hashes and compares passwords, a few at a time, on threads where they keep nobody waiting.
#[derive(Debug)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    /// Fresh for each process: what is remembered tells nobody anything.
    key: hmac::Key,
    verified: Mutex<HashMap<[u8; 32], Instant>>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Passwords {
            turns: Arc::new(Semaphore::new(cores.min(HASHES_AT_ONCE))),
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            verified: Mutex::default(),
        }
    }
}

impl Passwords {
    /// Hashes a password to be kept.
    pub(crate) async fn hash(&self, password: &str) -> Result<PasswordHash, Busy> {
        let password = password.to_owned();
        self.in_turn(move || hash(&password)).await?.ok_or(Busy)
    }

    /// Whether the password is the one that was hashed; without a hash it is not, after the same time.
    pub(crate) async fn verify(&self, password: &str, known: Option<&PasswordHash>) -> Result<bool, Busy> {
        let tag = known.map(|known| self.tag(known, password));
        if tag.is_some_and(|tag| self.was_right(&tag)) {
            return Ok(true);
        }
        let (phc, password) = (known.map_or(NOBODYS, PasswordHash::as_str).to_owned(), password.to_owned());
        let is_right =
            self.in_turn(move || Argon2::default().verify_password(password.as_bytes(), phc.as_str()).is_ok());
        let is_right = is_right.await? && known.is_some();
        if let Some(tag) = tag.filter(|_| is_right) {
            self.remember(tag);
        }
        Ok(is_right)
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let turn = timeout(HASH_WAIT, self.turns.clone().acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|_| Busy)
    }

    /// Stands for a hash and a password that is right for it. The hash has a salt of its own, so that a password that
    /// was changed is another tag.
    fn tag(&self, known: &PasswordHash, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(known.as_str().as_bytes());
        context.update(b"\0");
        context.update(password.as_bytes());
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn was_right(&self, tag: &[u8; 32]) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.get(tag).is_some_and(|at| at.elapsed() < VERIFIED_TIME)
    }

    fn remember(&self, tag: [u8; 32]) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= VERIFIED {
            verified.retain(|_, at| at.elapsed() < VERIFIED_TIME);
        }
        if verified.len() >= VERIFIED {
            verified.clear();
        }
        verified.insert(tag, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let passwords = Passwords::default();
        let known = passwords.hash("correct horse").await.unwrap();
        assert!(!known.as_str().contains("correct"));
        assert_ne!(passwords.hash("correct horse").await.unwrap(), known, "each has its own salt");
        assert_eq!(passwords.verify("correct horse", Some(&known)).await, Ok(true));
        // Remembered now, which changes nothing about other passwords.
        assert_eq!(passwords.verified.lock().unwrap().len(), 1);
        for (password, known) in [("correct Horse", Some(&known)), ("", Some(&known)), ("correct horse", None)] {
            assert_eq!(passwords.verify(password, known).await, Ok(false), "{password}");
        }
        let other = passwords.hash("battery staple").await.unwrap();
        assert_eq!(passwords.verify("correct horse", Some(&other)).await, Ok(false));
        assert_eq!(passwords.verify("x", Some(&PasswordHash::new("damaged"))).await, Ok(false));
    }

    #[test]
    fn nobodys_hash_takes_as_long_as_others() {
        let parameters = |phc: &str| phc.rsplitn(3, '$').last().unwrap().to_owned();
        let fresh = hash("whatever").unwrap();
        assert_eq!(parameters(NOBODYS), parameters(fresh.as_str()));
        assert_eq!(NOBODYS.len(), fresh.as_str().len());
        assert!(Argon2::default().verify_password(b"", NOBODYS).is_err());
    }

    #[test]
    fn what_can_be_a_password() {
        assert_eq!(check(generate().unwrap().expose()), Ok(()));
        assert_ne!(generate(), generate());
        for (password, expected) in [
            ("1234", Err(PasswordError::TooShort)),
            ("12345", Ok(())),
            ("grüße", Ok(())),
            ("123456789012345678901234567890123", Err(PasswordError::TooLong)),
            ("12345\n", Err(PasswordError::Characters)),
        ] {
            assert_eq!(check(password), expected, "{password:?}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let passwords = Passwords::default();
        for number in 0..VERIFIED as u32 * 3 {
            let mut tag = [0; 32];
            tag[..4].copy_from_slice(&number.to_be_bytes());
            passwords.remember(tag);
        }
        assert!(passwords.verified.lock().unwrap().len() <= VERIFIED);
    }
}
