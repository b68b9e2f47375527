//! Signing what goes out (DKIM, RFC 6376), with every active key of the sending domain.
//!
//! Which keys are active is asked of the store for each job, so a change holds from the next attempt on, whichever
//! process made it. What is remembered is what never changes: the parsed key of a number that no other key ever gets.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use message::dkim::{Signer, SigningKey};
use store::dkim::{DkimKeyId, DkimSigner};
use store::{Job, Store, Timestamp};
use tokio::sync::Semaphore;

use super::prepare::Unprepared;

/// Most parsed keys that are remembered; some kilobytes each.
const REMEMBERED: usize = 1000;

/// Longer content, and longer RSA keys, are left to a thread where they keep nobody waiting.
const INLINE_OCTETS: usize = 64 * 1024;
const INLINE_RSA_BITS: usize = 2048;

/// Signs, and remembers keys.
pub(super) struct Signing {
    keys: Mutex<HashMap<DkimKeyId, Arc<SigningKey>>>,
    /// For those who sign where they are. An RSA signature takes a good part of a millisecond: were many to sign at once, a
    /// request would wait for all of them.
    cores: Semaphore,
}

impl Default for Signing {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Signing { keys: Mutex::default(), cores: Semaphore::new(cores) }
    }
}

impl Signing {
    /// The content with its signatures before it; as it was where there is no key.
    ///
    /// A message that nobody can sign, since it has no From, goes out unsigned: that was settled when it was accepted. A
    /// key that does not sign is a fault of ours, which a domain's DMARC policy would make its recipients' problem.
    pub(super) async fn sign(&self, store: &Store, job: &Job, wire: Bytes) -> Result<Bytes, Unprepared> {
        let unread = |error| Unprepared::Unread(error, "the DKIM keys of the domain");
        let kept = store.dkim_signers(&job.domain).await.map_err(unread)?;
        if kept.is_empty() {
            return Ok(wire);
        }
        let mut signers = Vec::with_capacity(kept.len());
        let mut is_long = wire.len() > INLINE_OCTETS;
        for kept in kept.iter() {
            let key = self.key(job, kept)?;
            is_long |= key.rsa_bits().is_some_and(|bits| bits > INLINE_RSA_BITS);
            signers.push(Signer::new(job.domain.clone(), kept.selector.clone(), key));
        }
        if !is_long {
            // It is closed never.
            let _core = self.cores.acquire().await;
            return signed(&signers, wire, &job.message_id);
        }
        let message_id = job.message_id.clone();
        let signed = tokio::task::spawn_blocking(move || signed(&signers, wire, &message_id)).await;
        signed.unwrap_or(Err(Unprepared::Fault("signing the message failed")))
    }

    fn key(&self, job: &Job, kept: &DkimSigner) -> Result<Arc<SigningKey>, Unprepared> {
        let known = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&kept.id).cloned();
        match known {
            Some(key) => Ok(key),
            None => {
                let key = SigningKey::from_pem(kept.private.expose()).map_err(|error| {
                    tracing::error!(%error, domain = %job.domain, selector = %kept.selector, "a DKIM key is unusable");
                    Unprepared::Fault("a DKIM key of the domain cannot be used")
                })?;
                let key = Arc::new(key);
                let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                if keys.len() >= REMEMBERED {
                    keys.clear();
                }
                keys.insert(kept.id, key.clone());
                Ok(key)
            }
        }
    }
}

/// No line of a signature starts with a dot, so what is put before content in wire form is in wire form too.
fn signed(signers: &[Signer], wire: Bytes, message_id: &str) -> Result<Bytes, Unprepared> {
    let content = smtp::data::from_wire(&wire);
    let now = Timestamp::now().as_micros().unsigned_abs() / 1_000_000;
    // A signature with its header field is about as long as its key: some hundred octets.
    let mut out = Vec::with_capacity(wire.len() + 1024 * signers.len());
    for signer in signers {
        match signer.sign(&content, now) {
            Ok(field) => out.extend(field),
            Err(message::dkim::SignError::Key) => {
                return Err(Unprepared::Fault("a DKIM key of the domain does not sign"));
            }
            Err(error) => {
                tracing::warn!(%error, message_id, "a message cannot be signed and goes out unsigned");
                drop(content);
                return Ok(wire);
            }
        }
    }
    out.extend_from_slice(&wire);
    Ok(out.into())
}
