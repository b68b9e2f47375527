//! The receiver: SMTP with PIPELINING, CHUNKING and STARTTLS, whose listeners may be slow or silent.
//!
//! It acknowledges what it reads at once. A server that leaves Nagle's algorithm on would otherwise wait 40 ms for a delayed
//! acknowledgement within each message, and loopback would be measured in place of the server.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    rc::Rc,
    str::FromStr,
    task::{Context, Poll},
    time::Duration,
};

use memchr::memmem;
use serde_json::{Value, json};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf},
    net::{TcpListener, TcpStream},
    task::LocalSet,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    tally::{Tally, number},
    tls, watch,
};

/// What is read at once.
const CHUNK: usize = 64 * 1024;
/// Longest command line; nobody who sends more is a mail server.
const LONGEST_LINE: usize = 4096;

/// How a sink is set up.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// ADDRESS:PORT, then perhaps =slow:MILLISECONDS (each reply waits) or =silent (no greeting ever comes). May be repeated.
    #[arg(long, required = true)]
    pub listen: Vec<Listen>,
    /// Where `waxwing-bench ask` and the generator ask for figures.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub control: SocketAddr,
    /// PEM file; with --key: offer STARTTLS.
    #[arg(long, requires = "key")]
    pub certificate: Option<PathBuf>,
    /// PEM file of the private key.
    #[arg(long)]
    pub key: Option<PathBuf>,
    /// Written once it listens: the control address, then each listener's, a line each.
    #[arg(long)]
    pub ready_file: Option<PathBuf>,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct Listen {
    address: SocketAddr,
    manner: Manner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Prompt,
    Slow(Duration),
    Silent,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, manner) = text.split_once('=').unwrap_or((text, "prompt"));
        let manner = match manner.split_once(':') {
            Some(("slow", delay)) => {
                Manner::Slow(Duration::from_millis(delay.parse().map_err(|_| format!("slow:{delay}"))?))
            }
            None if manner == "silent" => Manner::Silent,
            None if manner == "prompt" => Manner::Prompt,
            _ => return Err(format!("{manner}: neither prompt, slow:MILLISECONDS nor silent")),
        };
        Ok(Self { address: address.parse().map_err(|error| format!("{address}: {error}"))?, manner })
    }
}

/// A sink that listens; [`Sink::serve`] makes it work.
pub struct Sink {
    control: TcpListener,
    listeners: Vec<(TcpListener, Manner, Rc<RefCell<Tally>>)>,
    acceptor: Option<TlsAcceptor>,
}

/// Listens until the process is ended.
pub async fn run(options: Options) -> io::Result<()> {
    let sink = Sink::open(&options)?;
    if let Some(path) = &options.ready_file {
        let lines = sink.addresses()?.iter().map(|address| format!("{address}\n")).collect::<String>();
        write_whole(path, &lines)?;
    }
    LocalSet::new().run_until(sink.serve()).await
}

/// In one step, so that whoever waits for the file never reads half of it.
pub(crate) fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)
}

impl Sink {
    /// Opens the listeners. Must be called within a runtime.
    pub fn open(options: &Options) -> io::Result<Self> {
        let acceptor = match (&options.certificate, &options.key) {
            (Some(certificate), Some(key)) => Some(TlsAcceptor::from(tls::server(certificate, key)?)),
            _ => None,
        };
        let mut listeners = Vec::new();
        for Listen { address, manner } in &options.listen {
            listeners.push((listen(*address)?, *manner, Rc::default()));
        }
        Ok(Self { control: listen(options.control)?, listeners, acceptor })
    }

    /// The control address, then the listeners'.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let listeners = self.listeners.iter().map(|(listener, ..)| listener.local_addr());
        std::iter::once(self.control.local_addr()).chain(listeners).collect()
    }

    /// Serves for ever; within a [`LocalSet`].
    pub async fn serve(self) -> io::Result<()> {
        let tallies: Vec<_> = self.listeners.iter().map(|(.., tally)| tally.clone()).collect();
        for (listener, manner, tally) in self.listeners {
            let acceptor = self.acceptor.clone();
            tokio::task::spawn_local(async move {
                loop {
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    tally.borrow_mut().connections += 1;
                    let session = Session { tally: tally.clone(), manner, acceptor: acceptor.clone(), tls: false };
                    // A peer that goes away in the middle is its own affair: what it delivered is counted.
                    tokio::task::spawn_local(async move { session.serve(stream).await.ok() });
                }
            });
        }
        loop {
            let (stream, _) = self.control.accept().await?;
            answer(stream, &tallies).await.ok();
        }
    }
}

/// Several may listen on one port, the more specific address wins: that is how a whole network can be dead but for one host.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.port() != 0 {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

