//! TLS connection control: what the sender asked for, met with what the host showed.
//!
//! Three steps, each a function: [`resolve`] settles the sender's two switches when a message is accepted,
//! [`strengthen`] adds what others demand when it is about to be delivered, [`decide`] answers each observation.
//! `docs/tls.md` has the table in words; a test compares the two.

mod demands;
mod table;

use serde::{Deserialize, Serialize};

pub use demands::*;
pub use table::*;

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
    /// What the message says by RFC 8689. A domain states nothing of it.
    pub tag: Option<TlsTag>,
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
/// an invalid certificate: the sending domain's `tls_fallback`, or that of the operator's rule. Weakest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// What a message says of TLS on its whole way, beyond the first host (RFC 8689).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsTag {
    /// Nothing.
    #[default]
    None,
    /// REQUIRETLS: verified TLS to an authenticated host on every hop, or no delivery (RFC 8689 §4).
    Requiretls,
    /// `TLS-Required: No`: what the recipient's domain demands may be passed over (RFC 8689 §5).
    NotRequired,
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
words!(TlsTag { None => "none", Requiretls => "requiretls", NotRequired => "not-required" });

/// The sender's policy and where each half of it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    /// What was asked for.
    pub policy: TlsPolicy,
    /// The sending domain's `tls_fallback`.
    pub fallback: Fallback,
    /// The sending domain's `tls_failure`.
    pub when_left: WhenLeft,
    /// What the message says by RFC 8689.
    pub tag: TlsTag,
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
        tag: message.tag.unwrap_or_default(),
        require_tls_from,
        skip_verification_from,
    }
}

/// For content that is sent once more: what was resolved for it stays, but where the message itself stated nothing, what
/// its domain states now makes it stricter. Nothing makes it weaker.
pub fn resolve_again(earlier: Resolved, domain: TlsSettings) -> Resolved {
    let now = resolve(TlsSettings::default(), domain);
    let (mut require_tls, mut require_tls_from) = (earlier.policy.require_tls(), earlier.require_tls_from);
    if require_tls_from != Source::Message && !require_tls && now.policy.require_tls() {
        (require_tls, require_tls_from) = (true, now.require_tls_from);
    }
    let (mut skip, mut skip_from) = (earlier.policy.skip_verification(), earlier.skip_verification_from);
    if skip_from != Source::Message && skip && !now.policy.skip_verification() {
        (skip, skip_from) = (false, now.skip_verification_from);
    }
    Resolved {
        policy: TlsPolicy::from_switches(require_tls, skip),
        fallback: earlier.fallback.max(now.fallback),
        require_tls_from,
        skip_verification_from: skip_from,
        ..earlier
    }
}

fn first_stated(message: Option<bool>, domain: Option<bool>) -> (bool, Source) {
    match (message, domain) {
        (Some(value), _) => (value, Source::Message),
        (None, Some(value)) => (value, Source::Domain),
        (None, None) => (false, Source::Default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_is_sent_once_more_is_never_weaker() {
        let states = [None, Some(false), Some(true)];
        let settings = |require_tls, skip_verification, fallback| TlsSettings {
            require_tls,
            skip_verification,
            fallback: Some(fallback),
            ..TlsSettings::default()
        };
        for (message, domain, now) in states
            .into_iter()
            .flat_map(|m| states.into_iter().flat_map(move |d| states.into_iter().map(move |n| (m, d, n))))
        {
            let message_states = TlsSettings { fallback: None, ..settings(message, message, Fallback::Plaintext) };
            let earlier = resolve(message_states, settings(domain, domain, Fallback::Unverified));
            for fallback in [Fallback::Plaintext, Fallback::Defer] {
                let again = resolve_again(earlier, settings(now, now, fallback));
                let (was, is) = (earlier.policy, again.policy);
                let required = was.require_tls() || message.is_none() && now == Some(true);
                let skipped = was.skip_verification() && (message.is_some() || now == Some(true));
                assert_eq!(
                    (is.require_tls(), is.skip_verification()),
                    (required, skipped),
                    "{message:?} {domain:?} {now:?}"
                );
                assert_eq!(again.fallback, fallback.max(Fallback::Unverified));
                if message.is_some() {
                    assert_eq!(again, Resolved { fallback: again.fallback, ..earlier });
                }
            }
        }
    }
}
