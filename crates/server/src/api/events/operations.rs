//! What can be called to read events.

use super::page::Page;
use super::{list as first_page, list_all, page};
use crate::api::limits::{EVENTS_PER_PAGE, EVENTS_PER_PAGE_DEFAULT};
use crate::api::operation::{Access, Operation};
use crate::api::schema::{
    Schema, any_object, boolean, choice, integer, list, named, number, object, sending_domain, switch, text,
    unix_seconds,
};
use crate::api::tls::observed;

pub(in crate::api) fn operations() -> Vec<Operation> {
    let filters = [
        ("id", "The whole id of an event"),
        ("event", "accepted, delivered, failed, opened, clicked, complained, tls-downgraded"),
        ("severity", "temporary, permanent"),
        ("recipient", "Whole address, or a part"),
        ("recipients", "Anybody the message went to"),
        ("from", "Any part"),
        ("to", "Any part"),
        ("subject", "Any part"),
        ("attachment", "Any part of a file's name"),
        ("message-id", "The whole id"),
        ("tags", "The whole tag"),
        ("size", ">10000, <20000"),
        ("tls", "Was the connection encrypted"),
        ("certificate-verified", "Was its certificate verified"),
        ("mx-host", "Any part of the host's name"),
        ("code", "The reply's code"),
        ("reason", "generic, bounce, old, suppress-bounce, suppress-unsubscribe, suppress-complaint, dropped"),
        ("method", "http, smtp"),
        ("list", "Matches nothing: there are no mailing lists"),
        ("recipient-domain", "The whole domain"),
        ("tls-version", "TLSv1.3, TLSv1.2"),
        ("key-exchange", "X25519, X25519MLKEM768"),
        ("verification", "ok, or what is wrong with the certificate"),
        ("observed", "What the host showed"),
        ("fallback", "Why in plaintext, or without a valid certificate"),
        ("demanded-by", "Who insisted on more TLS than the sender"),
    ];
    let limit = integer().range(1, EVENTS_PER_PAGE).default(EVENTS_PER_PAGE_DEFAULT);
    let listing = Operation::get("/v3/{domain}/events", "listEvents", first_page)
        .summary("What happened to the messages of a domain");
    let listing_of_all = Operation::get("/v1/events", "listAllEvents", list_all)
        .summary("What happened to the messages of every domain that the key opens")
        .access(Access::Filtered)
        .query("domain", sending_domain().about("Only of this sending domain"))
        .query(
            "page",
            text().about("The page that a link of another page names, with no other parameter but the domain"),
        );
    let filtered = |listing: Operation| {
        let listing = listing
            .about("Filters are expressions: foo bar, foo OR bar, NOT foo, \"a phrase\", parentheses.")
            .query("begin", text().about("RFC 2822 date or Unix seconds; belongs to the range"))
            .query("end", text().about("The same; does not belong to it"))
            .query("ascending", switch().about("Oldest first"))
            .query("limit", limit.clone().about("At most so many"))
            .ok("A page of events", event_page());
        filters.iter().fold(listing, |operation, (name, about)| operation.query(name, text().about(about)))
    };
    let token = Page::parse("").map(|page| page.token()).unwrap_or_default();
    vec![
        filtered(listing),
        filtered(listing_of_all),
        Operation::get("/v3/{domain}/events/{token}", "readEventPage", page)
            .summary("The page that a link of another page names")
            .path("token", text().about("As the link has it").example(token))
            .ok("A page of events", event_page()),
    ]
}

/// The parameters of the list that are filters.
#[cfg(test)]
pub(crate) fn filters() -> Vec<String> {
    let listing = operations().into_iter().find(|one| one.id == "listEvents");
    let parameters = listing.into_iter().flat_map(|listing| listing.parameters);
    parameters.map(|one| one.name).filter(|name| super::filter::is_filter(name)).collect()
}

fn event_page() -> Schema {
    let links = object([("next", text()), ("previous", text()), ("first", text()), ("last", text())]);
    named("EventPage", object([("items", list(event())), ("paging", links)]))
}

fn event() -> Schema {
    let event = object([
        ("event", event_kinds().required()),
        ("id", text().required()),
        ("timestamp", unix_seconds().required()),
        ("log-level", text()),
        ("severity", choice(["temporary", "permanent"])),
        ("reason", text()),
        ("recipient", text().required()),
        ("recipient-domain", text()),
        ("domain", object([("name", text())]).about("Its sending domain, in the list of all")),
        ("storage", object([("url", text()), ("key", text())]).about("The message as it is kept")),
        ("tls-settings", any_object().about("What was asked for, in accepted events")),
        ("delivery-status", delivery_status()),
        ("feedback-report", feedback_report()),
        ("tls-downgrade", downgrade()),
        ("ip", text().about("Who opened it or followed a link")),
        ("url", text().about("The link that was followed")),
        ("client-info", any_object().about("With which program")),
    ]);
    named("Event", event.and_more())
}

fn event_kinds() -> Schema {
    choice(["accepted", "delivered", "failed", "opened", "clicked", "unsubscribed", "complained", "tls-downgraded"])
}

fn delivery_status() -> Schema {
    let status = object([
        ("tls", boolean()),
        ("certificate-verified", boolean()),
        ("mx-host", text()),
        ("code", integer()),
        ("enhanced-code", text()),
        ("message", text()),
        ("description", text()),
        ("attempt-no", integer()),
        ("session-seconds", number()),
        ("retry-seconds", integer()),
        ("utf8", boolean()),
        ("tls-details", any_object().about("The evidence: docs/tls.md")),
        (
            "bounce-code",
            text().nullable().about("Of failures that were reported after the delivery: the enhanced code"),
        ),
        ("bounce-report", bounce_report()),
    ]);
    named("DeliveryStatus", status.and_more())
}

fn bounce_report() -> Schema {
    let report = object([("reporting-mta", text()), ("remote-mta", text()), ("final-recipient", text())]);
    named("BounceReport", report.and_more().about("What else that report says (RFC 3464)"))
}

fn feedback_report() -> Schema {
    let report = object([
        ("feedback-type", choice(["abuse", "fraud"])),
        ("user-agent", text()),
        ("reporting-mta", text()),
        ("source-ip", text()),
        ("arrival-date", text()),
    ]);
    named("FeedbackReport", report.and_more().about("What the report of a complaint says (RFC 5965)"))
}

fn downgrade() -> Schema {
    let habit = choice(["host", "destination"]).about("Whose last three deliveries were verified");
    let downgrade = object([
        ("destination", text()),
        ("mx-host", text()),
        ("habit-of", habit),
        ("before", shown()),
        ("after", shown()),
    ]);
    named("Downgrade", downgrade)
}

fn shown() -> Schema {
    let shown = object([
        ("at", unix_seconds()),
        ("mx-host", text()),
        ("peer-ip", text()),
        ("observed", observed()),
        ("ending", choice(["plaintext", "encrypted", "verified", "delivered", "left", "failed"])),
        ("reason", text()),
        ("version", text()),
        ("key-exchange", text()),
        ("certificate", any_object()),
    ]);
    named("Shown", shown.and_more().nullable().about("What a host showed"))
}
