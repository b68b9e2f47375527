//! Policies are fetched again before they expire (RFC 8461 §3.3, §10.2), so that whoever can keep us from the policy
//! host for a day cannot make us forget what it said.

use std::sync::Arc;
use std::time::Duration;

use policy::mta_sts::{Cached, Mode, refresh_as};
use smtp::Domain;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{CacheError, MtaSts, fetch, now};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(10 * 60);
/// Most policies fetched in one round.
const PER_ROUND: usize = 1000;
/// Policies fetched at a time.
const AT_ONCE: usize = 8;

impl MtaSts {
    /// Refreshes what is due, now and every ten minutes, until `stop` becomes true.
    pub async fn keep_fresh(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let rounds = async {
            loop {
                let refreshed = self.clone().refresh_due().await;
                tracing::debug!(refreshed, "MTA-STS policies refreshed");
                tokio::time::sleep(ROUND).await;
            }
        };
        tokio::select! {
            () = rounds => {}
            _ = stop.wait_for(|stopping| *stopping) => {}
        }
    }

    /// Refreshes what is due now, and says how many policies were fetched.
    pub async fn refresh_due(self: Arc<Self>) -> usize {
        if let Err(CacheError(error)) = self.cache.forget_expired(now()).await {
            tracing::warn!(error, "cannot forget expired MTA-STS policies");
        }
        let due = match self.cache.due(now(), PER_ROUND).await {
            Ok(due) => due,
            Err(CacheError(error)) => {
                tracing::warn!(error, "cannot tell which MTA-STS policies are due");
                return 0;
            }
        };
        let (mut running, mut refreshed) = (JoinSet::new(), 0);
        for (domain, cached) in due {
            while running.len() >= AT_ONCE {
                refreshed += usize::from(matches!(running.join_next().await, Some(Ok(true))));
            }
            let this = self.clone();
            running.spawn(async move { this.refresh(&domain, cached).await });
        }
        while let Some(ended) = running.join_next().await {
            refreshed += usize::from(matches!(ended, Ok(true)));
        }
        refreshed
    }

    /// Fetches one policy again; whatever comes of it, it is not due any more for a while.
    async fn refresh(&self, domain: &Domain, cached: Cached) -> bool {
        let (answer, dns_error) = self.announced(domain).await;
        let failure = match refresh_as(&cached, &answer) {
            Some(id) => match fetch::fetch(self, domain).await {
                Ok(policy) => {
                    let changed = policy != cached.policy || id != cached.id;
                    self.keep(domain, &Cached::fetched(id, policy, cached.used_at, now())).await;
                    if changed {
                        self.looks.forget(domain);
                    }
                    return true;
                }
                Err(failure) => failure.detail,
            },
            None => dns_error.unwrap_or_else(|| "the domain announces no policy any more".to_owned()),
        };
        // RFC 8461 §3.3: administrators are told, unless the policy says that there is none.
        match cached.policy.mode {
            Mode::Enforce | Mode::Testing => {
                tracing::warn!(%domain, failure, "cannot refresh an MTA-STS policy; the one we have applies until it expires");
            }
            Mode::None => tracing::debug!(%domain, failure, "cannot refresh an MTA-STS policy of mode none"),
        }
        if let Err(CacheError(error)) = self.cache.note(domain, &cached.postponed(now())).await {
            tracing::warn!(%domain, error, "cannot postpone the refresh of an MTA-STS policy");
        }
        false
    }
}
