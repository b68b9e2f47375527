//! SMTP submission (RFC 6409): what comes in at port 587 or 465 from those who logged in, sent as if it had come over HTTP.
//!
//! - [`handler`]: logins, addresses, messages.  [`password`], [`guard`]: who may log in, and how often one may try.
//! - The protocol is [`crate::smtpd`]'s, the meaning of option headers [`crate::api`]'s.

pub(crate) mod guard;
mod handler;
pub(crate) mod limits;
pub(crate) mod password;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::handler::Submission;
use crate::api::App;
use crate::api::limits::{MESSAGE_OCTETS, RECIPIENTS};
use crate::config::Config;
use crate::smtpd::Terms;
use crate::smtpd::limits::Times;
use crate::smtpd::listener::{Service, Tls, serve};

/// The listeners of submission, where they are configured.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    /// Where STARTTLS comes first.
    pub(crate) submission: Option<TcpListener>,
    /// Where TLS comes first.
    pub(crate) submissions: Option<TcpListener>,
}

impl Listeners {
    pub(crate) fn is_any(&self) -> bool {
        self.submission.is_some() || self.submissions.is_some()
    }
}

/// The parts of the server that serve submission, to be run until the server stops.
pub(crate) fn start(
    listeners: Listeners,
    tls: Arc<ServerConfig>,
    config: &Config,
    app: App,
    stop: &watch::Receiver<bool>,
) -> Vec<(&'static str, Running)> {
    let host = config.ehlo_name.to_string();
    let terms = Terms {
        service: "submission",
        host: host.clone(),
        login: true,
        dsn: true,
        message_octets: MESSAGE_OCTETS as usize,
        recipients: RECIPIENTS,
        times: Times::default(),
    };
    let service = Service::new(terms);
    let submission = Arc::new(Submission::new(app, host));
    let mut parts: Vec<(&'static str, Running)> = Vec::new();
    let ways = [
        ("submission", listeners.submission, Tls::StartTls(tls.clone())),
        ("submissions", listeners.submissions, Tls::Implicit(tls)),
    ];
    for (name, listener, tls) in ways {
        let Some(listener) = listener else { continue };
        let submission = submission.clone();
        let handler = move |peer: SocketAddr| submission.clone().connection(peer.ip());
        let grace = config.shutdown_grace;
        parts.push((name, Box::pin(serve(listener, service.clone(), tls, handler, stop.clone(), grace))));
    }
    parts
}

/// A part of the server.
pub(crate) type Running = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
