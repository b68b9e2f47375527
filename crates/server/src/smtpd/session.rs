//! One connection: commands, their order, and how many of them there may be.

use std::sync::Arc;

use smtp::reply::Reply;
use smtp::request::{Mail, Rcpt, Request, RequestError};
use tokio::time::Instant;

use super::content::{Chunks, Memory};
use super::limits::{FAULTS, IDLE_COMMANDS, MESSAGES, RCPT_PER_RECIPIENT};
use super::listener::Slot;
use super::wire::Wire;
use super::{End, Handler, Terms, Transaction, out_of_order, reply};

/// What HTTP clients say. A browser that is talked into speaking to this port goes on with what somebody else wrote.
const HTTP: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"];

/// A connection with all that was agreed on it.
pub(super) struct Session<H> {
    pub(super) wire: Wire,
    pub(super) terms: Arc<Terms>,
    pub(super) handler: H,
    pub(super) memory: Memory,
    pub(super) slot: Slot,
    pub(super) began: Instant,
    pub(super) logged_in: bool,
    pub(super) wrong_passwords: u32,
    pub(super) transaction: Option<Transaction>,
    pub(super) chunks: Option<Chunks>,
    /// What the client calls itself, and whether it said so by EHLO.
    client: Option<(String, bool)>,
    tls: Option<Arc<rustls::ServerConfig>>,
    faults: u32,
    /// Commands since the last message.
    idle_commands: u32,
    messages: u32,
}

