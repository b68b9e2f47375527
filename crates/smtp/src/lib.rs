//! The language of SMTP (RFC 5321): addresses, envelope, commands, replies, extensions, dot-stuffing.
//!
//! Everything here is a pure function or a plain value: no socket, no clock, no task. The rooms that do speak to the
//! network (`delivery`, `server::smtpd`) share this vocabulary with the rooms that decide (`policy`).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod address;
pub mod command;
pub mod data;
pub mod dsn;
pub mod envelope;
pub mod extensions;
pub mod limits;
pub mod receive;
pub mod reply;
pub mod request;

pub use address::{Address, AddressError, Domain, DomainError};
pub use command::Command;
pub use envelope::{Envelope, ReturnPath};
pub use extensions::Extensions;
pub use reply::{EnhancedCode, Reply, ReplyError, ReplyParser};
pub use request::{Request, RequestError};
