import asyncio
import http.server
import json
import logging
import os
import queue
import threading
import urllib.parse

import api
from mailgun.client import AsyncClient, Client
from mailgun.security import SecurityGuard
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

DOMAIN = "python.sender.test"
URL, KEY = os.environ["INTEROP_URL"], os.environ["INTEROP_KEY"]


def switches(connection):
    """Mailgun's two; Waxwing has more."""
    return {name: connection[name] for name in ("require_tls", "skip_verification")}


def main():
    logging.getLogger("mailgun").setLevel(logging.CRITICAL)  # the mistakes below are on purpose
    with Client(auth=("api", KEY), api_url=URL) as client:
        domains(client)
        connection(client)
        sending(client)
        options(client)
        stored(client)
        suppressions(client)
        paging(client)
        mistakes(client)
        webhooks(client)
    asyncio.run(asynchronous())


def answered(response, status=200):
    if response.status_code != status:
        raise SystemExit(f"FAILED: {response.request.method} {response.url} answered {response.status_code}: {response.text}")
    return response.json()


def domains(client):
    expect("ping", True, client.ping())
    made = answered(client.domains.create(data={"name": DOMAIN}))
    expect("name", DOMAIN, made["domain"]["name"])
    answered(client.domains.create(data={"name": "second.test", "require_tls": "true"}))
    listed = answered(client.domainlist.get(filters={"limit": 10}))
    expect("domains", {DOMAIN, "second.test"}, {item["name"] for item in listed["items"]})
    expect("total", 2, listed["total_count"])
    answered(client.domains.put(domain="second.test", data={"require_tls": "false", "skip_verification": "true"}))
    second = answered(client.domains.get(domain="second.test"))["domain"]
    expect("settings", (False, True), (second["require_tls"], second["skip_verification"]))
    answered(client.domains.delete(domain="second.test"))
    answered(client.domains.get(domain="second.test"), 404)
    print("domains: made, listed, read, changed, deleted")


def connection(client):
    answer = answered(client.domains_connection.get(domain=DOMAIN))
    expect("settings", {"require_tls": False, "skip_verification": False}, switches(answer["connection"]))
    data = {"require_tls": "true", "skip_verification": "false"}
    changed = answered(client.domains_connection.put(domain=DOMAIN, data=data))
    expect("both spellings", (True, True), (changed["require-tls"], changed["require_tls"]))
    answered(client.domains_connection.put(domain=DOMAIN, data={"skip_verification": True}))
    answer = answered(client.domains_connection.get(domain=DOMAIN))
    expect("settings", {"require_tls": True, "skip_verification": True}, switches(answer["connection"]))
    answered(client.domains_connection.put(domain=DOMAIN, data={"skip_verification": False}))
    print("connection settings: read, changed, changed in part")


def sending(client):
    data = {
        "from": f"Wäxwing <app@{DOMAIN}>",
        "to": ["one@verified.test", "Zwei <two@verified.test>"],
        "cc": "three@verified.test",
        "subject": SUBJECT,
        "text": TEXT,
        "html": HTML,
        "o:require-tls": "yes",
        "o:tag": ["first", "second"],
        "v:order": "4711",
    }
    files = [("attachment", (ATTACHMENT_NAME, ATTACHMENT))]
    sent = answered(client.messages.create(domain=DOMAIN, data=data, files=files))
    expect("answer", "Queued. Thank you.", sent["message"])
    for name in ("one", "two", "three"):
        expect(f"{name}'s mail", VERIFIED, how(DOMAIN, f"{name}@verified.test"))
    expect_intact(kept(SINK_VERIFIED, "one@verified.test"))
    mime = b"From: app@python.sender.test\r\nTo: mime@verified.test\r\nSubject: MIME\r\n\r\nready made\r\n"
    answered(client.mimemessage.create(domain=DOMAIN, data={"to": "mime@verified.test"}, files={"message": mime}))
    expect("the ready-made one", VERIFIED, how(DOMAIN, "mime@verified.test"))
    print("sending: three recipients, unicode, an attachment, ready-made MIME; delivered over verified TLS")


def options(client):
    def send(to, **more):
        data = {"from": f"app@{DOMAIN}", "to": to, "subject": "TLS", "text": "options", **more}
        answered(client.messages.create(domain=DOMAIN, data=data))  # no file: urlencoded
        return how(DOMAIN, to)

    expect("the domain's demand", ("failed", "temporary", "4.7.4"), send("by-domain@plain.test"))
    expect("no over the domain's yes", PLAINTEXT, send("by-message@plain.test", **{"o:require-tls": False}))
    both = {"o:require-tls": True, "o:skip-verification": True}
    expect("without verification", UNVERIFIED, send("skipped@verified.test", **both))
    print("TLS options: message over domain in both directions, as Python's own booleans")


def stored(client):
    storage = outcome(DOMAIN, "one@verified.test")["storage"]
    message = answered(client.resend_message.get(domain=DOMAIN, storage_url=storage["url"]))
    expect("subject", SUBJECT, message["Subject"])
    expect("html", HTML, message["body-html"])
    expect("attachments", [len(ATTACHMENT)], [file["size"] for file in message["attachments"]])
    data = {"to": "again@verified.test"}
    again = answered(client.resend_message.create(domain=DOMAIN, storage_url=storage["url"], data=data))
    expect("answer", "Queued. Thank you.", again["message"])
    expect("what is sent once more", VERIFIED, how(DOMAIN, "again@verified.test"))
    expect_intact(kept(SINK_VERIFIED, "again@verified.test"))
    print("stored messages: read, and sent once more with all that was in it")


