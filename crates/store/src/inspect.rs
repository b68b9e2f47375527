//! A look at a store from outside, which changes nothing: what `waxwing doctor` tells.

use smtp::Domain;

use crate::{Location, Store, StoreError, Timestamp, sqlite};

/// Most sending domains that are named.
pub const DOMAINS_SHOWN: usize = 100;

/// What a store shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// How many steps of the schema it has behind it.
    pub schema: i64,
    /// How many this program knows. A start of the server takes an older store there.
    pub known_schema: i64,
    /// Whether a server holds it.
    pub is_served: bool,
    /// Why this user cannot write there; `None` when he can.
    pub unwritable: Option<String>,
    /// Octets that are free where it lies.
    pub free: u64,
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
        let directory = location.directory().to_owned();
        tokio::task::spawn_blocking(move || sqlite::inspect(&directory))
            .await
            .map_err(|error| StoreError::Unavailable(error.to_string()))?
    }
}
