//! Logins for SMTP submission. The store never sees a password, only its hash.

use std::fmt;

use smtp::Domain;

use crate::{Store, StoreError, Timestamp};

/// The hash of a password with all that is needed to check one against it, as a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes what a hash function for passwords gave.
    pub fn new(phc: impl Into<String>) -> PasswordHash {
        PasswordHash(phc.into())
    }

    /// The PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A login, `mailbox@domain`, that may submit mail for its domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The sending domain.
    pub domain: Domain,
    /// What stands before the `@`, in lower case.
    pub mailbox: String,
    /// The hash of its password.
    pub hash: PasswordHash,
    /// Since when there is such a login.
    pub created_at: Timestamp,
}

impl Credential {
    /// The whole login.
    pub fn login(&self) -> String {
        format!("{}@{}", self.mailbox, self.domain)
    }
}

impl Store {
    /// Makes a credential. [`StoreError::Conflict`] when there is one of that login, [`StoreError::Invalid`] when there
    /// is no such domain.
    pub async fn create_credential(&self, credential: Credential) -> Result<(), StoreError> {
        self.engine().create_credential(credential).await
    }

    /// Gives a credential another password and says whether there is one of that login.
    pub async fn set_credential_password(
        &self,
        domain: &Domain,
        mailbox: &str,
        hash: PasswordHash,
    ) -> Result<bool, StoreError> {
        self.engine().set_credential_password(domain, mailbox, hash).await
    }

    /// The credential of that login.
    pub async fn credential(&self, domain: &Domain, mailbox: &str) -> Result<Option<Credential>, StoreError> {
        self.engine().credential(domain, mailbox).await
    }

    /// How many credentials a domain has, and a page of them by name.
    pub async fn list_credentials(
        &self,
        domain: &Domain,
        limit: usize,
        skip: usize,
    ) -> Result<(u64, Vec<Credential>), StoreError> {
        self.engine().list_credentials(domain, limit, skip).await
    }

    /// Deletes a credential and says whether there was one.
    pub async fn delete_credential(&self, domain: &Domain, mailbox: &str) -> Result<bool, StoreError> {
        self.engine().delete_credential(domain, mailbox).await
    }

    /// Deletes all credentials of a domain and says how many there were. Those of a domain that is deleted go with it.
    pub async fn delete_credentials(&self, domain: &Domain) -> Result<u64, StoreError> {
        self.engine().delete_credentials(domain).await
    }
}
