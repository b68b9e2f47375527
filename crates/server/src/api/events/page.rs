//! Which events a request asks for, and the tokens of the pages around them.
//!
//! A page is known by a place between two events, that is by a point in time: timestamps of events are unique and
//! grow in the order in which events become visible. So the same token polled later gives what came in between, and
//! nothing is seen twice or missed. A token holds no domain: the path names it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use smtp::Domain;
use store::{Direction, EventQuery, Filter, Timestamp};

use super::filter;
use crate::api::http::error::ApiError;
use crate::api::http::{form, time};
use crate::api::limits::{EVENTS_PER_PAGE, EVENTS_PER_PAGE_DEFAULT, TOKEN_OCTETS};
use crate::api::sending::{excerpt, once, yes_no};

/// One page of a list of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Wire", from = "Wire")]
pub(in crate::api) struct Page {
    /// Oldest first.
    ascending: bool,
    /// Events from this time on, in microseconds.
    from: Option<i64>,
    /// Events before this time.
    until: Option<i64>,
    limit: usize,
    /// Where the page begins: behind the events before this time, or before those from it on. `None` is the list's end
    /// that one comes from.
    place: Option<i64>,
    /// The page ends at its place instead.
    backward: bool,
    /// The filter parameters as given.
    filters: Vec<(String, String)>,
}

/// A page as its token has it, as short as can be; the first number tells the version.
type Wire = (u8, bool, Option<i64>, Option<i64>, usize, Option<i64>, bool, Vec<(String, String)>);
const VERSION: u8 = 1;

impl From<Page> for Wire {
    fn from(page: Page) -> Wire {
        let Page { ascending, from, until, limit, place, backward, filters } = page;
        (VERSION, ascending, from, until, limit, place, backward, filters)
    }
}

impl From<Wire> for Page {
    fn from((_, ascending, from, until, limit, place, backward, filters): Wire) -> Page {
        Page { ascending, from, until, limit, place, backward, filters }
    }
}

impl Page {
    /// The first page of what a query string asks for.
    pub(in crate::api) fn parse(query: &str) -> Result<Page, ApiError> {
        Page::of_parameters(form::parse_query(query)?)
    }

