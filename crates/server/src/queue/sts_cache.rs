//! MTA-STS policies, kept in the store.

use delivery::mta_sts::{CacheError, CacheResult, PolicyCache};
use policy::mta_sts::{Cached, UnixSeconds};
use smtp::Domain;
use store::{Store, StoreError};

/// The store as a cache of policies.
#[derive(Debug, Clone)]
pub struct StoredPolicies(pub Store);

impl PolicyCache for StoredPolicies {
    fn get<'a>(&'a self, domain: &'a Domain) -> CacheResult<'a, Option<Cached>> {
        Box::pin(async { self.0.sts_policy(domain).await.map_err(in_words) })
    }

    fn put<'a>(&'a self, domain: &'a Domain, cached: &'a Cached) -> CacheResult<'a, ()> {
        Box::pin(async { self.0.put_sts_policy(domain, cached).await.map_err(in_words) })
    }

    fn note<'a>(&'a self, domain: &'a Domain, cached: &'a Cached) -> CacheResult<'a, ()> {
        Box::pin(async { self.0.note_sts_policy(domain, cached).await.map_err(in_words) })
    }

    fn due<'a>(&'a self, now: UnixSeconds, limit: usize) -> CacheResult<'a, Vec<(Domain, Cached)>> {
        Box::pin(async move { self.0.due_sts_policies(now, limit).await.map_err(in_words) })
    }

    fn forget_expired<'a>(&'a self, now: UnixSeconds) -> CacheResult<'a, ()> {
        Box::pin(async move { self.0.forget_expired_sts_policies(now).await.map_err(in_words) })
    }
}

fn in_words(error: StoreError) -> CacheError {
    CacheError(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use delivery::mta_sts::{Found, MtaSts, Origin, StsOptions};
    use delivery::resolve::Dns;
    use delivery::tls::{Roots, TlsEngine};
    use store::{Location, Role};
    use testkit::{Lab, PolicySite};

    use super::*;

    #[tokio::test]
    async fn a_policy_outlives_the_program_the_dns_and_the_policy_host() {
        const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mx.d.test\nmax_age: 86400\n";
        let lab = Lab::empty().await.unwrap();
        lab.publish_policy("d.test", "1", PolicySite::good(POLICY)).unwrap();
        let directory = std::env::temp_dir().join(format!("waxwing-sts-{:016x}", rand::random::<u64>()));
        let start = async || {
            let store = Store::open(&Location::sqlite(&directory), Role::Server).await.unwrap();
            let options = StsOptions {
                https_port: lab.https_port(),
                deliver_to_private: vec!["127.0.0.0/8".parse().unwrap()],
                ..StsOptions::default()
            };
            let tls = TlsEngine::new(Roots::of(lab.ca().roots())).unwrap();
            let cache = Arc::new(StoredPolicies(store.clone()));
            (MtaSts::new(options, Dns::new(Some(lab.dns_addr())), &tls, cache), store)
        };
        let domain: Domain = "d.test".parse().unwrap();
        let (sts, store) = start().await;
        let Found::Policy(fetched) = sts.look(&domain).await else { panic!("no policy") };
        assert_eq!(fetched.origin, Origin::Fetched);
        store.close().await;

        lab.dns().update(|zone| zone.servfail("_mta-sts.d.test").servfail("mta-sts.d.test"));
        let (sts, store) = start().await;
        let Found::Policy(kept) = sts.look(&domain).await else { panic!("no policy") };
        assert_eq!((kept.origin, &kept.cached), (Origin::Kept, &fetched.cached));
        assert_eq!(lab.policy_host().count("mta-sts.d.test"), 1);

        // A store that cannot be read is no empty one.
        store.close().await;
        let (sts, store) = start().await;
        store.close().await;
        assert!(matches!(sts.look(&domain).await, Found::Unknown { .. }));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
