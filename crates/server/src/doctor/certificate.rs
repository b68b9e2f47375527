//! What SMTP listeners show, how long it holds, and whether it is renewed.

use std::time::Duration;

use store::Timestamp;

use super::Point;
use crate::acme::{self, Settings};
use crate::cli::rfc3339;
use crate::config::Config;
use crate::smtpd::certificate;
use crate::smtpd::facts::Facts;

/// A certificate that ends sooner is worth a word: people need time.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What listeners for SMTP show; `None` where there are none.
pub(super) fn shown(config: &Config) -> Option<Point> {
    let about = "certificate";
    let listeners = [config.submission_listen, config.submissions_listen, config.bounce_listen];
    if listeners.iter().all(Option::is_none) {
        return None;
    }
    let by_acme = !config.acme_names.is_empty();
    let path = match &config.certificate {
        Some(path) => path.clone(),
        None if by_acme => acme::Files::of(config).certificate(),
        None => {
            let advice = "clients that check it refuse: set `certificate`, or `acme_names`";
            return Some(Point::warning(about, "none is configured: one is shown that nobody vouches for", advice));
        }
    };
    if by_acme && !path.exists() {
        let advice = "see ACME";
        return Some(Point::warning(about, "none was issued yet: one is shown that nobody vouches for", advice));
    }
    let read = certificate::first_of(&path).map_err(|error| error.to_string());
    let facts = match read.and_then(|leaf| Facts::of(leaf).ok_or_else(|| "it is no certificate".to_owned())) {
        Ok(facts) => facts,
        Err(error) => {
            return Some(Point::problem(about, error, "give the server a file with a certificate in PEM form"));
        }
    };
    Some(state_of(about, &facts, by_acme, Timestamp::now()))
}

fn state_of(about: &str, facts: &Facts, by_acme: bool, now: Timestamp) -> Point {
    let names = facts.names.join(", ");
    let advice = if by_acme { "see ACME" } else { "renew it; the server reads the file again by itself" };
    let until = rfc3339(facts.not_after);
    // Certificates that live for days are renewed in hours.
    let soon = SOON.min(facts.not_after.since(facts.not_before) / 4);
    if now >= facts.not_after {
        Point::problem(about, format!("for {names}; it ended on {until}"), advice)
    } else if now < facts.not_before {
        let from = rfc3339(facts.not_before);
        Point::problem(about, format!("for {names}; it holds from {from} on"), "look at the clock")
    } else if facts.not_after.since(now) < soon {
        Point::warning(about, format!("for {names}; it ends on {until}"), advice)
    } else {
        Point::ok(about, format!("for {names}, until {until}"))
    }
}

/// How getting certificates goes; `None` where none are got.
pub(super) fn acme(config: &Config) -> Option<Point> {
    let about = "ACME";
    let settings = match Settings::of(config) {
        Ok(settings) => settings?,
        Err(error) => return Some(Point::problem(about, error.to_string(), "the server does not start with it")),
    };
    let status = acme::Files::of(config).status();
    let when = |time: Option<Timestamp>| time.map_or_else(|| "at the next start".to_owned(), rfc3339);
    Some(match (&status.error, status.tried_at) {
        (Some(error), tried_at) => {
            let finding = format!("failed on {}: {error}; tried again {}", when(tried_at), when(status.next_at));
            let advice = format!(
                "the authority must reach port 80 of each of the names, and that port must lead to {} (acme_listen)",
                config.acme_listen
            );
            Point::warning(about, finding, advice)
        }
        (None, None) => Point::ok(about, format!("{}: nothing was asked for yet", settings.directory)),
        (None, Some(_)) => Point::ok(about, format!("{}: renewed {}", settings.directory, when(status.next_at))),
    })
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_told_in_time() {
        const DAY: i64 = 24 * 3600;
        let time = |days: i64| Timestamp::from_secs(days * DAY);
        let facts = |from, to| Facts { not_before: time(from), not_after: time(to), ..Facts::default() };
        for (facts, now, state, words) in [
            (facts(0, 90), 60, State::Ok, "until 1970-04-01"),
            (facts(0, 90), 77, State::Warning, "it ends on 1970-04-01"),
            (facts(0, 6), 4, State::Ok, "until 1970-01-07"),
            (facts(0, 6), 5, State::Warning, "it ends on 1970-01-07"),
            (facts(0, 90), 90, State::Problem, "it ended on 1970-04-01"),
            (facts(5, 90), 4, State::Problem, "it holds from 1970-01-06"),
        ] {
            let point = state_of("certificate", &facts, false, time(now));
            assert!(point.state == state && point.finding.contains(words), "{now}: {point:?}");
        }
    }
}
