//! What a host's reply means for the recipients it concerns (RFC 5321 §4.2.1, §4.3.2).

use serde::{Deserialize, Serialize};
use smtp::{EnhancedCode, Reply};

/// Where in a session a reply, or the want of one, was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The DNS was asked.
    Lookup,
    /// TCP.
    Connect,
    /// The `220` that opens a session.
    Greeting,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS and the handshake.
    Starttls,
    /// AUTH, on a route with credentials.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, until `354`.
    Data,
    /// The content, until the final dot is answered.
    Content,
}

/// What follows from a reply for the recipients it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The stage is passed.
    Passed,
    /// Not now. Another host may be tried; when none is left, later.
    Transient,
    /// Never: final, whatever other hosts there are.
    Permanent,
    /// This host is not for mail, or not for us; others may be. When none is left, later.
    HostUnusable,
}

/// Reads `reply` as the answer to `stage`.
///
/// - 2yz passes, except to DATA, where only 354 does.
/// - 5yz to MAIL, RCPT, DATA or the content is final (RFC 5321 §4.2.1).
/// - 552 to RCPT means "too many recipients" and is transient (RFC 5321 §4.5.3.1.10).
/// - 5yz before a transaction is about the host, not about the recipient (RFC 7504 §3).
/// - A reply that does not fit the stage, such as 354 to MAIL, makes the host unusable.
pub fn meaning(stage: Stage, reply: &Reply) -> Meaning {
    let passes = match stage {
        Stage::Data => reply.code() == 354,
        Stage::Greeting => reply.code() == 220,
        _ => reply.is_positive(),
    };
    if passes {
        return Meaning::Passed;
    }
    match (stage, reply.code()) {
        (Stage::Rcpt, 552) => Meaning::Transient,
        (_, 400..=499) => Meaning::Transient,
        (Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Content, 500..=599) => Meaning::Permanent,
        _ => Meaning::HostUnusable,
    }
}

/// Whether a reply is about how much comes from us or to the host, not about a recipient: 421 closes the session whatever
/// was asked (RFC 5321 §3.8), 4.3.2 and 4.4.5 say "not accepting" and "congestion" (RFC 3463 §3.4, §3.5), and some hosts
/// say it in words alone.
pub fn turns_us_away(code: u16, enhanced: Option<EnhancedCode>, text: &str) -> bool {
    const WORDS: [&str; 4] = ["too many connections", "too many concurrent", "too many sessions", "connection limit"];
    let says_so = || {
        let text = text.to_ascii_lowercase();
        WORDS.iter().any(|words| text.contains(words))
    };
    let overloaded = [EnhancedCode::new(4, 3, 2), EnhancedCode::new(4, 4, 5)];
    code == 421 || ((400..500).contains(&code) && (enhanced.is_some_and(|e| overloaded.contains(&e)) || says_so()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_us_and_what_of_a_recipient() {
        for (code, enhanced, text, expected) in [
            (421, None, "closing", true),
            (421, Some((4, 7, 0)), "Error: too many connections from 192.0.2.1", true),
            (451, Some((4, 3, 2)), "System not accepting network messages", true),
            (452, Some((4, 4, 5)), "Insufficient resources, congestion", true),
            (450, Some((4, 7, 1)), "Too many concurrent SMTP connections", true),
            (450, Some((4, 2, 1)), "mailbox busy", false),
            (450, Some((4, 2, 0)), "Greylisted, too many recipients", false),
            (452, Some((4, 2, 2)), "mailbox full", false),
            (550, Some((5, 1, 1)), "no such user", false),
            (554, Some((5, 7, 1)), "too many connections", false),
        ] {
            let enhanced = enhanced.map(|(class, subject, detail)| EnhancedCode::new(class, subject, detail));
            assert_eq!(turns_us_away(code, enhanced, text), expected, "{code} {text}");
        }
    }

    #[test]
    fn replies_mean_what_the_rfc_says() {
        use Meaning::{HostUnusable, Passed, Permanent, Transient};
        for (stage, code, expected) in [
            (Stage::Greeting, 220, Passed),
            (Stage::Greeting, 250, HostUnusable),
            (Stage::Greeting, 421, Transient),
            (Stage::Greeting, 554, HostUnusable),
            (Stage::Greeting, 521, HostUnusable),
            (Stage::Ehlo, 250, Passed),
            (Stage::Ehlo, 550, HostUnusable),
            (Stage::Auth, 235, Passed),
            (Stage::Auth, 535, HostUnusable),
            (Stage::Mail, 250, Passed),
            (Stage::Mail, 354, HostUnusable),
            (Stage::Mail, 451, Transient),
            (Stage::Mail, 550, Permanent),
            (Stage::Rcpt, 251, Passed),
            (Stage::Rcpt, 450, Transient),
            (Stage::Rcpt, 552, Transient),
            (Stage::Rcpt, 550, Permanent),
            (Stage::Data, 354, Passed),
            (Stage::Data, 250, HostUnusable),
            (Stage::Data, 554, Permanent),
            (Stage::Content, 250, Passed),
            (Stage::Content, 354, HostUnusable),
            (Stage::Content, 451, Transient),
            (Stage::Content, 552, Permanent),
        ] {
            assert_eq!(meaning(stage, &Reply::new(code, [""])), expected, "{stage:?} {code}");
        }
    }
}
