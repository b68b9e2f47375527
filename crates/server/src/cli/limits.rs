//! What is kept of a sending domain, as options of `waxwing domain add` and `set`.

use std::time::Duration;

use clap::Args;
use store::retention::{Retention, RetentionChange};

use crate::config::duration;

/// Each may be `default`: what the configuration says for all domains, and that is never exceeded.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Limits {
    /// How long events can be read, such as 7d, from an hour on, or 'default'.
    #[arg(long, value_name = "TIME", value_parser = of_hours)]
    event_retention: Option<Limit<Duration>>,
    /// How long the bodies of messages are kept, such as 12h, or 'default'.
    #[arg(long, value_name = "TIME", value_parser = of_time)]
    message_retention: Option<Limit<Duration>>,
    /// Most events that are kept, or 'default'.
    #[arg(long, value_name = "NUMBER", value_parser = of_number)]
    event_limit: Option<Limit<u64>>,
    /// Most octets of bodies of messages that are kept, or 'default'.
    #[arg(long, value_name = "OCTETS", value_parser = of_number)]
    message_limit: Option<Limit<u64>>,
}

/// A limit, or none. A type of its own, since nested options mean something else to clap.
#[derive(Debug, Clone, Copy)]
struct Limit<T>(Option<T>);

fn of_hours(text: &str) -> Result<Limit<Duration>, String> {
    let time = duration::parse(text).filter(|time| *time >= Duration::from_secs(3600));
    limit(text, time, "a time such as 12h or 7d, from an hour on")
}

fn of_time(text: &str) -> Result<Limit<Duration>, String> {
    limit(text, duration::parse(text), "a time such as 12h or 7d")
}

fn of_number(text: &str) -> Result<Limit<u64>, String> {
    let number = text.parse().ok().filter(|number| (1..=i64::MAX.unsigned_abs()).contains(number));
    limit(text, number, "a whole number from 1 on")
}

fn limit<T>(text: &str, value: Option<T>, wanted: &str) -> Result<Limit<T>, String> {
    match value {
        None if text == "default" => Ok(Limit(None)),
        None => Err(format!("neither {wanted} nor 'default'")),
        some => Ok(Limit(some)),
    }
}

impl From<Limits> for RetentionChange {
    fn from(limits: Limits) -> RetentionChange {
        RetentionChange {
            events: limits.event_retention.map(|limit| limit.0),
            contents: limits.message_retention.map(|limit| limit.0),
            most_events: limits.event_limit.map(|limit| limit.0),
            most_octets: limits.message_limit.map(|limit| limit.0),
        }
    }
}

/// The limits of a domain for people.
pub(super) fn words(retention: Retention) -> String {
    let or_default = |limit: Option<String>| limit.unwrap_or_else(|| "default".to_owned());
    format!(
        "event_retention {}, message_retention {}, event_limit {}, message_limit {}",
        or_default(retention.events.map(duration::format)),
        or_default(retention.contents.map(duration::format)),
        or_default(retention.most_events.map(|limit| limit.to_string())),
        or_default(retention.most_octets.map(|limit| limit.to_string()))
    )
}
