//! The connection: plaintext or TLS, with what was read ahead.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

/// Longest command line that is read at all; RFC 4954 §4.3 is the most generous with 12288 octets.
const LINE_LIMIT: usize = 12_288;

/// A connection with its unread octets.
pub(super) struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    idle: Duration,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The connection is over, for whichever reason.
#[derive(Debug)]
pub(super) struct Closed;

impl From<io::Error> for Closed {
    fn from(_: io::Error) -> Closed {
        Closed
    }
}

/// A command line as it came.
#[derive(Debug)]
pub(super) enum Line {
    /// The octets without the line ending; `strict` when that was CRLF and no other CR was there.
    Text { bytes: Vec<u8>, strict: bool },
    /// Longer than any line may be.
    TooLong,
    /// Nothing was said for too long.
    Idle,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, idle: Duration) -> Wire {
        Wire { stream: Stream::Plain(stream), buffer: Vec::new(), idle }
    }

    pub(super) fn encrypted(stream: TlsStream<TcpStream>, idle: Duration) -> Wire {
        Wire { stream: Stream::Tls(Box::new(stream)), buffer: Vec::new(), idle }
    }

    /// The bare socket for a handshake, when there is no TLS yet.
    pub(super) fn into_plain(self) -> Option<TcpStream> {
        match self.stream {
            Stream::Plain(stream) => Some(stream),
            Stream::Tls(_) => None,
        }
    }

    /// Octets came that nobody has read yet.
    pub(super) fn has_unread(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Looks whether the client has said more than it was asked for. The moment's wait lets the runtime see what the
    /// kernel already has.
    pub(super) async fn peek(&mut self) -> bool {
        if self.buffer.is_empty() {
            let _ = timeout(Duration::from_millis(1), self.fill()).await;
        }
        self.has_unread()
    }

    /// Takes what was read ahead, or waits for more.
    pub(super) async fn read(&mut self) -> Result<Vec<u8>, Closed> {
        if self.buffer.is_empty() {
            timeout(self.idle, self.fill()).await.map_err(|_| Closed)??;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Gives back what was read too far.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.buffer.splice(..0, bytes.iter().copied());
    }

    pub(super) async fn read_line(&mut self) -> Result<Line, Closed> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let mut bytes = std::mem::replace(&mut self.buffer, rest);
                bytes.pop();
                let crlf = bytes.pop_if(|b| *b == b'\r').is_some();
                let strict = crlf && !bytes.contains(&b'\r');
                return Ok(Line::Text { bytes, strict });
            }
            if self.buffer.len() > LINE_LIMIT {
                return Ok(Line::TooLong);
            }
            match timeout(self.idle, self.fill()).await {
                Ok(filled) => filled?,
                Err(_) => return Ok(Line::Idle),
            }
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        let idle = self.idle;
        let sent = async {
            match &mut self.stream {
                Stream::Plain(stream) => stream.write_all(bytes).await,
                Stream::Tls(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
            }
        };
        Ok(timeout(idle, sent).await.map_err(|_| Closed)??)
    }

    /// Says goodbye, FIN and in TLS close_notify, and lets the client go first: closing with its octets unread would
    /// reset the connection, and the last reply might be lost.
    pub(super) async fn close(&mut self) {
        let bye = async {
            let _ = match &mut self.stream {
                Stream::Plain(stream) => stream.shutdown().await,
                Stream::Tls(stream) => stream.shutdown().await,
            };
            while self.fill().await.is_ok() {
                self.buffer.clear();
            }
        };
        let _ = timeout(Duration::from_secs(2), bye).await;
    }

    /// Reads once. Cancelling it loses nothing: `read_buf` either appends or has read nothing.
    async fn fill(&mut self) -> Result<(), Closed> {
        let count = match &mut self.stream {
            Stream::Plain(stream) => stream.read_buf(&mut self.buffer).await?,
            Stream::Tls(stream) => stream.read_buf(&mut self.buffer).await?,
        };
        if count == 0 { Err(Closed) } else { Ok(()) }
    }
}
