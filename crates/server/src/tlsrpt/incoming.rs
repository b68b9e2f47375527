//! Reports that others send about our own domains.

use std::collections::HashSet;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use policy::tlsrpt::report::REPORT_OCTETS;
use policy::tlsrpt::{Report, ReportError};
use smtp::Domain;
use store::tlsrpt::{Kept, NewReceivedTlsReport, Via};
use store::{Store, StoreError, Timestamp};

/// Why a report was not kept.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is compressed, and cannot be unpacked.
    #[error("the report is compressed and cannot be unpacked")]
    Damaged,
    /// It is no report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// None of its policies is of a sending domain, or of a host below one.
    #[error("the report is about no domain of this server")]
    NotOurs,
    /// Too many came.
    #[error("too many reports about {0} within a day")]
    TooMany(Domain),
    /// The store did not take it.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A report as it came: compressed if it begins like gzip, whatever its type says.
///
/// # Errors
/// When it is none, or longer than is read. No more than that is ever unpacked.
pub fn read(octets: &[u8]) -> Result<Report, Refused> {
    if !octets.starts_with(&[0x1f, 0x8b]) {
        return Ok(Report::parse(octets)?);
    }
    let mut json = Vec::new();
    let mut decoder = MultiGzDecoder::new(octets).take(REPORT_OCTETS as u64 + 1);
    decoder.read_to_end(&mut json).map_err(|_| Refused::Damaged)?;
    Ok(Report::parse(&json)?)
}

/// Keeps a report under the sending domain that it is about, and says which that is.
///
/// # Errors
/// When it is about none, or there are too many.
pub async fn keep(store: &Store, report: Report, via: Via, now: Timestamp) -> Result<(Domain, Kept), Refused> {
    let domain = about(store, &report).await?.ok_or(Refused::NotOurs)?;
    let new = NewReceivedTlsReport { domain: domain.clone(), via, report, now };
    match store.receive_tls_report(new).await? {
        Kept::TooMany => Err(Refused::TooMany(domain)),
        kept => Ok((domain, kept)),
    }
}

/// Most names of a report, and most labels of each, for which a sending domain is looked for: strangers write reports.
const NAMES: usize = 16;
const LABELS: usize = 10;

/// The sending domain that a report is about: that of a policy, or one above it, since DANE's policies are of MX hosts.
async fn about(store: &Store, report: &Report) -> Result<Option<Domain>, StoreError> {
    let mut named: Vec<Domain> = report.domains().collect();
    named.sort();
    named.dedup();
    let mut asked = HashSet::new();
    for name in named.iter().take(NAMES) {
        let mut rest = name.as_str();
        while rest.contains('.') {
            if rest.split('.').count() <= LABELS
                && asked.insert(rest)
                && let Ok(domain) = rest.parse()
                && store.domain(&domain).await?.is_some()
            {
                return Ok(Some(domain));
            }
            rest = rest.split_once('.').map_or("", |(_, above)| above);
        }
    }
    Ok(None)
}