    /// The first page of what these parameters ask for.
    pub(in crate::api) fn of_parameters(parameters: Vec<(String, String)>) -> Result<Page, ApiError> {
        let (mut begin, mut end, mut ascending, mut limit) = (None, None, None, None);
        let mut filters: Vec<(String, String)> = Vec::new();
        for (name, value) in parameters {
            match name.as_str() {
                _ if value.trim().is_empty() => {}
                "begin" => once(&mut begin, point_in_time(&name, &value)?, &name)?,
                "end" => once(&mut end, point_in_time(&name, &value)?, &name)?,
                "ascending" => once(&mut ascending, yes_no(&value, &name)?, &name)?,
                "limit" => once(&mut limit, page_size(&value)?, &name)?,
                "pretty" => {}
                _ if !filter::is_filter(&name) => {
                    return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(&name))));
                }
                _ if filters.iter().any(|(known, _)| *known == name) => {
                    return Err(ApiError::bad_request(format!("'{name}' is given more than once; use OR or AND")));
                }
                _ => filters.push((name, value)),
            }
        }
        let (ascending, from, until) = range(begin, end, ascending)?;
        let limit = limit.unwrap_or(EVENTS_PER_PAGE_DEFAULT);
        Ok(Page { ascending, from, until, limit, place: None, backward: false, filters })
    }

    /// The page that a token names. Whatever somebody writes into one, it can ask for nothing that a query could not.
    pub(in crate::api) fn from_token(token: &str) -> Result<Page, ApiError> {
        let invalid = invalid_token;
        if token.len() > TOKEN_OCTETS {
            return Err(invalid());
        }
        let json = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let wire: Wire = serde_json::from_slice(&json).map_err(|_| invalid())?;
        let is_repeated =
            |(at, (name, _)): (usize, &(String, String))| wire.7[..at].iter().any(|(earlier, _)| earlier == name);
        if wire.0 != VERSION || !(1..=EVENTS_PER_PAGE).contains(&wire.4) || wire.7.iter().enumerate().any(is_repeated) {
            return Err(invalid());
        }
        Ok(Page::from(wire))
    }

    /// The token of this page: no slash, no padding.
    pub(in crate::api) fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The first page of a list whose filter is kept elsewhere.
    pub(in crate::api) fn of(ascending: bool, from: Option<i64>, until: Option<i64>, limit: usize) -> Page {
        Page { ascending, from, until, limit, place: None, backward: false, filters: Vec::new() }
    }

    /// The page that a token of such a list names, with so many events.
    pub(in crate::api) fn from_bare_token(token: &str, limit: usize) -> Result<Page, ApiError> {
        let page = Page::from_token(token)?;
        if page.filters.is_empty() { Ok(Page { limit, ..page }) } else { Err(invalid_token()) }
    }

    /// From when on, and until when.
    pub(in crate::api) fn range(&self) -> (Option<i64>, Option<i64>) {
        (self.from, self.until)
    }

    /// What to ask the store, whose answer [`Page::order`] brings into order.
    ///
    /// Without a domain it is asked over all of them.
    pub(in crate::api) fn query(&self, domain: Option<Domain>) -> Result<EventQuery, ApiError> {
        Ok(self.query_with(domain, filter::parse(&self.filters)?))
    }

    /// The same with a filter that is kept elsewhere.
    pub(in crate::api) fn query_with(&self, domain: Option<Domain>, filter: Filter) -> EventQuery {
        let upward = self.ascending != self.backward;
        let (begin, end) = match (self.place, upward) {
            (None, _) => (self.from, self.until),
            (Some(place), true) => (Some(self.from.map_or(place, |from| from.max(place))), self.until),
            (Some(place), false) => (self.from, Some(self.until.map_or(place, |until| until.min(place)))),
        };
        let direction = if upward { Direction::Ascending } else { Direction::Descending };
        EventQuery {
            domain,
            begin: begin.map(Timestamp::from_micros),
            end: end.map(Timestamp::from_micros),
            direction,
            after: None,
            limit: self.limit,
            filter,
        }
    }

    /// Brings what the store found into the order of the list.
    pub(in crate::api) fn order<T>(&self, mut found: Vec<T>) -> Vec<T> {
        if self.backward {
            found.reverse();
        }
        found
    }

    /// The first page of the list.
    pub(in crate::api) fn first(&self) -> Page {
        Page { place: None, backward: false, ..self.clone() }
    }

    /// The last page of the list.
    pub(in crate::api) fn last(&self) -> Page {
        Page { place: None, backward: true, ..self.clone() }
    }

    /// The page behind this one, whose last event has the given timestamp.
    pub(in crate::api) fn next(&self, last_event: Option<i64>) -> Page {
        let place = match last_event {
            Some(timestamp) if self.ascending => Some(timestamp.saturating_add(1)),
            Some(timestamp) => Some(timestamp),
            // An empty page stays where it is: what it lacks today it may have tomorrow.
            None => self.place,
        };
        Page { place, backward: false, ..self.clone() }
    }

    /// The page before this one, whose first event has the given timestamp.
    pub(in crate::api) fn previous(&self, first_event: Option<i64>) -> Page {
        let place = match first_event {
            Some(timestamp) if self.ascending => timestamp,
            Some(timestamp) => timestamp.saturating_add(1),
            None => match self.place {
                Some(place) => place,
                None => return self.first(),
            },
        };
        Page { place: Some(place), backward: true, ..self.clone() }
    }
}

fn invalid_token() -> ApiError {
    ApiError::bad_request("the page token is not valid")
}

/// Direction and range of a list. `begin` belongs to it, `end` does not, and the direction leads from one to the other.
fn range(
    begin: Option<i64>,
    end: Option<i64>,
    ascending: Option<bool>,
) -> Result<(bool, Option<i64>, Option<i64>), ApiError> {
    let ascending = match (begin, end, ascending) {
        (Some(begin), Some(end), Some(ascending)) if begin != end && ascending != (begin < end) => {
            return Err(ApiError::bad_request("'ascending' contradicts the order of 'begin' and 'end'"));
        }
        (Some(begin), Some(end), None) => begin < end,
        (Some(_), None, None) => {
            return Err(ApiError::bad_request("'ascending' is required when 'begin' is given without 'end'"));
        }
        (_, _, ascending) => ascending.unwrap_or(false),
    };
    let behind = |time: Option<i64>| time.map(|time| time.saturating_add(1));
    if ascending { Ok((true, begin, end)) } else { Ok((false, behind(end), behind(begin))) }
}

fn point_in_time(name: &str, value: &str) -> Result<i64, ApiError> {
    time::parse(value)
        .ok_or_else(|| ApiError::bad_request(format!("'{name}' is neither an RFC 2822 date nor Unix seconds")))
}

fn page_size(value: &str) -> Result<usize, ApiError> {
    let size = value.trim().parse().ok().filter(|size| (1..=EVENTS_PER_PAGE).contains(size));
    size.ok_or_else(|| ApiError::bad_request(format!("'limit' must be a number from 1 to {EVENTS_PER_PAGE}")))
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
