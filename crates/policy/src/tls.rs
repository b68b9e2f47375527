//! TLS connection control: what the sender asked for, met with what the host showed.
//!
//! Three steps, each a function: [`resolve`] settles the sender's two switches when a message is accepted,
//! [`strengthen`] adds what others demand when it is about to be delivered, [`decide`] answers each observation.
//! `docs/tls.md` has the table in words; a test compares the two.

use serde::{Deserialize, Serialize};

/// Whether the message may travel in plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// TLS when it can be had, plaintext otherwise (RFC 7435).
    Opportunistic,
    /// TLS or no delivery.
    Required,
}

/// Whether the host's certificate must be valid before TLS counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verification {
    /// Chain to a trusted root, in date, MX host name in the SANs.
    Verify,
    /// Any certificate will do. The handshake signature is still checked.
    Skip,
}

/// What the sender asked for: the two switches, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TlsPolicy {
    /// From `require_tls`.
    pub requirement: Requirement,
    /// From `skip_verification`.
    pub verification: Verification,
}

impl TlsPolicy {
    /// The policy of two switches.
    pub fn from_switches(require_tls: bool, skip_verification: bool) -> TlsPolicy {
        TlsPolicy {
            requirement: if require_tls { Requirement::Required } else { Requirement::Opportunistic },
            verification: if skip_verification { Verification::Skip } else { Verification::Verify },
        }
    }

    /// The switch `require_tls`.
    pub fn require_tls(self) -> bool {
        self.requirement == Requirement::Required
    }

    /// The switch `skip_verification`.
    pub fn skip_verification(self) -> bool {
        self.verification == Verification::Skip
    }

    /// All four policies, in the order of the table's rows.
    pub const ALL: [TlsPolicy; 4] = [
        TlsPolicy { requirement: Requirement::Opportunistic, verification: Verification::Verify },
        TlsPolicy { requirement: Requirement::Opportunistic, verification: Verification::Skip },
        TlsPolicy { requirement: Requirement::Required, verification: Verification::Verify },
        TlsPolicy { requirement: Requirement::Required, verification: Verification::Skip },
    ];
}

/// What one level, a message or a sending domain, states; `None` is "not stated". A message states the two switches
/// alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// TLS or no delivery.
    pub require_tls: Option<bool>,
    /// Any certificate will do.
    pub skip_verification: Option<bool>,
    /// What an invalid certificate leads to.
    pub fallback: Option<Fallback>,
    /// What it leads to that every host was left.
    pub when_left: Option<WhenLeft>,
}

/// Who set a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The message itself.
    Message,
    /// The sending domain.
    Domain,
    /// Nobody: `false`.
    Default,
}

/// What becomes of a message that may travel in plaintext and may not skip verification, at a host that encrypts with
/// an invalid certificate: the sending domain's `tls_fallback`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// Plaintext on a new connection: the product's specified default.
    #[default]
    Plaintext,
    /// Within TLS all the same, encrypted and not authenticated.
    Unverified,
    /// Not to this host, as if TLS were required.
    Defer,
}

/// What becomes of a recipient when every host was left for want of TLS: the sending domain's `tls_failure`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenLeft {
    /// Tried again by the schedule.
    #[default]
    Defer,
    /// Failed at once.
    Fail,
}

macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),+ }) => {
        impl $type {
            /// The setting's word.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $word),+ }
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word.trim().to_ascii_lowercase().as_str() {
                    $($word => Ok($type::$variant),)+
                    _ => Err(format!("'{word}' is none of {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

words!(Fallback { Plaintext => "plaintext", Unverified => "unverified", Defer => "defer" });
words!(WhenLeft { Defer => "defer", Fail => "fail" });

/// The sender's policy and where each half of it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    /// What was asked for.
    pub policy: TlsPolicy,
    /// The sending domain's `tls_fallback`.
    pub fallback: Fallback,
    /// The sending domain's `tls_failure`.
    pub when_left: WhenLeft,
    /// Who set `require_tls`.
    pub require_tls_from: Source,
    /// Who set `skip_verification`.
    pub skip_verification_from: Source,
}

/// Message over domain over the default `false`, each switch on its own, in both directions: a message's `false`
/// beats its domain's `true`.
pub fn resolve(message: TlsSettings, domain: TlsSettings) -> Resolved {
    let (require_tls, require_tls_from) = first_stated(message.require_tls, domain.require_tls);
    let (skip_verification, skip_verification_from) = first_stated(message.skip_verification, domain.skip_verification);
    Resolved {
        policy: TlsPolicy::from_switches(require_tls, skip_verification),
        fallback: message.fallback.or(domain.fallback).unwrap_or_default(),
        when_left: message.when_left.or(domain.when_left).unwrap_or_default(),
        require_tls_from,
        skip_verification_from,
    }
}

fn first_stated(message: Option<bool>, domain: Option<bool>) -> (bool, Source) {
    match (message, domain) {
        (Some(value), _) => (value, Source::Message),
        (None, Some(value)) => (value, Source::Domain),
        (None, None) => (false, Source::Default),
    }
}

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
    /// The sender's.
    pub sender: Resolved,
    /// The operator's, for this destination.
    pub rule: Minimum,
    /// The host's.
    pub dane: DaneDemand,
    /// Whether the recipient domain's MTA-STS policy is in mode *enforce*. Mode *testing* demands nothing.
    pub mta_sts_enforced: bool,
    /// Whether the message says `TLS-Required: No` (RFC 8689 §5): it lifts what the *recipient* demands.
    pub tls_not_required: bool,
}

impl Demands {
    /// The sender's alone.
    pub fn of(sender: Resolved) -> Demands {
        Demands {
            sender,
            rule: Minimum::None,
            dane: DaneDemand::None,
            mta_sts_enforced: false,
            tls_not_required: false,
        }
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
    let Demands { sender, rule, dane, mta_sts_enforced, tls_not_required } = demands;
    let of_recipient = [
        (Demander::Dane, minimum_of(dane)),
        (Demander::MtaSts, if mta_sts_enforced { Minimum::Verified } else { Minimum::None }),
    ];
    let of_ours = [(Demander::RequireTls, insists_on(sender.policy)), (Demander::Rule, rule)];
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

/// What a host showed when TLS was tried: the columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Observed {
    /// The answer to EHLO did not offer STARTTLS.
    NotOffered,
    /// STARTTLS was answered 4yz or 5yz; the connection is in order.
    Refused,
    /// The handshake, or the EHLO after it, failed; the connection is of no further use.
    HandshakeFailed,
    /// Encrypted, and the certificate is not valid.
    Unverified,
    /// Encrypted, and the certificate is valid.
    Verified,
}

impl Observed {
    /// All observations, in the order of the table's columns.
    pub const ALL: [Observed; 5] =
        [Observed::NotOffered, Observed::Refused, Observed::HandshakeFailed, Observed::Unverified, Observed::Verified];
}

/// How well a message was protected on its way to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// No TLS.
    Plaintext,
    /// TLS, and nothing depended on the certificate.
    Encrypted,
    /// TLS, and the delivery depended on a valid certificate.
    Verified,
}

/// Whether a recipient is given up when no host took the message: only when each of them was left for want of TLS, and
/// the sending domain wants to know at once.
pub fn gives_up(when_left: WhenLeft, every_host_was_left: bool) -> bool {
    match when_left {
        WhenLeft::Defer => false,
        WhenLeft::Fail => every_host_was_left,
    }
}

/// What to do about an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Deliver on this connection as it stands.
    Deliver(Protection),
    /// Close, connect anew to the same address, and deliver without TLS.
    ReconnectInPlaintext,
    /// Say nothing of the message to this host; go on to the next address or host.
    LeaveHost,
}

/// The table of `docs/tls.md`, cell by cell.
///
/// | require_tls | skip_verification | not offered | refused | handshake failed | unverified | verified |
/// |---|---|---|---|---|---|---|
/// | false | false | plaintext | plaintext | reconnect in plaintext | reconnect in plaintext | deliver |
/// | false | true | plaintext | plaintext | reconnect in plaintext | deliver | deliver |
/// | true | false | leave | leave | leave | leave | deliver |
/// | true | true | leave | leave | leave | deliver | deliver |
///
/// `fallback` says what the first row does with an unverified host; the table shows its default, plaintext.
pub fn decide(policy: TlsPolicy, fallback: Fallback, observed: Observed) -> Verdict {
    use Observed as Saw;
    use Requirement::{Opportunistic, Required};
    use Verdict::{Deliver, LeaveHost, ReconnectInPlaintext};
    use Verification::{Skip, Verify};

    match (policy.requirement, policy.verification, observed) {
        (Opportunistic | Required, Verify, Saw::Verified) => Deliver(Protection::Verified),
        (Opportunistic | Required, Skip, Saw::Verified | Saw::Unverified) => Deliver(Protection::Encrypted),
        (Opportunistic, Verify | Skip, Saw::NotOffered | Saw::Refused) => Deliver(Protection::Plaintext),
        (Opportunistic, Verify | Skip, Saw::HandshakeFailed) => ReconnectInPlaintext,
        (Opportunistic, Verify, Saw::Unverified) => match fallback {
            Fallback::Plaintext => ReconnectInPlaintext,
            Fallback::Unverified => Deliver(Protection::Encrypted),
            Fallback::Defer => LeaveHost,
        },
        (Required, Verify | Skip, Saw::NotOffered | Saw::Refused | Saw::HandshakeFailed) => LeaveHost,
        (Required, Verify, Saw::Unverified) => LeaveHost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/tls.md` is what people read and this function is what runs. They must be the same table.
    #[test]
    fn the_table_in_the_docs_is_the_table_that_runs() {
        let docs = include_str!("../../../docs/tls.md");
        let rows: Vec<Vec<&str>> = docs
            .lines()
            .skip_while(|line| !line.starts_with("| `require_tls` | `skip_verification` |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        assert_eq!(rows.len(), TlsPolicy::ALL.len(), "the table in docs/tls.md has a row for each policy");
        for (policy, row) in TlsPolicy::ALL.into_iter().zip(rows) {
            assert_eq!(row[0], policy.require_tls().to_string());
            assert_eq!(row[1], policy.skip_verification().to_string());
            assert_eq!(row.len(), 2 + Observed::ALL.len());
            for (observed, cell) in Observed::ALL.into_iter().zip(&row[2..]) {
                assert_eq!(*cell, in_words(decide(policy, Fallback::default(), observed)), "{policy:?} {observed:?}");
            }
        }
    }

    fn in_words(verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Deliver(Protection::Plaintext) => "plaintext, same connection",
            Verdict::ReconnectInPlaintext => "plaintext, new connection, same address",
            Verdict::LeaveHost => "leave this host",
            Verdict::Deliver(Protection::Encrypted) => "deliver, encrypted",
            Verdict::Deliver(Protection::Verified) => "deliver, verified",
        }
    }

    #[test]
    fn required_tls_never_ends_in_plaintext() {
        for policy in TlsPolicy::ALL.into_iter().filter(|policy| policy.require_tls()) {
            for observed in Observed::ALL {
                for fallback in [Fallback::Plaintext, Fallback::Unverified, Fallback::Defer] {
                    let verdict = decide(policy, fallback, observed);
                    assert_ne!(verdict, Verdict::ReconnectInPlaintext);
                    assert_ne!(verdict, Verdict::Deliver(Protection::Plaintext));
                }
            }
        }
    }

    #[test]
    fn each_switch_is_resolved_on_its_own() {
        let states = [None, Some(false), Some(true)];
        for message in states {
            for domain in states {
                let expected = message.or(domain).unwrap_or(false);
                let source = match (message, domain) {
                    (Some(_), _) => Source::Message,
                    (None, Some(_)) => Source::Domain,
                    (None, None) => Source::Default,
                };
                let require = resolve(
                    TlsSettings { require_tls: message, skip_verification: Some(true), ..TlsSettings::default() },
                    TlsSettings { require_tls: domain, skip_verification: Some(false), ..TlsSettings::default() },
                );
                assert_eq!((require.policy.require_tls(), require.require_tls_from), (expected, source));
                assert!(require.policy.skip_verification());
                let skip = resolve(
                    TlsSettings { require_tls: Some(true), skip_verification: message, ..TlsSettings::default() },
                    TlsSettings { require_tls: Some(false), skip_verification: domain, ..TlsSettings::default() },
                );
                assert_eq!((skip.policy.skip_verification(), skip.skip_verification_from), (expected, source));
                assert!(skip.policy.require_tls());
            }
        }
    }

    fn sender(policy: TlsPolicy) -> Resolved {
        let settings = TlsSettings {
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
            for rule in [Minimum::None, Minimum::Encrypted, Minimum::Verified] {
                for dane in [DaneDemand::None, DaneDemand::Encrypted, DaneDemand::Authenticated] {
                    for (mta_sts_enforced, tls_not_required) in
                        [(false, false), (false, true), (true, false), (true, true)]
                    {
                        let sender = sender(policy);
                        all.push(Demands { sender, rule, dane, mta_sts_enforced, tls_not_required });
                    }
                }
            }
        }
        all
    }

    #[test]
    fn the_result_is_never_weaker_than_any_demand_that_stands() {
        for demands in all_demands() {
            let effective = strengthen(demands);
            let result = insists_on(effective.policy);
            assert!(result >= insists_on(demands.sender.policy), "{demands:?}");
            assert!(result >= demands.rule, "{demands:?}");
            if demands.tls_not_required {
                // Lifted: then the result is what our own side demands, and no more.
                assert_eq!(result, insists_on(demands.sender.policy).max(demands.rule), "{demands:?}");
            } else {
                assert!(result >= minimum_of(demands.dane), "{demands:?}");
                assert!(result == Minimum::Verified || !demands.mta_sts_enforced, "{demands:?}");
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
            let applies = demands.dane == DaneDemand::Authenticated && !demands.tls_not_required;
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
        let lifted = strengthen(Demands { tls_not_required: true, ..both });
        assert_eq!((lifted.demanded_by, lifted.lifted), (vec![], vec![Demander::Dane, Demander::MtaSts]));
        let required = Demands { sender: sender(TlsPolicy::ALL[2]), tls_not_required: true, ..both };
        assert_eq!(strengthen(required).demanded_by, [Demander::RequireTls]);
    }

    #[test]
    fn the_fallback_moves_one_cell_alone() {
        for policy in TlsPolicy::ALL {
            for observed in Observed::ALL {
                let default = decide(policy, Fallback::Plaintext, observed);
                for (fallback, moved) in [
                    (Fallback::Unverified, Verdict::Deliver(Protection::Encrypted)),
                    (Fallback::Defer, Verdict::LeaveHost),
                ] {
                    let is_the_cell = policy == TlsPolicy::ALL[0] && observed == Observed::Unverified;
                    let expected = if is_the_cell { moved } else { default };
                    assert_eq!(decide(policy, fallback, observed), expected, "{policy:?} {observed:?}");
                }
            }
        }
    }
}
