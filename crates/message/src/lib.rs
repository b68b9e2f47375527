//! Messages as bytes (RFC 5322, MIME): composed from the parts that an application hands over, or accepted whole.
//!
//! - [`compose()`] builds a message from a [`Draft`].
//! - [`rewrite()`] changes texts of a message, so that one content serves many recipients; [`links`] finds links in them.
//! - [`read()`] takes one apart, for those who want to see it.
//! - [`with_html()`] gives a whole message another body.
//! - [`accept()`] takes a message that somebody else built, and changes as little of it as it must.
//!
//! Both end in a [`Message`]: content with CRLF line endings, not yet dot-stuffed, and what events tell about it. That
//! value is final; whoever signs it (DKIM) puts fields before its content and changes nothing else.
//!
//! No I/O and no clock: time and randomness arrive in an [`Identity`].

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod accept;
mod body;
pub mod compose;
pub mod dkim;
pub mod dsn;
pub mod feedback;
pub mod header;
pub mod identity;
pub mod limits;
mod lines;
pub mod links;
mod look;
pub mod mailbox;
pub mod notification;
mod parts;
pub mod read;
pub mod replace;
mod report;
pub mod rewrite;
mod section;
mod summary;
mod text;
pub mod tls_report;

pub use accept::{AcceptError, accept, accept_behind};
pub use compose::{Attachment, ComposeError, Draft, compose};
pub use header::HeaderError;
pub use identity::Identity;
pub use look::has_words;
pub use mailbox::{Mailbox, MailboxError};
pub use read::read;
pub use replace::{ReplaceError, Replaced, has_field, with_html};
pub use rewrite::{Changes, RewriteError, rewrite};
pub use summary::{AttachmentSummary, Message};
pub use text::html_to_text;