async fn answer(mut stream: TcpStream, tallies: &[Rc<RefCell<Tally>>]) -> io::Result<()> {
    let mut question = String::new();
    BufReader::new(&mut stream).read_line(&mut question).await?;
    let answer = match question.trim() {
        "reset" => {
            tallies.iter().for_each(|tally| drop(tally.take()));
            json!("reset")
        }
        "count" | "arrivals" => {
            let slices = question.trim() == "arrivals";
            let listeners: Vec<Value> = tallies.iter().map(|tally| tally.borrow().figures(slices)).collect();
            json!({ "listeners": listeners, "processor_seconds": watch::own_processor_seconds() })
        }
        other => json!({ "error": format!("{other}: neither count, arrivals nor reset") }),
    };
    stream.write_all(format!("{answer}\n").as_bytes()).await
}

struct Session {
    tally: Rc<RefCell<Tally>>,
    manner: Manner,
    acceptor: Option<TlsAcceptor>,
    tls: bool,
}

/// Where a session is between two reads.
enum Place {
    Commands,
    /// After DATA; up to `searched` there is no end of the content.
    Content {
        searched: usize,
    },
    /// After BDAT: how many octets are missing, and whether they are the last.
    Chunk {
        missing: usize,
        last: bool,
    },
}

/// What becomes of the connection once its replies are written.
#[derive(PartialEq, Eq)]
enum Then {
    Read,
    Close,
    StartTls,
}

/// The part of a session that does no I/O: octets in, replies out.
struct Dialogue {
    place: Place,
    recipients: Vec<Option<usize>>,
    octets: usize,
    replies: Vec<u8>,
    offers_tls: bool,
}

impl Session {
    async fn serve(mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        if self.manner == Manner::Silent {
            let mut stream = stream;
            while stream.read(&mut [0; 512]).await? > 0 {}
            return Ok(());
        }
        let mut stream = Prompt(stream);
        if !self.converse(&mut stream, b"220 sink.test ESMTP\r\n").await? {
            return Ok(());
        }
        let Some(acceptor) = self.acceptor.clone() else { return Ok(()) };
        let mut stream = acceptor.accept(stream).await?;
        self.tls = true;
        let resumed = stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        {
            let mut tally = self.tally.borrow_mut();
            tally.resumed_handshakes += u64::from(resumed);
            tally.full_handshakes += u64::from(!resumed);
        }
        self.converse(&mut stream, b"").await?;
        stream.shutdown().await
    }

    /// Reads and replies until the end; true when TLS is to begin.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        greeting: &[u8],
    ) -> io::Result<bool> {
        let mut dialogue = Dialogue {
            place: Place::Commands,
            recipients: Vec::new(),
            octets: 0,
            replies: greeting.to_vec(),
            offers_tls: self.acceptor.is_some() && !self.tls,
        };
        let mut buffer = Vec::with_capacity(CHUNK);
        loop {
            let then = dialogue.take(&mut buffer, &mut self.tally.borrow_mut());
            if !dialogue.replies.is_empty() {
                if let Manner::Slow(delay) = self.manner {
                    sleep(delay).await;
                }
                stream.write_all(&dialogue.replies).await?;
                stream.flush().await?;
                dialogue.replies.clear();
            }
            match then {
                Then::Read => {}
                Then::Close => return Ok(false),
                Then::StartTls => return Ok(true),
            }
            if buffer.capacity() - buffer.len() < CHUNK / 4 {
                buffer.reserve(CHUNK);
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(false);
            }
        }
    }
}

