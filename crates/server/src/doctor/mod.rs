//! `waxwing doctor`: whether an installation works, point by point, and what to do where it does not.
//!
//! Nothing is sent to anybody, and nothing in the store is changed. Strangers are asked only when the operator names one
//! ([`Options::probe`]); what goes out otherwise are questions to the configured resolver.

mod certificate;
mod machine;
mod network;
mod sending;

use std::fmt::{self, Display};
use std::sync::Arc;

use delivery::dnssec::Dnssec;
use delivery::mta_sts::MemoryCache;
use delivery::resolve::Dns;
use serde::Serialize;
use smtp::Domain;
use store::Store;

use crate::config::Loaded;
use crate::queue;
use crate::text::Sheet;

/// Where the text of a line begins.
const LABEL: usize = 28;

/// What is asked for beyond what is always looked at.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A destination whose hosts are visited, to see whether the outgoing port works.
    pub probe: Option<Domain>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// The worst of all points.
    state: State,
    points: Vec<Point>,
}

/// How something is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and something may not be meant, or may soon not work.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Point {
    about: String,
    state: State,
    /// What was found.
    finding: String,
    /// What to do, where something is to be done.
    advice: Option<String>,
}

impl Point {
    fn ok(about: impl Into<String>, finding: impl Into<String>) -> Point {
        Point { about: about.into(), state: State::Ok, finding: finding.into(), advice: None }
    }

    fn warning(about: impl Into<String>, finding: impl Into<String>, advice: impl Into<String>) -> Point {
        Point { state: State::Warning, advice: Some(advice.into()), ..Point::ok(about, finding) }
    }

    fn problem(about: impl Into<String>, finding: impl Into<String>, advice: impl Into<String>) -> Point {
        Point { state: State::Problem, advice: Some(advice.into()), ..Point::ok(about, finding) }
    }
}

/// Looks at everything.
pub async fn run(loaded: &Loaded, options: Options) -> Diagnosis {
    let config = &loaded.config;
    let mut points = vec![machine::configuration(loaded)];
    points.extend(machine::rules(config));
    let inspected = Store::inspect(&config.store).await;
    points.push(machine::store(config, &inspected));
    let store = inspected.as_ref().ok().and_then(Option::as_ref);
    points.extend(machine::space(store));
    points.push(machine::listener("http_listen", config.http_listen, store.is_some_and(|store| store.is_served)).await);
    for (key, address) in machine::further_listeners(config) {
        points.push(machine::held(key, address, store.is_some_and(|store| store.is_served)).await);
    }
    points.extend(certificate::shown(config));
    points.extend(certificate::acme(config));
    points.push(network::roots(config));

    let (dns, anchors) = match queue::dnssec_of(config) {
        Ok(dnssec) => (Dns::secured(config.resolver, dnssec), None),
        Err(error) => (Dns::secured(config.resolver, Dnssec::Off), Some(error)),
    };
    let first = store.and_then(|store| store.first_domains.first());
    let (resolver, answers) = network::resolver(config, &dns, first).await;
    points.push(resolver);
    let dnssec = match anchors {
        Some(error) => Point::problem("DNSSEC", error.to_string(), "the server does not start with it"),
        None => network::dnssec(config, &dns).await,
    };
    let validates = dnssec.state == State::Ok && dns.dnssec().await == network::VALIDATING;
    points.push(dnssec);
    points.push(machine::clock(store, validates));

    // Each further question to a resolver that is silent would be waited for.
    let dns = answers.then_some(&dns);
    points.extend(network::name(config, dns).await);
    points.extend(sending::keys_and_domains(store, dns).await);
    points.push(sending::reports(config, dns).await);
    if let Some(domain) = options.probe {
        points.push(match queue::client_of(config, Arc::new(MemoryCache::default())) {
            Ok(client) => network::outgoing(config, &client, &domain).await,
            Err(error) => Point::problem("outgoing connections", error.to_string(), "nothing is delivered with it"),
        });
    }
    let state = points.iter().map(|point| point.state).max().unwrap_or(State::Ok);
    Diagnosis { state, points }
}

impl Diagnosis {
    /// How many points are problems.
    pub fn problems(&self) -> usize {
        self.points.iter().filter(|point| point.state == State::Problem).count()
    }
}

impl Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sheet = Sheet::default();
        for Point { about, state, finding, advice } in &self.points {
            let word = match state {
                State::Ok => "ok",
                State::Warning => "warning",
                State::Problem => "PROBLEM",
            };
            let advice = advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
            sheet.line(0, LABEL, &format!("{word:<9}{about}"), &format!("{finding}{advice}"));
        }
        f.write_str(sheet.as_str())
    }
}
