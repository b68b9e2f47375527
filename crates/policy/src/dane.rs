//! DANE for SMTP (RFC 7672): what the recipient's signed DNS says about the certificate of an MX host.
//!
//! The questions and their answers are the DNS client's; what they mean is decided here, in three steps:
//!
//! 1. [`base_domains`]: may TLSA records of this host be asked for at all, and under which names?
//! 2. [`judge`]: what does the answer under one of these names say?
//! 3. [`Association`]: which of the records can be used (RFC 7672 §3.1, RFC 7671 §9)?
//!
//! An insecure MX RRset means "no DANE" here, although RFC 7672 §2.2.1 leaves it open to use the TLSA records of the
//! hosts that it names: whoever forges the MX names hosts of his own, whose TLSA records then match. What that would
//! give is the look of authentication; MTA-STS is what helps such a domain.

use std::collections::BTreeMap;
use std::fmt;

use smtp::Domain;

use crate::tls::DaneDemand;

/// How far an answer of the DNS can be trusted (RFC 4035 §4.3, with "indeterminate" as in RFC 4033 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Signed, and the signatures lead to a trust anchor.
    Secure,
    /// Provably unsigned.
    Insecure,
    /// It should be signed and the signatures do not hold; why.
    Bogus(String),
    /// No trust anchor covers the name, or nothing was validated: for DANE the same as insecure.
    Indeterminate,
}

impl Security {
    /// Whether it is [`Security::Secure`].
    pub fn is_secure(&self) -> bool {
        *self == Security::Secure
    }

    /// As one word, for the log.
    pub fn word(&self) -> &'static str {
        match self {
            Security::Secure => "secure",
            Security::Insecure => "insecure",
            Security::Bogus(_) => "bogus",
            Security::Indeterminate => "indeterminate",
        }
    }
}

/// What DANE means for one MX host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dane {
    /// DNSSEC is not used, so nothing is known.
    Off {
        /// Why not, in words.
        because: String,
    },
    /// The recipient's DNS says nothing, or nothing that can be trusted.
    DoesNotApply {
        /// Why not.
        why: NotDane,
    },
    /// There are TLSA records and none of them can be used: TLS is mandatory, any certificate will do (RFC 7672 §2.2).
    Unusable {
        /// Where the records are.
        base: Domain,
        /// What is wrong with the first of them.
        why: UnusableRecord,
    },
    /// TLS is mandatory, and the certificate must match.
    Usable(TlsaSet),
    /// It could not be found out. The host must be skipped (RFC 7672 §2.2): to go on without DANE is what an attacker
    /// who suppresses the answer wants.
    LookupFailed {
        /// Whether an answer came and its signatures do not hold.
        bogus: bool,
        /// Why, in words.
        why: String,
    },
}

/// Why DANE does not apply to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDane {
    /// The domain's MX answer is not signed.
    MxInsecure,
    /// The operator's route names the host and does not vouch for it.
    RouteNotFlagged,
    /// The host is known by address only.
    NoHostName,
    /// The host's addresses are not signed.
    AddressInsecure,
    /// The signed DNS says that there are none.
    NoTlsa,
    /// There may be some, and they are not signed.
    TlsaInsecure,
}

impl NotDane {
    /// As one code.
    pub fn code(self) -> &'static str {
        match self {
            NotDane::MxInsecure => "mx-insecure",
            NotDane::RouteNotFlagged => "route-not-flagged",
            NotDane::NoHostName => "no-host-name",
            NotDane::AddressInsecure => "address-insecure",
            NotDane::NoTlsa => "no-tlsa",
            NotDane::TlsaInsecure => "tlsa-insecure",
        }
    }
}

