//! The small listeners beside the API: where challenges of an ACME authority are answered, and metrics told.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use super::doors::{listen, listen_if};
use super::{Parts, StartError, http};
use crate::acme::{self, Acme, Answers};
use crate::config::Config;
use crate::metrics::{self, Metrics};
use crate::queue::ClientError;

/// Those that are configured.
pub(super) struct Asides {
    challenges: Option<(TcpListener, acme::Settings)>,
    metrics: Option<TcpListener>,
}

impl Asides {
    /// Takes the addresses.
    pub(super) async fn listen(config: &Config) -> Result<Asides, StartError> {
        let challenges = match acme::Settings::of(config)? {
            Some(settings) => Some((listen("acme_listen", config.acme_listen).await?.0, settings)),
            None => None,
        };
        let metrics = listen_if("metrics_listen", config.metrics_listen).await?;
        if let Some((_, metrics_addr)) = &metrics {
            tracing::info!(%metrics_addr, "metrics");
        }
        Ok(Asides { challenges, metrics: metrics.map(|(listener, _)| listener) })
    }

    /// What is to be run. `renewed` is told of each new certificate.
    pub(super) fn start(
        self,
        config: &Config,
        metrics: Metrics,
        renewed: &Arc<Notify>,
        stop: &watch::Receiver<bool>,
    ) -> Result<Parts, ClientError> {
        let limits = |connections| http::Limits { connections, ..http::Limits::with_grace(config.shutdown_grace) };
        let mut parts = Parts::new();
        if let Some((listener, settings)) = self.challenges {
            let answers = Answers::default();
            let acme = Acme::new(settings, config, answers.clone(), renewed.clone())?;
            let served = http::serve(listener, acme::router(answers), limits(acme::CONNECTIONS), stop.clone());
            parts.push(("challenges", Box::pin(served)));
            parts.push(("ACME", Box::pin(acme.run(stop.clone()))));
        }
        if let Some(listener) = self.metrics {
            let served = http::serve(listener, metrics::router(metrics), limits(metrics::CONNECTIONS), stop.clone());
            parts.push(("metrics", Box::pin(served)));
        }
        Ok(parts)
    }
}
