//! Feedback reports (ARF, RFC 5965): what a mailbox provider says when somebody marks mail as spam; and the header fields
//! that ask for them (RFC 9477).
//!
//! Anybody can write a report, so it is worth what it gives back of the message: [`FeedbackReport::feedback_ids`] and
//! [`FeedbackReport::return_paths`] are what whoever had the message knows.

use smtp::Address;

use crate::limits::{FEEDBACK_OCTETS, FEEDBACK_VALUES, HEADER_OCTETS};
use crate::report::{self, Groups, all, get, shown, without_type};
use crate::section::Section;

/// Where reports about a message go (RFC 9477 §5.1).
const ADDRESS: &str = "CFBL-Address";
/// By what the message is known again (RFC 9477 §5.2).
const FEEDBACK_ID: &str = "CFBL-Feedback-ID";

/// What kind of feedback it is: the types of RFC 5965 §7.3, RFC 6430 and RFC 6591.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedbackType {
    /// Somebody does not want such mail.
    Abuse,
    /// Somebody takes it for phishing.
    Fraud,
    /// Something harmful was found in it.
    Virus,
    /// Somebody says that it is no spam (RFC 6430).
    NotSpam,
    /// SPF, DKIM or DMARC failed (RFC 6591): a program's finding about a message that need not even be ours.
    AuthFailure,
    /// None of the others; the word that it has.
    Other(String),
}

impl FeedbackType {
    fn from_word(word: &str) -> FeedbackType {
        match word.to_ascii_lowercase().as_str() {
            "abuse" => FeedbackType::Abuse,
            "fraud" => FeedbackType::Fraud,
            "virus" => FeedbackType::Virus,
            "not-spam" => FeedbackType::NotSpam,
            "auth-failure" => FeedbackType::AuthFailure,
            other => FeedbackType::Other(shown(other)),
        }
    }

    /// The word that the registry has.
    pub fn as_str(&self) -> &str {
        match self {
            FeedbackType::Abuse => "abuse",
            FeedbackType::Fraud => "fraud",
            FeedbackType::Virus => "virus",
            FeedbackType::NotSpam => "not-spam",
            FeedbackType::AuthFailure => "auth-failure",
            FeedbackType::Other(word) => word,
        }
    }

    /// Whether a person complains about mail. What programs find, and what nobody can say, is no complaint.
    pub fn is_complaint(&self) -> bool {
        match self {
            FeedbackType::Abuse | FeedbackType::Fraud => true,
            FeedbackType::Virus | FeedbackType::NotSpam | FeedbackType::AuthFailure | FeedbackType::Other(_) => false,
        }
    }
}

/// What a report tells. Texts are printable and not long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackReport {
    /// What kind it is.
    pub kind: FeedbackType,
    /// The program that made it.
    pub user_agent: Option<String>,
    /// Who took the message.
    pub reporting_mta: Option<String>,
    /// Where the message came from.
    pub source_ip: Option<String>,
    /// When the message came.
    pub arrival_date: Option<String>,
    /// To whom the message went. Many providers keep that to themselves.
    pub recipients: Vec<Address>,
    /// The return path of the message: as the report has it, then as the message has it.
    pub return_paths: Vec<Address>,
    /// What the message says that it is to be known by, without white space.
    pub feedback_ids: Vec<String>,
}

