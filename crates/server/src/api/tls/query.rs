//! What a request asks for.

use std::time::Duration;

use policy::tls::TlsPolicy;
use smtp::Domain;
use store::Timestamp;
use store::posture::{Period, Span};
use url::form_urlencoded;

use crate::api::http::error::ApiError;
use crate::api::http::form::parse_query;
use crate::api::http::time;
use crate::api::limits::{
    POSTURE_BUCKETS, POSTURE_DAYS, POSTURE_PER_PAGE, POSTURE_PER_PAGE_DEFAULT, POSTURE_PER_PAGE_WITH_BUCKETS,
};
use crate::api::sending::{excerpt, once, yes_no};

/// The range when none is given.
const USUAL: Duration = Duration::from_secs(7 * 24 * 3600);

/// Which part of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) limit: usize,
    pub(super) skip: usize,
}

/// What `/v1/tls/destinations` is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destinations {
    pub(super) domain: Option<Domain>,
    pub(super) destination: Option<Domain>,
    pub(super) period: Period,
    pub(super) resolution: Option<Span>,
    pub(super) place: Place,
}

/// What `/v1/tls/what-if` is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WhatIf {
    pub(super) policy: TlsPolicy,
    pub(super) domain: Option<Domain>,
    pub(super) period: Period,
    pub(super) place: Place,
}

/// What both share.
#[derive(Default)]
struct Common {
    domain: Option<Domain>,
    begin: Option<i64>,
    end: Option<i64>,
    limit: Option<usize>,
    skip: Option<usize>,
}

