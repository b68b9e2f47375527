//! What says which delivery a report is about: the return path, `bounce+<token>@bounces.<sending domain>`, and a token in
//! the header, where feedback reports have it (RFC 9477).
//!
//! The token names a recipient of the transaction and carries an HMAC over that and the domain, so that nobody reports a
//! bounce of mail that was never sent to them. It is written in lower-case digits, since some servers fold local parts.

use std::fmt::Write;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use smtp::{Address, Domain};
use store::{Job, RecipientId, Store, StoreError};

use crate::sending_dns::SendingDns;

/// The label below a sending domain whose mail comes here.
const LABEL: &str = "bounces";
/// The local part of the address that messages ask feedback reports to be sent to.
pub(super) const FEEDBACK: &str = "fbl";
/// What local parts begin with.
const PREFIX: &str = "bounce+";
/// Octets that a token says.
const SAID: usize = 12;
/// Octets of HMAC behind them. Whoever guesses needs a connection for every few guesses.
const PROOF: usize = 12;
const _: () = assert!(PREFIX.len() + 2 * (SAID + PROOF) <= 64, "RFC 5321 §4.5.3.1.1");
/// Stands for the host in tokens that travel in the header. No host is written so.
const IN_HEADER: &str = "header:";
/// Set in the number of a recipient that was alone.
const ALONE: u64 = 1 << 63;

/// The host of a sending domain's return paths; `None` when its name would be too long.
pub(crate) fn host_of(domain: &Domain) -> Option<Domain> {
    format!("{LABEL}.{domain}").parse().ok()
}

/// The sending domain whose return paths such a host has.
pub(super) fn sending_domain_of(host: &Domain) -> Option<Domain> {
    host.as_str().strip_prefix(LABEL)?.strip_prefix('.')?.parse().ok()
}

/// Which delivery a return path is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    /// The first recipient of its transaction.
    pub(super) first: RecipientId,
    /// Whether it was the only one.
    pub(super) alone: bool,
    /// When the message was accepted, in whole seconds.
    pub(super) accepted_at: i64,
}

/// What goes out with a delivery, so that reports about it find their way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WayBack {
    /// For failures.
    pub(crate) return_path: Address,
    /// Where complaints go.
    feedback_address: Address,
    /// What they have to say.
    feedback_id: String,
}

impl WayBack {
    /// The fields for the header of a message that ask for feedback reports; `None` when it has its own.
    pub(crate) fn feedback_request(&self, content: &[u8]) -> Option<String> {
        message::feedback::request(content, &self.feedback_address, &self.feedback_id)
    }
}

/// Makes return paths, and knows them again.
pub(crate) struct ReturnPaths {
    key: Key,
    dns: SendingDns,
}

impl std::fmt::Debug for ReturnPaths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReturnPaths")
    }
}

impl ReturnPaths {
    /// With the secret of this installation.
    pub(crate) async fn new(store: &Store, dns: SendingDns) -> Result<ReturnPaths, StoreError> {
        Ok(ReturnPaths { key: Key::new(HMAC_SHA256, &store.secret("return path").await?), dns })
    }

    /// The way back of a job; `None` when reports would not find their way here.
    pub(crate) async fn of(&self, store: &Store, job: &Job) -> Result<Option<WayBack>, StoreError> {
        let Some(host) = self.dns.bounce_host_in_force(store, &job.domain).await? else { return Ok(None) };
        let [first, others @ ..] = &job.recipients[..] else { return Ok(None) };
        let accepted_at = job.accepted_at.as_micros() / 1_000_000;
        let delivery = Delivery { first: first.id, alone: others.is_empty(), accepted_at };
        let return_path = format!("{PREFIX}{}@{host}", self.token(host.as_str(), delivery)).parse();
        let feedback_address = format!("{FEEDBACK}@{host}").parse();
        let (Ok(return_path), Ok(feedback_address)) = (return_path, feedback_address) else { return Ok(None) };
        Ok(Some(WayBack { return_path, feedback_address, feedback_id: self.token(IN_HEADER, delivery) }))
    }

    /// The delivery that an address stands for, if we made it.
    pub(super) fn read(&self, address: &Address) -> Option<Delivery> {
        let (prefix, token) = address.local_part().split_at_checked(PREFIX.len())?;
        let token = prefix.eq_ignore_ascii_case(PREFIX).then_some(token)?;
        self.delivery(address.domain().as_str(), token)
    }

