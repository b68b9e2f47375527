//! One connection: greeting, commands, STARTTLS (RFC 5321 §3, RFC 3207).

use std::{io, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{
    behaviour::{Answer, Behaviour, Stage, Tls},
    command::{Command, Path},
    record::{Recorder, Seen},
    tls::{self, INJECTED},
    wire::{Closed, Line, Wire},
};

/// A behaviour with its certificates loaded.
pub(super) struct Setup {
    pub(super) behaviour: Behaviour,
    acceptor: Option<TlsAcceptor>,
}

impl Setup {
    pub(super) fn new(behaviour: Behaviour) -> io::Result<Setup> {
        Ok(Setup { acceptor: tls::acceptor(&behaviour)?, behaviour })
    }
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.behaviour.fmt(f)
    }
}

/// Serves one connection to its end.
pub(super) async fn converse(stream: TcpStream, recorder: Recorder, setup: Arc<Setup>) {
    let wire = Wire::new(stream, setup.behaviour.idle_timeout);
    let mut outside = Talk::new(wire, recorder, setup, false);
    if outside.greet().await.is_err() {
        return;
    }
    if let Ok(Flow::StartTls) = outside.obey_all().await
        && let Some(mut inside) = outside.upgrade().await
    {
        // Whatever ended it is on record.
        let _ = inside.obey_all().await;
    }
}

/// One side of STARTTLS. What was learned outside is forgotten inside (RFC 3207 §4.2), so the inside is a new value.
pub(super) struct Talk {
    pub(super) wire: Wire,
    pub(super) record: Recorder,
    pub(super) setup: Arc<Setup>,
    pub(super) encrypted: bool,
    /// EHLO or HELO was answered well, and which.
    pub(super) hello: Option<Hello>,
    pub(super) transaction: Option<Transaction>,
    /// MAIL was refused: what a pipelining client sent behind it is no fault of its own.
    pub(super) mail_refused: bool,
    authenticated: bool,
    refusing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hello {
    Ehlo,
    Helo,
}

/// A transaction from MAIL to the final dot.
pub(super) struct Transaction {
    pub(super) from: Path,
    pub(super) recipients: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    StartTls,
    Quit,
}

impl Talk {
    fn new(wire: Wire, record: Recorder, setup: Arc<Setup>, encrypted: bool) -> Talk {
        Talk {
            wire,
            record,
            setup,
            encrypted,
            hello: None,
            transaction: None,
            mail_refused: false,
            authenticated: false,
            refusing: false,
        }
    }

    async fn greet(&mut self) -> Result<(), Closed> {
        let setup = Arc::clone(&self.setup);
        self.reach(Stage::Connect).await?;
        if self.wire.peek().await {
            self.record.violation("spoke before the greeting");
        }
        let usual = Answer::new(220, format!("{} ESMTP", setup.behaviour.name()));
        let greeting = setup.behaviour.greeting.as_ref().unwrap_or(&usual);
        self.refusing = greeting.code != 220;
        self.say(greeting).await
    }

    /// Obeys commands until STARTTLS or the end.
    async fn obey_all(&mut self) -> Result<Flow, Closed> {
        loop {
            let Some(line) = self.next_line().await? else { continue };
            let command = Command::parse(&line);
            self.check_pipelining(&command);
            match self.obey(command).await? {
                Flow::Next => {}
                Flow::StartTls => return Ok(Flow::StartTls),
                Flow::Quit => {
                    self.record.note(|session| session.closed_by_quit = true);
                    self.wire.close().await;
                    return Ok(Flow::Quit);
                }
            }
        }
    }

    async fn obey(&mut self, command: Command) -> Result<Flow, Closed> {
        if self.refusing && command != Command::Quit {
            self.record.violation("a command after a greeting that refused");
            self.refuse(503, "5.5.1", "Only QUIT").await?;
            return Ok(Flow::Next);
        }
        match command {
            Command::Ehlo(_) => self.ehlo().await?,
            Command::Helo(_) => self.helo().await?,
            Command::StartTls => return self.starttls().await,
            Command::Auth(mechanism, initial) => self.auth(&mechanism, initial).await?,
            Command::Mail(path) => self.mail(path).await?,
            Command::Rcpt(path) => self.rcpt(path).await?,
            Command::Data => self.data().await?,
            Command::Rset => self.rset().await?,
            Command::Noop => self.refuse(250, "2.0.0", "Nothing done").await?,
            Command::Vrfy => self.refuse(252, "2.5.0", "Send mail and see").await?,
            Command::Quit => {
                self.reach(Stage::Quit).await?;
                self.refuse(221, "2.0.0", "Goodbye").await?;
                return Ok(Flow::Quit);
            }
            Command::Malformed(fault) => {
                self.record.violation(fault);
                self.refuse(501, "5.5.4", fault).await?;
            }
            Command::Unknown => {
                self.record.violation("a command that was not offered");
                self.refuse(500, "5.5.1", "Never heard of it").await?;
            }
        }
        Ok(Flow::Next)
    }

