//! What can be called about sending domains.

use super::{create, delete, list as list_domains, read, read_connection, update, update_connection, verify};
use crate::api::limits::{DOMAINS_PER_PAGE, DOMAINS_PER_PAGE_DEFAULT};
use crate::api::operation::{Access, Operation};
use crate::api::schema::{Schema, boolean, choice, integer, list, message, named, object, switch, text};

pub(in crate::api) fn operations() -> Vec<Operation> {
    let limit = integer().with("maximum", DOMAINS_PER_PAGE).default(DOMAINS_PER_PAGE_DEFAULT);
    let name = text().required().about("The domain").example("new.example.com");
    let page = object([("total_count", integer()), ("items", list(domain()))]);
    let operations = [
        Operation::get("/v4/domains", "listDomains", list_domains)
            .summary("List sending domains")
            .access(Access::Filtered)
            .query("limit", limit.about("At most so many"))
            .query("skip", integer().about("Leave out so many first"))
            .query("search", text().about("A part of the name"))
            .query("state", text().about("active, unverified, disabled"))
            .query("sort", text().about("name:asc, name:desc, created_at:desc"))
            .ok("A page of domains", page),
        Operation::post("/v4/domains", "createDomain", create)
            .summary("Make a sending domain")
            .form([("name", name)].into_iter().chain(tls_settings()).chain(limits()).chain(first_key()))
            .ok("Made", domain_answer()),
        Operation::get("/v4/domains/{domain}", "readDomain", read)
            .summary("Read a sending domain")
            .ok("The domain", domain_answer()),
        Operation::put("/v4/domains/{domain}", "updateDomain", update)
            .summary("Change a sending domain")
            .form(tls_settings().into_iter().chain(limits()))
            .ok("Changed", domain_answer()),
        Operation::delete("/v4/domains/{domain}", "deleteDomain", delete)
            .summary("Delete a sending domain and its keys; its queued mail is still delivered")
            .access(Access::Account)
            .ok("Deleted", message()),
        Operation::put("/v4/domains/{domain}/verify", "verifyDomain", verify)
            .summary("Look for the records of a domain in the DNS")
            .ok("The domain", domain_answer()),
        Operation::get("/v4/domains/{domain}/connection", "readConnection", read_connection)
            .summary("Read the TLS settings of a domain")
            .ok("The settings", connection()),
        Operation::put("/v4/domains/{domain}/connection", "updateConnection", update_connection)
            .summary("Change the TLS settings of a domain")
            .form_of(settings())
            .ok("Changed, for messages accepted from now on", connection()),
    ];
    // Clients disagree on the version of each.
    operations.map(Operation::twin).into()
}

fn tls_settings() -> [(&'static str, Schema); 4] {
    [
        ("require_tls", switch()),
        ("skip_verification", switch()),
        ("tls_fallback", choice(["plaintext", "unverified", "defer"])),
        ("tls_failure", choice(["defer", "fail"])),
    ]
}

/// Each is a number, or `default` for what holds for all domains.
fn limits() -> [(&'static str, Schema); 4] {
    [
        ("message_ttl", text().about("How long the content of messages is kept, in seconds, or 'default'")),
        ("event_retention", text().about("How long events can be read, in seconds, or 'default'")),
        ("event_limit", text().about("Most events that are kept, or 'default'")),
        ("message_limit", text().about("Most octets of content of messages that are kept, or 'default'")),
    ]
}

fn settings() -> Schema {
    let [first, rest @ ..] = tls_settings();
    let first = (first.0, first.1.example("yes"));
    named("DomainSettings", object([first].into_iter().chain(rest)).with("minProperties", 1))
}

fn domain() -> Schema {
    let domain = object([
        ("id", text()),
        ("name", text()),
        ("state", text()),
        ("created_at", text()),
        ("require_tls", boolean()),
        ("skip_verification", boolean()),
    ]);
    named("Domain", domain.and_more())
}

fn domain_answer() -> Schema {
    let answer = object([
        ("message", text()),
        ("domain", domain()),
        ("receiving_dns_records", list(dns_record())),
        ("sending_dns_records", list(dns_record())),
        ("recommended_dns_records", list(dns_record())),
    ]);
    named("DomainAnswer", answer)
}

/// A DNS record of a domain.
pub(in crate::api) fn dns_record() -> Schema {
    let record = object([
        ("is_active", boolean()),
        ("cached", list(text()).about("What was found when the DNS was last asked")),
        ("name", text()),
        ("record_type", text()),
        ("valid", choice(["valid", "invalid", "unknown"])),
        ("value", text()),
        ("purpose", text()),
        ("detail", text().nullable().about("Why it is not valid, or what else there is to say")),
    ]);
    named("DnsRecord", record)
}

fn first_key() -> [(&'static str, Schema); 2] {
    [
        ("dkim_key_size", choice(["2048", "4096"]).default("2048")),
        ("dkim_selector", text().about("Where the key is published; one that tells the day unless given")),
    ]
}

fn connection() -> Schema {
    let nested = object([("require_tls", boolean()), ("skip_verification", boolean())]);
    let answer = object([
        ("message", text()),
        ("require_tls", boolean()),
        ("skip_verification", boolean()),
        ("connection", nested),
    ]);
    named("Connection", answer.and_more())
}
