//! Every limit of mail that comes back. Those of the connection are in [`crate::smtpd::limits`], those of a report in
//! [`message::limits`].

use crate::api::limits::MESSAGE_OCTETS;

/// Longest report, in octets: one that gives back the longest message whole (RFC 3461 §4.3).
pub(super) const REPORT_OCTETS: usize = MESSAGE_OCTETS as usize + 1024 * 1024;
/// Most recipients of one mail, which each server must take (RFC 5321 §4.5.3.1.8). A report has one.
pub(super) const RECIPIENTS: usize = 100;
/// Most complaints of one feedback report, each of them an operation of the store. Real ones have one.
pub(super) const COMPLAINTS: usize = 100;
/// Most mail that goes on to the postmaster within an hour: anybody may write to that address, and who is to read it must
/// not be flooded through us.
pub(super) const FORWARDED_PER_HOUR: u32 = 100;
/// Longest mail that goes on to the postmaster, in octets.
pub(super) const FORWARDED_OCTETS: usize = 5 * 1024 * 1024;
/// Longer mail is read by a thread where it keeps nobody waiting.
pub(super) const INLINE_OCTETS: usize = 128 * 1024;
