//! What is on this machine: configuration, store, disk, listeners, clock.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use store::inspect::Inspection;
use store::{StoreError, Timestamp};
use tokio::net::TcpListener;

use super::Point;
use crate::config::{Config, Loaded, Origin, Place};

/// Less room than this and mail is refused soon: the server keeps 16 MiB aside, and its log of changes grows to 64.
const LITTLE_SPACE: u64 = 128 << 20;
/// Less than this is worth a word.
const SOME_SPACE: u64 = 1 << 30;
/// How far an event may be ahead of the clock: several servers may have written to the store.
const CLOCK_SLACK: Duration = Duration::from_secs(60);
/// No clock that works stands before this: 2026-01-01.
const EARLIEST: Timestamp = Timestamp::from_secs(1_767_225_600);
/// How long the program that holds an address may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer of it that is read, in octets.
const ANSWER_OCTETS: usize = 1 << 20;

/// Settings that others must not read.
const SECRETS: [&str; 2] = ["api_key", "routes"];

pub(super) fn configuration(loaded: &Loaded) -> Point {
    let about = "configuration";
    let variables = match loaded.variables() {
        0 => String::new(),
        1 => ", and 1 variable".to_owned(),
        count => format!(", and {count} variables"),
    };
    let Some(file) = &loaded.file else {
        return Point::ok(about, format!("no file is named; defaults{variables}"));
    };
    let finding = format!("{}{variables}", file.display());
    let in_file = |key: &&str| matches!(loaded.origin(key), Some(Origin::Set(Place::File { .. })));
    let is_open = std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0);
    match SECRETS.iter().find(|key| in_file(key)) {
        Some(key) if is_open => {
            let advice = format!("it has {key}: chmod o-r {}", file.display());
            Point::warning(about, format!("{finding}; every user of this machine can read it"), advice)
        }
        _ => Point::ok(about, finding),
    }
}

/// The operator's rules; `None` where there are none.
pub(super) fn rules(config: &Config) -> Option<Point> {
    let ended = config.ended_rules(Timestamp::now().as_micros().div_euclid(1_000_000));
    let about = "rules";
    match config.rules.len() {
        0 => None,
        count if ended.is_empty() => Some(Point::ok(about, format!("{count}"))),
        _ => Some(Point::warning(about, ended.join("; "), "take it out, or give it another 'until'")),
    }
}

pub(super) fn store(config: &Config, inspected: &Result<Option<Inspection>, StoreError>) -> Point {
    let (about, location) = ("store", &config.store);
    let store = match inspected {
        Ok(Some(store)) => store,
        Ok(None) => {
            let advice = "the first start of the server makes it; if mail was kept before, look at `store` and at the \
                          directory that the program is started in";
            return Point::warning(about, format!("there is none at {location}"), advice);
        }
        Err(error @ StoreError::NewerSchema { .. }) => {
            return Point::problem(
                about,
                format!("{location}: {error}"),
                "run the program that wrote it, or a newer one",
            );
        }
        Err(error) => {
            return Point::problem(
                about,
                format!("{location}: {error}"),
                "run this as the user that the server runs as",
            );
        }
    };
    let schema = match store.schema == store.known_schema {
        true => format!("schema {}", store.schema),
        false => format!("schema {}, which a start takes to {}", store.schema, store.known_schema),
    };
    let served = if store.is_served { "held by a running server" } else { "no server runs on it" };
    let finding = format!("{location}, {schema}, {served}");
    match &store.unwritable {
        Some(why) => Point::problem(
            about,
            format!("{finding}; it cannot be written: {why}"),
            "the user that the server runs as must be able to, and the disk must have room",
        ),
        None => Point::ok(about, format!("{finding}, writable")),
    }
}

pub(super) fn space(store: Option<&Inspection>) -> Option<Point> {
    let about = "disk space";
    let free = store?.free?;
    let finding = match free {
        0..SOME_SPACE => format!("{} MiB free where the store lies", free >> 20),
        _ => format!("{} GiB free where the store lies", free >> 30),
    };
    Some(match free {
        0..LITTLE_SPACE => Point::problem(about, finding, "new mail is refused when it is full: make room"),
        LITTLE_SPACE..SOME_SPACE => Point::warning(about, finding, "make room, or keep less (message_retention)"),
        _ => Point::ok(about, finding),
    })
}

/// Whether the address of a listener is free, or has a server of ours on it.
pub(super) async fn listener(key: &str, address: SocketAddr, is_served: bool) -> Point {
    let error = match TcpListener::bind(address).await {
        Ok(_) if is_served && address.port() != 0 => {
            let advice = "it was started with another configuration, or other variables than this command";
            return Point::warning(key, format!("{address} is free, though a server runs on the store"), advice);
        }
        Ok(_) => return Point::ok(key, format!("{address} is free")),
        Err(error) => error,
    };
    match error.kind() {
        std::io::ErrorKind::AddrInUse if is_ours(address).await => {
            Point::ok(key, format!("{address} is held by a running waxwing"))
        }
        std::io::ErrorKind::AddrInUse => {
            let advice = format!("stop it, or choose another address ({key})");
            Point::problem(key, format!("{address} is taken by another program"), advice)
        }
        _ => Point::problem(
            key,
            format!("cannot listen on {address}: {error}"),
            format!("choose another address ({key})"),
        ),
    }
}

/// The addresses beside that of the API.
pub(super) fn further_listeners(config: &Config) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let acme = (!config.acme_names.is_empty()).then_some(config.acme_listen);
    [
        ("submission_listen", config.submission_listen),
        ("submissions_listen", config.submissions_listen),
        ("bounce_listen", config.bounce_listen),
        ("acme_listen", acme),
        ("metrics_listen", config.metrics_listen),
    ]
    .into_iter()
    .filter_map(|(key, address)| Some((key, address?)))
}

/// The same of a listener that does not say what program it is.
pub(super) async fn held(key: &str, address: SocketAddr, is_served: bool) -> Point {
    match TcpListener::bind(address).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && is_served => {
            Point::ok(key, format!("{address} is taken, and a server runs on the store"))
        }
        _ => listener(key, address, is_served).await,
    }
}

/// Whether what answers there is described as this program is.
async fn is_ours(address: SocketAddr) -> bool {
    let look = async {
        let client = reqwest::Client::builder().no_proxy().build().ok()?;
        let mut answer = client.get(format!("http://{address}/openapi.json")).send().await.ok()?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.ok()? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_OCTETS {
                return None;
            }
        }
        let description: Value = serde_json::from_slice(&body).ok()?;
        Some(description["info"]["title"] == "Waxwing")
    };
    tokio::time::timeout(PATIENCE, look).await.ok().flatten().unwrap_or(false)
}

/// `validates`: the signatures of the DNS were found to be in date.
pub(super) fn clock(store: Option<&Inspection>, validates: bool) -> Point {
    let (about, now) = ("clock", Timestamp::now());
    let shown = crate::cli::rfc3339(now);
    let advice = "set it, and keep it right (NTP): certificates, signatures and retries depend on it";
    if now < EARLIEST {
        return Point::problem(about, format!("it stands at {shown}, which is long past"), advice);
    }
    match store.and_then(|store| store.latest_event) {
        Some(latest) if latest > now + CLOCK_SLACK => {
            let latest = crate::cli::rfc3339(latest);
            Point::problem(about, format!("it stands at {shown}, and the store has an event of {latest}"), advice)
        }
        _ if validates => Point::ok(about, format!("{shown}; signatures of the DNS are in date by it")),
        _ => Point::ok(about, format!("{shown}; nothing here contradicts it")),
    }
}
