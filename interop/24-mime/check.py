"""Sends the corpus, and reads what arrived with Python's email package. What must be read is left for the next reader."""

import base64
import email
import email.policy
import json
import os
import time
from email.header import decode_header, make_header
from email.utils import getaddresses

import api
from corpus import corpus
from scene import SINK_PLAIN

DOMAIN = "mime.sender.test"


def main():
    api.ok("POST", "/v4/domains", [("name", DOMAIN)])
    expected = {}
    for number, (name, (fields, files)) in enumerate(corpus().items()):
        recipient = f"case{number}@plain.test"
        fields = {field: value.replace("DESTINATION", recipient) for field, value in fields.items()}
        api.ok("POST", f"/v3/{DOMAIN}/messages", list(fields.items()), files)
        expected[recipient] = {"name": name, **expectation(fields, files)}
    arrived = wait(expected)
    wrong = []
    for recipient, wanted in expected.items():
        raw = arrived[recipient].read_bytes()
        message, plain = email.message_from_bytes(raw, policy=email.policy.default), email.message_from_bytes(raw)
        wanted["path"] = str(arrived[recipient])
        wrong += [f"{wanted['name']}: {what} sent {short(a)}, read {short(b)}" for what, a, b in differences(wanted, message, plain)]
    with open(os.environ["EXPECTED"], "w", encoding="utf-8") as file:
        json.dump(list(expected.values()), file)
    if wrong:
        raise SystemExit("\n".join(["FAILED: Python's email package", *wrong]))
    print(f"Python's email package reads {len(expected)} messages as they were sent")


def expectation(fields, files):
    lists = {name: mailboxes(value) for name, value in fields.items() if name in ("from", "to", "cc")}
    lists |= {"reply-to": mailboxes(fields["h:Reply-To"])} if "h:Reply-To" in fields else {}
    return {
        "subject": fields["subject"],
        "mailboxes": lists,
        "headers": {name[2:]: value for name, value in fields.items() if name.startswith("h:X-")},
        "text": fields.get("text"),
        "html": fields.get("html"),
        "amp": fields.get("amp-html"),
        "files": [
            {"name": name, "type": kind.partition(";")[0], "content": base64.b64encode(content).decode(), "inline": field == "inline"}
            for field, name, kind, content in sorted(files, key=lambda file: file[0] == "attachment")
        ],
    }


def mailboxes(value):
    return [list(pair) for pair in getaddresses([value])]


def wait(expected):
    """Where the message for each recipient is."""
    deadline = time.monotonic() + 120
    while True:
        arrived = {path.read_bytes().split(b"\r\n")[1].decode().split()[1]: path for path in SINK_PLAIN.glob("*.eml")}
        if expected.keys() <= arrived.keys():
            return arrived
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: not arrived: {sorted(expected.keys() - arrived.keys())}")
        time.sleep(0.2)


def mailboxes_read(value):
    """The older of the package's two readers: the newer one puts blanks between encoded words that are next to each other."""
    return [[str(make_header(decode_header(name))), address] for name, address in getaddresses([value])]


def differences(wanted, message, plain):
    for name, value in [("Subject", wanted["subject"]), *wanted["headers"].items()]:
        yield from compare(f"the number of {name}", 1, len(message.get_all(name, [])))
        yield from compare(name, value, str(message[name]))
    for name, value in wanted["mailboxes"].items():
        yield from compare(name, value, mailboxes_read(str(plain[name])))
    leaves = [part for part in message.walk() if not part.is_multipart()]
    texts = [part for part in leaves if not part.is_attachment() and not part.get_filename()]
    kinds = {"text": "text/plain", "html": "text/html", "amp": "text/x-amp-html"}
    for field, kind in kinds.items():
        parts = [part for part in texts if part.get_content_type() == kind]
        yield from compare(field, wanted[field] and lines(wanted[field]), lines(parts[0].get_content()) if parts else None)
        yield from compare(f"the number of {kind}", int(wanted[field] is not None), len(parts))
    files = [
        {
            "name": part.get_filename(),
            "type": part.get_content_type(),
            "content": base64.b64encode(part.get_payload(decode=True)).decode(),
            "inline": not part.is_attachment(),
        }
        for part in leaves
        if part not in texts
    ]
    yield from compare("the number of files", len(wanted["files"]), len(files))
    for sent, read in zip(wanted["files"], files):
        for what in sent:
            yield from compare(f"{what} of a file", sent[what], read[what])
    for part in message.walk():
        yield from compare("defects", [], part.defects)


def compare(what, sent, read):
    if sent != read:
        yield what, sent, read


def lines(text):
    """Without the difference that a line ending makes at the very end; mail has its own."""
    return text.replace("\r\n", "\n").removesuffix("\n")


def short(value):
    text = repr(value)
    return text if len(text) < 240 else f"{text[:160]}…{text[-60:]} ({len(text)} long)"


if __name__ == "__main__":
    main()
