//! A mail world on loopback: SMTP receivers in every TLS state on real sockets, a DNS authority, a throw-away CA.
//!
//! The tests and `waxwing demo` deliver to it. [`Lab`] is all of it together:
//!
//! ```
//! # #[tokio::main] async fn main() -> std::io::Result<()> {
//! let lab = testkit::Lab::start().await?;
//! println!("resolver {}, port {}, roots:\n{}", lab.dns_addr(), lab.smtp_port(), lab.ca_pem());
//! for state in lab.states() {
//!     println!("{}: {}", state.domain, state.description);
//! }
//! assert!(lab.receiver("good").sessions().is_empty());
//! # Ok(()) }
//! ```
//!
//! A test that needs a receiver of its own says only what is unusual about it:
//!
//! ```
//! # #[tokio::main] async fn main() -> std::io::Result<()> {
//! use testkit::{Answer, Behaviour, Lab};
//!
//! let mut lab = Lab::empty().await?;
//! let full = Behaviour { mail: Some(Answer::new(452, "4.3.1 Disk full")), ..Behaviour::default() };
//! let receiver = lab.add("full", full).await?; // mail for full.test goes to mx.full.test
//! # drop(receiver);
//! # Ok(()) }
//! ```
//!
//! The receivers read SMTP on their own, without the `smtp` crate, so that a fault in our client's language cannot
//! hide itself: they note every breach of the protocol in [`Session::violations`].

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod ca;
pub mod dns;
pub mod lab;
pub mod odd;
pub mod policy_host;
pub mod receiver;
pub mod signed;
pub mod store;

pub use ca::{Ca, Identity, Issue, KeyKind, ValidationLevel, Validity};
pub use dns::{Asked, Authority, Rtype, Zone};
pub use lab::{Host, Lab, Listen, State};
pub use policy_host::{PolicyAnswer, PolicyHost, PolicyRequest, PolicySite};
pub use receiver::{Answer, Auth, Behaviour, Breakage, Received, Receiver, Seen, Session, Stage, Tls, TlsSeen};
