//! What the jobs of a claim need, read at once: an attempt then asks the database for nothing.

use std::sync::Arc;

use policy::suppression::folded;

use super::sql::Connection;
use super::{Engine, copy, message, suppression};
use crate::{Job, LOADED_OCTETS, Loaded, StoreError};

impl Engine {
    /// The same jobs, each with what could be read for it.
    pub(super) async fn load(&self, jobs: Vec<Job>) -> Vec<Job> {
        if jobs.is_empty() {
            return jobs;
        }
        let jobs = Arc::new(jobs);
        let asked = jobs.clone();
        let loaded = self.readers.run(move |connection| load_all(connection, &asked)).await;
        let loaded = loaded.unwrap_or_else(|error| {
            tracing::warn!(%error, "what was claimed could not be read ahead");
            Vec::new()
        });
        let mut jobs = Arc::unwrap_or_clone(jobs);
        jobs.iter_mut().zip(loaded).for_each(|(job, loaded)| job.loaded = loaded);
        jobs
    }
}

fn load_all(connection: &Connection, jobs: &[Job]) -> Result<Vec<Loaded>, StoreError> {
    let mut all = Vec::with_capacity(jobs.len());
    for job in jobs {
        let of_recipient = |recipient: &crate::ClaimedRecipient| {
            suppression::listed(connection, job.domain.as_str(), &folded(&recipient.address))
        };
        // What is damaged fails its own job, when that asks for it.
        all.push(Loaded {
            wire: if job.size <= LOADED_OCTETS { message::wire(connection, job.message)? } else { None },
            listed: job.recipients.iter().map(of_recipient).collect::<Result<_, _>>().ok(),
            copy: match (&job.copy_plan, job.recipients.first()) {
                (Some(_), Some(recipient)) => copy::of_recipient(connection, recipient.id).ok().flatten(),
                _ => None,
            },
        });
    }
    Ok(all)
}
