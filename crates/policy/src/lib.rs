//! Every decision that Waxwing takes, as a pure function.
//!
//! Facts go in, a verdict comes out: no socket, no clock, no randomness of its own. The rooms around it observe and
//! obey. Settings and TLS facts meet in [`tls`] and nowhere else.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod backoff;
pub mod dane;
pub mod disposition;
pub mod downgrade;
pub mod dsn;
pub mod mta_sts;
pub mod mx;
pub mod pool;
pub mod posture;
pub mod rate;
pub mod retry;
pub mod route;
pub mod rule;
pub mod sending_dns;
pub mod share;
pub mod site;
pub mod spf;
pub mod suppression;
pub mod tls;
pub mod tlsrpt;
pub mod webhook;
