//! A connection on which commands are said and replies are heard, each within its time.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use smtp::{Command, Reply, ReplyError, ReplyParser};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::Timeouts;
use crate::receipt::Owed;

/// Why no reply could be had. The connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum NoReply {
    /// Nothing, or not all of it, within the time.
    #[error("no answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// The attempt as a whole took too long.
    #[error("the attempt took too long")]
    OutOfTime,
    /// The host closed the connection.
    #[error("the host closed the connection")]
    Closed,
    /// The network failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A reply came before what it could answer was said: whose answer the next one is, nobody knows.
    #[error("the host answered what it had not been asked")]
    OutOfStep,
    /// What the connection carried before was never recorded, so it may not carry more ([`crate::Receipt`]).
    #[error("what an earlier delivery on the connection came to was not recorded")]
    Unrecorded,
    /// It takes longer than a host waits for content: the store is slow.
    #[error("this server could not record an earlier delivery in time")]
    NotRecordedYet,
    /// What came is no reply.
    #[error("{0}")]
    NotSmtp(#[from] ReplyError),
}

/// What a connection needs of its stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection, whatever lies beneath it.
pub(crate) type Session = Connection<Box<dyn Stream>>;

/// A stream, the replies that have not been read from it yet, and the limits of our patience.
pub(crate) struct Connection<S> {
    stream: S,
    replies: ReplyParser,
    /// What is read at once.
    buffer: Vec<u8>,
    /// How long to wait at each stage.
    pub(crate) timeouts: Timeouts,
    /// When the attempt ends, whatever stage it is in.
    pub(crate) deadline: Instant,
    /// When it was made.
    pub(crate) since: Instant,
    /// How many messages the host took on it.
    pub(crate) messages: usize,
    /// Whether the last of them is recorded.
    pub(crate) owed: Owed,
}

/// Hosts wait for content for minutes (RFC 5321 §4.5.3.2.5), busy ones for less.
const RECORDED_WITHIN: Duration = Duration::from_secs(60);
/// Most octets read at once: the replies to a transaction, or to EHLO.
const READ: usize = 2048;

impl<S: Stream> Connection<S> {
    pub(crate) fn new(stream: S, timeouts: Timeouts, deadline: Instant) -> Self {
        Connection {
            stream,
            replies: ReplyParser::default(),
            buffer: vec![0; READ],
            timeouts,
            deadline,
            since: Instant::now(),
            messages: 0,
            owed: Owed::Nothing,
        }
    }

    /// Says a command and waits for its reply.
    pub(crate) async fn command(&mut self, command: &Command<'_>, patience: Duration) -> Result<Reply, NoReply> {
        self.send(command.to_wire().as_bytes(), patience).await?;
        self.reply(patience).await
    }

    /// Writes all of `bytes` in as few segments as the stream takes them.
    ///
    /// Not after a reply that nobody asked for: the next one would be taken for the answer to this, and an early `250`
    /// for the one that takes responsibility.
    pub(crate) async fn send(&mut self, bytes: &[u8], patience: Duration) -> Result<(), NoReply> {
        /// The stretch of content that must be taken within one `patience` (RFC 5321 §4.5.3.2.5).
        const BLOCK: usize = 64 * 1024;
        if self.has_leftover() {
            return Err(NoReply::OutOfStep);
        }
        for block in bytes.chunks(BLOCK) {
            let stream = &mut self.stream;
            within(patience, self.deadline, async { Ok(stream.write_all(block).await?) }).await?;
        }
        let stream = &mut self.stream;
        within(patience, self.deadline, async { Ok(stream.flush().await?) }).await
    }

    /// The next reply, whole within `patience`, however slowly its bytes drip in.
    pub(crate) async fn reply(&mut self, patience: Duration) -> Result<Reply, NoReply> {
        let Connection { stream, replies, buffer, deadline, .. } = self;
        within(patience, *deadline, async {
            loop {
                if let Some(reply) = replies.next_reply()? {
                    return Ok(reply);
                }
                match stream.read(buffer).await? {
                    0 => return Err(NoReply::Closed),
                    read => replies.push(&buffer[..read]),
                }
            }
        })
        .await
    }

