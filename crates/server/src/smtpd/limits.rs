//! Every limit of the SMTP side that a stranger could otherwise stretch, with its source. Those of the grammar are in
//! [`smtp::limits`].

use std::time::Duration;

/// Connections at the same time, all of a service's listeners together.
pub(crate) const CONNECTIONS: usize = 1000;
/// Of these, from one address; of IPv6 one /64. An application with a pool of its own stays far below.
pub(crate) const CONNECTIONS_PER_ADDRESS: usize = 100;
/// Connections before their login, from one network: of IPv4 a /24, of IPv6 a /48. Whoever holds a few addresses leaves room for
/// others.
pub(crate) const CONNECTIONS_BEFORE_LOGIN: usize = 50;
/// Octets of messages that are in memory at the same time while they are received and worked on.
pub(crate) const MEMORY_OCTETS: usize = 512 * 1024 * 1024;
/// How often a message is in memory at the same time while it is worked on: as it came, in normal form, and in wire form, with
/// room to grow. It is counted so often.
pub(crate) const MEMORY_COPIES: usize = 4;
/// Longest wait for a share of that memory; then the message is refused for now.
pub(crate) const MEMORY_WAIT: Duration = Duration::from_secs(10);
/// Octets that are read beyond the size limit, only to find the end of a message that is refused. Then the connection ends.
pub(crate) const SWALLOW_OCTETS: u64 = 64 * 1024 * 1024;

/// Commands between two messages that lead to none: RSET, NOOP, EHLO, a MAIL that is taken back.
pub(crate) const IDLE_COMMANDS: u32 = 200;
/// Commands that were refused for good, recipients aside.
pub(crate) const FAULTS: u32 = 20;
/// RCPT commands in a transaction, refused ones too, for each recipient that is taken at most.
pub(crate) const RCPT_PER_RECIPIENT: usize = 4;
/// Trace fields of a message that has been going round in circles (RFC 5321 §6.3).
pub(crate) const HOPS: usize = 100;
/// BDAT commands of one message.
pub(crate) const CHUNKS: u32 = 10_000;
/// Messages on one connection.
pub(crate) const MESSAGES: u32 = 10_000;
/// Wrong passwords on one connection.
pub(crate) const WRONG_PASSWORDS: u32 = 3;
/// Longest response within AUTH, in octets of base64: a login and a password at their longest, twice over.
pub(crate) const AUTH_OCTETS: usize = 2048;

/// Times that a client may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// For a TLS handshake.
    pub(crate) handshake: Duration,
    /// From the connection to the login, where one is wanted.
    pub(crate) until_login: Duration,
    /// For the next command (RFC 5321 §4.5.3.2.7).
    pub(crate) command: Duration,
    /// For the next octets of a message (RFC 5321 §4.5.3.2.5 gives the client's side three minutes a block).
    pub(crate) block: Duration,
    /// For a whole message: the longest one at 20 kilobytes a second.
    pub(crate) message: Duration,
    /// For the whole connection; a message under way is finished.
    pub(crate) connection: Duration,
    /// To take what we said.
    pub(crate) unread: Duration,
}

impl Default for Times {
    fn default() -> Times {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Times {
            handshake: minutes(1),
            until_login: minutes(2),
            command: minutes(5),
            block: minutes(3),
            message: minutes(20),
            connection: minutes(60),
            unread: minutes(1),
        }
    }
}
