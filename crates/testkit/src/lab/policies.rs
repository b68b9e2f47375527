//! What the lab's domains publish about MTA-STS.

use std::io;

use super::Lab;
use crate::{
    ca::Issue,
    policy_host::{PolicyHost, PolicySite},
};

impl Lab {
    /// Publishes an MTA-STS policy for a domain such as `good.test`: the record `_mta-sts.good.test` with this id, and
    /// `mta-sts.good.test`, which leads to the lab's policy host. Takes the place of what was published before. Without
    /// an identity the site gets a good one.
    pub fn publish_policy(&self, domain: &str, id: &str, mut site: PolicySite) -> io::Result<()> {
        let (record, host) = (format!("_mta-sts.{domain}"), format!("mta-sts.{domain}"));
        if site.identity.is_none() {
            site.identity = Some(self.ca.issue(&Issue::new(host.as_str()))?);
        }
        self.policy_host.set(&host, site)?;
        let address = self.policy_host.address().ip();
        self.authority.update(|zone| {
            let zone = zone.without(&record).without(&host);
            zone.txt(&record, &format!("v=STSv1; id={id};")).address(&host, address)
        });
        Ok(())
    }

    /// The web server of the policies, to change what it does and to read its requests.
    pub fn policy_host(&self) -> &PolicyHost {
        &self.policy_host
    }

    /// The port of the policy host: 443 in the world outside.
    pub fn https_port(&self) -> u16 {
        self.policy_host.address().port()
    }
}
