//! How a message says that its recipient can unsubscribe: links in its texts, and the fields by which mail programs offer it
//! (RFC 2369 §3.2, RFC 8058).

use super::{Claim, PREFIX, Seal, TrackedRecipient};
use crate::copies::{COPY_OCTETS, is_open_end};

/// Longest link in a header field, in octets: a line has 998 (RFC 5322 §2.1.1), and a link is not to be folded.
const HEADER_LINK_OCTETS: usize = 900;

/// What all placeholders of a link, or of an address, to unsubscribe end in.
pub(crate) const ASKING: [&str; 2] = ["unsubscribe_url%", "unsubscribe_email%"];

/// Whether the text has such a placeholder.
pub(crate) fn asks(text: &str) -> bool {
    ASKING.iter().any(|end| text.contains(end))
}

/// The links of one recipient.
pub(super) struct Unsubscribing {
    /// From everything.
    all: String,
    /// From what the message is tagged as.
    tagged: String,
    is_secure: bool,
    list: List,
    /// The header offers another page too, to which programs might POST instead.
    has_other_page: bool,
    has_post: bool,
}

/// What the header says of it.
#[derive(PartialEq)]
enum List {
    /// Nothing.
    Absent,
    /// Only what nobody can use, so that it was asked for.
    Unusable,
    /// Something of the sender's.
    Theirs,
    /// A link of ours.
    Ours,
}

impl Unsubscribing {
    pub(super) fn new(base: &str, recipient: &TrackedRecipient, seal: &Seal) -> Option<Unsubscribing> {
        let link = |tags: &[String]| {
            let TrackedRecipient { copy, domain, address, .. } = recipient;
            let claim = Claim::Unsubscribe(copy.to_string(), domain.to_string(), address.to_string(), tags.to_vec());
            Some(format!("{base}{PREFIX}/u/{}", seal.close(&claim)?))
        };
        Some(Unsubscribing {
            all: link(&[])?,
            tagged: link(&recipient.tags)?,
            is_secure: base.starts_with("https://"),
            list: List::Absent,
            has_other_page: false,
            has_post: false,
        })
    }

    /// Whether the text would become longer than any copy may be. A link is a hundred times as long as its placeholder.
    pub(super) fn exceeds(&self, text: &str) -> bool {
        let link = self.all.len().max(self.tagged.len());
        text.matches("unsubscribe_url%").count().saturating_mul(link).saturating_add(text.len()) > COPY_OCTETS
    }

    /// The text with its links; `None` when it has no placeholder of any. There are no mailing lists here of which one
    /// could unsubscribe alone.
    pub(super) fn fill(&self, text: &str) -> Option<String> {
        asks(text).then(|| {
            text.replace("%unsubscribe_url%", &self.all)
                .replace("%mailing_list_unsubscribe_url%", &self.all)
                .replace("%tag_unsubscribe_url%", &self.tagged)
        })
    }

    /// A field of the header, seen once each.
    pub(super) fn header(&mut self, name: &str, value: &str) -> Option<String> {
        if name.eq_ignore_ascii_case("List-Unsubscribe-Post") {
            self.has_post = true;
        }
        if !name.eq_ignore_ascii_case("List-Unsubscribe") {
            return self.fill(value);
        }
        if !asks(value) {
            self.list = List::Theirs;
            return None;
        }
        let filled = value.split(',').map(|entry| self.fill(entry.trim()).unwrap_or_else(|| entry.trim().to_owned()));
        let entries: Vec<_> = filled.filter_map(|entry| self.entry(entry)).collect();
        let of_ours = |entry: &String| [&self.all, &self.tagged].into_iter().any(|link| entry.contains(link.as_str()));
        self.has_other_page = entries.iter().any(|entry| entry.starts_with("<https:") && !of_ours(entry));
        self.list = match entries.iter().any(of_ours) {
            _ if entries.is_empty() => List::Unusable,
            true => List::Ours,
            false => List::Theirs,
        };
        Some(entries.join(", "))
    }

    /// An entry as it can be used, with the brackets that it needs.
    fn entry(&self, entry: String) -> Option<String> {
        let is_bare = entry == self.all || entry == self.tagged;
        let entry = if is_bare { format!("<{entry}>") } else { entry };
        (!is_open_end(&entry) && !asks(&entry) && entry.len() <= HEADER_LINK_OCTETS).then_some(entry)
    }

