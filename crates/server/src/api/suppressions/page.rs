//! Which page of a list a request asks for, and the links to the pages around it. A page is known by the subject that it
//! begins behind or ends before, so entries that come and go in between shift nothing.

use store::suppression::{Suppression, SuppressionPlace};
use url::form_urlencoded::Serializer;

use crate::api::http::error::ApiError;
use crate::api::http::form::parse_query;
use crate::api::limits::{SUPPRESSIONS_PER_PAGE, SUPPRESSIONS_PER_PAGE_DEFAULT};

/// A page.
#[derive(Debug, PartialEq)]
pub(super) struct Page {
    pub(super) place: SuppressionPlace,
    pub(super) prefix: String,
    pub(super) limit: usize,
}

impl Page {
    /// Reads the query.
    pub(super) fn parse(query: &str) -> Result<Page, ApiError> {
        let (mut direction, mut pivot, mut prefix, mut limit) = (None, String::new(), String::new(), None);
        for (name, value) in parse_query(query)? {
            match name.as_str() {
                _ if value.is_empty() => {}
                "page" => direction = Some(value),
                "address" | "value" => pivot = value.to_lowercase(),
                "term" => prefix = value.to_lowercase(),
                "limit" => limit = Some(size(&value)?),
                _ => {}
            }
        }
        let place = match direction.as_deref() {
            Some("first") => SuppressionPlace::First,
            Some("last") => SuppressionPlace::Last,
            Some("next") | None if !pivot.is_empty() => SuppressionPlace::After(pivot),
            Some("next") | None => SuppressionPlace::First,
            Some("previous" | "prev") => SuppressionPlace::Before(pivot),
            Some(_) => return Err(ApiError::bad_request("'page' must be one of: first, next, previous, last")),
        };
        Ok(Page { place, prefix, limit: limit.unwrap_or(SUPPRESSIONS_PER_PAGE_DEFAULT) })
    }

    /// The links of the page that has these entries: first, next, previous, last. None of them is ever empty, since clients
    /// parse each as a URL, and one that leads nowhere today may lead somewhere tomorrow.
    pub(super) fn links(&self, list: &str, entries: &[Suppression]) -> [String; 4] {
        let next = match (entries.last(), &self.place) {
            (Some(last), _) => ("next", last.subject.as_str()),
            (None, SuppressionPlace::After(pivot)) => ("next", pivot.as_str()),
            (None, _) => ("first", ""),
        };
        let previous = match (entries.first(), &self.place) {
            (Some(first), _) => ("previous", first.subject.as_str()),
            (None, SuppressionPlace::Before(pivot)) => ("previous", pivot.as_str()),
            (None, _) => ("last", ""),
        };
        [("first", ""), next, previous, ("last", "")].map(|(page, pivot)| self.link(list, page, pivot))
    }

    fn link(&self, list: &str, page: &str, pivot: &str) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("page", page);
        if !pivot.is_empty() {
            query.append_pair("address", pivot);
        }
        query.append_pair("limit", &self.limit.to_string());
        if !self.prefix.is_empty() {
            query.append_pair("term", &self.prefix);
        }
        format!("{list}?{}", query.finish())
    }
}

fn size(text: &str) -> Result<usize, ApiError> {
    let size = text.trim().parse::<u32>().ok().filter(|size| *size > 0);
    let size = size
        .ok_or_else(|| ApiError::bad_request(format!("'limit' must be a number from 1 to {SUPPRESSIONS_PER_PAGE}")))?;
    Ok((size as usize).min(SUPPRESSIONS_PER_PAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let page = |place, prefix: &str, limit| Page { place, prefix: prefix.to_owned(), limit };
        let (after, before) = (SuppressionPlace::After("b@x.test".into()), SuppressionPlace::Before("b@x.test".into()));
        for (query, expected) in [
            ("", page(SuppressionPlace::First, "", 100)),
            ("limit=7&term=Bo", page(SuppressionPlace::First, "bo", 7)),
            ("page=next&address=B%40x.test&limit=99999", page(after.clone(), "", 1000)),
            ("address=b%40x.test", page(after, "", 100)),
            ("page=previous&address=b%40x.test", page(before, "", 100)),
            ("page=last&address=b%40x.test", page(SuppressionPlace::Last, "", 100)),
            ("page=&address=", page(SuppressionPlace::First, "", 100)),
        ] {
            assert_eq!(Page::parse(query), Ok(expected), "{query}");
        }
        for query in ["limit=0", "limit=x", "limit=-1", "page=2"] {
            assert!(Page::parse(query).is_err(), "{query}");
        }
    }
}
