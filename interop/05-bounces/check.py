"""What the application is told of a failure that a server reports after it took the message."""

import sys
import time

import api

DOMAIN, PEER = "sender.test", sys.argv[1]


def expect(what, found, expected):
    if found != expected:
        raise SystemExit(f"FAILED: {what}: {found!r}, not {expected!r}")


def send(*names):
    recipients = [f"{name}@plain.{PEER}.test" for name in names]
    fields = [("from", f"me@{DOMAIN}"), ("subject", "Hi"), ("text", "Hi")] + [("to", to) for to in recipients]
    return api.ok("POST", f"/v3/{DOMAIN}/messages", fields)["id"].strip("<>"), recipients


def told(message_id, count, seconds=60):
    """All but the first events of a message, oldest first, once there are so many."""
    deadline = time.monotonic() + seconds
    while True:
        events = [event for event in api.events(DOMAIN, **{"message-id": message_id}) if event["event"] != "accepted"]
        if len(events) >= count:
            return events
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: within {seconds} s only {[event['event'] for event in events]} of {message_id}")
        time.sleep(0.2)


def is_failed(event, recipient):
    expect("the event", (event["event"], event["severity"], event["reason"]), ("failed", "permanent", "bounce"))
    expect("its recipient", event["recipient"], recipient)
    expect("its flag", event["flags"].get("is-delayed-bounce"), True)
    status = event["delivery-status"]
    print(f"  ok    {event['recipient']}: {status['code']} {status['bounce-code']} {status['message']!r} {status['bounce-report']}")
    expect("the class of its code", status["code"] // 100, 5)
    return status


api.ok("POST", "/v4/domains", [("name", DOMAIN)])
records = api.ok("PUT", f"/v4/domains/{DOMAIN}/verify")["recommended_dns_records"]
bounces = [record["valid"] for record in records if record.get("purpose") == "bounces"]
expect("the records of bounces", bounces, ["valid", "valid"])

message_id, [gone] = send("gone")
delivered, failed = told(message_id, 2)
expect("the first event", delivered["event"], "delivered")
status = is_failed(failed, gone)
if PEER != "opensmtpd":  # which writes 5.0.0 and no diagnostic field
    expect("what the next host said", (status["bounce-code"], "no such user" in status["message"]), ("5.1.1", True))
    entry = api.ok("GET", f"/v3/{DOMAIN}/bounces/{gone}")
    expect("the entry of the bounces", entry["code"], "550")

# Of several recipients of one transaction the notification names the one, as it was before the alias.
if PEER != "opensmtpd":  # which names the one behind it
    message_id, [left, _] = send("left", "stays")
    events = told(message_id, 3)
    expect("the events", [event["event"] for event in events], ["delivered", "delivered", "failed"])
    is_failed(events[2], left)