    /// The fields that are still missing. `is_wanted` when the domain wants messages to have them.
    pub(super) fn further_headers(&self, is_wanted: bool) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let adds = self.list == List::Unusable || self.list == List::Absent && is_wanted;
        let adds = adds && self.all.len() + 2 <= HEADER_LINK_OCTETS;
        if adds {
            fields.push(("List-Unsubscribe".to_owned(), format!("<{}>", self.all)));
        }
        // RFC 8058 §3.1: there must be an HTTPS URI that it is about, and one only.
        let is_ours = adds || self.list == List::Ours && !self.has_other_page;
        if is_ours && self.is_secure && !self.has_post {
            fields.push(("List-Unsubscribe-Post".to_owned(), "List-Unsubscribe=One-Click".to_owned()));
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_what_can_be_used() {
        const POST: (&str, &str) = ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
        let ours = ("List-Unsubscribe", "<https://t.test/t/u/A>");
        let plain = ("List-Unsubscribe", "<http://t.test/t/u/A>");
        for (scheme, wanted, given, becomes, further) in [
            ("https", false, &[][..], None, &[][..]),
            ("https", true, &[], None, &[ours, POST]),
            ("http", true, &[], None, &[plain]),
            ("https", true, &[("list-unsubscribe", "<https://s.test/>")], None, &[]),
            ("https", false, &[("List-Unsubscribe", "<%unsubscribe_url%>")], Some("<https://t.test/t/u/A>"), &[POST]),
            ("https", true, &[("List-Unsubscribe", "%tag_unsubscribe_url%")], Some("<https://t.test/t/u/T>"), &[POST]),
            (
                "https",
                true,
                &[("List-Unsubscribe", "<mailto:u@s.test>, <%unsubscribe_url%>"), POST],
                Some("<mailto:u@s.test>, <https://t.test/t/u/A>"),
                &[],
            ),
            (
                "https",
                true,
                &[("List-Unsubscribe", "<https://s.test/>, <%tag_unsubscribe_email%>")],
                Some("<https://s.test/>"),
                &[],
            ),
            ("https", false, &[("List-Unsubscribe", "%unsubscribe_email%")], Some(""), &[ours, POST]),
            (
                "https",
                true,
                &[("List-Unsubscribe", "<https://s.test/>, <mailto:%unsubscribe_email%>, <%unsubscribe_url%>")],
                Some("<https://s.test/>, <https://t.test/t/u/A>"),
                &[],
            ),
        ] {
            let mut unsubscribing = Unsubscribing {
                all: format!("{scheme}://t.test/t/u/A"),
                tagged: format!("{scheme}://t.test/t/u/T"),
                is_secure: scheme == "https",
                list: List::Absent,
                has_other_page: false,
                has_post: false,
            };
            let found: Vec<_> = given.iter().map(|(name, value)| unsubscribing.header(name, value)).collect();
            assert_eq!(found.first().cloned().flatten().as_deref(), becomes, "{given:?}");
            let added = unsubscribing.further_headers(wanted);
            let added: Vec<_> = added.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(added, further, "{given:?}");
        }
    }

    #[test]
    fn placeholders_become_links_and_others_stay() {
        let links = Unsubscribing {
            all: "A".to_owned(),
            tagged: "T".to_owned(),
            is_secure: true,
            list: List::Absent,
            has_other_page: false,
            has_post: false,
        };
        for (text, filled) in [
            ("x %unsubscribe_url%, %unsubscribe_url%", Some("x A, A")),
            ("%tag_unsubscribe_url%%mailing_list_unsubscribe_url%", Some("TA")),
            ("100%unsubscribe_url%", Some("100A")),
            ("%unsubscribe%", None),
        ] {
            assert_eq!(links.fill(text).as_deref(), filled, "{text}");
            assert!(!links.exceeds(text));
        }
        let longer = Unsubscribing { all: "A".repeat(4000), ..links };
        assert!(longer.exceeds(&"%unsubscribe_url%".repeat(COPY_OCTETS / 4000)));
        assert!(!longer.exceeds(&"%unsubscribe_url%".repeat(COPY_OCTETS / 8000)));
    }
}
