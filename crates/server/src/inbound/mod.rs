//! Mail that comes back: reports of other servers about mail that this one delivered, received where its return paths lead
//! (`docs/decisions/0012-return-paths.md`).
//!
//! - [`return_path`]: what goes out with a delivery, says what a report is about, and proves that we made it.
//! - [`handler`]: which addresses take mail, and what becomes of it. Everything else is refused: nothing is relayed, and
//!   nothing is answered by mail.
//! - [`complaint`], [`tls_report`]: other reports.  [`postmaster`]: mail for people.

mod complaint;
mod handler;
mod limits;
mod postmaster;
mod return_path;
mod tls_report;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use self::handler::Inbound;
use self::limits::{RECIPIENTS, REPORT_OCTETS};
use self::postmaster::Postmaster;
pub(crate) use self::return_path::{ReturnPaths, WayBack, host_of};
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
    wake: Arc<Notify>,
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
    let postmaster = Postmaster::new(config.postmaster, wake);
    let inbound = Arc::new(Inbound { store, host: config.ehlo_name, return_paths, postmaster });
    let handler = move |peer: SocketAddr| inbound.clone().connection(peer.ip());
    serve(listener, Service::new(terms), Tls::StartTls(tls), handler, stop, config.shutdown_grace).await;
}
