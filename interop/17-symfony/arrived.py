"""What became of Symfony's mail."""

from scene import ATTACHMENT, ATTACHMENT_NAME, SINK_VERIFIED, SUBJECT, VERIFIED, expect, how, kept, outcome

DOMAIN = "symfony.sender.test"


def main():
    for name in ("parts", "whole"):
        for recipient in (name, f"{name}-2", f"{name}-cc", f"{name}-bcc"):
            expect(recipient, VERIFIED, how(DOMAIN, f"{recipient}@verified.test"))
        expect("TLS demanded, none there", ("failed", "temporary", "4.7.4"), how(DOMAIN, f"{name}@plain.test"))
        message = kept(SINK_VERIFIED, f"{name}@verified.test")
        expect("subject", SUBJECT, message["subject"])
        expect("text", "Zażółć", message.get_body(("plain",)).get_content().strip())
        expect("a header", "Café", message["x-shop"])
        expect("answers go to", "answers@sender.test", message["reply-to"])
        expect("the hidden recipient", False, f"{name}-bcc@" in message.as_string().partition("X-Sink-Tls")[2])
        files = {part.get_filename(): part for part in message.walk() if part.get_filename()}
        expect("the attachment", ATTACHMENT, files[ATTACHMENT_NAME].get_content())
        picture = next(part for part in message.walk() if part.get_content_type() == "image/png")
        html = message.get_body(("html",)).get_content()
        expect("the picture is the one in the text", True, f'cid:{picture["content-id"].strip("<>")}' in html)
        event = outcome(DOMAIN, f"{name}@verified.test")
        expect("tags", ["letter"], event["tags"])
        expect("metadata", {"order": "4711"}, event["user-variables"])
        print(f"{name}: recipients, texts, headers, an attachment, a picture, a tag, metadata; delivered over verified TLS")


if __name__ == "__main__":
    main()
