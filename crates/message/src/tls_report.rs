//! Reports about TLS as mail (RFC 8460 §5.3): composed, and found in mail that somebody sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtp::{Address, Domain};

use crate::identity::Identity;
use crate::limits::{MIME_DEPTH, TLS_REPORT_OCTETS};
use crate::report;

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
    let is_type = |kind: &str| matches!(kind, "application/tlsrpt+gzip" | "application/tlsrpt+json");
    let is_name = |name: &str| name.contains('!') && (name.ends_with(".json.gz") || name.ends_with(".json"));
    let wants = |kind: &str, name: &str| (is_type(kind) || is_name(name)).then_some(TLS_REPORT_OCTETS);
    let mut found = report::parts(mail, MIME_DEPTH, wants);
    let typed = found.iter().position(|part| is_type(&part.kind)).unwrap_or_default();
    (!found.is_empty()).then(|| found.swap_remove(typed).content)
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
        let footer = format!(
            "Content-Type: multipart/mixed; boundary=out\r\n\r\n--out\r\n{}\r\n--out\r\n\r\nA footer.\r\n--out--\r\n",
            mail(b"x").split_once("MIME-Version: 1.0\r\n").unwrap().1
        );
        assert_eq!(find(footer.as_bytes()).as_deref(), Some(&b"x"[..]));
        let nested: String = (0..3 * MIME_DEPTH)
            .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
            .collect();
        assert_eq!(
            find(format!("{nested}{alone}", alone = "Content-Type: application/tlsrpt+json\r\n\r\n{}").as_bytes()),
            None
        );
        for other in ["From: a@b.example\r\n\r\n{}\r\n", "", "Content-Type: application/json\r\n\r\n{}"] {
            assert_eq!(find(other.as_bytes()), None, "{other}");
        }
    }
}
