//! Delivery status notifications (RFC 3464): what a server says about mail that it had taken.
//!
//! They come from strangers, so as little as can be is read: the header, and one part at the first level of the
//! `multipart/report`. What that message gives back of ours, and whatever lies deeper, is passed over line by line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{MessageParser, MimeHeaders};
pub use smtp::dsn::Action;
use smtp::{Address, EnhancedCode};

use crate::limits::{DSN_OCTETS, DSN_RECIPIENTS, DSN_TEXT_OCTETS, HEADER_OCTETS, PART_HEADER_OCTETS};
use crate::lines::printable;
use crate::parts::delimiter;

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
    let end = mail.windows(4).take(HEADER_OCTETS).position(|four| four == b"\r\n\r\n")?;
    let (header, body) = mail.split_at(end + 4);
    let header = MessageParser::new().with_mime_headers().parse_headers(header)?;
    let content_type = header.content_type().filter(|found| found.c_type.eq_ignore_ascii_case("multipart"))?;
    let boundary = content_type.attribute("boundary").filter(|boundary| !boundary.is_empty())?;
    let boundaries = [boundary.to_owned()];

    let mut part = Part::Skipped;
    for line in body.split_inclusive(|b| *b == b'\n') {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        if let Some((_, closes)) = delimiter(&boundaries, text) {
            if let Part::Status { .. } = part {
                break;
            }
            if closes {
                return None;
            }
            part = Part::Header(Vec::new());
            continue;
        }
        match &mut part {
            Part::Skipped => {}
            Part::Header(header) if text.is_empty() => part = Part::of(header),
            Part::Header(header) if header.len() + line.len() > PART_HEADER_OCTETS => part = Part::Skipped,
            Part::Header(header) => header.extend_from_slice(line),
            Part::Status { content, .. } if content.len() + line.len() > DSN_OCTETS => break,
            Part::Status { content, .. } => content.extend_from_slice(line),
        }
    }
    match part {
        Part::Status { content, is_base64: false } => Some(content),
        Part::Status { content, is_base64: true } => {
            STANDARD.decode(content.into_iter().filter(|b| !b.is_ascii_whitespace()).collect::<Vec<_>>()).ok()
        }
        Part::Skipped | Part::Header(_) => None,
    }
}

enum Part {
    /// In a preamble, or in a part that nobody asks about.
    Skipped,
    /// In the header of a part, as far as it was read.
    Header(Vec<u8>),
    /// In the content of the one that is wanted.
    Status { content: Vec<u8>, is_base64: bool },
}

impl Part {
    fn of(header: &[u8]) -> Part {
        let bytes = [header, b"\r\n"].concat();
        let Some(part) = MessageParser::new().with_mime_headers().parse_headers(&bytes) else { return Part::Skipped };
        let is_status = part.content_type().is_some_and(|found| {
            let subtype = found.c_subtype.as_deref().unwrap_or_default().to_ascii_lowercase();
            let is_wanted = matches!(&*subtype, "delivery-status" | "global-delivery-status");
            found.c_type.eq_ignore_ascii_case("message") && is_wanted
        });
        let coding = part.content_transfer_encoding().map(|coding| coding.trim().to_ascii_lowercase());
        match coding.as_deref() {
            _ if !is_status => Part::Skipped,
            Some("base64") => Part::Status { content: Vec::new(), is_base64: true },
            // RFC 3464 §2.1 wants plain text; nothing in the fields that are read would be written otherwise.
            _ => Part::Status { content: Vec::new(), is_base64: false },
        }
    }
}

/// Groups of fields, with empty lines between them (RFC 3464 §2.1).
struct Groups<'a>(std::str::Lines<'a>);

impl Iterator for Groups<'_> {
    type Item = Vec<(String, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in self.0.by_ref() {
            match line.split_once(':') {
                _ if line.trim().is_empty() && fields.is_empty() => {}
                _ if line.trim().is_empty() => break,
                _ if line.starts_with([' ', '\t']) => {
                    if let Some((_, value)) = fields.last_mut() {
                        value.push(' ');
                        value.push_str(line.trim());
                    }
                }
                Some((name, value)) => fields.push((name.trim().to_owned(), value.trim().to_owned())),
                None => {}
            }
        }
        (!fields.is_empty()).then_some(fields)
    }
}

/// The first field of that name.
fn get<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
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
    let address = address.trim();
    let address = address.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(address);
    if is_mail { address.parse().ok() } else { None }
}

/// What stands behind the type, cut to what people read.
fn without_type(value: &str) -> String {
    let text = value.split_once(';').map_or(value, |(_, text)| text).trim();
    let cut = (0..=DSN_TEXT_OCTETS.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    printable(&text[..cut])
}

fn reply_code(diagnostic: &str) -> Option<u16> {
    let (digits, rest) = diagnostic.split_at_checked(3)?;
    let code = digits.parse().ok().filter(|code| (400..600).contains(code))?;
    rest.chars().next().is_none_or(|next| matches!(next, ' ' | '-')).then_some(code)
}

fn is_named(kind: &str, name: &str) -> bool {
    kind.trim().eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

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
