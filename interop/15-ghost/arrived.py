"""Reads every copy that arrived with Python's email package and compares it with the member that it was for."""

import email
import email.policy
import json
import pathlib
import re
import sys

members = {member["email"]: member for member in json.load(open(sys.argv[1]))}
# Fields as they stand on the wire, once each; headers are decoded by the package.
policy = email.policy.default
seen = set()
for path in sorted(pathlib.Path(sys.argv[2]).glob("*.eml")):
    raw = path.read_bytes()
    message = email.message_from_bytes(raw, policy=policy)
    recipient = str(message["X-Sink-To"])
    member = members[recipient]
    assert recipient not in seen, f"{recipient} has two copies"
    seen.add(recipient)

    def flat(text):
        return " ".join(re.sub(r"[\r\n]", " ", text).split())

    def check(what, found, expected):
        assert found == expected, f"{path.name} for {recipient}: {what} is {found!r}, not {expected!r}"

    assert raw.isascii() and max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b""), f"{path.name}: a bare LF"
    for name in ["To", "From", "Subject", "Message-ID", "Reply-To", "Sender", "List-Unsubscribe", "MIME-Version"]:
        check(f"the number of {name}", len(message.get_all(name)), 1)
    assert not message["Bcc"] and not message["Cc"]
    check("To", [str(address.addr_spec) for address in message["To"].addresses], [recipient])
    check("Subject", flat(str(message["Subject"])), flat(f"Dear {member['name']}, grüße"))
    check("From", message["From"].addresses[0].display_name, "The Blög")
    check("Message-ID", str(message["Message-ID"]).strip("<>"), member["id"])
    unsubscribe = f"<https://blog.test/unsubscribe/?uuid={member['uuid']}&key={member['uuid']}>"
    check("List-Unsubscribe", flat(str(message["List-Unsubscribe"])).replace(" ", ""), unsubscribe)
    variables = json.loads(flat(str(message["X-Mailgun-Variables"])))
    check("the variables", variables, {"email-id": "64b0c2", "member": member["uuid"]})

    parts = [part for part in message.walk() if not part.is_multipart()]
    check("the parts", [part.get_content_type() for part in parts], ["text/plain", "text/html"])
    assert not any(part.defects for part in message.walk()), f"{path.name} has defects"
    plain, html = (part.get_content().replace("\r\n", "\n") for part in parts)
    name = member["name"].replace("\r\n", "\n")
    check("the text", plain, f"Dear {name},\n--\nhttps://blog.test/?uuid={member['uuid']}\n")
    same = "<p>The same for everybody, ünd long. </p>" * 200
    link = f"<a href=\"https://blog.test/?uuid={member['uuid']}\">out</a>"
    pixel = re.compile(r'<img [^>]*src="http://track\.sender\.test/t/o/[^">]+"[^>]*>')
    check("the number of pixels", len(pixel.findall(html)), 1)
    check("the HTML", pixel.sub("", html).rstrip("\n"), f"<p>Dear {name}</p>{same}{link}")

expected = {address for address in members if not address.startswith("reject")}
assert seen == expected, f"{len(expected - seen)} copies are missing, {len(seen - expected)} are too many"
print(f"arrived: {len(seen)} copies, each for its member alone")
