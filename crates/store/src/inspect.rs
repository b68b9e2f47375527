//! A look at a store from outside, which changes nothing: what `waxwing doctor` tells.

use smtp::Domain;

use crate::location::Place;
use crate::{Location, Store, StoreError, Timestamp, engine};

/// Most sending domains that are named.
pub const DOMAINS_SHOWN: usize = 100;

/// What a store shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// How many steps of the schema it has behind it.
    pub schema: i64,
    /// How many this program knows. A start of the server takes an older store there.
    pub known_schema: i64,
    /// Whether a server holds it, or nodes share it.
    pub is_served: bool,
    /// Why this user cannot write there; `None` when he can.
    pub unwritable: Option<String>,
    /// Octets that are free where it lies; `None` of a database, which does not tell.
    pub free: Option<u64>,
    /// API keys.
    pub keys: u64,
    /// Sending domains.
    pub domains: u64,
    /// The first [`DOMAINS_SHOWN`] of them, by name.
    pub first_domains: Vec<Domain>,
    /// The active DKIM keys of these.
    pub signing: Vec<Signing>,
    /// When the latest event happened.
    pub latest_event: Option<Timestamp>,
}

/// A DKIM key that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// The sending domain.
    pub domain: Domain,
    /// Where it is published below the domain.
    pub selector: Domain,
    /// The text of the TXT record.
    pub record: String,
}

impl Store {
    /// Looks at the store, also while a server runs on it. `None`: there is none yet. Neither makes nor migrates anything.
    ///
    /// # Errors
    /// When it cannot be read, or is newer than this program.
    pub async fn inspect(location: &Location) -> Result<Option<Inspection>, StoreError> {
        let place = location.0.clone();
        let look = move || match place {
            Place::Directory(directory) => engine::inspect(&directory),
            Place::Database(database) => engine::inspect_shared(&database),
        };
        tokio::task::spawn_blocking(look).await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }
}
