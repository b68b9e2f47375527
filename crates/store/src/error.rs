//! Why an operation was not done.

/// Why an operation was not done. Nothing of it was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, an access failed, the database is held by somebody else for too long, or the store is
    /// closed. The same operation may succeed later: an API answers 503, SMTP 452.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The database that nodes share cannot be reached now. What was asked is not at fault, and may succeed later: an API
    /// answers 503, SMTP 452.
    #[error("the store is not available: {0}")]
    Unreachable(String),
    /// The search ran longer than a search may. A narrower time range helps.
    #[error("the search took too long; a shorter time range is faster")]
    TooSlow,
    /// What should be made is there already.
    #[error("{0} exists already")]
    Conflict(String),
    /// What is to be written cannot be kept: a message without recipients, a body beyond what a row holds.
    #[error("{0}")]
    Invalid(String),
    /// The directory or the file cannot be made or opened.
    #[error("cannot open the store at {path}: {reason}")]
    CannotOpen {
        /// The directory or file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Another server works on this directory.
    #[error("{0} is in use by another waxwing server")]
    Locked(String),
    /// The database was written by a newer version of this program.
    #[error("the database has schema version {found}, this program knows versions up to {known}: use a newer waxwing")]
    NewerSchema {
        /// The version that the database has.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A row does not hold what was written into it: the file was damaged or changed by other hands.
    #[error("the database is damaged: {0}")]
    Damaged(String),
}
