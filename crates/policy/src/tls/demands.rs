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
    /// `tls_fallback = defer`, which keeps mail from a host with an invalid certificate, also where others are content
    /// with any.
    TlsFallback,
    /// The operator's route.
    Route,
    /// The operator's rule.
    Rule,
    /// The host's TLSA records (RFC 7672).
    Dane,
    /// The recipient domain's MTA-STS policy in mode *enforce* (RFC 8461).
    MtaSts,
    /// The message's REQUIRETLS (RFC 8689).
    Requiretls,
}

/// A setting of the sender's that others did not let have its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overridden {
    /// `skip_verification`: the certificate had to be valid all the same.
    SkipVerification,
    /// The sending domain's `tls_fallback`: an invalid certificate led to something stricter.
    TlsFallback,
}

/// What the operator's rules demand at a host ([`crate::rule`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleDemand {
    /// The least protection.
    pub minimum: Minimum,
    /// The least that an invalid certificate leads to where nobody insists on anything.
    pub fallback: Option<Fallback>,
    /// Whether the certificate is pinned, which demands [`Minimum::Verified`].
    pub pinned: bool,
}

impl Default for RuleDemand {
    /// Nothing.
    fn default() -> Self {
        RuleDemand { minimum: Minimum::None, fallback: None, pinned: false }
    }
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
    /// The operator's, on the route that leads there.
    pub route: Minimum,
    /// The operator's, by rules for this destination.
    pub rule: RuleDemand,
    /// The host's.
    pub dane: DaneDemand,
    /// Whether the recipient domain's MTA-STS policy is in mode *enforce*. Mode *testing* demands nothing.
    pub mta_sts_enforced: bool,
}

impl Demands {
    /// The sender's alone.
    pub fn of(sender: Resolved) -> Demands {
        Demands {
            sender,
            route: Minimum::None,
            rule: RuleDemand::default(),
            dane: DaneDemand::None,
            mta_sts_enforced: false,
        }
    }
}

/// What makes a certificate valid: all that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// A chain to a trusted root, in date, for the MX host's name.
    Pkix,
    /// The host's TLSA records.
    Dane,
    /// What the operator pinned, in place of the trusted roots.
    Pin,
    /// Both: the recipient's policy or the message asks for a chain to a trusted root.
    PkixAndPin,
    /// Both.
    DaneAndPin,
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
    /// The sender's settings that others overrode.
    pub overridden: Vec<Overridden>,
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
/// `tls_fallback` is asked where nobody insists on anything, and there the stricter of the sender's and the rules'
/// counts. `Defer` says more than that, never a certificate that is not valid: with a demand for encryption it makes
/// verified encryption.
///
/// Where usable TLSA records apply they are what authenticates, also for MTA-STS (RFC 8461 §2). `TLS-Required: No`
/// lifts DANE and MTA-STS, never the sender's `require_tls` nor the operator's demands (RFC 8689 §5). A pin says what is
/// valid in place of the trusted roots; beside it holds what others ask for by name: TLSA records, or the roots where
/// MTA-STS (RFC 8461 §4.2) or REQUIRETLS (RFC 8689 §4.2.1) want a chain to one.
pub fn strengthen(demands: Demands) -> Effective {
    let Demands { sender, route, rule, dane, mta_sts_enforced } = demands;
    let tls_not_required = sender.tag == TlsTag::NotRequired;
    let verified_if = |demanded| if demanded { Minimum::Verified } else { Minimum::None };
    let requiretls = verified_if(sender.tag == TlsTag::Requiretls);
    let of_recipient = [(Demander::Dane, minimum_of(dane)), (Demander::MtaSts, verified_if(mta_sts_enforced))];
    let of_ours = [
        (Demander::RequireTls, insists_on(sender.policy)),
        (Demander::Route, route),
        (Demander::Rule, rule.minimum.max(verified_if(rule.pinned))),
        (Demander::Requiretls, requiretls),
    ];
    let demanding = |demands: &[(Demander, Minimum)], least: Minimum| -> Vec<Demander> {
        demands.iter().filter(|(_, minimum)| *minimum >= least).map(|(who, _)| *who).collect()
    };
    let lifted = if tls_not_required { demanding(&of_recipient, Minimum::Encrypted) } else { Vec::new() };
    let standing: Vec<_> = of_ours.into_iter().chain(of_recipient).filter(|(who, _)| !lifted.contains(who)).collect();
    let greatest = standing.iter().map(|(_, minimum)| *minimum).max().unwrap_or(Minimum::None);
    let fallback = sender.fallback.max(rule.fallback.unwrap_or_default());
    let mut demanded_by = if greatest == Minimum::None { Vec::new() } else { demanding(&standing, greatest) };
    let is_deferring = is_verifying(sender.policy) && fallback == Fallback::Defer;
    if greatest == Minimum::Encrypted && is_deferring {
        demanded_by.push(Demander::TlsFallback);
    }
    let policy = match greatest {
        Minimum::None => sender.policy,
        Minimum::Encrypted if !is_deferring => {
            TlsPolicy { requirement: Requirement::Required, verification: Verification::Skip }
        }
        Minimum::Encrypted | Minimum::Verified => {
            TlsPolicy { requirement: Requirement::Required, verification: Verification::Verify }
        }
    };
    let by_dane = dane == DaneDemand::Authenticated && !tls_not_required;
    let by_roots = requiretls == Minimum::Verified || (mta_sts_enforced && !tls_not_required);
    let authentication = match (by_dane, rule.pinned, by_roots) {
        (true, false, _) => Authentication::Dane,
        (true, true, _) => Authentication::DaneAndPin,
        (false, true, false) => Authentication::Pin,
        (false, true, true) => Authentication::PkixAndPin,
        (false, false, _) => Authentication::Pkix,
    };
    let overridden = overridden(sender, policy, fallback);
    Effective { policy, fallback, authentication, demanded_by, lifted, overridden }
}

/// Whether it is the table's first row, the one that `tls_fallback` speaks of.
fn is_verifying(policy: TlsPolicy) -> bool {
    (policy.requirement, policy.verification) == (Requirement::Opportunistic, Verification::Verify)
}

/// What the sender set and did not get. That he got TLS although he did not require it is no setting overridden: it is
/// what [`Effective::is_raised`] tells.
fn overridden(sender: Resolved, policy: TlsPolicy, fallback: Fallback) -> Vec<Overridden> {
    let mut overridden = Vec::new();
    if sender.policy.skip_verification() && !policy.skip_verification() {
        overridden.push(Overridden::SkipVerification);
    }
    let is_stricter = match insists_on(policy) {
        Minimum::None => fallback > sender.fallback,
        Minimum::Encrypted => false,
        // Any certificate was set to do.
        Minimum::Verified => sender.fallback == Fallback::Unverified,
    };
    if is_verifying(sender.policy) && is_stricter {
        overridden.push(Overridden::TlsFallback);
    }
    overridden
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
#[path = "demands_tests.rs"]
mod tests;
