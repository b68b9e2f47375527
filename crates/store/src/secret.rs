//! Keys that this installation makes for itself.

use crate::{Store, StoreError};

impl Store {
    /// The secret of that name: random, made when it is asked for first, and the same ever after, whichever process asks.
    pub async fn secret(&self, name: &'static str) -> Result<[u8; 32], StoreError> {
        self.engine().secret(name).await
    }
}
