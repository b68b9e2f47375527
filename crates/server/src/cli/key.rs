//! `waxwing key`: API keys. A key is shown when it is made and never again.

use clap::Subcommand;
use serde_json::json;
use store::Store;

use super::domain::Output;
use super::{Failure, print, rfc3339};
use crate::serve::{generate_key, key_record};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make an API key and show it, this once.
    Add {
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
    /// Delete an API key; requests with it are refused from now on.
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
        KeyCommand::Add { description, output } => {
            let key = generate_key().ok_or_else(|| Failure::of("the system's source of randomness failed"))?;
            let made = store.create_key(key_record(&key, &description)).await?;
            match output.json {
                true => print(format_args!(
                    "{:#}\n",
                    json!({ "id": made.id, "key": key.expose(), "description": made.description })
                )),
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
    let keys = store.list_keys().await?;
    if output.json {
        let all: Vec<_> = keys
            .iter()
            .map(|key| {
                json!({
                    "id": key.id,
                    "ends_with": key.hint,
                    "description": key.description,
                    "created_at": rfc3339(key.created_at),
                })
            })
            .collect();
        return print(format_args!("{:#}\n", json!(all)));
    }
    let lines: String = keys
        .iter()
        .map(|key| format!("{:>4}  …{}  since {}  {}", key.id, key.hint, rfc3339(key.created_at), key.description))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    print(lines)
}
