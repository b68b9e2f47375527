//! Reports about TLS as mail (RFC 8460 §5.3): composed, and found in mail that somebody sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{MessageParser, MimeHeaders};
use smtp::{Address, Domain};

use crate::identity::Identity;

/// A report to be mailed.
#[derive(Debug, Clone, Copy)]
pub struct TlsReport<'a> {
    /// From whom.
    pub from: &'a Address,
    /// To whom.
    pub to: &'a Address,
    /// The domain that it is about.
    pub domain: &'a Domain,
    /// The domain that reports.
    pub submitter: &'a Domain,
    /// The report's id.
    pub id: &'a str,
    /// The day, as people read it.
    pub day: &'a str,
    /// The name of its file.
    pub filename: &'a str,
    /// The report, compressed.
    pub content: &'a [u8],
}

/// The mail that carries a report, not yet signed. Every line ends in CRLF.
///
/// `TLS-Required: No` (RFC 8689 §5) lets it through to a domain whose TLS is broken, which is what it tells about.
pub fn compose(report: &TlsReport<'_>, identity: &Identity) -> Vec<u8> {
    let TlsReport { from, to, domain, submitter, id, day, filename, content } = report;
    let (date, message_id, boundary) = (identity.date(), identity.message_id(), identity.boundary());
    let mut mail = format!(
        "From: <{from}>\r\n\
         To: <{to}>\r\n\
         Subject: Report Domain: {domain}\r\n Submitter: {submitter}\r\n Report-ID: <{id}>\r\n\
         Date: {date}\r\n\
         Message-ID: <{message_id}>\r\n\
         TLS-Report-Domain: {domain}\r\n\
         TLS-Report-Submitter: {submitter}\r\n\
         TLS-Required: No\r\n\
         Auto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"{boundary}\"\r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\
         \r\n\
         This is an aggregate TLS report (RFC 8460) about {domain}\r\n\
         from {submitter}\r\n\
         for {day} (UTC).\r\n\
         \r\n\
         --{boundary}\r\n\
         Content-Type: application/tlsrpt+gzip\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment;\r\n filename=\"{filename}\"\r\n\
         \r\n"
    )
    .into_bytes();
    for line in STANDARD.encode(content).as_bytes().chunks(76) {
        mail.extend_from_slice(line);
        mail.extend_from_slice(b"\r\n");
    }
    mail.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    mail
}

/// The report in a mail, as it is, compressed or not: the first part of a type of RFC 8460 §6.4, or else the first
/// whose file is named like a report, since some relays change types.
pub fn find(mail: &[u8]) -> Option<Vec<u8>> {
    let mail = MessageParser::new().parse(mail)?;
    let typed = mail.parts.iter().find(|part| {
        let subtype = part.content_type().filter(|found| found.c_type.eq_ignore_ascii_case("application"));
        let subtype = subtype.and_then(|found| found.c_subtype.as_deref()).unwrap_or_default();
        ["tlsrpt+gzip", "tlsrpt+json"].iter().any(|name| subtype.eq_ignore_ascii_case(name))
    });
    let named = || {
        mail.parts.iter().find(|part| {
            let name = part.attachment_name().unwrap_or_default().to_ascii_lowercase();
            name.contains('!') && (name.ends_with(".json.gz") || name.ends_with(".json"))
        })
    };
    typed.or_else(named).map(|part| part.contents().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(content: &[u8]) -> String {
        let (from, to) = ("tls@x.example".parse().unwrap(), "rua@y.example".parse().unwrap());
        let (submitter, domain) = ("x.example".parse().unwrap(), "y.example".parse().unwrap());
        let filename = "x.example!y.example!1459468800!1459555199!0a.json.gz";
        let (id, day) = ("1@x.example", "2016-04-01");
        let report =
            TlsReport { from: &from, to: &to, domain: &domain, submitter: &submitter, id, day, filename, content };
        let identity = Identity::new(1_459_600_000, [7; 32], &submitter);
        String::from_utf8(compose(&report, &identity)).unwrap()
    }

    #[test]
    fn the_mail_says_what_rfc_8460_wants() {
        let mail = mail(&[0xff; 300]);
        for field in [
            "Subject: Report Domain: y.example\r\n Submitter: x.example\r\n Report-ID: <1@x.example>\r\n",
            "\r\nTLS-Report-Domain: y.example\r\nTLS-Report-Submitter: x.example\r\nTLS-Required: No\r\n",
            "Content-Type: multipart/report; report-type=\"tlsrpt\";",
            "Content-Type: application/tlsrpt+gzip\r\n",
            "filename=\"x.example!y.example!1459468800!1459555199!0a.json.gz\"",
        ] {
            assert!(mail.contains(field), "{field} in {mail}");
        }
        assert!(mail.lines().all(|line| line.len() <= 100) && !mail.replace("\r\n", "").contains(['\r', '\n']));
        assert!(crate::accept(mail.as_bytes(), &[], &Identity::new(0, [1; 32], &"x.example".parse().unwrap())).is_ok());
    }

    #[test]
    fn a_report_is_found_again() {
        let content: Vec<u8> = (0..=255).cycle().take(1000).collect();
        assert_eq!(find(mail(&content).as_bytes()), Some(content.clone()));
        let retyped = mail(&content).replace("application/tlsrpt+gzip", "application/gzip");
        assert_eq!(find(retyped.as_bytes()), Some(content));
        let alone = b"From: a@b.example\r\nContent-Type: application/TLSRPT+json\r\n\r\n{}\r\n";
        assert_eq!(find(alone).as_deref(), Some(&b"{}\r\n"[..]));
        for other in ["From: a@b.example\r\n\r\n{}\r\n", "", "Content-Type: application/json\r\n\r\n{}"] {
            assert_eq!(find(other.as_bytes()), None, "{other}");
        }
    }
}
