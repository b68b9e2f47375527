//! What is demanded of a host, and by whom: the sender, the operator, the recipient's domain.

use serde::{Deserialize, Serialize};

use super::{Fallback, Requirement, Resolved, TlsPolicy, TlsTag, Verification};

/// The least protection that somebody other than the sender demands for a destination, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Minimum {
    /// Nothing is demanded.
    None,
    /// TLS with any certificate.
    Encrypted,
    /// TLS with a valid certificate.
    Verified,
}

/// Who demands something of a destination beside the sender's two switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demander {
    /// The sender's `require_tls`.
    RequireTls,
    /// The operator's route or rule.
    Rule,
    /// The host's TLSA records (RFC 7672).
    Dane,
    /// The recipient domain's MTA-STS policy in mode *enforce* (RFC 8461).
    MtaSts,
    /// The message's REQUIRETLS (RFC 8689).
    Requiretls,
}

/// What DANE says of a host (RFC 7672 §2.1, §2.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DaneDemand {
    /// Nothing: it does not apply, or is off.
    #[default]
    None,
    /// There are TLSA records and none is usable: TLS, and no authentication by DANE.
    Encrypted,
    /// There are usable TLSA records: TLS, authenticated by them.
    Authenticated,
}

/// All demands that meet at one host.
#[derive(Debug, Clone, Copy)]
pub struct Demands {
    /// The sender's. Its tag `TLS-Required: No` lifts what the *recipient* demands (RFC 8689 §5).
    pub sender: Resolved,
    /// The operator's, for this destination.
    pub rule: Minimum,
    /// The host's.
    pub dane: DaneDemand,
    /// Whether the recipient domain's MTA-STS policy is in mode *enforce*. Mode *testing* demands nothing.
    pub mta_sts_enforced: bool,
}

impl Demands {
    /// The sender's alone.
    pub fn of(sender: Resolved) -> Demands {
        Demands { sender, rule: Minimum::None, dane: DaneDemand::None, mta_sts_enforced: false }
    }
}

/// What makes a certificate valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// A chain to a trusted root, in date, for the MX host's name.
    Pkix,
    /// The host's TLSA records.
    Dane,
}

/// What [`decide`] obeys at one host, and whose will it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The strictest of all demands.
    pub policy: TlsPolicy,
    /// What an invalid certificate leads to where nothing is insisted on.
    pub fallback: Fallback,
    /// What makes a certificate valid here.
    pub authentication: Authentication,
    /// Those who insist on as much as is insisted on; empty when nobody insists on anything.
    pub demanded_by: Vec<Demander>,
    /// What `TLS-Required: No` lifted.
    pub lifted: Vec<Demander>,
}

impl Effective {
    /// Whether somebody made it stricter than the sender's own policy.
    pub fn is_raised(&self, sender: TlsPolicy) -> bool {
        insists_on(self.policy) > insists_on(sender)
    }
}

/// The strictest of what the sender asked for and what everybody else demands.
///
/// All demands stand on one scale of what they *insist* on: nothing, encryption, verified encryption. The greatest
/// wins and nothing lowers it; `skip_verification` only removes the sender's own demand for a valid certificate. An
/// opportunistic sender insists on nothing, so a rule of `Encrypted` makes of it "TLS with any certificate": that
/// sender would have taken plaintext.
///
/// Where usable TLSA records apply they are what authenticates, also for MTA-STS (RFC 8461 §2). `TLS-Required: No`
/// lifts DANE and MTA-STS, never the sender's `require_tls` nor the operator's rule (RFC 8689 §5).
pub fn strengthen(demands: Demands) -> Effective {
    let Demands { sender, rule, dane, mta_sts_enforced } = demands;
    let tls_not_required = sender.tag == TlsTag::NotRequired;
    let requiretls = if sender.tag == TlsTag::Requiretls { Minimum::Verified } else { Minimum::None };
    let of_recipient = [
        (Demander::Dane, minimum_of(dane)),
        (Demander::MtaSts, if mta_sts_enforced { Minimum::Verified } else { Minimum::None }),
    ];
    let of_ours =
        [(Demander::RequireTls, insists_on(sender.policy)), (Demander::Rule, rule), (Demander::Requiretls, requiretls)];
    let demanding = |demands: &[(Demander, Minimum)], least: Minimum| -> Vec<Demander> {
        demands.iter().filter(|(_, minimum)| *minimum >= least).map(|(who, _)| *who).collect()
    };
    let lifted = if tls_not_required { demanding(&of_recipient, Minimum::Encrypted) } else { Vec::new() };
    let standing: Vec<_> = of_ours.into_iter().chain(of_recipient).filter(|(who, _)| !lifted.contains(who)).collect();
    let greatest = standing.iter().map(|(_, minimum)| *minimum).max().unwrap_or(Minimum::None);
    let policy = match greatest {
        Minimum::None => sender.policy,
        Minimum::Encrypted => TlsPolicy { requirement: Requirement::Required, verification: Verification::Skip },
        Minimum::Verified => TlsPolicy { requirement: Requirement::Required, verification: Verification::Verify },
    };
    let by_dane = dane == DaneDemand::Authenticated && !tls_not_required;
    Effective {
        policy,
        fallback: sender.fallback,
        authentication: if by_dane { Authentication::Dane } else { Authentication::Pkix },
        demanded_by: if greatest == Minimum::None { Vec::new() } else { demanding(&standing, greatest) },
        lifted,
    }
}

