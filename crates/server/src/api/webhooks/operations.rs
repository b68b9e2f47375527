//! What can be called about webhooks.

use store::webhook::Subject;

use super::{account, domain, signing_key, word};
use crate::api::operation::{Access, Operation};
use crate::api::schema::{Schema, integer, list, map_of, named, number, object, switch, text};

pub(in crate::api) fn operations() -> Vec<Operation> {
    let mut all = by_kind();
    all.extend(by_url());
    all.extend(of_account());
    all
}

fn by_kind() -> Vec<Operation> {
    let urls = || list(url()).with("maxItems", 3).required().about("Up to three").example("https://example.com/hook");
    let path = "/v3/domains/{domain}/webhooks/{webhook_name}";
    let name = || kind().example("delivered");
    vec![
        Operation::get("/v3/domains/{domain}/webhooks", "listWebhooks", domain::list)
            .summary("Who is told of which events of a domain")
            .about("`endpoints` says the same by URL, with how telling each of them goes.")
            .ok("By kind of event, and by URL", object([("webhooks", webhooks()), ("endpoints", list(endpoint()))]))
            .twin(),
        Operation::post("/v3/domains/{domain}/webhooks", "createWebhook", domain::create)
            .summary("Tell URLs of a kind of event that nobody is told of yet")
            .about("With `event_types` in place of `id` it does what it does under /v4.")
            .form([("id", kind().required().example("delivered")), ("url", urls())])
            .ok("Made, for events from now on", answer())
            .answer_as(400, "Refused", "application/json", reason()),
        Operation::get(path, "readWebhook", domain::read)
            .summary("Who is told of a kind of event")
            .path("webhook_name", name())
            .ok("The URLs", object([("webhook", webhook())]))
            .twin(),
        Operation::put(path, "updateWebhook", domain::update)
            .summary("Tell other URLs of a kind of event")
            .path("webhook_name", name())
            .form([("url", urls())])
            .ok("Changed", answer())
            .answer_as(400, "Refused", "application/json", reason())
            .twin(),
        Operation::delete(path, "deleteWebhook", domain::delete)
            .summary("Tell nobody of a kind of event any more")
            .path("webhook_name", name())
            .ok("Deleted; these were the URLs", answer())
            .twin(),
        Operation::put("/v3/domains/{domain}/webhooks/{webhook_name}/test", "testWebhook", domain::test)
            .summary("Tell a URL of an event that never happened")
            .path("webhook_name", name())
            .form([("url", url().required().example("https://example.com/hook"))])
            .ok("What it answered; code 0 is no answer", object([("code", integer()), ("message", text())]))
            .twin(),
    ]
}

fn by_url() -> Vec<Operation> {
    let path = "/v4/domains/{domain}/webhooks";
    let all = || object([("webhooks", webhooks())]);
    let fields = || [("url", url().required().example("https://example.com/hook")), ("event_types", kinds())];
    vec![
        Operation::post(path, "addWebhookUrl", domain::create)
            .summary("Tell a URL of kinds of events, beside what it is told of already")
            .form(fields())
            .ok("All webhooks of the domain", all())
            .answer_as(400, "Refused", "application/json", reason()),
        Operation::put(path, "setWebhookUrl", domain::set_url)
            .summary("Tell a URL of these kinds of events and no others")
            .form(fields())
            .ok("All webhooks of the domain", all())
            .answer_as(400, "Refused", "application/json", reason())
            .twin(),
        Operation::delete(path, "removeWebhookUrl", domain::remove_urls)
            .summary("Tell a URL nothing any more")
            .query("url", url().required().about("May be repeated").example("https://example.com/hook"))
            .ok("All webhooks that are left", all())
            .answer_as(400, "Refused", "application/json", reason())
            .twin(),
    ]
}

