//! From an address to a session: TCP, greeting, EHLO.

use std::net::SocketAddr;

use policy::disposition::{Meaning, Stage, meaning};
use smtp::{Command, Extensions, Reply};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::client::{Client, Target};
use crate::connection::{Connection, NoReply, Stream, within};
use crate::report::Problem;

/// A host that greeted us and answered EHLO.
pub(crate) struct Opened<S> {
    pub(crate) connection: Connection<S>,
    pub(crate) extensions: Extensions,
    pub(crate) local: SocketAddr,
}

/// A host that could not be spoken to; `local` is our end when TCP stood.
pub(crate) struct NotOpened {
    pub(crate) problem: Problem,
    pub(crate) local: Option<SocketAddr>,
}

/// Connects, reads the greeting and says EHLO, or HELO where EHLO is not known (RFC 5321 §4.1.4).
pub(crate) async fn open(client: &Client, target: &Target, deadline: Instant) -> Result<Opened<TcpStream>, NotOpened> {
    let host = target.host.to_string();
    let lost = |stage, error: &NoReply| Problem::no_reply(stage, error, &host, target.ip());
    let timeouts = client.options.timeouts;
    let stream = within(timeouts.connect, deadline, connect(client, target))
        .await
        .map_err(|error| NotOpened { problem: lost(Stage::Connect, &error), local: None })?;
    let local = stream.local_addr().ok();
    let failed = |problem| NotOpened { problem, local };

    let mut connection = Connection::new(stream, timeouts, deadline);
    let greeting = connection.reply(timeouts.greeting).await.map_err(|error| failed(lost(Stage::Greeting, &error)))?;
    if meaning(Stage::Greeting, &greeting) != Meaning::Passed {
        connection.quit().await;
        return Err(failed(Problem::replied(Stage::Greeting, &greeting)));
    }
    match hello(&mut connection, &client.options.ehlo_name).await {
        Ok(Ok(extensions)) => Ok(Opened { connection, extensions, local: local.unwrap_or(target.address) }),
        Ok(Err(reply)) => {
            connection.quit().await;
            Err(failed(Problem::replied(Stage::Ehlo, &reply)))
        }
        Err(error) => Err(failed(lost(Stage::Ehlo, &error))),
    }
}

/// Says EHLO, then HELO when the host does not know EHLO. The inner error is the reply that refused both.
pub(crate) async fn hello<S: Stream>(
    connection: &mut Connection<S>,
    name: &str,
) -> Result<Result<Extensions, Reply>, NoReply> {
    let patience = connection.timeouts.command;
    let reply = connection.command(&Command::Ehlo(name), patience).await?;
    if reply.is_positive() {
        return Ok(Ok(Extensions::from_ehlo(&reply)));
    }
    if !reply.is_permanent() {
        return Ok(Err(reply));
    }
    let reply = connection.command(&Command::Helo(name), patience).await?;
    Ok(if reply.is_positive() { Ok(Extensions::default()) } else { Err(reply) })
}

async fn connect(client: &Client, target: &Target) -> Result<TcpStream, NoReply> {
    let source = client
        .source_for(target.ip())
        .map_err(|_| std::io::Error::other("no source address of this family is configured (source_addresses)"))?;
    let socket = if target.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(target.address).await?;
    // Commands and content go out in whole writes: Nagle's algorithm would only make each wait for an ACK.
    stream.set_nodelay(true)?;
    Ok(stream)
}
