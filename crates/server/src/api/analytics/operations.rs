//! What can be called.

use super::log_filter::ATTRIBUTES;
use super::logs::logs;
use crate::api::limits::LOGS_PER_PAGE;
use crate::api::operation::{Access, Operation};
use crate::api::schema::{Schema, any_object, boolean, choice, integer, list, map_of, named, object, text};

const START: &str = "RFC 2822 or RFC 3339 date, or Unix seconds. Default: seven days before the end";
const FIRST: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
const LAST: &str = "Thu, 31 Dec 2099 00:00:00 GMT";

pub(in crate::api) fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/v1/analytics/logs", "listLogs", logs)
            .summary("Events of all domains, filtered")
            .about(&format!("Attributes to filter by: {}.", ATTRIBUTES.join(", ")))
            .access(Access::Filtered)
            .reads()
            .content([("application/json", logs_asked())])
            .ok("A page of logs", logs_page()),
    ]
}

fn logs_asked() -> Schema {
    let pagination = object([
        ("sort", choice(["timestamp:desc", "timestamp:asc"])),
        ("token", text().about("As another page has it")),
        ("limit", integer().range(1, LOGS_PER_PAGE).default(LOGS_PER_PAGE)),
    ]);
    let asked = object([
        ("start", text().about(START).example(FIRST)),
        ("end", text().about("The same. Without it the list is open, and its last page goes on").example(LAST)),
        ("duration", text().about("24h, 7d, 1m: counted back from the end, wins over start")),
        ("events", list(text())),
        ("metric_events", list(text()).about("The same by the names of metrics, such as temporary_failed")),
        ("filter", conditions()),
        ("include_subaccounts", boolean().about("There are none")),
        ("include_totals", boolean().about("Count all that match")),
        ("pagination", pagination),
    ]);
    named("LogsAsked", asked)
}

/// The filter of a request.
fn conditions() -> Schema {
    let value = object([("label", text()), ("value", text())]);
    let condition = object([
        ("attribute", text().required()),
        ("comparator", choice(["=", "!=", "contains", "not contains", ">", "<", ">=", "<="]).required()),
        ("values", list(value).required().about("One of these, or for != and not contains none of them")),
    ]);
    named("Conditions", object([("AND", list(named("Condition", condition)))]))
}

fn logs_page() -> Schema {
    let tokens = ["previous", "next", "first", "last"].map(|name| (name, text()));
    let pagination = object(tokens.into_iter().chain([("total", integer())]));
    let item = object([
        ("id", text().required()),
        ("event", text().required()),
        ("@timestamp", text().required()),
        ("domain", object([("name", text())])),
        ("user-variables", text().about("JSON")),
        ("delivery-status", any_object()),
    ]);
    let page = object([
        ("start", text()),
        ("end", text()),
        ("items", list(named("LogItem", item.and_more()))),
        ("pagination", pagination),
        ("aggregates", object([("all", integer()), ("metrics", map_of(integer()))])),
    ]);
    named("LogsPage", page)
}
