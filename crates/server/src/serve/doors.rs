//! The addresses that a server listens on.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::StartError;
use super::aside::Asides;
use crate::config::Config;
use crate::submission::Listeners;

/// All that is listened on.
pub(super) struct Doors {
    pub(super) http: TcpListener,
    pub(super) listeners: Listeners,
    pub(super) bounces: Option<TcpListener>,
    pub(super) asides: Asides,
    pub(super) addresses: Addresses,
}

/// Where: the ports that were taken when port 0 was configured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) http: SocketAddr,
    pub(super) submission: Option<SocketAddr>,
    pub(super) submissions: Option<SocketAddr>,
    pub(super) bounces: Option<SocketAddr>,
}

impl Doors {
    /// Takes the addresses of the configuration.
    pub(super) async fn open(config: &Config) -> Result<Doors, StartError> {
        let (http, http_addr) = listen("http_listen", config.http_listen).await?;
        let (submission, submission_addr) = listen_if("submission_listen", config.submission_listen).await?.unzip();
        let (submissions, submissions_addr) = listen_if("submissions_listen", config.submissions_listen).await?.unzip();
        let (bounces, bounce_addr) = listen_if("bounce_listen", config.bounce_listen).await?.unzip();
        Ok(Doors {
            http,
            listeners: Listeners { submission, submissions },
            bounces,
            asides: Asides::listen(config).await?,
            addresses: Addresses {
                http: http_addr,
                submission: submission_addr,
                submissions: submissions_addr,
                bounces: bounce_addr,
            },
        })
    }
}

impl Addresses {
    /// Writes the line of the log that says that the server has started.
    pub(super) fn tell(self) {
        tracing::info!(
            http_addr = %self.http,
            submission_addr = self.submission.map(tracing::field::display),
            submissions_addr = self.submissions.map(tracing::field::display),
            bounce_addr = self.bounces.map(tracing::field::display),
            "started"
        );
    }
}

pub(super) async fn listen(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { key, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

pub(super) async fn listen_if(
    key: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    match address {
        Some(address) => listen(key, address).await.map(Some),
        None => Ok(None),
    }
}
