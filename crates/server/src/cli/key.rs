//! `waxwing key`: API keys. A key is shown when it is made and never again.

use std::str::FromStr;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use smtp::Domain;
use store::{ApiKey, KeyRole, KeyScope, NewKey, Store, Timestamp};

use super::domain::Output;
use super::{Failure, print, rfc3339};
use crate::config::duration;
use crate::serve::{generate_key, key_record};

/// The longest life of a key that ends at all: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make an API key and show it, this once.
    #[command(visible_alias = "add")]
    Create {
        /// The only domain that it opens; without one it opens all.
        #[arg(long, value_name = "DOMAIN")]
        domain: Option<Domain>,
        /// What it may do: admin, developer (all but keys), basic (look, change nothing) or sending (with --domain).
        /// Default: admin, and sending with --domain.
        #[arg(long, value_name = "ROLE")]
        role: Option<KeyRole>,
        /// When it ends: after a time (90d, 12h), or at one (2030-01-31T00:00:00Z).
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,
        /// What it is for.
        #[arg(long, value_name = "TEXT", default_value = "", value_parser = description)]
        description: String,
        #[command(flatten)]
        output: Output,
    },
    /// List the API keys: their ends and what they are for, never the keys.
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Delete an API key; a running server refuses requests with it after a second.
    Delete {
        /// Its number in the list.
        id: i64,
        #[command(flatten)]
        output: Output,
    },
}

fn description(text: &str) -> Result<String, String> {
    match text {
        text if text.len() > 200 => Err("is longer than 200 octets".to_owned()),
        text if text.chars().any(char::is_control) => Err("has control characters".to_owned()),
        text => Ok(text.to_owned()),
    }
}

pub(super) async fn run(store: &Store, command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Create { domain, role, expires, description, output } => {
            let key = generate_key().ok_or_else(|| Failure::of("the system's source of randomness failed"))?;
            let (scope, role) = opens(domain, role).map_err(|why| Failure::Failed(why.to_owned()))?;
            let new = key_record(&key, &description);
            let expires_at = expires.map(|expiry| expiry.from(new.now)).transpose().map_err(Failure::Failed)?;
            let made = store.create_key(NewKey { scope, role, expires_at, ..new }).await?;
            match output.json {
                true => print(format_args!("{:#}\n", with(as_json(&made, Timestamp::now()), "key", key.expose()))),
                false => print(format_args!("{}\n", key.expose())),
            }
        }
        KeyCommand::List { output } => list(store, output).await,
        KeyCommand::Delete { id, output } => match store.delete_key(id).await? {
            true if output.json => print(format_args!("{:#}\n", json!({ "id": id, "deleted": true }))),
            true => print(format_args!("key {id} deleted\n")),
            false => Err(Failure::Failed(format!("there is no key {id}"))),
        },
    }
}

async fn list(store: &Store, output: Output) -> Result<(), Failure> {
    let (keys, now) = (store.list_keys().await?, Timestamp::now());
    if output.json {
        let all: Vec<_> = keys.iter().map(|key| as_json(key, now)).collect();
        return print(format_args!("{:#}\n", json!(all)));
    }
    let lines: String = keys.iter().map(|key| format!("{}\n", line(key, now).trim_end())).collect();
    print(lines)
}

fn line(key: &ApiKey, now: Timestamp) -> String {
    let opens = key.scope.domain().map_or("all domains", Domain::as_str);
    let until = match key.expires_at {
        Some(end) if key.is_expired(now) => format!("  expired {}", rfc3339(end)),
        Some(end) => format!("  until {}", rfc3339(end)),
        None => String::new(),
    };
    let (id, hint, role, since) = (key.id, &key.hint, key.role.as_str(), rfc3339(key.created_at));
    format!("{id:>4}  …{hint}  {role:<9}  {opens}  since {since}{until}  {}", key.description)
}

fn as_json(key: &ApiKey, now: Timestamp) -> Value {
    json!({
        "id": key.id,
        "ends_with": key.hint,
        "description": key.description,
        "domain": key.scope.domain(),
        "role": key.role.as_str(),
        "created_at": rfc3339(key.created_at),
        "expires_at": key.expires_at.map(rfc3339),
        "expired": key.is_expired(now),
    })
}

fn with(mut object: Value, name: &str, value: &str) -> Value {
    object[name] = value.into();
    object
}

/// What a key opens and may do. A key of a domain may send and nothing else unless it is said.
fn opens(domain: Option<Domain>, role: Option<KeyRole>) -> Result<(KeyScope, KeyRole), &'static str> {
    match (domain, role) {
        (None, Some(KeyRole::Sending)) => Err("the role sending needs --domain"),
        (None, role) => Ok((KeyScope::Account, role.unwrap_or(KeyRole::Admin))),
        (Some(domain), role) => Ok((KeyScope::Domain(domain), role.unwrap_or(KeyRole::Sending))),
    }
}

/// When a key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    After(Duration),
    At(Timestamp),
}

impl Expiry {
    fn from(self, now: Timestamp) -> Result<Timestamp, String> {
        let end = match self {
            Expiry::After(time) => now + time,
            Expiry::At(time) => time,
        };
        if end > now { Ok(end) } else { Err("--expires is in the past".to_owned()) }
    }
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Expiry, String> {
        if let Some(time) = duration::parse(text) {
            return if time <= LONGEST { Ok(Expiry::After(time)) } else { Err("is too far away".to_owned()) };
        }
        let time: jiff::Timestamp =
            text.parse().map_err(|_| "is neither a time like 90d nor a date like 2030-01-31T00:00:00Z".to_owned())?;
        Ok(Expiry::At(Timestamp::from_micros(time.as_microsecond())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_domain_only_sends_unless_it_is_said() {
        let of = |name: &str| KeyScope::Domain(name.parse().unwrap());
        for (domain, role, expected) in [
            (None, None, Ok((KeyScope::Account, KeyRole::Admin))),
            (None, Some(KeyRole::Basic), Ok((KeyScope::Account, KeyRole::Basic))),
            (None, Some(KeyRole::Sending), Err("the role sending needs --domain")),
            (Some("example.com"), None, Ok((of("example.com"), KeyRole::Sending))),
            (Some("example.com"), Some(KeyRole::Admin), Ok((of("example.com"), KeyRole::Admin))),
        ] {
            assert_eq!(opens(domain.map(|name| name.parse().unwrap()), role), expected);
        }
    }

    #[test]
    fn keys_end_after_a_time_or_at_one() {
        let now = Timestamp::from_secs(1_000_000_000);
        for (text, end) in [
            ("90d", Ok(now + Duration::from_secs(90 * 86_400))),
            ("2030-01-31T00:00:00Z", Ok(Timestamp::from_secs(1_896_048_000))),
            ("2001-01-01T00:00:00Z", Err("--expires is in the past".to_owned())),
            ("0s", Err("--expires is in the past".to_owned())),
        ] {
            assert_eq!(text.parse::<Expiry>().unwrap().from(now), end, "{text}");
        }
        for text in ["", "soon", "-1d", "2030-01-31", "40000d"] {
            assert!(text.parse::<Expiry>().is_err(), "{text}");
        }
    }
}