impl Dane {
    /// As one code: `off`, the reason why it does not apply, `usable`, or a result type of RFC 8460 §4.3 for the rest.
    pub fn code(&self) -> &'static str {
        match self {
            Dane::Off { .. } => "off",
            Dane::DoesNotApply { why } => why.code(),
            Dane::Unusable { .. } => "tlsa-invalid",
            Dane::Usable(_) => "usable",
            Dane::LookupFailed { bogus: true, .. } => "dnssec-invalid",
            Dane::LookupFailed { bogus: false, .. } => "tlsa-lookup-failed",
        }
    }

    /// What it demands. A failed lookup demands nothing that TLS could meet: the host is passed over.
    pub fn demand(&self) -> DaneDemand {
        match self {
            Dane::Usable(_) => DaneDemand::Authenticated,
            Dane::Unusable { .. } => DaneDemand::Encrypted,
            Dane::Off { .. } | Dane::DoesNotApply { .. } | Dane::LookupFailed { .. } => DaneDemand::None,
        }
    }

    /// The records that the certificate must match, where there are any.
    pub fn tlsa(&self) -> Option<&TlsaSet> {
        match self {
            Dane::Usable(set) => Some(set),
            Dane::Off { .. } | Dane::DoesNotApply { .. } | Dane::Unusable { .. } | Dane::LookupFailed { .. } => None,
        }
    }
}

/// Where the host's name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHop {
    /// From the MX answer of the domain, or from its denial when the domain itself is the host.
    Mx(Security),
    /// From the operator's route, and whether the operator says that DANE may rely on it (RFC 7672 §2.2.1).
    Route {
        /// It may.
        flagged: bool,
    },
}

/// What the DNS says about the host's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAnswer {
    /// Of the addresses: the better one of the two families.
    pub addresses: Security,
    /// The name at the end of the aliases, when the host's name is an alias.
    pub expanded: Option<Domain>,
    /// Of the CNAME at the host's own name; asked only when that name is an alias and its addresses are not secure.
    pub alias: Option<Security>,
}

/// The better of two address answers: a host is DANE's when either family is secure (RFC 7672 §2.2.2). `None` is a
/// family without addresses or without an answer.
pub fn either_family(v4: Option<Security>, v6: Option<Security>) -> Security {
    let rank = |security: &Security| match security {
        Security::Secure => 0,
        Security::Insecure => 1,
        Security::Indeterminate => 2,
        Security::Bogus(_) => 3,
    };
    v4.into_iter().chain(v6).min_by_key(rank).unwrap_or(Security::Indeterminate)
}

/// The names under which TLSA records are to be asked for, in order; or what holds without asking.
///
/// Records are never asked for when the addresses are insecure: unsigned zones are full of name servers that answer
/// SERVFAIL to TLSA, and all mail to their hosts would be put off (RFC 7672 §2.2.2).
///
/// # Errors
/// With what holds for the host when there is nothing to ask.
pub fn base_domains(next_hop: &NextHop, host: &Domain, answer: &HostAnswer) -> Result<Vec<Domain>, Dane> {
    match next_hop {
        NextHop::Mx(Security::Secure) | NextHop::Route { flagged: true } => {}
        NextHop::Mx(Security::Insecure | Security::Indeterminate) => return does_not_apply(NotDane::MxInsecure),
        NextHop::Mx(Security::Bogus(why)) => return bogus("the MX answer", why),
        NextHop::Route { flagged: false } => return does_not_apply(NotDane::RouteNotFlagged),
    }
    match (&answer.addresses, &answer.expanded, &answer.alias) {
        (Security::Bogus(why), _, _) => bogus("the host's address", why),
        (Security::Secure, None, _) => Ok(vec![host.clone()]),
        // The end of the aliases first, then their start (RFC 7672 §2.2.2).
        (Security::Secure, Some(expanded), _) => Ok(vec![expanded.clone(), host.clone()]),
        // A signed alias into an unsigned zone: the host's own zone is signed, so its own TLSA records count.
        (_, Some(_), Some(Security::Secure)) => Ok(vec![host.clone()]),
        (_, Some(_), Some(Security::Bogus(why))) => bogus("the host's alias", why),
        (Security::Insecure | Security::Indeterminate, _, _) => does_not_apply(NotDane::AddressInsecure),
    }
}

