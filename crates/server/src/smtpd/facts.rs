//! What a certificate says of itself, as far as it matters to whoever shows it.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use smtp::Domain;
use store::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    /// The host names that it is for, in lower case.
    pub(crate) names: Vec<String>,
    pub(crate) leaf: CertificateDer<'static>,
}

impl Default for Facts {
    /// A certificate that serves nobody.
    fn default() -> Facts {
        let never = Timestamp::from_secs(0);
        Facts { not_before: never, not_after: never, names: Vec::new(), leaf: Vec::new().into() }
    }
}

impl Facts {
    /// What the first certificate in a PEM text says.
    pub(crate) fn of_pem(pem: &[u8]) -> Option<Facts> {
        Facts::of(CertificateDer::pem_slice_iter(pem).next()?.ok()?)
    }

    /// What a certificate says; `None` when it cannot be read.
    pub(crate) fn of(leaf: CertificateDer<'static>) -> Option<Facts> {
        let (_, certificate) = X509Certificate::from_der(&leaf).ok()?;
        let validity = certificate.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let mut names = Vec::new();
        if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
            for name in &alternatives.value.general_names {
                if let GeneralName::DNSName(name) = name {
                    names.push(name.to_ascii_lowercase());
                }
            }
        }
        let (not_before, not_after) = (Timestamp::from_secs(not_before), Timestamp::from_secs(not_after));
        Some(Facts { not_before, not_after, names, leaf })
    }

    /// Whether it is for all of these names.
    pub(crate) fn serves(&self, names: &[Domain]) -> bool {
        names.iter().all(|name| self.names.iter().any(|its| its == name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_tells_its_names_and_its_time() {
        let mut wanted = rcgen::CertificateParams::new(["Mail.example".to_owned(), "smtp.example".to_owned()]).unwrap();
        wanted.not_before = rcgen::date_time_ymd(2026, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let pem = wanted.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
        let facts = Facts::of_pem(pem.as_bytes()).unwrap();
        assert_eq!(facts.names, ["mail.example", "smtp.example"]);
        let days = facts.not_after.since(facts.not_before).as_secs() / 86_400;
        assert_eq!((facts.not_before, days), (Timestamp::from_secs(1_767_225_600), 90));
        let domains = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Domain>>();
        assert!(facts.serves(&domains(&["smtp.example"])) && facts.serves(&domains(&["smtp.example", "mail.example"])));
        assert!(!facts.serves(&domains(&["smtp.example", "other.example"])));
        assert_eq!(Facts::of_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), None);
        assert_eq!(Facts::of_pem(b""), None);
    }
}
