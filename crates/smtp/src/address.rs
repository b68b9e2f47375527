//! Mail addresses and domains as SMTP carries them (RFC 5321 §4.1.2, RFC 6531 §3.3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{DOMAIN_OCTETS, LOCAL_PART_OCTETS, PATH_OCTETS};

/// A domain name in its one comparable form: A-labels, lower case, no trailing dot.
///
/// `Domain` is what DNS is asked for and what queues and settings are keyed by; [`Domain::to_unicode`] gives the form
/// for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

impl Domain {
    /// The name in A-labels, lower case: `xn--bcher-kva.example`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in U-labels, for people: `bücher.example`.
    pub fn to_unicode(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }

    /// Whether `self` is `other` or lies below it.
    pub fn is_within(&self, other: &Domain) -> bool {
        self.0 == other.0 || self.0.strip_suffix(&other.0).is_some_and(|rest| rest.ends_with('.'))
    }
}

/// Why a text is not a domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Nothing there.
    #[error("the domain is empty")]
    Empty,
    /// Longer than 255 octets, or a label longer than 63 (RFC 5321 §4.5.3.1.2, RFC 1035 §2.3.4).
    #[error("the domain or one of its labels is too long")]
    TooLong,
    /// An address literal such as `[192.0.2.1]`: delivery needs a name whose MX can be looked up and verified.
    #[error("address literals are not supported")]
    AddressLiteral,
    /// Some character or label that no domain name has.
    #[error("'{0}' is not a domain name")]
    Invalid(String),
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(DomainError::Empty);
        }
        if text.starts_with('[') {
            return Err(DomainError::AddressLiteral);
        }
        if text.len() > 4 * DOMAIN_OCTETS {
            return Err(DomainError::TooLong);
        }
        let invalid = || DomainError::Invalid(text.chars().take(80).collect());
        let ascii = idna::domain_to_ascii(text).map_err(|_| invalid())?;
        if ascii.len() > DOMAIN_OCTETS || ascii.split('.').any(|label| label.len() > 63) {
            return Err(DomainError::TooLong);
        }
        let all_numeric = ascii.rsplit('.').next().is_some_and(|tld| tld.bytes().all(|b| b.is_ascii_digit()));
        if all_numeric || !ascii.split('.').all(is_label) {
            return Err(invalid());
        }
        Ok(Domain(ascii))
    }
}

/// A label as hosts really carry it: letters, digits, hyphen inside, and the underscore that the DNS allows.
fn is_label(label: &str) -> bool {
    let ends_well = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let bytes = label.as_bytes();
    ends_well(bytes.first())
        && ends_well(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Domain {
    type Error = DomainError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> String {
        domain.0
    }
}

/// A mailbox address, `local-part@domain` (RFC 5321 §4.1.2), never a source route and never empty.
///
/// The local-part keeps its case and its quotes, since only its own host may read it (RFC 5321 §2.4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    local_part: String,
    domain: Domain,
}

impl Address {
    /// What stands before the `@`, quotes included.
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// What stands after the `@`, as A-labels.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether the address can only travel to a host that offers SMTPUTF8 (RFC 6531 §3.3). The domain never needs it,
    /// since it is kept as A-labels.
    pub fn needs_smtputf8(&self) -> bool {
        !self.local_part.is_ascii()
    }
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `@`.
    #[error("there is no '@'")]
    NoAt,
    /// Empty, longer than 64 octets, or with characters that need quotes (RFC 5321 §4.1.2, §4.5.3.1.1).
    #[error("the part before the '@' is not valid")]
    LocalPart,
    /// The part after the `@` is no domain.
    #[error("{0}")]
    Domain(#[from] DomainError),
    /// Longer than a path may be (RFC 5321 §4.5.3.1.3).
    #[error("the address is too long")]
    TooLong,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (local_part, domain) = text.rsplit_once('@').ok_or(AddressError::NoAt)?;
        if local_part.len() > LOCAL_PART_OCTETS || !(is_dot_string(local_part) || is_quoted_string(local_part)) {
            return Err(AddressError::LocalPart);
        }
        let address = Address { local_part: local_part.to_owned(), domain: domain.parse()? };
        // The two angle brackets count (RFC 5321 §4.5.3.1.3).
        if address.local_part.len() + 1 + address.domain.0.len() + 2 > PATH_OCTETS {
            return Err(AddressError::TooLong);
        }
        Ok(address)
    }
}

/// `Dot-string` of RFC 5321 §4.1.2, with UTF-8 as RFC 6531 §3.3 extends `atext`.
fn is_dot_string(text: &str) -> bool {
    let is_atext = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_non_ascii(c);
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// `Quoted-string` of RFC 5321 §4.1.2, which allows no control character.
fn is_quoted_string(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else { return false };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let fine = match c {
            '\\' => chars.next().is_some_and(|c| (' '..='~').contains(&c)),
            '"' => false,
            c => (' '..='~').contains(&c) || is_utf8_non_ascii(c),
        };
        if !fine {
            return false;
        }
    }
    !inner.is_empty()
}

/// UTF8-non-ascii of RFC 6532 §3.1, less the C1 controls and the characters that only reorder or hide text.
fn is_utf8_non_ascii(c: char) -> bool {
    !c.is_ascii()
        && !c.is_control()
        && !c.is_whitespace()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.domain)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_one_form() {
        for (text, form) in [
            ("Example.COM.", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(text.parse::<Domain>().unwrap().as_str(), form);
        }
        assert_eq!("xn--bcher-kva.example".parse::<Domain>().unwrap().to_unicode(), "bücher.example");
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        let long = format!("{}.example", "a".repeat(64));
        let bad =
            ["", ".", "a..b", "-a.example", "a-.example", "a b.example", "a\r\n.example", "[192.0.2.1]", "192.0.2.1"];
        for text in bad.into_iter().chain([long.as_str()]) {
            assert!(text.parse::<Domain>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn within_means_the_domain_or_below() {
        let domain = |d: &str| d.parse::<Domain>().unwrap();
        assert!(domain("a.example.com").is_within(&domain("example.com")));
        assert!(domain("example.com").is_within(&domain("example.com")));
        assert!(!domain("badexample.com").is_within(&domain("example.com")));
    }

    #[test]
    fn addresses_are_kept_as_written() {
        for text in ["Bob.Smith+tag@example.com", "\"a b\\\"c\"@example.com", "\"a@b\"@example.com", "jörg@example.com"]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert!("jörg@example.com".parse::<Address>().unwrap().needs_smtputf8());
        assert!(!"joerg@bücher.example".parse::<Address>().unwrap().needs_smtputf8());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        let bad = [
            "bob",
            "@example.com",
            "bob@",
            "a..b@example.com",
            ".a@example.com",
            "a b@example.com",
            "<a@example.com>",
            "a\r\nRCPT TO:<x@y>@example.com",
            "\"a\r\"@example.com",
            "\"@example.com",
            "\"\"@example.com",
            "a\0@example.com",
            "a\u{202e}b@example.com",
            "bob@[192.0.2.1]",
        ];
        for text in bad.into_iter().chain([long.as_str()]) {
            assert!(text.parse::<Address>().is_err(), "{text:?} was taken");
        }
    }
}
