//! STARTTLS (RFC 3207): tried and *observed*. What to make of the observation is `policy`'s to say.

use std::sync::Arc;

use policy::tls::{Authentication, Observed};
use smtp::{Command, Extensions, Reply};
use tokio::net::TcpStream;

use crate::client::{Client, Target};
use crate::connect::{Opened, hello, open};
use crate::connection::{Connection, Session};
use crate::tls::{Expected, Failed, HandshakeError, TlsFacts};

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
    /// The column of the table, where certificates are made valid by `authentication`.
    pub(crate) fn observed(&self, authentication: Authentication) -> Observed {
        match self {
            Observation::NotOffered(_) => Observed::NotOffered,
            Observation::Refused(..) => Observed::Refused,
            Observation::HandshakeFailed(..) => Observed::HandshakeFailed,
            Observation::Encrypted(_, facts) if facts.verdict(authentication).is_ok() => Observed::Verified,
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

/// Tries STARTTLS on a session that has said EHLO. Where the host fails on an earlier TLS session that it was offered,
/// once more on a new connection and without one: that is no host without TLS.
pub(crate) async fn observe(client: &Client, target: &Target, opened: Opened<TcpStream>) -> Observation {
    let deadline = opened.connection.deadline;
    let error = match starttls(client, target, opened).await {
        Ok(observation) => return observation,
        Err(SessionFailed(error)) => error,
    };
    let Ok(opened) = open(client, target, deadline).await else { return Observation::HandshakeFailed(error, None) };
    // Seldom needed, so it takes no room in every delivery.
    let again = Box::pin(starttls(client, target, opened)).await;
    again.unwrap_or_else(|SessionFailed(error)| Observation::HandshakeFailed(error, None))
}

/// The host failed on a TLS session that it was offered.
struct SessionFailed(HandshakeError);

async fn starttls(client: &Client, target: &Target, opened: Opened<TcpStream>) -> Result<Observation, SessionFailed> {
    let Opened { mut connection, extensions, .. } = opened;
    if !extensions.starttls {
        return Ok(Observation::NotOffered(Ready { session: connection.boxed(), extensions }));
    }
    let failed = |error| Ok(Observation::HandshakeFailed(error, None));
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
        400..=599 => return Ok(Observation::Refused(Ready { session: connection.boxed(), extensions }, reply)),
        _ => return failed(HandshakeError::NoReply(format!("unexpected answer: {reply}"))),
    }
    if connection.has_leftover() {
        return failed(HandshakeError::InjectedData);
    }
    shake_hands(client, target, connection).await
}

async fn shake_hands(
    client: &Client,
    target: &Target,
    connection: Connection<TcpStream>,
) -> Result<Observation, SessionFailed> {
    let (timeouts, deadline) = (connection.timeouts, connection.deadline);
    let patience = timeouts.handshake.min(deadline.saturating_duration_since(tokio::time::Instant::now()));
    let stream = connection.into_stream();
    let expected = Expected { tlsa: target.dane.tlsa(), pins: &target.rules.pins };
    // TLSA records and pins are held against a certificate that is shown, so an earlier session is of no use.
    let shaken = if expected.is_nothing() {
        client.tls.handshake_or_resume(stream, &target.host, target.address, patience).await
    } else {
        let full = client.tls.handshake(stream, &target.host, expected, patience).await;
        full.map_err(|error| Failed { error, had_session: false })
    };
    let (stream, facts) = match shaken {
        Ok(done) => done,
        Err(Failed { error, had_session: true }) => return Err(SessionFailed(error)),
        Err(Failed { error, had_session: false }) => return Ok(Observation::HandshakeFailed(error, None)),
    };
    // Whatever the host said before is forgotten with the old connection (RFC 3207 §4.2).
    let mut connection = Connection::new(stream, timeouts, deadline);
    let error = match hello(&mut connection, &client.options.ehlo_name).await {
        Ok(Ok(extensions)) => {
            return Ok(Observation::Encrypted(Ready { session: connection.boxed(), extensions }, facts));
        }
        Ok(Err(reply)) => reply.to_string(),
        Err(error) => error.to_string(),
    };
    Ok(Observation::HandshakeFailed(HandshakeError::EhloFailed(error), Some(facts)))
}
