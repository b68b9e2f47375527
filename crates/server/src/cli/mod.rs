//! The command line.

mod credential;
mod dkim;
mod domain;
mod key;
mod limits;
mod report;
mod sending_dns;
mod serve;
mod user;
mod webhook;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;
use smtp::Domain;
use store::{Role, Store, StoreError, Timestamp};

use crate::config::{self, ConfigError, Loaded, Origin};
use crate::queue::ClientError;
use crate::{check, demo, doctor};

/// What a program's end says to who called it.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 it failed; 2 the command line or the configuration is wrong.";

/// Outbound mail server: Mailgun's HTTP API in, SMTP with TLS under your control out.
#[derive(Debug, Parser)]
#[command(name = "waxwing", version, after_help = EXIT_CODES)]
struct Cli {
    /// Configuration file (TOML); WAXWING_CONFIG names one too.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (also what happens without a command).
    Serve,
    /// Show the configuration in force and where each value comes from.
    Config {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sending domains and their TLS settings. Works while the server runs.
    #[command(subcommand)]
    Domain(domain::DomainCommand),
    /// API keys. Works while the server runs.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Logins for SMTP submission. Works while the server runs.
    #[command(subcommand)]
    Credential(credential::CredentialCommand),
    /// Users of the control panel. Works while the server runs.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Reports about TLS that others sent us (RFC 8460). Works while the server runs.
    #[command(subcommand)]
    Report(report::ReportCommand),
    /// Webhooks: who is told of events, and the key that signs. Works while the server runs.
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Look at a recipient domain and say what each of the four TLS settings would do there.
    Check {
        /// Whose mail hosts are asked. They are told EHLO, STARTTLS and QUIT, and nothing else.
        domain: Domain,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say whether this installation works, and what to do where it does not. Works while the server runs.
    Doctor {
        /// Visit the mail hosts of this domain too, to see whether the outgoing port is open.
        #[arg(long, value_name = "DOMAIN")]
        probe: Option<Domain>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the four TLS settings at work, against receivers of every kind, on loopback only. Takes seconds.
    Demo {
        /// The events themselves, as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The configuration can be read and cannot be used, for the reason given.
    #[error("{0}")]
    Unusable(String),
    /// What was asked for could not be done.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    fn of(error: impl Display) -> Failure {
        Failure::Failed(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::of(error)
    }
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own: 0 for --help and --version, 2 for what it cannot read.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            let _ = error.print();
            return code.into();
        }
    };
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ (Failure::Config(_) | Failure::Unusable(_))) => {
            eprintln!("{failure}");
            ExitCode::from(2)
        }
        Err(failure @ Failure::Failed(_)) => {
            eprintln!("waxwing: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: Cli) -> Result<(), Failure> {
    let load = || config::load(cli.config.as_deref(), std::env::vars_os()).map_err(Failure::from);
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(load()?),
        Command::Config { json } => show_config(&load()?, json),
        Command::Domain(command) => {
            let loaded = load()?;
            on_store(&loaded, async |store| domain::run(store, &loaded.config, command).await)
        }
        Command::Key(command) => on_store(&load()?, async |store| key::run(store, command).await),
        Command::Credential(command) => on_store(&load()?, async |store| credential::run(store, command).await),
        Command::User(command) => on_store(&load()?, async |store| user::run(store, command).await),
        Command::Report(command) => on_store(&load()?, async |store| report::run(store, command).await),
        Command::Webhook(command) => on_store(&load()?, async |store| webhook::run(store, command).await),
        Command::Check { domain, json } => check(&load()?, domain, json),
        Command::Doctor { probe, json } => doctor(&load()?, doctor::Options { probe }, json),
        Command::Demo { json } => print(runtime()?.block_on(demo::run(json)).map_err(Failure::of)?),
    }
}

fn check(loaded: &Loaded, domain: Domain, json: bool) -> Result<(), Failure> {
    let found = runtime()?.block_on(check::run(&loaded.config, domain)).map_err(|error| unusable(loaded, &error))?;
    match json {
        true => print(format_args!("{:#}\n", json!(found))),
        false => print(found),
    }
}

fn doctor(loaded: &Loaded, options: doctor::Options, json: bool) -> Result<(), Failure> {
    let found = runtime()?.block_on(doctor::run(loaded, options));
    match json {
        true => print(format_args!("{:#}\n", json!(found)))?,
        false => print(&found)?,
    }
    match found.problems() {
        0 => Ok(()),
        1 => Err(Failure::Failed("there is a problem".to_owned())),
        count => Err(Failure::Failed(format!("there are {count} problems"))),
    }
}

/// Says where the setting stands that makes no client.
fn unusable(loaded: &Loaded, error: &ClientError) -> Failure {
    let key = match error {
        ClientError::TrustRoots(_) => "trust_roots",
        ClientError::DnssecAnchor(_) => "dnssec_anchor",
    };
    Failure::Unusable(match loaded.origin(key) {
        Some(Origin::Set(place)) => format!("{place}: {error}"),
        _ => error.to_string(),
    })
}

fn show_config(loaded: &Loaded, json: bool) -> Result<(), Failure> {
    match json {
        true => print(format_args!("{:#}\n", config::show::as_json(loaded))),
        false => print(config::show::as_toml(loaded)),
    }
}

/// Runs a command on the store directly. The server sees what it did with its next request, and that a key is gone
/// within a second.
fn on_store(loaded: &Loaded, command: impl AsyncFnOnce(&Store) -> Result<(), Failure>) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let store = Store::open(&loaded.config.store, Role::Tool).await?;
        let result = command(&store).await;
        store.close().await;
        result
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::of)
}

/// Writes to standard output. That nobody reads any more (`waxwing domain list | head -1`) is no failure.
fn print(text: impl Display) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write};

    let mut out = std::io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::of(error)),
        _ => Ok(()),
    }
}

/// A time for people and machines: RFC 3339, whole seconds.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    let seconds = time.as_micros().div_euclid(1_000_000);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(Timestamp::from_secs(0)), "1970-01-01T00:00:00Z");
    }
}
