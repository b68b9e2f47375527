//! One attempt to deliver a message to the hosts of one destination.
//!
//! 1. [`resolve`] asks the DNS for the destination's hosts and their addresses.
//! 2. `connect` opens TCP, reads the greeting, says EHLO.
//! 3. `starttls` tries TLS and *observes*: not offered, refused, failed, or encrypted with a recorded verdict.
//! 4. [`policy::tls::decide`] says what to do: deliver, reconnect in plaintext, or leave the host.
//! 5. `transaction` says MAIL, RCPT and DATA.
//! 6. [`attempt`] walks hosts and addresses through these steps and tells everything as a [`Report`].
//!
//! This room observes and obeys; it compares no setting with any TLS fact. A reply of any code is data; only the want
//! of a reply is an error ([`connection::NoReply`]).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod attempt;
pub mod client;
mod connect;
pub mod connection;
pub mod dnssec;
pub mod hosts;
pub mod mta_sts;
mod own;
pub mod pool;
pub mod probe;
mod receipt;
pub mod report;
pub mod resolve;
mod starttls;
pub mod tls;
mod transaction;
pub mod upload;
pub mod web;

pub use attempt::Job;
pub use client::{Client, Credentials, Options, Route, RouteHost, Timeouts};
pub use hosts::NextHops;
pub use pool::Reuse;
pub use receipt::Receipt;
pub use report::{Channel, Outcome, PlaintextReason, Problem, RecipientReport, Report, Step};
