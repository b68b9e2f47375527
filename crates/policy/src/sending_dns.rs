//! The DNS records of a sending domain: what is expected, what is found, and what that means.
//!
//! An answer that could not be had is [`Validity::Unknown`], never invalid: the resolver's trouble is not the domain's.

use crate::mta_sts;
use crate::tlsrpt::{self, Destination};

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Lets this server send for the domain (RFC 7208).
    Spf,
    /// Publishes a key (RFC 6376).
    Dkim,
    /// Says what becomes of mail that neither of the two speaks for (RFC 7489).
    Dmarc,
    /// Lets failure reports come back; many receivers refuse mail from a domain that cannot receive any.
    ReturnPath,
    /// Has failure reports come back to this server, which makes events of them.
    Bounces,
    /// Has others report how TLS to the domain fares (RFC 8460).
    TlsReports,
    /// Tells those who send to the domain that its hosts do TLS (RFC 8461).
    MtaSts,
}

impl Purpose {
    /// Its name for people and machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Spf => "spf",
            Purpose::Dkim => "dkim",
            Purpose::Dmarc => "dmarc",
            Purpose::ReturnPath => "return-path",
            Purpose::Bounces => "bounces",
            Purpose::TlsReports => "tls-reports",
            Purpose::MtaSts => "mta-sts",
        }
    }

    /// Whether a domain counts as verified only with it.
    pub fn is_required(self) -> bool {
        matches!(self, Purpose::Spf | Purpose::Dkim)
    }
}

/// How a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// It does what it is for.
    Valid,
    /// It is not there, or does something else.
    Invalid,
    /// Nobody knows: it was never asked for, or no answer could be had.
    Unknown,
}

impl Validity {
    /// Its name for people and machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Validity::Valid => "valid",
            Validity::Invalid => "invalid",
            Validity::Unknown => "unknown",
        }
    }
}

/// What came of looking for a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it stands.
    pub validity: Validity,
    /// Why it is not valid, or what else there is to say.
    pub words: Option<String>,
}

impl Finding {
    /// It does what it is for.
    pub fn valid() -> Finding {
        Finding { validity: Validity::Valid, words: None }
    }

    /// It does not, for this reason.
    pub fn invalid(words: impl Into<String>) -> Finding {
        Finding { validity: Validity::Invalid, words: Some(words.into()) }
    }

    /// Nobody knows, for this reason.
    pub fn unknown(words: impl Into<String>) -> Finding {
        Finding { validity: Validity::Unknown, words: Some(words.into()) }
    }

    fn with(self, words: impl Into<String>) -> Finding {
        Finding { words: Some(words.into()), ..self }
    }
}

/// The TXT records of a name, each with its strings joined; or why there is no answer.
pub type Texts<'a> = Result<&'a [Vec<u8>], &'a str>;

/// Whether the key that `expected` publishes is published (RFC 6376 §3.6.1).
pub fn dkim(expected: &str, found: Texts<'_>) -> Finding {
    let records = match found {
        Ok(records) => records,
        Err(why) => return Finding::unknown(why),
    };
    let record = match records {
        [] => return Finding::invalid("the record is not published"),
        [record] => String::from_utf8_lossy(record).into_owned(),
        several => {
            let text = format!("{} TXT records are published there; remove all but this one", several.len());
            return Finding::invalid(text);
        }
    };
    let (tags, wanted) = (Tags(&record), Tags(expected));
    let default = |tag: Option<String>, value: &str| tag.unwrap_or_else(|| value.to_owned());
    let key = tags.get("p");
    if tags.get("v").is_some_and(|version| version != "DKIM1") {
        Finding::invalid("the record there is no DKIM key (its v= is not DKIM1)")
    } else if default(tags.get("k"), "rsa") != default(wanted.get("k"), "rsa") {
        Finding::invalid("another type of key is published (k=)")
    } else if key.as_deref() == Some("") {
        Finding::invalid("the key is published as revoked (p= is empty)")
    } else if key.is_none() {
        Finding::invalid("the record has no key (p=)")
    } else if key != wanted.get("p") {
        let longer = wanted.get("p").is_some_and(|wanted| key.is_some_and(|key| wanted.starts_with(&key)));
        match longer {
            true => Finding::invalid("the published key is cut off; long values are written as several strings"),
            false => Finding::invalid("another key is published (p= differs)"),
        }
    } else if tags.get("h").is_some_and(|hashes| !hashes.split(':').any(|hash| hash == "sha256")) {
        Finding::invalid("the record does not allow sha256 (h=)")
    } else if tags.get("s").is_some_and(|services| !services.split(':').any(|one| one == "*" || one == "email")) {
        Finding::invalid("the record does not allow mail to be signed (s=)")
    } else if tags.get("t").is_some_and(|flags| flags.split(':').any(|flag| flag == "y")) {
        Finding::valid().with("the record says that the domain is only testing (t=y)")
    } else {
        Finding::valid()
    }
}