    async fn ehlo(&mut self) -> Result<(), Closed> {
        let setup = Arc::clone(&self.setup);
        self.reach(if self.encrypted { Stage::EhloInside } else { Stage::Ehlo }).await?;
        let usual = setup.behaviour.ehlo_answer(self.encrypted);
        let answer = match &setup.behaviour.tls {
            Tls::EhloFailsInside(answer) if self.encrypted => answer.as_ref().ok_or(Closed)?,
            _ => setup.behaviour.ehlo.as_ref().unwrap_or(&usual),
        };
        self.greeted(Hello::Ehlo, answer).await
    }

    async fn helo(&mut self) -> Result<(), Closed> {
        let setup = Arc::clone(&self.setup);
        self.reach(if self.encrypted { Stage::EhloInside } else { Stage::Ehlo }).await?;
        let usual = Answer::new(250, setup.behaviour.name());
        let answer = match &setup.behaviour.tls {
            Tls::EhloFailsInside(answer) if self.encrypted => answer.as_ref().ok_or(Closed)?,
            _ => setup.behaviour.helo.as_ref().unwrap_or(&usual),
        };
        self.greeted(Hello::Helo, answer).await
    }

    /// A new hello ends the transaction, whatever its answer (RFC 5321 §4.1.4).
    async fn greeted(&mut self, hello: Hello, answer: &Answer) -> Result<(), Closed> {
        self.transaction = None;
        self.mail_refused = false;
        if answer.code == 250 {
            self.hello = Some(hello);
        }
        self.say(answer).await
    }

    async fn starttls(&mut self) -> Result<Flow, Closed> {
        let setup = Arc::clone(&self.setup);
        self.reach(Stage::StartTls).await?;
        let offered = setup.behaviour.offers_starttls(self.encrypted) && self.hello == Some(Hello::Ehlo);
        if !offered || self.encrypted {
            self.record.violation(if self.encrypted { "STARTTLS inside TLS" } else { "STARTTLS without an offer" });
            self.refuse(503, "5.5.1", "Not now").await?;
            return Ok(Flow::Next);
        }
        if let Tls::RefusedWith(answer) = &setup.behaviour.tls {
            self.say(answer).await?;
            return Ok(Flow::Next);
        }
        if self.wire.peek().await {
            // Whoever is on the path could have put it there; obeying it inside TLS would be CVE-2011-0411.
            self.record.violation("spoke after STARTTLS without waiting for its answer");
            return Err(Closed);
        }
        let mut go = setup.behaviour.usual(220, "2.0.0", "Go ahead").to_wire();
        if matches!(setup.behaviour.tls, Tls::Injects) {
            go += INJECTED;
        }
        self.wire.write(go.as_bytes()).await?;
        Ok(Flow::StartTls)
    }

    /// The handshake after the 220. `None` when none came about; the reason is on record.
    async fn upgrade(mut self) -> Option<Talk> {
        self.reach(Stage::Handshake).await.ok()?;
        let Talk { wire, record, setup, .. } = self;
        let stream = wire.into_plain()?;
        let failed = |why: String| record.note(|session| session.handshake_error = Some(why));
        let Some(acceptor) = &setup.acceptor else {
            if let Tls::Broken(how) = setup.behaviour.tls {
                failed(tls::breakage_in_words(how).to_owned());
                tls::break_handshake(stream, how).await;
            }
            return None;
        };
        match tls::handshake(acceptor, stream).await {
            Ok((stream, seen)) => {
                record.note(|session| session.tls = Some(seen));
                let wire = Wire::encrypted(stream, setup.behaviour.idle_timeout);
                Some(Talk::new(wire, record, setup, true))
            }
            Err(why) => {
                failed(why);
                None
            }
        }
    }

    async fn auth(&mut self, mechanism: &str, initial: Option<String>) -> Result<(), Closed> {
        let setup = Arc::clone(&self.setup);
        self.reach(Stage::Auth).await?;
        let Some(auth) = setup.behaviour.auth.as_ref().filter(|_| setup.behaviour.offers_auth(self.encrypted)) else {
            let fault = if self.encrypted { "AUTH without an offer" } else { "credentials in plaintext" };
            self.record.violation(fault);
            return self.refuse(503, "5.5.1", "Not now").await;
        };
        if mechanism != "PLAIN" {
            self.record.violation("AUTH with a mechanism that was not offered");
            return self.refuse(504, "5.5.4", "PLAIN only").await;
        }
        let response = match initial {
            Some(initial) => initial,
            None => {
                self.say(&Answer::new(334, "")).await?;
                let Line::Text { bytes, .. } = self.wire.read_line().await? else { return Err(Closed) };
                self.remember("<credentials>".to_owned());
                String::from_utf8_lossy(&bytes).into_owned()
            }
        };
        let proof = BASE64_STANDARD.decode(response).unwrap_or_default();
        let mut parts = proof.split(|b| *b == 0).skip(1);
        let right = parts.next() == Some(auth.user.as_bytes()) && parts.next() == Some(auth.password.as_bytes());
        if !right {
            return self.refuse(535, "5.7.8", "Wrong credentials").await;
        }
        self.authenticated = true;
        self.record.note(|session| session.authenticated = Some(auth.user.clone()));
        self.refuse(235, "2.7.0", "Welcome").await
    }

