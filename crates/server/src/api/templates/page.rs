//! Pages of a list that is in the order of names, and the links between them.
//!
//! A page begins behind a name or ends before one, whether or not there is still something of that name. Clients take a
//! link apart at its question mark, so every link has a query, and none is ever empty.

use ::url::Url;
use ::url::form_urlencoded::Serializer;
use axum::http::HeaderMap;
use serde_json::{Value, json};
use store::template::NamePage;

use crate::api::http::error::ApiError;
use crate::api::http::{form, url};
use crate::api::limits::{TEMPLATE_NAME_OCTETS, TEMPLATES_PER_PAGE, TEMPLATES_PER_PAGE_DEFAULT};
use crate::api::sending::{excerpt, once, yes_no};

/// The page that a query asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Page {
    turn: Turn,
    pivot: String,
    pub(super) limit: usize,
    /// Active versions are wanted as well.
    pub(super) active: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Turn {
    First,
    Last,
    Next,
    Previous,
}

impl Page {
    pub(super) fn parse(query: &str) -> Result<Page, ApiError> {
        let (mut turn, mut pivot, mut limit, mut active) = (None, None, None, None);
        for (name, value) in form::parse_query(query)? {
            match name.as_str() {
                _ if value.trim().is_empty() => {}
                "page" => once(&mut turn, Turn::parse(&value)?, &name)?,
                "p" if value.len() <= TEMPLATE_NAME_OCTETS => once(&mut pivot, value, &name)?,
                "p" => return Err(ApiError::bad_request("'p' is too long")),
                "limit" => once(&mut limit, page_size(&value)?, &name)?,
                "active" => once(&mut active, yes_no(&value, &name)?, &name)?,
                _ => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(&name)))),
            }
        }
        Ok(Page {
            turn: turn.unwrap_or(Turn::First),
            pivot: pivot.unwrap_or_default(),
            limit: limit.unwrap_or(TEMPLATES_PER_PAGE_DEFAULT),
            active: active.unwrap_or(false),
        })
    }

    pub(super) fn place(&self) -> NamePage {
        match self.turn {
            Turn::Last => NamePage::Last,
            Turn::Next if !self.pivot.is_empty() => NamePage::After(self.pivot.clone()),
            Turn::Previous if !self.pivot.is_empty() => NamePage::Before(self.pivot.clone()),
            Turn::First | Turn::Next | Turn::Previous => NamePage::First,
        }
    }

    /// The links around a page that has these names on it.
    pub(super) fn links(&self, public_url: Option<&Url>, headers: &HeaderMap, path: &str, names: &[&str]) -> Value {
        let base = url::base(public_url, headers);
        let link = |turn: &str, pivot: &str| {
            let mut query = Serializer::new(String::new());
            query.append_pair("page", turn);
            if !pivot.is_empty() {
                query.append_pair("p", pivot);
            }
            query.append_pair("limit", &self.limit.to_string());
            if self.active {
                query.append_pair("active", "yes");
            }
            format!("{base}{path}?{}", query.finish())
        };
        // Behind the end there is nothing, and before that the end; likewise at the other side.
        let next = match (names.last(), self.turn) {
            (Some(last), _) => link("next", last),
            (None, Turn::Next) => link("next", &self.pivot),
            (None, _) => link("first", ""),
        };
        let previous = match (names.first(), self.turn) {
            (Some(first), _) => link("previous", first),
            (None, Turn::Previous) => link("previous", &self.pivot),
            (None, _) => link("last", ""),
        };
        json!({ "first": link("first", ""), "last": link("last", ""), "next": next, "previous": previous })
    }
}

impl Turn {
    fn parse(word: &str) -> Result<Turn, ApiError> {
        match word.trim().to_ascii_lowercase().as_str() {
            "first" => Ok(Turn::First),
            "last" => Ok(Turn::Last),
            "next" => Ok(Turn::Next),
            "previous" | "prev" => Ok(Turn::Previous),
            _ => Err(ApiError::bad_request("'page' must be one of: first, last, next, previous")),
        }
    }
}

fn page_size(value: &str) -> Result<usize, ApiError> {
    let size = value.trim().parse().ok().filter(|size| (1..=TEMPLATES_PER_PAGE).contains(size));
    size.ok_or_else(|| ApiError::bad_request(format!("'limit' must be a number from 1 to {TEMPLATES_PER_PAGE}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_before_or_behind_a_name() {
        for (query, place, limit) in [
            ("", NamePage::First, 10),
            ("page=next&p=a+b&limit=2", NamePage::After("a b".to_owned()), 2),
            ("page=prev&p=a", NamePage::Before("a".to_owned()), 10),
            ("page=previous&p=a", NamePage::Before("a".to_owned()), 10),
            ("page=next&p=", NamePage::First, 10),
            ("page=last&p=a", NamePage::Last, 10),
        ] {
            let page = Page::parse(query).unwrap();
            assert_eq!((page.place(), page.limit), (place, limit), "{query}");
        }
        for query in ["page=x", "limit=0", "limit=101", "limit=x", "active=1", "other=1"] {
            assert!(Page::parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn links_are_never_empty_and_have_a_query() {
        let url = Url::parse("https://mail.example/api/").unwrap();
        let links = |query: &str, names: &[&str]| {
            Page::parse(query).unwrap().links(Some(&url), &HeaderMap::new(), "/v3/d/templates", names)
        };
        let base = "https://mail.example/api/v3/d/templates?page=";
        for (query, names, next, previous) in [
            ("", &["a", "b&c"][..], "next&p=b%26c&limit=10", "previous&p=a&limit=10"),
            ("", &[], "first&limit=10", "last&limit=10"),
            ("page=next&p=z&limit=3", &[], "next&p=z&limit=3", "last&limit=3"),
            ("page=previous&p=a&active=yes", &[], "first&limit=10&active=yes", "previous&p=a&limit=10&active=yes"),
        ] {
            let links = links(query, names);
            assert_eq!(links["next"], format!("{base}{next}"), "{query}");
            assert_eq!(links["previous"], format!("{base}{previous}"), "{query}");
            assert!(links.as_object().unwrap().values().all(|link| Url::parse(link.as_str().unwrap()).is_ok()));
        }
    }
}
