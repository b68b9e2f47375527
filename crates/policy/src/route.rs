//! Which of the operator's routes, if any, a recipient domain takes instead of its MX hosts.

use std::fmt;
use std::str::FromStr;

use smtp::{Domain, DomainError};

/// A pattern for recipient domains: `example.com` (that domain), `*.example.com` (those below it), `*` (all).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainPattern {
    /// Every domain.
    Any,
    /// This domain alone.
    Exactly(Domain),
    /// Every domain below this one, not the domain itself.
    Below(Domain),
}

impl DomainPattern {
    /// Whether the pattern covers `domain`.
    pub fn covers(&self, domain: &Domain) -> bool {
        match self {
            DomainPattern::Any => true,
            DomainPattern::Exactly(exact) => domain == exact,
            DomainPattern::Below(parent) => domain != parent && domain.is_within(parent),
        }
    }

    /// How specific the pattern is: a longer one wins over a shorter one, an exact one over a wildcard.
    fn specificity(&self) -> (u8, usize) {
        match self {
            DomainPattern::Any => (0, 0),
            DomainPattern::Below(parent) => (1, parent.as_str().len()),
            DomainPattern::Exactly(_) => (2, 0),
        }
    }
}

impl FromStr for DomainPattern {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("*.") {
            Some(parent) => parent.parse().map(DomainPattern::Below),
            None if text == "*" => Ok(DomainPattern::Any),
            None => text.parse().map(DomainPattern::Exactly),
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DomainPattern::Any => f.write_str("*"),
            DomainPattern::Exactly(domain) => write!(f, "{domain}"),
            DomainPattern::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// The most specific of `routes` whose pattern covers `domain`; the first of equals.
pub fn find<'a, R>(domain: &Domain, routes: &'a [R], pattern_of: impl Fn(&R) -> &DomainPattern) -> Option<&'a R> {
    let covering = routes.iter().filter(|route| pattern_of(route).covers(domain));
    covering.rev().max_by_key(|route| pattern_of(route).specificity())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_route_wins() {
        let routes: Vec<DomainPattern> =
            ["*", "*.example.com", "*.b.example.com", "b.example.com"].map(|p| p.parse().unwrap()).into();
        for (name, pattern) in [
            ("other.test", "*"),
            ("example.com", "*"),
            ("a.example.com", "*.example.com"),
            ("b.example.com", "b.example.com"),
            ("a.b.example.com", "*.b.example.com"),
        ] {
            let found = find(&name.parse().unwrap(), &routes, |r| r).unwrap();
            assert_eq!(found.to_string(), pattern, "{name}");
        }
        assert!(find(&"other.test".parse().unwrap(), &routes[1..], |r| r).is_none());
    }
}
