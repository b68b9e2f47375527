import os
import urllib.parse
from datetime import datetime, timedelta, timezone

import api
import django
from anymail.exceptions import AnymailAPIError
from anymail.message import AnymailMessage, attach_inline_image
from django.conf import settings
from django.core.mail import send_mail
from scene import (
    ATTACHMENT,
    ATTACHMENT_NAME,
    HTML,
    PLAINTEXT,
    SINK_VERIFIED,
    SUBJECT,
    TEXT,
    UNVERIFIED,
    VERIFIED,
    expect,
    expect_intact,
    how,
    kept,
    outcome,
)

DOMAIN = "django.sender.test"
URL, KEY = os.environ["INTEROP_URL"], os.environ["INTEROP_KEY"]


def main():
    settings.configure(
        EMAIL_BACKEND="anymail.backends.mailgun.EmailBackend",
        DEFAULT_FROM_EMAIL=f"app@{DOMAIN}",
        ANYMAIL={"MAILGUN_API_KEY": KEY, "MAILGUN_API_URL": f"{URL}/v3"},
    )
    django.setup()
    api.ok("POST", "/v4/domains", [("name", DOMAIN)])
    sending()
    extras()
    options()
    paging()
    mistakes()


def sending():
    message = AnymailMessage(
        SUBJECT, TEXT, f"Wäxwing <app@{DOMAIN}>", ["one@verified.test", "Zwei <two@verified.test>"], bcc=["hidden@verified.test"]
    )
    message.attach_alternative(HTML, "text/html")
    message.attach(ATTACHMENT_NAME, ATTACHMENT, "application/octet-stream")
    message.tags = ["first", "second"]
    message.metadata = {"order": "4711"}
    expect("sent", 1, message.send())
    status = message.anymail_status
    expect("status", ({"queued"}, True), (status.status, status.message_id.startswith("<")))
    for name in ("one", "two", "hidden"):
        expect(f"{name}'s mail", VERIFIED, how(DOMAIN, f"{name}@verified.test"))
    event = outcome(DOMAIN, "one@verified.test")
    expect("tags", ["first", "second"], event["tags"])
    expect("metadata", {"order": "4711"}, event["user-variables"])
    arrived = kept(SINK_VERIFIED, "one@verified.test")
    expect_intact(arrived)
    expect("message id", status.message_id, arrived["message-id"])
    expect("nothing of the hidden recipient", False, "hidden@" in arrived.as_string().partition("X-Sink-Tls")[2])
    expect("django's own function", 1, send_mail("plain words", "text", None, ["plainly@verified.test"]))
    expect("its mail", VERIFIED, how(DOMAIN, "plainly@verified.test"))
    print("sending: Django's own function and Anymail's message; delivered over verified TLS")


def extras():
    message = AnymailMessage("inline", "see the picture", to=["inline@verified.test"])
    cid = attach_inline_image(message, b"\x89PNG\r\n\x1a\n not really", "logo.png")
    message.attach_alternative(f'<img src="cid:{cid}">', "text/html")
    message.send()
    expect("with an inline image", VERIFIED, how(DOMAIN, "inline@verified.test"))
    arrived = kept(SINK_VERIFIED, "inline@verified.test")
    expect("the picture's id", True, any(part["content-id"] == f"<{cid}>" for part in arrived.walk()))
    later = AnymailMessage("later", "text", f"Wäxwing <app@{DOMAIN}>, also@{DOMAIN}", ["Zwei <much-later@verified.test>"])
    later.send_at = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=1)
    later.metadata = {"order": 4711}
    later.attach("note.txt", "plain words", "text/plain")
    cid = attach_inline_image(later, b"\x89PNG\r\n\x1a\n not really", "logo.png", domain=DOMAIN)
    later.attach_alternative(f'<img src="cid:{cid}">', "text/html")
    later.send()
    # What Anymail's own tests against Mailgun look at in the event.
    sent = {"event": "accepted", "message-id": later.anymail_status.message_id[1:-1]}
    event = api.ok("GET", f"/v3/{DOMAIN}/events?" + urllib.parse.urlencode(sent))["items"][0]
    expect("scheduled", later.send_at.timestamp(), event["message"]["scheduled-for"])
    expect("metadata", {"order": "4711"}, event["user-variables"])
    headers = event["message"]["headers"]
    expect("authors", f"Wäxwing <app@{DOMAIN}>, also@{DOMAIN}", headers["from"])
    expect("to", "Zwei <much-later@verified.test>", headers["to"])
    files = [(file["filename"], file["content-type"]) for file in event["message"]["attachments"]]
    expect("files", [(cid, "image/png"), ("note.txt", "text/plain")], files)
    print("extras: an inline image; a message of two authors for later, told of as Anymail's own tests want it")


def options():
    def send(to, **extra):
        message = AnymailMessage("TLS", "options", to=[to])
        message.esp_extra = extra
        message.send()
        return how(DOMAIN, to)

    demand, skip, neither = {"o:require-tls": "yes"}, {"o:skip-verification": "yes"}, {"o:require-tls": "no"}
    expect("demanded, none there", ("failed", "temporary", "4.7.4"), send("demanded@plain.test", **demand))
    expect("without verification", UNVERIFIED, send("skipped@verified.test", **demand, **skip))
    api.ok("PUT", f"/v3/domains/{DOMAIN}/connection", [("require_tls", "true")])
    expect("the domain's demand", ("failed", "temporary", "4.7.4"), send("by-domain@plain.test"))
    expect("no over the domain's yes", PLAINTEXT, send("by-message@plain.test", **neither))
    print("TLS options: by esp_extra, over the domain's setting in both directions")


def paging():
    """Anymail does not read events; this is what its users do beside it, as its manual tells them."""
    seen, pages = [], 0
    page = api.ok("GET", f"/v3/{DOMAIN}/events?" + urllib.parse.urlencode({"limit": 5}))
    while page["items"]:
        seen += [event["timestamp"] for event in page["items"]]
        pages += 1
        page = api.ok("GET", page["paging"]["next"])
    expect("newest first", sorted(seen, reverse=True), seen)
    expect("as many as the other way round", len(api.events(DOMAIN)), len(seen))
    print(f"events: {len(seen)} in {pages} pages to the end")


def mistakes():
    def refused(extra=None, **settings_):
        message = AnymailMessage("x", "x", to=["one@verified.test"], **settings_)
        message.esp_extra = extra or {}
        try:
            message.send()
        except AnymailAPIError as error:
            return error
        raise SystemExit("FAILED: a mistake was not refused")

    unknown = refused(extra={"sender_domain": "nobody.test"})
    expect("an unknown domain", (404, True), (unknown.status_code, "Unknown sender domain 'nobody.test'" in str(unknown)))
    nonsense = refused(extra={"o:require-tls": "perhaps"})
    expect("a bad option", (400, True), (nonsense.status_code, "o:require-tls" in str(nonsense)))
    with_wrong_key = django.core.mail.get_connection(api_key="wrong")
    expect("a wrong key", 401, refused(connection=with_wrong_key).status_code)
    print("mistakes: unknown domain, a bad option, wrong key")


if __name__ == "__main__":
    main()
