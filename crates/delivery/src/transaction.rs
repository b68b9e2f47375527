//! One mail transaction (RFC 5321 §3.3): MAIL, RCPT for each recipient, DATA.

use policy::disposition::{Meaning, Stage, meaning};
use smtp::dsn::{MailDsn, RcptDsn};
use smtp::{Address, Command, EnhancedCode, Extensions, Reply, ReturnPath};

use crate::connection::{NoReply, Session};
use crate::pool::farewell;
use crate::report::Problem;
use crate::starttls::Ready;

/// What is to be sent. The content is in wire form.
pub(crate) struct Mail<'a> {
    pub(crate) return_path: &'a ReturnPath,
    pub(crate) recipients: Vec<Recipient<'a>>,
    pub(crate) wire: &'a [u8],
    /// Whether the host must pass on the demand for TLS (RFC 8689). It has been seen to offer that.
    pub(crate) requiretls: bool,
    /// What MAIL says of notifications, where the host offers DSN.
    pub(crate) dsn: &'a MailDsn,
}

/// One recipient, and what the host is told to report of it. Nothing, where it does not offer that.
#[derive(Clone, Copy)]
pub(crate) struct Recipient<'a> {
    pub(crate) address: &'a Address,
    pub(crate) dsn: &'a RcptDsn,
}

impl Recipient<'_> {
    fn command(&self) -> Command<'_> {
        Command::Rcpt { address: self.address, dsn: self.dsn }
    }
}

/// RCPT without parameters.
pub(crate) const NOTHING_ASKED: RcptDsn = RcptDsn { notify: None, orcpt: None };
const NOTHING_SAID: &MailDsn = &MailDsn { ret: None, envid: None };

/// What a host made of one recipient.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It took responsibility.
    Accepted(Reply),
    /// Never, from any host.
    Rejected(Problem),
    /// Not now; another host may be tried.
    Postponed(Problem),
    /// The answer to the final dot was lost, so the host may have the message: no other host is tried now.
    Uncertain(Problem),
}

impl Fate {
    /// Why the host did not take responsibility.
    pub(crate) fn problem(&self) -> Option<&Problem> {
        match self {
            Fate::Accepted(_) => None,
            Fate::Rejected(problem) | Fate::Postponed(problem) | Fate::Uncertain(problem) => Some(problem),
        }
    }
}

/// How a transaction ended.
pub(crate) struct Ended {
    /// One for each recipient, in order.
    pub(crate) fates: Vec<Fate>,
    /// The session, after a message that the host took: it is between transactions and in order.
    pub(crate) ready: Option<Ready>,
    /// Why the transaction counts for nothing on a connection that was used before. Nothing of the content was sent.
    pub(crate) unheard: Option<Unheard>,
}

/// Why a message that was begun on the connection of an earlier delivery goes on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unheard {
    /// The host hung up before it had said anything of the message.
    HungUp,
    /// The earlier delivery's receipt was dropped.
    Unrecorded,
}

impl Unheard {
    /// One code, and words.
    pub(crate) fn told(self) -> (&'static str, &'static str) {
        match self {
            Unheard::HungUp => ("connection-lost", "the host had closed the connection of an earlier delivery"),
            Unheard::Unrecorded => {
                ("not-recorded", "what an earlier delivery on its connection came to is not recorded")
            }
        }
    }
}

