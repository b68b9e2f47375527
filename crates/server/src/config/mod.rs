//! What the operator decides: a TOML file and environment variables, read once at the start.
//!
//! A variable beats the file, the file beats the default. [`keys::KEYS`] is the one list of what can be configured:
//! reading, `waxwing config` and the table in `docs/operations.md` all come from it, so none of them can forget a key.

pub mod duration;
mod error;
pub mod key;
pub mod keys;
mod read;
mod rules;
pub mod show;
mod source;
pub mod types;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use policy::rate::Rate;
use policy::retry::Schedule;
use smtp::{Address, Domain};
use store::Location;
use store::retention::Retention;
use url::Url;

pub use error::{ConfigError, Place, Problem};
pub use rules::Rule;
pub use types::{Credentials, Dnssec, EhloName, Host, LogFormat, OwnSite, Route, Secret, Switch};

/// Everything that can be configured, with its default from [`Config::default`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Address and port of the HTTP API. Port 0 takes a free one. Default `127.0.0.1:8025`.
    pub http_listen: SocketAddr,
    /// Address and port of SMTP submission with STARTTLS. Default: none.
    pub submission_listen: Option<SocketAddr>,
    /// Address and port of SMTP submission within TLS. Default: none.
    pub submissions_listen: Option<SocketAddr>,
    /// Address and port where failure reports about our mail are received. Default: none.
    pub bounce_listen: Option<SocketAddr>,
    /// Who gets the mail for `postmaster` and `abuse` that comes there.
    pub postmaster: Option<Address>,
    /// A PEM file with the certificate that SMTP clients are shown, and its chain. Default: one is made that nobody
    /// vouches for.
    pub certificate: Option<PathBuf>,
    /// A PEM file with its private key. Default: the same file.
    pub certificate_key: Option<PathBuf>,
    /// Names to get a certificate for by ACME (RFC 8555). Default: none, and none is got.
    pub acme_names: Vec<Domain>,
    /// The directory of the authority. Default: Let's Encrypt's.
    pub acme_directory: Url,
    /// Whom the authority may write to.
    pub acme_contact: Option<Address>,
    /// Whether the operator agrees to the authority's terms of service. Default off.
    pub acme_terms_agreed: Switch,
    /// Where challenges of the authority are answered. Default port 80 of all IPv4 addresses.
    pub acme_listen: SocketAddr,
    /// Where Prometheus is answered. Default: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Base of the URLs that the API hands out, without a slash at the end. Default: what the request's `Host` says.
    pub public_url: Option<Url>,
    /// Base of the links in messages that tell what recipients do, without a slash at the end. Default: `public_url`;
    /// without either nothing is tracked.
    pub tracking_url: Option<Url>,
    /// Where messages, events, domains and keys are kept. Default `sqlite:./data`.
    pub store: Location,
    /// Where this machine keeps what is its own. Default: see [`Config::own_directory`].
    pub directory: Option<PathBuf>,
    /// An API key that exists from the first start on, 16 to 256 characters. Default: one is made and shown once.
    pub api_key: Option<Secret>,
    /// The DNS resolver. Default: the system's, from `/etc/resolv.conf`.
    pub resolver: Option<SocketAddr>,
    /// How answers of the DNS are secured. Default: they are validated here.
    pub dnssec: Dnssec,
    /// A file of trust anchors. Default: the root's.
    pub dnssec_anchor: Option<PathBuf>,
    /// Whether MTA-STS policies are obeyed (RFC 8461). Default: yes.
    pub mta_sts: Switch,
    /// The port of policy hosts; anything but 443 is for laboratories. Default 443.
    pub mta_sts_port: u16,
    /// A PEM file of root certificates that are trusted beside the system's. Default: none.
    pub trust_roots: Option<PathBuf>,
    /// Networks that deliveries may reach although they are not public. Default: none.
    pub deliver_to_private: Vec<IpNet>,
    /// Networks that webhooks may reach although they are not public. Default: none.
    pub webhook_allow_networks: Vec<IpNet>,
    /// Waits after the first, second, … deferral, each from a second to 30 days, at most 100 of them.
    /// Default: 10, 15, 30 minutes, 1, 2, 4 hours.
    pub retry_schedule: Schedule,
    /// The name that EHLO gives. Default: the machine's host name.
    pub ehlo_name: EhloName,
    /// Local addresses that deliveries leave from, of either family. Default: the system chooses.
    pub source_addresses: Vec<IpAddr>,
    /// Connections to receivers at the same time, 1 to 10000. Default 200.
    pub concurrency_total: u16,
    /// Connections to the hosts of one site at the same time, 1 to 10000. Default 10.
    pub concurrency_per_site: u16,
    /// Messages to one site in a time. Default: as many as go.
    pub rate_per_site: Option<Rate>,
    /// Sites by the hosts of their MX records, with limits of their own. Default: none.
    pub sites: Vec<OwnSite>,
    /// How long a connection waits for another message, up to 5 minutes; zero closes each. Default 10 seconds.
    pub connection_idle_time: Duration,
    /// No message begins later on a connection, a second to an hour. Default 5 minutes.
    pub connection_lifetime: Duration,
    /// Most messages on one connection, 1 to 10000. Default 100.
    pub connection_messages: u16,
    /// Connections that wait for another message at the same time, 1 to 10000. Default 500.
    pub idle_connections: u16,
    /// Of these, to one address of a host, 1 to 10000. Default 10.
    pub idle_connections_per_host: u16,
    /// How long a verified TLS session is resumed, up to an hour; zero: never. Default an hour.
    pub tls_session_lifetime: Duration,
    /// Recipient domains that go to a host of the operator's choice instead of their MX hosts. Default: none.
    pub routes: Vec<Route>,
    /// What the operator demands at some destinations beside all others. Default: nothing.
    pub rules: Vec<Rule>,
    /// The port at which MX hosts are reached; anything but 25 is for laboratories. Default 25.
    pub smtp_port: u16,
    /// No single reply of a receiver is awaited longer than this, a second to an hour. Default: RFC 5321 §4.5.3.2.
    pub smtp_timeout: Option<Duration>,
    /// How long one TCP connection may take to be made, 100 milliseconds to 10 minutes. Default 30 seconds.
    pub connect_timeout: Duration,
    /// The address that reports about TLS come from (RFC 8460). Default: none are sent.
    pub tls_report_from: Option<Address>,
    /// Who reports, for people. Default: the domain of `tls_report_from`.
    pub tls_report_organization: Option<String>,
    /// Whom to ask about reports. Default: `tls_report_from`.
    pub tls_report_contact: Option<String>,
    /// The selector of the key that signs reports by mail. Default: none, and reports go by HTTPS only.
    pub tls_report_dkim_selector: Option<Domain>,
    /// A PEM file with that key.
    pub tls_report_dkim_key: Option<PathBuf>,
    /// Text for people or JSON for machines. Default text.
    pub log_format: LogFormat,
    /// Which log lines are written, as directives of `tracing`'s filter. Default `info`.
    pub log_level: String,
    /// How long events can be read, an hour to ten years. Default 30 days.
    pub event_retention: Duration,
    /// How long a message's body is kept after it was accepted, up to ten years; until its last recipient is finished
    /// in any case. Default 3 days.
    pub message_retention: Duration,
    /// Most events that are kept of one domain. Default: no limit.
    pub domain_event_limit: Option<u64>,
    /// Most octets of content of finished messages that are kept of one domain. Default: no limit.
    pub domain_message_limit: Option<u64>,
    /// How long a stop waits for running requests and deliveries, up to an hour. Default 30 seconds.
    pub shutdown_grace: Duration,
}

