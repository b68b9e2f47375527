//! Sending domains and what they ask for.

use policy::tls::TlsSettings;
use smtp::Domain;

use crate::Timestamp;
use crate::dkim::NewDkimKey;
use crate::retention::Retention;
use crate::tracking::TrackingSettings;

/// A domain that mail is sent for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendingDomain {
    /// Its name for those outside: 24 hexadecimal digits.
    pub id: String,
    /// The domain.
    pub name: Domain,
    /// Since when.
    pub created_at: Timestamp,
    /// What it asks for; `None` was never set.
    pub tls: TlsSettings,
    /// What it wants to know of what recipients do.
    pub tracking: TrackingSettings,
    /// Whether its DNS records were all there when they were last looked for.
    pub verified: bool,
    /// How long, and how much, is kept of its mail.
    pub retention: Retention,
}

/// A domain to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDomain {
    /// The domain.
    pub name: Domain,
    /// What it asks for.
    pub tls: TlsSettings,
    /// The DKIM key that is made with it.
    pub dkim: Option<NewDkimKey>,
    /// The time that it is made.
    pub now: Timestamp,
}

/// In which order domains are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DomainSort {
    /// Newest first.
    #[default]
    Newest,
    /// By name, from a to z.
    NameAscending,
    /// By name, from z to a.
    NameDescending,
}

/// Which domains are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainQuery {
    /// Only this one.
    pub only: Option<Domain>,
    /// Only those whose name contains this, whatever the case.
    pub search: Option<String>,
    /// Only those that are verified, or that are not.
    pub verified: Option<bool>,
    /// At most so many.
    pub limit: usize,
    /// Leave out so many first.
    pub skip: usize,
    /// In which order.
    pub sort: DomainSort,
}

impl Default for DomainQuery {
    fn default() -> DomainQuery {
        DomainQuery { only: None, search: None, verified: None, limit: 100, skip: 0, sort: DomainSort::default() }
    }
}
