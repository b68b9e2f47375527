"""What an operator does with the SDK beside sending: DKIM, credentials, keys, lists of recipients, templates, numbers."""

import json
import logging
import os
import time
import warnings

from mailgun.builders import MailgunMessageBuilder
from mailgun.client import Client
from scene import SINK_VERIFIED, VERIFIED, expect, how, kept, outcome

DOMAIN = "account.sender.test"
URL, KEY = os.environ["INTEROP_URL"], os.environ["INTEROP_KEY"]


def main():
    logging.getLogger("mailgun").setLevel(logging.CRITICAL)  # the mistakes below are on purpose
    warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's, for the older calls
    with Client(auth=("api", KEY), api_url=URL) as client:
        answered(client.domains.create(data={"name": DOMAIN}))
        dkim(client)
        credentials(client)
        keys(client)
        for name in ("bounces", "unsubscribes", "complaints", "whitelists"):
            suppressions(client, name)
        templates(client)
        messages(client)
        logs(client)
        numbers(client)
        tags(client)
        queues(client)
        tracking(client)


def answered(response, status=200):
    if response.status_code != status:
        raise SystemExit(f"FAILED: {response.request.method} {response.url} answered {response.status_code}: {response.text}")
    return response.json()


def dkim(client):
    """Keys are not turned on here: the SDK calls a path with `{authority_name}` in it, whatever it is given."""
    verified = answered(client.domains.put(domain=DOMAIN, verify=True))
    expect("records", ["invalid", "invalid"], [record["valid"] for record in verified["sending_dns_records"]])
    made = answered(client.dkim_keys.create(data={"signing_domain": DOMAIN, "selector": "second", "bits": "2048"}))
    expect("made", (DOMAIN, "second", False), (made["signing_domain"], made["selector"], made["active"]))
    listed = answered(client.domains_keys.get(domain=DOMAIN))["items"]
    expect("keys", [True, False], [key["active"] for key in listed])
    found = answered(client.dkim_keys.get(filters={"signing_domain": DOMAIN, "selector": "second"}))["items"]
    expect("found", ["second"], [key["selector"] for key in found])
    answered(client.dkim_keys.delete(filters={"signing_domain": DOMAIN, "selector": "second"}))
    answered(client.domains_dkimselector.put(domain=DOMAIN, data={"dkim_selector": "third"}))
    authority = answered(client.domains_dkimauthority.put(domain=DOMAIN, data={"self": "true"}))
    expect("renamed", f"third._domainkey.{DOMAIN}", authority["sending_dns_records"][1]["name"])
    print("DNS records and DKIM keys: looked for, made, listed, renamed, deleted")


def credentials(client):
    of_domain = client.domains_credentials
    answered(of_domain.create(domain=DOMAIN, data={"login": "alice", "password": "a password"}))
    answered(of_domain.create(domain=DOMAIN, data={"login": f"bob@{DOMAIN}", "password": "a password"}))
    answered(of_domain.create(domain=DOMAIN, data={"login": "alice", "password": "another one"}), 400)
    listed = answered(of_domain.get(domain=DOMAIN))
    expect("logins", [f"alice@{DOMAIN}", f"bob@{DOMAIN}"], [item["login"] for item in listed["items"]])
    answered(of_domain.put(domain=DOMAIN, login=f"alice@{DOMAIN}", data={"password": "another one"}))
    answered(of_domain.delete(domain=DOMAIN, login=f"alice@{DOMAIN}"))
    expect("the others", 1, answered(of_domain.delete(domain=DOMAIN))["count"])
    print("credentials: made, listed, given another password, deleted")


