import email
import gzip
import json
import pathlib
import sqlite3
import sys
import types

import dkim
from tlsrpt_reporter import tlsrpt

POLICY = {
    "policy-type": 2,
    "policy-string": ["version: STSv1", "mode: testing", "mx: mx.x.test", "max_age: 86400"],
    "policy-domain": "x.test",
    "mx-host": ["mx.x.test"],
}
FAILURE = {"c": 204, "s": "192.0.2.1", "n": "mx.x.test", "h": "mx.x.test", "r": "192.0.2.2", "f": "expired"}


def theirs():
    """A report as tlsrpt-reporter renders it from its own counters."""
    store = sqlite3.connect(":memory:")
    store.execute("CREATE TABLE reports (r_id INTEGER PRIMARY KEY, day, domain, uniqid, report)")
    store.execute("CREATE TABLE destinations (destination, d_r_id, retries, status, nexttry)")
    renderer = types.SimpleNamespace(
        con=store,
        report_id=lambda day, number, domain: f"{day}_{number}_{domain}@tlsrpt.test",
        destination_map=types.SimpleNamespace(map_destination=lambda _domain, found, _log: found),
        schedule_report_delivery=lambda: 0,
    )
    report = {
        "organization-name": "Company-Y",
        "date-range": {"start-datetime": "2026-11-22T00:00:00Z", "end-datetime": "2026-11-22T23:59:59Z"},
        "contact-info": "tls@y.test",
    }
    counted = {json.dumps(POLICY): {"cntrtotal": 9, "cntrfailure": 4, "failures": {json.dumps(FAILURE): 4}}}
    record = "v=TLSRPTv1;rua=mailto:rua@x.test"
    tlsrpt.TLSRPTReportd.render_report(renderer, "2026-11-22", "x.test", record, counted, report)
    return report


def shape(value):
    """The names in a report, and what kind of thing is at each."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def ours(mail, log):
    content = pathlib.Path(mail).read_bytes()
    content = content[content.index(b"DKIM-Signature:") :]
    lines = (json.loads(line) for line in pathlib.Path(log).read_text().splitlines() if line.startswith("{"))
    (announced,) = (line for line in lines if line.get("record"))

    def published(name, timeout=5):
        assert name.decode().rstrip(".") == announced["name"], name
        return announced["record"].encode()

    assert dkim.verify(content, dnsfunc=published), "dkimpy finds the signature bad"
    assert not dkim.verify(content.replace(b"TLS-Report-Domain: y", b"TLS-Report-Domain: z"), dnsfunc=published)

    message = email.message_from_bytes(content)
    assert message.get_content_type() == "multipart/report" and message.get_param("report-type") == "tlsrpt"
    assert message["TLS-Report-Domain"] == "y.test" and message["TLS-Report-Submitter"] == "x.test"
    assert message["TLS-Required"] == "No"
    (part,) = (part for part in message.walk() if part.get_content_type() == "application/tlsrpt+gzip")
    assert part.get_filename().startswith("x.test!y.test!") and part.get_filename().endswith(".json.gz")
    report = json.loads(gzip.decompress(part.get_payload(decode=True)))
    wanted = shape(theirs())
    del wanted["policies"][0]["failure-details"][0]["receiving-mx-helo"]  # not known here
    assert shape(report) == wanted, report
    assert report["policies"][0]["summary"]["total-failure-session-count"] == 3
    print("dkimpy and tlsrpt-reporter agree:", announced["record"][:20])


if sys.argv[1] == "ours":
    ours(*sys.argv[2:])
else:
    print(json.dumps(theirs()))
