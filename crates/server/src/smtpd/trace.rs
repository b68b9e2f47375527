//! Trace fields: which way a message came (RFC 5321 §4.4).

use std::net::IpAddr;

use super::Transaction;
use super::limits::HOPS;
use crate::api::time;

/// The field of this server, `host`, for a message that came from `ip`.
pub(crate) fn received(transaction: &Transaction, ip: IpAddr, host: &str) -> String {
    let is_name = |text: &str| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
    };
    let client = if is_name(&transaction.client) { transaction.client.as_str() } else { "unknown" };
    let address = match ip.to_canonical() {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    };
    // RFC 3848, RFC 6531 §4.3.
    let protocol = match (transaction.mail.smtputf8, transaction.secure, transaction.logged_in) {
        (false, false, _) => "ESMTP",
        (false, true, false) => "ESMTPS",
        (false, true, true) => "ESMTPSA",
        (true, false, _) => "UTF8SMTP",
        (true, true, false) => "UTF8SMTPS",
        (true, true, true) => "UTF8SMTPSA",
    };
    let date = time::to_date(time::now());
    format!("Received: from {client} ({address})\r\n\tby {host} with {protocol};\r\n\t{date}\r\n")
}

/// Whether a message went through so many servers that it goes round in circles (RFC 5321 §6.3).
pub(crate) fn goes_round(content: &[u8]) -> bool {
    let is_received = |line: &&[u8]| line.get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"received:"));
    header_lines(content).filter(is_received).count() > HOPS
}

/// The lines of the header, with the CR of their ends.
pub(crate) fn header_lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split(|b| *b == b'\n').take_while(|line| !matches!(*line, b"" | b"\r"))
}
