import os
import pathlib
import time

import api
import durable

DATA, SINK = pathlib.Path(os.environ["DATA"]), os.environ["SINK"]
LATER = 60  # messages that are due while the disk is full
TEXT = "x" * 200_000


def expect(what, good, seen=""):
    if not good:
        raise SystemExit(f"FAILED: {what}: {seen}")


def alive():
    os.kill(int(os.environ["WAXWING_PID"]), 0)
    expect("alive", durable.get("/healthz")[0] == 200)


def until(what, seconds, look):
    began = time.monotonic()
    while not look():
        expect(what, time.monotonic() < began + seconds, "not in time")
        time.sleep(0.2)
    return time.monotonic() - began


def free():
    there = os.statvfs(DATA)
    return there.f_bavail * there.f_frsize


def ballast(leave):
    with open(DATA / "ballast", "wb") as file:
        while (room := free() - leave) > 0:
            file.write(b"b" * min(room, 1 << 20))
            file.flush()


def main():
    http, smtp = durable.Http(), durable.Smtp()
    kept, number = set(), LATER
    due = time.time() + 8
    for later in range(LATER):
        expect("taken", http.send(f"n{later}@sink.test", "later", **{"o:deliverytime": str(int(due))}), http.answer)
        kept.add(later)
    ballast(4 << 20)
    refused = {}
    while len(refused) < 2:
        for way, client in (("HTTP", http), ("SMTP", smtp)):
            number += 1
            if client.send(f"n{number}@sink.test", TEXT):
                kept.add(number)
            else:
                refused.setdefault(way, client.answer)
        expect("the disk becomes full", number < 2000, f"{free()} octets are free")
    print(f"full after {len(kept)} messages: {refused['HTTP'][:40]}… and {refused['SMTP']}")
    expect("503", refused["HTTP"].startswith("503 "), refused)
    expect("452", refused["SMTP"].startswith("452 "), refused)
    alive()
    expect("not broken, but full", "waxwing_store_writable 1" in durable.get(
        "/metrics", "http://127.0.0.1:" + os.environ["METRICS_PORT"])[1])
    for _ in range(10):
        number += 2
        for at, client in ((number, http), (number + 1, smtp)):
            if client.send(f"n{at}@sink.test", TEXT):
                kept.add(at)
        time.sleep(0.1)
    alive()
    return http, smtp, kept, number, due


def go_on(http, smtp, kept, number, due):
    time.sleep(max(0.0, due - time.time()))
    took = until("what is queued is delivered", 30, lambda: set(range(LATER)) <= set(durable.arrived(SINK)))
    print(f"{LATER} that were due meanwhile were delivered within {took:.1f} s, {free()} octets free")
    (DATA / "ballast").unlink()

    def taken():
        nonlocal number
        number += 2
        well = [at for at, client in ((number, http), (number + 1, smtp)) if client.send(f"n{at}@sink.test", TEXT)]
        kept.update(well)
        return len(well) == 2

    took = until("mail is taken again", 20, taken)
    print(f"taken again {took:.1f} s after there was space")
    until("everything arrives", 60, lambda: kept <= set(durable.arrived(SINK)))
    counts = durable.arrived(SINK)
    twice = [at for at, count in counts.items() if count > 1]
    expect("once each", not twice, twice)
    expect("nothing that was refused", set(counts) == kept, set(counts) - kept)

    def told():
        return {e["recipient"] for e in api.events(durable.DOMAIN, event="delivered")} == {f"n{at}@sink.test" for at in kept}

    until("each is told", 20, told)
    print(f"{len(kept)} acknowledged, all arrived, once each")


go_on(*main())
