"""Sends what is hard to sign, and reads the signatures of what arrived behind Postfix."""

import base64
import os
import pathlib
import sys
import time

import api
import dkim
import dns.resolver
import mail
from nacl.signing import SigningKey

DOMAIN, AUTHOR = "sender.test", "author.test"
ZONE, SCRATCH = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
# What Waxwing composes has seven bits only and goes anywhere; so do ready-made messages that have.
COMPOSED = {
    "plain": [("text", "one line")],
    "blanks": [("text", "blanks at the end of lines   \n\t\n  indented\n\n\n\n"), ("subject", "blank lines at the end")],
    "empty": [("text", "\n"), ("subject", "")],
    "from": [("text", "From here on\n.\n..\n>From there\n.")],
    "long": [("text", "ä" * 4000 + "\n" + "x" * 5000), ("subject", "Ein langer Betreff über vieles, " * 20)],
    "fields": [
        ("text", "x"),
        ("subject", "two  spaces   and a\ttab"),
        ("h:X-Long", "word " * 300),
        ("h:X-Unbroken", "y" * 900),
        ("h:X-Empty", ""),
        ("h:List-Unsubscribe", "<mailto:u@sender.test?subject=unsubscribe>, <https://sender.test/unsubscribe?id=" + "z" * 400 + ">"),
        ("h:List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("h:Reply-To", '"Müller, Zoë (Wäxwing)" <zoe@sender.test>'),
        ("v:my-var", "日本語 " * 50),
    ],
    "many": [("text", "x"), *[("to", f'"Nächste, Nr. {n}" <many{n}@DESTINATION>') for n in range(60)]],
    "copy": [("text", "Dear %recipient.name%"), ("recipient-variables", '{"copy@DESTINATION": {"name": "Ännchen"}}')],
}
READY_MADE = {
    "no-end": b"Subject: x\r\n\r\nno line ending at the end",
    "no-body": b"Subject: x\r\nX-Last: y",
    "only-lines": b"Subject: x\r\n\r\n\r\n\r\n\r\n",
    "folded": b"SUBJECT:no space\r\nX-Tab:\tone\r\n\ttwo  \r\n   three\r\nX-None:\r\nX-Blank:   \r\nTo: a@b.test,\r\n c@d.test\r\n\r\nbody \t \r\n",
    "twice": b"Subject: one\r\nX-Twice: a\r\nX-Twice: b\r\nComments: c\r\nComments: d\r\n\r\nx\r\n",
    "lf": b"Subject: only LF\n\nline\n.\nline\n",
    "long-line": b"Subject: x\r\n\r\n" + b"x" * 998 + b"\r\n",
}


def main():
    api.ok("POST", "/v4/domains", [("name", DOMAIN)])
    api.ok("POST", "/v1/dkim/keys", [("signing_domain", DOMAIN), ("selector", "ed"), ("type", "ed25519")])
    author = SigningKey.generate()
    publish(author)
    api.ok("PUT", f"/v4/domains/{DOMAIN}/keys/ed/activate")
    verified = api.ok("PUT", f"/v4/domains/{DOMAIN}/verify")
    assert verified["domain"]["state"] == "active", verified
    print("the server finds its records in the DNS")

    for destination in ("eight.test", "seven.test"):
        send(destination, author)
    for folder, eight_bit in (("eight", {"raw"}), ("seven", set())):
        expected = {*COMPOSED, *READY_MADE, "authored", "attached"} | eight_bit
        arrived = wait(SCRATCH / folder, expected)
        for name in sorted(expected):
            check(name, arrived[name])
        print(f"dkimpy: both signatures of {len(expected)} messages hold behind Postfix at {folder}.test")


def publish(author):
    """Adds to the zone what the server says that is to be published."""
    told = api.ok("GET", f"/v4/domains/{DOMAIN}")["sending_dns_records"]
    records = {record["name"]: record["value"] for record in told if record["record_type"] == "TXT"}
    assert len(records) == 3, told
    records[f"a._domainkey.{AUTHOR}"] = "v=DKIM1; k=ed25519; p=" + base64.b64encode(bytes(author.verify_key)).decode()
    with ZONE.open("a", encoding="ascii") as zone:
        zone.writelines(f"{name} TXT {value}\n" for name, value in records.items())
    keys = [f"{name} {value}\n" for name, value in records.items() if "._domainkey." in name]
    (SCRATCH / "keys").write_text("".join(keys))


def send(destination, author):
    def post(name, fields, files=()):
        fields = [(field, value.replace("DESTINATION", destination)) for field, value in fields]
        if not any(field == "to" for field, _ in fields):
            fields.append(("to", f"{name}@{destination}"))
        api.ok("POST", f"/v3/{DOMAIN}/messages", [("from", f"Wäxwing <a@{DOMAIN}>"), ("h:X-Case", name), *fields], files)

    def post_ready_made(name, message):
        message = f"From: a@{AUTHOR}\r\nX-Case: {name}\r\n".encode() + message
        if name == "authored":
            key = base64.b64encode(bytes(author))
            signature = dkim.sign(message, b"a", AUTHOR.encode(), key, signature_algorithm=b"ed25519-sha256")
            message = signature + message
        file = ("message", "m.eml", "message/rfc822", message)
        api.ok("POST", f"/v3/{DOMAIN}/messages.mime", [("to", f"{name}@{destination}")], [file])

    for name, fields in COMPOSED.items():
        post(name, fields)
    attached = [(field, value) for field, value in mail.fields(f"a@{DOMAIN}", f"attached@{destination}") if field != "from"]
    post("attached", attached, mail.files())
    for name, message in READY_MADE.items():
        post_ready_made(name, message)
    post_ready_made("authored", b"Subject: signed before\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@author.test>\r\n\r\nx\r\n")
    if destination == "eight.test":
        # Elsewhere Postfix has to encode it, which no signature survives.
        post_ready_made("raw", b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + mail.READY_MADE_BODY)


def wait(folder, expected):
    """The messages that arrived, by what they are about."""
    deadline = time.monotonic() + 60
    while True:
        arrived = {}
        for path in folder.glob("*.eml"):
            message = path.read_bytes()
            arrived[mail.read(path)["X-Case"]] = message
        if expected <= arrived.keys():
            return arrived
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: not behind Postfix: {expected - arrived.keys()}")
        time.sleep(0.2)


def published(name, timeout=5):
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], int(os.environ["DNS_PORT"])
    (record,) = resolver.resolve(name.decode(), "TXT")
    return b"".join(record.strings)


def check(name, message):
    assert message.count(b"by gateway.test (Postfix)") == 1, f"{name} did not come by Postfix"
    found = set()
    for index in range(3 if name == "authored" else 2):
        verifier = dkim.DKIM(message)
        assert verifier.verify(index, dnsfunc=published), f"{name}: signature {index} does not hold"
        found.add((verifier.signature_fields[b"d"], verifier.signature_fields[b"a"]))
    own = {(DOMAIN.encode(), b"rsa-sha256"), (DOMAIN.encode(), b"ed25519-sha256")}
    assert found == own | ({(AUTHOR.encode(), b"ed25519-sha256")} if name == "authored" else set()), (name, found)
    for changed in (message.replace(b"\r\nFrom: ", b"\r\nFrom: x", 1), message + b"x\r\n"):
        try:
            holds = dkim.DKIM(changed).verify(0, dnsfunc=published)
        except dkim.ValidationError:
            holds = False
        assert changed != message and not holds, f"{name}: a changed message is as good"


if __name__ == "__main__":
    main()