impl<H: Handler> Session<H> {
    /// `tls` is what STARTTLS leads to, where it is offered.
    pub(super) fn new(
        wire: Wire,
        terms: Arc<Terms>,
        handler: H,
        memory: Memory,
        slot: Slot,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Session<H> {
        Session {
            wire,
            terms,
            handler,
            memory,
            slot,
            began: Instant::now(),
            logged_in: false,
            wrong_passwords: 0,
            transaction: None,
            chunks: None,
            client: None,
            tls,
            faults: 0,
            idle_commands: 0,
            messages: 0,
        }
    }

    /// Serves the client to the end, and says why it ended.
    pub(super) async fn run(mut self) -> End {
        if self.terms.login {
            self.wire.deadline = self.began + self.terms.times.until_login;
        }
        let end = match self.serve().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        match &end {
            End::TimedOut => _ = self.wire.refuse(&reply(421, 4, 2, "It took too long")),
            End::Stopping => _ = self.wire.refuse(&reply(421, 3, 2, "The server is stopping")),
            End::Told => {}
            End::Gone(_) => return end,
        }
        self.wire.close().await;
        end
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        let greeting = format!("{} ESMTP", self.terms.host);
        self.wire.say(&Reply::new(220, [greeting.as_str()])).await?;
        loop {
            // Whoever has begun a message may finish it while the server stops.
            let mut line = self.wire.line(self.transaction.is_none()).await?;
            if !self.terms.login && line.eq_ignore_ascii_case(b"RCPT TO:<Postmaster>") {
                // Ours, whatever we are called (RFC 5321 §4.1.1.3).
                line = format!("RCPT TO:<postmaster@{}>", self.terms.host).into();
            }
            let is_rcpt = self.count_recipient(&line)?;
            let answer = match Request::parse(&line) {
                Ok(request) => self.answer(request).await?,
                Err(error) => {
                    self.check_fault(&line, &error)?;
                    Some(error.reply())
                }
            };
            let Some(answer) = answer else { continue };
            if answer.code() == 421 {
                return Err(self.wire.refuse(&answer));
            }
            self.faults += u32::from(answer.is_permanent() && !is_rcpt);
            self.wire.say(&answer).await?;
            if self.faults > FAULTS || self.idle_commands > IDLE_COMMANDS {
                return Err(self.wire.refuse(&reply(421, 7, 0, "Too many commands that lead to no message")));
            }
        }
    }

    /// Whether the line names a recipient of the message that was begun. Mailing lists have many bad ones, so these have a
    /// count of their own; without a message they are like any other command that leads to none.
    fn count_recipient(&mut self, line: &[u8]) -> Result<bool, End> {
        let is_rcpt = line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"RCPT"));
        let Some(transaction) = self.transaction.as_mut().filter(|_| is_rcpt) else { return Ok(false) };
        transaction.attempts += 1;
        if transaction.attempts > self.terms.recipients * RCPT_PER_RECIPIENT {
            return Err(self.wire.refuse(&reply(421, 7, 0, "Too many recipients")));
        }
        Ok(true)
    }

    /// Ends the connection after a line that says that nobody here speaks SMTP, or that what follows is no command.
    fn check_fault(&mut self, line: &[u8], error: &RequestError) -> Result<(), End> {
        let verb = line.split(|b| *b == b' ').next().unwrap_or_default().to_ascii_uppercase();
        if HTTP.iter().any(|http| verb == http.as_bytes()) {
            return Err(self.wire.refuse(&reply(421, 7, 0, "This is SMTP")));
        }
        if verb == b"BDAT" {
            return Err(self.wire.refuse(&error.reply()));
        }
        Ok(())
    }

    /// Carries a command out. `None` when it was answered already, and in the clear.
    async fn answer(&mut self, request: Request) -> Result<Option<Reply>, End> {
        if !matches!(request, Request::Rcpt(_) | Request::Data | Request::Bdat { .. }) {
            self.idle_commands += 1;
        }
        Ok(Some(match request {
            Request::Ehlo(name) => self.ehlo(name),
            Request::Helo(name) => {
                self.reset();
                self.client = Some((name, false));
                Reply::new(250, [self.terms.host.as_str()])
            }
            Request::StartTls => return self.start_tls().await,
            Request::Auth { mechanism, initial_response } => self.auth(&mechanism, initial_response).await?,
            Request::Mail(mail) => self.mail(mail).await,
            Request::Rcpt(rcpt) => self.rcpt(rcpt).await,
            Request::Data => self.data().await?,
            Request::Bdat { octets, last } => self.bdat(octets, last).await?,
            Request::Rset => {
                self.reset();
                reply(250, 0, 0, "OK")
            }
            Request::Noop => reply(250, 0, 0, "OK"),
            Request::Help => reply(214, 0, 0, "RFC 5321"),
            Request::Vrfy => reply(252, 1, 5, "Send a message and see"),
            Request::Expn => reply(502, 5, 1, "There are no lists"),
            Request::Quit => return Err(self.wire.refuse(&reply(221, 0, 0, "Bye"))),
        }))
    }

    /// What is offered here and now (RFC 5321 §4.1.1.1).
    fn ehlo(&mut self, name: String) -> Reply {
        self.reset();
        self.client = Some((name, true));
        let size = format!("SIZE {}", self.terms.message_octets);
        let mut lines = vec![self.terms.host.as_str(), "PIPELINING", &size, "8BITMIME", "SMTPUTF8"];
        lines.extend(["CHUNKING", "ENHANCEDSTATUSCODES"]);
        if self.terms.dsn {
            lines.push("DSN");
        }
        match self.wire.is_tls() {
            true => lines.push("REQUIRETLS"),
            false if self.tls.is_some() => lines.push("STARTTLS"),
            false => {}
        }
        if self.terms.login && self.wire.is_tls() {
            lines.push("AUTH PLAIN LOGIN");
        }
        Reply::new(250, lines)
    }

    /// STARTTLS (RFC 3207). Whatever came behind the command came in the clear: somebody on the way may have put it
    /// there, to be read as if it had come over TLS (CVE-2011-0411).
    async fn start_tls(&mut self) -> Result<Option<Reply>, End> {
        if self.wire.is_tls() {
            return Ok(Some(out_of_order("This is TLS")));
        }
        let Some(config) = self.tls.clone() else { return Ok(Some(reply(502, 5, 1, "STARTTLS is not offered"))) };
        if !self.wire.input().is_empty() {
            return Err(self.wire.refuse(&reply(554, 5, 1, "Nothing may follow STARTTLS before its reply")));
        }
        self.wire.say(&reply(220, 0, 0, "Ready for TLS")).await?;
        self.wire.start_tls(config).await?;
        // What was said in the clear counts no more (RFC 3207 §4.2).
        self.reset();
        self.client = None;
        Ok(None)
    }

    async fn mail(&mut self, mail: Mail) -> Reply {
        let Some((client, _)) = &self.client else { return out_of_order("Say EHLO first") };
        let transaction = Transaction::new(mail, client.clone(), self.wire.is_tls(), self.logged_in);
        let mail = &transaction.mail;
        if !self.may_send() {
            return match self.wire.is_tls() {
                true => reply(530, 7, 0, "Authentication required"),
                false => reply(530, 7, 0, "Say STARTTLS first"),
            };
        }
        if self.transaction.is_some() {
            return out_of_order("A message is begun; RSET takes it back");
        }
        if mail.dsn.is_given() && !self.terms.dsn {
            return reply(555, 5, 4, "DSN is not offered");
        }
        if mail.requiretls && !self.wire.is_tls() {
            return reply(555, 5, 4, "REQUIRETLS is offered inside TLS only");
        }
        if mail.size.is_some_and(|size| size > self.terms.message_octets as u64) {
            return reply(552, 3, 4, "The message is too large");
        }
        if self.wire.is_stopping() {
            return reply(421, 3, 2, "The server is stopping");
        }
        if self.messages >= MESSAGES {
            return reply(421, 7, 0, "Too many messages on one connection");
        }
        if let Err(refused) = self.handler.mail(mail).await {
            return refused;
        }
        self.transaction = Some(transaction);
        reply(250, 1, 0, "Sender OK")
    }

    async fn rcpt(&mut self, rcpt: Rcpt) -> Reply {
        let Some(transaction) = self.transaction.as_mut().filter(|_| self.chunks.is_none()) else {
            return out_of_order("RCPT follows MAIL");
        };
        if rcpt.dsn.is_given() && !self.terms.dsn {
            return reply(555, 5, 4, "DSN is not offered");
        }
        if !rcpt.is_ascii && !transaction.mail.smtputf8 {
            return RequestError::NeedsSmtputf8.reply();
        }
        let taken = reply(250, 1, 5, "Recipient OK");
        if transaction.known.contains(&rcpt.address) {
            return taken;
        }
        if transaction.recipients.len() >= self.terms.recipients {
            return reply(452, 5, 3, &format!("Too many recipients, max is {}", self.terms.recipients));
        }
        if let Err(refused) = self.handler.rcpt(&rcpt).await {
            return refused;
        }
        transaction.known.insert(rcpt.address.clone());
        transaction.recipients.push(rcpt);
        taken
    }

    /// Hands a message over.
    pub(super) async fn deliver(&mut self, transaction: Transaction, content: Vec<u8>) -> Reply {
        let answer = self.handler.message(transaction, content).await;
        if answer.is_positive() {
            (self.messages, self.idle_commands) = (self.messages + 1, 0);
        }
        answer
    }

    /// Whether the client said who it is, by EHLO.
    pub(super) fn is_extended(&self) -> bool {
        matches!(self.client, Some((_, true)))
    }

    /// Whether the client may send mail.
    pub(super) fn may_send(&self) -> bool {
        !self.terms.login || (self.wire.is_tls() && self.logged_in)
    }

    fn reset(&mut self) {
        self.transaction = None;
        self.chunks = None;
    }
}
