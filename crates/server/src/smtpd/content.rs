//! Messages as they come in: by DATA (RFC 5321 §4.1.1.4) and in chunks by BDAT (RFC 3030), within a share of memory.

use std::sync::Arc;

use smtp::Reply;
use smtp::receive::{DataReceiver, has_bare_line_end};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::limits::{CHUNKS, MEMORY_COPIES, MEMORY_OCTETS, MEMORY_WAIT, SWALLOW_OCTETS};
use super::session::Session;
use super::{End, Handler, out_of_order, reply};

/// Memory is shared out in units of so many octets.
const UNIT: usize = 64 * 1024;

/// The memory of a service, shared out among the messages that it receives.
#[derive(Debug, Clone)]
pub(crate) struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Memory {
        Memory::of(MEMORY_OCTETS)
    }
}

impl Memory {
    pub(super) fn of(octets: usize) -> Memory {
        Memory(Arc::new(Semaphore::new(octets / UNIT)))
    }

    fn share(&self) -> Share {
        Share { memory: self.0.clone(), held: None }
    }
}

/// What a message holds of it. It grows with what has come, so that clients who send nothing keep nobody waiting.
#[derive(Debug)]
struct Share {
    memory: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Waits a while for room for so many octets, and says whether there is.
    async fn grow_to(&mut self, octets: usize) -> bool {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = (octets * MEMORY_COPIES).div_ceil(UNIT).saturating_sub(held);
        if missing == 0 {
            return true;
        }
        let more = self.memory.clone().acquire_many_owned(u32::try_from(missing).unwrap_or(u32::MAX));
        let Ok(Ok(more)) = timeout(MEMORY_WAIT, more).await else { return false };
        match &mut self.held {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        true
    }
}

/// What came by BDAT so far.
pub(super) struct Chunks {
    content: Vec<u8>,
    share: Share,
    /// Why the message is refused already.
    refused: Option<Reply>,
    count: u32,
}

fn too_large() -> Reply {
    reply(552, 3, 4, "The message is too large")
}

fn no_memory() -> Reply {
    reply(452, 3, 1, "No room for the message now, try again later")
}

fn bare_line_end() -> Reply {
    reply(550, 6, 0, "The message has a CR or LF on its own; lines end in CR and LF together")
}

impl<H: Handler> Session<H> {
    /// DATA, to the reply that follows the final dot.
    pub(super) async fn data(&mut self) -> Result<Reply, End> {
        if self.chunks.is_some() {
            return Ok(out_of_order("The message began by BDAT"));
        }
        let Some(transaction) = self.transaction.take_if(|transaction| !transaction.recipients.is_empty()) else {
            return Ok(out_of_order("DATA follows MAIL and a RCPT that was taken"));
        };
        self.wire.say(&Reply::new(354, ["Send the message, end it with CRLF.CRLF"])).await?;
        let mut share = self.memory.share();
        match self.receive_data(&mut share).await? {
            Ok(content) => Ok(self.deliver(transaction, content).await),
            Err(refused) => Ok(refused),
        }
    }

    /// The message, or why it is refused; either way its end was found.
    async fn receive_data(&mut self, share: &mut Share) -> Result<Result<Vec<u8>, Reply>, End> {
        let deadline = Instant::now() + self.terms.times.message;
        let most = self.terms.message_octets;
        let mut receiver = DataReceiver::default();
        let (mut refused, mut seen) = (None, 0u64);
        loop {
            if self.wire.input().is_empty() {
                self.wire.more(deadline).await?;
            }
            let octets = self.wire.input().len();
            if refused.is_none() {
                let needed = receiver.octets() + octets;
                // The last part may hold more than the message, whose own size is looked at below.
                if receiver.octets() > most {
                    refused = Some(too_large());
                } else if !share.grow_to(needed).await {
                    refused = Some(no_memory());
                }
                if refused.is_some() {
                    receiver.discard();
                    share.held = None;
                }
            }
            let end = receiver.push(self.wire.input());
            self.wire.consume(end.unwrap_or(octets));
            if end.is_some() {
                break;
            }
            seen += octets as u64;
            if seen > most as u64 + SWALLOW_OCTETS {
                return Err(self.wire.refuse(&too_large()));
            }
        }
        if receiver.has_bare_line_end() {
            return Ok(Err(bare_line_end()));
        }
        match refused {
            Some(refused) => Ok(Err(refused)),
            None if receiver.octets() > most => Ok(Err(too_large())),
            None => Ok(Ok(receiver.into_content())),
        }
    }