def suppressions(client):
    data = {"address": "gone@verified.test", "code": "550", "error": "no such user"}
    answered(client.bounces.create(domain=DOMAIN, data=data))
    listed = answered(client.bounces.get(domain=DOMAIN))
    expect("bounces", ["gone@verified.test"], [item["address"] for item in listed["items"]])
    one = answered(client.bounces.get(domain=DOMAIN, bounce_address="gone@verified.test"))
    expect("error", "no such user", one["error"])
    answered(client.bounces.delete(domain=DOMAIN, bounce_address="gone@verified.test"))
    answered(client.bounces.get(domain=DOMAIN, bounce_address="gone@verified.test"), 404)
    print("suppressions: a bounce made, listed, read, deleted")


def paging(client):
    whole = answered(client.events.get(domain=DOMAIN, filters={"ascending": "yes", "limit": 300}))
    page = answered(client.events.get(domain=DOMAIN, filters={"ascending": "yes", "limit": 4}))
    seen, pages = [], 0
    while page["items"]:
        seen += [event["id"] for event in page["items"]]
        pages += 1
        expect("pages end", True, pages < 100)
        page = follow(client, page["paging"]["next"])
    expect("events over all pages", [event["id"] for event in whole["items"]], seen)
    found = answered(client.events.get(domain=DOMAIN, filters={"event": "rejected OR failed"}))
    expect("filtered", ["by-domain@plain.test"], [event["recipient"] for event in found["items"]])
    print(f"events: {len(seen)} in {pages} pages to the end")


def follow(client, url):
    """The next page. The SDK's own `stream` looks for the page in the query alone, where Mailgun's events have none."""
    expect("the paging address is ours", urllib.parse.urlsplit(URL).netloc, urllib.parse.urlsplit(url).netloc)
    return answered(client._session.get(url, auth=("api", KEY), timeout=30))


def mistakes(client):
    mail = {"from": f"app@{DOMAIN}", "to": "one@verified.test", "subject": "x", "text": "x"}
    with Client(auth=("api", "wrong"), api_url=URL) as stranger:
        expect("ping with a wrong key", False, stranger.ping())
        expect("a wrong key", 401, stranger.messages.create(domain=DOMAIN, data=mail).status_code)
    unknown = answered(client.messages.create(domain="nobody.test", data=mail), 404)
    expect("an unknown domain", "Domain not found: nobody.test", unknown["message"])
    missing = answered(client.messages.create(domain=DOMAIN, data={**mail, "to": ""}), 400)
    expect("no recipient is told of", True, "to parameter" in missing["message"])
    nonsense = answered(client.messages.create(domain=DOMAIN, data={**mail, "o:skip-verification": "perhaps"}), 400)
    expect("the option is named", True, "o:skip-verification" in nonsense["message"])
    print("mistakes: wrong key, unknown domain, no recipient, an option that is neither yes nor no")


class Receiver(http.server.BaseHTTPRequestHandler):
    told = queue.Queue()

    def do_POST(self):
        Receiver.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def webhooks(client):
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    url, other = f"http://127.0.0.1:{receiver.server_port}/hook", "https://example.com/hook"
    hooks = client.domains_webhooks
    answered(hooks.create(domain=DOMAIN, data={"id": "opened", "url": [other, url]}))
    answered(hooks.create(domain=DOMAIN, data={"id": "opened", "url": other}), 400)
    answered(hooks.put(domain=DOMAIN, webhook_name="opened", data={"url": other}))
    expect("one kind", {"webhook": {"urls": [other]}}, answered(hooks.get(domain=DOMAIN, webhook_name="opened")))
    # By URL: the SDK goes to v4 by itself.
    answered(hooks.create(domain=DOMAIN, data={"url": url, "event_types": ["accepted", "clicked"]}))
    answered(hooks.put(domain=DOMAIN, data={"url": url, "event_types": ["delivered"]}))
    expect("kinds", {"delivered", "opened"}, set(answered(hooks.get(domain=DOMAIN))["webhooks"]))

    data = {"from": f"app@{DOMAIN}", "to": "hook@verified.test", "subject": "x", "text": "x"}
    answered(client.messages.create(domain=DOMAIN, data=data))
    event, told = outcome(DOMAIN, "hook@verified.test"), Receiver.told.get(timeout=30)
    expect("what is told", event, told["event-data"])
    key, signature = api.ok("GET", "/v5/accounts/http_signing_key")["http_signing_key"], told["signature"]
    expect("the signature, by the SDK", True, SecurityGuard.verify_webhook(key, **signature))
    expect("with another key", False, SecurityGuard.verify_webhook(key[::-1], **signature))

    answered(hooks.delete(domain=DOMAIN, filters={"url": url}))
    answered(hooks.delete(domain=DOMAIN, webhook_name="opened"))
    expect("none is left", {}, answered(hooks.get(domain=DOMAIN))["webhooks"])
    account = client.account_webhooks
    made = answered(account.create(data={"url": other, "event_types": ["delivered"], "description": "all"}))
    expect("listed", [made["webhook_id"]], [hook["webhook_id"] for hook in answered(account.get())["webhooks"]])
    expect("deleted", 204, account.delete(webhook_id=made["webhook_id"]).status_code)
    receiver.shutdown()
    print("webhooks: by kind, by URL, of the account; told of a delivery as the events API has it, signed")


async def asynchronous():
    async with AsyncClient(auth=("api", KEY), api_url=URL) as client:
        expect("ping", True, await client.ping())
        data = {"from": f"app@{DOMAIN}", "to": "async@verified.test", "subject": SUBJECT, "text": TEXT}
        answered(await client.messages.create(domain=DOMAIN, data=data))
    expect("sent asynchronously", VERIFIED, how(DOMAIN, "async@verified.test"))
    print("the asynchronous client sends too")


if __name__ == "__main__":
    main()
