//! The TXT record at `_mta-sts.<domain>` (RFC 8461 §3.1).

use std::fmt;
use std::str::FromStr;

/// The id of a domain's policy: 1 to 32 letters and digits. A new one says that the policy has changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyId(String);

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a policy id has 1 to 32 letters and digits")]
pub struct InvalidId;

impl PolicyId {
    /// The id as it was published.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PolicyId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<PolicyId, InvalidId> {
        let is_one = (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_one { Ok(PolicyId(text.to_owned())) } else { Err(InvalidId) }
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id that a domain announces, given all TXT records at `_mta-sts.<domain>`, the strings of each joined.
///
/// `None` when there is not exactly one record of this version, or when that one is not valid: then the domain is taken
/// to have no policy.
pub fn record_id<T: AsRef<[u8]>>(records: &[T]) -> Option<PolicyId> {
    let mut of_this_version = records.iter().filter_map(|record| fields(record.as_ref()));
    match (of_this_version.next(), of_this_version.next()) {
        (Some(fields), None) => id(fields),
        _ => None,
    }
}

/// What follows the version, or `None` for a record of something else.
fn fields(record: &[u8]) -> Option<&[u8]> {
    record.strip_prefix(b"v=STSv1").filter(|rest| trim_start(rest).first() == Some(&b';'))
}

fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blanks..]
}

/// The one id among the fields, all of which must be fields.
fn id(fields: &[u8]) -> Option<PolicyId> {
    let fields = std::str::from_utf8(fields).ok()?;
    let mut fields: Vec<&str> = fields.split(';').map(|field| field.trim_matches([' ', '\t'])).collect();
    // Before the first delimiter there is nothing, after the last one there may be nothing.
    fields.remove(0);
    fields.pop_if(|last| last.is_empty());
    let mut found = None;
    for field in fields {
        let (name, value) = field.split_once('=')?;
        match name {
            // Two ids name two policies, and nobody could say which.
            "id" if found.is_some() => return None,
            "id" => found = Some(value.parse().ok()?),
            _ if is_extension(name, value) => {}
            _ => return None,
        }
    }
    found
}

fn is_extension(name: &str, value: &str) -> bool {
    let is_value = |byte: u8| matches!(byte, 0x21..=0x3a | 0x3c | 0x3e..=0x7e);
    is_extension_name(name) && !value.is_empty() && value.bytes().all(is_value)
}

/// The name of a field that may be defined one day: the same rule in records and in policy files.
pub(super) fn is_extension_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_exactly_one_valid_record() {
        let long = format!("v=STSv1; id={}", "a".repeat(33));
        let longest = format!("v=STSv1; id={}", "a".repeat(32));
        let thirty_two = "a".repeat(32);
        for (records, expected) in [
            (&["v=STSv1; id=20160831085700Z;"][..], Some("20160831085700Z")),
            (&["v=STSv1;id=1"], Some("1")),
            (&["v=STSv1 \t; \t id=1 ; "], Some("1")),
            (&["v=STSv1; a=b; id=1; x-y.z_1=~!:<"], Some("1")),
            (&["something else", "v=STSv1; id=1;", "v=spf1 -all", "v=STSv11; id=7"], Some("1")),
            (&[longest.as_str()], Some(thirty_two.as_str())),
            (&[], None),
            (&["v=spf1 -all"], None),
            (&["v=STSv1; id=1", "v=STSv1; id=1"], None),
            (&["v=STSv1; id=1", "v=STSv1; nonsense"], None),
            (&["v=STSv1"], None),
            (&["v=STSv1;"], None),
            (&["v=STSv1; id="], None),
            (&["v=STSv1; id=a-b"], None),
            (&["v=STSv1; id=ä"], None),
            (&["v=STSv1; id = 1"], None),
            (&["v=STSv1; ID=1"], None),
            (&["v=STSv1; id=1; id=2"], None),
            (&["v=STSv1; id=1;; a=b"], None),
            (&["v=STSv1; id=1; a"], None),
            (&["v=STSv1; id=1; a=b=c"], None),
            (&["v=STSv1; id=1; a=b c"], None),
            (&["v=STSv1; id=1; -a=b"], None),
            (&["V=STSv1; id=1"], None),
            (&["v=stsv1; id=1"], None),
            (&[" v=STSv1; id=1"], None),
            (&[long.as_str()], None),
        ] {
            assert_eq!(record_id(records).as_ref().map(PolicyId::as_str), expected, "{records:?}");
        }
        assert_eq!(record_id(&[b"v=STSv1; id=1; a=\xff"]), None);
    }
}
