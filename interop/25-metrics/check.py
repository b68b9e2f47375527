import os
import time
import urllib.error
import urllib.request

import api
from prometheus_client.parser import text_string_to_metric_families

BASE = "http://127.0.0.1:" + os.environ["METRICS_PORT"]
DOMAIN = "metrics.sender.test"
LABELS = {"version", "event", "severity", "reason", "tls", "le"}


def scrape():
    """All samples, by name and labels."""
    with urllib.request.urlopen(BASE + "/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), answer.headers["Content-Type"]
        text = answer.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.type in ("counter", "gauge", "histogram"), family
        for sample in family.samples:
            assert set(sample.labels) <= LABELS, f"a label that may have many values: {sample}"
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    # Of nobody in particular.
    for word in (DOMAIN, "verified.test", "plain.test", "somebody"):
        assert word not in text, word
    return found


def value(samples, name, **labels):
    return samples[name, tuple(sorted(labels.items()))]


def until(what, seconds=60):
    deadline = time.monotonic() + seconds
    while not (samples := what()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)
    return samples


def send(to, *further):
    fields = [("from", f"me@{DOMAIN}"), ("to", to), ("subject", "Hi"), ("text", "Hi"), *further]
    api.ok("POST", f"/v3/{DOMAIN}/messages", fields)


def delivered(by_tls):
    def look():
        samples = scrape()
        there = all(value(samples, "waxwing_deliveries_total", tls=tls) == count for tls, count in by_tls.items())
        return samples if there and value(samples, "waxwing_queue_recipients") == 0 else None

    return until(look)


def main():
    api.ok("POST", "/v4/domains", [("name", DOMAIN)])
    before = delivered({"verified": 0, "encrypted": 0, "plaintext": 0})
    assert value(before, "waxwing_queue_oldest_seconds") == 0
    for name in ("waxwing_start_time_seconds", "waxwing_certificate_not_after_seconds"):
        assert value(before, name) > 1_700_000_000, name

    for number in range(3):
        send(f"somebody{number}@verified.test")
    send("somebody@plain.test")
    after = delivered({"verified": 3, "encrypted": 0, "plaintext": 1})
    nothing = {"severity": "", "reason": ""}
    assert value(after, "waxwing_events_total", event="accepted", **nothing) == 4
    assert value(after, "waxwing_events_total", event="delivered", **nothing) == 4
    count = "waxwing_store_commit_seconds_count"
    assert value(after, count) > value(before, count)
    assert value(after, "waxwing_store_commit_seconds_bucket", le="+Inf") == value(after, count)
    assert value(after, "waxwing_store_commit_seconds_sum") > 0
    assert value(after, "waxwing_store_failed_commits_total") == 0

    # What waits is seen.
    send("somebody@verified.test", ("o:deliverytime", str(int(time.time()) + 3600)))
    waiting = until(lambda: (s := scrape()) and value(s, "waxwing_queue_recipients") == 1 and s)
    oldest = "waxwing_queue_oldest_seconds"
    until(lambda: value(scrape(), oldest) > value(waiting, oldest))

    try:
        urllib.request.urlopen(BASE + "/v4/domains", timeout=10)
        raise SystemExit("FAILED: the API answers at the listener for metrics")
    except urllib.error.HTTPError as error:
        assert error.code == 404, error.code
    status, _ = api.request("GET", "/metrics")
    assert status == 404, f"the API's own listener answers /metrics: {status}"
    print("prometheus_client reads every family; deliveries, events, queue and commits are counted")


main()