def keys(client):
    data = {"role": "sending", "kind": "domain", "domain_name": DOMAIN, "description": "shop", "expiration": "3600"}
    key = answered(client.keys.create(data=data))["key"]
    mail = {"from": f"app@{DOMAIN}", "to": "key@verified.test", "subject": "x", "text": "x"}
    with Client(auth=("api", key["secret"]), api_url=URL) as shop:
        answered(shop.messages.create(domain=DOMAIN, data=mail))
        expect("a sending key reads nothing", 403, shop.events.get(domain=DOMAIN).status_code)
        listed = answered(client.keys.get(filters={"domain_name": DOMAIN, "kind": "domain"}))
        expect("listed", (1, [key["id"]]), (listed["total_count"], [item["id"] for item in listed["items"]]))
        expect("shown once", False, key["secret"] in json.dumps(listed))
        answered(client.keys.delete(key_id=key["id"]))
        expect("after it is deleted", 401, shop.messages.create(domain=DOMAIN, data=mail).status_code)
    print("API keys: a sending key that sends and does no more, listed, deleted")


def suppressions(client, name):
    entries = getattr(client, name)
    one = {"domain": DOMAIN, f"{name[:-1]}_address": "a@example.net"}
    answered(entries.create(domain=DOMAIN, data={"address": "a@example.net"}))
    several = json.dumps([{"address": "b@example.net"}, {"address": "c@example.net"}])
    answered(entries.create(domain=DOMAIN, data=several, headers={"Content-Type": "application/json"}))
    page, seen = answered(entries.get(domain=DOMAIN, filters={"limit": 2})), []
    while page["items"]:
        seen += [item.get("address", item.get("value")) for item in page["items"]]
        expect("pages end", True, len(seen) < 9)
        page = answered(client._session.get(page["paging"]["next"], auth=("api", KEY), timeout=30))
    expect(name, ["a@example.net", "b@example.net", "c@example.net"], sorted(seen))
    rows = b"address\nd@example.net\nnobody\n"
    loading = getattr(client, f"{name}_import")
    loaded = answered(loading.create(domain=DOMAIN, files={"file": ("list.csv", rows, "text/csv")}), 202)
    expect("loaded", (1, 1), (loaded["added"], loaded["rejected"]))
    found = answered(entries.get(**one))
    expect("one", "a@example.net", found.get("address", found.get("value")))
    answered(entries.delete(**one))
    answered(entries.get(**one), 404)
    answered(entries.delete(domain=DOMAIN))
    expect("none is left", [], answered(entries.get(domain=DOMAIN))["items"])
    print(f"{name}: one and several made, read, paged through to the end, loaded from CSV, deleted")


def templates(client):
    of = {"domain": DOMAIN, "template_name": "welcome"}
    first = {"name": "Welcome", "template": "<p>Hi {{name}}</p>", "description": "for new ones"}
    made = answered(client.templates.create(domain=DOMAIN, data=first))["template"]
    expect("made", ("welcome", "initial", True), (made["name"], made["version"]["tag"], made["version"]["active"]))
    answered(client.templates.create(domain=DOMAIN, data=first), 409)
    second = {"tag": "second", "template": "<p>Dear {{name}}</p>", "active": "yes"}
    answered(client.templates.create(**of, versions=True, data=second))
    answered(client.templates.put(**of, data={"description": "changed"}))
    answered(client.templates.put(**of, versions=True, tag="second", data={"comment": "kinder"}))
    answered(client.templates.put(**of, versions=True, tag="second", copy=True, new_tag="third", data={"comment": "copied"}))
    versions = answered(client.templates.get(**of, versions=True))["template"]["versions"]
    expect("versions", [("initial", False), ("second", True), ("third", False)], [(v["tag"], v["active"]) for v in versions])
    one = answered(client.templates.get(**of, versions=True, tag="third"))["template"]["version"]
    expect("the copy", ("<p>Dear {{name}}</p>", "copied"), (one["template"], one["comment"]))
    whole = answered(client.templates.get(**of, filters={"active": "yes"}))["template"]
    expect("the active one", ("changed", "second"), (whole["description"], whole["version"]["tag"]))

    mail = {"from": f"app@{DOMAIN}", "to": "welcome@verified.test", "subject": "x", "template": "welcome", "t:text": "yes"}
    answered(client.messages.create(domain=DOMAIN, data={**mail, "h:X-Mailgun-Variables": json.dumps({"name": "Ann & Bob"})}))
    expect("sent", VERIFIED, how(DOMAIN, "welcome@verified.test"))
    arrived = kept(SINK_VERIFIED, "welcome@verified.test")
    expect("html", "<p>Dear Ann &amp; Bob</p>", arrived.get_body(("html",)).get_content().strip())
    expect("text", "Dear Ann & Bob", arrived.get_body(("plain",)).get_content().strip())
    answered(client.templates.delete(**of, versions=True, tag="third"))
    answered(client.templates.delete(**of))
    expect("none is left", [], answered(client.templates.get(domain=DOMAIN))["items"])
    print("templates: made, versions, copied, listed, sent, deleted")


