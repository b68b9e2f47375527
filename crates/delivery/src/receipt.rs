//! Receipts: a connection carries no second message before what became of the first is recorded.
//!
//! A crash forgets what was taken and not recorded, so it is sent again. Waiting for the record between two messages would
//! leave a connection idle for each; sending on without it would repeat all that it carried meanwhile. With a
//! [`Receipt`] the next transaction is said at once, up to its `354`, and only its content waits: a crash repeats at
//! most one message per connection.

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// What a host took, until its outcome is recorded. Dropped instead of settled, the connection is given up before it
/// carries any other content.
#[derive(Debug)]
#[must_use = "a receipt that is not settled ends its connection"]
pub struct Receipt(oneshot::Sender<()>);

impl Receipt {
    /// The outcome is recorded: it outlives a crash.
    pub fn settle(self) {
        // A connection that is gone waits for nothing.
        let _ = self.0.send(());
    }
}

/// The connection's half: whether what it carried last is recorded.
#[derive(Debug, Default)]
pub(crate) enum Owed {
    /// It is, or there was nothing.
    #[default]
    Nothing,
    /// The receipt is out.
    Out(oneshot::Receiver<()>),
    /// It was dropped: nobody will ever say.
    Dropped,
}

impl Owed {
    /// A receipt for what a connection carried just now, and what is owed for it.
    pub(crate) fn new() -> (Receipt, Owed) {
        let (receipt, owed) = oneshot::channel();
        (Receipt(receipt), Owed::Out(owed))
    }

    /// What is owed at this moment.
    pub(crate) fn now(&mut self) -> &Owed {
        if let Owed::Out(receipt) = self {
            match receipt.try_recv() {
                Ok(()) => *self = Owed::Nothing,
                Err(TryRecvError::Closed) => *self = Owed::Dropped,
                Err(TryRecvError::Empty) => {}
            }
        }
        self
    }

    /// Waits while the receipt is out. `false`: it was dropped.
    pub(crate) async fn is_settled(&mut self) -> bool {
        if let Owed::Out(receipt) = self {
            *self = if receipt.await.is_ok() { Owed::Nothing } else { Owed::Dropped };
        }
        matches!(self, Owed::Nothing)
    }
}
