//! Destinations by the place that their mail goes to: what a claim asks before it brings work for one.

use std::fmt::Debug;

use policy::site::Site;
use smtp::Domain;

use crate::{Job, Store, StoreError, Timestamp};

/// How much more a site or a destination may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// So many jobs; none means: ask again when one of those that run has ended.
    Jobs(usize),
    /// None before that time. Until then nothing of it is due, and nobody steps over it.
    NotBefore(Timestamp),
}

/// Who knows what runs and what may. It is asked in the middle of a transaction, so it answers at once.
pub trait Gate: Debug + Send + Sync {
    /// How many more jobs of a site may run.
    fn site(&self, site: &Site, now: Timestamp) -> Room;

    /// How many more jobs of a destination may run, whatever its site may have.
    fn destination(&self, destination: &Domain, now: Timestamp) -> Room;
}

/// What has become known of a destination and its site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteNote {
    /// Which destination.
    pub destination: Domain,
    /// The site that it belongs to.
    pub site: Site,
    /// Whether the site's hosts answer, and soon; `None` leaves that as it is.
    pub prompt: Option<bool>,
    /// Whether the destination and its site are no longer held back.
    pub is_back: bool,
}

/// What is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// One destination.
    Destination(Domain),
    /// All destinations of a site.
    Site(Site),
}

/// Asks for recipients that have waited for too long.
#[derive(Debug, Clone)]
pub struct Overdue {
    /// Where they wait.
    pub held: Held,
    /// The time.
    pub now: Timestamp,
    /// Nobody else gets them before this time.
    pub lease_until: Timestamp,
    /// By attempts made: who was due before that time has waited too long. The last one counts for all further attempts.
    pub due_before: Vec<Timestamp>,
    /// Most recipients.
    pub limit: usize,
}

impl Store {
    /// Keeps what has become known of a destination that has anything queued. Of others nothing is remembered.
    pub async fn note_site(&self, note: SiteNote) -> Result<(), StoreError> {
        self.engine().note_sites(vec![note]).await
    }

    /// The same for several.
    pub async fn note_sites(&self, notes: Vec<SiteNote>) -> Result<(), StoreError> {
        self.engine().note_sites(notes).await
    }

    /// Leases recipients that have waited behind what is held back for longer than they may, each in a job of its own.
    pub async fn claim_overdue(&self, overdue: Overdue) -> Result<Vec<Job>, StoreError> {
        self.engine().claim_overdue(overdue).await
    }
}
