//! Which recipients of a sending domain nothing is sent to, and which failures put one there.

use smtp::{Address, EnhancedCode};

use crate::disposition::Stage;

/// The tag of whoever wants nothing of a domain at all.
pub const EVERY_TAG: &str = "*";

/// Why nothing is sent to a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suppressed {
    /// A host said before that there is no such mailbox.
    Bounced,
    /// They unsubscribed from the domain, or from a tag that the message has.
    Unsubscribed,
    /// They complained about mail of the domain.
    Complained,
}

/// Which lists of the sending domain a recipient is on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// On the bounces.
    pub bounced: bool,
    /// The tags that they unsubscribed from, [`EVERY_TAG`] among them if it is all; empty when they are not on the list.
    pub unsubscribed: Vec<String>,
    /// On the complaints.
    pub complained: bool,
}

/// Why a message with these tags is not sent to whoever is on these lists; `None` when it is.
///
/// A message with several tags is stopped by one of them: who wants none of the offers wants no offer that is also
/// something else. Tags know no case.
pub fn decide(listed: &Listed, tags: &[String]) -> Option<Suppressed> {
    let unwanted =
        |from: &String| from == EVERY_TAG || tags.iter().any(|tag| tag.to_lowercase() == from.to_lowercase());
    if listed.bounced {
        Some(Suppressed::Bounced)
    } else if listed.unsubscribed.iter().any(unwanted) {
        Some(Suppressed::Unsubscribed)
    } else if listed.complained {
        Some(Suppressed::Complained)
    } else {
        None
    }
}

/// Whether who unsubscribed from the tags `from` wants nothing with any of `tags` already. No tag at all is everything.
pub fn covers(from: &[String], tags: &[String]) -> bool {
    let has = |tag: &str| from.iter().any(|one| one.to_lowercase() == tag.to_lowercase());
    has(EVERY_TAG) || !tags.is_empty() && tags.iter().all(|tag| has(tag))
}

/// The same for a notification of what became of a message: whoever sent that wants none of it any less for having
/// unsubscribed from mail.
pub fn decide_for_notification(listed: &Listed) -> Option<Suppressed> {
    decide(&Listed { unsubscribed: Vec::new(), ..listed.clone() }, &[])
}

/// The form in which lists compare addresses: lower case.
///
/// Only its host may say that `Bob@` and `bob@` are two (RFC 5321 §2.4), and hardly one does. Somebody who unsubscribed
/// as one of them wants mail as neither.
pub fn folded(address: &Address) -> String {
    address.to_string().to_lowercase()
}

