//! What `script/bench` measures with. A sender and a receiver that cost far less than any mail server between them, so that
//! the figures are the server's; a DNS authority that answers any name; and the eyes on the server's processes.
#![forbid(unsafe_code)]

pub mod dns;
pub mod load;
pub mod sink;
pub mod tally;
pub mod tls;
pub mod watch;
