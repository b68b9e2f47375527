//! The query of a list of domains.

use store::{DomainQuery, DomainSort};

use crate::api::http::error::ApiError;
use crate::api::http::form::parse_query;
use crate::api::limits::{DOMAINS_PER_PAGE, DOMAINS_PER_PAGE_DEFAULT};
use crate::api::sending::excerpt;

/// Reads the query. `None` means that no domain can match it: one asks for a state that ours never have.
///
/// What Mailgun knows and we do not (authorities, sub-accounts) changes nothing here and is passed over.
pub(super) fn parse(query: &str) -> Result<Option<DomainQuery>, ApiError> {
    let mut found = DomainQuery { limit: DOMAINS_PER_PAGE_DEFAULT, ..DomainQuery::default() };
    let mut possible = true;
    for (name, value) in parse_query(query)? {
        let value = value.trim();
        match name.as_str() {
            _ if value.is_empty() => {}
            "limit" => found.limit = number(&name, value)?.min(DOMAINS_PER_PAGE),
            "skip" => found.skip = number(&name, value)?,
            "search" => found.search = Some(value.to_ascii_lowercase()),
            "sort" => found.sort = sort(value)?,
            "state" => match value {
                "active" => found.verified = Some(true),
                "unverified" => found.verified = Some(false),
                "disabled" => possible = false,
                _ => return Err(ApiError::bad_request("'state' must be one of: active, unverified, disabled")),
            },
            _ => {}
        }
    }
    Ok(possible.then_some(found))
}

fn number(name: &str, value: &str) -> Result<usize, ApiError> {
    let fits = |number: &u32| *number <= i32::MAX as u32;
    let number = value.parse().ok().filter(fits);
    number.map(|number| number as usize).ok_or_else(|| ApiError::bad_request(format!("'{name}' must be a number")))
}

fn sort(value: &str) -> Result<DomainSort, ApiError> {
    match value.to_ascii_lowercase().as_str() {
        "name" | "name:asc" => Ok(DomainSort::NameAscending),
        "name:desc" => Ok(DomainSort::NameDescending),
        "created_at:desc" => Ok(DomainSort::Newest),
        _ => {
            let text = "'sort' must be one of: name:asc, name:desc, created_at:desc";
            Err(ApiError::bad_request(text).because(excerpt(value)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let default = DomainQuery { limit: 100, ..DomainQuery::default() };
        let search = Some("exa".to_owned());
        for (query, expected) in [
            ("", Some(default.clone())),
            ("limit=1", Some(DomainQuery { limit: 1, ..default.clone() })),
            ("limit=99999&skip=7", Some(DomainQuery { limit: 1000, skip: 7, ..default.clone() })),
            (
                "search=Exa&state=active&authority=x",
                Some(DomainQuery { search, verified: Some(true), ..default.clone() }),
            ),
            ("state=unverified", Some(DomainQuery { verified: Some(false), ..default.clone() })),
            ("sort=name%3Adesc", Some(DomainQuery { sort: DomainSort::NameDescending, ..default.clone() })),
            ("state=disabled", None),
        ] {
            assert_eq!(parse(query), Ok(expected), "{query}");
        }
    }

    #[test]
    fn bad_queries_are_refused() {
        for (query, message) in [
            ("limit=-1", "'limit' must be a number"),
            ("skip=x", "'skip' must be a number"),
            ("state=gone", "'state' must be one of: active, unverified, disabled"),
            ("sort=size", "'sort' must be one of: name:asc, name:desc, created_at:desc"),
        ] {
            assert_eq!(parse(query).unwrap_err().message(), message, "{query}");
        }
    }
}
