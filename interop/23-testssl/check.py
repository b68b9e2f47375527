"""Compares what testssl.sh found with what there may be."""

import json
import sys

NEVER = ["SSLv2", "SSLv3", "TLS1", "TLS1_1"]
WEAK = ["NULL", "aNULL", "EXPORT", "LOW", "3DES_IDEA", "AVERAGE"]
CIPHERS = {  # with a certificate for ECDSA, as here
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
}

for path in sys.argv[1:]:
    # Some findings are about the machine that it runs on.
    found = {one["id"]: one for one in json.load(open(path)) if one["ip"].endswith("127.0.0.1")}

    def check(name, expected):
        got = found[name]["finding"] if name in found else "nothing found out"
        if not got.startswith(expected):
            raise SystemExit(f"FAILED: {path}: {name} is {got!r}, not {expected!r}")

    for name in [*NEVER, *(f"cipherlist_{kind}" for kind in WEAK)]:
        check(name, "not offered")
    for name in ["TLS1_2", "TLS1_3", "cipherlist_STRONG", "PFS"]:
        check(name, "offered")
    ciphers = set(found["PFS_ciphers"]["finding"].split())
    assert ciphers == CIPHERS, f"{path}: {ciphers ^ CIPHERS}"
    bad = [one for one in found.values() if one.get("severity", "INFO") not in ("OK", "INFO", "DEBUG")]
    assert not bad, f"{path}: {bad}"
    print(f"{path.rpartition('/')[2]}: TLS 1.2 and 1.3, {len(ciphers)} ciphers, nothing that testssl.sh finds fault with")
