//! What has arrived at a receiver, and how the sender asks for it.
//!
//! Recipients are numbered: `n17@…` is the 17th of a run. So a delivery is known from its RCPT command, nothing is looked for
//! in the content, and one bit per recipient tells a second delivery from a first.

use std::{io, time::SystemTime};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Numbers from here on are counted as deliveries and not told apart.
const MOST_NUMBERS: usize = 1 << 28;

/// Arrivals are kept by the tenth of a second; after an hour they all count for the last one.
const SLICE: f64 = 0.1;
const MOST_SLICES: usize = 36_000;

/// What one listener received since the last reset.
#[derive(Default)]
pub struct Tally {
    deliveries: u64,
    distinct: u64,
    transactions: u64,
    octets: u64,
    first: f64,
    last: f64,
    slices: Vec<u32>,
    seen: Vec<u64>,
    /// Connections, of these with TLS, of these resumed.
    pub connections: u64,
    /// Handshakes that came to an end, in full.
    pub full_handshakes: u64,
    /// Handshakes that took up an earlier session.
    pub resumed_handshakes: u64,
}

impl Tally {
    /// A message arrived for these recipients; `None` is one without a number.
    pub fn arrived(&mut self, recipients: &[Option<usize>], octets: usize) {
        self.last = now();
        if self.transactions == 0 {
            self.first = self.last;
        }
        let slice = (((self.last - self.first) / SLICE) as usize).min(MOST_SLICES - 1);
        if self.slices.len() <= slice {
            self.slices.resize(slice + 1, 0);
        }
        self.slices[slice] += recipients.len() as u32;
        self.transactions += 1;
        self.octets += octets as u64;
        for number in recipients {
            self.deliveries += 1;
            self.distinct += u64::from(number.is_none_or(|number| self.is_new(number)));
        }
    }

    fn is_new(&mut self, number: usize) -> bool {
        if number >= MOST_NUMBERS {
            return true;
        }
        let (word, bit) = (number / 64, 1 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        new
    }

    /// The figures, times in seconds since 1970; with `slices` also `arrivals` by the tenth of a second since `first`.
    pub fn figures(&self, slices: bool) -> Value {
        let mut figures = json!({
            "deliveries": self.deliveries, "distinct": self.distinct, "transactions": self.transactions,
            "octets": self.octets, "first": self.first, "last": self.last, "connections": self.connections,
            "full_handshakes": self.full_handshakes, "resumed_handshakes": self.resumed_handshakes,
        });
        if slices {
            figures["arrivals"] = json!(self.slices);
        }
        figures
    }
}

/// The number in a recipient's address, `n17@…`.
pub fn number(address: &[u8]) -> Option<usize> {
    let digits = address.strip_prefix(b"n")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    (digits[end] == b'@').then(|| std::str::from_utf8(&digits[..end]).ok()?.parse().ok())?
}

/// Seconds since 1970: the sender's and the receiver's clock are one.
pub fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Asks a sink, in a connection of its own.
pub async fn ask(control: &str, question: &str) -> io::Result<Value> {
    let mut stream = TcpStream::connect(control).await?;
    stream.write_all(format!("{question}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    serde_json::from_str(&answer).map_err(|error| io::Error::other(format!("the sink said {answer:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_delivery_is_told_from_a_first() {
        let mut tally = Tally::default();
        tally.arrived(&[Some(3), Some(64)], 10);
        tally.arrived(&[Some(3), None], 10);
        let figures = tally.figures(false);
        assert_eq!((&figures["deliveries"], &figures["distinct"]), (&json!(4), &json!(3)));
        assert_eq!((&figures["transactions"], &figures["octets"]), (&json!(2), &json!(20)));
    }

    #[test]
    fn numbers_are_read_from_addresses() {
        for (address, expected) in
            [("n17@a.test", Some(17)), ("n0@a", Some(0)), ("n@a", None), ("n1x@a", None), ("m1@a", None), ("n5", None)]
        {
            assert_eq!(number(address.as_bytes()), expected, "{address}");
        }
    }
}
