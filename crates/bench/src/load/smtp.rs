//! Messages over SMTP: MAIL, RCPT and DATA in one write, content and final dot in another.

use std::io;

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::Run;
use crate::tls;

/// A connection that is ready for messages.
pub(super) struct Connection {
    peer: Peer<Box<dyn Stream>>,
    content: Vec<u8>,
    pipelining: bool,
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

impl Connection {
    pub(super) async fn open(run: &Run, address: &str) -> io::Result<Self> {
        let mut peer = Peer::new(run.connect(address).await?);
        peer.expect(b'2').await?;
        let mut pipelining = peer.hello().await?;
        let stream: Box<dyn Stream> = match &run.options.trust {
            None => Box::new(peer.stream),
            Some(trust) => {
                peer.say(b"STARTTLS\r\n", b'2').await?;
                let name = ServerName::try_from(run.options.name.clone()).map_err(io::Error::other)?;
                Box::new(TlsConnector::from(tls::client(trust)?).connect(name, peer.stream).await?)
            }
        };
        let mut peer = Peer::new(stream);
        if run.options.trust.is_some() {
            pipelining = peer.hello().await?;
        }
        if let Some(login) = &run.options.login {
            let plain = BASE64_STANDARD.encode(format!("\0{}", login.replacen(':', "\0", 1)));
            peer.say(format!("AUTH PLAIN {plain}\r\n").as_bytes(), b'2').await?;
        }
        Ok(Self { peer, content: Vec::with_capacity(run.text.len() + 512), pipelining })
    }

    pub(super) async fn send(&mut self, run: &Run, number: usize) -> io::Result<()> {
        let sender = &run.options.sender;
        let mut commands = format!("MAIL FROM:<app@{sender}>\r\n");
        for recipient in run.recipients(number) {
            commands += &format!("RCPT TO:<{recipient}>\r\n");
        }
        commands += "DATA\r\n";
        let header = format!(
            "From: Bench <app@{sender}>\r\nTo: undisclosed-recipients:;\r\nSubject: Message {number} of a load\r\n\
             Date: Mon, 02 Nov 2026 12:00:00 +0000\r\nMessage-ID: <{number}.{}@{sender}>\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
            run.options.first
        );
        self.content.clear();
        for part in [header.as_bytes(), &run.text, b".\r\n"] {
            self.content.extend_from_slice(part);
        }
        // OpenSMTPD hangs up on whoever does not wait for its replies.
        let writes: Vec<&str> =
            if self.pipelining { vec![&commands] } else { commands.split_inclusive('\n').collect() };
        for commands in writes {
            self.peer.write(commands.as_bytes()).await?;
            for command in commands.split_inclusive('\n') {
                self.peer.expect(if command == "DATA\r\n" { b'3' } else { b'2' }).await?;
            }
        }
        self.peer.say(&self.content, b'2').await
    }
}

struct Peer<S> {
    stream: S,
    buffer: Vec<u8>,
    used: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::with_capacity(4096), used: 0 }
    }

    async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.stream.write_all(octets).await?;
        self.stream.flush().await
    }

    async fn say(&mut self, octets: &[u8], class: u8) -> io::Result<()> {
        self.write(octets).await?;
        self.expect(class).await
    }

    /// Says EHLO; whether commands may be pipelined.
    async fn hello(&mut self) -> io::Result<bool> {
        self.say(b"EHLO load.test\r\n", b'2').await?;
        Ok(memchr::memmem::find(&self.buffer[..self.used], b"PIPELINING").is_some())
    }

    /// Reads one reply, whose code begins with that digit.
    async fn expect(&mut self, class: u8) -> io::Result<()> {
        loop {
            let rest = &self.buffer[self.used..];
            if let Some(end) = memchr::memchr(b'\n', rest) {
                let line = &rest[..end];
                if line.first() != Some(&class) {
                    return Err(io::Error::other(format!("the server said {}", String::from_utf8_lossy(line).trim())));
                }
                let last = line.get(3) != Some(&b'-');
                self.used += end + 1;
                if last {
                    return Ok(());
                }
                continue;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::other("the server closed a connection during the load"));
            }
        }
    }
}
