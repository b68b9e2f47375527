//! Every limit of the protocol that a stranger could otherwise stretch, and every timeout, with its source.

use std::time::Duration;

/// Longest local-part accepted, in octets (RFC 5321 §4.5.3.1.1).
pub const LOCAL_PART_OCTETS: usize = 64;
/// Longest domain accepted, in octets (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_OCTETS: usize = 255;
/// Longest path accepted, in octets, punctuation included (RFC 5321 §4.5.3.1.3).
pub const PATH_OCTETS: usize = 256;
/// Longest reply line read, in octets. RFC 5321 §4.5.3.1.5 allows 512; real hosts exceed it.
pub const REPLY_LINE_OCTETS: usize = 4096;
/// Most lines read of one reply. A longer reply ends the connection.
pub const REPLY_LINES: usize = 128;
/// Most octets read of one reply, all its lines together. It is kept with every recipient that it concerns.
pub const REPLY_OCTETS: usize = 16 * 1024;
/// Longest command line received, in octets, CRLF included. RFC 5321 §4.5.3.1.4 has 512, and the extensions add to that;
/// RFC 4954 §4 has 12,288 for mechanisms with tickets, which we do not speak.
pub const COMMAND_LINE_OCTETS: usize = 4096;
/// Longest line of message content sent, in octets, without CRLF (RFC 5321 §4.5.3.1.6).
pub const TEXT_LINE_OCTETS: usize = 998;
/// Most recipients sent in one transaction (RFC 5321 §4.5.3.1.8: every host takes at least 100).
pub const RECIPIENTS_PER_TRANSACTION: usize = 100;

/// Most MX hosts tried in one attempt. Postfix tries as few as five addresses; some domains list dozens of hosts.
pub const MX_HOSTS: usize = 10;
/// Most addresses tried in one attempt, all hosts together.
pub const ADDRESSES_PER_ATTEMPT: usize = 10;
/// Most addresses considered for one host.
pub const ADDRESSES_PER_HOST: usize = 8;

/// Until a TCP connection stands.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Until the `220` greeting is complete (RFC 5321 §4.5.3.2.1).
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Until EHLO, HELO, STARTTLS, AUTH or RSET is answered (RFC 5321 §4.5.3.2.2, taken as for MAIL).
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Until the TLS handshake is complete.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// Until MAIL is answered (RFC 5321 §4.5.3.2.2).
pub const MAIL_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Until RCPT is answered (RFC 5321 §4.5.3.2.3).
pub const RCPT_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Until DATA is answered by `354` (RFC 5321 §4.5.3.2.4).
pub const DATA_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// Until a block of content is taken by the peer (RFC 5321 §4.5.3.2.5).
pub const DATA_BLOCK_TIMEOUT: Duration = Duration::from_secs(3 * 60);
/// Until the final dot is answered (RFC 5321 §4.5.3.2.6).
pub const DATA_TERMINATION_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Until QUIT is answered. Nothing depends on that answer, so we do not wait long for it.
pub const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest attempt, all hosts together. A lease on the recipients must last longer.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