impl Dialogue {
    /// Takes what is whole from the buffer.
    fn take(&mut self, buffer: &mut Vec<u8>, tally: &mut Tally) -> Then {
        let mut used = 0;
        let then = loop {
            let rest = &buffer[used..];
            match &mut self.place {
                Place::Commands => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        break if rest.len() > LONGEST_LINE { Then::Close } else { Then::Read };
                    };
                    let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
                    used += end + 1;
                    let then = self.command(line);
                    if then != Then::Read {
                        break then;
                    }
                }
                Place::Content { searched } => {
                    let Some(length) = content_length(rest, *searched) else {
                        *searched = rest.len().saturating_sub(4);
                        break Then::Read;
                    };
                    used += length + b".\r\n".len();
                    self.octets = length;
                    self.arrived(tally);
                }
                Place::Chunk { missing, last } => {
                    let here = rest.len().min(*missing);
                    let last = *last;
                    used += here;
                    *missing -= here;
                    self.octets += here;
                    if *missing > 0 {
                        break Then::Read;
                    }
                    if last {
                        self.arrived(tally);
                    } else {
                        self.place = Place::Commands;
                        self.reply("250 2.0.0 more");
                    }
                }
            }
        };
        buffer.drain(..used);
        then
    }

    fn command(&mut self, line: &[u8]) -> Then {
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        match verb.as_slice() {
            b"EHLO" => {
                self.reply("250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING");
                if self.offers_tls {
                    self.reply("250-STARTTLS");
                }
                self.reply("250-ENHANCEDSTATUSCODES\r\n250 SIZE 104857600");
            }
            b"HELO" | b"NOOP" => self.reply("250 2.0.0 ok"),
            b"MAIL" | b"RSET" => {
                self.recipients.clear();
                self.octets = 0;
                self.reply("250 2.1.0 ok");
            }
            b"RCPT" => {
                let address = memchr::memchr(b'<', line).map_or(&[][..], |at| &line[at + 1..]);
                self.recipients.push(number(address));
                self.reply("250 2.1.5 ok");
            }
            b"DATA" | b"BDAT" if self.recipients.is_empty() => self.reply("503 5.5.1 no recipients"),
            b"DATA" => {
                self.place = Place::Content { searched: 0 };
                self.reply("354 go ahead");
            }
            b"BDAT" => {
                let rest = String::from_utf8_lossy(&line[4..]).to_ascii_uppercase();
                let mut words = rest.split_ascii_whitespace();
                let Some(missing) = words.next().and_then(|size| size.parse().ok()) else {
                    self.reply("501 5.5.4 no size");
                    return Then::Close;
                };
                self.place = Place::Chunk { missing, last: words.next() == Some("LAST") };
            }
            b"STAR" if self.offers_tls => {
                self.reply("220 2.0.0 go ahead");
                return Then::StartTls;
            }
            b"QUIT" => {
                self.reply("221 2.0.0 bye");
                return Then::Close;
            }
            _ => self.reply("500 5.5.2 what?"),
        }
        Then::Read
    }

    fn arrived(&mut self, tally: &mut Tally) {
        tally.arrived(&self.recipients, self.octets);
        self.recipients.clear();
        self.octets = 0;
        self.place = Place::Commands;
        self.reply("250 2.0.0 counted");
    }

    fn reply(&mut self, text: &str) {
        self.replies.extend_from_slice(text.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }
}

/// How long the content is without its final dot, when that is there.
fn content_length(buffer: &[u8], searched: usize) -> Option<usize> {
    if searched == 0 && buffer.starts_with(b".\r\n") {
        return Some(0);
    }
    memmem::find(&buffer[searched..], b"\r\n.\r\n").map(|at| searched + at + 2)
}

/// A socket that acknowledges whatever was read from it, below TLS as well: a record may come in pieces.
struct Prompt(TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if read.is_ready() {
            SockRef::from(&self.0).set_tcp_quickack(true).ok();
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the octets are cut, the same arrives.
    #[test]
    fn a_session_may_be_cut_anywhere() {
        let script =
            b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<n7@c.test>\r\nRCPT TO:<n8@c.test>\r\nDATA\r\nx\r\n..y\r\n.\r\n\
            MAIL FROM:<a@b>\r\nRCPT TO:<n7@c.test>\r\nBDAT 3\r\n.\r\nBDAT 4 LAST\r\n\r\n.\nMAIL FROM:<a@b>\r\n\
            RCPT TO:<n9@c.test>\r\nDATA\r\n.\r\nQUIT\r\n";
        for size in 1..script.len() {
            let (mut tally, mut buffer) = (Tally::default(), Vec::new());
            let mut dialogue = Dialogue {
                place: Place::Commands,
                recipients: Vec::new(),
                octets: 0,
                replies: Vec::new(),
                offers_tls: false,
            };
            let mut closed = false;
            for piece in script.chunks(size) {
                buffer.extend_from_slice(piece);
                closed |= dialogue.take(&mut buffer, &mut tally) == Then::Close;
            }
            let figures = tally.figures(false);
            assert!(closed && buffer.is_empty(), "{size}");
            assert_eq!((&figures["transactions"], &figures["deliveries"]), (&json!(3), &json!(4)), "{size}");
            assert_eq!((&figures["distinct"], &figures["octets"]), (&json!(3), &json!(8 + 7)), "{size}");
            assert!(!String::from_utf8_lossy(&dialogue.replies).contains("\r\n5"), "{size}");
        }
    }

    #[test]
    fn listeners_are_spelled_out() {
        let manner = |text: &str| text.parse::<Listen>().map(|listen| listen.manner);
        assert_eq!(manner("127.0.0.1:25"), Ok(Manner::Prompt));
        assert_eq!(manner("127.0.0.1:25=slow:200"), Ok(Manner::Slow(Duration::from_millis(200))));
        assert_eq!(manner("127.0.0.1:25=silent"), Ok(Manner::Silent));
        for wrong in ["127.0.0.1", "127.0.0.1:25=loud", "127.0.0.1:25=slow", "127.0.0.1:25=slow:x"] {
            assert!(manner(wrong).is_err(), "{wrong}");
        }
    }
}
