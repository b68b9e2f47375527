//! What receivers saw: kept for the tests to read.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::watch;

/// One connection as the receiver saw it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where the client came from.
    pub peer: SocketAddr,
    /// The address that it reached.
    pub local: SocketAddr,
    /// Every command line in order.
    pub commands: Vec<Seen>,
    /// The handshake, when it came about.
    pub tls: Option<TlsSeen>,
    /// Why the handshake did not come about.
    pub handshake_error: Option<String>,
    /// Every content that came to its final dot, accepted or not.
    pub messages: Vec<Received>,
    /// The user that AUTH proved.
    pub authenticated: Option<String>,
    /// Breaches of the protocol by the client, in words.
    pub violations: Vec<String>,
    /// The client said QUIT.
    pub closed_by_quit: bool,
    /// The connection is over.
    pub ended: bool,
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The line without its CRLF; credentials are left out.
    pub line: String,
    /// It came inside TLS.
    pub encrypted: bool,
}

/// The facts of a handshake, from the server's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSeen {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: String,
    /// The cipher suite, in IANA's words.
    pub cipher: String,
    /// The group of the key exchange.
    pub key_exchange: String,
    /// The name that the client asked for (RFC 6066 §3).
    pub sni: Option<String>,
    /// An earlier session was resumed.
    pub resumed: bool,
    /// The client showed a certificate.
    pub client_certificate: bool,
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The address in MAIL, empty for `<>`.
    pub return_path: String,
    /// The parameters of MAIL as they were written.
    pub mail_params: Vec<String>,
    /// The recipients that were accepted.
    pub recipients: Vec<String>,
    /// The content without its dot-stuffing.
    pub content: Vec<u8>,
    /// The content as it came, without the final dot line.
    pub raw_wire: Vec<u8>,
    /// It came inside TLS.
    pub encrypted: bool,
    /// The code that was answered to the final dot; `None` when the connection was dropped instead.
    pub answer: Option<u16>,
}

impl Received {
    /// The receiver took responsibility for it.
    pub fn accepted(&self) -> bool {
        self.answer.is_some_and(|code| (200..300).contains(&code))
    }

    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

impl Session {
    fn new(peer: SocketAddr, local: SocketAddr) -> Session {
        Session {
            peer,
            local,
            commands: Vec::new(),
            tls: None,
            handshake_error: None,
            messages: Vec::new(),
            authenticated: None,
            violations: Vec::new(),
            closed_by_quit: false,
            ended: false,
        }
    }

    /// The verbs of the commands in order, in upper case: what most assertions are about.
    pub fn verbs(&self) -> Vec<String> {
        let verb = |seen: &Seen| seen.line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        self.commands.iter().map(verb).collect()
    }

    /// Something of a message came: a sender, a recipient or content.
    pub fn saw_mail(&self) -> bool {
        self.verbs().iter().any(|verb| matches!(verb.as_str(), "MAIL" | "RCPT" | "DATA" | "BDAT"))
    }
}

/// All sessions of one receiver.
#[derive(Debug)]
pub(super) struct Log {
    sessions: Mutex<Vec<Session>>,
    /// Connections that are open, and the most there ever were at once.
    open: Mutex<(usize, usize)>,
    changes: watch::Sender<u64>,
}

impl Log {
    pub(super) fn new() -> Arc<Log> {
        Arc::new(Log { sessions: Mutex::default(), open: Mutex::default(), changes: watch::Sender::new(0) })
    }

    pub(super) fn open(self: &Arc<Log>, peer: SocketAddr, local: SocketAddr) -> Recorder {
        let mut sessions = self.lock();
        sessions.push(Session::new(peer, local));
        let mut open = self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        open.0 += 1;
        open.1 = open.1.max(open.0);
        Recorder { log: Arc::clone(self), index: sessions.len() - 1 }
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).1
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&[Session]) -> T) -> T {
        look(&self.lock())
    }

    /// Waits until the sessions are as wished; says whether they became so in time.
    pub(super) async fn wait(&self, limit: Duration, wish: impl Fn(&[Session]) -> bool) -> bool {
        let mut changes = self.changes.subscribe();
        let wished = async {
            while !self.read(&wish) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, wished).await.is_ok()
    }

    /// A panic elsewhere leaves the list whole: each change is one push or one assignment.
    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.sessions.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The pen of one connection; its session ends when it is dropped.
#[derive(Debug)]
pub(super) struct Recorder {
    log: Arc<Log>,
    index: usize,
}

impl Recorder {
    pub(super) fn note(&self, change: impl FnOnce(&mut Session)) {
        change(&mut self.log.lock()[self.index]);
        self.log.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn violation(&self, what: impl Into<String>) {
        self.note(|session| session.violations.push(what.into()));
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.log.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).0 -= 1;
        self.note(|session| session.ended = true);
    }
}
