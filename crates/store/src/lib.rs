//! What outlives a crash: messages, their recipients, the events that tell what became of them, domains and keys.
//!
//! [`Store`] is the only door. Behind it stands one engine, whose statements are spoken with SQLite or with PostgreSQL
//! (`docs/decisions/0001-store-door.md` lists each operation and what its transaction covers, 0021 how there is one set of them).
//!
//! What callers may rely on:
//! - [`Store::accept`] answers `Ok` only after the message, its recipients and their events are on disk.
//! - A recipient's change of state and the event that tells it are one transaction ([`Store::record`]).
//! - The timestamps of events strictly increase in the order in which they become visible, so that a reader who pages
//!   by them never misses one ([`Store::events`]).
//! - What cannot be written is refused with [`StoreError::Unavailable`]; what was kept before stays.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bounce;
pub mod complaint;
mod copy;
mod credential;
mod database;
pub mod dkim;
pub mod dns_check;
mod domain;
mod dropped;
pub mod dsn;
mod engine;
mod error;
mod event;
pub mod figures;
pub mod inspect;
mod key;
mod location;
mod message;
pub mod posture;
mod queue;
pub mod retention;
pub mod rotation;
mod secret;
mod site;
mod store;
mod stored;
pub mod suppression;
pub mod template;
mod time;
pub mod tlsrpt;
pub mod tracking;
pub mod traffic;
pub mod user;
pub mod waiting;
pub mod webhook;

pub use copy::{IndividualCopy, NewCopies, NewCopy};
pub use credential::{Credential, PasswordHash};
pub use domain::{DomainQuery, DomainSort, NewDomain, SendingDomain};
pub use error::StoreError;
pub use event::{
    AttemptRecord, ConnectionRecord, Cursor, CursorError, Direction, Event, EventCount, EventKind, EventQuery,
    FailureReason, Field, Filter, NewEvent, Severity,
};
pub use key::{ApiKey, KeyHash, KeyRole, KeyScope, NewKey};
pub use location::{Location, LocationError, Role};
pub use message::{AttachmentSummary, MessageId, MessageKey, MessageSummary, Method, NewMessage};
pub use queue::{
    Claim, ClaimedRecipient, Job, JobDsn, LOADED_OCTETS, Loaded, NewState, RECIPIENTS_PER_JOB, RecipientId,
    RecipientOutcome,
};
pub use site::{Gate, Held, Overdue, Room, SiteNote};
pub use store::{Purge, Purged, Stats, Store};
pub use stored::StoredMessage;
pub use time::Timestamp;