/// Whether a final refusal in a host's own words says that there is no such mailbox, so that nothing is to be sent there
/// again.
///
/// An answer to RCPT alone speaks of one recipient. Enhanced codes tell the mailbox (RFC 3463 §3.2) from everything that
/// is about the sender, the content or the connection. Where there is none, only 551 is plain: 550 and 553 are also what
/// blocklists and policies answer (RFC 5321 §4.2.2), and a blocked server must not lose all its recipients. Left out for the
/// same reason: 5.1.0 and 5.1.8, used for senders; 5.2.1, which large hosts answer to a mailbox that gets too much at once.
pub fn is_no_such_mailbox(stage: Stage, code: u16, enhanced_code: Option<EnhancedCode>) -> bool {
    /// Mailbox unknown, host unknown, bad syntax, moved, and (RFC 7505 §4.2, and as Exchange has it) no such recipient.
    const NO_MAILBOX: [EnhancedCode; 5] = [
        EnhancedCode::new(5, 1, 1),
        EnhancedCode::new(5, 1, 2),
        EnhancedCode::new(5, 1, 3),
        EnhancedCode::new(5, 1, 6),
        EnhancedCode::new(5, 1, 10),
    ];
    let says_so = match enhanced_code {
        Some(enhanced) => NO_MAILBOX.contains(&enhanced),
        None => code == 551,
    };
    stage == Stage::Rcpt && (500..=599).contains(&code) && says_so
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_nothing_at_all_wants_nothing_of_any_tag() {
        let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        for (from, of, expected) in [
            (&[][..], &[][..], false),
            (&[], &["a"], false),
            (&["*"], &[], true),
            (&["*"], &["a", "b"], true),
            (&["a"], &[], false),
            (&["a"], &["A"], true),
            (&["a"], &["a", "b"], false),
            (&["b", "a"], &["a", "b"], true),
        ] {
            assert_eq!(covers(&tags(from), &tags(of)), expected, "{from:?} {of:?}");
        }
    }

    #[test]
    fn notifications_obey_what_the_sender_said_of_them() {
        let listed = Listed { unsubscribed: vec![EVERY_TAG.to_owned()], ..Listed::default() };
        assert_eq!((decide(&listed, &[]), decide_for_notification(&listed)), (Some(Suppressed::Unsubscribed), None));
        let bounced = Listed { bounced: true, ..listed.clone() };
        assert_eq!(decide_for_notification(&bounced), Some(Suppressed::Bounced));
        assert_eq!(decide_for_notification(&Listed { complained: true, ..listed }), Some(Suppressed::Complained));
    }

    #[test]
    fn lists_stop_what_they_are_for() {
        use Suppressed::{Bounced, Complained, Unsubscribed};
        for (bounced, unsubscribed, complained, tags, expected) in [
            (false, "", false, "", None),
            (false, "", false, "news", None),
            (true, "", false, "", Some(Bounced)),
            (true, "*", true, "", Some(Bounced)),
            (false, "*", false, "", Some(Unsubscribed)),
            (false, "*", false, "news", Some(Unsubscribed)),
            (false, "news", false, "", None),
            (false, "news", false, "offers", None),
            (false, "news", false, "offers NEWS", Some(Unsubscribed)),
            (false, "offers News", false, "news", Some(Unsubscribed)),
            (false, "newsletter", false, "news", None),
            (false, "*", true, "", Some(Unsubscribed)),
            (false, "news", true, "", Some(Complained)),
            (false, "", true, "news", Some(Complained)),
        ] {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let listed = Listed { bounced, unsubscribed: words(unsubscribed), complained };
            assert_eq!(decide(&listed, &words(tags)), expected, "{listed:?} {tags}");
        }
    }

    #[test]
    fn only_what_speaks_of_the_mailbox_puts_it_on_the_bounces() {
        for (stage, code, enhanced, expected) in [
            (Stage::Rcpt, 550, "5.1.1", true),
            (Stage::Rcpt, 550, "5.1.10", true),
            (Stage::Rcpt, 550, "5.1.2", true),
            (Stage::Rcpt, 553, "5.1.3", true),
            (Stage::Rcpt, 551, "5.1.6", true),
            (Stage::Rcpt, 551, "", true),
            // The same words where they are not about one recipient.
            (Stage::Mail, 550, "5.1.1", false),
            (Stage::Data, 554, "5.1.1", false),
            (Stage::Content, 550, "5.1.1", false),
            (Stage::Lookup, 556, "5.1.10", false),
            // TLS, policy, content, full mailboxes, rates, and refusals that say nothing.
            (Stage::Starttls, 550, "5.7.4", false),
            (Stage::Rcpt, 550, "5.7.1", false),
            (Stage::Rcpt, 554, "5.7.0", false),
            (Stage::Rcpt, 550, "5.7.30", false),
            (Stage::Rcpt, 550, "5.1.0", false),
            (Stage::Rcpt, 550, "5.1.8", false),
            (Stage::Rcpt, 550, "5.2.1", false),
            (Stage::Rcpt, 552, "5.2.2", false),
            (Stage::Content, 554, "5.6.0", false),
            (Stage::Rcpt, 550, "", false),
            (Stage::Rcpt, 553, "", false),
            (Stage::Rcpt, 554, "", false),
            // Not final, whatever else it says.
            (Stage::Rcpt, 450, "4.1.1", false),
            (Stage::Rcpt, 450, "5.1.1", false),
        ] {
            let parsed = enhanced.parse().ok();
            assert_eq!(is_no_such_mailbox(stage, code, parsed), expected, "{stage:?} {code} {enhanced}");
        }
    }

    #[test]
    fn addresses_are_compared_without_case() {
        for (text, expected) in [
            ("Bob@Example.COM", "bob@example.com"),
            ("\"A B\"@x.test", "\"a b\"@x.test"),
            ("JÖRG@x.test", "jörg@x.test"),
        ] {
            assert_eq!(folded(&text.parse().unwrap()), expected);
        }
    }
}