    /// Waits until what the connection carried before is recorded, as long as the host may be expected to wait for content.
    /// A host that hung up meanwhile, or said so, has not heard of this message.
    pub(crate) async fn recorded(&mut self) -> Result<(), NoReply> {
        if matches!(self.owed, Owed::Nothing) {
            return Ok(());
        }
        let until = self.deadline.min(Instant::now() + RECORDED_WITHIN);
        match timeout_at(until, self.owed.is_settled()).await {
            Ok(true) if self.is_quiet().await => Ok(()),
            Ok(true) => Err(NoReply::Closed),
            Ok(false) => Err(NoReply::Unrecorded),
            Err(_) => Err(NoReply::NotRecordedYet),
        }
    }

    /// Says QUIT and does not care what comes back: the farewell as a whole has one short time.
    pub(crate) async fn quit(mut self) {
        let patience = smtp::limits::QUIT_TIMEOUT;
        let farewell = async {
            if self.command(&Command::Quit, patience).await.is_ok() {
                let _ = self.stream.shutdown().await;
            }
        };
        let _ = timeout(patience, farewell).await;
    }

    /// Whether bytes have been read that belong to no reply we waited for.
    pub(crate) fn has_leftover(&self) -> bool {
        self.replies.has_leftover()
    }

    /// Whether the host has said nothing since its last reply, and has not hung up. What is still on its way is not
    /// seen.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        if self.has_leftover() {
            return false;
        }
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut stream = Pin::new(&mut self.stream);
        poll_fn(|context| Poll::Ready(stream.as_mut().poll_read(context, &mut buffer).is_pending())).await
    }

    /// The stream alone, for the handshake.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    /// Forgets what lies beneath.
    pub(crate) fn boxed(self) -> Session
    where
        S: 'static,
    {
        Connection {
            stream: Box::new(self.stream),
            replies: self.replies,
            buffer: self.buffer,
            timeouts: self.timeouts,
            deadline: self.deadline,
            since: self.since,
            messages: self.messages,
            owed: self.owed,
        }
    }
}

/// Runs `work` for at most `patience` and not beyond `deadline`.
pub(crate) async fn within<T>(
    patience: Duration,
    deadline: Instant,
    work: impl Future<Output = Result<T, NoReply>>,
) -> Result<T, NoReply> {
    let end = Instant::now() + patience;
    match timeout_at(end.min(deadline), work).await {
        Ok(result) => result,
        Err(_) if end <= deadline => Err(NoReply::TimedOut(patience)),
        Err(_) => Err(NoReply::OutOfTime),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Connection<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let deadline = Instant::now() + Duration::from_secs(3600);
        (Connection::new(ours, Timeouts::default(), deadline), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_drips_runs_out_of_time() {
        let (mut connection, mut host) = pair();
        let dripping = tokio::spawn(async move {
            for byte in b"250-a\r\n".repeat(100) {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if host.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
            host
        });
        let error = connection.reply(Duration::from_secs(30)).await.unwrap_err();
        assert!(matches!(error, NoReply::TimedOut(_)), "{error}");
        dripping.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_every_wait() {
        let (mut connection, _host) = pair();
        connection.deadline = Instant::now() + Duration::from_secs(5);
        let error = connection.reply(Duration::from_secs(300)).await.unwrap_err();
        assert!(matches!(error, NoReply::OutOfTime), "{error}");
    }

    #[tokio::test]
    async fn nothing_is_said_to_a_host_out_of_step() {
        let (mut connection, mut host) = pair();
        host.write_all(b"220 one\r\n220 two\r\n").await.unwrap();
        let patience = Duration::from_secs(5);
        assert_eq!(connection.reply(patience).await.unwrap().code(), 220);
        let error = connection.command(&Command::StartTls, patience).await.unwrap_err();
        assert!(matches!(error, NoReply::OutOfStep), "{error}");
        drop(connection);
        let mut said = Vec::new();
        host.read_to_end(&mut said).await.unwrap();
        assert!(said.is_empty());
    }

    #[tokio::test]
    async fn a_closed_connection_is_no_reply() {
        let (mut connection, mut host) = pair();
        host.write_all(b"250-half").await.unwrap();
        drop(host);
        let error = connection.reply(Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, NoReply::Closed), "{error}");
    }
}
