//! `waxwing serve`: a server until a signal.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, print, runtime, unusable};
use crate::config::{Loaded, Secret};
use crate::serve::{Server, StartError, base_of, log};

pub(super) fn run(loaded: Loaded) -> Result<(), Failure> {
    let _log = log::init(&loaded.config);
    let runtime = runtime()?;
    let result = runtime.block_on(serve(loaded));
    // What still blocks a thread now had its time of grace.
    runtime.shutdown_background();
    result
}

async fn serve(loaded: Loaded) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(Failure::of)?;
    let mut server = match Server::start(loaded.config.clone()).await {
        Ok(server) => server,
        Err(StartError::Client(error)) => return Err(unusable(&loaded, &error)),
        Err(StartError::Certificate(error)) => return Err(Failure::Unusable(error.to_string())),
        Err(StartError::Acme(error)) => return Err(Failure::Unusable(error.to_string())),
        Err(error) => return Err(Failure::of(error)),
    };
    let base = base_of(&loaded.config, server.http_addr());
    if let Some(path) = server.setup()
        && print(invitation(&base, path)).is_err()
    {
        tracing::warn!("the set-up link of the control panel could not be shown: standard output fails");
    }
    if let Some(key) = server.first_key()
        && print(welcome(&server, &base, key).await).is_err()
    {
        tracing::warn!("the API key could not be shown: standard output fails; `waxwing key create` makes another one");
    }
    loop {
        tokio::select! {
            wanted = signals.next() => match wanted {
                Wanted::Stop => break,
                Wanted::Reload => server.reload(),
            },
            what = server.broken() => {
                tracing::error!("{what}");
                server.stop().await;
                return Err(Failure::Failed(what));
            }
        }
    }
    tokio::select! {
        () = server.stop() => Ok(()),
        // Whoever asks twice does not want to wait.
        () = signals.stop() => {
            tracing::warn!("stopped at once; what was being delivered is tried again at the next start");
            log::flush();
            std::process::exit(0)
        }
    }
}

/// SIGTERM and SIGINT, which stop, and SIGHUP, which has files read again.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wanted {
        tokio::select! {
            _ = self.terminate.recv() => Wanted::Stop,
            _ = self.interrupt.recv() => Wanted::Stop,
            _ = self.reload.recv() => Wanted::Reload,
        }
    }

    async fn stop(&mut self) {
        while !matches!(self.next().await, Wanted::Stop) {}
    }
}

/// What a signal asks for.
enum Wanted {
    Stop,
    Reload,
}

/// While there is no user, every start shows a link that makes the first.
fn invitation(base: &str, path: &str) -> String {
    format!("\nThe control panel has no user yet. Make the first one here; the link works once:\n\n    {base}{path}\n")
}

/// The first start's only chance to show the key, with a command that sends a mail.
async fn welcome(server: &Server, base: &str, key: &Secret) -> String {
    let query = store::DomainQuery { limit: 1, ..store::DomainQuery::default() };
    let known = match server.store().list_domains(query).await {
        Ok((_, domains)) => domains.into_iter().next().map(|domain| domain.name),
        Err(_) => None,
    };
    let domain = known.as_ref().map_or("example.com", |name| name.as_str());
    let mut text = format!("\nYour API key, shown only now:\n\n    {}\n\n", key.expose());
    if known.is_none() {
        text.push_str(&format!("Add the domain that you send from:\n\n    waxwing domain add {domain}\n\n"));
    }
    text.push_str(&format!(
        "Send a mail:\n\n    curl --user 'api:{key}' {base}/v3/{domain}/messages \\\n        \
         -F from='You <you@{domain}>' -F to=somebody@example.net \\\n        \
         -F subject='Hello' -F text='Sent by Waxwing.' -F o:require-tls=yes\n\n",
        key = key.expose(),
    ));
    text
}
