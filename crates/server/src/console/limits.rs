//! Every limit of the control panel that a stranger could otherwise stretch. How often a password may be tried is
//! [`crate::submission::limits`].

use std::time::Duration;

/// Largest form of a page, in octets: a template fits.
pub(super) const FORM_OCTETS: usize = 1 << 20;
/// Largest answer of the API that a page is made of, in octets.
pub(super) const ANSWER_OCTETS: usize = 64 << 20;
/// How long a session lasts at most, however much it is used.
pub(super) const SESSION_TIME: Duration = Duration::from_secs(7 * 86_400);
/// How long a session lasts that is not used.
pub(super) const SESSION_IDLE: Duration = Duration::from_secs(86_400);
/// How often it is written that a session is used.
pub(super) const SESSION_NOTED: Duration = Duration::from_secs(300);
/// Longest name of a user, in octets.
pub(super) const NAME_OCTETS: usize = 200;
/// Shortest password, in characters.
pub(super) const PASSWORD_CHARACTERS_MIN: usize = 10;
/// Longest password, in octets.
pub(super) const PASSWORD_OCTETS_MAX: usize = 512;
/// What is kept of the name that a browser gives itself, in octets.
pub(super) const AGENT_OCTETS: usize = 200;
/// Events in one file.
pub(super) const EXPORT_EVENTS: usize = 1_000_000;
/// Files of events that are written at the same time.
pub(super) const EXPORTS: usize = 4;
/// Longest notice that is handed from one page to the next, in octets.
pub(super) const NOTICE_OCTETS: usize = 1000;
