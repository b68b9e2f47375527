"""Puts into the store what TLS sessions with y.test came to two days ago."""

import json
import sqlite3
import sys
import time

POLICY = {
    "kind": "sts",
    "strings": ["version: STSv1", "mode: enforce", "mx: mx.y.test", "max_age: 86400"],
    "domain": "y.test",
    "mx_patterns": ["mx.y.test"],
}
FAILURE = {
    "result": "certificate-expired",
    "sending_mta_ip": "192.0.2.1",
    "receiving_mx_hostname": "mx.y.test",
    "receiving_mx_helo": None,
    "receiving_ip": "192.0.2.2",
    "failure_reason_code": "expired",
}

day = int(time.time()) // 86400 - 2
with sqlite3.connect(sys.argv[1]) as store:
    for failure, sessions in (("", 5), (json.dumps(FAILURE), 3)):
        row = (day, "y.test", json.dumps(POLICY), failure, sessions)
        store.execute("INSERT INTO tls_result (day, destination, policy, failure, sessions) VALUES (?, ?, ?, ?, ?)", row)
