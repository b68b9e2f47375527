"""The DKIM signatures of messages that a real mail server took and kept, checked by dkimpy.

Every message must have two signatures of the sending domain, RSA and Ed25519, and both must hold by the records that
the server tells. One that was changed must not.
"""

import argparse
import pathlib

import api
import dkim


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sender", required=True, help="the sending domain")
    parser.add_argument("--mail", required=True, type=pathlib.Path, help="the folder that the receiver delivers to")
    arguments = parser.parse_args()
    keys = api.ok("GET", f"/v4/domains/{arguments.sender}/keys")["items"]
    records = {key["dns_record"]["name"]: key["dns_record"]["value"].encode() for key in keys if key["active"]}
    assert sorted(key["type"] for key in keys if key["active"]) == ["ed25519", "rsa"], keys

    def published(name, timeout=5):
        return records[name.decode().rstrip(".")]

    messages = [path.read_bytes() for path in arguments.mail.rglob("new/*")]
    assert messages, "no message arrived"
    for message in messages:
        # Mailboxes keep lines as LF, and have fields of their own on top.
        message = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        algorithms = set()
        for index in range(2):
            verifier = dkim.DKIM(message)
            assert verifier.verify(index, dnsfunc=published), f"signature {index} does not hold"
            algorithms.add(verifier.signature_fields[b"a"])
        assert algorithms == {b"rsa-sha256", b"ed25519-sha256"}, algorithms
        changed = message.replace(b"\r\nSubject: ", b"\r\nSubject: x", 1)
        assert changed != message and not dkim.DKIM(changed).verify(0, dnsfunc=published)
    print(f"  ok    dkimpy finds both signatures of {len(messages)} messages good")


if __name__ == "__main__":
    main()
