//! `waxwing domain dkim`: the keys that sign a domain's mail.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use message::dkim::KeyKind;
use serde_json::{Value, json};
use smtp::Domain;
use store::Store;
use store::dkim::{DKIM_KEYS_PER_DOMAIN, DkimKey, DkimKeyDeletion, DkimKeyQuery, PrivateKey};

use super::domain::{Output, missing};
use super::{Failure, print, rfc3339};
use crate::dkim::{Source, new_key};

/// Longest file that is read as a key, in octets.
const FILE_OCTETS: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum DkimCommand {
    /// Make a key, or take one from a file. It signs only once it is activated: publish its record first.
    Add {
        domain: Domain,
        /// Where it is published: SELECTOR._domainkey.DOMAIN. One that tells the day unless given.
        #[arg(long)]
        selector: Option<Domain>,
        /// What key to make.
        #[arg(long = "type", value_name = "TYPE", default_value = "rsa-2048", conflicts_with = "pem")]
        kind: Kind,
        /// A file with a private key in PEM form, RSA of 2048 to 4096 bits or Ed25519.
        #[arg(long, value_name = "FILE")]
        pem: Option<PathBuf>,
        /// Let it sign at once.
        #[arg(long)]
        active: bool,
        #[command(flatten)]
        output: Output,
    },
    /// List the keys of a domain, each with its record.
    List {
        domain: Domain,
        #[command(flatten)]
        output: Output,
    },
    /// Let a key sign, from the next delivery on.
    Activate {
        domain: Domain,
        selector: Domain,
        #[command(flatten)]
        output: Output,
    },
    /// Let a key sign no more. Its record must stay until what it signed has arrived.
    Deactivate {
        domain: Domain,
        selector: Domain,
        #[command(flatten)]
        output: Output,
    },
    /// Delete a key, unless it is the last one that signs.
    Delete {
        domain: Domain,
        selector: Domain,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Kind {
    #[value(name = "rsa-2048")]
    Rsa2048,
    #[value(name = "rsa-4096")]
    Rsa4096,
    Ed25519,
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> KeyKind {
        match kind {
            Kind::Rsa2048 => KeyKind::Rsa2048,
            Kind::Rsa4096 => KeyKind::Rsa4096,
            Kind::Ed25519 => KeyKind::Ed25519,
        }
    }
}

pub(super) async fn run(store: &Store, command: DkimCommand) -> Result<(), Failure> {
    match command {
        DkimCommand::Add { domain, selector, kind, pem, active, output } => {
            let source = pem.map_or(Ok(Source::Made(kind.into())), |path| read(&path).map(Source::Given))?;
            let key = new_key(source, selector, active).await.map_err(Failure::of)?;
            let made = store.create_dkim_key(&domain, key).await?;
            show(&made.ok_or_else(|| missing(&domain))?, output)
        }
        DkimCommand::List { domain, output } => list(store, domain, output).await,
        DkimCommand::Activate { domain, selector, output } => turn(store, &domain, &selector, true, output).await,
        DkimCommand::Deactivate { domain, selector, output } => turn(store, &domain, &selector, false, output).await,
        DkimCommand::Delete { domain, selector, output } => match store.delete_dkim_key(&domain, &selector).await? {
            DkimKeyDeletion::Deleted if output.json => {
                print(format_args!("{:#}\n", json!({ "domain": domain, "selector": selector, "deleted": true })))
            }
            DkimKeyDeletion::Deleted => print(format_args!("{selector} of {domain} deleted\n")),
            DkimKeyDeletion::NotFound => Err(no_key(&domain, &selector)),
            DkimKeyDeletion::LastActive => Err(Failure::Failed(format!(
                "{selector} is the last key of {domain} that signs; activate another one, or deactivate it first"
            ))),
        },
    }
}

async fn turn(store: &Store, domain: &Domain, selector: &Domain, active: bool, output: Output) -> Result<(), Failure> {
    let turned = store.set_dkim_key_active(domain, selector, active).await?;
    show(&turned.ok_or_else(|| no_key(domain, selector))?, output)
}

async fn list(store: &Store, domain: Domain, output: Output) -> Result<(), Failure> {
    store.domain(&domain).await?.ok_or_else(|| missing(&domain))?;
    let query = DkimKeyQuery { domain: Some(domain), limit: DKIM_KEYS_PER_DOMAIN, ..DkimKeyQuery::default() };
    let (_, keys) = store.dkim_keys(query).await?;
    match output.json {
        true => print(format_args!("{:#}\n", keys.iter().map(as_json).collect::<Value>())),
        false => print(keys.iter().map(in_words).collect::<String>()),
    }
}

fn show(key: &DkimKey, output: Output) -> Result<(), Failure> {
    match output.json {
        true => print(format_args!("{:#}\n", as_json(key))),
        false => print(in_words(key)),
    }
}

fn in_words(key: &DkimKey) -> String {
    let kind = key.rsa_bits.map_or("Ed25519".to_owned(), |bits| format!("RSA {bits}"));
    let state = if key.active { "active" } else { "inactive" };
    let (selector, since, name, record) = (&key.selector, rfc3339(key.created_at), key.record_name(), &key.record);
    format!("{selector}  {kind}, {state}, since {since}\n    {name}. TXT\n    {record}\n")
}

fn as_json(key: &DkimKey) -> Value {
    json!({
        "domain": key.domain,
        "selector": key.selector,
        "type": if key.rsa_bits.is_some() { "rsa" } else { "ed25519" },
        "bits": key.rsa_bits,
        "active": key.active,
        "created_at": rfc3339(key.created_at),
        "record_name": key.record_name(),
        "record": key.record,
    })
}

/// No message quotes the file.
fn read(path: &Path) -> Result<PrivateKey, Failure> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_OCTETS).read_to_string(&mut text));
    read.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    Ok(PrivateKey::new(text))
}

fn no_key(domain: &Domain, selector: &Domain) -> Failure {
    Failure::Failed(format!("{domain} has no key with the selector {selector}"))
}
