//! What a host offers in its answer to EHLO (RFC 5321 §4.1.1.1).

use crate::Reply;

/// The service extensions that we act on. An answer to HELO, or none, offers nothing: `Extensions::default()`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870): `Some(0)` and `Some(n)` as announced; a bare `SIZE` is `Some(0)`, "no fixed maximum".
    pub size: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// REQUIRETLS (RFC 8689).
    pub requiretls: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// AUTH PLAIN (RFC 4954), the one mechanism that we speak.
    pub auth_plain: bool,
}

impl Extensions {
    /// Reads an EHLO answer. The first line is the host's name and greeting; each further line is one extension.
    /// Keywords are case-insensitive; what we do not know is passed over, as RFC 5321 §4.1.1.1 asks.
    pub fn from_ehlo(reply: &Reply) -> Extensions {
        let mut offered = Extensions::default();
        for line in reply.lines().iter().skip(1) {
            // `AUTH=PLAIN` is how some old hosts write it.
            let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
            let Some(keyword) = words.next() else { continue };
            match keyword.to_ascii_uppercase().as_str() {
                "STARTTLS" => offered.starttls = true,
                "PIPELINING" => offered.pipelining = true,
                "SIZE" => offered.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
                "8BITMIME" => offered.eight_bit_mime = true,
                "SMTPUTF8" => offered.smtputf8 = true,
                "REQUIRETLS" => offered.requiretls = true,
                "DSN" => offered.dsn = true,
                "ENHANCEDSTATUSCODES" => offered.enhanced_status_codes = true,
                "AUTH" => offered.auth_plain |= words.any(|mechanism| mechanism.eq_ignore_ascii_case("PLAIN")),
                _ => {}
            }
        }
        offered
    }

    /// Whether a message of `octets` fits what the host announced. Zero means no fixed maximum (RFC 1870 §4).
    pub fn takes_size(&self, octets: usize) -> bool {
        !matches!(self.size, Some(limit) if limit > 0 && (octets as u64) > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ehlo_answer_is_read_line_by_line() {
        let reply = Reply::new(
            250,
            ["STARTTLS is my name", "starttls", "Pipelining", "dsn", "SIZE 1000", "AUTH LOGIN PLAIN", "X-NEW 1"],
        );
        let offered = Extensions::from_ehlo(&reply);
        assert!(offered.starttls && offered.pipelining && offered.auth_plain && offered.dsn);
        assert!(!offered.smtputf8 && !offered.eight_bit_mime);
        assert_eq!(offered.size, Some(1000));
        assert!(offered.takes_size(1000) && !offered.takes_size(1001));
    }

    #[test]
    fn the_greeting_line_offers_nothing() {
        assert_eq!(Extensions::from_ehlo(&Reply::new(250, ["STARTTLS"])), Extensions::default());
    }

    #[test]
    fn a_size_without_a_number_is_no_limit() {
        let offered = Extensions::from_ehlo(&Reply::new(250, ["host", "SIZE"]));
        assert!(offered.takes_size(usize::MAX));
    }
}