impl Common {
    /// Takes a parameter of these; says whether it is one.
    fn take(&mut self, name: &str, value: &str) -> Result<bool, ApiError> {
        match name {
            "domain" => once(&mut self.domain, domain(name, value)?, name)?,
            "begin" | "since" => once(&mut self.begin, point_in_time(name, value)?, name)?,
            "end" => once(&mut self.end, point_in_time(name, value)?, name)?,
            "limit" => once(&mut self.limit, number(name, value, 1, POSTURE_PER_PAGE)?, name)?,
            "skip" => once(&mut self.skip, number(name, value, 0, i32::MAX as usize)?, name)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn place(&self) -> Place {
        Place { limit: self.limit.unwrap_or(POSTURE_PER_PAGE_DEFAULT), skip: self.skip.unwrap_or(0) }
    }

    /// The whole hours that are asked for; the last seven days unless it is said.
    fn period(&self, now: i64) -> Result<Period, ApiError> {
        let end = Timestamp::from_micros(self.end.unwrap_or(now));
        let begin = self.begin.map_or(end - USUAL, Timestamp::from_micros);
        if begin > end {
            return Err(ApiError::bad_request("the range begins after its end"));
        }
        // Links to other pages name whole hours, at most one more at each end.
        if end.since(begin) > Duration::from_secs((POSTURE_DAYS * 24 + 2) * 3600) {
            return Err(ApiError::bad_request(format!("the range is longer than {POSTURE_DAYS} days")));
        }
        Ok(Period::covering(begin, end))
    }
}

impl Destinations {
    pub(super) fn parse(query: &str, now: i64) -> Result<Destinations, ApiError> {
        let (mut common, mut destination, mut resolution) = (Common::default(), None, None);
        for (name, value) in parse_query(query)? {
            let value = value.trim();
            match name.as_str() {
                _ if value.is_empty() => {}
                "destination" => once(&mut destination, domain(&name, value)?, &name)?,
                "resolution" => once(&mut resolution, span(value)?, &name)?,
                "since" => return Err(unknown(&name)),
                _ if common.take(&name, value)? => {}
                _ => return Err(unknown(&name)),
            }
        }
        let (period, mut place) = (common.period(now)?, common.place());
        if let Some(span) = resolution {
            check_buckets(span, period)?;
            match common.limit {
                None => place.limit = POSTURE_PER_PAGE_WITH_BUCKETS,
                Some(limit) if limit > POSTURE_PER_PAGE_WITH_BUCKETS => {
                    let most = POSTURE_PER_PAGE_WITH_BUCKETS;
                    return Err(ApiError::bad_request(format!("'limit' may be at most {most} with 'resolution'")));
                }
                Some(_) => {}
            }
        }
        Ok(Destinations { domain: common.domain, destination, period, resolution, place })
    }
}

fn check_buckets(span: Span, period: Period) -> Result<(), ApiError> {
    let buckets = period.end.since(period.begin).as_secs() / span.length().as_secs();
    if buckets > POSTURE_BUCKETS {
        let text = format!("'resolution' would make more than {POSTURE_BUCKETS} parts: ask for a shorter range");
        return Err(ApiError::bad_request(text));
    }
    Ok(())
}

impl WhatIf {
    pub(super) fn parse(query: &str, now: i64) -> Result<WhatIf, ApiError> {
        let (mut common, mut require_tls, mut skip_verification) = (Common::default(), None, None);
        for (name, value) in parse_query(query)? {
            let value = value.trim();
            match name.as_str() {
                _ if value.is_empty() => {}
                "require_tls" | "require-tls" => once(&mut require_tls, yes_no(value, &name)?, &name)?,
                "skip_verification" | "skip-verification" => {
                    once(&mut skip_verification, yes_no(value, &name)?, &name)?;
                }
                "begin" => return Err(unknown(&name)),
                _ if common.take(&name, value)? => {}
                _ => return Err(unknown(&name)),
            }
        }
        let missing = || ApiError::bad_request("'require_tls' is missing: what if it had been what?");
        let require_tls = require_tls.ok_or_else(missing)?;
        let policy = TlsPolicy::from_switches(require_tls, skip_verification.unwrap_or(false));
        let (period, place) = (common.period(now)?, common.place());
        Ok(WhatIf { policy, domain: common.domain, period, place })
    }
}

/// The query of another page of the same list: the range is fixed, so that nothing moves from page to page.
/// `begin` is what its beginning is called.
pub(super) fn at(query: &str, begin: &str, period: Period, skip: usize) -> String {
    let seconds = |time: Timestamp| (time.as_micros() / 1_000_000).to_string();
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    let given = parse_query(query).unwrap_or_default();
    for (name, value) in given.iter().filter(|(name, _)| !["begin", "since", "end", "skip"].contains(&name.as_str())) {
        pairs.append_pair(name, value);
    }
    pairs.append_pair(begin, &seconds(period.begin)).append_pair("end", &seconds(period.end));
    pairs.append_pair("skip", &skip.to_string()).finish()
}

fn unknown(name: &str) -> ApiError {
    ApiError::bad_request(format!("'{}' is not a parameter", excerpt(name)))
}

fn domain(name: &str, value: &str) -> Result<Domain, ApiError> {
    value.parse().map_err(|_| ApiError::bad_request(format!("'{name}' is not a domain name")))
}

fn point_in_time(name: &str, value: &str) -> Result<i64, ApiError> {
    time::parse(value)
        .ok_or_else(|| ApiError::bad_request(format!("'{name}' is neither an RFC 2822 date nor Unix seconds")))
}

fn number(name: &str, value: &str, least: usize, most: usize) -> Result<usize, ApiError> {
    let fits = |number: &usize| (least..=most).contains(number);
    let number = value.parse().ok().filter(fits);
    number.ok_or_else(|| ApiError::bad_request(format!("'{name}' must be a number from {least} to {most}")))
}

fn span(value: &str) -> Result<Span, ApiError> {
    match value {
        "hour" => Ok(Span::Hour),
        "day" => Ok(Span::Day),
        _ => Err(ApiError::bad_request("'resolution' must be one of: hour, day")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000;

    #[test]
    fn the_usual_range_is_seven_days_of_whole_hours() {
        let asked = Destinations::parse("", NOW).unwrap();
        let period = Period { begin: Timestamp::from_secs(1_699_394_400), end: Timestamp::from_secs(1_700_002_800) };
        assert_eq!((asked.period, asked.place), (period, Place { limit: 100, skip: 0 }));
        let asked = WhatIf::parse("require_tls=yes&since=1699999999", NOW).unwrap();
        assert_eq!(asked.period.begin, Timestamp::from_secs(1_699_999_200));
        assert_eq!(asked.policy, TlsPolicy::from_switches(true, false));
    }

    #[test]
    fn bad_queries_are_refused() {
        for (query, message) in [
            ("colour=red", "'colour' is not a parameter"),
            ("since=1", "'since' is not a parameter"),
            ("begin=yesterday", "'begin' is neither an RFC 2822 date nor Unix seconds"),
            ("begin=2&end=1", "the range begins after its end"),
            ("begin=1", "the range is longer than 400 days"),
            ("limit=0", "'limit' must be a number from 1 to 1000"),
            ("limit=1001", "'limit' must be a number from 1 to 1000"),
            ("skip=-1", "'skip' must be a number from 0 to 2147483647"),
            ("domain=a%20b", "'domain' is not a domain name"),
            ("domain=a.example&domain=b.example", "'domain' is given more than once, with different values"),
            ("resolution=minute", "'resolution' must be one of: hour, day"),
            ("resolution=day&limit=51", "'limit' may be at most 50 with 'resolution'"),
            (
                "resolution=hour&begin=1690000000&end=1700000000",
                "'resolution' would make more than 400 parts: ask for a shorter range",
            ),
        ] {
            assert_eq!(Destinations::parse(query, NOW).unwrap_err().message(), message, "{query}");
        }
        for (query, message) in [
            ("", "'require_tls' is missing: what if it had been what?"),
            ("require_tls=maybe", "'require_tls' must be one of: yes, no, true, false"),
            ("require_tls=yes&resolution=day", "'resolution' is not a parameter"),
            ("require_tls=yes&begin=1", "'begin' is not a parameter"),
        ] {
            assert_eq!(WhatIf::parse(query, NOW).unwrap_err().message(), message, "{query}");
        }
    }

    #[test]
    fn the_next_page_is_of_the_same_range() {
        let query = "domain=a.example&limit=5&since=1699999999&require_tls=yes";
        let asked = WhatIf::parse(query, NOW).unwrap();
        let next = WhatIf::parse(&at(query, "since", asked.period, 5), NOW + 7_200_000_000).unwrap();
        assert_eq!(next, WhatIf { place: Place { limit: 5, skip: 5 }, ..asked });
        let asked = Destinations::parse("resolution=day", NOW).unwrap();
        let next = Destinations::parse(&at("resolution=day", "begin", asked.period, 50), NOW + 7_200_000_000).unwrap();
        assert_eq!(next, Destinations { place: Place { limit: 50, skip: 50 }, ..asked });
    }
}