fn of_account() -> Vec<Operation> {
    let fields = || {
        [
            ("url", url().required().example("https://example.com/hook")),
            ("event_types", kinds()),
            ("description", text().with("maxLength", 500)),
        ]
    };
    let ids = || text().about("Names of webhooks, with commas between them");
    let path = "/v1/webhooks/{webhook_id}";
    let id = || text().about("The name of a webhook").example("q1w2e3r4t5y6u7i8o9p0aa");
    let key = || object([("message", text()), ("http_signing_key", text())]);
    vec![
        Operation::get("/v1/webhooks", "listAccountWebhooks", account::list)
            .summary("Who is told of events of every domain")
            .query("webhook_ids", ids())
            .ok("Those, or all", object([("webhooks", list(account_webhook()))])),
        Operation::post("/v1/webhooks", "createAccountWebhook", account::create)
            .summary("Tell a URL of events of every domain")
            .form(fields())
            .ok("Its name", object([("webhook_id", text())]))
            .answer_as(409, "The URL is told already", "application/json", description()),
        Operation::delete("/v1/webhooks", "deleteAccountWebhooks", account::delete_several)
            .summary("Delete several, all of them or none")
            .query("webhook_ids", ids())
            .query("all", switch().about("Every one").example("yes"))
            .answer(204, "Deleted")
            .answer_as(404, "One of them is not there", "application/json", description()),
        Operation::get(path, "readAccountWebhook", account::read)
            .summary("One of them")
            .path("webhook_id", id())
            .ok("The webhook", account_webhook())
            .answer_as(404, "It is not there", "application/json", description()),
        Operation::put(path, "updateAccountWebhook", account::update)
            .summary("Change its URL and what it is told of")
            .path("webhook_id", id())
            .form(fields())
            .answer(204, "Changed")
            .answer_as(404, "It is not there", "application/json", description())
            .answer_as(409, "Another one has this URL", "application/json", description()),
        Operation::delete(path, "deleteAccountWebhook", account::delete)
            .summary("Delete one")
            .path("webhook_id", id())
            .answer(204, "Deleted")
            .answer_as(404, "It is not there", "application/json", description()),
        Operation::get("/v5/accounts/http_signing_key", "readSigningKey", signing_key::read)
            .summary("The key that signs what webhooks are told")
            .access(Access::Admin)
            .ok("The key", key()),
        Operation::post("/v5/accounts/http_signing_key", "renewSigningKey", signing_key::renew)
            .summary("Make another one in its place")
            .access(Access::Admin)
            .ok("The new key", key()),
    ]
}

fn kind() -> Schema {
    text().with("enum", Subject::ALL.map(word).as_slice())
}

fn kinds() -> Schema {
    list(kind()).required().example("delivered,permanent_fail")
}

fn url() -> Schema {
    text().with("format", "uri").with("maxLength", crate::api::limits::WEBHOOK_URL_OCTETS)
}

fn webhook() -> Schema {
    named("Webhook", object([("urls", list(text()))]))
}

fn webhooks() -> Schema {
    named("WebhooksByKind", map_of(webhook()))
}

fn answer() -> Schema {
    named("WebhookAnswer", object([("message", text()), ("webhook", webhook())]))
}

fn health() -> Schema {
    let last = || {
        let status = integer().nullable().about("Absent when there was no answer");
        object([("timestamp", number()), ("status", status), ("error", text())]).nullable()
    };
    let told_to = number().about("Unix seconds: events up to here were told, or are to be told again");
    let health = [("told-to", told_to), ("to-be-retried", integer()), ("last", last()), ("last-failure", last())];
    named("WebhookHealth", object(health))
}

fn endpoint() -> Schema {
    let endpoint = [("url", text()), ("event_types", list(kind())), ("created_at", text()), ("health", health())];
    named("WebhookEndpoint", object(endpoint))
}

fn account_webhook() -> Schema {
    let webhook = [
        ("webhook_id", text()),
        ("description", text()),
        ("url", text()),
        ("event_types", list(kind())),
        ("created_at", text()),
        ("health", health()),
    ];
    named("AccountWebhook", object(webhook))
}

fn reason() -> Schema {
    object([("Reason", text()), ("message", text())])
}

fn description() -> Schema {
    object([("Description", text()), ("message", text())])
}
