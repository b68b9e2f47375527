//! What can be called.

use super::log_filter::ATTRIBUTES;
use super::logs::logs;
use super::metrics::COUNTS;
use super::metrics_query::{USAGE, metrics, usage};
use super::{aggregates, stats, tags};
use crate::api::limits::{
    LOGS_PER_PAGE, METRICS_PER_PAGE, METRICS_PER_PAGE_DEFAULT, STATS_DOMAINS, TAGS_PER_PAGE, TAGS_PER_PAGE_DEFAULT,
};
use crate::api::operation::{Access, Operation};
use crate::api::schema::{Schema, any_object, boolean, choice, integer, list, map_of, message, named, object, text};

const START: &str = "RFC 2822 or RFC 3339 date, or Unix seconds. Default: seven days before the end";
const FIRST: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
const LAST: &str = "Thu, 31 Dec 2099 00:00:00 GMT";

/// The tag of the examples.
const TAG: &str = "newsletter";

pub(in crate::api) fn operations() -> Vec<Operation> {
    let logs = Operation::post("/v1/analytics/logs", "listLogs", logs)
        .summary("Events of all domains, filtered")
        .about(&format!("Attributes to filter by: {}.", ATTRIBUTES.join(", ")))
        .access(Access::Filtered)
        .reads()
        .content([("application/json", logs_asked())])
        .ok("A page of logs", logs_page());
    let metrics = Operation::post("/v1/analytics/metrics", "readMetrics", metrics)
        .summary("How much happened, by time, domain and tag, recipient domain or address")
        .about(&format!("Metrics: {}, and the shares of some of them.", COUNTS.join(", ")))
        .access(Access::Filtered)
        .reads()
        .content([("application/json", metrics_asked())])
        .ok("Counts", metrics_page());
    let usage = Operation::post("/v1/analytics/usage/metrics", "readUsage", usage)
        .summary("How much of the service was used, by time")
        .about(&format!("Metrics: {}.", USAGE.join(", ")))
        .access(Access::Filtered)
        .reads()
        .content([("application/json", metrics_asked())])
        .ok("Counts", metrics_page());
    [logs, metrics, usage]
        .into_iter()
        .chain(stats_operations())
        .chain(aggregate_operations())
        .chain(tag_operations())
        .collect()
}

const RESOLUTIONS: [&str; 3] = ["hour", "day", "month"];

fn stats_operations() -> Vec<Operation> {
    let kinds = "accepted, delivered, failed, opened, clicked, unsubscribed, complained; repeated";
    let event = || text().about(kinds).required().example("delivered");
    let stats = || named("Stats", any_object().and_more());
    let asked = |operation: Operation| {
        operation
            .query("event", event())
            .query("start", text().about(START).example(FIRST))
            .query("end", text().about("The same. Default: now").example("Fri, 02 Jan 2026 00:00:00 GMT"))
            .query("duration", text().about("24h, 7d, 1m: counted back from the end, wins over start"))
            .query("resolution", choice(RESOLUTIONS).default("day"))
            .ok("Counts by time", stats())
    };
    vec![
        asked(Operation::get("/v3/{domain}/stats/total", "readStats", stats::of_domain)).summary("Counts of a domain"),
        asked(Operation::get("/v3/stats/total", "readStatsOfAll", stats::of_all))
            .summary("Counts of all domains together")
            .access(Access::Filtered),
        asked(Operation::get("/v3/stats/filter", "readStatsFiltered", stats::filtered))
            .summary("Counts by one thing, of what one condition admits")
            .access(Access::Filtered)
            .query(
                "filter",
                text().about("domain:…, tag:…, provider:… (the recipient's domain) or ip:… (ours, that sent)"),
            )
            .query("group", text().about("time, hour, day, month, total, domain, tag, provider, ip. Default: time")),
        Operation::get("/v3/stats/total/domains", "readStatsOfDomains", stats::of_domains)
            .summary("What each domain did in an hour, a day or a month")
            .access(Access::Filtered)
            .query("event", event())
            .query("timestamp", text().about("A time in that hour, day or month").required().example(FIRST))
            .query("resolution", choice(RESOLUTIONS).default("day"))
            .query("limit", integer().range(1, STATS_DOMAINS).default(STATS_DOMAINS))
            .ok("Counts by domain", stats()),
        asked(Operation::get("/v3/{domain}/tag/stats", "readTagStats", stats::of_tag))
            .summary("Counts of a tag")
            .query("tag", text().required().example(TAG)),
        asked(Operation::get("/v3/{domain}/tags/{tag}/stats", "readNamedTagStats", stats::of_tag).path("tag", tag()))
            .summary("Counts of a tag, which the path names"),
    ]
}

