//! Delivery status notifications (RFC 3464): what a server says about mail that it had taken.
//!
//! They come from strangers, so as little as can be is read: the header, and one part at the first level of the
//! `multipart/report`. What that message gives back of ours, and whatever lies deeper, is passed over line by line.

pub use smtp::dsn::Action;
use smtp::{Address, EnhancedCode};

use crate::limits::{DSN_OCTETS, DSN_RECIPIENTS};
use crate::report::{self, Groups, get, without_type};

/// What a notification tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    /// Who tells it.
    pub reporting_mta: Option<String>,
    /// What became of each recipient.
    pub recipients: Vec<RecipientStatus>,
}

/// What became of a recipient (RFC 3464 §2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientStatus {
    /// The address that the sender gave, as the other server knows it.
    pub original: Option<Address>,
    /// The address at which it ended.
    pub last: Option<Address>,
    /// What was done.
    pub action: Action,
    /// Why, as a code; class 2 only with an action that is no failure.
    pub status: Option<EnhancedCode>,
    /// Why, in the words of `remote_mta`, of printable characters.
    pub diagnostic: Option<String>,
    /// The code of the SMTP reply in the diagnostic, 400 to 599.
    pub reply_code: Option<u16>,
    /// Who refused it.
    pub remote_mta: Option<String>,
}

/// The notification in a mail whose lines end in CRLF; `None` when it is none, whatever else it says. Recipients of whom
/// nothing sound is told are left out.
pub fn parse(mail: &[u8]) -> Option<StatusReport> {
    let text = status_part(mail)?;
    let text = String::from_utf8_lossy(&text);
    let mut groups = Groups(text.lines());
    let reporting_mta = get(&groups.next()?, "Reporting-MTA").map(without_type);
    let recipients = groups.take(DSN_RECIPIENTS).filter_map(|fields| recipient(&fields)).collect();
    Some(StatusReport { reporting_mta, recipients })
}

/// The content of the first part of type `message/delivery-status` (RFC 3464 §2.1), or its sibling for addresses that
/// are not ASCII (RFC 6533 §4).
fn status_part(mail: &[u8]) -> Option<Vec<u8>> {
    let is_status = |kind: &str| matches!(kind, "message/delivery-status" | "message/global-delivery-status");
    let found = report::parts(mail, 1, |kind, _| is_status(kind).then_some(DSN_OCTETS));
    found.into_iter().next().map(|part| part.content)
}

fn recipient(fields: &[(String, String)]) -> Option<RecipientStatus> {
    let action = get(fields, "Action")?.split([' ', '\t', '(', ';']).next()?.parse().ok()?;
    let status = get(fields, "Status").and_then(|status| status.split([' ', '\t', '(', ';']).next()?.parse().ok());
    // Whoever says both "failed" and "success" says nothing.
    if action == Action::Failed && status.is_some_and(|status: EnhancedCode| status.class == 2) {
        return None;
    }
    let diagnostic = get(fields, "Diagnostic-Code");
    let is_smtp = diagnostic.and_then(|text| text.split_once(';')).is_some_and(|(kind, _)| is_named(kind, "smtp"));
    let diagnostic = diagnostic.map(without_type);
    // Some write x.0.0 whatever the other side said (Exim does).
    let said = diagnostic.as_deref().filter(|_| is_smtp).and_then(enhanced_code);
    let status = match (status, said) {
        (Some(status), Some(said)) if is_vague(status) && said.class == status.class => Some(said),
        _ => status,
    };
    Some(RecipientStatus {
        original: get(fields, "Original-Recipient").and_then(address),
        last: get(fields, "Final-Recipient").and_then(address),
        action,
        status,
        reply_code: diagnostic.as_deref().filter(|_| is_smtp).and_then(reply_code),
        diagnostic,
        remote_mta: get(fields, "Remote-MTA").map(without_type),
    })
}

/// `rfc822; user@host` (RFC 3464 §2.3.1), `utf-8; …` (RFC 6533 §3). Some write angle brackets around it.
fn address(value: &str) -> Option<Address> {
    let (kind, address) = value.split_once(';')?;
    let is_mail = is_named(kind, "rfc822") || is_named(kind, "utf-8");
    if is_mail { report::address(address) } else { None }
}