/// Runs the transaction. A session that took no message is ended, without waiting for the host's farewell.
pub(crate) async fn run(ready: Ready, mail: &Mail<'_>, host: &str, address: std::net::IpAddr) -> Ended {
    let Ready { session, extensions } = ready;
    let fates = mail.recipients.iter().map(|recipient| unfit(recipient.address, &extensions)).collect();
    let mut transaction = Transaction { session, extensions, mail, fates, unheard: None };
    match mail_command(mail, &transaction.extensions) {
        Ok(command) => {
            if let Err((stage, error)) = transaction.converse(&command).await {
                let unheard = match error {
                    NoReply::Closed | NoReply::Io(_) if stage == Stage::Mail => Some(Unheard::HungUp),
                    NoReply::Unrecorded => Some(Unheard::Unrecorded),
                    _ => transaction.unheard,
                };
                transaction.settle_rest(&Problem::no_reply(stage, &error, host, address), stage);
                return Ended { fates: transaction.fates.into_iter().map(settled).collect(), ready: None, unheard };
            }
        }
        Err(problem) => transaction.settle_open(|| Some(Fate::Rejected(problem.clone()))),
    }
    let Transaction { mut session, extensions, fates, unheard, .. } = transaction;
    let fates: Vec<Fate> = fates.into_iter().map(settled).collect();
    // The farewell is nobody's business any more: what was answered must be recorded before anything can go wrong.
    if !fates.iter().any(|fate| matches!(fate, Fate::Accepted(_))) {
        farewell(Ready { session, extensions });
        return Ended { fates, ready: None, unheard };
    }
    session.messages += 1;
    Ended { fates, ready: Some(Ready { session, extensions }), unheard }
}

/// A recipient that this host cannot take, which is no reason to withhold the message from the others.
fn unfit(recipient: &Address, extensions: &Extensions) -> Option<Fate> {
    let unfit = recipient.needs_smtputf8() && !extensions.smtputf8;
    unfit.then(|| Fate::Rejected(smtputf8_needed(Stage::Rcpt, "the recipient's address")))
}

fn smtputf8_needed(stage: Stage, whose: &str) -> Problem {
    let words = format!("{whose} has characters that the host does not take (SMTPUTF8 is not offered)");
    Problem::ours(stage, (553, EnhancedCode::new(5, 6, 7)), "smtputf8-not-supported", words)
}

/// MAIL with the parameters that this message needs and this host takes.
///
/// 8-bit content goes to a host without 8BITMIME as it is: rewriting it would break the signatures in it, and hosts
/// that still clear the eighth bit are not seen any more. An address that needs SMTPUTF8 cannot go without it
/// (RFC 6531 §3.5); header fields in UTF-8 are announced where that is offered.
fn mail_command<'a>(mail: &Mail<'a>, extensions: &Extensions) -> Result<Command<'a>, Problem> {
    let size = smtp::data::size(mail.wire);
    if !extensions.takes_size(size) {
        let limit = extensions.size.unwrap_or_default();
        let words = format!("the message has {size} octets, the host takes {limit}");
        return Err(Problem::ours(Stage::Mail, (552, EnhancedCode::new(5, 3, 4)), "message-too-big", words));
    }
    let utf8_return_path = matches!(mail.return_path, ReturnPath::Address(a) if a.needs_smtputf8());
    if utf8_return_path && !extensions.smtputf8 {
        return Err(smtputf8_needed(Stage::Mail, "the sender's address"));
    }
    let utf8_address = utf8_return_path || mail.recipients.iter().any(|recipient| recipient.address.needs_smtputf8());
    let is_eight_bit = smtp::data::is_eight_bit(mail.wire);
    Ok(Command::Mail {
        return_path: mail.return_path,
        size: extensions.size.is_some().then_some(size),
        eight_bit: extensions.eight_bit_mime && is_eight_bit,
        smtputf8: extensions.smtputf8 && (utf8_address || (is_eight_bit && has_utf8_header(mail.wire))),
        requiretls: mail.requiretls,
        dsn: if extensions.dsn { mail.dsn } else { NOTHING_SAID },
    })
}

fn has_utf8_header(wire: &[u8]) -> bool {
    let end = wire.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(wire.len());
    !wire[..end].is_ascii()
}

struct Transaction<'a, 'm> {
    session: Session,
    extensions: Extensions,
    mail: &'m Mail<'a>,
    fates: Vec<Option<Fate>>,
    unheard: Option<Unheard>,
}

/// Where no reply could be had, and why.
type Lost = (Stage, NoReply);