fn minimum_of(dane: DaneDemand) -> Minimum {
    match dane {
        DaneDemand::None => Minimum::None,
        DaneDemand::Encrypted => Minimum::Encrypted,
        DaneDemand::Authenticated => Minimum::Verified,
    }
}

/// The step on the scale of [`Minimum`] that a policy insists on.
pub fn insists_on(policy: TlsPolicy) -> Minimum {
    match (policy.requirement, policy.verification) {
        (Requirement::Opportunistic, Verification::Verify | Verification::Skip) => Minimum::None,
        (Requirement::Required, Verification::Skip) => Minimum::Encrypted,
        (Requirement::Required, Verification::Verify) => Minimum::Verified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{TlsSettings, resolve};

    fn sender(policy: TlsPolicy) -> Resolved {
        tagged(policy, TlsTag::None)
    }

    fn tagged(policy: TlsPolicy, tag: TlsTag) -> Resolved {
        let settings = TlsSettings {
            tag: Some(tag),
            require_tls: Some(policy.require_tls()),
            skip_verification: Some(policy.skip_verification()),
            ..TlsSettings::default()
        };
        resolve(settings, TlsSettings::default())
    }

    /// Every combination of demands.
    fn all_demands() -> Vec<Demands> {
        let mut all = Vec::new();
        for policy in TlsPolicy::ALL {
            for tag in [TlsTag::None, TlsTag::Requiretls, TlsTag::NotRequired] {
                for rule in [Minimum::None, Minimum::Encrypted, Minimum::Verified] {
                    for dane in [DaneDemand::None, DaneDemand::Encrypted, DaneDemand::Authenticated] {
                        for mta_sts_enforced in [false, true] {
                            all.push(Demands { sender: tagged(policy, tag), rule, dane, mta_sts_enforced });
                        }
                    }
                }
            }
        }
        all
    }

    #[test]
    fn the_result_is_never_weaker_than_any_demand_that_stands() {
        for demands in all_demands() {
            let result = insists_on(strengthen(demands).policy);
            let ours = insists_on(demands.sender.policy).max(demands.rule);
            assert!(result >= ours, "{demands:?}");
            match demands.sender.tag {
                // Lifted: then the result is what our own side demands, and no more.
                TlsTag::NotRequired => assert_eq!(result, ours, "{demands:?}"),
                TlsTag::Requiretls => assert_eq!(result, Minimum::Verified, "{demands:?}"),
                TlsTag::None => {
                    assert!(result >= minimum_of(demands.dane), "{demands:?}");
                    assert!(result == Minimum::Verified || !demands.mta_sts_enforced, "{demands:?}");
                }
            }
        }
    }

    #[test]
    fn where_nobody_demands_more_the_sender_gets_what_he_asked_for() {
        for policy in TlsPolicy::ALL {
            let effective = strengthen(Demands::of(sender(policy)));
            assert_eq!((effective.policy, effective.is_raised(policy)), (policy, false));
            assert_eq!(effective.authentication, Authentication::Pkix);
            let by_sender = if policy.require_tls() { vec![Demander::RequireTls] } else { Vec::new() };
            assert_eq!(effective.demanded_by, by_sender);
        }
    }

    #[test]
    fn dane_authenticates_where_it_applies_and_is_not_lifted() {
        for demands in all_demands() {
            let applies = demands.dane == DaneDemand::Authenticated && demands.sender.tag != TlsTag::NotRequired;
            let expected = if applies { Authentication::Dane } else { Authentication::Pkix };
            assert_eq!(strengthen(demands).authentication, expected, "{demands:?}");
        }
    }

    #[test]
    fn those_who_insist_are_named_and_what_is_lifted_too() {
        let opportunistic = Demands::of(sender(TlsPolicy::ALL[1]));
        let both = Demands { dane: DaneDemand::Authenticated, mta_sts_enforced: true, ..opportunistic };
        assert_eq!(strengthen(both).demanded_by, [Demander::Dane, Demander::MtaSts]);
        let unusable = Demands { dane: DaneDemand::Encrypted, ..both };
        assert_eq!(strengthen(unusable).demanded_by, [Demander::MtaSts]);
        let lifted = strengthen(Demands { sender: tagged(TlsPolicy::ALL[1], TlsTag::NotRequired), ..both });
        assert_eq!((lifted.demanded_by, lifted.lifted), (vec![], vec![Demander::Dane, Demander::MtaSts]));
        let required = Demands { sender: tagged(TlsPolicy::ALL[2], TlsTag::NotRequired), ..both };
        assert_eq!(strengthen(required).demanded_by, [Demander::RequireTls]);
    }
}
