//! Signing what goes out (DKIM, RFC 6376), with every active key of the sending domain.
//!
//! Which keys are active is asked of the store for each job, so a change holds from the next attempt on, whichever
//! process made it. What is remembered is what never changes: the parsed key of a number that no other key ever gets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use message::dkim::{Signer, SigningKey};
use store::dkim::{DkimKeyId, DkimSigner};
use store::{Job, Store, Timestamp};

use super::prepare::Unprepared;

/// Most parsed keys that are remembered; some kilobytes each.
const REMEMBERED: usize = 1000;

/// Signs, and remembers keys.
#[derive(Default)]
pub(super) struct Signing {
    keys: Mutex<HashMap<DkimKeyId, Arc<SigningKey>>>,
}

impl Signing {
    /// The content with its signatures before it; as it was where there is no key.
    ///
    /// A message that nobody can sign, since it has no From, goes out unsigned: that was settled when it was accepted. A
    /// key that does not sign is a fault of ours, which a domain's DMARC policy would make its recipients' problem.
    pub(super) async fn sign(&self, store: &Store, job: &Job, wire: Bytes) -> Result<Bytes, Unprepared> {
        let kept = store.dkim_signers(&job.domain).await.map_err(|error| {
            tracing::error!(%error, message_id = job.message_id, "cannot read DKIM keys");
            Unprepared::Fault("the DKIM keys of the domain could not be read from the store")
        })?;
        if kept.is_empty() {
            return Ok(wire);
        }
        let signers = kept.iter().map(|kept| self.signer(job, kept)).collect::<Result<Vec<_>, _>>()?;
        let message_id = job.message_id.clone();
        // An RSA signature keeps a core busy for a good part of a millisecond, a large body for more.
        let signed = tokio::task::spawn_blocking(move || signed(&signers, wire, &message_id)).await;
        signed.unwrap_or(Err(Unprepared::Fault("signing the message failed")))
    }

    fn signer(&self, job: &Job, kept: &DkimSigner) -> Result<Signer, Unprepared> {
        let known = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&kept.id).cloned();
        let key = match known {
            Some(key) => key,
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
                key
            }
        };
        Ok(Signer::new(job.domain.clone(), kept.selector.clone(), key))
    }
}

/// No line of a signature starts with a dot, so what is put before content in wire form is in wire form too.
fn signed(signers: &[Signer], wire: Bytes, message_id: &str) -> Result<Bytes, Unprepared> {
    let content = smtp::data::from_wire(&wire);
    let now = Timestamp::now().as_micros().unsigned_abs() / 1_000_000;
    let mut out = Vec::new();
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