/// The tag of a path or a query.
fn tag() -> Schema {
    text().required().example(TAG)
}

fn aggregate_operations() -> [Operation; 4] {
    let by_name = || map_of(map_of(integer()));
    let of_tag = |name| object([("tag", text()), (name, by_name())]);
    [
        Operation::get("/v3/{domain}/aggregates/providers", "readProviders", aggregates::providers)
            .summary("Counts by the recipient's domain")
            .ok("Counts", object([("providers", by_name())])),
        Operation::get("/v3/domains/{domain}/tag/providers", "listProviders", aggregates::provider_names)
            .summary("The recipients' domains that anything was sent to")
            .ok("Names", object([("items", list(text()))]))
            .twin(),
        Operation::get("/v3/{domain}/tag/stats/aggregates", "readTagAggregates", aggregates::of_tag)
            .summary("Counts of a tag by the recipient's domain, of the events that are kept")
            .query("tag", tag())
            .query("type", choice(["provider"]).required().example("provider"))
            .ok("Counts", of_tag("provider")),
        Operation::get(
            "/v3/{domain}/tags/{tag}/stats/aggregates/providers",
            "readNamedTagProviders",
            aggregates::of_tag,
        )
        .summary("The same of a tag that the path names")
        .path("tag", tag())
        .ok("Counts", of_tag("providers")),
    ]
}

fn tag_operations() -> Vec<Operation> {
    let one = || {
        let fields = [("tag", text()), ("description", text()), ("first-seen", text()), ("last-seen", text())];
        named("Tag", object(fields))
    };
    let links = object([("first", text()), ("previous", text()), ("next", text()), ("last", text())]);
    let limit = || integer().range(1, TAGS_PER_PAGE).default(TAGS_PER_PAGE_DEFAULT);
    let description = || text().about("At most 1,000 octets").example("Every week");
    let of_limit = || object([("id", text()), ("limit", integer()), ("count", integer())]);
    vec![
        Operation::get("/v3/{domain}/tags", "listTags", tags::list)
            .summary("The tags of a domain, by name")
            .query("page", text().about("first, last, next, previous"))
            .query("tag", text().about("The tag that next and previous go from"))
            .query("prefix", text().about("Only tags that begin so"))
            .query("limit", limit())
            .ok("A page of tags", object([("items", list(one())), ("paging", links)])),
        Operation::get("/v3/{domain}/tag", "readTag", tags::one)
            .summary("A tag")
            .query("tag", tag())
            .ok("The tag", one()),
        Operation::put("/v3/{domain}/tag", "describeTag", tags::describe)
            .summary("Say what a tag is for")
            .query("tag", tag())
            .form([("description", description())])
            .ok("It was noted", message()),
        Operation::delete("/v3/{domain}/tag", "deleteTag", tags::delete)
            .summary("Forget a tag and its counts")
            .query("tag", tag())
            .ok("It was forgotten", message()),
        Operation::get("/v3/{domain}/tags/{tag}", "readNamedTag", tags::one)
            .summary("A tag, which the path names")
            .path("tag", tag())
            .ok("The tag", one()),
        Operation::put("/v3/{domain}/tags/{tag}", "describeNamedTag", tags::describe)
            .summary("Say what a tag is for, which the path names")
            .path("tag", tag())
            .form([("description", description())])
            .ok("It was noted", message()),
        Operation::delete("/v3/{domain}/tags/{tag}", "deleteNamedTag", tags::delete)
            .summary("Forget a tag and its counts, which the path names")
            .path("tag", tag())
            .ok("It was forgotten", message()),
        Operation::get("/v3/domains/{domain}/limits/tag", "readTagLimit", tags::limit)
            .summary("How many tags a domain may have, and has")
            .ok("The limit", of_limit())
            .twin(),
        Operation::post("/v1/analytics/tags", "searchTags", tags::search)
            .summary("The tags of all domains")
            .access(Access::Filtered)
            .reads()
            .content([("application/json", tags_asked())])
            .ok("A page of tags", object([("items", list(any_object())), ("pagination", any_object())])),
        Operation::put("/v1/analytics/tags", "describeTagOfAll", tags::describe_all)
            .summary("Say what a tag is for, in every domain that has it")
            .access(Access::Filtered)
            .content([("application/json", object([("tag", tag()), ("description", description())]))])
            .ok("It was noted", message()),
        Operation::delete("/v1/analytics/tags", "deleteTagOfAll", tags::delete_all)
            .summary("Forget a tag and its counts, in every domain that has it")
            .access(Access::Filtered)
            .content([("application/json", object([("tag", tag())]))])
            .ok("It was forgotten", message()),
        Operation::get("/v1/analytics/tags/limits", "readTagLimits", tags::limits)
            .summary("How many tags each domain may have, and how many there are")
            .access(Access::Filtered)
            .ok("The limit", object([("limit", integer()), ("count", integer()), ("limit_reached", boolean())])),
    ]
}

