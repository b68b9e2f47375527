//! What can be called to see kept messages and to send them once more.

use super::{attachment, read, resend::resend};
use crate::api::operation::Operation;
use crate::api::schema::{Schema, any_object, binary, integer, list, named, object, text};

pub(in crate::api) fn operations() -> Vec<Operation> {
    let key = || text().about("storage.key of an event").example("AAAAAAAAAAAAAAAAAAAAAA");
    vec![
        Operation::get("/v3/domains/{domain}/messages/{key}", "readMessage", read)
            .summary("A message as it is kept")
            .about("With Accept: message/rfc2822 in one piece, as body-mime.")
            .path("key", key())
            .ok("The message", stored())
            .twin(),
        Operation::get("/v3/domains/{domain}/messages/{key}/attachments/{number}", "readAttachment", attachment)
            .summary("A file of a message")
            .path("key", key())
            .path("number", integer().about("From 0 on").example(0))
            .answer_as(200, "The file, as a download", "application/octet-stream", binary())
            .twin(),
        Operation::post("/v3/domains/{domain}/messages/{key}", "resendMessage", resend)
            .summary("Send a kept message to others")
            .path("key", key())
            .form([("to", text().required().about("Recipients; repeated or comma-joined").example("bob@example.net"))])
            .ok("Kept on disk and queued", object([("id", text()), ("message", text())]))
            .twin(),
    ]
}

fn stored() -> Schema {
    let file = object([("name", text()), ("content-type", text()), ("size", integer()), ("url", text())]);
    let stored = object([
        ("recipients", text().required().about("With commas")),
        ("sender", text().required().about("The envelope sender")),
        ("from", text().required()),
        ("subject", text().required()),
        ("body-plain", text()),
        ("body-html", text()),
        ("stripped-text", text()),
        ("stripped-html", text()),
        ("stripped-signature", text()),
        ("body-mime", text()),
        ("message-headers", list(list(text()))),
        ("message-url", text()),
        ("attachments", list(file)),
        ("content-id-map", any_object()),
    ]);
    named(
        "StoredMessage",
        stored.and_more().about("Fields of the header stand beside these: From, To, Subject, Message-Id"),
    )
}