/// The report in a mail whose lines end in CRLF; `None` when it is none, whatever else it says.
pub fn parse(mail: &[u8]) -> Option<FeedbackReport> {
    let found = report::parts(mail, 1, |kind, _| match kind {
        "message/feedback-report" => Some(FEEDBACK_OCTETS),
        _ if is_message(kind) => Some(HEADER_OCTETS),
        _ => None,
    });
    let first = |is_wanted: fn(&str) -> bool| {
        let part = found.iter().find(|part| is_wanted(&part.kind))?;
        Groups(String::from_utf8_lossy(&part.content).lines()).next()
    };
    let fields = first(|kind| kind == "message/feedback-report")?;
    let header = first(is_message).unwrap_or_default();

    let text = |name: &str| get(&fields, name).map(shown).filter(|text| !text.is_empty());
    let of_report = all(&fields, "Original-Mail-From").take(FEEDBACK_VALUES);
    let of_message = all(&header, "Return-Path").take(FEEDBACK_VALUES);
    let ids = all(&header, FEEDBACK_ID).take(FEEDBACK_VALUES);
    Some(FeedbackReport {
        kind: FeedbackType::from_word(get(&fields, "Feedback-Type")?.split([' ', '\t', '(', ';']).next()?),
        user_agent: text("User-Agent"),
        reporting_mta: get(&fields, "Reporting-MTA").map(without_type),
        source_ip: text("Source-IP"),
        arrival_date: text("Arrival-Date").or_else(|| text("Received-Date")),
        recipients: all(&fields, "Original-Rcpt-To").take(FEEDBACK_VALUES).filter_map(report::address).collect(),
        return_paths: of_report.chain(of_message).filter_map(report::address).collect(),
        feedback_ids: ids.map(|id| id.split_ascii_whitespace().collect()).collect(),
    })
}

/// A message, or its header alone (RFC 5965 §2), also where it is not ASCII (RFC 6532 §3.7, RFC 6533 §6).
fn is_message(kind: &str) -> bool {
    matches!(kind, "message/rfc822" | "text/rfc822-headers" | "message/global" | "message/global-headers")
}

