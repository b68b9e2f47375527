//! The standard receivers: one for every TLS state that a delivery can meet.

use std::io;

use crate::{
    ca::{Ca, Identity, Issue, Validity},
    receiver::{Answer, Behaviour, Breakage, Tls},
};

/// A standard receiver.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// Its behaviour, given the CA and the name of its MX host.
    pub(super) behaviour: fn(&Ca, &str) -> io::Result<Behaviour>,
}

/// In the order in which people read them: from fine to hopeless.
pub(super) fn catalogue() -> [Entry; 8] {
    [
        Entry {
            name: "good",
            description: "STARTTLS, TLS 1.3, a valid certificate for the MX host",
            behaviour: |_, _| Ok(Behaviour::default()),
        },
        Entry {
            name: "tls12-only",
            description: "STARTTLS, TLS 1.2 and nothing newer, a valid certificate",
            behaviour: |_, _| with_tls(Tls::Tls12Only),
        },
        Entry {
            name: "self-signed",
            description: "STARTTLS, a certificate that no authority signed",
            behaviour: |_, host| with_identity(Identity::self_signed(&Issue::new(host))),
        },
        Entry {
            name: "expired",
            description: "STARTTLS, a certificate that expired yesterday",
            behaviour: |ca, host| with_identity(ca.issue(&Issue { validity: Validity::Expired, ..Issue::new(host) })),
        },
        Entry {
            name: "wrong-name",
            description: "STARTTLS, a valid certificate for another host",
            behaviour: |ca, _| with_identity(ca.issue(&Issue::new("mx.elsewhere.test"))),
        },
        Entry {
            name: "no-starttls",
            description: "STARTTLS is not offered",
            behaviour: |_, _| with_tls(Tls::NotOffered),
        },
        Entry {
            name: "starttls-454",
            description: "STARTTLS is offered and refused with 454",
            behaviour: |_, _| with_tls(Tls::RefusedWith(Answer::new(454, "4.7.0 TLS not available at the moment"))),
        },
        Entry {
            name: "broken-handshake",
            description: "STARTTLS gets 220, then garbage instead of a handshake",
            behaviour: |_, _| with_tls(Tls::Broken(Breakage::Garbage)),
        },
    ]
}

fn with_tls(tls: Tls) -> io::Result<Behaviour> {
    Ok(Behaviour { tls, ..Behaviour::default() })
}

fn with_identity(identity: io::Result<Identity>) -> io::Result<Behaviour> {
    Ok(Behaviour { identity: Some(identity?), ..Behaviour::default() })
}