/// Whether somebody is told how TLS to the domain fares, and whether `expected`, the place of this server, is told.
pub fn tls_reports(expected: &Destination, found: Texts<'_>) -> Finding {
    match found.map(tlsrpt::record::destinations) {
        Err(why) => Finding::unknown(why),
        Ok(Ok(places)) if places.contains(expected) => Finding::valid(),
        Ok(Ok(_)) => Finding::valid().with("reports go elsewhere"),
        Ok(Err(error)) => Finding::invalid(error.to_string()),
    }
}

/// Whether the domain announces a policy for those who send to it (RFC 8461 §3.1). The policy itself is another matter.
pub fn mta_sts(found: Texts<'_>) -> Finding {
    match found {
        Err(why) => Finding::unknown(why),
        Ok(records) if mta_sts::record_id(records).is_some() => Finding::valid(),
        Ok([]) => Finding::invalid("no MTA-STS policy is announced; it is for the domain's own mail hosts to have one"),
        Ok(_) => Finding::invalid("the record there announces no MTA-STS policy, or is not the only one"),
    }
}

/// The TXT records of several names, or why there is no answer.
pub type NamedTexts<'a> = Result<&'a [(String, Vec<Vec<u8>>)], &'a str>;

/// Whether a DMARC policy is published (RFC 7489 §6.3), at the domain or above it. `found` has for each name that was
/// asked, from the domain upwards, its TXT records.
pub fn dmarc(found: NamedTexts<'_>) -> Finding {
    let names = match found {
        Ok(names) => names,
        Err(why) => return Finding::unknown(why),
    };
    for (name, records) in names {
        let mut policies = records.iter().filter(|record| is_dmarc(record));
        let Some(record) = policies.next() else { continue };
        if policies.next().is_some() {
            return Finding::invalid(format!("{name} has several DMARC records, and with more than one none counts"));
        }
        let record = String::from_utf8_lossy(record);
        return match Tags(&record).get("p").map(|policy| policy.to_ascii_lowercase()).as_deref() {
            Some(policy @ ("none" | "quarantine" | "reject")) => {
                Finding::valid().with(format!("{name} has the policy {policy}"))
            }
            _ => Finding::invalid(format!("the DMARC record of {name} has no policy (p=none, quarantine or reject)")),
        };
    }
    Finding::invalid("no DMARC policy is published; large receivers want one from everybody who sends much")
}

fn is_dmarc(record: &[u8]) -> bool {
    let text = String::from_utf8_lossy(record);
    text.split(';')
        .next()
        .and_then(|first| first.split_once('='))
        .is_some_and(|(name, value)| name.trim().eq_ignore_ascii_case("v") && value.trim() == "DMARC1")
}

/// Whether a domain is verified after this look: with everything that is required; not with anything of it that is
/// wrong. What nobody could find out leaves it as it was (`None`).
pub fn verified<'a>(findings: impl IntoIterator<Item = (Purpose, &'a Finding)>) -> Option<bool> {
    let (mut dkim, mut unknown) = (false, false);
    for (purpose, finding) in findings.into_iter().filter(|(purpose, _)| purpose.is_required()) {
        match finding.validity {
            Validity::Invalid => return Some(false),
            Validity::Unknown => unknown = true,
            Validity::Valid => {}
        }
        dkim |= purpose == Purpose::Dkim;
    }
    match (dkim, unknown) {
        (false, _) => Some(false),
        (true, true) => None,
        (true, false) => Some(true),
    }
}

/// The tags of a record (RFC 6376 §3.2). White space in a value counts for nothing here: no value that is compared may
/// have any.
struct Tags<'a>(&'a str);