impl Transaction<'_, '_> {
    async fn converse(&mut self, mail_command: &Command<'_>) -> Result<(), Lost> {
        if self.envelope(mail_command).await? {
            self.content().await?;
        }
        Ok(())
    }

    /// MAIL, RCPT and DATA. Returns whether the host waits for content that somebody is to receive.
    async fn envelope(&mut self, mail_command: &Command<'_>) -> Result<bool, Lost> {
        let asked: Vec<usize> = (0..self.fates.len()).filter(|index| self.fates[*index].is_none()).collect();
        if asked.is_empty() {
            return Ok(false);
        }
        if self.extensions.pipelining {
            let mut group = mail_command.to_wire();
            asked.iter().for_each(|index| group.push_str(&self.mail.recipients[*index].command().to_wire()));
            group.push_str(&Command::Data.to_wire());
            let patience = self.session.timeouts.mail;
            self.session.send(group.as_bytes(), patience).await.map_err(|error| (Stage::Mail, error))?;
        }
        let mail_passed = self.mail_from(mail_command).await?;
        // Without pipelining nothing was said ahead, so a refused MAIL ends it here.
        if !mail_passed && !self.extensions.pipelining {
            return Ok(false);
        }
        for index in asked {
            self.rcpt_to(index).await?;
        }
        let anyone = self.fates.iter().any(Option::is_none);
        if !anyone && !self.extensions.pipelining {
            return Ok(false);
        }
        self.data(anyone).await
    }

    async fn mail_from(&mut self, command: &Command<'_>) -> Result<bool, Lost> {
        let patience = self.session.timeouts.mail;
        let reply = self.ask(Stage::Mail, command, patience).await?;
        // The host hangs up (RFC 5321 §3.8): whatever it may mean, it is not about this message.
        self.unheard = (reply.code() == 421).then_some(Unheard::HungUp);
        let Some(fate) = refusal(Stage::Mail, &reply) else { return Ok(true) };
        self.settle_open(|| Some(fate.clone()));
        Ok(false)
    }

    async fn rcpt_to(&mut self, index: usize) -> Result<(), Lost> {
        let patience = self.session.timeouts.rcpt;
        let mail = self.mail;
        let command = mail.recipients[index].command();
        let reply = self.ask(Stage::Rcpt, &command, patience).await?;
        // After a refused MAIL the answers to what was said ahead mean nothing.
        if self.fates[index].is_none() {
            self.fates[index] = refusal(Stage::Rcpt, &reply);
        }
        Ok(())
    }

    /// DATA. A host that answers 354 with nobody left to receive gets an empty message (RFC 2920 §3.1).
    async fn data(&mut self, anyone: bool) -> Result<bool, Lost> {
        let patience = self.session.timeouts.data;
        let reply = self.ask(Stage::Data, &Command::Data, patience).await?;
        match (reply.code() == 354, anyone) {
            (true, true) => Ok(true),
            (true, false) => {
                let patience = self.session.timeouts.command;
                self.session.send(b".\r\n", patience).await.map_err(|error| (Stage::Data, error))?;
                self.session.reply(patience).await.map_err(|error| (Stage::Data, error))?;
                Ok(false)
            }
            (false, _) => {
                self.settle_open(|| refusal(Stage::Data, &reply));
                Ok(false)
            }
        }
    }

    /// The content and the final dot.
    async fn content(&mut self) -> Result<(), Lost> {
        // Until then a connection that closes without a dot has said nothing (RFC 5321 §4.1.1.10).
        // A host that hung up meanwhile has heard as little as one that did before MAIL.
        self.session.recorded().await.map_err(|error| match error {
            NoReply::Closed => (Stage::Mail, error),
            error => (Stage::Data, error),
        })?;
        let timeouts = self.session.timeouts;
        // The dot goes out in one write with the last of the content, so that it never waits for an ACK of it.
        let mut wire = Vec::with_capacity(self.mail.wire.len() + 3);
        wire.extend_from_slice(self.mail.wire);
        wire.extend_from_slice(b".\r\n");
        if let Err(error) = self.session.send(&wire, timeouts.data_block).await {
            return Err(self.cut_short(error).await);
        }
        let reply = self.session.reply(timeouts.data_termination).await.map_err(|error| (Stage::Content, error))?;
        self.settle_open(|| refusal(Stage::Content, &reply).or_else(|| Some(Fate::Accepted(reply.clone()))));
        Ok(())
    }