impl Config {
    /// Where this machine keeps what is its own: the directory that was named, or else that of the store.
    pub fn own_directory(&self) -> &Path {
        self.directory.as_deref().or_else(|| self.store.directory()).unwrap_or(Path::new("./data"))
    }

    /// What is kept of every domain at most.
    pub fn retention(&self) -> Retention {
        Retention {
            events: Some(self.event_retention),
            contents: Some(self.message_retention),
            most_events: self.domain_event_limit,
            most_octets: self.domain_message_limit,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            http_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8025)),
            submission_listen: None,
            submissions_listen: None,
            bounce_listen: None,
            postmaster: None,
            certificate: None,
            certificate_key: None,
            acme_names: Vec::new(),
            acme_directory: "https://acme-v02.api.letsencrypt.org/directory".parse().expect("it is a URL"),
            acme_contact: None,
            acme_terms_agreed: Switch::Off,
            acme_listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)),
            metrics_listen: None,
            public_url: None,
            tracking_url: None,
            store: "sqlite:./data".parse().expect("the default location is one"),
            directory: None,
            api_key: None,
            resolver: None,
            dnssec: Dnssec::Validate,
            dnssec_anchor: None,
            mta_sts: Switch::On,
            mta_sts_port: 443,
            trust_roots: None,
            deliver_to_private: Vec::new(),
            webhook_allow_networks: Vec::new(),
            retry_schedule: Schedule::default(),
            ehlo_name: EhloName::of_this_machine(),
            source_addresses: Vec::new(),
            concurrency_total: 200,
            concurrency_per_site: 10,
            rate_per_site: None,
            sites: Vec::new(),
            connection_idle_time: Duration::from_secs(10),
            connection_lifetime: Duration::from_secs(300),
            connection_messages: 100,
            idle_connections: 500,
            idle_connections_per_host: 10,
            tls_session_lifetime: Duration::from_secs(3600),
            routes: Vec::new(),
            rules: Vec::new(),
            smtp_port: 25,
            smtp_timeout: None,
            connect_timeout: Duration::from_secs(30),
            tls_report_from: None,
            tls_report_organization: None,
            tls_report_contact: None,
            tls_report_dkim_selector: None,
            tls_report_dkim_key: None,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
            event_retention: 30 * duration::DAY,
            message_retention: 3 * duration::DAY,
            domain_event_limit: None,
            domain_message_limit: None,
            shutdown_grace: Duration::from_secs(30),
        }
    }
}