impl Tags<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let (_, value) =
            self.0.split(';').filter_map(|tag| tag.split_once('=')).find(|(found, _)| found.trim() == name)?;
        Some(value.split_ascii_whitespace().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(finding: &Finding) -> (&'static str, &str) {
        (finding.validity.as_str(), finding.words.as_deref().unwrap_or_default())
    }

    #[test]
    fn keys_are_compared() {
        const OURS: &str = "v=DKIM1; k=rsa; p=AAAABBBB";
        for (found, validity, words) in [
            (&["v=DKIM1; k=rsa; p=AAAABBBB"][..], "valid", ""),
            (&["p=AAAABBBB"], "valid", ""),
            (&["k=rsa;\tp=AAAA BBBB ; s=email"], "valid", ""),
            (&["v=DKIM1; h=sha1:sha256; s=*; p=AAAABBBB; n=x"], "valid", ""),
            (&["v=DKIM1; t=y:s; p=AAAABBBB"], "valid", "only testing"),
            (&[], "invalid", "not published"),
            (&["p=AAAABBBB", "p=AAAABBBB"], "invalid", "2 TXT records"),
            (&["p=AAAACCCC"], "invalid", "another key"),
            (&["p=AAAA"], "invalid", "cut off"),
            (&["p="], "invalid", "revoked"),
            (&["v=spf1 -all"], "invalid", "no DKIM key"),
            (&["something"], "invalid", "no key"),
            (&["k=ed25519; p=AAAABBBB"], "invalid", "another type"),
            (&["h=sha1; p=AAAABBBB"], "invalid", "sha256"),
            (&["s=tlsrpt; p=AAAABBBB"], "invalid", "mail to be signed"),
        ] {
            let records: Vec<_> = found.iter().map(|text| text.as_bytes().to_vec()).collect();
            let finding = dkim(OURS, Ok(&records));
            let (said, why) = told(&finding);
            assert!(
                said == validity && why.contains(words) && why.is_empty() == words.is_empty(),
                "{found:?}: {finding:?}"
            );
        }
        assert_eq!(told(&dkim(OURS, Err("SERVFAIL"))), ("unknown", "SERVFAIL"));
    }

    #[test]
    fn what_is_published_about_tls_is_read() {
        let expected = Destination::Https("https://ours.example/upload".to_owned());
        for (found, reports, policy) in [
            (&["v=TLSRPTv1; rua=https://ours.example/upload"][..], ("valid", ""), ("invalid", "announces no")),
            (&["v=TLSRPTv1; rua=mailto:a@x.example"], ("valid", "elsewhere"), ("invalid", "announces no")),
            (&["v=TLSRPTv1; rua=ftp://x"], ("invalid", "no mailto"), ("invalid", "announces no")),
            (&["v=STSv1; id=20261123"], ("invalid", "no TLSRPT record"), ("valid", "")),
            (&["v=STSv1; id=1", "v=STSv1; id=2"], ("invalid", "no TLSRPT record"), ("invalid", "not the only one")),
            (&[], ("invalid", "no TLSRPT record"), ("invalid", "no MTA-STS policy")),
        ] {
            let records: Vec<_> = found.iter().map(|text| text.as_bytes().to_vec()).collect();
            for (finding, (validity, words)) in
                [(tls_reports(&expected, Ok(&records)), reports), (mta_sts(Ok(&records)), policy)]
            {
                let (said, why) = told(&finding);
                assert!(said == validity && why.contains(words), "{found:?}: {finding:?}");
            }
        }
        assert_eq!(told(&tls_reports(&expected, Err("SERVFAIL"))), ("unknown", "SERVFAIL"));
        assert_eq!(told(&mta_sts(Err("SERVFAIL"))), ("unknown", "SERVFAIL"));
    }

    #[test]
    fn policies_are_looked_for_upwards() {
        let names = |found: &[(&str, &[&str])]| -> Vec<(String, Vec<Vec<u8>>)> {
            let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
            found.iter().map(|(name, records)| ((*name).to_owned(), texts(records))).collect()
        };
        let (sub, top) = ("_dmarc.m.x.example", "_dmarc.x.example");
        for (found, validity, words) in [
            (&[(sub, &["v=DMARC1; p=none"][..])][..], "valid", "_dmarc.m.x.example has the policy none"),
            (&[(sub, &["x"]), (top, &["v=DMARC1;p=Reject"])], "valid", "_dmarc.x.example has the policy reject"),
            (&[(sub, &["v=DMARC1; p=no"]), (top, &["v=DMARC1; p=none"])], "invalid", "has no policy"),
            (&[(sub, &["v=DMARC1; p=none", "v=DMARC1; p=none"])], "invalid", "several"),
            (&[(sub, &[]), (top, &[])], "invalid", "no DMARC policy"),
        ] {
            let finding = dmarc(Ok(&names(found)));
            let (said, why) = told(&finding);
            assert!(said == validity && why.contains(words), "{found:?}: {finding:?}");
        }
        assert_eq!(told(&dmarc(Err("silence"))), ("unknown", "silence"));
    }

    #[test]
    fn a_domain_is_verified_with_all_that_is_required() {
        use Purpose::{Dkim, Dmarc, Spf};
        let (valid, invalid, unknown) = (Finding::valid(), Finding::invalid("x"), Finding::unknown("x"));
        for (findings, expected) in [
            (&[(Spf, &valid), (Dkim, &valid), (Dmarc, &invalid)][..], Some(true)),
            (&[(Spf, &valid), (Dkim, &valid), (Dkim, &invalid)], Some(false)),
            (&[(Spf, &invalid), (Dkim, &unknown)], Some(false)),
            (&[(Spf, &unknown), (Dkim, &valid)], None),
            // Nothing signs.
            (&[(Spf, &valid)], Some(false)),
            (&[], Some(false)),
        ] {
            assert_eq!(verified(findings.iter().copied()), expected, "{findings:?}");
        }
    }
}