    /// The content did not get as far as its final dot. A host that finds a message too big may say so and hang up: its
    /// words, if any came, are worth more than our broken pipe. The connection is of no further use.
    async fn cut_short(&mut self, error: NoReply) -> Lost {
        if let Ok(reply) = self.session.reply(smtp::limits::QUIT_TIMEOUT).await
            && (reply.is_permanent() || reply.is_transient())
        {
            self.settle_open(|| refusal(Stage::Content, &reply));
        }
        (Stage::Data, error)
    }

    /// The reply to a command, which with pipelining has been said already.
    async fn ask(&mut self, stage: Stage, command: &Command<'_>, patience: std::time::Duration) -> Result<Reply, Lost> {
        let reply = if self.extensions.pipelining {
            self.session.reply(patience).await
        } else {
            self.session.command(command, patience).await
        };
        reply.map_err(|error| (stage, error))
    }

    /// Gives the recipients that have no fate yet this one.
    fn settle_open(&mut self, fate: impl Fn() -> Option<Fate>) {
        for open in self.fates.iter_mut().filter(|fate| fate.is_none()) {
            *open = fate();
        }
    }

    fn settle_rest(&mut self, problem: &Problem, stage: Stage) {
        let make = if stage == Stage::Content { Fate::Uncertain } else { Fate::Postponed };
        self.settle_open(|| Some(make(problem.clone())));
    }
}

/// The fate that a reply other than a positive one amounts to.
fn refusal(stage: Stage, reply: &Reply) -> Option<Fate> {
    let problem = || Problem::replied(stage, reply);
    match meaning(stage, reply) {
        Meaning::Passed => None,
        Meaning::Permanent => Some(Fate::Rejected(problem())),
        Meaning::Transient | Meaning::HostUnusable => Some(Fate::Postponed(problem())),
    }
}

