//! People who use the control panel, and their sessions. The store sees hashes of passwords and of session tokens only.

use smtp::Domain;

use crate::{KeyHash, PasswordHash, Store, StoreError, Timestamp};

/// What a user may see and change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserRole {
    /// Everything.
    Admin,
    /// One sending domain, and what belongs to it. The user goes when the domain goes.
    Domain(Domain),
}

impl UserRole {
    /// The domain, if it is one.
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            UserRole::Admin => None,
            UserRole::Domain(domain) => Some(domain),
        }
    }
}

/// A user to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// What is typed to sign in; whatever its case, there is one of it.
    pub name: String,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// What the user may do.
    pub role: UserRole,
    /// The time that it is made.
    pub now: Timestamp,
}

/// A user as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The store's own number.
    pub id: i64,
    /// What is typed to sign in.
    pub name: String,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// What the user may do.
    pub role: UserRole,
    /// Since when.
    pub created_at: Timestamp,
    /// When a session was opened last.
    pub signed_in_at: Option<Timestamp>,
}

/// A session to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// The hash of the token that the browser keeps.
    pub token: KeyHash,
    /// Whose.
    pub user: i64,
    /// Where it was opened from.
    pub address: String,
    /// What the browser calls itself.
    pub agent: String,
    /// The time that it is opened.
    pub now: Timestamp,
    /// When it ends, however much it is used.
    pub ends_at: Timestamp,
}

/// A session as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The store's own number.
    pub id: i64,
    /// Where it was opened from.
    pub address: String,
    /// What the browser calls itself.
    pub agent: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was used last, within some minutes.
    pub used_at: Timestamp,
    /// When it ends, however much it is used.
    pub ends_at: Timestamp,
}

impl Store {
    /// Makes the first user; [`StoreError::Conflict`] when there is any.
    pub async fn create_first_user(&self, user: NewUser) -> Result<User, StoreError> {
        self.engine().create_user(user, true).await
    }

    /// Makes a user; [`StoreError::Conflict`] when there is one of that name, [`StoreError::Invalid`] when it is one of
    /// a domain that there is not.
    pub async fn create_user(&self, user: NewUser) -> Result<User, StoreError> {
        self.engine().create_user(user, false).await
    }

    /// Whether there is any user.
    pub async fn has_users(&self) -> Result<bool, StoreError> {
        self.engine().has_users().await
    }

    /// The user of that name, whatever its case.
    pub async fn find_user(&self, name: &str) -> Result<Option<User>, StoreError> {
        self.engine().find_user(name).await
    }

    /// All users by name.
    pub async fn list_users(&self) -> Result<Vec<User>, StoreError> {
        self.engine().list_users().await
    }

    /// Gives a user another password, ends all sessions but the one named, and says whether there is such a user.
    pub async fn set_user_password(
        &self,
        user: i64,
        hash: PasswordHash,
        but: Option<KeyHash>,
    ) -> Result<bool, StoreError> {
        self.engine().set_user_password(user, hash, but).await
    }

    /// Deletes a user with all sessions and says whether there was one. [`StoreError::Invalid`] when it is the last
    /// that may do everything.
    pub async fn delete_user(&self, user: i64) -> Result<bool, StoreError> {
        self.engine().delete_user(user).await
    }

    /// Opens a session, and forgets those that have ended.
    pub async fn open_session(&self, session: NewSession) -> Result<(), StoreError> {
        self.engine().open_session(session).await
    }

    /// The session of that token and its user, if it has not ended.
    pub async fn session(&self, token: KeyHash, now: Timestamp) -> Result<Option<(Session, User)>, StoreError> {
        self.engine().session(token, now).await
    }

    /// Writes that a session was used.
    pub async fn use_session(&self, token: KeyHash, now: Timestamp) -> Result<(), StoreError> {
        self.engine().use_session(token, now).await
    }

    /// The sessions of a user, latest used first.
    pub async fn list_sessions(&self, user: i64, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.engine().list_sessions(user, now).await
    }

    /// Ends a session.
    pub async fn close_session(&self, token: KeyHash) -> Result<(), StoreError> {
        self.engine().close_session(token).await
    }

    /// Ends all sessions of a user and says how many there were.
    pub async fn close_sessions(&self, user: i64) -> Result<u64, StoreError> {
        self.engine().close_sessions(user).await
    }
}
