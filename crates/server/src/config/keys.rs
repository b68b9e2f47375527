//! The one list of what can be configured.

use std::time::Duration;

use policy::tls::Minimum;
use toml::Value;

use super::duration::{self, DAY};
use super::key::{Key, Shape};
use super::types::{LogFormat, OwnSite, Route, Secret};

/// Reads a value into its field: `set!(field, method(arguments))`, `set!(Some(field), …)` where it may be absent.
macro_rules! set {
    (Some($field:ident), $method:ident($($argument:expr),*)) => {
        |node, config| {
            config.$field = Some(node.$method($($argument),*)?);
            Ok(())
        }
    };
    ($field:ident, $method:ident($($argument:expr),*)) => {
        |node, config| {
            config.$field = node.$method($($argument),*)?;
            Ok(())
        }
    };
}

/// Every setting, in the order in which people are shown them.
pub const KEYS: &[Key] = &[
    Key {
        name: "http_listen",
        shape: Shape::Text,
        meaning: "Address and port of the HTTP API and the control panel. Port 0 takes a free one.",
        unset: None,
        read: set!(http_listen, socket_address()),
        show: |config| Some(config.http_listen.to_string().into()),
    },
    Key {
        name: "submission_listen",
        shape: Shape::Text,
        meaning: "Address and port of SMTP submission with STARTTLS, usually port 587; see [Submission](#submission).",
        unset: Some("none is opened"),
        read: set!(Some(submission_listen), socket_address()),
        show: |config| config.submission_listen.map(|address| address.to_string().into()),
    },
    Key {
        name: "submissions_listen",
        shape: Shape::Text,
        meaning: "Address and port of SMTP submission within TLS, usually port 465.",
        unset: Some("none is opened"),
        read: set!(Some(submissions_listen), socket_address()),
        show: |config| config.submissions_listen.map(|address| address.to_string().into()),
    },
    Key {
        name: "bounce_listen",
        shape: Shape::Text,
        meaning: "Address and port where failure reports come back, in production port 25; see [Bounces](#bounces).",
        unset: Some("none is opened"),
        read: set!(Some(bounce_listen), socket_address()),
        show: |config| config.bounce_listen.map(|address| address.to_string().into()),
    },
    Key {
        name: "postmaster",
        shape: Shape::Text,
        meaning: "Address that gets the mail for `postmaster` and `abuse` that comes there; see [Bounces](#bounces).",
        unset: Some("such mail is refused"),
        read: set!(Some(postmaster), explained()),
        show: |config| config.postmaster.as_ref().map(|address| address.to_string().into()),
    },
    Key {
        name: "certificate",
        shape: Shape::Text,
        meaning: "PEM file of the certificate that SMTP clients are shown, with its chain. Read again when it changes.",
        unset: Some("one is made that nobody vouches for"),
        read: set!(Some(certificate), readable_file()),
        show: |config| config.certificate.as_ref().map(|path| path.display().to_string().into()),
    },
    Key {
        name: "certificate_key",
        shape: Shape::Text,
        meaning: "PEM file of its private key.",
        unset: Some("in the same file"),
        read: set!(Some(certificate_key), readable_file()),
        show: |config| config.certificate_key.as_ref().map(|path| path.display().to_string().into()),
    },
    Key {
        name: "acme_names",
        shape: Shape::List,
        meaning: "Host names that SMTP listeners show a certificate for, got by [ACME](#certificates-by-acme); at most 100.",
        unset: Some("none, and none is got"),
        read: set!(acme_names, host_names()),
        show: |config| {
            let names = config.acme_names.iter().map(|name| Value::from(name.as_str()));
            Some(names.collect::<Vec<_>>().into())
        },
    },
    Key {
        name: "acme_directory",
        shape: Shape::Text,
        meaning: "URL of the authority's directory.",
        unset: None,
        read: set!(acme_directory, https_url()),
        show: |config| Some(config.acme_directory.as_str().into()),
    },
    Key {
        name: "acme_contact",
        shape: Shape::Text,
        meaning: "Address that the authority may write to, told when the account is made.",
        unset: None,
        read: set!(Some(acme_contact), explained()),
        show: |config| config.acme_contact.as_ref().map(|address| address.to_string().into()),
    },
    Key {
        name: "acme_terms_agreed",
        shape: Shape::Text,
        meaning: "`on`: you have read the authority's terms of service and agree to them.",
        unset: None,
        read: set!(acme_terms_agreed, explained()),
        show: |config| Some(config.acme_terms_agreed.to_string().into()),
    },
    Key {
        name: "acme_listen",
        shape: Shape::Text,
        meaning: "Address and port where the authority's challenges (http-01) are answered; the authority calls port 80.",
        unset: None,
        read: set!(acme_listen, socket_address()),
        show: |config| Some(config.acme_listen.to_string().into()),
    },
    Key {
        name: "metrics_listen",
        shape: Shape::Text,
        meaning: "Address and port of [`/metrics`](#metrics) for Prometheus, which asks for no key.",
        unset: Some("nowhere"),
        read: set!(Some(metrics_listen), socket_address()),
        show: |config| config.metrics_listen.map(|address| address.to_string().into()),
    },
    Key {
        name: "public_url",
        shape: Shape::Text,
        meaning: "Base of the URLs that the API hands out, for a server behind a proxy.",
        unset: Some("from the request's `Host`"),
        read: set!(Some(public_url), base_url()),
        show: |config| config.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/').into()),
    },
    Key {
        name: "tracking_url",
        shape: Shape::Text,
        meaning: "Base of the links in messages that tell what recipients do; see [Tracking](#tracking).",
        unset: Some("`public_url`; without either nothing is tracked"),
        read: set!(Some(tracking_url), base_url()),
        show: |config| config.tracking_url.as_ref().map(|url| url.as_str().trim_end_matches('/').into()),
    },
    Key {
        name: "store",
        shape: Shape::Text,
        meaning: "Where messages, events, domains and keys are kept: `sqlite:` and a directory, or the URL of a PostgreSQL; see [Several nodes](#several-nodes).",
        unset: None,
        read: set!(store, explained()),
        show: |config| Some(config.store.to_string().into()),
    },
    Key {
        name: "directory",
        shape: Shape::Text,
        meaning: "Where this machine keeps what is its own: the certificate that it made for itself, or got by ACME, with its key.",
        unset: Some("that of the store; `./data` where the store is a PostgreSQL"),
        read: set!(Some(directory), path()),
        show: |config| config.directory.as_ref().map(|path| path.display().to_string().into()),
    },
    Key {
        name: "api_key",
        shape: Shape::Text,
        meaning: "An API key that exists from the first start on, 16 to 256 characters.",
        unset: Some("one is made at the first start and shown once"),
        read: set!(Some(api_key), api_key()),
        show: |config| config.api_key.as_ref().map(|_| Secret::REDACTED.into()),
    },
    Key {
        name: "resolver",
        shape: Shape::Text,
        meaning: "Address and port of the DNS resolver; port 53 may be left out.",
        unset: Some("the system's, `/etc/resolv.conf`"),
        read: set!(Some(resolver), resolver()),
        show: |config| config.resolver.map(|address| address.to_string().into()),
    },
    Key {
        name: "dnssec",
        shape: Shape::Text,
        meaning: "`validate` checks signatures here, `trust-ad` believes the resolver, `off` does without DANE; see [DNSSEC](#dnssec).",
        unset: None,
        read: set!(dnssec, explained()),
        show: |config| Some(config.dnssec.to_string().into()),
    },
    Key {
        name: "dnssec_anchor",
        shape: Shape::Text,
        meaning: "File of trust anchors, DS or DNSKEY records, for `validate`.",
        unset: Some("the root's, shipped with the program"),
        read: set!(Some(dnssec_anchor), readable_file()),
        show: |config| config.dnssec_anchor.as_ref().map(|path| path.display().to_string().into()),
    },
    Key {
        name: "mta_sts",
        shape: Shape::Text,
        meaning: "`on` obeys the MTA-STS policies of recipient domains (RFC 8461), `off` does not look for them.",
        unset: None,
        read: set!(mta_sts, explained()),
        show: |config| Some(config.mta_sts.to_string().into()),
    },
    Key {
        name: "mta_sts_port",
        shape: Shape::Number,
        meaning: "Port of the hosts that publish MTA-STS policies. Anything but 443 is for laboratories.",
        unset: None,
        read: set!(mta_sts_port, number(1u16..=u16::MAX)),
        show: |config| Some(whole(config.mta_sts_port)),
    },
    Key {
        name: "trust_roots",
        shape: Shape::Text,
        meaning: "PEM file of root certificates that are trusted beside the system's.",
        unset: None,
        read: set!(Some(trust_roots), readable_file()),
        show: |config| config.trust_roots.as_ref().map(|path| path.display().to_string().into()),
    },
    Key {
        name: "deliver_to_private",
        shape: Shape::List,
        meaning: "Addresses or networks that deliveries may reach although they are not public.",
        unset: None,
        read: set!(deliver_to_private, networks()),
        show: |config| Some(texts(&config.deliver_to_private)),
    },
    Key {
        name: "webhook_allow_networks",
        shape: Shape::List,
        meaning: "Addresses or networks that webhooks may reach although they are not public.",
        unset: None,
        read: set!(webhook_allow_networks, networks()),
        show: |config| Some(texts(&config.webhook_allow_networks)),
    },
    Key {
        name: "retry_schedule",
        shape: Shape::List,
        meaning: "Waits after the first, second, … deferral, `1s` to `30d` each; then the recipient has failed.",
        unset: None,
        read: set!(retry_schedule, schedule()),
        show: |config| Some(list(config.retry_schedule.waits(), |wait| time(*wait))),
    },
    Key {
        name: "ehlo_name",
        shape: Shape::Text,
        meaning: "The name that EHLO gives: a full host name that resolves to this machine, or an address literal.",
        unset: Some("the machine's host name"),
        read: set!(ehlo_name, explained()),
        show: |config| Some(config.ehlo_name.to_string().into()),
    },
    Key {
        name: "source_addresses",
        shape: Shape::List,
        meaning: "Local addresses that deliveries leave from, IPv4, IPv6 or both.",
        unset: Some("the system chooses"),
        read: set!(source_addresses, source_addresses()),
        show: |config| Some(texts(&config.source_addresses)),
    },
    Key {
        name: "concurrency_total",
        shape: Shape::Number,
        meaning: "Connections to receivers at the same time, 1 to 10000.",
        unset: None,
        read: set!(concurrency_total, number(1u16..=10_000)),
        show: |config| Some(whole(config.concurrency_total)),
    },
    Key {
        name: "concurrency_per_site",
        shape: Shape::Number,
        meaning: "Of these, to the hosts of one site, 1 to 10000; see [Sites](#sites).",
        unset: None,
        read: set!(concurrency_per_site, number(1u16..=10_000)),
        show: |config| Some(whole(config.concurrency_per_site)),
    },
    Key {
        name: "rate_per_site",
        shape: Shape::Text,
        meaning: "Messages to one site in a time: `10/s`, `600/min`, `5000/h` or `100000/d`.",
        unset: Some("as many as go"),
        read: set!(Some(rate_per_site), explained()),
        show: |config| config.rate_per_site.map(|rate| rate.to_string().into()),
    },
    Key {
        name: "sites",
        shape: Shape::Tables,
        meaning: "Sites by the names of their MX hosts, with limits of their own; see [Sites](#sites).",
        unset: None,
        read: set!(sites, sites()),
        show: |config| Some(list(&config.sites, site)),
    },
    Key {
        name: "connection_idle_time",
        shape: Shape::Text,
        meaning: "How long a connection waits for another message, up to `5m`; `0s` closes each after its message.",
        unset: None,
        read: set!(connection_idle_time, duration(Duration::ZERO..=Duration::from_secs(300))),
        show: |config| Some(time(config.connection_idle_time)),
    },
    Key {
        name: "connection_lifetime",
        shape: Shape::Text,
        meaning: "No message begins later on a connection, `1s` to `1h`, so that a change at the host is seen.",
        unset: None,
        read: set!(connection_lifetime, duration(Duration::from_secs(1)..=Duration::from_secs(3600))),
        show: |config| Some(time(config.connection_lifetime)),
    },
    Key {
        name: "connection_messages",
        shape: Shape::Number,
        meaning: "Most messages on one connection, 1 to 10000.",
        unset: None,
        read: set!(connection_messages, number(1u16..=10_000)),
        show: |config| Some(whole(config.connection_messages)),
    },
    Key {
        name: "idle_connections",
        shape: Shape::Number,
        meaning: "Connections that wait for another message at the same time, 1 to 10000.",
        unset: None,
        read: set!(idle_connections, number(1u16..=10_000)),
        show: |config| Some(whole(config.idle_connections)),
    },
    Key {
        name: "idle_connections_per_host",
        shape: Shape::Number,
        meaning: "Of these, to one address of a host, 1 to 10000.",
        unset: None,
        read: set!(idle_connections_per_host, number(1u16..=10_000)),
        show: |config| Some(whole(config.idle_connections_per_host)),
    },
    Key {
        name: "tls_session_lifetime",
        shape: Shape::Text,
        meaning: "How long a verified TLS session is resumed, up to `1h`; `0s` makes every handshake a full one.",
        unset: None,
        read: set!(tls_session_lifetime, duration(Duration::ZERO..=Duration::from_secs(3600))),
        show: |config| Some(time(config.tls_session_lifetime)),
    },
    Key {
        name: "routes",
        shape: Shape::Tables,
        meaning: "Recipient domains that go to a host of your choice; see [Routes](#routes).",
        unset: None,
        read: set!(routes, routes()),
        show: |config| Some(list(&config.routes, route)),
    },
    Key {
        name: "rules",
        shape: Shape::Tables,
        meaning: "What you demand at some destinations; see [Rules](tls.md#rules-per-destination).",
        unset: None,
        read: set!(rules, rules()),
        show: |config| Some(list(&config.rules, |rule| Value::Table(rule.table()))),
    },
    Key {
        name: "smtp_port",
        shape: Shape::Number,
        meaning: "Port at which MX hosts are reached. Anything but 25 is for laboratories.",
        unset: None,
        read: set!(smtp_port, number(1u16..=u16::MAX)),
        show: |config| Some(whole(config.smtp_port)),
    },
    Key {
        name: "smtp_timeout",
        shape: Shape::Text,
        meaning: "No single reply of a receiver is awaited longer than this, `1s` to `1h`.",
        unset: Some("each command's own, RFC 5321 §4.5.3.2"),
        read: set!(Some(smtp_timeout), duration(Duration::from_secs(1)..=Duration::from_secs(3600))),
        show: |config| config.smtp_timeout.map(time),
    },
    Key {
        name: "connect_timeout",
        shape: Shape::Text,
        meaning: "How long making one TCP connection may take, `100ms` to `10m`.",
        unset: None,
        read: set!(connect_timeout, duration(Duration::from_millis(100)..=Duration::from_secs(600))),
        show: |config| Some(time(config.connect_timeout)),
    },
    Key {
        name: "tls_report_from",
        shape: Shape::Text,
        meaning: "Address that reports about TLS come from (RFC 8460); see [Reports](tls-reporting.md).",
        unset: Some("none are sent"),
        read: set!(Some(tls_report_from), explained()),
        show: |config| config.tls_report_from.as_ref().map(|address| address.to_string().into()),
    },
    Key {
        name: "tls_report_organization",
        shape: Shape::Text,
        meaning: "Who reports, for people.",
        unset: Some("the domain of `tls_report_from`"),
        read: set!(Some(tls_report_organization), owned_text()),
        show: |config| config.tls_report_organization.as_deref().map(Value::from),
    },
    Key {
        name: "tls_report_contact",
        shape: Shape::Text,
        meaning: "Whom to ask about reports: an address or a URL.",
        unset: Some("`tls_report_from`"),
        read: set!(Some(tls_report_contact), owned_text()),
        show: |config| config.tls_report_contact.as_deref().map(Value::from),
    },
    Key {
        name: "tls_report_dkim_selector",
        shape: Shape::Text,
        meaning: "DKIM selector for reports by mail, with the domain of `tls_report_from`.",
        unset: Some("reports go by HTTPS only"),
        read: set!(Some(tls_report_dkim_selector), explained()),
        show: |config| config.tls_report_dkim_selector.as_ref().map(|selector| selector.to_string().into()),
    },
    Key {
        name: "tls_report_dkim_key",
        shape: Shape::Text,
        meaning: "PEM file of its private key, RSA or Ed25519.",
        unset: None,
        read: set!(Some(tls_report_dkim_key), readable_file()),
        show: |config| config.tls_report_dkim_key.as_ref().map(|path| path.display().to_string().into()),
    },
    Key {
        name: "log_format",
        shape: Shape::Text,
        meaning: "`text` for people, `json` for machines: one object a line.",
        unset: None,
        read: set!(log_format, explained()),
        show: |config| Some(config.log_format.to_string().into()),
    },
    Key {
        name: "log_level",
        shape: Shape::Text,
        meaning: "`error`, `warn`, `info`, `debug`, `trace`, or directives such as `warn,delivery=debug`.",
        unset: None,
        read: set!(log_level, log_filter()),
        show: |config| Some(config.log_level.as_str().into()),
    },
    Key {
        name: "event_retention",
        shape: Shape::Text,
        meaning: "How long events can be read, `1h` to `3650d`.",
        unset: None,
        read: set!(event_retention, duration(Duration::from_secs(3600)..=3650 * DAY)),
        show: |config| Some(time(config.event_retention)),
    },
    Key {
        name: "message_retention",
        shape: Shape::Text,
        meaning: "How long a message's body is kept, up to `3650d`; until its last recipient is finished in any case.",
        unset: None,
        read: set!(message_retention, duration(Duration::ZERO..=3650 * DAY)),
        show: |config| Some(time(config.message_retention)),
    },
    Key {
        name: "domain_event_limit",
        shape: Shape::Number,
        meaning: "Most events that are kept of one sending domain; the latest stay.",
        unset: None,
        read: set!(Some(domain_event_limit), number(1u64..=i64::MAX.unsigned_abs())),
        show: |config| config.domain_event_limit.map(amount),
    },
    Key {
        name: "domain_message_limit",
        shape: Shape::Number,
        meaning: "Most octets of bodies of finished messages that are kept of one sending domain; the latest stay.",
        unset: None,
        read: set!(Some(domain_message_limit), number(1u64..=i64::MAX.unsigned_abs())),
        show: |config| config.domain_message_limit.map(amount),
    },
    Key {
        name: "shutdown_grace",
        shape: Shape::Text,
        meaning: "How long a stop waits for running requests and deliveries, up to `1h`.",
        unset: None,
        read: set!(shutdown_grace, duration(Duration::ZERO..=Duration::from_secs(3600))),
        show: |config| Some(time(config.shutdown_grace)),
    },
];

