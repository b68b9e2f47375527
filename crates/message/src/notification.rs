//! Delivery status notifications of our own (RFC 3464, in the form of RFC 6522): three parts, for people, for programs, and
//! what is given back of the message. [`crate::dsn`] reads those of others.
//!
//! With recipients beyond ASCII the parts are those of RFC 6533, in UTF-8; whoever gets them sent such a message.

use smtp::dsn::Action;
use smtp::{Address, Domain, EnhancedCode};

use crate::identity::{Identity, date_of};
use crate::limits::{NOTIFICATION_TEXT_OCTETS, RETURNED_HEADER_OCTETS, RETURNED_OCTETS};
use crate::lines::printable;

/// What is told.
#[derive(Debug, Clone)]
pub struct Notification<'a> {
    /// The sending domain, whose postmaster writes.
    pub domain: &'a Domain,
    /// To whom.
    pub to: &'a Address,
    /// The server that writes: its name, or its address in brackets.
    pub reporting_mta: &'a str,
    /// The Message-ID of the message, without brackets.
    pub message_id: &'a str,
    /// When the message was accepted, in Unix seconds.
    pub arrived_at: i64,
    /// What its sender calls the transaction, in printable ASCII.
    pub envelope_id: Option<String>,
    /// What became of its recipients, at least one.
    pub recipients: Vec<RecipientNotice<'a>>,
    /// Its content, where that is still there.
    pub content: Option<&'a [u8]>,
    /// Whether to give back more than its header, if it is not too long.
    pub full: bool,
}

/// What became of a recipient.
#[derive(Debug, Clone)]
pub struct RecipientNotice<'a> {
    /// The address that mail was sent to.
    pub recipient: &'a Address,
    /// The recipient as the sender knows it: a type, a semicolon, an address in printable ASCII.
    pub original: Option<String>,
    /// What was done.
    pub action: Action,
    /// Why, as a code.
    pub status: EnhancedCode,
    /// When, in Unix seconds.
    pub at: i64,
    /// Until when it is tried, in Unix seconds.
    pub until: Option<i64>,
    /// The host that was last spoken to.
    pub remote_mta: Option<&'a str>,
    /// Why, in the words of whoever said so, behind the type of these words: `smtp; 550 5.1.1 no such user`.
    pub diagnostic: Option<String>,
    /// What people are told of it.
    pub words: String,
}

/// The mail that tells it, not yet signed. Every line ends in CRLF.
pub fn compose(notification: &Notification<'_>, identity: &Identity) -> Vec<u8> {
    let Notification { domain, to, message_id, .. } = notification;
    let boundary = identity.boundary();
    let text = Text { is_global: notification.recipients.iter().any(|notice| notice.recipient.needs_smtputf8()) };
    let returned = notification.content.map(|content| Returned::of(content, notification.full));
    let coding = coding(text.is_global || returned.as_ref().is_some_and(|returned| !returned.content.is_ascii()));
    let mut mail = format!(
        "From: Mail Delivery System <postmaster@{domain}>\r\n\
         To: <{to}>\r\n\
         Subject: {}\r\n\
         Date: {}\r\n\
         Message-ID: <{}>\r\n\
         In-Reply-To: <{message_id}>\r\n\
         References: <{message_id}>\r\n\
         Auto-Submitted: auto-replied\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type={};\r\n boundary=\"{boundary}\"\r\n\
         Content-Transfer-Encoding: {coding}\r\n\
         \r\n\
         --{boundary}\r\n",
        subject(&notification.recipients),
        identity.date(),
        identity.message_id(),
        text.kind("delivery-status"),
    );
    mail.push_str(&text.for_people(notification));
    mail.push_str(&format!("--{boundary}\r\n"));
    mail.push_str(&text.for_programs(notification));
    let mut mail = mail.into_bytes();
    if let Some(Returned { kind, content }) = returned {
        let coding = self::coding(!content.is_ascii());
        let head = format!("--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {coding}\r\n\r\n");
        mail.extend_from_slice(head.as_bytes());
        mail.extend_from_slice(content);
        if !content.ends_with(b"\r\n") {
            mail.extend_from_slice(b"\r\n");
        }
    }
    mail.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    mail
}

fn coding(is_eight_bit: bool) -> &'static str {
    if is_eight_bit { "8bit" } else { "7bit" }
}

