//! What attempts find out about sites, on its way into the store. It is gathered for a moment, since an attempt finds
//! out where its destination belongs when it begins and how its hosts do when it ends, and most are short.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smtp::Domain;
use store::{SiteNote, Store};
use tokio::sync::Notify;

/// How long notes gather.
const GATHERED: Duration = Duration::from_millis(20);

/// Notes that are not kept yet.
#[derive(Default)]
pub(super) struct Notes {
    waiting: Mutex<HashMap<Domain, SiteNote>>,
    any: Notify,
}

impl Notes {
    /// Takes a note. What an earlier one said of the same destination and is not kept yet goes with it.
    pub(super) fn put(&self, note: SiteNote) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.entry(note.destination.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(note);
            }
            Entry::Occupied(mut entry) => {
                let earlier = entry.get();
                let is_same = earlier.site == note.site;
                let prompt = note.prompt.or(earlier.prompt.filter(|_| is_same));
                let is_back = note.is_back || (is_same && earlier.is_back);
                entry.insert(SiteNote { prompt, is_back, ..note });
            }
        }
        drop(waiting);
        self.any.notify_one();
    }

    /// Keeps notes as they come, and says so to `wake`: what is due may change with them.
    ///
    /// Nothing is lost where one is not kept: it is found out again.
    pub(super) async fn keep(self: Arc<Self>, store: Store, wake: Arc<Notify>) {
        loop {
            self.any.notified().await;
            tokio::time::sleep(GATHERED).await;
            let notes = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if let Err(error) = store.note_sites(notes.into_values().collect()).await {
                tracing::warn!(%error, "cannot keep what is known of sites");
            }
            wake.notify_one();
        }
    }
}