    async fn rset(&mut self) -> Result<(), Closed> {
        let setup = Arc::clone(&self.setup);
        self.reach(Stage::Rset).await?;
        self.transaction = None;
        self.mail_refused = false;
        let usual = setup.behaviour.usual(250, "2.0.0", "Forgotten");
        self.say(setup.behaviour.rset.as_ref().unwrap_or(&usual)).await
    }

    /// MAIL must wait for AUTH (RFC 4954 §6, 530).
    pub(super) fn lacks_auth(&self) -> bool {
        self.setup.behaviour.auth.is_some() && !self.authenticated
    }

    /// The stage is reached: closes or waits here when the behaviour says so.
    pub(super) async fn reach(&mut self, stage: Stage) -> Result<(), Closed> {
        if let Some(delay) = self.setup.behaviour.delays.get(&stage) {
            tokio::time::sleep(*delay).await;
        }
        if self.setup.behaviour.drop_after == Some(stage) { Err(Closed) } else { Ok(()) }
    }

    pub(super) async fn say(&mut self, answer: &Answer) -> Result<(), Closed> {
        if !answer.delay.is_zero() {
            tokio::time::sleep(answer.delay).await;
        }
        self.wire.write(answer.to_wire().as_bytes()).await?;
        if answer.code == 421 {
            self.wire.close().await;
            return Err(Closed);
        }
        Ok(())
    }

    /// A usual answer, mostly a negative one.
    pub(super) async fn refuse(&mut self, code: u16, enhanced: &str, text: &str) -> Result<(), Closed> {
        let answer = self.setup.behaviour.usual(code, enhanced, text);
        self.say(&answer).await
    }

    /// The next command line on record; `None` when it was unfit and has been answered.
    async fn next_line(&mut self) -> Result<Option<String>, Closed> {
        let (bytes, strict) = match self.wire.read_line().await? {
            Line::Text { bytes, strict } => (bytes, strict),
            Line::TooLong => {
                self.record.violation("a command line without end");
                self.refuse(421, "5.5.2", "Line too long").await?;
                return Err(Closed);
            }
            Line::Idle => {
                self.refuse(421, "4.4.2", "Still there?").await?;
                return Err(Closed);
            }
        };
        let line = String::from_utf8_lossy(&bytes).into_owned();
        self.remember(without_credentials(&line));
        if bytes.len() + 2 > line_limit(&line) {
            self.record.violation("a command line longer than the limit");
        }
        if !strict {
            self.record.violation("a command line with a bare CR or LF");
            self.refuse(500, "5.5.2", "Lines end in CRLF").await?;
            return Ok(None);
        }
        Ok(Some(line))
    }

    fn remember(&self, line: String) {
        let encrypted = self.encrypted;
        self.record.note(|session| session.commands.push(Seen { line, encrypted }));
    }

    /// Commands may follow one another unanswered only where PIPELINING was offered, and some never (RFC 2920 §3.1).
    fn check_pipelining(&self, command: &Command) {
        if !self.wire.has_unread() {
            return;
        }
        let grouped = matches!(command, Command::Mail(_) | Command::Rcpt(_) | Command::Rset);
        let offered = self.setup.behaviour.pipelining && self.hello == Some(Hello::Ehlo);
        if !offered {
            self.record.violation("pipelined without an offer");
        } else if !grouped && *command != Command::Data && *command != Command::StartTls {
            // DATA and STARTTLS have a closer look of their own.
            self.record.violation("pipelined behind a command that must be the last of its group");
        }
    }
}

/// The longest command line with its CRLF: RFC 5321 §4.5.3.1.4, more where extensions add parameters (RFC 6531 §3.2,
/// RFC 3461 §4, RFC 4954 §4.3).
fn line_limit(line: &str) -> usize {
    match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
        "AUTH" => 12_288,
        "MAIL" | "RCPT" => 1024 + 512,
        _ => 512,
    }
}

/// Credentials are nobody's business, not even a test's output.
fn without_credentials(line: &str) -> String {
    match line.split(' ').collect::<Vec<_>>()[..] {
        [auth, mechanism, _] if auth.eq_ignore_ascii_case("AUTH") => format!("{auth} {mechanism} <credentials>"),
        _ => line.to_owned(),
    }
}
