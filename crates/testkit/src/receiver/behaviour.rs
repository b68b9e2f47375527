//! What a receiver does, as a value: the default is a well-behaved server, a test overrides what it is about.

use std::{collections::BTreeMap, time::Duration};

use rustls::pki_types::CertificateDer;

use crate::ca::Identity;

/// How a receiver behaves. `Behaviour::default()` is the happy path: STARTTLS with TLS 1.2 and 1.3, PIPELINING,
/// SIZE 50 MB, 8BITMIME, SMTPUTF8, ENHANCEDSTATUSCODES, every recipient known, every message taken.
///
/// An `Option<Answer>` that is `None` stands for the usual positive answer. An answer with code 421 also closes the
/// connection (RFC 5321 §3.8).
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The name in greeting and EHLO; `None` is the MX host's name in a [`crate::Lab`], else `localhost`.
    pub host_name: Option<String>,
    /// The certificate shown; `None` is a good one for the host name in a [`crate::Lab`], else a self-signed one.
    pub identity: Option<Identity>,
    /// What becomes of STARTTLS.
    pub tls: Tls,
    /// The first words.
    pub greeting: Option<Answer>,
    /// The answer to EHLO. A 5xx leaves HELO working; a 250 replaces the whole list of extensions.
    pub ehlo: Option<Answer>,
    /// The answer to HELO.
    pub helo: Option<Answer>,
    /// The answer to MAIL.
    pub mail: Option<Answer>,
    /// The answer to every RCPT that `recipients` does not name.
    pub rcpt: Option<Answer>,
    /// Answers to single recipients: the key is an address, or a local part alone for that one in every domain.
    pub recipients: BTreeMap<String, Answer>,
    /// The answer to DATA.
    pub data: Option<Answer>,
    /// The answer to the final dot.
    pub end_of_data: Option<Answer>,
    /// The answer to RSET.
    pub rset: Option<Answer>,
    /// Closes the connection without an answer when this stage is reached.
    pub drop_after: Option<Stage>,
    /// Waits before the answer of these stages.
    pub delays: BTreeMap<Stage, Duration>,
    /// Offers PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// Offers 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// Offers SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// Offers ENHANCEDSTATUSCODES (RFC 2034) and uses them in the usual answers.
    pub enhanced_status_codes: bool,
    /// The limit offered with SIZE (RFC 1870) and obeyed; `None` does not offer SIZE.
    pub size: Option<usize>,
    /// The recipients of one transaction beyond which RCPT gets 452 (RFC 5321 §4.5.3.1.10).
    pub max_recipients: usize,
    /// Demands AUTH PLAIN (RFC 4954) before MAIL.
    pub auth: Option<Auth>,
    /// Further lines of the EHLO answer; the keywords are also taken as parameters of MAIL, and with `DSN` those of RFC 3461.
    pub extensions: Vec<String>,
    /// Closes a connection on which nothing is said for so long.
    pub idle_timeout: Duration,
}

/// What becomes of STARTTLS (RFC 3207).
#[derive(Clone, Debug, Default)]
pub enum Tls {
    /// TLS 1.2 and 1.3.
    #[default]
    Good,
    /// EHLO does not name it.
    NotOffered,
    /// EHLO names it, the command gets this answer (454, 502 …).
    RefusedWith(Answer),
    /// The command gets 220, then no handshake comes about.
    Broken(Breakage),
    /// TLS 1.2 only.
    Tls12Only,
    /// TLS 1.3 only.
    Tls13Only,
    /// A reply in plaintext follows the 220 in the same packet, as an attacker on the path would inject it
    /// (CVE-2021-38371 and its kin); then TLS as usual.
    Injects,
    /// A good handshake, then EHLO and HELO get this answer; `None` closes instead.
    EhloFailsInside(Option<Answer>),
    /// Offers STARTTLS again inside TLS.
    ReadvertisesInside,
    /// Only peers with a certificate from this root may shake hands.
    RequiresClientCertificate(CertificateDer<'static>),
}

/// How a handshake breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// Text that is no TLS record.
    Garbage,
    /// The connection closes.
    Close,
    /// Nothing comes any more; the connection stays open until the client leaves.
    Stall,
    /// The alert of a server that only speaks a version that the client does not offer.
    ProtocolVersion,
}

/// Credentials that a receiver demands.
#[derive(Clone)]
pub struct Auth {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
    /// Offers AUTH in plaintext too, which a careful client does not use.
    pub in_plaintext: bool,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("user", &self.user)
            .field("in_plaintext", &self.in_plaintext)
            .finish_non_exhaustive()
    }
}

/// A moment of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The connection was accepted; the answer is the greeting.
    Connect,
    /// EHLO or HELO came.
    Ehlo,
    /// STARTTLS came.
    StartTls,
    /// 220 was answered to STARTTLS.
    Handshake,
    /// EHLO or HELO came inside TLS.
    EhloInside,
    /// AUTH came.
    Auth,
    /// MAIL came.
    Mail,
    /// RCPT came.
    Rcpt,
    /// DATA came.
    Data,
    /// Octets of the content came; reached anew with each block, so that a delay makes a slow reader.
    Content,
    /// The final dot came.
    EndOfData,
    /// RSET came.
    Rset,
    /// QUIT came.
    Quit,
}

