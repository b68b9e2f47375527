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

/// The two switches as one level, a message or a sending domain, states them; `None` is "not stated".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// TLS or no delivery.
    pub require_tls: Option<bool>,
    /// Any certificate will do.
    pub skip_verification: Option<bool>,
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

/// The sender's policy and where each half of it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    /// What was asked for.
    pub policy: TlsPolicy,
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
    let policy = TlsPolicy::from_switches(require_tls, skip_verification);
    Resolved { policy, require_tls_from, skip_verification_from }
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

/// The policy that [`decide`] obeys, and whether the destination's rule made it stricter than the sender's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    /// The strictest of all demands.
    pub policy: TlsPolicy,
    /// Whether the operator's rule for the destination raised it.
    pub raised_by_rule: bool,
}

/// The strictest of what the sender asked for and what the operator's rule for the destination demands.
///
/// The policies stand on a scale of what they *insist* on: nothing (both opportunistic ones), encryption, verified
/// encryption. A rule lifts a policy to its own step and never lowers one. An opportunistic sender insists on
/// nothing, so a rule of `Encrypted` makes of it "TLS with any certificate": that sender would have taken plaintext.
pub fn strengthen(sender: TlsPolicy, rule: Minimum) -> Effective {
    if rule <= insists_on(sender) {
        return Effective { policy: sender, raised_by_rule: false };
    }
    let verification = match rule {
        Minimum::Verified => Verification::Verify,
        Minimum::Encrypted | Minimum::None => Verification::Skip,
    };
    Effective { policy: TlsPolicy { requirement: Requirement::Required, verification }, raised_by_rule: true }
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
pub fn decide(policy: TlsPolicy, observed: Observed) -> Verdict {
    use Observed as Saw;
    use Requirement::{Opportunistic, Required};
    use Verdict::{Deliver, LeaveHost, ReconnectInPlaintext};
    use Verification::{Skip, Verify};

    match (policy.requirement, policy.verification, observed) {
        (Opportunistic | Required, Verify, Saw::Verified) => Deliver(Protection::Verified),
        (Opportunistic | Required, Skip, Saw::Verified | Saw::Unverified) => Deliver(Protection::Encrypted),
        (Opportunistic, Verify | Skip, Saw::NotOffered | Saw::Refused) => Deliver(Protection::Plaintext),
        (Opportunistic, Verify | Skip, Saw::HandshakeFailed) => ReconnectInPlaintext,
        (Opportunistic, Verify, Saw::Unverified) => ReconnectInPlaintext,
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
                assert_eq!(*cell, in_words(decide(policy, observed)), "{policy:?} {observed:?}");
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
                let verdict = decide(policy, observed);
                assert_ne!(verdict, Verdict::ReconnectInPlaintext);
                assert_ne!(verdict, Verdict::Deliver(Protection::Plaintext));
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
                    TlsSettings { require_tls: message, skip_verification: Some(true) },
                    TlsSettings { require_tls: domain, skip_verification: Some(false) },
                );
                assert_eq!((require.policy.require_tls(), require.require_tls_from), (expected, source));
                assert!(require.policy.skip_verification());
                let skip = resolve(
                    TlsSettings { require_tls: Some(true), skip_verification: message },
                    TlsSettings { require_tls: Some(false), skip_verification: domain },
                );
                assert_eq!((skip.policy.skip_verification(), skip.skip_verification_from), (expected, source));
                assert!(skip.policy.require_tls());
            }
        }
    }

    #[test]
    fn a_rule_never_lowers_what_the_sender_insists_on() {
        for sender in TlsPolicy::ALL {
            for rule in [Minimum::None, Minimum::Encrypted, Minimum::Verified] {
                let effective = strengthen(sender, rule);
                assert!(insists_on(effective.policy) >= insists_on(sender), "{sender:?} {rule:?}");
                assert!(insists_on(effective.policy) >= rule, "{sender:?} {rule:?}");
                assert_eq!(effective.raised_by_rule, effective.policy != sender);
            }
        }
    }
}
