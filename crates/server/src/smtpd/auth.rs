//! AUTH PLAIN (RFC 4616) and LOGIN, inside TLS alone (RFC 4954).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtp::Reply;

use super::limits::{AUTH_OCTETS, WRONG_PASSWORDS};
use super::session::Session;
use super::{End, Handler, out_of_order, reply};

/// Why an exchange led to no login.
enum Failed {
    End(End),
    /// The exchange was broken off or is no exchange.
    Refused(Reply),
}

impl From<End> for Failed {
    fn from(end: End) -> Failed {
        Failed::End(end)
    }
}

impl<H: Handler> Session<H> {
    pub(super) async fn auth(&mut self, mechanism: &str, initial: Option<String>) -> Result<Reply, End> {
        if !self.terms.login {
            return Ok(reply(502, 5, 1, "AUTH is not offered"));
        }
        if !self.wire.is_tls() {
            return Ok(reply(538, 7, 11, "Encryption required: say STARTTLS first"));
        }
        if !self.is_extended() || self.transaction.is_some() {
            return Ok(out_of_order("AUTH follows EHLO, and comes before MAIL"));
        }
        if self.logged_in {
            return Ok(out_of_order("You are logged in"));
        }
        let exchanged = match mechanism {
            "PLAIN" => self.plain(initial).await,
            "LOGIN" => self.login(initial).await,
            _ => return Ok(reply(504, 5, 4, "Mechanism not offered; there are PLAIN and LOGIN")),
        };
        let (login, password) = match exchanged {
            Ok(exchanged) => exchanged,
            Err(Failed::Refused(refused)) => return Ok(refused),
            Err(Failed::End(end)) => return Err(end),
        };
        match self.handler.authenticate(&login, &password).await {
            Ok(()) => {
                self.logged_in = true;
                self.slot.logged_in();
                self.wire.deadline = self.began + self.terms.times.connection;
                Ok(reply(235, 7, 0, "Authentication successful"))
            }
            Err(refused) => {
                self.wrong_passwords += 1;
                let is_final = refused.is_permanent() && self.wrong_passwords >= WRONG_PASSWORDS;
                Ok(if is_final { reply(421, 7, 0, "Too many wrong passwords") } else { refused })
            }
        }
    }

    /// `[authzid] NUL authcid NUL password` in one response (RFC 4616 §2).
    async fn plain(&mut self, initial: Option<String>) -> Result<(String, String), Failed> {
        let response = match initial {
            Some(response) => decode(&response)?,
            None => self.ask("").await?,
        };
        let mut parts = response.split('\0');
        let (acting_for, login, password) = (parts.next(), parts.next(), parts.next());
        match (acting_for, login, password, parts.next()) {
            // Nobody acts for somebody else.
            (Some(other), Some(login), Some(password), None) if other.is_empty() || other == login => {
                Ok((login.to_owned(), password.to_owned()))
            }
            (Some(_), Some(_), Some(_), None) => {
                Err(Failed::Refused(reply(535, 7, 8, "Nobody may act for another login")))
            }
            _ => Err(Failed::Refused(reply(501, 5, 2, "The response is not one of PLAIN"))),
        }
    }

    async fn login(&mut self, initial: Option<String>) -> Result<(String, String), Failed> {
        let login = match initial {
            Some(response) => decode(&response)?,
            None => self.ask("Username:").await?,
        };
        Ok((login, self.ask("Password:").await?))
    }

    /// Asks for a response and decodes it. A lone `*` breaks the exchange off (RFC 4954 §4).
    async fn ask(&mut self, question: &str) -> Result<String, Failed> {
        self.wire.say(&Reply::new(334, [STANDARD.encode(question).as_str()])).await?;
        let line = self.wire.line(true).await?;
        if line == b"*" {
            return Err(Failed::Refused(reply(501, 7, 0, "Authentication cancelled")));
        }
        decode(&String::from_utf8_lossy(&line))
    }
}

fn decode(response: &str) -> Result<String, Failed> {
    let octets = (response.len() <= AUTH_OCTETS).then(|| STANDARD.decode(response).ok()).flatten();
    let text = octets.and_then(|octets| String::from_utf8(octets).ok());
    text.ok_or_else(|| Failed::Refused(reply(501, 5, 2, "The response is not base64 of UTF-8")))
}
