//! The table: what a host showed, and what to do about it.

use super::{Fallback, Requirement, TlsPolicy, TlsTag, Verification, WhenLeft};

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
/// the sending domain wants to know at once, or the message asks for REQUIRETLS, which waiting does not bring about.
pub fn gives_up(when_left: WhenLeft, tag: TlsTag, every_host_was_left: bool) -> bool {
    match (when_left, tag) {
        (WhenLeft::Fail, _) | (WhenLeft::Defer, TlsTag::Requiretls) => every_host_was_left,
        (WhenLeft::Defer, TlsTag::None | TlsTag::NotRequired) => false,
    }
}

/// What keeps a host from being handed a message with REQUIRETLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiretlsObstacle {
    /// Nothing says that this host is the recipient domain's: its MX records are not signed, and no MTA-STS policy names
    /// it (RFC 8689 §4.2.1 step 1).
    MxNotAuthentic,
    /// It does not offer REQUIRETLS, so it would not pass the demand on.
    NotOffered,
}

/// Whether a host with which TLS is in order may carry a message on (RFC 8689 §4.2.1).
///
/// # Errors
/// What is missing. The next host is tried; when none is left the message has failed for good.
pub fn may_carry(tag: TlsTag, mx_is_authentic: bool, offers_requiretls: bool) -> Result<(), RequiretlsObstacle> {
    match (tag, mx_is_authentic, offers_requiretls) {
        (TlsTag::None | TlsTag::NotRequired, _, _) | (TlsTag::Requiretls, true, true) => Ok(()),
        (TlsTag::Requiretls, false, _) => Err(RequiretlsObstacle::MxNotAuthentic),
        (TlsTag::Requiretls, true, false) => Err(RequiretlsObstacle::NotOffered),
    }
}

/// Subject and detail of the enhanced code (RFC 3463) for a host that was left: 7.4 and 7.5, or what RFC 8689 §4.2.1
/// gives for REQUIRETLS, 7.30 where the host lacks what is needed and 7.10 where encryption is not good enough.
pub fn status_when_left(tag: TlsTag, observed: Observed) -> (u16, u16) {
    match (tag, observed) {
        (TlsTag::None | TlsTag::NotRequired, Observed::NotOffered | Observed::Refused) => (7, 4),
        (TlsTag::None | TlsTag::NotRequired, Observed::HandshakeFailed | Observed::Unverified | Observed::Verified) => {
            (7, 5)
        }
        (TlsTag::Requiretls, Observed::NotOffered) => (7, 30),
        (
            TlsTag::Requiretls,
            Observed::Refused | Observed::HandshakeFailed | Observed::Unverified | Observed::Verified,
        ) => (7, 10),
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
        let docs = include_str!("../../../../docs/tls.md");
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