    /// The delivery that an id in a feedback report stands for, if we made it.
    pub(super) fn read_feedback_id(&self, id: &str) -> Option<Delivery> {
        self.delivery(IN_HEADER, id)
    }

    fn delivery(&self, place: &str, token: &str) -> Option<Delivery> {
        let octets = unhex(token)?;
        let (said, proof) = octets.split_at(SAID);
        verify_slices_are_equal(&self.proof(place, said), proof).ok()?;
        let number = u64::from_be_bytes(said[..8].try_into().ok()?);
        let accepted_at = u32::from_be_bytes(said[8..].try_into().ok()?);
        let first = RecipientId::of_number(i64::try_from(number & !ALONE).ok()?);
        Some(Delivery { first, alone: number & ALONE != 0, accepted_at: accepted_at.into() })
    }

    fn token(&self, place: &str, delivery: Delivery) -> String {
        let alone = if delivery.alone { ALONE } else { 0 };
        let number = delivery.first.number().unsigned_abs() | alone;
        // Unsigned, 32 bits last until 2106.
        let mut octets = number.to_be_bytes().to_vec();
        octets.extend_from_slice(&(delivery.accepted_at as u32).to_be_bytes());
        octets.extend_from_slice(&self.proof(place, &octets));
        octets.iter().fold(String::new(), |mut text, octet| {
            let _ = write!(text, "{octet:02x}");
            text
        })
    }

    /// The place is the host of a return path, in lower case as domains are kept, or [`IN_HEADER`].
    fn proof(&self, place: &str, said: &[u8]) -> [u8; PROOF] {
        let tag = sign(&self.key, &[said, place.as_bytes()].concat());
        let mut proof = [0; PROOF];
        proof.copy_from_slice(&tag.as_ref()[..PROOF]);
        proof
    }
}

/// The octets of a token, if it is one by its form.
fn unhex(token: &str) -> Option<Vec<u8>> {
    if token.len() != 2 * (SAID + PROOF) || !token.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..token.len()).step_by(2).map(|at| u8::from_str_radix(&token[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use delivery::resolve::Dns;

    use super::*;
    use crate::config::Config;

    fn paths(secret: [u8; 32]) -> ReturnPaths {
        let dns = SendingDns::of(&Config::default(), Dns::new(None));
        ReturnPaths { key: Key::new(HMAC_SHA256, &secret), dns }
    }

    #[tokio::test]
    async fn only_what_was_made_here_is_known_again() {
        let ours = paths([1; 32]);
        let host: Domain = "bounces.sender.example".parse().unwrap();
        for (number, alone) in [(1, true), (1, false), (i64::MAX, true), (4711, false)] {
            let delivery = Delivery { first: RecipientId::of_number(number), alone, accepted_at: 1_795_000_000 };
            let token = ours.token(host.as_str(), delivery);
            let in_header = ours.token(IN_HEADER, delivery);
            assert_eq!(ours.read_feedback_id(&in_header), Some(delivery));
            assert_eq!(ours.read_feedback_id(&in_header.to_uppercase()), Some(delivery));
            assert_eq!(paths([2; 32]).read_feedback_id(&in_header), None);
            for other in [&*token, "", "0a", &in_header[2..], &"é".repeat(24)] {
                assert_eq!(ours.read_feedback_id(other), None, "{other}");
            }
            let address = |text: String| text.parse::<Address>().unwrap();
            assert_eq!(ours.read(&address(format!("bounce+{token}@{host}"))), Some(delivery));
            assert_eq!(
                ours.read(&address(format!("BOUNCE+{}@Bounces.Sender.EXAMPLE", token.to_uppercase()))),
                Some(delivery)
            );
            let forged = |at: usize| {
                let digit = if token.as_bytes()[at] == b'0' { "1" } else { "0" };
                format!("bounce+{}{digit}{}@{host}", &token[..at], &token[at + 1..])
            };
            let others = (0..token.len()).map(forged).chain([
                format!("bounce+{token}@bounces.other.example"),
                format!("bounce+{token}@sender.example"),
                format!("bounce+{in_header}@{host}"),
                format!("bounce+{token}0@{host}"),
                format!("bounce+{}@{host}", &token[2..]),
                format!("bounce-{token}@{host}"),
                format!("bounce+@{host}"),
                format!("bounceé{token}@{host}"),
                format!("postmaster@{host}"),
            ]);
            for other in others {
                assert_eq!(ours.read(&address(other.clone())), None, "{other}");
            }
            assert_eq!(paths([2; 32]).read(&address(format!("bounce+{token}@{host}"))), None);
        }
    }
}
