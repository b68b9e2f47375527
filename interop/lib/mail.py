"""The message that every scenario with a real receiver sends, and the check that it arrived as it was sent."""

import email
import email.policy
import re

SUBJECT = "Grüße aus Zürich ✓ – interop"
TEXT = "\n".join(
    [
        "First line.",
        ".",
        "..two dots, and a line with a lone dot above",
        "Zażółć gęślą jaźń, Ω≈ç√, 日本語, 🐦",
        "x" * 2000,
        "From here on nothing is special.",
        "",
        "last line",
    ]
)
HTML = "<p>Zażółć <b>gęślą</b> jaźń</p>"
ATTACHMENT_NAME = "vedhæftet fil.bin"
ATTACHMENT = bytes(range(256)) * 41 + b"\r\n.\r\n.\n\r.\r"


def fields(sender, recipient, **options):
    return [
        ("from", f"Wäxwing <{sender}>"),
        ("to", recipient),
        ("subject", SUBJECT),
        ("text", TEXT),
        ("html", HTML),
        *options.items(),
    ]


def files():
    return [("attachment", ATTACHMENT_NAME, "application/octet-stream", ATTACHMENT)]


READY_MADE_BODY = "\r\n".join(
    [
        "Raw 8-bit: Zażółć gęślą jaźń, 日本語, 🐦",
        ".",
        "..",
        ".leading dot",
        "trailing blanks   ",
        "From here on",
        "\t",
        "x" * 998,
        "",
        "",
        ".",
        "",
    ]
).encode()


def ready_made(sender, recipient):
    """A message that the application made itself, with 8-bit text and every dot that can be mistaken for the last."""
    head = {
        "From": sender,
        "To": recipient,
        "Subject": "ready made",
        "X-Cell": recipient,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "8bit",
    }
    return "".join(f"{name}: {value}\r\n" for name, value in head.items()).encode() + b"\r\n" + READY_MADE_BODY


def ready_made_differs(path):
    """Whether the body in a mailbox file is another than was sent; mailboxes keep lines as LF."""
    body = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[2]
    return body.rstrip(b"\n") != READY_MADE_BODY.replace(b"\r\n", b"\n").rstrip(b"\n")


def read(path):
    with open(path, "rb") as file:
        return email.message_from_binary_file(file, policy=email.policy.default)


def differences(message):
    """What differs from the message that was sent: nothing when it arrived intact."""
    text = message.get_body(("plain",))
    html = message.get_body(("html",))
    attachments = list(message.iter_attachments())
    pairs = {
        "subject": (SUBJECT, message["subject"]),
        "sender": ("Wäxwing", message["from"].addresses[0].display_name),
        "text": (TEXT, lines(text)),
        "html": (HTML, lines(html)),
        "attachment name": ([ATTACHMENT_NAME], [part.get_filename() for part in attachments]),
        "attachment": ([ATTACHMENT], [part.get_content() for part in attachments]),
    }
    return [f"{what}: sent {short(sent)}, arrived {short(arrived)}" for what, (sent, arrived) in pairs.items() if sent != arrived]


def lines(part):
    """The text of a part, without the difference that a line ending makes at the very end."""
    return None if part is None else part.get_content().replace("\r\n", "\n").removesuffix("\n")


def short(value):
    text = repr(value)
    return text if len(text) < 200 else f"{text[:120]}…{text[-60:]} ({len(text)} long)"


def received_over_tls(message):
    """What the receiver's own topmost Received header says: "with ESMTPS" is TLS, "with ESMTP" is not (RFC 3848)."""
    header = re.sub(r"\([^()]*\)", " ", message.get_all("received")[0])
    protocol = re.search(r"\bwith\s+(U?T?F?8?E?SMTPS?A?)\b", header, re.IGNORECASE)
    if protocol is None:
        raise SystemExit(f"FAILED: no protocol in the receiver's header: {header}")
    return protocol.group(1).upper().rstrip("A").endswith("S")
