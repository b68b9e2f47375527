//! Recipients that a sending domain sends nothing to: bounces, unsubscribes, complaints; and those that are never put on the
//! bounces by themselves, the allowlist.
//!
//! Who fills these lists from elsewhere, such as a link in a message or a report of a complaint, calls
//! [`Store::suppress`]; a bounce in the transaction goes there with its event ([`NewState::Bounced`](crate::NewState)).

use policy::suppression::{EVERY_TAG, Listed, folded};
use smtp::{Address, Domain};

use crate::{Store, StoreError, Timestamp};

/// Most tags of one unsubscribed address. Who unsubscribed from more than that is unsubscribed from everything.
pub const TAGS_PER_ADDRESS: usize = 100;

/// A list of a sending domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SuppressionList {
    /// Hosts said that there are no such mailboxes.
    Bounces,
    /// They want no mail, or none with certain tags.
    Unsubscribes,
    /// They complained.
    Complaints,
    /// Addresses and domains that a refusal does not put on the bounces.
    Allowlist,
}

impl SuppressionList {
    /// The word that the database uses.
    pub fn as_str(self) -> &'static str {
        match self {
            SuppressionList::Bounces => "bounces",
            SuppressionList::Unsubscribes => "unsubscribes",
            SuppressionList::Complaints => "complaints",
            SuppressionList::Allowlist => "allowlist",
        }
    }
}

/// An entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The address in lower case; on the allowlist it may be a domain. Unique in its list.
    pub subject: String,
    /// Bounces: the reply's code.
    pub code: String,
    /// Bounces: what the host said. Allowlist: why it is there.
    pub text: String,
    /// Unsubscribes: from these tags, in lower case; [`EVERY_TAG`] alone when it is everything.
    pub tags: Vec<String>,
    /// Since when.
    pub created_at: Timestamp,
}

impl Suppression {
    /// An entry for an address, which on the unsubscribes means everything.
    pub fn of(address: &Address, created_at: Timestamp) -> Suppression {
        let tags = vec![EVERY_TAG.to_owned()];
        Suppression { subject: folded(address), code: String::new(), text: String::new(), tags, created_at }
    }

    /// An entry for all addresses of a domain, on the allowlist.
    pub fn of_domain(domain: &Domain, created_at: Timestamp) -> Suppression {
        let subject = domain.to_string();
        Suppression { subject, code: String::new(), text: String::new(), tags: Vec::new(), created_at }
    }
}

/// Where a page of a list begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuppressionPlace {
    /// At the first entry.
    First,
    /// At the last entry, which the page ends with.
    Last,
    /// Behind this subject.
    After(String),
    /// Before this subject, which the page ends before.
    Before(String),
}

/// A page of a list, by subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressionQuery {
    /// Of this sending domain.
    pub domain: Domain,
    /// Which list.
    pub list: SuppressionList,
    /// Only subjects that begin with this, in lower case.
    pub prefix: String,
    /// Where.
    pub place: SuppressionPlace,
    /// At most so many.
    pub limit: usize,
}

impl Store {
    /// Puts entries on a list, all of them or none. One that is there is written anew, but keeps its time, and tags of
    /// unsubscribes are added to those there are.
    pub async fn suppress(
        &self,
        domain: &Domain,
        list: SuppressionList,
        entries: Vec<Suppression>,
    ) -> Result<(), StoreError> {
        self.engine().suppress(domain, list, entries).await
    }

    /// Which lists each of these addresses is on, in their order.
    pub async fn listed(&self, domain: &Domain, addresses: &[Address]) -> Result<Vec<Listed>, StoreError> {
        self.engine().listed(domain, addresses).await
    }

    /// A page of a list.
    pub async fn suppressions(&self, query: SuppressionQuery) -> Result<Vec<Suppression>, StoreError> {
        self.engine().suppressions(query).await
    }

    /// The entry of a subject.
    pub async fn suppression(
        &self,
        domain: &Domain,
        list: SuppressionList,
        subject: &str,
    ) -> Result<Option<Suppression>, StoreError> {
        self.engine().suppression(domain, list, subject).await
    }

    /// Takes a subject from a list, or one tag of it from the unsubscribes, and says whether it was there.
    pub async fn unsuppress(
        &self,
        domain: &Domain,
        list: SuppressionList,
        subject: &str,
        tag: Option<&str>,
    ) -> Result<bool, StoreError> {
        self.engine().unsuppress(domain, list, subject, tag).await
    }

    /// Empties a list, in small transactions, so that other operations go on between them.
    pub async fn clear_suppressions(&self, domain: &Domain, list: SuppressionList) -> Result<(), StoreError> {
        self.engine().clear_suppressions(domain, list).await
    }
}
