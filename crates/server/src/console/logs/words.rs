//! What codes mean, in sentences (docs/tls.md).

/// Why TLS was not as good as it could be, by the code that the log has.
pub(in crate::console) fn reason(code: &str) -> Option<&'static str> {
    Some(match code {
        "starttls-not-supported" => "the server does not offer STARTTLS",
        "starttls-refused" => "the server offered STARTTLS and refused it",
        "starttls-no-reply" => "the server gave no usable answer to STARTTLS",
        "starttls-injected-data" => "bytes came between the answer to STARTTLS and the handshake",
        "tls-version-unsupported" => "the server speaks neither TLS 1.2 nor TLS 1.3",
        "no-shared-cipher" => "the server and we have no cipher or key exchange in common",
        "certificate-key-unsupported" => "the server's certificate or key cannot be used in a handshake",
        "handshake-too-large" => "the server's handshake is too large",
        "handshake-failed" | "handshake-bad-name" => "the TLS handshake failed",
        "handshake-timeout" => "the TLS handshake took too long",
        "ehlo-after-starttls-failed" => "the server said nothing usable after the handshake",
        "certificate-expired" => "the certificate has expired",
        "certificate-host-mismatch" => "the certificate is for another host",
        "certificate-not-trusted" => "no trusted authority signed the certificate",
        "certificate-not-yet-valid" => "the certificate is not valid yet",
        "certificate-revoked" => "the certificate was revoked",
        "certificate-not-pinned" => "the certificate is none of those that the operator's rule pins",
        "validation-failure" => "the certificate is not valid",
        "dnssec-invalid" => "the DNSSEC signatures do not hold",
        "tlsa-lookup-failed" => "TLSA records may apply and could not be had",
        "tlsa-invalid" => "the TLSA records cannot be used",
        "sts-mx-mismatch" => "the domain's MTA-STS policy does not name the server",
        "sts-policy-unknown" => "whether an MTA-STS policy is in force is not known",
        "requiretls-not-supported" => "the server does not offer REQUIRETLS",
        "mx-not-authenticated" => "nothing says that the server is the domain's",
        "connection-failed" => "no connection came about",
        "connection-lost" => "the connection broke",
        "no-address" => "the server has no address",
        "address-prohibited" => "the address may not be delivered to",
        "dns-failed" => "the DNS gave no answer",
        _ => return None,
    })
}

/// How the try of one address ended.
pub(super) fn step(result: &str) -> &str {
    match result {
        "delivered" => "took the message",
        "not-delivered" => "did not take the message",
        "left" => "was left: nothing of the message was said to it",
        "plaintext-retry" => "is tried again in plaintext",
        "reconnect" => "hung up, and is tried again",
        "skipped" => "was skipped",
        "connection-failed" => "could not be reached",
        "connection-lost" => "broke the connection",
        "refused-session" => "refused to talk",
        "auth-failed" => "did not take our login",
        other => other,
    }
}

/// Who insisted on more TLS than the sender.
pub(in crate::console) fn demander(word: &str) -> &str {
    match word {
        "require-tls" => "require_tls",
        "tls-fallback" => "tls_fallback",
        "route" => "the route",
        "rule" => "the operator's rule",
        "dane" => "DANE",
        "mta-sts" => "MTA-STS",
        "requiretls" => "REQUIRETLS",
        other => other,
    }
}

/// Who stated a setting.
pub(super) fn stated_by(source: &str) -> &str {
    match source {
        "message" => "the message said so",
        "domain" => "the sending domain's setting",
        "default" => "the default",
        other => other,
    }
}

/// How carefully the authority looked at who asked for a certificate.
pub(in crate::console) fn validation_level(level: &str) -> Option<&'static str> {
    Some(match level {
        "dv" => "DV: the domain was validated",
        "ov" => "OV: the organization was validated",
        "iv" => "IV: the person was validated",
        "ev" => "EV: the organization was validated at length",
        _ => return None,
    })
}
