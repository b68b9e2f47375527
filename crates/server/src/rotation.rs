//! Rotation of DKIM keys: a successor is made, its record is told, and only once that is published does it sign.
//!
//! So nothing goes out with a signature that nobody can check, however long the owner of the domain takes. The key before
//! stays a week, so that its record is known as one of ours while mail that it signed is still on its way.

use std::time::Duration;

use policy::sending_dns::Validity;
use smtp::Domain;
use store::dkim::{DKIM_KEYS_PER_DOMAIN, DkimKey, DkimKeyQuery};
use store::{Store, StoreError, Timestamp};
use tokio::sync::watch;

use crate::config::duration::DAY;
use crate::dkim::{NoKey, Source, new_key};
use crate::sending_dns::SendingDns;

/// How often keys are looked at.
const EVERY: Duration = Duration::from_secs(3600);
/// How long a retired key is kept.
const RETIRED: Duration = Duration::from_secs(7 * 24 * 3600);
/// The shortest interval: a record takes days to be published and known everywhere.
pub(crate) const SHORTEST: Duration = Duration::from_secs(5 * 24 * 3600);
/// The interval where none was set.
pub(crate) const USUAL: Duration = Duration::from_secs(120 * 24 * 3600);
/// The longest.
pub(crate) const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Why there is no successor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotBegun {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] NoKey),
}

/// Makes a successor of the same kind for each key that signs, or that is older than `age`, and has none yet. They wait.
pub(crate) async fn begin(store: &Store, domain: &Domain, age: Duration) -> Result<Vec<DkimKey>, NotBegun> {
    let query = DkimKeyQuery { domain: Some(domain.clone()), limit: DKIM_KEYS_PER_DOMAIN, ..DkimKeyQuery::default() };
    let (_, keys) = store.dkim_keys(query).await?;
    let waiting = store.dkim_successors(Some(domain)).await?;
    let old = Timestamp::now() - age;
    let mut made = Vec::new();
    for key in keys.iter().filter(|key| key.active && key.created_at <= old) {
        if waiting.iter().any(|successor| successor.replaces == key.id) {
            continue;
        }
        let successor = new_key(Source::like(key), None, false).await?;
        made.extend(store.create_dkim_successor(key.id, successor).await?);
    }
    Ok(made)
}

/// Looks for the records of keys that wait, of one domain or of all, and has those sign whose record is there.
pub(crate) async fn advance(store: &Store, dns: &SendingDns, domain: Option<&Domain>) -> Result<(), StoreError> {
    for successor in store.dkim_successors(domain).await? {
        let key = &successor.key;
        let is_published = dns.look_for_key(key).await.validity == Validity::Valid;
        if is_published && store.promote_dkim_successor(key.id, Timestamp::now()).await? {
            tracing::info!(domain = %key.domain, selector = %key.selector, "a DKIM key took the place of another");
        }
    }
    Ok(())
}

/// Begins what is due, and goes on with what was begun, now and every hour.
pub(crate) async fn run(store: Store, dns: SendingDns, mut stop: watch::Receiver<bool>) {
    loop {
        let look = async {
            if store.has_duties() {
                look(&store, &dns).await;
            }
        };
        tokio::select! {
            () = look => {}
            _ = stop.wait_for(|stopping| *stopping) => return,
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.wait_for(|stopping| *stopping) => return,
        }
    }
}

async fn look(store: &Store, dns: &SendingDns) {
    if let Err(error) = begin_due(store).await {
        tracing::warn!(%error, "cannot begin to rotate DKIM keys");
    }
    let retired = store.delete_retired_dkim_keys(Timestamp::now() - RETIRED).await;
    if let Err(error) = advance(store, dns, None).await.and(retired) {
        tracing::warn!(%error, "cannot go on with rotating DKIM keys");
    }
}

async fn begin_due(store: &Store) -> Result<(), StoreError> {
    for domain in store.dkim_rotations_due(Timestamp::now()).await? {
        let Some(rotation) = store.dkim_rotation(&domain).await? else { continue };
        match begin(store, &domain, rotation.interval).await {
            Ok(made) => {
                for key in made {
                    let record = key.record_name();
                    tracing::info!(%domain, record, value = key.record, "a DKIM key waits for its record to be published");
                }
            }
            // One domain, which may have too many keys, holds up no other.
            Err(error) => tracing::warn!(%domain, %error, "cannot make a DKIM key that takes the place of another"),
        }
    }
    Ok(())
}

/// An interval as Mailgun writes it: `5d`, or any duration of ours.
pub(crate) fn interval(text: &str) -> Option<Duration> {
    crate::config::duration::parse(text).filter(|interval| (SHORTEST..=LONGEST).contains(interval))
}

/// The same for reading, in days.
pub(crate) fn in_days(interval: Duration) -> String {
    format!("{}d", interval.as_secs() / DAY.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_days() {
        for (text, expected) in [
            ("5d", Some("5d")),
            ("120d", Some("120d")),
            ("240h", Some("10d")),
            ("4d", None),
            ("4d23h", None),
            ("3651d", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(interval(text).map(in_days).as_deref(), expected, "{text}");
        }
    }
}
