//! From a claimed job to the octets that DATA sends: the one place where stored content becomes what goes out
//! (`docs/decisions/0009-content-at-delivery.md`).
//!
//! Content is kept in wire form, so a message that nothing changes goes out as it was kept, without a copy. A change is
//! made on plain content ([`smtp::data::from_wire`]) and brought into wire form again ([`smtp::data::to_wire`]).

use bytes::Bytes;
use serde_json::Value;
use store::tracking::TrackedCopy;
use store::{Job, Store, StoreError};

use super::sign::Signing;
use crate::copies;
use crate::inbound::WayBack;
use crate::smtpd::trace::header_lines;
use crate::tracking::{self, Seals, TrackedRecipient};

/// Longer content is worked on by a thread where it keeps nobody waiting.
const INLINE_OCTETS: usize = 128 * 1024;

/// Why there is nothing to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unprepared {
    /// The content is gone; no further attempt will find it.
    ContentLost,
    /// Something could not be read from the store: why, and in words what.
    Unread(StoreError, &'static str),
    /// Something failed that may do better next time, in words.
    Fault(&'static str),
    /// The recipient's copy cannot be made, and never will be, in words.
    Refused(String),
}

/// Makes ready what goes out.
pub(super) struct Prepare {
    store: Store,
    signing: Signing,
    seals: Seals,
}

impl Prepare {
    pub(super) fn new(store: Store) -> Prepare {
        Prepare { store, signing: Signing::default(), seals: Seals::default() }
    }

    /// The content for the recipients of `job`, in wire form.
    ///
    /// The steps, each on the outcome of the one before: read, then whatever changes the content, and signatures last,
    /// since they cover all the rest.
    pub(super) async fn content(&self, job: &Job, way_back: Option<&WayBack>) -> Result<Bytes, Unprepared> {
        let mut wire = self.read(job).await?;
        if let Some(plan) = &job.copy_plan {
            wire = self.copy(job, plan, wire).await?;
        }
        // A signature that came with the message, and that none of ours would stand for, is not broken.
        if let Some(tracking) = job.tracking.as_ref().filter(|_| job.dkim || !comes_signed(&wire)) {
            wire = self.track(job, tracking, wire).await?;
        }
        // These fields begin with no dot, so they need no doubling.
        if let Some(fields) = way_back.and_then(|way_back| way_back.feedback_request(&wire)) {
            wire = [fields.as_bytes(), &wire].concat().into();
        }
        if job.dkim { self.signing.sign(&self.store, job, wire).await } else { Ok(wire) }
    }

    async fn read(&self, job: &Job) -> Result<Bytes, Unprepared> {
        if let Some(wire) = &job.loaded.wire {
            return Ok(wire.clone());
        }
        match self.store.wire(job.message).await {
            Ok(Some(wire)) => Ok(wire),
            Ok(None) => Err(Unprepared::ContentLost),
            Err(error) => Err(Unprepared::Unread(error, "the content of the message")),
        }
    }

    /// The one recipient's own copy.
    async fn copy(&self, job: &Job, plan: &Value, wire: Bytes) -> Result<Bytes, Unprepared> {
        let Some(recipient) = job.recipients.first() else { return Err(Unprepared::ContentLost) };
        let loaded = job.loaded.copy.clone();
        let copy = match if loaded.is_some() { Ok(loaded) } else { self.store.copy(recipient.id).await } {
            Ok(Some(copy)) => copy,
            Ok(None) => return Err(Unprepared::ContentLost),
            Err(error) => return Err(Unprepared::Unread(error, "what the copy is made with")),
        };
        let plan = plan.clone();
        // A template may take its time.
        let is_long = wire.len() > INLINE_OCTETS || copies::has_template(&plan);
        let is_tracked = job.tracking.is_some();
        let make = move |content: &[u8]| copies::render(&plan, content, &copy, is_tracked);
        let made = remade(job, wire, is_long, make).await?;
        made.map_err(|error| Unprepared::Refused(error.to_string()))
    }

    /// The same with links that tell what this recipient does. What cannot have them goes out without.
    async fn track(&self, job: &Job, tracking: &Value, wire: Bytes) -> Result<Bytes, Unprepared> {
        let Some(recipient) = job.recipients.first() else { return Err(Unprepared::ContentLost) };
        let unread = |error| Unprepared::Unread(error, "the key of links");
        let seal = self.seals.of(&self.store).await.map_err(unread)?;
        let recipient = TrackedRecipient {
            copy: TrackedCopy::of(job, recipient.id),
            domain: job.domain.clone(),
            address: recipient.address.clone(),
            tags: job.tags.clone(),
        };
        let tracking = tracking.clone();
        let make = move |content: &[u8]| tracking::rewrite(&tracking, content, &recipient, &seal);
        let is_long = wire.len() > INLINE_OCTETS;
        Ok(remade(job, wire.clone(), is_long, make).await?.unwrap_or_else(|error| {
            tracing::warn!(%error, message_id = job.message_id, "a message goes out without tracking");
            wire
        }))
    }
}

/// What `make` makes of the plain content, in wire form.
async fn remade<E: Send + 'static>(
    job: &Job,
    wire: Bytes,
    is_long: bool,
    make: impl FnOnce(&[u8]) -> Result<Vec<u8>, E> + Send + 'static,
) -> Result<Result<Bytes, E>, Unprepared> {
    let work = move || {
        let made = make(&smtp::data::from_wire(&wire));
        made.map(|content| Bytes::from(smtp::data::to_wire(&content)))
    };
    if !is_long {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, message_id = job.message_id, "making a copy ended by a fault");
        Unprepared::Fault("a fault in this server ended the making of the copy")
    })
}

fn comes_signed(wire: &[u8]) -> bool {
    const NAME: &[u8] = b"DKIM-Signature:";
    header_lines(wire).any(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))
}
