//! `waxwing domain`: sending domains and their two TLS switches.

use clap::{Args, Subcommand};
use policy::tls::{Fallback, TlsSettings, WhenLeft};
use serde_json::json;
use smtp::Domain;
use store::{DomainQuery, DomainSort, NewDomain, SendingDomain, Store, Timestamp};

use super::dkim::DkimCommand;
use super::limits::{self, Limits};
use super::{Failure, print, rfc3339, sending_dns};
use crate::config::{Config, duration};
use crate::dkim;

/// How many domains are asked for at a time.
const PAGE: usize = 500;

#[derive(Debug, Subcommand)]
pub(super) enum DomainCommand {
    /// Add a sending domain, usable at once.
    Add {
        name: Domain,
        #[command(flatten)]
        tls: Switches,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        output: Output,
    },
    /// List the sending domains.
    List {
        /// Only those whose name contains this.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Show a sending domain.
    Show {
        name: Domain,
        #[command(flatten)]
        output: Output,
    },
    /// Change the settings of a sending domain. A setting that is not given stays as it is.
    Set {
        name: Domain,
        #[command(flatten)]
        tls: Switches,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        output: Output,
    },
    /// Print the DNS records that a sending domain should have, as a zone file takes them.
    Records {
        name: Domain,
        #[command(flatten)]
        output: Output,
    },
    /// Look for the records of a sending domain in the DNS, and say what is wrong.
    Verify {
        name: Domain,
        #[command(flatten)]
        output: Output,
    },
    /// The keys that sign the domain's mail.
    #[command(subcommand)]
    Dkim(DkimCommand),
    /// Delete a sending domain, and its keys. Mail that was accepted for it is still delivered.
    Delete {
        name: Domain,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Switches {
    /// Deliver over TLS or not at all, unless a message says otherwise.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    require_tls: Option<bool>,
    /// Accept any certificate, unless a message says otherwise.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_verification: Option<bool>,
    /// What an invalid certificate leads to where neither switch is set: plaintext, unverified or defer.
    #[arg(long, value_name = "CHOICE")]
    tls_fallback: Option<Fallback>,
    /// What it leads to that no host gives the TLS that is required: defer or fail.
    #[arg(long, value_name = "CHOICE")]
    tls_failure: Option<WhenLeft>,
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Output {
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl From<Switches> for TlsSettings {
    fn from(switches: Switches) -> TlsSettings {
        TlsSettings {
            require_tls: switches.require_tls,
            skip_verification: switches.skip_verification,
            fallback: switches.tls_fallback,
            when_left: switches.tls_failure,
            tag: None,
        }
    }
}

pub(super) async fn run(store: &Store, config: &Config, command: DomainCommand) -> Result<(), Failure> {
    match command {
        DomainCommand::Add { name, tls, limits, output } => {
            let dkim = Some(dkim::first_key().await.map_err(Failure::of)?);
            let new = NewDomain { name, tls: tls.into(), dkim, now: Timestamp::now() };
            show(&store.create_limited_domain(new, limits.into()).await?, output)
        }
        DomainCommand::List { search, output } => list(store, search, output).await,
        DomainCommand::Show { name, output } => {
            show(&store.domain(&name).await?.ok_or_else(|| missing(&name))?, output)
        }
        DomainCommand::Set { name, tls, limits, output } => {
            store.limit_domain(&name, limits.into()).await?;
            let changed = store.update_domain(&name, tls.into()).await?;
            show(&changed.ok_or_else(|| missing(&name))?, output)
        }
        DomainCommand::Records { name, output } => sending_dns::records(store, config, name, output).await,
        DomainCommand::Verify { name, output } => sending_dns::verify(store, config, name, output).await,
        DomainCommand::Dkim(command) => super::dkim::run(store, command).await,
        DomainCommand::Delete { name, output } => match store.delete_domain(&name).await? {
            true if output.json => print(format_args!("{:#}\n", json!({ "name": name, "deleted": true }))),
            true => print(format_args!("{name} deleted\n")),
            false => Err(missing(&name)),
        },
    }
}

pub(super) fn missing(name: &Domain) -> Failure {
    Failure::Failed(format!("there is no domain {name}"))
}

async fn list(store: &Store, search: Option<String>, output: Output) -> Result<(), Failure> {
    let mut query = DomainQuery { search, limit: PAGE, sort: DomainSort::NameAscending, ..DomainQuery::default() };
    let mut domains = Vec::new();
    loop {
        let (total, page) = store.list_domains(query.clone()).await?;
        let got = page.len();
        domains.extend(page);
        query.skip += got;
        if got == 0 || query.skip as u64 >= total {
            break;
        }
    }
    if output.json {
        let all: Vec<_> = domains.iter().map(as_json).collect();
        return print(format_args!("{:#}\n", json!(all)));
    }
    let width = domains.iter().map(|domain| domain.name.as_str().len()).max().unwrap_or(0);
    let lines: String =
        domains.iter().map(|domain| format!("{:width$}  {}\n", domain.name.as_str(), switches(domain))).collect();
    print(lines)
}

fn show(domain: &SendingDomain, output: Output) -> Result<(), Failure> {
    match output.json {
        true => print(format_args!("{:#}\n", as_json(domain))),
        false => print(format_args!(
            "{}\n    {}\n    {}\n    id {}, since {}\n",
            domain.name,
            switches(domain),
            limits::words(domain.retention),
            domain.id,
            rfc3339(domain.created_at)
        )),
    }
}

fn switches(domain: &SendingDomain) -> String {
    let state = |switch: Option<bool>| match switch {
        Some(true) => "true",
        Some(false) => "false",
        None => "false (never set)",
    };
    let tls = domain.tls;
    format!(
        "require_tls {}, skip_verification {}, tls_fallback {}, tls_failure {}",
        state(tls.require_tls),
        state(tls.skip_verification),
        tls.fallback.unwrap_or_default().as_str(),
        tls.when_left.unwrap_or_default().as_str()
    )
}

/// A switch that was never set is null: a message or the default decides.
fn as_json(domain: &SendingDomain) -> serde_json::Value {
    json!({
        "id": domain.id,
        "name": domain.name,
        "require_tls": domain.tls.require_tls,
        "skip_verification": domain.tls.skip_verification,
        "tls_fallback": domain.tls.fallback,
        "tls_failure": domain.tls.when_left,
        "event_retention": domain.retention.events.map(duration::format),
        "message_retention": domain.retention.contents.map(duration::format),
        "event_limit": domain.retention.most_events,
        "message_limit": domain.retention.most_octets,
        "created_at": rfc3339(domain.created_at),
    })
}