fn does_not_apply<T>(why: NotDane) -> Result<T, Dane> {
    Err(Dane::DoesNotApply { why })
}

fn bogus<T>(what: &str, why: &str) -> Result<T, Dane> {
    Err(Dane::LookupFailed { bogus: true, why: format!("{what} is bogus: {why}") })
}

/// The answer to a question for TLSA records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsaAnswer {
    /// Signed records, at least one.
    Records(Vec<Tlsa>),
    /// Signed: there are none.
    Denied,
    /// Records or their absence, unsigned.
    Insecure,
    /// The signatures do not hold.
    Bogus(String),
    /// No answer.
    Failed(String),
}

/// What the answer under `base` says; an `Err` is a reason to go on to the next name, and the result when there is
/// none. `also` are further names that a certificate below a DANE-TA record may carry: the next-hop domain.
///
/// # Errors
/// With the reason why DANE does not apply under this name.
pub fn judge(base: &Domain, also: &[Domain], answer: TlsaAnswer) -> Result<Dane, NotDane> {
    match answer {
        TlsaAnswer::Denied => Err(NotDane::NoTlsa),
        TlsaAnswer::Insecure => Err(NotDane::TlsaInsecure),
        TlsaAnswer::Bogus(why) => {
            Ok(Dane::LookupFailed { bogus: true, why: format!("the TLSA answer for {base} is bogus: {why}") })
        }
        TlsaAnswer::Failed(why) => {
            Ok(Dane::LookupFailed { bogus: false, why: format!("the TLSA lookup for {base} failed: {why}") })
        }
        TlsaAnswer::Records(records) => {
            let (usable, unusable): (Vec<_>, Vec<_>) = records.iter().map(Tlsa::association).partition(Result::is_ok);
            let usable = strongest_digests(usable.into_iter().flatten().collect());
            match (usable.is_empty(), unusable.into_iter().find_map(Result::err)) {
                (false, _) => {
                    let also = also.iter().filter(|name| *name != base).cloned().collect();
                    Ok(Dane::Usable(TlsaSet { base: base.clone(), also, associations: usable }))
                }
                (true, Some(why)) => Ok(Dane::Unusable { base: base.clone(), why }),
                (true, None) => Err(NotDane::NoTlsa),
            }
        }
    }
}

/// Usable TLSA records and the names that go with them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsaSet {
    /// The TLSA base domain: what SNI says, and what a certificate below a DANE-TA record must name.
    pub base: Domain,
    /// Further names, any of which such a certificate may carry instead.
    pub also: Vec<Domain>,
    /// The records, at least one.
    pub associations: Vec<Association>,
}

/// A TLSA record as published (RFC 6698 §2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// Certificate usage.
    pub usage: u8,
    /// Selector.
    pub selector: u8,
    /// Matching type.
    pub matching: u8,
    /// Certificate association data.
    pub data: Vec<u8>,
}

/// A TLSA record that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Association {
    /// What the record is about.
    pub usage: Usage,
    /// What of the certificate is compared.
    pub selector: Selector,
    /// How it is compared.
    pub matching: Matching,
    /// What it is compared with.
    pub data: Vec<u8>,
}

/// The usages that SMTP knows (RFC 7672 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// The record vouches for the authority that issued the host's certificate.
    DaneTa,
    /// The record vouches for the host's certificate itself.
    DaneEe,
}

/// What of a certificate a record speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// The whole certificate.
    Certificate,
    /// Its public key.
    PublicKey,
}

/// How a record's data is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matching {
    /// Octet by octet.
    Exact,
    /// By SHA-256.
    Sha256,
    /// By SHA-512.
    Sha512,
}

/// Why a record cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnusableRecord {
    /// PKIX-TA and PKIX-EE: a mail server has no list of authorities to go by (RFC 7672 §3.1.3).
    PkixUsage(u8),
    /// A usage that nobody has defined.
    UnknownUsage(u8),
    /// A selector that nobody has defined.
    UnknownSelector(u8),
    /// A matching type that nobody has defined.
    UnknownMatching(u8),
    /// The data has not the length of its digest.
    WrongDigestLength(usize),
    /// The data is no DER object.
    NotDer,
}

