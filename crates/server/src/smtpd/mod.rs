//! The server's side of SMTP (RFC 5321): listeners, TLS, and a session that reads commands and messages within limits.
//!
//! The engine knows the protocol; what is done with a login, an address and a message is a [`Handler`]'s. Submission is one
//! ([`crate::submission`]).
//!
//! - [`session`]: commands and their order.  [`auth`]: logins.  [`content`]: messages, by DATA and by BDAT.
//! - [`wire`]: lines and octets, with time limits, and the change to TLS.
//! - [`trace`]: which way a message came.  [`listener`]: connections, how many, and how they end.  [`certificate`]: what they show, reloaded while they run.

mod auth;
pub(crate) mod certificate;
mod content;
pub(crate) mod facts;
pub(crate) mod limits;
pub(crate) mod listener;
mod session;
#[cfg(test)]
mod tests;
pub(crate) mod trace;
mod wire;

use std::collections::HashSet;

use smtp::request::{Mail, Rcpt};
use smtp::{Address, EnhancedCode, Reply};

use self::limits::Times;

/// What a service offers and demands.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// What the service is called in the log.
    pub(crate) service: &'static str,
    /// What we call ourselves.
    pub(crate) host: String,
    /// AUTH is offered inside TLS, and mail is taken from those alone who logged in. Nothing but STARTTLS is done
    /// without TLS then.
    pub(crate) login: bool,
    /// DSN is offered (RFC 3461). Whoever turns this on must act on what [`Mail`] and [`Rcpt`] then say.
    pub(crate) dsn: bool,
    /// Longest message, in octets.
    pub(crate) message_octets: usize,
    /// Most recipients of one message.
    pub(crate) recipients: usize,
    /// How long things may take.
    pub(crate) times: Times,
}

/// What a service does on one connection. A refusal is the reply to give; code 421 ends the connection.
pub(crate) trait Handler: Send {
    /// Somebody logs in, over TLS.
    fn authenticate(&mut self, login: &str, password: &str) -> impl Future<Output = Result<(), Reply>> + Send;

    /// A transaction begins.
    fn mail(&mut self, mail: &Mail) -> impl Future<Output = Result<(), Reply>> + Send;

    /// A recipient is named.
    fn rcpt(&mut self, rcpt: &Rcpt) -> impl Future<Output = Result<(), Reply>> + Send;

    /// A message is there whole: lines end in CRLF, dots are no longer doubled. A positive reply says that it is kept.
    fn message(&mut self, transaction: Transaction, content: Vec<u8>) -> impl Future<Output = Reply> + Send;
}

/// Sender and recipients of a message, and how it came.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// MAIL.
    pub(crate) mail: Mail,
    /// RCPT, each address once, at least one.
    pub(crate) recipients: Vec<Rcpt>,
    /// What the client called itself, one word of printable ASCII.
    pub(crate) client: String,
    /// It came over TLS.
    pub(crate) secure: bool,
    /// The client logged in.
    pub(crate) logged_in: bool,
    known: HashSet<Address>,
    /// RCPT commands, refused ones too.
    attempts: usize,
}

impl Transaction {
    fn new(mail: Mail, client: String, secure: bool, logged_in: bool) -> Transaction {
        Transaction { mail, recipients: Vec::new(), client, secure, logged_in, known: HashSet::new(), attempts: 0 }
    }
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    /// QUIT, or a refusal after which nothing can follow.
    #[error("closed")]
    Told,
    /// The client went, or the network did.
    #[error("the client is gone: {0}")]
    Gone(#[from] std::io::Error),
    /// It took too long.
    #[error("the client took too long")]
    TimedOut,
    /// The server stops.
    #[error("the server stops")]
    Stopping,
}

/// A reply of ours; the class of the enhanced code is that of `code`.
pub(crate) fn reply(code: u16, subject: u16, detail: u16, text: &str) -> Reply {
    Reply::of(code, EnhancedCode::new((code / 100) as u8, subject, detail), text)
}

fn out_of_order(text: &str) -> Reply {
    reply(503, 5, 1, text)
}