    /// One chunk. Its octets are read whether it is taken or not: they are no commands.
    pub(super) async fn bdat(&mut self, octets: u64, last: bool) -> Result<Reply, End> {
        let is_in_order = self.transaction.as_ref().is_some_and(|transaction| !transaction.recipients.is_empty());
        if octets > self.terms.message_octets as u64 + SWALLOW_OCTETS {
            return Err(self.wire.refuse(&too_large()));
        }
        if !is_in_order && !self.may_send() {
            return Err(self.wire.refuse(&reply(530, 7, 0, "Authentication required")));
        }
        if !is_in_order {
            self.swallow(octets).await?;
            return Ok(out_of_order("BDAT follows MAIL and a RCPT that was taken"));
        }
        let mut chunks = self.chunks.take().unwrap_or_else(|| Chunks {
            content: Vec::new(),
            share: self.memory.share(),
            refused: None,
            count: 0,
        });
        chunks.count += 1;
        if chunks.count > CHUNKS {
            return Err(self.wire.refuse(&reply(421, 7, 0, "Too many chunks")));
        }
        self.receive_chunk(&mut chunks, octets).await?;
        if let Some(refused) = &chunks.refused {
            let refused = refused.clone();
            match last {
                true => self.transaction = None,
                false => self.chunks = Some(chunks),
            }
            return Ok(refused);
        }
        if !last {
            self.chunks = Some(chunks);
            return Ok(reply(250, 0, 0, &format!("{octets} octets received")));
        }
        let Some(transaction) = self.transaction.take() else { return Ok(out_of_order("BDAT follows MAIL")) };
        if has_bare_line_end(&chunks.content) {
            return Ok(bare_line_end());
        }
        let Chunks { content, share, .. } = chunks;
        let answer = self.deliver(transaction, content).await;
        drop(share);
        Ok(answer)
    }

    async fn receive_chunk(&mut self, chunks: &mut Chunks, octets: u64) -> Result<(), End> {
        if chunks.refused.is_none() && chunks.content.len() as u64 + octets > self.terms.message_octets as u64 {
            chunks.refuse(too_large());
        }
        let deadline = Instant::now() + self.terms.times.message;
        let mut missing = octets;
        while missing > 0 && chunks.refused.is_none() {
            if self.wire.input().is_empty() {
                self.wire.more(deadline).await?;
            }
            let part = usize::try_from(missing).unwrap_or(usize::MAX).min(self.wire.input().len());
            if !chunks.share.grow_to(chunks.content.len() + part).await {
                chunks.refuse(no_memory());
                break;
            }
            chunks.content.extend_from_slice(&self.wire.input()[..part]);
            self.wire.consume(part);
            missing -= part as u64;
        }
        self.swallow(missing).await
    }

    /// Reads octets that nobody wants.
    async fn swallow(&mut self, octets: u64) -> Result<(), End> {
        let deadline = Instant::now() + self.terms.times.message;
        let mut missing = octets;
        while missing > 0 {
            if self.wire.input().is_empty() {
                self.wire.more(deadline).await?;
            }
            let part = usize::try_from(missing).unwrap_or(usize::MAX).min(self.wire.input().len());
            self.wire.consume(part);
            missing -= part as u64;
        }
        Ok(())
    }
}

impl Chunks {
    fn refuse(&mut self, why: Reply) {
        self.refused = Some(why);
        self.content = Vec::new();
        self.share.held = None;
    }
}
