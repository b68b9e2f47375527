//! What can be called about DKIM keys.

use super::rotation::{rotate, set};
use super::{activate, authority, create, deactivate, delete, list as list_keys, of_domain, selector};
use crate::api::domains::dns_record;
use crate::api::limits::{DKIM_KEYS_PER_PAGE, DKIM_KEYS_PER_PAGE_DEFAULT};
use crate::api::operation::Operation;
use crate::api::schema::{
    Schema, any_object, boolean, choice, integer, list, message, named, object, sending_domain, switch, text,
};

pub(in crate::api) fn operations() -> Vec<Operation> {
    let limit = integer().range(1, DKIM_KEYS_PER_PAGE).default(DKIM_KEYS_PER_PAGE_DEFAULT);
    let domain = || sending_domain().about("The domain that signs");
    let which = || text().about("The selector");
    let paging = ["first", "previous", "next", "last"].map(|name| (name, text()));
    let turned = || object([("message", text()), ("authority", text()), ("selector", text()), ("active", boolean())]);
    let path = "/v4/domains/{domain}/keys";
    let turn_path = |what: &str| format!("{path}/{{selector}}/{what}");
    vec![
        Operation::get("/v1/dkim/keys", "listDkimKeys", list_keys)
            .summary("DKIM keys of all domains")
            .query("signing_domain", domain())
            .query("selector", which())
            .query("limit", limit.about("At most so many"))
            .query("page", integer().default(0).about("Which page; the first is 0"))
            .ok("A page of keys", object([("items", list(key())), ("paging", object(paging))])),
        Operation::post("/v1/dkim/keys", "createDkimKey", create)
            .summary("Make or take a DKIM key, which signs once it is activated")
            .form([
                ("signing_domain", domain().required().example("example.com")),
                ("selector", which().required().example("s8")),
                ("type", choice(["rsa", "ed25519"]).default("rsa")),
                ("bits", choice(["2048", "4096"]).default("2048")),
                ("pem", text().about("A private key of one's own: RSA of 2048 to 4096 bits, or Ed25519")),
            ])
            .ok("The key", key()),
        Operation::delete("/v1/dkim/keys", "deleteDkimKey", delete)
            .summary("Delete a DKIM key, but not the last one of its domain that signs")
            .query("signing_domain", domain().required().example("example.com"))
            .query("selector", which().required().example("s7"))
            .answer(404, "There is no such key")
            .ok("Deleted", message()),
        Operation::get(path, "listDomainKeys", of_domain)
            .summary("DKIM keys of a domain")
            .ok("The keys", object([("items", list(key()))]))
            .twin(),
        Operation::put(&turn_path("activate"), "activateDkimKey", activate)
            .summary("Let a DKIM key sign, from the next delivery on")
            .path("selector", which().example("s7"))
            .ok("It signs", turned())
            .twin(),
        Operation::put(&turn_path("deactivate"), "deactivateDkimKey", deactivate)
            .summary("Let a DKIM key sign no more")
            .path("selector", which().example("s7"))
            .ok("It signs no more", turned())
            .twin(),
        Operation::put("/v1/dkim_management/domains/{domain}/rotation", "setDkimRotation", set)
            .summary("Say whether the DKIM keys of a domain are replaced by themselves, and how old they become")
            .form([
                ("rotation_enabled", switch().required().example("yes")),
                ("rotation_interval", text().about("From 5d to 3650d. Default: as it was set, or 120d").example("90d")),
            ])
            .ok("What holds now", object([("domain", any_object())])),
        Operation::post("/v1/dkim_management/domains/{domain}/rotate", "rotateDkimKeys", rotate)
            .summary("Make DKIM keys that take the place of those that sign, once their records are published")
            .ok("Begun, or gone on", object([("message", text()), ("records", list(any_object()))])),
        Operation::put("/v3/domains/{domain}/dkim_authority", "updateDkimAuthority", authority)
            .summary("Say that a domain signs with its own keys, as it always does")
            .form([("self", switch().required().example("yes"))])
            .ok(
                "Nothing changed",
                object([("message", text()), ("changed", boolean()), ("sending_dns_records", list(dns_record()))]),
            )
            .twin(),
        Operation::put("/v3/domains/{domain}/dkim_selector", "updateDkimSelector", selector)
            .summary("Give the one key of a domain that signs another selector")
            .form([("dkim_selector", text().required().example("s9"))])
            .ok("Changed", message())
            .twin(),
    ]
}

fn key() -> Schema {
    let key = object([
        ("signing_domain", text()),
        ("selector", text()),
        ("type", choice(["rsa", "ed25519"])),
        ("bits", integer().nullable()),
        ("active", boolean()),
        ("dns_record", dns_record()),
    ]);
    named("DkimKey", key)
}
