import json
import os
import pathlib
import sys
import time

import durable

FAIL = pathlib.Path(os.environ["FAIL_SYNC"])
METRICS = "http://127.0.0.1:" + os.environ["METRICS_PORT"]


def expect(what, good, seen):
    if not good:
        raise SystemExit(f"FAILED: {what}: {seen}")


def until(what, seconds, look):
    deadline = time.monotonic() + seconds
    while not look():
        expect(what, time.monotonic() < deadline, "not in time")
        time.sleep(0.1)


def before():
    http, smtp = durable.Http(), durable.Smtp()
    for number in range(10):
        way = smtp if number % 2 else http
        expect("taken", way.send(f"n{number}@sink.test", "before"), way.answer)
    until("delivered", 30, lambda: len(durable.arrived(os.environ["SINK"])) == 10)
    # Due when nothing may be tried any more.
    due = str(int(time.time()) + 4)
    expect("taken for later", http.send("n10@sink.test", "before", **{"o:deliverytime": due}), http.answer)
    expect("well", durable.get("/readyz")[0] == 200, durable.get("/readyz"))
    expect("writable", "waxwing_store_writable 1" in durable.get("/metrics", METRICS)[1], "not told")

    FAIL.touch()
    expect("refused", not http.send("n100@sink.test", "fails") and http.answer.startswith("503 "), http.answer)
    expect("a sync of the store's failed", not FAIL.exists(), "none did")
    for number in range(20):
        expect("refused", not http.send(f"n{101 + number}@sink.test", "x"), http.answer)
        expect("503", http.answer.startswith("503 "), http.answer)
        expect("refused", not smtp.send(f"n{201 + number}@sink.test", "x"), smtp.answer)
        expect("4xx", smtp.answer[:4] in ("452 ", "451 "), smtp.answer)
    print("refused with", http.answer.split()[0], "and", smtp.answer)
    status, text = durable.get("/readyz")
    expect("not ready, with the reason", status == 503 and "disk" in json.loads(text)["detail"], (status, text))
    print("/readyz:", status, text)
    expect("alive", durable.get("/healthz")[0] == 200, durable.get("/healthz"))
    expect("not writable", "waxwing_store_writable 0" in durable.get("/metrics", METRICS)[1], "not told")
    import api

    expect("events are read", len(api.events(durable.DOMAIN)) >= 21, "fewer")
    time.sleep(max(0.0, int(due) + 3 - time.time()))
    expect("no delivery begins", set(durable.arrived(os.environ["SINK"])) == set(range(10)), "one did")


def after():
    http, smtp = durable.Http(), durable.Smtp()
    expect("ready", durable.get("/readyz")[0] == 200, durable.get("/readyz"))
    expect("taken again", http.send("n11@sink.test", "after"), http.answer)
    expect("taken again", smtp.send("n12@sink.test", "after"), smtp.answer)
    until("delivered", 40, lambda: set(range(13)) <= set(durable.arrived(os.environ["SINK"])))
    counts = durable.arrived(os.environ["SINK"])
    expect("once each", all(counts[number] == 1 for number in range(13)), counts)
    print("after the restart all that was acknowledged arrived, once each; of what was refused:", len(counts) - 13)


before() if sys.argv[1] == "before" else after()
