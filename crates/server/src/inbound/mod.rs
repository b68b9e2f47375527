//! Mail that comes back: reports of other servers about mail that this one delivered, received where its return paths lead
//! (`docs/decisions/0012-return-paths.md`).
//!
//! - [`return_path`]: the addresses, whose local parts say what they are about and prove that we made them.
//! - [`handler`]: which addresses take mail, and what becomes of it. Everything else is refused: nothing is relayed, and
//!   no mail is ever sent because one came.

mod handler;
mod limits;
mod return_path;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::handler::Inbound;
use self::limits::{RECIPIENTS, REPORT_OCTETS};
pub(crate) use self::return_path::{ReturnPaths, host_of};
use crate::config::Config;
use crate::smtpd::Terms;
use crate::smtpd::limits::Times;
use crate::smtpd::listener::{Service, Tls, serve};

/// Receives until the server stops.
pub(crate) async fn run(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    config: Config,
    store: Store,
    return_paths: Arc<ReturnPaths>,
    stop: watch::Receiver<bool>,
) {
    let terms = Terms {
        service: "bounces",
        host: config.ehlo_name.to_string(),
        login: false,
        dsn: false,
        message_octets: REPORT_OCTETS,
        recipients: RECIPIENTS,
        times: Times::default(),
    };
    let inbound = Arc::new(Inbound { store, return_paths });
    let handler = move |peer: SocketAddr| inbound.clone().connection(peer.ip());
    serve(listener, Service::new(terms), Tls::StartTls(tls), handler, stop, config.shutdown_grace).await;
}
