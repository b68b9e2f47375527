//! What a list of events is limited to: the form, the query of the page, and the query of the API.

use maud::{Markup, html};
use url::form_urlencoded;

use crate::console::client::with_query;

/// How a filter is typed.
#[derive(Debug, Clone, Copy)]
enum Input {
    /// A text, with an example.
    Text(&'static str),
    /// One of these words; for each what it is called.
    Choice(&'static [(&'static str, &'static str)]),
    /// A point in time, in UTC.
    Time,
}

const YES_OR_NO: Input = Input::Choice(&[("yes", "yes"), ("no", "no")]);

/// The filters that are always seen: names of the API, and what they are called.
const FIRST: [(&str, &str, Input); 7] = [
    (
        "event",
        "What happened",
        Input::Choice(&[
            ("accepted", "accepted"),
            ("delivered", "delivered"),
            ("failed", "failed or deferred"),
            ("opened", "opened"),
            ("clicked", "clicked"),
            ("unsubscribed", "unsubscribed"),
            ("complained", "complained"),
            ("tls-downgraded", "TLS downgrade"),
        ]),
    ),
    ("recipient", "Recipient", Input::Text("ann@example.com or example.com")),
    ("subject", "Subject", Input::Text("any part")),
    ("tls", "Encrypted", YES_OR_NO),
    ("certificate-verified", "Certificate verified", YES_OR_NO),
    ("from-time", "From (UTC)", Input::Time),
    ("until-time", "Until (UTC)", Input::Time),
];

/// The others.
const MORE: [(&str, &str, Input); 19] = [
    ("severity", "Failure", Input::Choice(&[("temporary", "temporary"), ("permanent", "for good")])),
    ("mx-host", "Receiving server", Input::Text("any part")),
    ("recipient-domain", "Recipient's domain", Input::Text("example.com")),
    ("from", "From", Input::Text("any part")),
    ("to", "To", Input::Text("any part")),
    ("recipients", "Any recipient of the message", Input::Text("address or part")),
    ("message-id", "Message-ID", Input::Text("the whole id")),
    ("tags", "Tag", Input::Text("the whole tag")),
    ("attachment", "Attachment", Input::Text("any part of its name")),
    ("size", "Size in octets", Input::Text(">10000")),
    ("code", "Reply code", Input::Text("550")),
    (
        "reason",
        "Reason of a failure",
        Input::Choice(&[
            ("generic", "generic"),
            ("bounce", "bounce"),
            ("old", "the schedule ended"),
            ("suppress-bounce", "on the bounce list"),
            ("suppress-unsubscribe", "unsubscribed"),
            ("suppress-complaint", "complained"),
            ("dropped", "dropped from the queue"),
        ]),
    ),
    ("method", "Came in by", Input::Choice(&[("http", "HTTP"), ("smtp", "SMTP")])),
    ("tls-version", "TLS version", Input::Choice(&[("TLSv1.3", "TLS 1.3"), ("TLSv1.2", "TLS 1.2")])),
    ("key-exchange", "Key exchange", Input::Text("X25519MLKEM768")),
    ("verification", "Certificate", Input::Text("ok, certificate-expired …")),
    (
        "observed",
        "What the server showed",
        Input::Choice(&[
            ("not-offered", "STARTTLS not offered"),
            ("refused", "STARTTLS refused"),
            ("handshake-failed", "handshake failed"),
            ("unverified", "certificate not valid"),
            ("verified", "certificate valid"),
        ]),
    ),
    ("fallback", "Why in plaintext", Input::Text("starttls-not-supported …")),
    (
        "demanded-by",
        "More TLS demanded by",
        Input::Choice(&[
            ("rule", "the operator's rule"),
            ("route", "the route"),
            ("dane", "DANE"),
            ("mta-sts", "MTA-STS"),
            ("requiretls", "REQUIRETLS"),
            ("tls-fallback", "tls_fallback"),
        ]),
    ),
];

/// What a list is limited to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filters(Vec<(String, String)>);

impl Filters {
    /// Of the query of a page. What is not a filter is left out.
    pub(super) fn of(query: &str) -> Filters {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        let known = |name: &str| {
            matches!(name, "domain" | "page" | "id" | "list")
                || FIRST.iter().chain(&MORE).any(|(filter, ..)| *filter == name)
        };
        Filters(pairs.filter(|(name, value)| known(name) && !value.trim().is_empty()).collect())
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The token of the page, if it is not the first.
    pub(super) fn page(&self) -> Option<&str> {
        Some(self.get("page")).filter(|token| !token.is_empty())
    }

    /// Whether there are these and no others.
    pub(super) fn is_just(&self, parameters: &[(&str, &str)]) -> bool {
        let own: Vec<_> = self.pairs().collect();
        own.len() == parameters.len() && parameters.iter().all(|pair| own.contains(pair))
    }

    /// All but the place in the list.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter(|(name, _)| name != "page").map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What to ask the API for the newest of these events.
    pub(super) fn request(&self, limit: &str) -> String {
        let (from, until) = (seconds(self.get("from-time")), seconds(self.get("until-time")));
        let mut parameters: Vec<_> = self.pairs().filter(|(name, _)| !name.ends_with("-time")).collect();
        parameters.push(("limit", limit));
        // Newest first: the range begins with what is late.
        match (&from, &until) {
            (_, Some(until)) => parameters.extend([("begin", until.as_str()), ("ascending", "no")]),
            (Some(_), None) => parameters.push(("ascending", "no")),
            (None, None) => {}
        }
        if let Some(from) = &from {
            parameters.push(("end", from));
        }
        with_query("/v1/events", &parameters)
    }

    /// The page of the list at a token.
    pub(super) fn at(&self, token: &str) -> String {
        let parameters: Vec<_> = self.pairs().chain([("page", token)]).collect();
        with_query("/logs", &parameters)
    }

    /// The newest page.
    pub(super) fn first(&self) -> String {
        with_query("/logs", &self.pairs().collect::<Vec<_>>())
    }

    /// All of the list in a file.
    pub(super) fn export(&self, format: &str) -> String {
        let parameters: Vec<_> = self.pairs().chain([("format", format)]).collect();
        with_query("/logs/export", &parameters)
    }

    /// The form that makes such a query.
    pub(super) fn form(&self, domains: &[String]) -> Markup {
        let has_more = MORE.iter().any(|(name, ..)| !self.get(name).is_empty());
        html! {
            form.card method="get" action="/logs" role="search" aria-label="Filter events" {
                div.filters {
                    @if domains.len() > 1 {
                        div {
                            label for="f-domain" { "Sending domain" }
                            select #f-domain name="domain" {
                                option value="" { "all" }
                                @for domain in domains { option value=(domain) selected[self.get("domain") == domain] { (domain) } }
                            }
                        }
                    }
                    @for filter in &FIRST { (self.input(filter)) }
                }
                details open[has_more] {
                    summary { "More filters" }
                    div.filters { @for filter in &MORE { (self.input(filter)) } }
                    p.hint { "Texts may be expressions: " code { "foo OR bar" } ", " code { "NOT foo" } ", " code { "\"a phrase\"" } "." }
                }
                button type="submit" { "Show" }
                " " a.button.plain href="/logs" { "Clear" }
            }
        }
    }

    fn input(&self, (name, label, input): &(&str, &str, Input)) -> Markup {
        let (id, value) = (format!("f-{name}"), self.get(name));
        html! {
            div {
                label for=(id) { (label) }
                @match input {
                    Input::Text(example) => input id=(id) name=(name) value=(value) placeholder=(example) autocomplete="off";,
                    Input::Time => input id=(id) name=(name) value=(value) type="datetime-local";,
                    Input::Choice(words) => select id=(id) name=(name) {
                        option value="" { "any" }
                        @for (word, called) in *words { option value=(word) selected[*word == value] { (called) } }
                    },
                }
            }
        }
    }
}

/// Seconds since the epoch of what browsers send for a time, taken as UTC.
fn seconds(time: &str) -> Option<String> {
    let time: jiff::civil::DateTime = time.parse().ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_becomes_one_of_the_api() {
        let filters = Filters::of("event=failed&subject=&tls=no&colour=red&domain=a.example&page=TOKEN");
        assert_eq!(filters.page(), Some("TOKEN"));
        assert_eq!(filters.request("50"), "/v1/events?event=failed&tls=no&domain=a.example&limit=50");
        assert_eq!(filters.at("X"), "/logs?event=failed&tls=no&domain=a.example&page=X");
        assert!(filters.is_just(&[("tls", "no"), ("event", "failed"), ("domain", "a.example")]));
        assert!(!filters.is_just(&[("tls", "no")]));
    }

    #[test]
    fn a_range_is_read_backwards_in_utc() {
        let request = |query: &str| Filters::of(query).request("1");
        let (from, until) = ("from-time=2026-11-24T07:00", "until-time=2026-11-25T00:00");
        assert_eq!(
            request(&format!("{from}&{until}")),
            "/v1/events?limit=1&begin=1795564800&ascending=no&end=1795503600"
        );
        assert_eq!(request(from), "/v1/events?limit=1&ascending=no&end=1795503600");
        assert_eq!(request(until), "/v1/events?limit=1&begin=1795564800&ascending=no");
        assert_eq!(request("from-time=soon"), "/v1/events?limit=1");
    }

    /// What the API takes for a filter stands in the form, and nothing else does.
    #[test]
    fn the_form_has_every_filter_of_the_api() {
        let ours = FIRST.iter().chain(&MORE).map(|(name, ..)| *name).filter(|name| !name.ends_with("-time"));
        let mut ours: Vec<_> = ours.chain(["id", "list"]).collect();
        let mut known = crate::api::event_filters();
        ours.sort_unstable();
        known.sort_unstable();
        assert_eq!(ours, known);
    }
}
