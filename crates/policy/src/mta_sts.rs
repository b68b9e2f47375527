//! MTA-STS (RFC 8461): what a domain publishes about its MX hosts, and what follows from it.
//!
//! 1. [`record_id`] reads the TXT records at `_mta-sts.<domain>`.
//! 2. [`next`] weighs them against what is cached: use that, fetch the policy, or there is none.
//! 3. [`Policy::parse`] reads what was fetched.
//! 4. [`Policy::admits`] says which MX hosts may be used, [`Policy::enforces`] whether their TLS must be verified.
//! 5. [`Cached::is_due`] says when a policy is to be fetched again, [`must_recheck`] when a failure may not yet be final.

mod file;
mod record;

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use smtp::Domain;

pub use file::{FILE_OCTETS, InvalidPolicy, MX_PATTERNS};
pub use record::{InvalidId, PolicyId, record_id};

/// The longest that a policy may be kept (RFC 8461 §3.2): about a year. What asks for more gets this.
pub const MOST_MAX_AGE: Duration = Duration::from_secs(31_557_600);

/// A policy is fetched again about daily (RFC 8461 §3.3).
const REFRESH_EVERY: Duration = Duration::from_secs(24 * 3600);
/// After a fetch that failed the next one waits at most so long.
const POSTPONED_BY: Duration = Duration::from_secs(3600);
/// Short-lived policies are not fetched more often than this in the background.
const LEAST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// A policy that no delivery has asked for in so long is no longer refreshed; it still applies until it expires.
const REFRESHED_WHILE_USED: Duration = Duration::from_secs(31 * 24 * 3600);
/// That a policy is used is written down once in so long.
const USE_NOTED_EVERY: Duration = Duration::from_secs(24 * 3600);

/// A point in time, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub i64);

impl Add<Duration> for UnixSeconds {
    type Output = UnixSeconds;
    fn add(self, duration: Duration) -> UnixSeconds {
        UnixSeconds(self.0.saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)))
    }
}

/// How much later `self` is; zero when it is not.
impl Sub for UnixSeconds {
    type Output = Duration;
    fn sub(self, earlier: UnixSeconds) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// What a domain asks of those who deliver to it (RFC 8461 §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How serious it is.
    pub mode: Mode,
    /// Its MX hosts. Empty only in mode `none`.
    pub mx: Vec<MxPattern>,
    /// How long the policy may be kept, at most [`MOST_MAX_AGE`].
    pub max_age: Duration,
}

/// What is to happen where the policy is not met (RFC 8461 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Such a host gets no mail.
    Enforce,
    /// The failure is reported, and mail is delivered as if there were no policy.
    Testing,
    /// There is no policy any more; this one replaces an older one.
    None,
}

impl Mode {
    /// The word in a policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        }
    }
}

/// One `mx` line (RFC 8461 §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MxPattern {
    /// This host.
    Host(Domain),
    /// `*.` before this: one more label on its left, no more and no fewer.
    OneLabelBelow(Domain),
}

impl MxPattern {
    /// RFC 8461 §4.1: a wildcard stands for exactly the left-most label.
    fn matches(&self, host: &Domain) -> bool {
        match self {
            MxPattern::Host(name) => host == name,
            MxPattern::OneLabelBelow(parent) => {
                host.as_str().split_once('.').is_some_and(|(_, rest)| rest == parent.as_str())
            }
        }
    }
}

impl fmt::Display for MxPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MxPattern::Host(name) => name.fmt(f),
            MxPattern::OneLabelBelow(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// Whether a host is among those that the policy names (RFC 8461 §4.1), whatever its mode.
pub fn matches(policy: &Policy, host: &Domain) -> bool {
    policy.mx.iter().any(|pattern| pattern.matches(host))
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(file: &[u8]) -> Result<Policy, InvalidPolicy> {
        file::parse(file)
    }

    /// Whether a host of the domain gets mail only within TLS with a valid certificate.
    pub fn enforces(&self) -> bool {
        match self.mode {
            Mode::Enforce => true,
            Mode::Testing | Mode::None => false,
        }
    }

    /// Whether mail may be handed to a host: it is named, or the policy does not insist.
    pub fn admits(&self, host: &Domain) -> bool {
        !self.enforces() || matches(self, host)
    }

    /// The policy line by line, as reports quote it (RFC 8460 §4.4, `policy-string`).
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {}", self.mode.as_str())];
        lines.extend(self.mx.iter().map(|pattern| format!("mx: {pattern}")));
        lines.push(format!("max_age: {}", self.max_age.as_secs()));
        lines
    }
}

/// The policy as a file, less what was not understood.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|line| write!(f, "{line}\r\n"))
    }
}

