//! What can be called to send.

use super::{messages, messages_mime};
use crate::api::operation::{Access, Operation};
use crate::api::schema::{Schema, binary, list, object, switch, text};

pub(in crate::api) fn operations() -> Vec<Operation> {
    let parts = [
        ("from", text().required().about("One mailbox").example("Ann <ann@example.com>")),
        ("to", text().required().about("Recipients; repeated or comma-joined").example("bob@example.net")),
        ("cc", text()),
        ("bcc", text()),
        ("subject", text()),
        ("text", text().example("Hello")),
        ("html", text()),
        ("amp-html", text()),
        ("template", text().about("The name of a template that the HTML is made of")),
        ("t:version", text().about("Its version; else the active one")),
        ("t:text", switch().about("The text is made of it too")),
        ("t:variables", text().about("A JSON object; its variables beat those of v:")),
        ("attachment", list(binary())),
        ("inline", list(binary())),
    ];
    let whole = [
        ("to", text().required().about("Recipients; repeated or comma-joined").example("bob@example.net")),
        ("message", binary().required().example("From: ann@example.com\r\nSubject: Hello\r\n\r\nHello\r\n")),
    ];
    let further = "Further fields: any h:Name (a header) and v:name (a variable).";
    vec![
        Operation::post("/v3/{domain}/messages", "sendMessage", messages)
            .summary("Send a message in parts")
            .about(further)
            .access(Access::Sending)
            .form(parts.into_iter().chain(options()))
            .ok("Kept on disk and queued", kept()),
        Operation::post("/v3/{domain}/messages.mime", "sendMime", messages_mime)
            .summary("Send a whole message")
            .about(further)
            .access(Access::Sending)
            .form(whole.into_iter().chain(options()))
            .ok("Kept on disk and queued", kept()),
    ]
}

fn options() -> impl Iterator<Item = (&'static str, Schema)> {
    let when = text().about("RFC 2822 date or Unix seconds, at most 7 days ahead");
    [
        ("o:tag", list(text()).with("maxItems", 10)),
        ("o:testmode", switch()),
        ("o:deliverytime", when),
        ("o:deliver-within", text().about("How long attempts are made: 1h30m, from 5m to 24h")),
        (
            "recipient-variables",
            text().about("A JSON object of objects by address: each of `to` gets a copy of its own"),
        ),
        ("o:require-tls", switch()),
        ("o:skip-verification", switch()),
    ]
    .into_iter()
}

fn kept() -> Schema {
    object([("id", text().about("The Message-ID, with brackets")), ("message", text())])
}
