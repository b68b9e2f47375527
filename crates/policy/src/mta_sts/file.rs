//! The policy file (RFC 8461 §3.2).

use std::time::Duration;

use smtp::Domain;

use super::record::is_extension_name;
use super::{MOST_MAX_AGE, Mode, MxPattern, Policy};

/// Largest policy file read, in octets. RFC 8461 §3.3 suggests this as a limit.
pub const FILE_OCTETS: usize = 64 * 1024;

/// Most `mx` lines of a policy. What is published names a handful; this bounds what a look and its memory cost.
pub const MX_PATTERNS: usize = 256;

/// What is wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// Larger than [`FILE_OCTETS`].
    #[error("the policy is larger than {FILE_OCTETS} octets")]
    TooLarge,
    /// More than [`MX_PATTERNS`].
    #[error("the policy has more than {MX_PATTERNS} lines 'mx'")]
    TooManyHosts,
    /// Not a text in UTF-8.
    #[error("the policy is not a text in UTF-8")]
    NotText,
    /// A line that is no field.
    #[error("line {0} of the policy is no field")]
    NotAField(usize),
    /// A field that must be there.
    #[error("the policy has no '{0}'")]
    Missing(&'static str),
    /// A field whose value cannot be.
    #[error("'{value}' cannot be the '{field}' of a policy")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value, cut short and without control characters.
        value: String,
    },
}

/// Reads a policy file. Lines end in CRLF or LF. Of fields that may stand once the first counts; unknown ones do not.
pub(super) fn parse(file: &[u8]) -> Result<Policy, InvalidPolicy> {
    if file.len() > FILE_OCTETS {
        return Err(InvalidPolicy::TooLarge);
    }
    let file = std::str::from_utf8(file).map_err(|_| InvalidPolicy::NotText)?;
    let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
    for (number, line) in file.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line).trim_end_matches(BLANKS);
        // Not in the grammar, and common at the end of files.
        if line.is_empty() {
            continue;
        }
        let not_a_field = || InvalidPolicy::NotAField(number + 1);
        let (name, value) = line.split_once(':').ok_or_else(not_a_field)?;
        let value = value.trim_start_matches(BLANKS);
        match name {
            "version" => _ = version.get_or_insert(value),
            "mode" => _ = mode.get_or_insert(value),
            "max_age" => _ = max_age.get_or_insert(value),
            "mx" if mx.len() >= MX_PATTERNS => return Err(InvalidPolicy::TooManyHosts),
            "mx" => mx.push(pattern(value)?),
            // RFC 8461 §3.2: unknown fields are ignored, but fields they must be.
            _ if is_extension_name(name) && !value.is_empty() && !value.contains(char::is_control) => {}
            _ => return Err(not_a_field()),
        }
    }
    match version.ok_or(InvalidPolicy::Missing("version"))? {
        "STSv1" => {}
        other => return Err(unfit("version", other)),
    }
    let mode = mode.ok_or(InvalidPolicy::Missing("mode")).and_then(mode_of)?;
    let max_age = max_age.ok_or(InvalidPolicy::Missing("max_age")).and_then(age_of)?;
    // Only who has no policy any more needs to name no host.
    if mx.is_empty() && mode != Mode::None {
        return Err(InvalidPolicy::Missing("mx"));
    }
    Ok(Policy { mode, mx, max_age })
}

const BLANKS: [char; 2] = [' ', '\t'];

fn mode_of(value: &str) -> Result<Mode, InvalidPolicy> {
    let named = [Mode::Enforce, Mode::Testing, Mode::None].into_iter().find(|mode| mode.as_str() == value);
    named.ok_or_else(|| unfit("mode", value))
}

/// 1 to 10 digits. More than the most is taken for the most: a policy that shall live too long is still a policy.
fn age_of(value: &str) -> Result<Duration, InvalidPolicy> {
    let is_number = (1..=10).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u64 = value.parse().ok().filter(|_| is_number).ok_or_else(|| unfit("max_age", value))?;
    Ok(Duration::from_secs(seconds).min(MOST_MAX_AGE))
}

/// A host in A-labels, or `*.` before one.
fn pattern(value: &str) -> Result<MxPattern, InvalidPolicy> {
    let unfit = || unfit("mx", value);
    let host = |name: &str| -> Result<Domain, InvalidPolicy> {
        if !name.is_ascii() || name.ends_with('.') {
            return Err(unfit());
        }
        name.parse().map_err(|_| unfit())
    };
    match value.strip_prefix("*.") {
        Some(parent) => host(parent).map(MxPattern::OneLabelBelow),
        None => host(value).map(MxPattern::Host),
    }
}

fn unfit(field: &'static str, value: &str) -> InvalidPolicy {
    /// A stranger wrote it; a line in a log need not have all of it.
    const SHOWN: usize = 80;
    let value = value.chars().map(|char| if char.is_control() { '?' } else { char }).take(SHOWN).collect();
    InvalidPolicy::Value { field, value }
}