/// Every way through the transaction settles every recipient; were one forgotten, it would be tried again.
fn settled(fate: Option<Fate>) -> Fate {
    fate.unwrap_or_else(|| {
        let words = "the transaction ended without a word on this recipient".to_owned();
        Fate::Postponed(Problem::ours(Stage::Data, (451, EnhancedCode::new(4, 3, 0)), "transaction-incomplete", words))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;
    use crate::client::Timeouts;
    use crate::connection::Connection;

    const RECIPIENTS: [&str; 2] = ["a@d.test", "b@d.test"];

    /// Runs a transaction with PIPELINING against what is at the other end of a pipe of 64 KiB.
    async fn with_host(wire: &[u8], host: DuplexStream, ours: DuplexStream) -> (Vec<Fate>, DuplexStream) {
        let connection = Connection::new(ours, Timeouts::default(), Instant::now() + Duration::from_secs(1800));
        let extensions = Extensions { pipelining: true, ..Extensions::default() };
        let recipients: Vec<Address> = RECIPIENTS.map(|address| address.parse().unwrap()).into();
        let mail = Mail {
            return_path: &ReturnPath::Null,
            recipients: recipients.iter().map(|address| Recipient { address, dsn: &NOTHING_ASKED }).collect(),
            wire,
            requiretls: false,
            dsn: NOTHING_SAID,
        };
        let ready = Ready { session: connection.boxed(), extensions };
        let ended = run(ready, &mail, "mx.d.test", [127, 0, 0, 1].into()).await;
        (ended.fates, host)
    }

    /// What is made of these replies, each given once its question has come, and all that the host read.
    async fn scripted(script: &[(&'static str, &'static str)], wire: &[u8]) -> (Vec<Fate>, String) {
        let (ours, mut host) = duplex(64 * 1024);
        let script = script.to_vec();
        let host = tokio::spawn(async move {
            let mut said = Vec::new();
            for (question, reply) in script {
                while !said.ends_with(question.as_bytes()) {
                    assert_ne!(host.read_buf(&mut said).await.unwrap(), 0, "{}", String::from_utf8_lossy(&said));
                }
                host.write_all(reply.as_bytes()).await.unwrap();
            }
            host.read_to_end(&mut said).await.unwrap();
            String::from_utf8(said).unwrap()
        });
        let (_, unused) = duplex(1);
        let (fates, _) = with_host(wire, unused, ours).await;
        (fates, host.await.unwrap())
    }

    const GROUP: &str = "MAIL FROM:<>\r\nRCPT TO:<a@d.test>\r\nRCPT TO:<b@d.test>\r\nDATA\r\n";

    #[tokio::test]
    async fn a_host_that_waits_for_content_nobody_gets_is_given_a_lone_dot() {
        let script =
            [(GROUP, "250 \r\n550 \r\n450 \r\n354 \r\n"), ("DATA\r\n.\r\n", "250 \r\n"), ("QUIT\r\n", "221 \r\n")];
        let (fates, said) = scripted(&script, b"secret\r\n").await;
        assert!(matches!(&fates[..], [Fate::Rejected(_), Fate::Postponed(_)]), "{fates:?}");
        assert_eq!(said, format!("{GROUP}.\r\nQUIT\r\n"));
    }

    #[tokio::test]
    async fn a_refused_sender_decides_whatever_follows() {
        let script = [(GROUP, "550 \r\n503 \r\n503 \r\n503 \r\n"), ("QUIT\r\n", "221 \r\n")];
        let (fates, said) = scripted(&script, b"secret\r\n").await;
        assert!(matches!(&fates[..], [Fate::Rejected(_), Fate::Rejected(_)]), "{fates:?}");
        assert_eq!(said, format!("{GROUP}QUIT\r\n"));
    }

    #[tokio::test]
    async fn an_answer_before_the_content_takes_no_responsibility() {
        let script = [(GROUP, "250 \r\n250 \r\n250 \r\n354 \r\n250 taken\r\n")];
        let (fates, said) = scripted(&script, b"secret\r\n").await;
        assert!(matches!(&fates[..], [Fate::Postponed(_), Fate::Postponed(_)]), "{fates:?}");
        assert_eq!(said, GROUP);
    }

    #[tokio::test]
    async fn a_host_that_has_enough_before_the_final_dot_is_heard() {
        let (ours, mut host) = duplex(64 * 1024);
        let host = tokio::spawn(async move {
            host.write_all(b"250 \r\n250 \r\n250 \r\n354 \r\n").await.unwrap();
            let mut taken = vec![0; 100_000];
            host.read_exact(&mut taken).await.unwrap();
            host.write_all(b"552 5.3.4 too big\r\n").await.unwrap();
        });
        let (_, unused) = duplex(1);
        let (fates, _) = with_host(&b"a line\r\n".repeat(100_000), unused, ours).await;
        host.await.unwrap();
        assert!(matches!(&fates[..], [Fate::Rejected(p), Fate::Rejected(_)] if p.code == 552), "{fates:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_stops_reading_is_given_up() {
        let (ours, mut host) = duplex(64 * 1024);
        host.write_all(b"250 \r\n250 \r\n250 \r\n354 \r\n").await.unwrap();
        let begun = Instant::now();
        let (fates, _) = with_host(&b"a line\r\n".repeat(100_000), host, ours).await;
        assert!(matches!(&fates[..], [Fate::Postponed(_), Fate::Postponed(_)]), "{fates:?}");
        assert!(begun.elapsed() < Duration::from_secs(200), "{:?}", begun.elapsed());
    }
}
