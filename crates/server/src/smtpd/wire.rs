//! Lines and octets of a connection, within time, and the change to TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use smtp::Reply;
use smtp::limits::COMMAND_LINE_OCTETS;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::limits::Times;
use super::{End, reply};

/// Octets that are read at a time of a TLS connection: a record at its longest (RFC 8446 §5.2) and something of the next. TLS itself
/// would ask the system for 4 KiB at a time.
const TLS_OCTETS: usize = 20 * 1024;
/// Octets that are read at a time.
const READ_OCTETS: usize = 16 * 1024;
/// Replies are handed to the system when they are so many octets, or when there is nothing more to read.
const WRITE_OCTETS: usize = 16 * 1024;
/// How long a connection that ends waits for the client to have read the last reply, and what it reads meanwhile.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 256 * 1024);

/// A connection, with what was read and not used yet, and what was said and not sent yet.
pub(super) struct Wire {
    stream: Stream,
    input: BytesMut,
    output: Vec<u8>,
    stop: watch::Receiver<bool>,
    times: Times,
    /// When the next command must have come.
    pub(super) deadline: Instant,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<BufReader<TcpStream>>>),
    /// Between the two, and after a handshake that failed: nobody can speak on it.
    Gone,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, times: Times, stop: watch::Receiver<bool>) -> Wire {
        let deadline = Instant::now() + times.connection;
        Wire { stream: Stream::Plain(stream), input: BytesMut::new(), output: Vec::new(), stop, times, deadline }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Makes the connection a TLS one. Whatever the client said in the clear must have been used or forgotten.
    pub(super) async fn start_tls(&mut self, config: Arc<ServerConfig>) -> Result<(), End> {
        self.flush().await?;
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(io::Error::other("TLS within TLS").into());
        };
        let handshake = timeout(
            self.times.handshake,
            TlsAcceptor::from(config).accept(BufReader::with_capacity(TLS_OCTETS, stream)),
        );
        self.stream = Stream::Tls(Box::new(handshake.await.map_err(|_| End::TimedOut)??));
        Ok(())
    }

    /// Octets that were read and not used.
    pub(super) fn input(&self) -> &[u8] {
        &self.input
    }

    /// Takes so many of them away.
    pub(super) fn consume(&mut self, octets: usize) {
        self.input.advance(octets);
    }

    /// The next command line, without its CRLF. `can_stop`: a stop of the server ends the wait.
    pub(super) async fn line(&mut self, can_stop: bool) -> Result<Vec<u8>, End> {
        loop {
            let end = self.input.iter().position(|b| *b == b'\n');
            if end.unwrap_or(self.input.len()) >= COMMAND_LINE_OCTETS {
                return Err(self.refuse(&reply(500, 5, 2, "Line too long")));
            }
            if let Some(end) = end {
                let line = self.input.split_to(end + 1);
                let Some(line) = line.strip_suffix(b"\r\n") else {
                    return Err(self.refuse(&reply(500, 5, 2, "Lines end in CR and LF")));
                };
                return Ok(line.to_vec());
            }
            let limit = Instant::now() + self.times.command;
            self.fill(limit.min(self.deadline), can_stop).await?;
        }
    }

    /// Reads more octets of a message.
    pub(super) async fn more(&mut self, deadline: Instant) -> Result<(), End> {
        let limit = Instant::now() + self.times.block;
        self.fill(limit.min(deadline), false).await
    }

    async fn fill(&mut self, limit: Instant, can_stop: bool) -> Result<(), End> {
        self.flush().await?;
        // A read that need not wait is done before its time is looked at, so who always has more to say would never be late.
        if limit <= Instant::now() {
            return Err(End::TimedOut);
        }
        self.input.reserve(READ_OCTETS);
        let (stream, input) = (&mut self.stream, &mut self.input);
        let read = async {
            match stream {
                Stream::Plain(stream) => stream.read_buf(input).await,
                Stream::Tls(stream) => stream.read_buf(input).await,
                Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        let read = tokio::select! {
            read = timeout_at(limit, read) => read.map_err(|_| End::TimedOut)??,
            _ = self.stop.wait_for(|stopping| *stopping), if can_stop => return Err(End::Stopping),
        };
        if read == 0 { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) } else { Ok(()) }
    }

    /// Says something, once there is nothing more to read: replies to pipelined commands go together (RFC 2920 §3.2).
    pub(super) async fn say(&mut self, reply: &Reply) -> Result<(), End> {
        self.output.extend_from_slice(reply.to_wire().as_bytes());
        if self.output.len() > WRITE_OCTETS { self.flush().await } else { Ok(()) }
    }

    /// Says something that nothing can follow.
    pub(super) fn refuse(&mut self, reply: &Reply) -> End {
        self.output.extend_from_slice(reply.to_wire().as_bytes());
        End::Told
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let (stream, output) = (&mut self.stream, &self.output);
        let write = async {
            match stream {
                Stream::Plain(stream) => stream.write_all(output).await,
                Stream::Tls(stream) => {
                    stream.write_all(output).await?;
                    stream.flush().await
                }
                Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        timeout(self.times.unread, write).await.map_err(|_| End::TimedOut)??;
        self.output.clear();
        Ok(())
    }

    /// Ends the connection so that the last reply is read: a socket that is closed with octets unread takes back what it
    /// said.
    pub(super) async fn close(mut self) {
        if self.flush().await.is_err() {
            return;
        }
        let goodbye = async {
            match &mut self.stream {
                Stream::Plain(stream) => stream.shutdown().await,
                Stream::Tls(stream) => stream.shutdown().await,
                Stream::Gone => Ok(()),
            }
        };
        if !matches!(timeout(LINGER.0, goodbye).await, Ok(Ok(()))) {
            return;
        }
        let mut scratch = [0; 4096];
        let linger = async {
            let mut seen = 0;
            while seen < LINGER.1 {
                match &mut self.stream {
                    Stream::Plain(stream) => seen += some(stream.read(&mut scratch).await?)?,
                    Stream::Tls(stream) => seen += some(stream.get_mut().0.read(&mut scratch).await?)?,
                    Stream::Gone => break,
                }
            }
            io::Result::Ok(())
        };
        let _ = timeout(LINGER.0, linger).await;
    }
}

/// The end of the stream as an error, so that a loop ends with it.
fn some(octets: usize) -> io::Result<usize> {
    if octets == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(octets) }
}