/// A reply: code, text of one or more lines, and the time that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The reply code.
    pub code: u16,
    /// The lines after the code.
    pub lines: Vec<String>,
    /// Waits so long before it is sent.
    pub delay: Duration,
}

impl Answer {
    /// A reply; each line of the text becomes a line of the reply.
    pub fn new(code: u16, text: impl AsRef<str>) -> Answer {
        let mut lines: Vec<String> = text.as_ref().lines().map(str::to_owned).collect();
        if lines.is_empty() {
            lines.push(String::new());
        }
        Answer { code, lines, delay: Duration::ZERO }
    }

    /// The same reply after a while.
    pub fn after(self, delay: Duration) -> Answer {
        Answer { delay, ..self }
    }

    pub(crate) fn to_wire(&self) -> String {
        let last = self.lines.len().saturating_sub(1);
        let mark = |i| if i == last { ' ' } else { '-' };
        self.lines.iter().enumerate().map(|(i, line)| format!("{}{}{line}\r\n", self.code, mark(i))).collect()
    }
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            host_name: None,
            identity: None,
            tls: Tls::Good,
            greeting: None,
            ehlo: None,
            helo: None,
            mail: None,
            rcpt: None,
            recipients: BTreeMap::new(),
            data: None,
            end_of_data: None,
            rset: None,
            drop_after: None,
            delays: BTreeMap::new(),
            pipelining: true,
            eight_bit_mime: true,
            smtputf8: true,
            enhanced_status_codes: true,
            size: Some(50 * 1024 * 1024),
            max_recipients: 100,
            auth: None,
            extensions: Vec::new(),
            idle_timeout: Duration::from_secs(300),
        }
    }
}

impl Behaviour {
    pub(crate) fn name(&self) -> &str {
        self.host_name.as_deref().unwrap_or("localhost")
    }

    /// The usual answer, with its enhanced code only where those were offered (RFC 2034 §4).
    pub(crate) fn usual(&self, code: u16, enhanced: &str, text: &str) -> Answer {
        match self.enhanced_status_codes {
            true => Answer::new(code, format!("{enhanced} {text}")),
            false => Answer::new(code, text),
        }
    }

    /// The lines of the EHLO answer (RFC 5321 §4.1.1.1).
    pub(crate) fn ehlo_answer(&self, encrypted: bool) -> Answer {
        let mut lines = vec![format!("{} at your service", self.name())];
        let mut offer = |offered: bool, line: &str| lines.extend(offered.then(|| line.to_owned()));
        offer(self.pipelining, "PIPELINING");
        offer(self.size.is_some(), &format!("SIZE {}", self.size.unwrap_or_default()));
        offer(self.eight_bit_mime, "8BITMIME");
        offer(self.smtputf8, "SMTPUTF8");
        offer(self.enhanced_status_codes, "ENHANCEDSTATUSCODES");
        offer(self.offers_starttls(encrypted), "STARTTLS");
        offer(self.offers_auth(encrypted), "AUTH PLAIN");
        lines.extend(self.extensions.iter().cloned());
        Answer { code: 250, lines, delay: Duration::ZERO }
    }

    /// Whether the further lines of the EHLO answer name that extension.
    pub(crate) fn offers(&self, keyword: &str) -> bool {
        let named = |line: &String| line.split(' ').next().unwrap_or_default().eq_ignore_ascii_case(keyword);
        self.extensions.iter().any(named)
    }

    pub(crate) fn offers_starttls(&self, encrypted: bool) -> bool {
        match self.tls {
            Tls::NotOffered => false,
            Tls::ReadvertisesInside => true,
            _ => !encrypted,
        }
    }

    pub(crate) fn offers_auth(&self, encrypted: bool) -> bool {
        self.auth.as_ref().is_some_and(|auth| encrypted || auth.in_plaintext)
    }

    /// What a recipient gets: its own answer, the one for all, or `None` for the usual.
    pub(crate) fn rcpt_answer(&self, address: &str) -> Option<&Answer> {
        let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
        let named = |key: &str| self.recipients.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, a)| a);
        named(address).or_else(|| named(local)).or(self.rcpt.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_a_hyphen_on_all_lines_but_the_last() {
        assert_eq!(Answer::new(550, "no\nnever").to_wire(), "550-no\r\n550 never\r\n");
        assert_eq!(Answer::new(220, "").to_wire(), "220 \r\n");
    }

    #[test]
    fn a_recipient_has_its_own_answer_first() {
        let answers = [("a@x.test", 550), ("a", 551), ("B", 552)].map(|(k, c)| (k.to_owned(), Answer::new(c, "")));
        let behaviour =
            Behaviour { recipients: answers.into(), rcpt: Some(Answer::new(450, "")), ..Behaviour::default() };
        for (address, code) in [("A@x.test", 550), ("a@y.test", 551), ("b@x.test", 552), ("c@x.test", 450)] {
            assert_eq!(behaviour.rcpt_answer(address).map(|a| a.code), Some(code), "{address}");
        }
    }
}