fn tags_asked() -> Schema {
    let pagination = object([
        ("sort", choice(["tag:asc", "tag:desc", "lastseen:asc", "lastseen:desc"])),
        ("skip", integer()),
        ("limit", integer().range(1, TAGS_PER_PAGE).default(TAGS_PER_PAGE_DEFAULT)),
        ("include_total", boolean()),
    ]);
    let fields = [("tag", text().about("Only tags that begin so")), ("pagination", pagination)];
    object(
        fields
            .into_iter()
            .chain([("include_subaccounts", boolean()), ("include_metrics", boolean().about("Of all the time"))]),
    )
}

fn metrics_asked() -> Schema {
    let pagination = object([
        ("sort", text().about("A dimension or a metric, with :asc or :desc")),
        ("skip", integer()),
        ("limit", integer().range(1, METRICS_PER_PAGE).default(METRICS_PER_PAGE_DEFAULT)),
    ]);
    let asked = object([
        ("start", text().about(START).example(FIRST)),
        ("end", text().about("The same. Default: now").example("Fri, 02 Jan 2026 00:00:00 GMT")),
        ("duration", text().about("24h, 7d, 1m: counted back from the end, wins over start")),
        ("resolution", choice(["hour", "day", "month"]).default("day")),
        ("dimensions", list(choice(["time", "domain", "tag", "recipient_domain", "ip"]))),
        ("metrics", list(text())),
        ("filter", conditions()),
        ("include_subaccounts", boolean().about("There are none")),
        ("include_aggregates", boolean().about("All of it as one")),
        ("pagination", pagination),
    ]);
    named("MetricsAsked", asked)
}

fn metrics_page() -> Schema {
    let dimension = object([("dimension", text()), ("value", text()), ("display_value", text())]);
    let item = object([("dimensions", list(dimension)), ("metrics", any_object().and_more())]);
    let page = object([
        ("start", text()),
        ("end", text()),
        ("resolution", text()),
        ("dimensions", list(text())),
        ("pagination", any_object().and_more()),
        ("items", list(named("MetricsItem", item))),
        ("aggregates", any_object().and_more()),
    ]);
    named("MetricsPage", page)
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
