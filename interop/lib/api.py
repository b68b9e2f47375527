"""The HTTP API as a plain client sees it: standard library only, so that nothing of a Mailgun SDK is in the way."""

import base64
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

URL = os.environ.get("INTEROP_URL", "")
KEY = os.environ.get("INTEROP_KEY", "")


def request(method, path, fields=(), files=(), key=None):
    """The status and the decoded body of one request; `fields` and `files` make it multipart."""
    url = path if path.startswith("http") else URL + path
    body, headers = multipart(fields, files) if fields or files else (None, {})
    headers["Authorization"] = "Basic " + base64.b64encode(f"api:{KEY if key is None else key}".encode()).decode()
    call = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(call, timeout=30) as answer:
            return answer.status, decoded(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, decoded(error.read())


def ok(method, path, fields=(), files=()):
    status, body = request(method, path, fields, files)
    if status != 200:
        raise SystemExit(f"FAILED: {method} {path} answered {status}: {body}")
    return body


def decoded(body):
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def multipart(fields, files):
    boundary = uuid.uuid4().hex
    parts = [(f'name="{name}"', "", value.encode()) for name, value in fields]
    # As browsers write quotes.
    quoted = {name: name.replace('"', "%22") for _, name, _, _ in files}
    parts += [
        (f'name="{field}"; filename="{quoted[name]}"', f"Content-Type: {kind}\r\n", content) for field, name, kind, content in files
    ]
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n{kind}\r\n".encode() + content + b"\r\n"
        for disposition, kind, content in parts
    )
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def events(domain, **filters):
    """Every event that matches, oldest first, page by page to the end."""
    filters = {"ascending": "yes", "limit": "100"} | filters
    page = ok("GET", f"/v3/{domain}/events?" + urllib.parse.urlencode(filters))
    found = []
    while page["items"]:
        found += page["items"]
        page = ok("GET", page["paging"]["next"])
    return found


def outcomes(domain, recipients, seconds=60):
    """The first delivered or failed event of each recipient, once every recipient has one."""
    deadline = time.monotonic() + seconds
    while True:
        told = {}
        for event in events(domain, event="delivered OR failed"):
            told.setdefault(event["recipient"], event)
        waiting = sorted(set(recipients) - told.keys())
        if not waiting:
            return told
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED: no delivered or failed event within {seconds} s for {', '.join(waiting)}")
        time.sleep(0.2)