impl fmt::Display for UnusableRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnusableRecord::PkixUsage(usage) => write!(f, "certificate usage {usage} has no meaning for mail"),
            UnusableRecord::UnknownUsage(usage) => write!(f, "certificate usage {usage} is unknown"),
            UnusableRecord::UnknownSelector(selector) => write!(f, "selector {selector} is unknown"),
            UnusableRecord::UnknownMatching(matching) => write!(f, "matching type {matching} is unknown"),
            UnusableRecord::WrongDigestLength(length) => write!(f, "{length} octets are no digest of this type"),
            UnusableRecord::NotDer => f.write_str("the data is neither a certificate nor a public key"),
        }
    }
}

impl Tlsa {
    /// The record as something that can be used.
    ///
    /// # Errors
    /// When it cannot.
    pub fn association(&self) -> Result<Association, UnusableRecord> {
        let usage = match self.usage {
            2 => Usage::DaneTa,
            3 => Usage::DaneEe,
            usage @ (0 | 1) => return Err(UnusableRecord::PkixUsage(usage)),
            usage => return Err(UnusableRecord::UnknownUsage(usage)),
        };
        let selector = match self.selector {
            0 => Selector::Certificate,
            1 => Selector::PublicKey,
            selector => return Err(UnusableRecord::UnknownSelector(selector)),
        };
        let (matching, length) = match self.matching {
            0 => (Matching::Exact, None),
            1 => (Matching::Sha256, Some(32)),
            2 => (Matching::Sha512, Some(64)),
            matching => return Err(UnusableRecord::UnknownMatching(matching)),
        };
        match length {
            Some(length) if self.data.len() != length => {
                return Err(UnusableRecord::WrongDigestLength(self.data.len()));
            }
            None if !is_der_sequence(&self.data) => return Err(UnusableRecord::NotDer),
            _ => {}
        }
        Ok(Association { usage, selector, matching, data: self.data.clone() })
    }
}

impl fmt::Display for Association {
    /// The three numbers, as in a zone file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage = match self.usage {
            Usage::DaneTa => 2,
            Usage::DaneEe => 3,
        };
        let selector = match self.selector {
            Selector::Certificate => 0,
            Selector::PublicKey => 1,
        };
        let matching = match self.matching {
            Matching::Exact => 0,
            Matching::Sha256 => 1,
            Matching::Sha512 => 2,
        };
        write!(f, "{usage} {selector} {matching}")
    }
}

/// Whether this is one DER SEQUENCE and nothing after it, as certificates and public keys are.
fn is_der_sequence(data: &[u8]) -> bool {
    let [0x30, first, rest @ ..] = data else { return false };
    let (length, content) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // Two octets of length are enough for what fits into a record.
        0x81 | 0x82 => {
            let octets = usize::from(first & 0x7f);
            let Some((length, content)) = rest.split_at_checked(octets) else { return false };
            (length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), content)
        }
        _ => return false,
    };
    content.len() == length
}

/// Of the records that speak of the same thing only those with the strongest digest count, beside those without one:
/// whoever publishes a stronger digest no longer relies on the weaker (RFC 7671 §9).
fn strongest_digests(associations: Vec<Association>) -> Vec<Association> {
    let mut strongest = BTreeMap::new();
    for association in &associations {
        let kept = strongest.entry((association.usage, association.selector)).or_insert(association.matching);
        *kept = (*kept).max(association.matching);
    }
    let counts = |association: &Association| {
        association.matching == Matching::Exact
            || strongest.get(&(association.usage, association.selector)) == Some(&association.matching)
    };
    associations.into_iter().filter(counts).collect()
}

#[cfg(test)]
#[path = "dane_tests.rs"]
mod tests;
