"""What the scenarios about durability share: mail over kept connections of HTTP and SMTP, and what arrived of it.

Each message carries a number (`n<number>@...`), which is how it is known again. An answer is one of "kept" (200, 250),
"refused" (any other), or None when the connection broke before it.
"""

import base64
import json
import os
import pathlib
import smtplib
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request

DOMAIN = "durable.sender.test"
LOGIN = f"app@{DOMAIN}"


class Http:
    """One connection to the API."""

    def __init__(self, timeout=30):
        self.timeout = timeout
        self.connect()
        key = base64.b64encode(f"api:{os.environ['INTEROP_KEY']}".encode()).decode()
        self.head = f"POST /v3/{DOMAIN}/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {key}\r\n"
        self.head += "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: "
        self.answer, self.is_closed = "", False

    def connect(self):
        host, _, port = os.environ["INTEROP_URL"].removeprefix("http://").partition(":")
        self.socket = socket.create_connection((host, int(port)), self.timeout)
        self.stream = self.socket.makefile("rb")
        self.is_closed = False

    def send(self, to, text, **options):
        if self.is_closed:
            self.connect()
        fields = {"from": LOGIN, "to": to, "subject": "Kept", "text": text} | options
        body = urllib.parse.urlencode(fields)
        self.socket.sendall((self.head + str(len(body)) + "\r\n\r\n" + body).encode())
        line = self.stream.readline().decode()
        if not line.endswith("\r\n"):
            raise ConnectionError("no answer")
        length = 0
        while (header := self.stream.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode().partition(":")
            if name.lower() == "content-length":
                length = int(value)
            self.is_closed |= name.lower() == "connection" and value.strip().lower() == "close"
        text = self.stream.read(length)
        if len(text) < length:
            raise ConnectionError("half an answer")
        self.answer = line.split()[1] + " " + text.decode()
        return self.answer.startswith("200 ")

    def close(self):
        self.socket.close()


class Smtp:
    """One session of submission, logged in within TLS."""

    def __init__(self, timeout=30):
        trust = ssl.create_default_context(cafile=os.environ["CA"])
        self.session = smtplib.SMTP_SSL("localhost", int(os.environ["SUBMISSIONS_PORT"]), timeout=timeout, context=trust)
        self.session.login(LOGIN, os.environ["PASSWORD"])
        self.answer = ""

    def send(self, to, text):
        content = f"From: {LOGIN}\r\nTo: {to}\r\nSubject: Kept\r\n\r\n{text}\r\n"
        for say in (
            lambda: self.session.mail(LOGIN),
            lambda: self.session.rcpt(to),
            lambda: self.session.data(content),
        ):
            try:
                code, words = say()
            except smtplib.SMTPDataError as refused:
                code, words = refused.smtp_code, refused.smtp_error
            self.answer = f"{code} {words.decode()}"
            if code != 250:
                self.session.rset()
                return False
        return True

    def close(self):
        self.session.close()


BROKEN = (OSError, EOFError, smtplib.SMTPException, IndexError, ValueError)


def get(path, base=None):
    """Status and text, whatever the status."""
    try:
        with urllib.request.urlopen((base or os.environ["INTEROP_URL"]) + path, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def arrived(folder):
    """How often each number arrived at a receiver of ours."""
    found = {}
    for path in pathlib.Path(folder).glob("*.eml"):
        with path.open("rb") as mail:
            for line in mail:
                if line.startswith(b"X-Sink-To:"):
                    number = int(line.split()[1][1:].split(b"@")[0])
                    found[number] = found.get(number, 0) + 1
                    break
    return found


def set_up(**more):
    """The sending domain and a login; prints the password for later processes."""
    import api

    api.ok("POST", "/v4/domains", [("name", DOMAIN), *more.items()])
    made = api.ok("POST", f"/v3/domains/{DOMAIN}/credentials", [("login", "app")])
    return made["credentials"][LOGIN]


if __name__ == "__main__":
    print(json.dumps(set_up())[1:-1])
