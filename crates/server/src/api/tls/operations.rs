//! What can be called about how mail travelled.

use super::check::check;
use super::{destinations, what_if};
use crate::api::limits::{POSTURE_PER_PAGE, POSTURE_PER_PAGE_DEFAULT};
use crate::api::operation::{Access, Operation};
use crate::api::schema::{
    Schema, all_of, any_object, boolean, choice, integer, list, map_of, named, number, object, sending_domain, switch,
    text, unix_seconds,
};

pub(in crate::api) fn operations() -> Vec<Operation> {
    let begin = "RFC 2822 date or Unix seconds; rounded down to the hour. Default: seven days before the end";
    let end = || text().about("The same, rounded up. Default: now");
    let domain = || sending_domain().about("Only of this sending domain");
    let limit = || integer().range(1, POSTURE_PER_PAGE).default(POSTURE_PER_PAGE_DEFAULT).about("At most so many");
    let skip = || integer().about("Leave out so many first");
    let parts = "Tells parts of the time apart; at most 400 of them, 50 destinations on a page";
    vec![
        Operation::get("/v1/tls/destinations", "tlsDestinations", destinations)
            .summary("How mail travelled, by destination and sending domain")
            .access(Access::Filtered)
            .query("domain", domain())
            .query("destination", text().about("Only to this recipient domain"))
            .query("begin", text().about(begin))
            .query("end", end())
            .query("resolution", choice(["hour", "day"]).about(parts))
            .query("limit", limit())
            .query("skip", skip())
            .ok("Those with the most mail first", all_of([listing(), object([("items", list(destination()))])])),
        Operation::post("/v1/tls/check", "tlsCheck", check)
            .summary("Look at a recipient domain now, and say what each TLS setting would come to there")
            .about("Its mail servers hear EHLO, STARTTLS and QUIT, and nothing else. What `waxwing check --json` says.")
            .access(Access::Filtered)
            .reads()
            .form([("domain", text().about("The recipient domain").required().example("example.net"))])
            .ok("What was found", any_object())
            .answer(504, "The destination's servers took too long"),
        Operation::get("/v1/tls/what-if", "tlsWhatIf", what_if)
            .summary("Which deliveries of the past would not have been made under other settings")
            .access(Access::Filtered)
            .query("require_tls", switch().about("What if every message had required TLS").required().example("yes"))
            .query("skip_verification", switch().about("What if every message had skipped verification"))
            .query("domain", domain())
            .query("since", text().about(begin))
            .query("end", end())
            .query("limit", limit())
            .query("skip", skip())
            .ok("Those with the most deliveries kept back first", all_of([listing(), answer_to_what_if()])),
    ]
}

/// What was seen of a host.
pub(in crate::api) fn observed() -> Schema {
    named("Observed", choice(["not-offered", "refused", "handshake-failed", "unverified", "verified"]))
}

fn listing() -> Schema {
    let links = object([("first", text()), ("previous", text()), ("next", text())]);
    let listing =
        object([("begin", unix_seconds()), ("end", unix_seconds()), ("total_count", integer()), ("paging", links)]);
    named("Listing", listing)
}

fn destination() -> Schema {
    let host = object([("host", text()), ("attempts", integer()), ("last-seen", unix_seconds())]);
    let bucket = object([
        ("begin", unix_seconds()),
        ("end", unix_seconds()),
        ("delivered", integer()),
        ("counts", endings(integer)),
        ("failed-attempts", failed_attempts()),
    ]);
    let destination = object([
        ("destination", text()),
        ("domain", text().about("The sending domain")),
        ("delivered", integer().about("Recipients delivered")),
        ("messages", integer().about("Messages delivered; one to several recipients at once counts once")),
        ("counts", endings(integer)),
        ("shares", endings(number).nullable()),
        ("versions", map_of(integer())),
        ("key-exchanges", map_of(integer())),
        ("fallback-reasons", map_of(integer()).about("Why in plaintext")),
        ("certificate-faults", map_of(integer()).about("Encrypted with a certificate that was not valid")),
        ("failed-attempts", failed_attempts()),
        ("failure-reasons", map_of(integer())),
        ("mx-hosts", list(host)),
        ("last-seen", unix_seconds()),
        ("buckets", list(bucket)),
    ]);
    named("Destination", destination)
}

/// How deliveries ended, each with a value of this shape.
fn endings(value: fn() -> Schema) -> Schema {
    object([
        ("plaintext", value()),
        ("encrypted", value()),
        ("verified", value()),
        ("dane", value().about("Part of verified")),
        ("mta-sts", value().about("Part of verified")),
    ])
}

fn failed_attempts() -> Schema {
    object([("tls", integer().about("Hosts that were left for want of TLS")), ("other", integer())])
}

fn answer_to_what_if() -> Schema {
    let total = || named("Total", object([("messages", integer()), ("recipients", integer())]));
    let answer = object([
        ("require-tls", boolean()),
        ("skip-verification", boolean()),
        ("not-delivered", total()),
        ("delivered", total()),
        ("unknown", total()),
        ("items", list(not_delivered())),
    ]);
    named("WhatIf", answer)
}

fn not_delivered() -> Schema {
    let because = object([
        ("observed", observed()),
        ("reason", text()),
        ("messages", integer()),
        ("recipients", integer()),
        ("first", unix_seconds()),
        ("last", unix_seconds()),
        ("mx-host", text()),
    ]);
    let reached = "Recipients at the same destination who would have been reached";
    let not_delivered = object([
        ("destination", text()),
        ("domain", text()),
        ("messages", integer()),
        ("recipients", integer()),
        ("first", unix_seconds()),
        ("last", unix_seconds()),
        ("still-delivered", integer().about(reached)),
        ("because", list(because)),
    ]);
    named("NotDelivered", not_delivered)
}