/// A configuration and where each of its values comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// The file that was read, if one was named.
    pub file: Option<PathBuf>,
    /// The origin of each key, in the order of [`keys::KEYS`].
    origins: Vec<Origin>,
}

impl Loaded {
    /// Where the value of the key of this name comes from, `None` when there is no such key.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        let index = keys::KEYS.iter().position(|key| key.name == name)?;
        self.origins.get(index)
    }
}

impl Loaded {
    /// The variables that set something.
    pub fn variables(&self) -> usize {
        self.origins.iter().filter(|origin| matches!(origin, Origin::Set(Place::Variable(_)))).count()
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the file or a variable.
    Set(Place),
}

/// Reads the file, if one is named here or by `WAXWING_CONFIG`, and the variables; tells everything that is wrong.
pub fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let variables = source::Variables::of(variables, &mut problems);
    let file = file.map(Path::to_owned).or(variables.config_file);
    let from_file = match &file {
        Some(path) => source::read_file(path, &mut problems),
        None => Vec::new(),
    };

    let mut config = Config::default();
    let mut origins = vec![Origin::Default; keys::KEYS.len()];
    // The file first: a variable overwrites it, and a fault in either is told.
    for (index, node) in from_file.into_iter().chain(variables.settings) {
        let key = &keys::KEYS[index];
        match (key.read)(&node, &mut config) {
            Ok(()) => origins[index] = Origin::Set(node.place),
            Err(faults) => problems.extend(faults.into_iter().map(|fault| fault.of(key.name))),
        }
    }
    if problems.is_empty() { Ok(Loaded { config, file, origins }) } else { Err(ConfigError { problems }) }
}
