//! Trust anchors: where the chain of signatures begins.

use std::path::Path;

use bytes::Bytes;
use domain::base::iana::Class;
use domain::base::{Name, Rtype, ToName};
use domain::dnssec::validator::anchor::TrustAnchors;
use domain::zonefile::inplace::{Entry, Zonefile};

/// The root's keys, shipped with the program. A key of the root is announced years before it signs; until a release
/// carries it, a file can.
const ROOT: &str = include_str!("root-anchors.txt");

/// Largest file of trust anchors that is read.
const FILE_OCTETS: u64 = 1024 * 1024;

/// Trust anchors, known to be readable.
#[derive(Debug, Clone)]
pub struct Anchors {
    text: String,
    /// The name nearest to the root that has an anchor: what the self-test asks about.
    top: Name<Bytes>,
}

/// Why a file gives no trust anchors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: String,
    },
    /// It is no list of DS and DNSKEY records.
    #[error("{path}: {error}; DS or DNSKEY records in the form of a zone file are expected")]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: String,
    },
}

impl Anchors {
    /// The root's.
    pub fn root() -> Anchors {
        Anchors::parse(ROOT).expect("the shipped trust anchors are in order")
    }

    /// Those of a file: DS or DNSKEY records in the form of a zone file, as `unbound-anchor` writes them.
    ///
    /// # Errors
    /// When the file cannot be read or has something else in it.
    pub fn from_file(path: &Path) -> Result<Anchors, AnchorError> {
        let shown = path.display().to_string();
        let unreadable = |error: String| AnchorError::Unreadable { path: shown.clone(), error };
        let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if length > FILE_OCTETS {
            return Err(unreadable(format!("larger than {FILE_OCTETS} octets")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        Anchors::parse(&text).map_err(|error| AnchorError::Unusable { path: shown, error })
    }

    fn parse(text: &str) -> Result<Anchors, String> {
        // Lines without a TTL are common in such files, and every name in them is meant to be whole.
        let text = format!("$ORIGIN .\n$TTL 86400\n{text}\n");
        let mut zone = Zonefile::new();
        zone.set_default_class(Class::IN);
        zone.extend_from_slice(text.as_bytes());
        let mut top: Option<Name<Bytes>> = None;
        for entry in zone {
            match entry.map_err(|error| error.to_string())? {
                Entry::Record(record) if matches!(record.rtype(), Rtype::DS | Rtype::DNSKEY) => {
                    let owner: Name<Bytes> = record.owner().to_name();
                    if top.as_ref().is_none_or(|top| owner.label_count() < top.label_count()) {
                        top = Some(owner);
                    }
                }
                Entry::Record(record) => return Err(format!("there is a record of type {}", record.rtype())),
                Entry::Include { .. } => return Err("$INCLUDE is not supported".to_owned()),
            }
        }
        let top = top.ok_or("there is no record")?;
        Ok(Anchors { text, top })
    }

    pub(super) fn top(&self) -> &Name<Bytes> {
        &self.top
    }

    /// In the validator's form.
    pub(super) fn for_validator(&self) -> TrustAnchors {
        TrustAnchors::from_u8(self.text.as_bytes()).expect("the anchors were read before")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_anchors_are_the_roots() {
        assert_eq!(Anchors::root().top(), &Name::<Bytes>::root());
        Anchors::root().for_validator();
    }

    #[test]
    fn files_as_people_have_them() {
        let key = "257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==";
        for (text, top) in [
            (format!("example. IN DNSKEY {key}"), "example"),
            (format!("; a comment\nexample 3600 IN DNSKEY {key} ;{{id = 1}} ;;state=2\n"), "example"),
            (format!("a.example. IN DS 1 13 2 {}\n. IN DS 1 13 2 {}\n", "ab".repeat(32), "cd".repeat(32)), "."),
        ] {
            let anchors = Anchors::parse(&text).unwrap();
            assert_eq!(anchors.top().to_string(), top, "{text}");
            anchors.for_validator();
        }
    }

    #[test]
    fn what_is_no_anchor_is_refused() {
        for text in ["", "; nothing", "example. IN A 192.0.2.1", "trust-anchors { };", "$INCLUDE other", ". IN DS 1"] {
            assert!(Anchors::parse(text).is_err(), "{text}");
        }
    }
}