def messages(client):
    names = {"copy-1@verified.test": {"name": "Eins"}, "copy-2@verified.test": {"name": "Zwei"}}
    data = {
        "from": f"app@{DOMAIN}",
        "to": list(names),
        "subject": "Hallo %recipient.name%",
        "text": "an %recipient_email%",
        "recipient-variables": json.dumps(names),
        "o:tag": ["letter", "autumn"],
        "o:deliver-within": "1h",
    }
    answered(client.messages.create(domain=DOMAIN, data=data))
    for recipient, variables in names.items():
        expect(recipient, VERIFIED, how(DOMAIN, recipient))
        arrived = kept(SINK_VERIFIED, recipient)
        expect("subject", f"Hallo {variables['name']}", arrived["subject"])
        expect("text", f"an {recipient}", arrived.get_content().strip())
    builder = MailgunMessageBuilder(f"app@{DOMAIN}").add_recipient("built@verified.test").set_subject("built")
    data, files = builder.set_text("text").set_html("<p>html</p>").add_custom_variable("order", "7").build()
    answered(client.messages.create(domain=DOMAIN, data={**data, "o:testmode": True}, files=files))
    event = outcome(DOMAIN, "built@verified.test")
    expect("variables", {"order": "7"}, event["user-variables"])
    expect("test mode", (True, 650), (event["flags"]["is-test-mode"], event["delivery-status"]["code"]))
    expect("the key's mail", VERIFIED, how(DOMAIN, "key@verified.test"))
    print("messages: copies of their own, one from the SDK's builder")


OF_DOMAIN = {"AND": [{"attribute": "domain", "comparator": "=", "values": [{"label": DOMAIN, "value": DOMAIN}]}]}


def logs(client):
    asked = {"duration": "1d", "events": ["delivered"], "filter": OF_DOMAIN, "include_totals": True, "include_subaccounts": True}
    seen, token = [], None
    while True:
        pagination = {"sort": "timestamp:asc", "limit": 2} | ({"token": token} if token else {})
        page = answered(client.analytics_logs.create(data={**asked, "pagination": pagination}))
        expect("total", 5, page["pagination"]["total"])
        if not page["items"]:
            break
        seen += [item["recipient"] for item in page["items"]]
        expect("pages end", True, len(seen) < 20)
        token = page["pagination"]["next"]
    names = ("built", "copy-1", "copy-2", "key", "welcome")
    expect("delivered", [f"{name}@verified.test" for name in names], sorted(seen))
    print("logs: filtered, counted, paged through to the end")


def numbers(client):
    metrics = ["accepted_count", "delivered_count", "delivered_rate", "opened_rate"]
    asked = {"duration": "1m", "dimensions": ["domain"], "metrics": metrics, "filter": OF_DOMAIN, "include_aggregates": True}
    told = answered(client.analytics_metrics.create(data={**asked, "include_subaccounts": True}))
    numbers = {"accepted_count": 5, "delivered_count": 5, "delivered_rate": "1.0000", "opened_rate": "0.0000"}
    expect("aggregates", numbers, told["aggregates"]["metrics"])
    expect("items", [(DOMAIN, numbers)], [(item["dimensions"][0]["value"], item["metrics"]) for item in told["items"]])
    usage = answered(client.analytics_usage_metrics.create(data={"duration": "1d", "include_aggregates": True}))
    expect("usage", True, usage["aggregates"]["metrics"]["processed_count"] >= 5)
    filters = {"event": ["accepted", "delivered"], "duration": "1d"}
    stats = answered(client.stats_total.get(domain=DOMAIN, filters=filters))["stats"]
    sums = [sum(part[kind]["total"] for part in stats) for kind in ("accepted", "delivered")]
    expect("stats", [5, 5], sums)
    print("metrics, usage and stats: counted")