/// The subject of a notification, by the worst that it tells.
pub fn subject(recipients: &[RecipientNotice<'_>]) -> &'static str {
    let any = |action| recipients.iter().any(|notice| notice.action == action);
    if any(Action::Failed) {
        "Undelivered mail"
    } else if any(Action::Delayed) {
        "Delayed mail"
    } else {
        "Delivered mail"
    }
}

/// What is given back of the message.
struct Returned<'a> {
    kind: &'static str,
    content: &'a [u8],
}

impl<'a> Returned<'a> {
    fn of(content: &'a [u8], full: bool) -> Returned<'a> {
        let end = content.windows(4).position(|four| four == b"\r\n\r\n").map_or(content.len(), |at| at + 2);
        let header = &content[..end];
        match (full && content.len() <= RETURNED_OCTETS, header.is_ascii()) {
            (true, true) => Returned { kind: "message/rfc822", content },
            (true, false) => Returned { kind: "message/global", content },
            (false, true) => Returned { kind: "text/rfc822-headers", content: whole_fields(header) },
            (false, false) => Returned { kind: "message/global-headers", content: whole_fields(header) },
        }
    }
}

/// As many fields as there is room for, each with all its lines.
fn whole_fields(header: &[u8]) -> &[u8] {
    if header.len() <= RETURNED_HEADER_OCTETS {
        return header;
    }
    let starts_field = |at: &usize| header[*at..].starts_with(b"\r\n") && !matches!(header[at + 2], b' ' | b'\t');
    let end = (0..RETURNED_HEADER_OCTETS - 2).rev().find(starts_field).map(|at| at + 2);
    &header[..end.unwrap_or_default()]
}

/// How texts are written: in ASCII, or in UTF-8 (RFC 6533).
#[derive(Clone, Copy)]
struct Text {
    is_global: bool,
}

impl Text {
    fn kind(self, name: &str) -> String {
        if self.is_global { format!("global-{name}") } else { name.to_owned() }
    }

    fn for_people(self, notification: &Notification<'_>) -> String {
        let charset = if self.is_global { "utf-8" } else { "us-ascii" };
        let coding = coding(self.is_global);
        let mut part = format!(
            "Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {coding}\r\n\r\n\
             This is the mail server {} writing for {}.\r\n\r\n\
             It is about your message <{}>\r\nof {}.\r\n",
            notification.reporting_mta,
            notification.domain,
            notification.message_id,
            date_of(notification.arrived_at)
        );
        for (action, words) in [
            (Action::Failed, "It could not be delivered to:"),
            (
                Action::Delayed,
                "It has not been delivered yet, and is still being tried; you need not send it again. To:",
            ),
            (Action::Delivered, "It was delivered to:"),
            (Action::Expanded, "It was delivered to several addresses that stand for:"),
            (Action::Relayed, "It was handed to a server that reports no deliveries, only failures, for:"),
        ] {
            let mut about = notification.recipients.iter().filter(|notice| notice.action == action).peekable();
            if about.peek().is_some() {
                part.push_str(&wrapped(words, "\r\n", ""));
            }
            for notice in about {
                part.push_str(&format!("\r\n  {}\r\n", self.sound(&notice.recipient.to_string())));
                part.push_str(&wrapped(&self.sound(&notice.words), "    ", "    "));
            }
        }
        part.push_str("\r\n");
        part
    }

    fn for_programs(self, notification: &Notification<'_>) -> String {
        let mut part = format!(
            "Content-Type: message/{}\r\nContent-Transfer-Encoding: {}\r\n\r\n",
            self.kind("delivery-status"),
            coding(self.is_global)
        );
        let mut field = |name: &str, value: &str| {
            part.push_str(&wrapped(&self.sound(value), &format!("{name}: "), " "));
        };
        let host = |name: &str| format!("dns; {name}");
        if let Some(id) = &notification.envelope_id {
            field("Original-Envelope-Id", id);
        }
        field("Reporting-MTA", &host(notification.reporting_mta));
        field("Arrival-Date", &date_of(notification.arrived_at));
        for notice in &notification.recipients {
            let kind = if notice.recipient.needs_smtputf8() { "utf-8" } else { "rfc822" };
            let recipient = format!("{kind}; {}", notice.recipient);
            // An empty line begins the group (RFC 3464 §2.1).
            field("\r\nOriginal-Recipient", notice.original.as_deref().unwrap_or(&recipient));
            field("Final-Recipient", &recipient);
            field("Action", notice.action.as_str());
            field("Status", &notice.status.to_string());
            if let Some(remote) = notice.remote_mta {
                field("Remote-MTA", &host(remote));
            }
            if let Some(diagnostic) = &notice.diagnostic {
                field("Diagnostic-Code", diagnostic);
            }
            field("Last-Attempt-Date", &date_of(notice.at));
            if let Some(until) = notice.until {
                field("Will-Retry-Until", &date_of(until));
            }
        }
        part.push_str("\r\n");
        part
    }

    /// Without controls, so that no text ends a line, without what the form cannot carry, and not too long.
    fn sound(self, text: &str) -> String {
        let end = (0..=NOTIFICATION_TEXT_OCTETS.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        let text = printable(&text[..end.unwrap_or_default()]);
        if self.is_global { text } else { text.replace(|c: char| !c.is_ascii(), "?") }
    }
}

/// The text in lines of about 76 octets that end in CRLF, broken where a space is (RFC 5322 §2.2.3): `first` stands
/// before the first of them, `others` before the others.
fn wrapped(text: &str, first: &str, others: &str) -> String {
    let (mut out, mut column) = (first.to_owned(), first.len());
    for (number, word) in text.split(' ').filter(|word| !word.is_empty()).enumerate() {
        if number > 0 && column + 1 + word.len() > 76 {
            out.push_str("\r\n");
            out.push_str(others);
            column = others.len();
        } else if number > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out.push_str("\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsn::parse;

    const MESSAGE: &[u8] = b"From: a@sender.example\r\nSubject: Hi\r\n there\r\n\r\nBody.\r\n--outer--\r\n";

    fn notice(recipient: &Address, action: Action) -> RecipientNotice<'_> {
        RecipientNotice {
            recipient,
            original: None,
            action,
            status: EnhancedCode::new(5, 1, 1),
            at: 1_795_000_600,
            until: None,
            remote_mta: Some("in.b.example"),
            diagnostic: Some("smtp; 550 5.1.1 no such user".to_owned()),
            words: "550 5.1.1 no such user".to_owned(),
        }
    }

    fn written(recipients: Vec<RecipientNotice<'_>>, content: Option<&[u8]>, full: bool) -> String {
        let (domain, to) = ("sender.example".parse().unwrap(), "app@sender.example".parse().unwrap());
        let notification = Notification {
            domain: &domain,
            to: &to,
            reporting_mta: "mx.sender.example",
            message_id: "1@sender.example",
            arrived_at: 1_795_000_000,
            envelope_id: Some("QQ314159".to_owned()),
            recipients,
            content,
            full,
        };
        let mail = compose(&notification, &Identity::new(1_795_000_601, [7; 32], &domain));
        assert!(crate::accept(&mail, &[], &Identity::new(0, [1; 32], &domain)).is_ok(), "it is a sound message");
        let mail = String::from_utf8(mail).unwrap();
        assert!(!mail.replace("\r\n", "").contains(['\r', '\n', '\u{7}']), "{mail}");
        mail
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (bob, ann) = ("bob@b.example".parse().unwrap(), "ann@b.example".parse().unwrap());
        let delayed = RecipientNotice {
            status: EnhancedCode::new(4, 7, 5),
            until: Some(1_795_028_500),
            original: Some("rfc822; info@b.example".to_owned()),
            diagnostic: Some(format!("x-waxwing; {}", "TLS is required ".repeat(20))),
            ..notice(&ann, Action::Delayed)
        };
        let mail = written(vec![notice(&bob, Action::Failed), delayed], Some(MESSAGE), false);
        let found = parse(mail.as_bytes()).unwrap();
        assert_eq!(found.reporting_mta.as_deref(), Some("mx.sender.example"));
        let [first, second] = &found.recipients[..] else { panic!("{found:?}") };
        assert_eq!(
            (first.action, first.reply_code, first.status),
            (Action::Failed, Some(550), Some(EnhancedCode::new(5, 1, 1)))
        );
        assert_eq!((first.last.as_ref(), first.original.as_ref()), (Some(&bob), Some(&bob)));
        assert_eq!(first.diagnostic.as_deref(), Some("550 5.1.1 no such user"));
        assert_eq!(second.original.as_ref().map(ToString::to_string).as_deref(), Some("info@b.example"));
        assert_eq!((second.action, second.reply_code), (Action::Delayed, None));
        assert_eq!(second.diagnostic.as_deref(), Some("TLS is required ".repeat(20).trim()));
        for line in [
            "Subject: Undelivered mail",
            "Content-Type: multipart/report; report-type=delivery-status;",
            "Original-Envelope-Id: QQ314159",
            "Arrival-Date: Wed, 18 Nov 2026 11:06:40 +0000",
            "Will-Retry-Until: Wed, 18 Nov 2026 19:01:40 +0000",
            "Final-Recipient: rfc822; bob@b.example",
            "It could not be delivered to:",
            "    550 5.1.1 no such user",
        ] {
            assert!(mail.lines().any(|found| found == line), "{line} in {mail}");
        }
        assert!(mail.lines().all(|line| line.len() <= 100), "{mail}");
    }

    #[test]
    fn the_message_is_given_back_as_asked() {
        let bob = "bob@b.example".parse().unwrap();
        let part = |content: &[u8], full| {
            let mail = written(vec![notice(&bob, Action::Failed)], Some(content), full);
            mail.rsplit("--07070707070707070707070707070707\r\n").next().unwrap().to_owned()
        };
        let end = "--07070707070707070707070707070707--\r\n";
        let given = part(MESSAGE, false);
        let header = "From: a@sender.example\r\nSubject: Hi\r\n there\r\n";
        assert_eq!(
            given,
            format!("Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit\r\n\r\n{header}{end}")
        );
        let given = part(MESSAGE, true);
        assert!(
            given.starts_with("Content-Type: message/rfc822\r\n") && given.contains("\r\nBody.\r\n--outer--\r\n--0707")
        );
        let eight_bit = "Subject: Hi\r\n\r\nGrüße\r\n".as_bytes();
        assert!(
            part(eight_bit, true).starts_with("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n")
        );
        assert!(
            part(eight_bit, false)
                .starts_with("Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit\r\n")
        );
        assert!(
            part("Subject: Grüße\r\n\r\nHi\r\n".as_bytes(), false)
                .starts_with("Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n")
        );
        // What is too long is given back without its body, and of a header whole fields.
        let long = [MESSAGE, &b"x\r\n".repeat(RETURNED_OCTETS / 3)].concat();
        assert!(part(&long, true).starts_with("Content-Type: text/rfc822-headers\r\n"));
        let field = format!("X: {}\r\n\t{}\r\n", "y".repeat(500), "z".repeat(500));
        let given = part(format!("{}\r\n", field.repeat(100)).as_bytes(), false);
        assert!(
            given.len() < RETURNED_HEADER_OCTETS + 200 && given.ends_with(&format!("zz\r\n{end}")),
            "{}",
            given.len()
        );
        assert!(!written(vec![notice(&bob, Action::Failed)], None, true).contains("rfc822-headers"));
    }

    #[test]
    fn strange_texts_stay_in_their_place() {
        let bob = "bob@b.example".parse().unwrap();
        let strange = RecipientNotice {
            diagnostic: Some(format!(
                "smtp; 550 no\r\nAction: delivered\r\n\r\n--0707 Grüße \u{7}{}",
                "x".repeat(5000)
            )),
            words: "no\r\n.\r\nwho \u{1F4A9}".to_owned(),
            ..notice(&bob, Action::Failed)
        };
        let mail = written(vec![strange], Some(MESSAGE), true);
        assert!(mail.is_ascii() && mail.lines().all(|line| line.len() <= 900), "{mail}");
        let found = parse(mail.as_bytes()).unwrap();
        assert_eq!((found.recipients.len(), found.recipients[0].action), (1, Action::Failed));
        assert!(
            found.recipients[0].diagnostic.as_ref().unwrap().starts_with("550 no Action: delivered --0707 Gr??e x")
        );
    }

    #[test]
    fn addresses_beyond_ascii_have_parts_of_their_own() {
        let jörg = "jörg@b.example".parse().unwrap();
        let mail = written(vec![notice(&jörg, Action::Relayed)], Some(MESSAGE), false);
        for line in [
            "Subject: Delivered mail",
            "Content-Type: multipart/report; report-type=global-delivery-status;",
            "Content-Type: message/global-delivery-status",
            "Final-Recipient: utf-8; jörg@b.example",
            "Content-Transfer-Encoding: 8bit",
        ] {
            assert!(mail.lines().any(|found| found == line), "{line} in {mail}");
        }
        assert_eq!(parse(mail.as_bytes()).unwrap().recipients[0].last, Some(jörg));
    }
}
