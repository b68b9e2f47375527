//! Where a domain wants its reports: the TXT record at `_smtp._tls` (RFC 8460 §3).

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use smtp::{Address, Domain};

/// What the record of a domain begins with.
const VERSION: &str = "v=TLSRPTv1;";
/// Most places that one report goes to. Nobody needs more than two.
const DESTINATIONS: usize = 5;
/// Longest URI that is read, in octets.
const URI_OCTETS: usize = 2048;

/// The name that is asked for a domain's record; none when it would be too long for the DNS.
pub fn name(domain: &Domain) -> Option<Domain> {
    format!("_smtp._tls.{domain}").parse().ok()
}

/// Where a report goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// By mail.
    Mail(Address),
    /// By POST to this `https` URL.
    Https(String),
}

/// Why a domain gets no reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRecord {
    /// No record begins with the version.
    #[error("it publishes no TLSRPT record")]
    Absent,
    /// More than one does, which counts as none.
    #[error("it publishes more than one TLSRPT record")]
    Several,
    /// The record names no place that we can reach.
    #[error("its TLSRPT record names no mailto or https address")]
    Nowhere,
}

/// The places that a domain's TXT records name, in their order. Each record has its strings joined.
///
/// # Errors
/// When they name none.
pub fn destinations(records: &[Vec<u8>]) -> Result<Vec<Destination>, NoRecord> {
    let mut records = records.iter().filter_map(|record| record.strip_prefix(VERSION.as_bytes()));
    let record = records.next().ok_or(NoRecord::Absent)?;
    if records.next().is_some() {
        return Err(NoRecord::Several);
    }
    let record = str::from_utf8(record).map_err(|_| NoRecord::Nowhere)?;
    // Unknown fields are passed over, and so are places that we do not know how to reach.
    let rua = record.split(';').find_map(|field| field.trim().strip_prefix("rua=")).ok_or(NoRecord::Nowhere)?;
    let mut found: Vec<Destination> = Vec::new();
    for place in rua.split(',').filter_map(|uri| destination(uri.trim())) {
        if found.len() < DESTINATIONS && !found.contains(&place) {
            found.push(place);
        }
    }
    if found.is_empty() { Err(NoRecord::Nowhere) } else { Ok(found) }
}

/// A `mailto` (RFC 6068) without what follows a `?`, or an `https` URL.
fn destination(uri: &str) -> Option<Destination> {
    let (scheme, rest) = uri.split_once(':').filter(|_| uri.len() <= URI_OCTETS)?;
    match scheme.to_ascii_lowercase().as_str() {
        "mailto" => {
            let address = rest.split('?').next().unwrap_or_default();
            percent_decode_str(address).decode_utf8().ok()?.parse().ok().map(Destination::Mail)
        }
        "https" if rest.starts_with("//") && rest.bytes().all(|octet| octet.is_ascii_graphic()) => {
            Some(Destination::Https(format!("https:{rest}")))
        }
        _ => None,
    }
}

impl fmt::Display for Destination {
    /// As the record writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Mail(address) => write!(f, "mailto:{address}"),
            Destination::Https(url) => f.write_str(url),
        }
    }
}

impl FromStr for Destination {
    type Err = NoRecord;

    /// Reads what [`Destination`] writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(address) = text.strip_prefix("mailto:") {
            return address.parse().map(Destination::Mail).map_err(|_| NoRecord::Nowhere);
        }
        destination(text).ok_or(NoRecord::Nowhere)
    }
}
