//! STARTTLS (RFC 3207): tried and *observed*. What to make of the observation is `policy`'s to say.

use std::sync::Arc;

use policy::tls::Observed;
use smtp::{Command, Extensions, Reply};
use tokio::net::TcpStream;

use crate::client::{Client, Target};
use crate::connect::{Opened, hello};
use crate::connection::{Connection, Session};
use crate::tls::{HandshakeError, TlsFacts};

/// What a host showed, with the session where there still is one.
pub(crate) enum Observation {
    /// STARTTLS is not offered; the session is in order.
    NotOffered(Ready),
    /// STARTTLS was refused in these words; the session is in order.
    Refused(Ready, Reply),
    /// There is no encrypted session, and the connection is gone. The facts are those of a handshake that was
    /// completed before the EHLO after it failed.
    HandshakeFailed(HandshakeError, Option<Arc<TlsFacts>>),
    /// Encrypted; the facts have the verdict on the certificate.
    Encrypted(Ready, Arc<TlsFacts>),
}

/// A session that has said EHLO for the last time: MAIL may follow.
pub(crate) struct Ready {
    pub(crate) session: Session,
    pub(crate) extensions: Extensions,
}

impl Observation {
    /// The column of the table.
    pub(crate) fn observed(&self) -> Observed {
        match self {
            Observation::NotOffered(_) => Observed::NotOffered,
            Observation::Refused(..) => Observed::Refused,
            Observation::HandshakeFailed(..) => Observed::HandshakeFailed,
            Observation::Encrypted(_, facts) if facts.verification.is_ok() => Observed::Verified,
            Observation::Encrypted(..) => Observed::Unverified,
        }
    }

    /// The last handshake's facts, if one was completed.
    pub(crate) fn facts(&self) -> Option<&Arc<TlsFacts>> {
        match self {
            Observation::NotOffered(_) | Observation::Refused(..) => None,
            Observation::HandshakeFailed(_, facts) => facts.as_ref(),
            Observation::Encrypted(_, facts) => Some(facts),
        }
    }

    /// Ends the session politely, where there is one.
    pub(crate) async fn close(self) {
        match self {
            Observation::NotOffered(ready) | Observation::Refused(ready, _) | Observation::Encrypted(ready, _) => {
                ready.session.quit().await;
            }
            Observation::HandshakeFailed(..) => {}
        }
    }
}

/// Tries STARTTLS on a session that has said EHLO.
pub(crate) async fn observe(client: &Client, target: &Target, opened: Opened<TcpStream>) -> Observation {
    let Opened { mut connection, extensions, .. } = opened;
    if !extensions.starttls {
        return Observation::NotOffered(Ready { session: connection.boxed(), extensions });
    }
    let failed = |error| Observation::HandshakeFailed(error, None);
    let patience = connection.timeouts.command;
    let reply = match connection.command(&Command::StartTls, patience).await {
        Ok(reply) => reply,
        Err(error) => return failed(HandshakeError::NoReply(error.to_string())),
    };
    // Exactly 220 announces the handshake (RFC 3207 §4). Another 2yz or 3yz leaves both sides guessing: neither a
    // handshake nor a command may follow on this connection.
    match reply.code() {
        220 => {}
        // The host hangs up: a refusal that leaves no session to go on with.
        421 => return failed(HandshakeError::Closing(reply)),
        400..=599 => return Observation::Refused(Ready { session: connection.boxed(), extensions }, reply),
        _ => return failed(HandshakeError::NoReply(format!("unexpected answer: {reply}"))),
    }
    if connection.has_leftover() {
        return failed(HandshakeError::InjectedData);
    }
    shake_hands(client, target, connection).await
}

async fn shake_hands(client: &Client, target: &Target, connection: Connection<TcpStream>) -> Observation {
    let (timeouts, deadline) = (connection.timeouts, connection.deadline);
    let patience = timeouts.handshake.min(deadline.saturating_duration_since(tokio::time::Instant::now()));
    let (stream, facts) = match client.tls.handshake(connection.into_stream(), &target.host, None, patience).await {
        Ok(done) => done,
        Err(error) => return Observation::HandshakeFailed(error, None),
    };
    // Whatever the host said before is forgotten with the old connection (RFC 3207 §4.2).
    let mut connection = Connection::new(stream, timeouts, deadline);
    let error = match hello(&mut connection, &client.options.ehlo_name).await {
        Ok(Ok(extensions)) => {
            return Observation::Encrypted(Ready { session: connection.boxed(), extensions }, facts);
        }
        Ok(Err(reply)) => reply.to_string(),
        Err(error) => error.to_string(),
    };
    Observation::HandshakeFailed(HandshakeError::EhloFailed(error), Some(facts))
}
