//! From a claimed job to the octets that DATA sends: the one place where stored content becomes what goes out
//! (`docs/decisions/0009-content-at-delivery.md`).
//!
//! Content is kept in wire form, so a message that nothing changes goes out as it was kept, without a copy. A change is
//! made on plain content ([`smtp::data::from_wire`]) and brought into wire form again ([`smtp::data::to_wire`]).

use bytes::Bytes;
use store::{Job, Store};

use super::sign::Signing;

/// Why there is nothing to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unprepared {
    /// The content is gone; no further attempt will find it.
    ContentLost,
    /// Something failed that may do better next time, in words.
    Fault(&'static str),
}

/// Makes ready what goes out.
pub(super) struct Prepare {
    store: Store,
    signing: Signing,
}

impl Prepare {
    pub(super) fn new(store: Store) -> Prepare {
        Prepare { store, signing: Signing::default() }
    }

    /// The content for the recipients of `job`, in wire form.
    ///
    /// The steps, each on the outcome of the one before: read, then whatever changes the content, and signatures last,
    /// since they cover all the rest.
    pub(super) async fn content(&self, job: &Job) -> Result<Bytes, Unprepared> {
        let wire = self.read(job).await?;
        if job.dkim { self.signing.sign(&self.store, job, wire).await } else { Ok(wire) }
    }

    async fn read(&self, job: &Job) -> Result<Bytes, Unprepared> {
        match self.store.wire(job.message).await {
            Ok(Some(wire)) => Ok(wire),
            Ok(None) => Err(Unprepared::ContentLost),
            Err(error) => {
                tracing::error!(%error, message_id = job.message_id, "cannot read a message");
                Err(Unprepared::Fault("the content of the message could not be read from the store"))
            }
        }
    }
}
