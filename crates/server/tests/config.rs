//! The configuration: every key good and bad, from the file and from its variable, and what `waxwing config` tells.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use server::config::{Config, ConfigError, Loaded, Origin, Place, key::Shape, keys::KEYS, load, show};

#[path = "config/rules.rs"]
mod rules;

/// A key, what the file may say, the same as a variable, how it is shown; then what the file may not say and a part of
/// the answer to it.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const NOT_A_DURATION: &str = "is not a duration";

const CASES: &[Case] = &[
    (
        "http_listen",
        r#""[::1]:80""#,
        "[::1]:80",
        r#""[::1]:80""#,
        &[
            (r#""localhost:80""#, "'localhost:80' is not an IP address and port such as 127.0.0.1:8025"),
            (r#""127.0.0.1""#, "is not an IP address and port"),
            ("8025", "must be a text, not a number"),
        ],
    ),
    (
        "submission_listen",
        r#""0.0.0.0:587""#,
        "0.0.0.0:587",
        r#""0.0.0.0:587""#,
        &[(r#""587""#, "is not an IP address and port"), ("587", "must be a text, not a number")],
    ),
    (
        "submissions_listen",
        r#""[::]:465""#,
        "[::]:465",
        r#""[::]:465""#,
        &[(r#""mail.example.com:465""#, "is not an IP address and port")],
    ),
    (
        "bounce_listen",
        r#""0.0.0.0:25""#,
        "0.0.0.0:25",
        r#""0.0.0.0:25""#,
        &[(r#""25""#, "is not an IP address and port")],
    ),
    (
        "postmaster",
        r#""ops@example.com""#,
        "ops@example.com",
        r#""ops@example.com""#,
        &[(r#""ops""#, "there is no '@'"), ("true", "must be a text")],
    ),
    (
        "certificate",
        r#""Cargo.toml""#,
        "Cargo.toml",
        r#""Cargo.toml""#,
        &[(r#""no/such/chain.pem""#, "'no/such/chain.pem' cannot be read"), (r#""src""#, "'src' is not a file")],
    ),
    (
        "certificate_key",
        r#""Cargo.toml""#,
        "Cargo.toml",
        r#""Cargo.toml""#,
        &[(r#""no/such/key.pem""#, "'no/such/key.pem' cannot be read")],
    ),
    (
        "acme_names",
        r#"["mail.example.com", "smtp.example.com"]"#,
        "mail.example.com, smtp.example.com",
        r#"["mail.example.com", "smtp.example.com"]"#,
        &[(r#"["*.example.com"]"#, "is not a domain name"), (r#""mail.example.com""#, "must be a list, not a text")],
    ),
    (
        "acme_directory",
        r#""https://localhost:14000/dir""#,
        "https://localhost:14000/dir",
        r#""https://localhost:14000/dir""#,
        &[
            (r#""http://localhost/dir""#, "must be an https URL"),
            (r#""https://me:pw@ca.example/""#, "must be an https URL"),
        ],
    ),
    (
        "acme_contact",
        r#""tls@example.com""#,
        "tls@example.com",
        r#""tls@example.com""#,
        &[(r#""tls""#, "acme_contact")],
    ),
    ("acme_terms_agreed", r#""on""#, "on", r#""on""#, &[(r#""yes""#, "'yes' is not one of on, off")]),
    (
        "acme_listen",
        r#""127.0.0.1:5002""#,
        "127.0.0.1:5002",
        r#""127.0.0.1:5002""#,
        &[(r#""80""#, "is not an IP address and port")],
    ),
    (
        "metrics_listen",
        r#""127.0.0.1:9464""#,
        "127.0.0.1:9464",
        r#""127.0.0.1:9464""#,
        &[(r#"":9464""#, "is not an IP address and port")],
    ),
    (
        "public_url",
        r#""https://mail.example.com/""#,
        "https://mail.example.com",
        r#""https://mail.example.com""#,
        &[
            (r#""mail.example.com""#, "must be a plain http or https URL"),
            (r#""https://u:p@mail.example.com""#, "must be a plain http or https URL"),
            (r#""https://mail.example.com?a=b""#, "must be a plain http or https URL"),
            (r#""ftp://mail.example.com""#, "must be a plain http or https URL"),
        ],
    ),
    (
        "tracking_url",
        r#""https://click.example.com/""#,
        "https://click.example.com",
        r#""https://click.example.com""#,
        &[(r#""click.example.com""#, "must be a plain http or https URL")],
    ),
    (
        "store",
        r#""sqlite:/var/lib/waxwing""#,
        "sqlite:/var/lib/waxwing",
        r#""sqlite:/var/lib/waxwing""#,
        &[
            (r#""postgres://u:p@db/w?sslmode=never""#, "sslmode 'never' is none of"),
            (r#""./data""#, "a store is written 'sqlite:' and a directory"),
            (r#""sqlite:""#, "needs a directory"),
        ],
    ),
    ("directory", r#""/srv/own""#, "/srv/own", r#""/srv/own""#, &[(r#""""#, "is empty")]),
    (
        "api_key",
        r#""0123456789abcdef""#,
        "0123456789abcdef",
        r#""(redacted)""#,
        &[
            (r#""0123456789abcde""#, "shorter than 16 characters"),
            (r#""0123456789 abcdef""#, "must have letters, digits"),
            (r#""(redacted)""#, "shows in place of a secret"),
        ],
    ),
    (
        "resolver",
        r#""192.0.2.53""#,
        "192.0.2.53:53",
        r#""192.0.2.53:53""#,
        &[
            (r#""dns.example:53""#, "is not an IP address and port"),
            (r#""192.0.2.53:0""#, "is not an IP address and port"),
            (r#""0.0.0.0:53""#, "is not an IP address and port"),
        ],
    ),
    (
        "dnssec",
        r#""trust-ad""#,
        "trust-ad",
        r#""trust-ad""#,
        &[(r#""on""#, "'on' is not one of validate, trust-ad, off"), ("true", "must be a text, not boolean")],
    ),
    (
        "dnssec_anchor",
        r#""Cargo.toml""#,
        "Cargo.toml",
        r#""Cargo.toml""#,
        &[(r#""no/such/root.key""#, "'no/such/root.key' cannot be read"), (r#""src""#, "'src' is not a file")],
    ),
    ("mta_sts", "\"off\"", "off", "\"off\"", &[("\"no\"", "'no' is not one of on, off")]),
    ("mta_sts_port", "8443", "8443", "8443", &[("0", "must be a whole number from 1 to 65535")]),
    (
        "trust_roots",
        r#""Cargo.toml""#,
        "Cargo.toml",
        r#""Cargo.toml""#,
        &[(r#""no/such/file.pem""#, "'no/such/file.pem' cannot be read"), (r#""src""#, "'src' is not a file")],
    ),
    (
        "deliver_to_private",
        r#"["10.1.2.3/8", "192.168.0.1", "fd00::/8"]"#,
        "10.1.2.3/8, 192.168.0.1,fd00::/8",
        r#"["10.0.0.0/8", "192.168.0.1/32", "fd00::/8"]"#,
        &[
            (r#"["10.0.0.0/33"]"#, "[1]: '10.0.0.0/33' is not an address or network"),
            (r#"["10.0.0.0/8", "lan"]"#, "[2]: 'lan' is not an address or network"),
            (r#""10.0.0.0/8""#, "must be a list, not a text"),
        ],
    ),
    (
        "webhook_allow_networks",
        r#"["10.1.2.3/8", "::1"]"#,
        "10.1.2.3/8,::1",
        r#"["10.0.0.0/8", "::1/128"]"#,
        &[(r#"["lan"]"#, "[1]: 'lan' is not an address or network")],
    ),
    (
        "retry_schedule",
        r#"["5s", "1h30m"]"#,
        "5s,90m",
        r#"["5s", "1h30m"]"#,
        &[
            (r#"["10"]"#, NOT_A_DURATION),
            (r#"["10m", "0s"]"#, "[2]: '0s' is not between 1s and 30d"),
            ("[10]", "must be a duration such as"),
        ],
    ),
    (
        "ehlo_name",
        r#""Mail.Example.com""#,
        "mail.example.com",
        r#""mail.example.com""#,
        &[(r#""mail example""#, "is not a domain name"), (r#""[mail]""#, "is not an address literal")],
    ),
    (
        "source_addresses",
        r#"["192.0.2.1", "2001:db8::1"]"#,
        "192.0.2.1,2001:db8::1",
        r#"["192.0.2.1", "2001:db8::1"]"#,
        &[(r#"["192.0.2.0/24"]"#, "is not an IP address"), (r#"["0.0.0.0"]"#, "is not the address of one machine")],
    ),
    (
        "concurrency_total",
        "10000",
        "10000",
        "10000",
        &[
            ("0", "must be a whole number from 1 to 10000"),
            ("10001", "must be a whole number from 1 to 10000"),
            ("99999999999999999999", "must be a whole number from 1 to 10000"),
            (r#""20""#, "must be a whole number from 1 to 10000, not a text"),
            ("1.5", "must be a whole number from 1 to 10000, not float"),
        ],
    ),
    ("concurrency_per_site", "3", "3", "3", &[("-1", "must be a whole number from 1 to 10000")]),
    (
        "rate_per_site",
        r#""600/min""#,
        "600/min",
        r#""600/min""#,
        &[(r#""600""#, "'600' is not a rate such as 10/s"), (r#""0/s""#, "is not a rate"), ("600", "must be a text")],
    ),
    (
        "sites",
        r#"[{ hosts = ["*.Google.com", "*.googlemail.com"], concurrency = 20, rate = "5/s" }]"#,
        r#"[{ hosts = ["*.Google.com", "*.googlemail.com"], concurrency = 20, rate = "5/s" }]"#,
        r#"[{ concurrency = 20, hosts = ["*.google.com", "*.googlemail.com"], rate = "5/s" }]"#,
        &[
            ("[{ concurrency = 20 }]", "[1]: has no 'hosts'"),
            ("[{ hosts = [] }]", "[1]: has no 'hosts'"),
            (r#"[{ hosts = ["*."] }]"#, "[1].hosts[1]: the domain is empty"),
            (r#"[{ hosts = ["a.example"], concurrency = 0 }]"#, "[1].concurrency: must be a whole number from 1"),
            (r#"[{ hosts = ["a.example"], rate = "5" }]"#, "[1].rate: '5' is not a rate"),
            (r#"[{ hosts = ["a.example"], rates = "5/s" }]"#, "unknown key 'rates'; did you mean 'rate'?"),
            (r#"[{ hosts = ["a.example"] }, { hosts = ["b.example", "A.example"] }]"#, "'a.example' in more than one"),
            (r#"["a.example"]"#, "must be a table such as"),
        ],
    ),
    ("connection_idle_time", r#""0s""#, "0s", r#""0s""#, &[(r#""6m""#, "'6m' is not between 0s and 5m")]),
    ("connection_lifetime", r#""90s""#, "90s", r#""1m30s""#, &[(r#""0s""#, "'0s' is not between 1s and 1h")]),
    ("connection_messages", "1", "1", "1", &[("0", "must be a whole number from 1 to 10000")]),
    ("idle_connections", "50", "50", "50", &[("0", "must be a whole number from 1 to 10000")]),
    ("idle_connections_per_host", "2", "2", "2", &[("0", "must be a whole number from 1 to 10000")]),
    ("tls_session_lifetime", r#""0s""#, "0s", r#""0s""#, &[(r#""2h""#, "'2h' is not between 0s and 1h")]),
    (
        "routes",
        r#"[{ domain = "*.Example.com", host = "smart.example:587", tls = "verified", username = "u", password = "hunter2" }]"#,
        r#"[{ domain = "*.Example.com", host = "smart.example:587", tls = "verified", username = "u", password = "hunter2" }]"#,
        r#"[{ domain = "*.example.com", host = "smart.example:587", password = "(redacted)", tls = "verified", username = "u" }]"#,
        &[
            (r#"[{ host = "h.example:25" }]"#, "[1]: has no 'domain'"),
            (r#"[{ domain = "*" }]"#, "[1]: has no 'host'"),
            (r#"[{ domain = "*.", host = "h.example:25" }]"#, "[1].domain: the domain is empty"),
            (r#"[{ domain = "*", host = "h.example" }]"#, "[1].host: 'h.example' is not a host and port"),
            (r#"[{ domain = "*", host = "h.example:0" }]"#, "is not a host and port"),
            (r#"[{ domain = "*", host = "2001:db8::1:25" }]"#, "is not a host and port"),
            (
                r#"[{ domain = "*", host = "h.example:25", tls = "always" }]"#,
                "[1].tls: 'always' is not one of none, enc",
            ),
            (r#"[{ domain = "*", host = "h.example:25", username = "u" }]"#, "'username' without a 'password'"),
            (r#"[{ domain = "*", host = "h.example:25", password = "p" }]"#, "'password' without a 'username'"),
            (
                r#"[{ domain = "*", host = "h.example:25", tls = "encrypted", username = "u", password = "p" }]"#,
                r#"only sent on verified TLS: set tls = "verified""#,
            ),
            (r#"[{ domain = "*", host = "h.example:25", tsl = "none" }]"#, "unknown key 'tsl'; did you mean 'tls'?"),
            (r#"["*"]"#, "must be a table such as"),
        ],
    ),
    (
        "rules",
        r#"[{ destinations = ["*.Example.com", "example.com"], hosts = ["*.mail.example"], certificate = ["0000000000000000000000000000000000000000000000000000000000000000"], until = 2027-01-31, reason = "why" }]"#,
        r#"[{ destinations = ["*.Example.com", "example.com"], hosts = ["*.mail.example"], certificate = ["0000000000000000000000000000000000000000000000000000000000000000"], until = "2027-01-31", reason = "why" }]"#,
        r#"[{ certificate = ["0000000000000000000000000000000000000000000000000000000000000000"], destinations = ["*.example.com", "example.com"], hosts = ["*.mail.example"], minimum = "verified", reason = "why", until = "2027-01-31" }]"#,
        &[
            (r#"[{ minimum = "verified" }]"#, "[1]: has neither 'destinations' nor 'hosts'"),
            (r#"[{ destinations = ["*"] }]"#, "[1]: demands nothing"),
            (r#"[{ hosts = ["*"], minimum = "none", reason = "x" }]"#, "[1]: demands nothing"),
            (r#"[{ destinations = [], minimum = "verified" }]"#, "[1].destinations: is empty"),
            (r#"[{ destinations = "*", minimum = "verified" }]"#, "[1].destinations: must be a list, not a text"),
            (r#"[{ hosts = ["*."], minimum = "verified" }]"#, "[1].hosts[1]: the domain is empty"),
            (r#"[{ hosts = ["*"], minimum = "always" }]"#, "[1].minimum: 'always' is not one of none, enc"),
            (r#"[{ hosts = ["*"], tls_fallback = "no" }]"#, "[1].tls_fallback: 'no' is none of plaintext, unv"),
            (r#"[{ hosts = ["*"], ca = "no/such.pem" }]"#, "[1].ca: 'no/such.pem' cannot be read"),
            (r#"[{ hosts = ["*"], ca = "Cargo.toml" }]"#, "[1].ca: Cargo.toml: no certificate in this file"),
            (r#"[{ hosts = ["*"], certificate = [] }]"#, "[1].certificate: is empty"),
            (r#"[{ hosts = ["*"], certificate = ["00:11"] }]"#, "[1].certificate[1]: '00:11' is not a SHA-256"),
            (
                r#"[{ hosts = ["*"], certificate = ["0000000000000000000000000000000000000000000000000000000000000000"], minimum = "none" }]"#,
                "[1]: pins a certificate, which means",
            ),
            (r#"[{ hosts = ["*"], minimum = "encrypted", until = "soon" }]"#, "[1].until: 'soon' is not a date"),
            (r#"[{ hosts = ["*"], minimum = "encrypted", until = 2027-01-31T10:00:00 }]"#, "nor a time such as"),
            (r#"[{ hosts = ["*"], minimum = "encrypted", reason = "" }]"#, "[1].reason: is empty"),
            (r#"[{ host = ["*"], minimum = "encrypted" }]"#, "unknown key 'host'; did you mean 'hosts'?"),
            (r#"["*"]"#, "[1]: must be a table such as"),
        ],
    ),
    ("smtp_port", "2525", "2525", "2525", &[("0", "must be a whole number from 1 to 65535")]),
    (
        "smtp_timeout",
        r#""20s""#,
        "20s",
        r#""20s""#,
        &[(r#""2h""#, "'2h' is not between 1s and 1h"), ("20", "must be a duration such as")],
    ),
    ("connect_timeout", r#""500ms""#, "500ms", r#""500ms""#, &[(r#""50ms""#, "is not between 100ms and 10m")]),
    (
        "tls_report_from",
        r#""tls@Example.com""#,
        "tls@example.com",
        r#""tls@example.com""#,
        &[(r#""tls""#, "there is no '@'"), ("1", "must be a text, not a number")],
    ),
    ("tls_report_organization", r#""Company-X""#, "Company-X", r#""Company-X""#, &[(r#""""#, "is empty")]),
    ("tls_report_contact", r#""tls@example.com""#, "tls@example.com", r#""tls@example.com""#, &[(r#""""#, "is empty")]),
    ("tls_report_dkim_selector", r#""s1""#, "s1", r#""s1""#, &[(r#""s 1""#, "'s 1' is not a domain name")]),
    (
        "tls_report_dkim_key",
        r#""Cargo.toml""#,
        "Cargo.toml",
        r#""Cargo.toml""#,
        &[(r#""no/such/file.pem""#, "'no/such/file.pem' cannot be read")],
    ),
    ("log_format", r#""json""#, "json", r#""json""#, &[(r#""xml""#, "'xml' is not one of text, json")]),
    (
        "log_level",
        r#""warn,delivery=debug""#,
        "warn,delivery=debug",
        r#""warn,delivery=debug""#,
        &[(r#""a=b=c""#, "is not a log level or filter")],
    ),
    ("event_retention", r#""7d""#, "1w", r#""7d""#, &[(r#""5m""#, "is not between 1h and 3650d")]),
    ("message_retention", r#""0s""#, "0s", r#""0s""#, &[(r#""forever""#, NOT_A_DURATION)]),
    (
        "domain_event_limit",
        "1000000",
        "1000000",
        "1000000",
        &[("0", "must be a whole number from 1 to"), (r#""many""#, "must be a whole number from 1 to")],
    ),
    (
        "domain_message_limit",
        "10737418240",
        "10737418240",
        "10737418240",
        &[("-1", "must be a whole number from 1 to")],
    ),
    ("shutdown_grace", r#""5m""#, "300s", r#""5m""#, &[(r#""2h""#, "is not between 0s and 1h")]),
];

#[test]
fn every_key_has_a_case() {
    let cases: Vec<_> = CASES.iter().map(|case| case.0).collect();
    let keys: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(cases, keys);
}

#[test]
fn every_key_from_the_file() {
    for (name, in_file, _, shown, bad) in CASES {
        let loaded = load_text(&format!("# a comment\n\n{name} = {in_file}\n")).unwrap();
        assert_eq!(shown_value(&loaded, name), *shown, "{name}");
        let Some(Origin::Set(Place::File { at, .. })) = loaded.origin(name) else { panic!("{name}: {loaded:?}") };
        assert_eq!(*at, Some((3, 1)), "{name}");
        for (text, answer) in *bad {
            let error = load_text(&format!("\n  {name} = {text}")).unwrap_err().to_string();
            assert!(
                error.contains("waxwing.toml:2:") && error.contains(name) && error.contains(answer),
                "{text}: {error}"
            );
        }
    }
}

#[test]
fn every_key_from_its_variable() {
    for (name, _, in_variable, shown, _) in CASES {
        let variable = format!("WAXWING_{}", name.to_uppercase());
        let loaded = load_variables(&[(&variable, in_variable)]).unwrap();
        assert_eq!(shown_value(&loaded, name), *shown, "{name}");
        assert_eq!(loaded.origin(name), Some(&Origin::Set(Place::Variable(variable.as_str().into()))));

        let error = load_variables(&[(&variable, "\u{1}")]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{variable}: {name}")), "{error}");

        let unset = load_variables(&[(&variable, "")]).unwrap();
        assert_eq!(unset.origin(name), Some(&Origin::Default), "set to nothing counts as not set");
    }
}

#[test]
fn a_variable_beats_the_file_and_the_file_the_default() {
    let file = file_with("smtp_port = 26\nconcurrency_total = 5\n");
    let loaded = load(Some(&file), variables(&[("WAXWING_SMTP_PORT", "27")])).unwrap();
    assert_eq!((loaded.config.smtp_port, loaded.config.concurrency_total), (27, 5));
    assert_eq!(loaded.config.concurrency_per_site, Config::default().concurrency_per_site);

    let shown = show::as_toml(&loaded);
    for line in ["smtp_port = 27  # WAXWING_SMTP_PORT", "concurrency_per_site = 10  # default"] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    assert!(shown.contains("concurrency_total = 5  # ") && shown.contains("waxwing.toml:2:1\n"), "{shown}");

    let json = show::as_json(&loaded);
    assert_eq!(
        json["smtp_port"],
        serde_json::json!({ "value": 27, "source": "environment", "place": "WAXWING_SMTP_PORT" })
    );
    assert_eq!(json["resolver"], serde_json::json!({ "value": null, "source": "default", "place": null }));
    assert_eq!(json["concurrency_total"]["source"], "file");
}

#[test]
fn a_variable_names_the_file_and_an_argument_beats_it() {
    let (named, given) = (file_with("smtp_port = 26"), file_with("smtp_port = 27"));
    let environment = [("WAXWING_CONFIG", named.to_str().unwrap())];
    assert_eq!(load(None, variables(&environment)).unwrap().config.smtp_port, 26);
    assert_eq!(load(Some(&given), variables(&environment)).unwrap().config.smtp_port, 27);
}

#[test]
fn what_is_unknown_is_refused_with_its_place() {
    let error = load_text("smtp_port = 25\nhtpp_listen = \"127.0.0.1:1\"\n[security]\nrequire = true\n").unwrap_err();
    let told: Vec<_> = error.problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(told, ["unknown key 'htpp_listen'; did you mean 'http_listen'?", "unknown key 'security'"]);
    let places: Vec<_> = error.to_string().lines().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    assert!(places[0].ends_with("waxwing.toml:2:1") && places[1].ends_with("waxwing.toml:3:2"), "{places:?}");

    let error = load_variables(&[("WAXWING_STOER", "x"), ("HOME", "/"), ("WAXWING_", "x")]).unwrap_err();
    assert!(
        error.to_string().contains("WAXWING_STOER: unknown variable 'WAXWING_STOER'; did you mean 'WAXWING_STORE'?")
    );
    assert_eq!(error.problems.len(), 2, "{error}");
}

#[test]
fn tables_of_routes_name_their_own_lines() {
    let text =
        "[[routes]]\ndomain = \"*\"\nhost = \"a.example:25\"\n\n[[routes]]\ndomain = \"b.example\"\nhots = \"b:1\"\n";
    let error = load_text(text).unwrap_err().to_string();
    assert!(error.contains("waxwing.toml:7:1: routes[2]: unknown key 'hots'; did you mean 'host'?"), "{error}");

    let good = load_text(&text.replace("hots", "host").replace("b:1", "[2001:db8::1]:26")).unwrap();
    assert_eq!(good.config.routes[1].host.to_string(), "[2001:db8::1]");
    let Some(Origin::Set(place)) = good.origin("routes") else { panic!() };
    assert!(place.to_string().contains("waxwing.toml:1:"), "{place}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let file = file_with("smtp_port = 0\nlog_format = 1\nroutes = [{ domain = \"*\", host = \"x\", tls = \"no\" }]\n");
    let error = load(Some(&file), variables(&[("WAXWING_STORE", "nowhere")])).unwrap_err();
    let keys: Vec<_> = error.problems.iter().map(|problem| problem.key.as_deref().unwrap()).collect();
    assert_eq!(keys, ["log_format", "routes[1].host", "routes[1].tls", "smtp_port", "store"]);
}

#[test]
fn a_file_that_is_no_toml_or_not_there() {
    let error = load_text("smtp_port = 25\nlog_level = \n").unwrap_err().to_string();
    assert!(error.contains("waxwing.toml:2:") && error.contains("is not TOML"), "{error}");
    let error = load_text("smtp_port = 25\nsmtp_port = 26\n").unwrap_err().to_string();
    assert!(error.contains("waxwing.toml:2:1") && error.contains("duplicate"), "{error}");
    let error = load(Some(Path::new("no/such.toml")), []).unwrap_err().to_string();
    assert!(error.starts_with("no/such.toml: cannot be read"), "{error}");
    let error = load_text(&"# much\n".repeat(200_000)).unwrap_err().to_string();
    assert!(error.contains("larger than"), "{error}");
}

#[test]
fn secrets_are_never_shown() {
    let key = "a-key-that-nobody-sees";
    let routes = r#"[{ domain = "*", host = "h.example:25", tls = "verified", username = "u", password = "hunter2" }]"#;
    let loaded = load_variables(&[("WAXWING_API_KEY", key), ("WAXWING_ROUTES", routes)]).unwrap();
    let shown = show::as_toml(&loaded);
    for text in [&shown, &show::as_json(&loaded).to_string(), &format!("{loaded:?}")] {
        assert!(!text.contains(key) && !text.contains("hunter2") && text.contains("(redacted)"), "{text}");
    }
    // Nor in errors.
    for (variable, text) in [
        ("WAXWING_ROUTES", r#"[{ domain = "*", host = "h.example:25", username = "u", password = "hunter2" }]"#),
        ("WAXWING_ROUTES", r#"[{ password = "hunter2" "#),
        ("WAXWING_ROUTES", r#"[{ password = hunter2 }]"#),
        ("WAXWING_API_KEY", "hunter2"),
        ("WAXWING_PUBLIC_URL", "https://u:hunter2@h.example"),
    ] {
        let error = load_variables(&[(variable, text)]).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let error = load_text("api_key = hunter2\n").unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn what_is_shown_can_be_read_again() {
    let text: String = CASES
        .iter()
        .filter(|case| !matches!(case.0, "api_key" | "routes"))
        .map(|(name, in_file, ..)| format!("{name} = {in_file}\n"))
        .collect();
    let routes =
        "[[routes]]\ndomain = \"*\"\nhost = \"h.example:25\"\n[[routes]]\ndomain = \"a.b\"\nhost = \"1.2.3.4:5\"\n";
    for text in [String::new(), text + routes] {
        let first = load_text(&text).unwrap();
        let second = load_text(&show::as_toml(&first)).unwrap();
        for key in KEYS {
            assert_eq!(key.value(&first.config), key.value(&second.config), "{}", key.name);
        }
    }
}

/// The documentation's table is the list in the code, word by word.
#[test]
fn the_documentation_has_every_key() {
    let docs = include_str!("../../../docs/operations.md");
    let mut missing = String::new();
    for key in KEYS {
        let row = format!("| `{}` | `{}` | {} | {} |", key.name, key.variable(), key.default_in_words(), key.meaning);
        if !docs.lines().any(|line| line == row) {
            missing.push_str(&row);
            missing.push('\n');
        }
    }
    assert!(missing.is_empty(), "docs/operations.md lacks these rows:\n{missing}");
    let rows = docs.lines().filter(|line| line.contains("| `WAXWING_")).count();
    assert_eq!(rows, KEYS.len(), "docs/operations.md has rows for keys that are gone");
}

#[test]
fn shapes_fit_their_values() {
    for (name, in_file, ..) in CASES {
        let key = KEYS.iter().find(|key| key.name == *name).unwrap();
        let expected = match in_file {
            text if text.starts_with("[{") => Shape::Tables,
            text if text.starts_with('[') => Shape::List,
            text if text.starts_with('"') => Shape::Text,
            _ => Shape::Number,
        };
        assert_eq!(key.shape, expected, "{name}");
    }
}

fn shown_value(loaded: &Loaded, name: &str) -> String {
    let key = KEYS.iter().find(|key| key.name == name).unwrap();
    key.value(&loaded.config).unwrap().to_string()
}

fn load_text(text: &str) -> Result<Loaded, ConfigError> {
    load(Some(&file_with(text)), [])
}

fn load_variables(set: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    load(None, variables(set))
}

fn variables(set: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    set.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// A file of its own in a folder of its own.
fn file_with(text: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};

    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("waxwing.toml");
    std::fs::write(&path, text).unwrap();
    path
}