def tags(client):
    expect("tags", ["autumn", "letter"], [tag["tag"] for tag in answered(client.tags.get(domain=DOMAIN))["items"]])
    one = {"domain": DOMAIN, "tag_name": "letter"}
    answered(client.tags.put(**one, data={"description": "Every week"}))
    expect("described", "Every week", answered(client.tags.get(**one))["description"])
    stats = answered(client.tags_stats.get(**one, filters={"event": "delivered", "duration": "1d"}))["stats"]
    expect("stats", 2, sum(part["delivered"]["total"] for part in stats))
    providers = answered(client.tags_stats_aggregates_providers.get(**one))["providers"]
    expect("providers", 2, providers["verified.test"]["delivered"])
    found = {"pagination": {"sort": "lastseen:desc", "limit": 10}, "include_subaccounts": True, "include_metrics": True}
    items = {tag["tag"]: tag for tag in answered(client.analytics_tags.create(data=found))["items"]}
    expect("with metrics", 2, items["letter"]["metrics"]["delivered_count"])
    answered(client.analytics_tags.update(data={"tag": "autumn", "description": "Once a year"}))
    answered(client.analytics_tags.delete(filters={"tag": "autumn"}))
    expect("limit", False, answered(client.analytics_tags_limits.get())["limit_reached"])
    answered(client.tags.delete(**one))
    expect("none is left", [], answered(client.tags.get(domain=DOMAIN))["items"])
    print("tags: listed, described, counted, forgotten, by the older calls and the newer")


def queues(client):
    in_an_hour = str(int(time.time()) + 3600)
    later = {"from": f"app@{DOMAIN}", "to": "later@verified.test", "subject": "x", "text": "x", "o:deliverytime": in_an_hour}
    answered(client.messages.create(domain=DOMAIN, data=later))
    expect("queues", {"regular", "scheduled"}, set(answered(client.domains_sendingqueues.get(domain=DOMAIN))))
    answered(client.envelopes.delete(domain=DOMAIN))
    event = outcome(DOMAIN, "later@verified.test")
    expect("what was dropped", ("failed", "permanent"), (event["event"], event["severity"]))
    print("queues: told of; what waited in them is dropped")


def tracking(client):
    changed = answered(client.domains_tracking_open.put(domain=DOMAIN, data={"active": "yes", "place_at_the_top": "yes"}))
    expect("opens", (True, True), (changed["open"]["active"], changed["open"]["place_at_the_top"]))
    expect("clicks", True, answered(client.domains_tracking_click.put(domain=DOMAIN, data={"active": True}))["click"]["active"])
    settings = answered(client.domains_tracking.get(domain=DOMAIN))["tracking"]
    expect("settings", (True, True), (settings["open"]["active"], settings["click"]["active"]))
    mail = {"from": f"app@{DOMAIN}", "to": "tracked@verified.test", "subject": "x", "text": "see https://example.com/shop"}
    answered(client.messages.create(domain=DOMAIN, data=mail))
    expect("sent", VERIFIED, how(DOMAIN, "tracked@verified.test"))
    text = kept(SINK_VERIFIED, "tracked@verified.test").get_content()
    expect("the link leads to us", (True, False), ("http://track.sender.test/" in text, "example.com" in text))
    answered(client.domains_tracking_click.put(domain=DOMAIN, data={"active": False}))
    print("tracking: set, read, set back; links replaced")


if __name__ == "__main__":
    main()