impl FromStr for Policy {
    type Err = InvalidPolicy;
    fn from_str(file: &str) -> Result<Policy, InvalidPolicy> {
        Policy::parse(file.as_bytes())
    }
}

/// A policy that was fetched, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// The id that the DNS gave for it.
    pub id: PolicyId,
    /// The policy.
    pub policy: Policy,
    /// When it was fetched last; its age counts from here.
    pub fetched_at: UnixSeconds,
    /// When it is to be fetched again.
    pub refresh_at: UnixSeconds,
    /// When a delivery asked for it last, give or take a day.
    pub used_at: UnixSeconds,
}

impl Cached {
    /// A policy that was fetched now. The next fetch is due in a day, or when half of its life is over.
    pub fn fetched(id: PolicyId, policy: Policy, used_at: UnixSeconds, now: UnixSeconds) -> Cached {
        let refresh_at = now + (policy.max_age / 2).clamp(LEAST_PAUSE, REFRESH_EVERY);
        Cached { id, policy, fetched_at: now, refresh_at, used_at }
    }

    /// The same after a fetch that failed: tried again within the hour, sooner when its end is near.
    pub fn postponed(mut self, now: UnixSeconds) -> Cached {
        self.refresh_at = now + ((self.expires_at() - now) / 2).clamp(LEAST_PAUSE, POSTPONED_BY);
        self
    }

    /// The same, used now, when that is worth writing down.
    pub fn used(&self, now: UnixSeconds) -> Option<Cached> {
        (now - self.used_at > USE_NOTED_EVERY).then(|| Cached { used_at: now, ..self.clone() })
    }

    /// From when on it is as if it had never been.
    pub fn expires_at(&self) -> UnixSeconds {
        self.fetched_at + self.policy.max_age
    }

    /// Whether it applies. One from the future, fetched before the clock was set back, does: it can only be stricter
    /// than none.
    pub fn is_valid(&self, now: UnixSeconds) -> bool {
        now < self.expires_at()
    }

    /// Whether it is to be fetched again (RFC 8461 §3.3, §10.2): before it expires, and as long as it is used.
    pub fn is_due(&self, now: UnixSeconds) -> bool {
        self.is_valid(now) && self.refresh_at <= now && self.used_at > still_used_since(now)
    }
}

/// Policies that were used after this are refreshed.
pub fn still_used_since(now: UnixSeconds) -> UnixSeconds {
    UnixSeconds(now.0.saturating_sub(i64::try_from(REFRESHED_WHILE_USED.as_secs()).unwrap_or(i64::MAX)))
}

/// What the DNS said at `_mta-sts.<domain>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxtAnswer {
    /// One valid record with this id.
    Record(PolicyId),
    /// None, or not exactly one that is valid: the domain announces no policy (RFC 8461 §3.1).
    NoRecord,
    /// Nobody knows.
    Failed,
}

/// What to do about a domain's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// What is cached applies.
    UseCached,
    /// The policy is to be fetched. When that fails, what is cached and valid applies all the same (RFC 8461 §3.3).
    Fetch,
    /// There is none.
    NoPolicy,
}

/// Before a delivery: a valid cached policy applies whatever the DNS does or does not say, unless that has a new id.
pub fn next(cached: Option<&Cached>, answer: &TxtAnswer, now: UnixSeconds) -> Next {
    match (cached.filter(|cached| cached.is_valid(now)), answer) {
        (Some(cached), TxtAnswer::Record(id)) if cached.id != *id => Next::Fetch,
        (Some(_), _) => Next::UseCached,
        (None, TxtAnswer::Record(_)) => Next::Fetch,
        (None, TxtAnswer::NoRecord | TxtAnswer::Failed) => Next::NoPolicy,
    }
}

/// Whether a policy that is due is fetched again, and under which id. A domain that took its record away gets what it
/// asked for when the policy ends; one whose record cannot be read may still have its policy (RFC 8461 §10.2).
pub fn refresh_as(cached: &Cached, answer: &TxtAnswer) -> Option<PolicyId> {
    match answer {
        TxtAnswer::Record(id) => Some(id.clone()),
        TxtAnswer::Failed => Some(cached.id.clone()),
        TxtAnswer::NoRecord => None,
    }
}

/// RFC 8461 §5.1: before mail is failed for good because of a policy, the sender looks whether there is a newer one.
///
/// `confirmed`: in this very attempt the DNS gave the id of the policy that was applied.
pub fn must_recheck(policy: &Policy, confirmed: bool) -> bool {
    policy.enforces() && !confirmed
}

#[cfg(test)]
mod tests;
