"""A real receiver in three TLS states x the four settings: what became of each message, and how it travelled.

The receiver takes mail for good.DOMAIN (its certificate is signed by the run's own authority), self-signed.DOMAIN and
plain.DOMAIN (no TLS). Each state gets the same message with each of the four settings. The events are compared with
the table in docs/tls.md, the messages that arrived with what was sent, and the receiver's own Received header and log
with what the event claims.
"""

import argparse
import json
import pathlib
import subprocess
import time

import api
import mail

SENDER = "sender.test"
PLAINTEXT, UNVERIFIED, VERIFIED = (False, False), (True, False), (True, True)
LEFT = None

# (require, skip) -> what happens at a receiver with a good certificate, a self-signed one, none
TABLE = {
    ("no", "no"): {"good": VERIFIED, "self-signed": PLAINTEXT, "plain": PLAINTEXT},
    ("no", "yes"): {"good": UNVERIFIED, "self-signed": UNVERIFIED, "plain": PLAINTEXT},
    ("yes", "no"): {"good": VERIFIED, "self-signed": LEFT, "plain": LEFT},
    ("yes", "yes"): {"good": UNVERIFIED, "self-signed": UNVERIFIED, "plain": LEFT},
}
BROKEN = {
    ("no", "no"): dict.fromkeys(("good", "self-signed", "plain"), PLAINTEXT),
    ("no", "yes"): dict.fromkeys(("good", "self-signed", "plain"), PLAINTEXT),
    ("yes", "no"): dict.fromkeys(("good", "self-signed", "plain"), LEFT),
    ("yes", "yes"): dict.fromkeys(("good", "self-signed", "plain"), LEFT),
}
ENHANCED_CODE_WHEN_LEFT = {"plain": "4.7.4", "self-signed": "4.7.5", "good": "4.7.5"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domain", required=True, help="the receiver's domain, as in good.DOMAIN")
    parser.add_argument("--mail", required=True, type=pathlib.Path, help="the folder that the receiver delivers to")
    parser.add_argument("--log", required=True, type=pathlib.Path, help="the receiver's log")
    parser.add_argument("--waxwing", required=True, help="the program, for `waxwing check`")
    parser.add_argument("--handshake-breaks", action="store_true", help="the receiver's STARTTLS never works")
    arguments = parser.parse_args()
    table = BROKEN if arguments.handshake_breaks else TABLE

    api.ok("POST", "/v4/domains", [("name", SENDER)])
    # A second signature, beside the RSA key that the domain was made with.
    api.ok("POST", "/v1/dkim/keys", [("signing_domain", SENDER), ("selector", "ed"), ("type", "ed25519")])
    api.ok("PUT", f"/v4/domains/{SENDER}/keys/ed/activate")
    cells = {recipient(state, settings, arguments): (state, settings) for settings in table for state in table[settings]}
    for address, (state, (require, skip)) in cells.items():
        options = {"o:require-tls": require, "o:skip-verification": skip, "h:X-Cell": address}
        answer = api.ok("POST", f"/v3/{SENDER}/messages", mail.fields(f"app@{SENDER}", address, **options), mail.files())
        assert answer["message"].startswith("Queued"), answer

    ready_made = f"ready-made@plain.{arguments.domain}"
    message = ("message", "message.eml", "message/rfc822", mail.ready_made(f"app@{SENDER}", ready_made))
    api.ok("POST", f"/v3/{SENDER}/messages.mime", [("to", ready_made)], [message])

    told = api.outcomes(SENDER, [*cells, ready_made])
    delivered = [ready_made] + [address for address, (state, settings) in cells.items() if table[settings][state] is not LEFT]
    arrived = wait_for_mail(arguments.mail, delivered)
    log = arguments.log.read_text(errors="replace")
    wrong = 0
    for address, (state, settings) in cells.items():
        problems = check(address, state, settings, table[settings][state], told[address], arrived.get(address, []), log)
        wrong += bool(problems)
        print(f"  {'WRONG' if problems else 'ok':5} {row(state, settings, told[address])}", *problems, sep="\n        ")
    for path in arguments.mail.rglob("new/*"):
        if mail.read(path)["X-Cell"] == ready_made and mail.ready_made_differs(path):
            raise SystemExit("FAILED: the ready-made message arrived with another body")
    if ready_made not in arrived:
        raise SystemExit("FAILED: the ready-made message did not arrive")
    print("  ok    the ready-made 8-bit message arrived to the byte")
    if wrong:
        raise SystemExit(f"FAILED: {wrong} of {len(cells)} cells")
    foretold(arguments, table)


def foretold(arguments, table):
    """`waxwing check` must foretell what has happened."""
    words = {VERIFIED: "verified", UNVERIFIED: "encrypted", PLAINTEXT: "plaintext", LEFT: "deferred"}
    for state in ("good", "self-signed", "plain"):
        command = [arguments.waxwing, "check", f"{state}.{arguments.domain}", "--json"]
        told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["settings"]
        outcomes = {(yes_or_no(row["require-tls"]), yes_or_no(row["skip-verification"])): row["outcome"] for row in told}
        expected = {settings: words[table[settings][state]] for settings in table}
        if outcomes != expected:
            raise SystemExit(f"FAILED: check of {command[2]} foretold {outcomes}, not {expected}")
    print("  ok    waxwing check foretold all of it")


def yes_or_no(value):
    return "yes" if value else "no"


def recipient(state, settings, arguments):
    require, skip = settings
    return f"require-{require}-skip-{skip}@{state}.{arguments.domain}"


def check(address, state, settings, expected, event, messages, log):
    problems = check_event(state, settings, expected, event)
    if len(messages) != (expected is not LEFT):
        problems.append(f"{len(messages)} messages arrived")
    for message in messages:
        problems += mail.differences(message)
        if expected is not None and mail.received_over_tls(message) != expected[0]:
            problems.append(f"the receiver's header says otherwise: {message.get_all('received')[0]}")
    if expected is LEFT and address in log:
        problems.append("the receiver was told of a recipient before TLS was decided")
    return problems


def check_event(state, settings, expected, event):
    status = event["delivery-status"]
    details = status.get("tls-details") or {}
    seen = {"event": event["event"], "severity": event.get("severity")}
    if expected is LEFT:
        wanted = {"event": "failed", "severity": "temporary", "enhanced-code": ENHANCED_CODE_WHEN_LEFT[state]}
        seen["enhanced-code"] = status.get("enhanced-code")
        seen["never claims TLS"] = not status.get("tls") and not status.get("certificate-verified")
        wanted["never claims TLS"] = True
    else:
        wanted = {"event": "delivered", "severity": None, "tls": expected[0], "certificate-verified": expected[1], "code": 250}
        seen |= {name: status.get(name) for name in ("tls", "certificate-verified", "code")}
        wanted["mx-host"], seen["mx-host"] = "mx." + event["recipient"].split("@")[1], status.get("mx-host")
        wanted["TLS version told"], seen["TLS version told"] = expected[0], bool(details.get("version"))
        wanted["reason for plaintext told"] = settings[0] == "no" and not expected[0]
        seen["reason for plaintext told"] = bool(details.get("fallback"))
    if state != "plain" and expected not in (LEFT, PLAINTEXT):
        wanted["verdict is ok"], seen["verdict is ok"] = state == "good", details.get("verification") == "ok"
    return [f"{name}: expected {wanted[name]!r}, got {seen[name]!r}" for name in wanted if wanted[name] != seen[name]]


def row(state, settings, event):
    require, skip = settings
    status = event["delivery-status"]
    details = status.get("tls-details") or {}
    told = [f"require-tls={require:3}", f"skip-verification={skip:3}", f"{state:11}", event["event"]]
    told += [str(event["severity"])] if event.get("severity") else []
    told += [f"{name}={status[name]}" for name in ("tls", "certificate-verified", "enhanced-code") if name in status]
    told += [f"{name}={details[name]}" for name in ("version", "verification", "fallback") if details.get(name)]
    return " ".join(told)


def wait_for_mail(folder, addresses, seconds=20):
    """The messages that arrived, by the cell that they were sent for; waits for the receiver's own queue."""
    deadline = time.monotonic() + seconds
    while True:
        arrived = {}
        for path in folder.rglob("new/*"):
            message = mail.read(path)
            arrived.setdefault(message["X-Cell"], []).append(message)
        if arrived.keys() >= set(addresses) or time.monotonic() > deadline:
            return arrived
        time.sleep(0.2)


if __name__ == "__main__":
    main()
