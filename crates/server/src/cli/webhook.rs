//! `waxwing webhook`: who is told of events, how that goes, and the key that signs.

use clap::Subcommand;
use serde_json::json;
use smtp::Domain;
use store::Store;
use store::webhook::{LastAnswer, Webhook, WebhooksOf};

use super::domain::Output;
use super::{Failure, print, rfc3339};
use crate::api::{new_signing_key, webhook_words};

#[derive(Debug, Subcommand)]
pub(super) enum WebhookCommand {
    /// List webhooks: what they are told of, and how that goes.
    List {
        /// Of this domain only.
        #[arg(long, value_name = "NAME")]
        domain: Option<Domain>,
        #[command(flatten)]
        output: Output,
    },
    /// Show the key that signs what webhooks are told; make it where there is none.
    Key {
        /// Make another one in its place. What is told from now on is signed with it.
        #[arg(long)]
        renew: bool,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) async fn run(store: &Store, command: WebhookCommand) -> Result<(), Failure> {
    match command {
        WebhookCommand::List { domain, output } => {
            let of = domain.map_or(WebhooksOf::Everybody, WebhooksOf::Domain);
            list(&store.webhooks(of).await?, &output)
        }
        WebhookCommand::Key { renew, output } => {
            let new = new_signing_key().ok_or_else(|| Failure::of("the system's source of randomness failed"))?;
            let key = match renew {
                true => store.set_signing_key(new.clone()).await.map(|()| new)?,
                false => store.signing_key(new).await?,
            };
            match output.json {
                true => print(format_args!("{:#}\n", json!({ "http_signing_key": key }))),
                false => print(format_args!("{key}\n")),
            }
        }
    }
}

fn list(webhooks: &[Webhook], output: &Output) -> Result<(), Failure> {
    if output.json {
        let all: Vec<_> = webhooks.iter().map(as_json).collect();
        return print(format_args!("{:#}\n", json!(all)));
    }
    let lines: String = webhooks.iter().map(line).collect();
    print(lines)
}

fn as_json(webhook: &Webhook) -> serde_json::Value {
    let answer = |last: &Option<LastAnswer>| {
        last.as_ref().map(|last| json!({ "at": rfc3339(last.at), "status": last.status, "error": last.words }))
    };
    json!({
        "id": webhook.subscription.key,
        "domain": webhook.domain.as_ref().map(Domain::as_str),
        "url": webhook.subscription.url,
        "event_types": webhook_words(&webhook.subscription),
        "told_to": rfc3339(webhook.told_to),
        "to_be_retried": webhook.set_aside,
        "last": answer(&webhook.last),
        "last_failure": answer(&webhook.last_failure),
    })
}

fn line(webhook: &Webhook) -> String {
    let of = webhook.domain.as_ref().map_or("(all domains)", Domain::as_str);
    let kinds = webhook_words(&webhook.subscription).join(",");
    let how = match &webhook.last {
        None => "not told of anything yet".to_owned(),
        Some(last) if last.words.is_empty() => format!("taken at {}", rfc3339(last.at)),
        Some(last) => format!("failed at {}: {}", rfc3339(last.at), last.words),
    };
    let waiting = match webhook.set_aside {
        0 => String::new(),
        count => format!("; {count} to be told again"),
    };
    format!("{of}  {}  {kinds}  {how}{waiting}\n", webhook.subscription.url)
}