/// The fields that ask for reports, each with its CRLF: to that address, known again by that id of ASCII letters and digits.
/// A signature must cover them (RFC 9477 §3.1); `None` for a message that has one of them, or whose header nobody can read.
pub fn request(content: &[u8], address: &Address, id: &str) -> Option<String> {
    let section = Section::parse(content).ok()?;
    let is_there = [ADDRESS, FEEDBACK_ID].into_iter().any(|name| section.get(name).is_some());
    (!is_there).then(|| format!("{ADDRESS}: {address}; report=arf\r\n{FEEDBACK_ID}: {id}\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report with these fields, about a message with this header.
    fn report(fields: &str, kind: &str, header: &str) -> String {
        format!(
            "From: <feedback@provider.example>\r\nSubject: FW: Hello\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=feedback-report;\r\n boundary=\"part1\"\r\n\r\n\
             --part1\r\nContent-Type: text/plain\r\n\r\nFeedback-Type: fraud\r\n\r\n\
             --part1\r\nContent-Type: message/feedback-report\r\n\r\n{fields}\r\n\r\n\
             --part1\r\nContent-Type: {kind}\r\nContent-Disposition: inline\r\n\r\n{header}\r\n\r\n--part1--\r\n"
        )
    }

    #[test]
    fn what_providers_write_is_read() {
        // RFC 5965 §B.2, with a header as RFC 9477 §3.5 has it.
        let full = report(
            "Feedback-Type: abuse\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1\r\nOriginal-Mail-From: <bounce+1@b.example>\r\n\
             Original-Rcpt-To: <user@provider.example>\r\nOriginal-Rcpt-To: other@provider.example\r\n\
             Arrival-Date: Thu, 8 Mar 2005 14:00:00 EDT\r\nReporting-MTA: dns; mail.provider.example\r\nSource-IP: 192.0.2.1\r\n\
             Reported-URI: http://b.example/",
            "message/rfc822",
            "Return-Path: <bounce+2@b.example>\r\nCFBL-Feedback-ID: 0a1\r\n b2\r\ncfbl-feedback-id: c3\r\nSubject: Hello\r\n\r\nHi\r\nReturn-Path: <x@y.example>",
        );
        let found = parse(full.as_bytes()).unwrap();
        let text = |addresses: &[Address]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!((&found.kind, found.user_agent.as_deref()), (&FeedbackType::Abuse, Some("SomeGenerator/1.0")));
        assert_eq!(found.reporting_mta.as_deref(), Some("mail.provider.example"));
        assert_eq!(found.source_ip.as_deref(), Some("192.0.2.1"));
        assert_eq!(found.arrival_date.as_deref(), Some("Thu, 8 Mar 2005 14:00:00 EDT"));
        assert_eq!(text(&found.recipients), ["user@provider.example", "other@provider.example"]);
        assert_eq!(text(&found.return_paths), ["bounce+1@b.example", "bounce+2@b.example"]);
        assert_eq!(found.feedback_ids, ["0a1b2", "c3"]);

        // The least that there may be, and a redacted recipient.
        let least = report(
            "Feedback-Type: Abuse (complaint)\r\nOriginal-Rcpt-To: redacted",
            "text/rfc822-headers",
            "CFBL-Feedback-ID: 0a",
        );
        let found = parse(least.as_bytes()).unwrap();
        assert_eq!((found.kind, found.recipients, found.return_paths), (FeedbackType::Abuse, vec![], vec![]));
        assert_eq!(found.feedback_ids, ["0a"]);
    }

    #[test]
    fn only_people_complain() {
        for (word, kind, complains) in [
            ("abuse", FeedbackType::Abuse, true),
            ("FRAUD", FeedbackType::Fraud, true),
            ("virus", FeedbackType::Virus, false),
            ("not-spam", FeedbackType::NotSpam, false),
            ("auth-failure", FeedbackType::AuthFailure, false),
            ("other", FeedbackType::Other("other".to_owned()), false),
            ("opt-out", FeedbackType::Other("opt-out".to_owned()), false),
        ] {
            let fields = format!("Feedback-Type: {word}\r\nVersion: 1\r\nAuth-Failure: dmarc");
            let found = parse(report(&fields, "message/rfc822", "Subject: x").as_bytes()).unwrap();
            assert_eq!((found.kind.is_complaint(), &found.kind), (complains, &kind));
            assert_eq!(found.kind.as_str(), word.to_ascii_lowercase());
        }
    }

    #[test]
    fn what_is_none_is_none() {
        let whole = report("Feedback-Type: abuse", "message/rfc822", "Subject: x");
        let forwarded = format!(
            "Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\nContent-Type: message/rfc822\r\n\r\n{whole}\r\n--outer--\r\n"
        );
        let untyped = report("User-Agent: x\r\nVersion: 1", "message/rfc822", "Subject: x");
        let plain = whole.replace("message/feedback-report", "text/plain");
        for other in [&*forwarded, &untyped, &plain, "Feedback-Type: abuse\r\n\r\nHi", ""] {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn limits_hold() {
        let many = format!("Feedback-Type: abuse\r\n{}", "Original-Rcpt-To: <a@b.example>\r\n".repeat(5000));
        let ids = "CFBL-Feedback-ID: 0a\r\n".repeat(5000);
        let found = parse(report(&many, "message/rfc822", &ids).as_bytes()).unwrap();
        assert_eq!((found.recipients.len(), found.feedback_ids.len()), (FEEDBACK_VALUES, FEEDBACK_VALUES));
        let long = format!("Feedback-Type: x{}\r\nUser-Agent: \u{7}{}", "y".repeat(9000), "ä".repeat(9000));
        let found = parse(report(&long, "message/rfc822", "Subject: x").as_bytes()).unwrap();
        assert!(found.kind.as_str().len() <= 1024);
        assert!(found.user_agent.is_some_and(|text| text.len() <= 1024 && text.starts_with(" ä")));
    }

    #[test]
    fn a_message_asks_for_reports_once() {
        let address = "fbl@bounces.b.example".parse().unwrap();
        let asked = request(b"Subject: x\r\n\r\nHi", &address, "0a1b").unwrap();
        assert_eq!(asked, "CFBL-Address: fbl@bounces.b.example; report=arf\r\nCFBL-Feedback-ID: 0a1b\r\n");
        for content in ["cfbl-address: a@b.example\r\n\r\n", "CFBL-Feedback-ID: x\r\n\r\n", "no field\r\n\r\n"] {
            assert_eq!(request(content.as_bytes(), &address, "0a1b"), None, "{content}");
        }
    }
}
