//! Every limit of submission that a stranger could otherwise stretch. Those of the protocol are in
//! [`crate::smtpd::limits`]; size and recipients of a message are the HTTP API's.

use std::time::Duration;

/// Longest login that is looked up, in octets: a local-part, an `@` and a domain (RFC 5321 §4.5.3.1).
pub(crate) const LOGIN_OCTETS: usize = 320;
/// Shortest password, as Mailgun has it.
pub(crate) const PASSWORD_CHARACTERS_MIN: usize = 5;
/// Longest password, as Mailgun has it.
pub(crate) const PASSWORD_CHARACTERS_MAX: usize = 32;

/// Passwords that are hashed at the same time; each takes 19 MiB and a thread.
pub(crate) const HASHES_AT_ONCE: usize = 4;
/// Longest wait for one of these.
pub(crate) const HASH_WAIT: Duration = Duration::from_secs(20);
/// How long a password that was right needs not be hashed again.
pub(crate) const VERIFIED_TIME: Duration = Duration::from_secs(60);
/// Passwords that are remembered so.
pub(crate) const VERIFIED: usize = 1024;

/// How often it is asked again whether a password may be looked at, while others from the same address are.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Wrong passwords from one address before it is refused without a look.
pub(crate) const WRONG_PER_ADDRESS: f64 = 10.0;
/// Wrong passwords for one login before it is refused to addresses that it never came from.
pub(crate) const WRONG_PER_LOGIN: f64 = 20.0;
/// How long until one wrong password is forgiven.
pub(crate) const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// Delay of the answer to the first wrong password; each further one doubles it.
pub(crate) const FIRST_DELAY: Duration = Duration::from_millis(250);
/// Longest delay.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(8);
/// Addresses, logins, and pairs of both that are remembered, of each kind twice as many at most.
pub(crate) const REMEMBERED: usize = 10_000;