fn reply_code(diagnostic: &str) -> Option<u16> {
    let (digits, rest) = diagnostic.split_at_checked(3)?;
    let code = digits.parse().ok().filter(|code| (400..600).contains(code))?;
    rest.chars().next().is_none_or(|next| matches!(next, ' ' | '-')).then_some(code)
}

/// The enhanced code in a reply (RFC 2034 §4): `550 5.1.1 text`.
fn enhanced_code(diagnostic: &str) -> Option<EnhancedCode> {
    reply_code(diagnostic)?;
    diagnostic.get(4..)?.split(' ').next()?.parse().ok()
}

/// Other or undefined (RFC 3463 §3.1).
fn is_vague(status: EnhancedCode) -> bool {
    (status.subject, status.detail) == (0, 0)
}

fn is_named(kind: &str, name: &str) -> bool {
    kind.trim().eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::limits::DSN_TEXT_OCTETS;

    /// A report with these groups of fields behind the one about the message.
    fn report(groups: &str) -> String {
        format!(
            "From: MAILER-DAEMON@mx.example (Mail Delivery System)\r\nSubject: Undelivered Mail\r\n\
             MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\
             \tboundary=\"6A1.17/mx.example\"\r\n\r\nThis is a MIME message.\r\n\r\n\
             --6A1.17/mx.example\r\nContent-Type: text/plain\r\n\r\nAction: failed\r\n\r\n\
             --6A1.17/mx.example\r\nContent-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n\
             Reporting-MTA: dns; mx.example\r\nArrival-Date: Mon, 23 Nov 2026 17:00:00 +0000\r\n\r\n{groups}\r\n\r\n\
             --6A1.17/mx.example\r\nContent-Type: message/rfc822\r\n\r\nSubject: ours\r\n\r\nHi\r\n--6A1.17/mx.example--\r\n"
        )
    }

    fn only(groups: &str) -> RecipientStatus {
        let mut found = parse(report(groups).as_bytes()).unwrap();
        assert_eq!(found.reporting_mta.as_deref(), Some("mx.example"));
        assert_eq!(found.recipients.len(), 1, "{groups}");
        found.recipients.remove(0)
    }

    #[test]
    fn what_servers_write_is_read() {
        let cases = [
            // Postfix.
            (
                "Final-Recipient: rfc822; bob@b.example\r\nOriginal-Recipient: rfc822;info@b.example\r\nAction: failed\r\n\
                 Status: 5.1.1\r\nRemote-MTA: dns; in.b.example\r\nDiagnostic-Code: smtp; 550 5.1.1 <bob@b.example>: Recipient\r\n    address rejected",
                (Some("info@b.example"), Some("bob@b.example"), Action::Failed, Some("5.1.1"), Some(550)),
                Some("550 5.1.1 <bob@b.example>: Recipient address rejected"),
            ),
            // Exim.
            (
                "Action: failed\r\nFinal-Recipient: rfc822;bob@b.example\r\nStatus: 5.0.0\r\nRemote-MTA: dns; in.b.example\r\n\
                 Diagnostic-Code: smtp; 552-Mailbox full\r\n 552 quota",
                (None, Some("bob@b.example"), Action::Failed, Some("5.0.0"), Some(552)),
                Some("552-Mailbox full 552 quota"),
            ),
            (
                "Action: failed\r\nFinal-Recipient: rfc822;bob@b.example\r\nStatus: 5.0.0\r\n\
                 Diagnostic-Code: smtp; 550-5.1.1 no such user",
                (None, Some("bob@b.example"), Action::Failed, Some("5.1.1"), Some(550)),
                Some("550-5.1.1 no such user"),
            ),
            // A code that says more than the reply, and a reply of another class, stay what they are.
            (
                "Action: failed\r\nFinal-Recipient: rfc822;bob@b.example\r\nStatus: 5.4.7\r\nDiagnostic-Code: smtp; 450 4.2.1 later",
                (None, Some("bob@b.example"), Action::Failed, Some("5.4.7"), Some(450)),
                Some("450 4.2.1 later"),
            ),
            (
                "Action: failed\r\nFinal-Recipient: rfc822;bob@b.example\r\nStatus: 5.0.0\r\nDiagnostic-Code: smtp; 450 4.2.1 later",
                (None, Some("bob@b.example"), Action::Failed, Some("5.0.0"), Some(450)),
                Some("450 4.2.1 later"),
            ),
            // OpenSMTPD, and one that gave up after a while.
            (
                "Final-Recipient: rfc822; bob@b.example\r\nAction: failed\r\nStatus: 4.4.7",
                (None, Some("bob@b.example"), Action::Failed, Some("4.4.7"), None),
                None,
            ),
            // Exchange: comments, X.400 diagnostics, brackets.
            (
                "Original-Recipient: RFC822;<info@b.example>\r\nFinal-Recipient: x400; /CN=bob\r\nAction: Failed (really)\r\n\
                 Status: 5.1.10 (no such user)\r\nDiagnostic-Code: x400; 550 no",
                (Some("info@b.example"), None, Action::Failed, Some("5.1.10"), None),
                Some("550 no"),
            ),
            (
                "Final-Recipient: rfc822;bob@b.example\r\nAction: delayed\r\nStatus: 4.4.1",
                (None, Some("bob@b.example"), Action::Delayed, Some("4.4.1"), None),
                None,
            ),
            (
                "Final-Recipient: rfc822;bob@b.example\r\nAction: delivered\r\nStatus: 2.0.0",
                (None, Some("bob@b.example"), Action::Delivered, Some("2.0.0"), None),
                None,
            ),
        ];
        for (groups, (original, last, action, status, code), diagnostic) in cases {
            let found = only(groups);
            let text = |address: &Option<Address>| address.as_ref().map(ToString::to_string);
            assert_eq!(text(&found.original).as_deref(), original, "{groups}");
            assert_eq!(text(&found.last).as_deref(), last, "{groups}");
            assert_eq!(found.status.map(|status| status.to_string()).as_deref(), status, "{groups}");
            assert_eq!((found.action, found.reply_code), (action, code), "{groups}");
            assert_eq!(found.diagnostic.as_deref(), diagnostic, "{groups}");
        }
    }

    #[test]
    fn what_is_not_sound_is_left_out() {
        for groups in [
            "Final-Recipient: rfc822;bob@b.example\r\nStatus: 5.1.1",
            "Final-Recipient: rfc822;bob@b.example\r\nAction: maybe\r\nStatus: 5.1.1",
            "Final-Recipient: rfc822;bob@b.example\r\nAction: failed\r\nStatus: 2.1.5",
            "no field at all",
        ] {
            assert_eq!(parse(report(groups).as_bytes()).unwrap().recipients, [], "{groups}");
        }
        let two = "Action: failed\r\nStatus: 5.1.1\r\n\r\n\r\nAction: failed\r\nDiagnostic-Code: smtp; 5500 x";
        let found = parse(report(two).as_bytes()).unwrap().recipients;
        assert_eq!(found.iter().map(|one| one.reply_code).collect::<Vec<_>>(), [None, None]);
    }

    #[test]
    fn only_the_part_at_the_first_level_counts() {
        let whole = report("Action: failed\r\nStatus: 5.1.1");
        let forwarded = format!(
            "From: a@b.example\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n\
             Content-Type: message/rfc822\r\n\r\n{whole}\r\n--outer--\r\n"
        );
        let vacation = "From: a@b.example\r\nAuto-Submitted: auto-replied\r\n\r\nI am away. Action: failed\r\n";
        let late = whole.replace("--6A1.17/mx.example\r\nContent-Desc", "--6A1.17/mx.example--\r\nContent-Desc");
        for other in [&*forwarded, vacation, "", "\r\n\r\n", &late, &whole.replace("delivery-status\r\n", "plain\r\n")]
        {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn limits_hold() {
        let many = "Action: failed\r\nStatus: 5.1.1\r\n\r\n".repeat(DSN_RECIPIENTS + 10);
        assert_eq!(parse(report(&many).as_bytes()).unwrap().recipients.len(), DSN_RECIPIENTS);
        let long = format!("Action: failed\r\nDiagnostic-Code: smtp; 550 \u{7}{}", "ä".repeat(DSN_TEXT_OCTETS));
        let text = only(&long).diagnostic.unwrap();
        assert!(text.len() <= DSN_TEXT_OCTETS && text.starts_with("550  ä"), "{}", text.len());
        let coded = STANDARD.encode("Reporting-MTA: dns; mx.example\r\n\r\nAction: failed\r\n");
        let coded = format!(
            "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Type: message/global-delivery-status\r\n\r\n{coded}\r\n--b--\r\n"
        );
        assert_eq!(parse(coded.as_bytes()).unwrap().recipients.len(), 1);
    }
}