fn list<T>(items: &[T], value: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(value).collect())
}

fn texts<T: ToString>(items: &[T]) -> Value {
    list(items, |item| item.to_string().into())
}

fn whole(number: u16) -> Value {
    Value::Integer(number.into())
}

fn amount(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn time(duration: Duration) -> Value {
    duration::format(duration).into()
}

pub(super) fn minimum(minimum: Minimum) -> &'static str {
    match minimum {
        Minimum::None => "none",
        Minimum::Encrypted => "encrypted",
        Minimum::Verified => "verified",
    }
}

fn route(route: &Route) -> Value {
    let mut table = toml::Table::new();
    table.insert("domain".into(), route.domain.to_string().into());
    table.insert("host".into(), format!("{}:{}", route.host, route.port).into());
    table.insert("tls".into(), minimum(route.tls).into());
    if let Some(credentials) = &route.credentials {
        table.insert("username".into(), credentials.username.as_str().into());
        table.insert("password".into(), Secret::REDACTED.into());
    }
    Value::Table(table)
}

fn site(site: &OwnSite) -> Value {
    let mut table = toml::Table::new();
    table.insert("hosts".into(), texts(&site.hosts));
    if let Some(concurrency) = site.concurrency {
        table.insert("concurrency".into(), whole(concurrency));
    }
    if let Some(rate) = site.rate {
        table.insert("rate".into(), rate.to_string().into());
    }
    Value::Table(table)
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(format!("'{other}' is not one of text, json")),
        }
    }
}

impl std::fmt::Display for LogFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}
