"""What the Python client scenarios share: the scene that lib.sh has set, and what arrived in it."""

import email
import email.policy
import os
import pathlib

import api

SUBJECT = "Grüße aus Zürich ✓"
TEXT = "Zażółć gęślą jaźń\n.\nlast line 🐦\n"
HTML = "<p>Zażółć <b>gęślą</b> jaźń</p>"
ATTACHMENT_NAME = "vedhæftet fil.bin"
ATTACHMENT = bytes(range(256)) * 12
VERIFIED, UNVERIFIED, PLAINTEXT = ("delivered", True, True), ("delivered", True, False), ("delivered", False, False)
SINK_VERIFIED = pathlib.Path(os.environ["SINK_VERIFIED"])
SINK_PLAIN = pathlib.Path(os.environ["SINK_PLAIN"])


def outcome(domain, recipient):
    return api.outcomes(domain, [recipient], seconds=30)[recipient]


def how(domain, recipient):
    """What became of the recipient's mail: event, TLS, verified; for a failure its severity and enhanced code."""
    event = outcome(domain, recipient)
    status = event["delivery-status"]
    if event["event"] == "failed":
        return "failed", event["severity"], status.get("enhanced-code")
    return event["event"], status.get("tls"), status.get("certificate-verified")


def expect(what, expected, got):
    if expected != got:
        raise SystemExit(f"FAILED: {what}: expected {expected!r}, got {got!r}")


def kept(folder, recipient):
    """The message that a receiver kept for a recipient."""
    messages = [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in folder.glob("*.eml")]
    found = [message for message in messages if recipient in message["X-Sink-To"].split()]
    expect(f"messages for {recipient}", 1, len(found))
    return found[0]


def expect_intact(message):
    expect("subject", SUBJECT, message["subject"])
    expect("text", TEXT.strip(), message.get_body(("plain",)).get_content().replace("\r\n", "\n").strip())
    expect("html", HTML, message.get_body(("html",)).get_content().strip())
    parts = [(part.get_filename(), part.get_content()) for part in message.iter_attachments()]
    expect("attachments", [(ATTACHMENT_NAME, ATTACHMENT)], parts)
