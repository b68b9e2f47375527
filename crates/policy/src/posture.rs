//! What a record of the past says about a policy that was not in force then.

use crate::tls::{Fallback, Observed, TlsPolicy, Verdict, decide};

impl Observed {
    /// The word that records use.
    pub fn as_str(self) -> &'static str {
        match self {
            Observed::NotOffered => "not-offered",
            Observed::Refused => "refused",
            Observed::HandshakeFailed => "handshake-failed",
            Observed::Unverified => "unverified",
            Observed::Verified => "verified",
        }
    }

    /// The observation of a word.
    pub fn from_word(word: &str) -> Option<Observed> {
        Observed::ALL.into_iter().find(|observed| observed.as_str() == word)
    }
}

/// Whether a host that showed this would have got the message under `policy`: [`decide`]'s own answer. A fallback
/// changes how it travels, never whether it does where nothing is required.
pub fn would_deliver(policy: TlsPolicy, observed: Observed) -> bool {
    match decide(policy, Fallback::Plaintext, observed) {
        Verdict::Deliver(_) | Verdict::ReconnectInPlaintext => true,
        Verdict::LeaveHost => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_every_observation_once() {
        for observed in Observed::ALL {
            assert_eq!(Observed::from_word(observed.as_str()), Some(observed));
        }
        for word in ["", "Verified", "none"] {
            assert_eq!(Observed::from_word(word), None, "{word}");
        }
    }

    #[test]
    fn only_required_tls_keeps_mail_back() {
        use Observed::{HandshakeFailed, NotOffered, Refused, Unverified};
        for (require_tls, skip_verification, kept_back) in [
            (false, false, vec![]),
            (false, true, vec![]),
            (true, false, vec![NotOffered, Refused, HandshakeFailed, Unverified]),
            (true, true, vec![NotOffered, Refused, HandshakeFailed]),
        ] {
            let policy = TlsPolicy::from_switches(require_tls, skip_verification);
            let found: Vec<_> = Observed::ALL.into_iter().filter(|saw| !would_deliver(policy, *saw)).collect();
            assert_eq!(found, kept_back, "{policy:?}");
        }
    }
}
