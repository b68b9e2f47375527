//! The links of one recipient in the copy of one recipient.

use message::links::{Insertion, replace_in_html, replace_in_text};
use message::{Changes, RewriteError};
use serde_json::Value;
use smtp::{Address, Domain};
use store::tracking::{TrackedCopy, TrackedLinks};
use url::Url;

use super::unsubscribe::{Unsubscribing, asks};
use super::{Claim, LINK_OCTETS, LINKS, PREFIX, Seal, Tracking};
use crate::copies::COPY_OCTETS;

/// Why content stays without links.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrackingError {
    /// What is kept cannot be understood.
    #[error("what it tracks is damaged")]
    Damaged,
    /// It cannot be changed.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
}

/// Whose copy it is.
pub(crate) struct TrackedRecipient {
    pub(crate) copy: TrackedCopy,
    /// The sending domain.
    pub(crate) domain: Domain,
    pub(crate) address: Address,
    /// Of the message.
    pub(crate) tags: Vec<String>,
}

/// The content with its links and its picture.
pub(crate) fn rewrite(
    tracking: &Value,
    content: &[u8],
    recipient: &TrackedRecipient,
    seal: &Seal,
) -> Result<Vec<u8>, TrackingError> {
    let tracking: Tracking = serde_json::from_value(tracking.clone()).map_err(|_| TrackingError::Damaged)?;
    let unsubscribing = Unsubscribing::new(&tracking.base, recipient, seal).ok_or(TrackingError::Damaged)?;
    let mut linking = Linking {
        tracking: &tracking,
        copy: recipient.copy.to_string(),
        seal,
        unsubscribing,
        links: 0,
        has_picture: false,
        has_html_footer: false,
        has_text_footer: false,
    };
    Ok(message::rewrite(content, &[], &mut linking, COPY_OCTETS)?)
}

struct Linking<'a> {
    tracking: &'a Tracking,
    copy: String,
    seal: &'a Seal,
    unsubscribing: Unsubscribing,
    /// How many links were replaced.
    links: usize,
    /// The picture is there: one is enough.
    has_picture: bool,
    has_html_footer: bool,
    has_text_footer: bool,
}

impl Changes for Linking<'_> {
    fn header(&mut self, name: &str, value: &str) -> Result<Option<String>, String> {
        self.check(value)?;
        Ok(self.unsubscribing.header(name, value))
    }

    fn further_headers(&mut self) -> Vec<(String, String)> {
        self.unsubscribing.further_headers(self.tracking.footers.is_some())
    }

    fn text(&mut self, media_type: &str, text: &str) -> Result<Option<String>, String> {
        self.check(text)?;
        if !may_change(text) {
            return Ok(None);
        }
        let ended = match media_type {
            "text/html" => self.html_footer(text),
            "text/plain" => self.text_footer(text),
            _ => None,
        };
        let filled = self.unsubscribing.fill(ended.as_deref().unwrap_or(text)).or(ended);
        let text = filled.as_deref().unwrap_or(text);
        let linked = match (media_type, self.tracking.clicks) {
            ("text/html", clicks) => self.html(text, clicks != TrackedLinks::None),
            ("text/plain", TrackedLinks::All) => replace_in_text(text, &mut |url| self.link(url)),
            _ => None,
        };
        Ok(linked.or(filled))
    }

    fn changes_sealed(&self) -> bool {
        false
    }
}

/// What is signed or encrypted in the text itself would be broken, and what could not be decoded would be lost for good.
fn may_change(text: &str) -> bool {
    !text.contains("-----BEGIN PGP ") && !text.contains(char::REPLACEMENT_CHARACTER)
}

impl Linking<'_> {
    fn check(&self, text: &str) -> Result<(), String> {
        if self.unsubscribing.exceeds(text) { Err("its links would make it too long".to_owned()) } else { Ok(()) }
    }

    /// The first text of each kind ends with how to unsubscribe, unless it says so itself.
    fn html_footer(&mut self, html: &str) -> Option<String> {
        let footers = self.tracking.footers.as_ref().filter(|_| !std::mem::replace(&mut self.has_html_footer, true))?;
        let footer = Some(Insertion { html: &footers.html, at_top: false });
        if asks(html) { None } else { replace_in_html(html, &mut |_| None, footer) }
    }

    fn text_footer(&mut self, text: &str) -> Option<String> {
        let footers = self.tracking.footers.as_ref().filter(|_| !std::mem::replace(&mut self.has_text_footer, true))?;
        (!asks(text)).then(|| format!("{text}{}", footers.text))
    }

    fn html(&mut self, html: &str, clicks: bool) -> Option<String> {
        let picture = if self.tracking.opens && !self.has_picture { self.picture() } else { None };
        self.has_picture |= picture.is_some();
        let at_top = self.tracking.at_top;
        let insertion = picture.as_deref().map(|html| Insertion { html, at_top });
        replace_in_html(html, &mut |url| if clicks { self.link(url) } else { None }, insertion)
    }

    fn picture(&self) -> Option<String> {
        let token = self.seal.close(&Claim::Open(self.copy.clone()))?;
        let base = self.tracking.base.replace('&', "&amp;").replace('"', "&quot;");
        Some(format!("<img src=\"{base}{PREFIX}/o/{token}\" width=\"1\" height=\"1\" alt=\"\" style=\"border:0\">"))
    }

    fn link(&mut self, url: &str) -> Option<String> {
        let target = target(url)?;
        if self.links == LINKS || target.starts_with(&format!("{}{PREFIX}/", self.tracking.base)) {
            return None;
        }
        let token = self.seal.close(&Claim::Click(self.copy.clone(), target))?;
        self.links += 1;
        Some(format!("{}{PREFIX}/c/{token}", self.tracking.base))
    }
}

/// Where a link leads, as it may stand in a header; `None` when it is not one that is tracked: of another scheme, too long,
/// or with a placeholder that nobody filled.
fn target(url: &str) -> Option<String> {
    let parsed = Url::parse(url).ok().filter(|parsed| matches!(parsed.scheme(), "http" | "https"))?;
    let is_plain = url.bytes().all(|b| b.is_ascii_graphic());
    let target = if is_plain { url } else { parsed.as_str() };
    let is_open = has_placeholder(url);
    (target.len() <= LINK_OCTETS && target.bytes().all(|b| b.is_ascii_graphic()) && !is_open).then(|| target.to_owned())
}

/// `%recipient.name%`, `%unsubscribe_url%`: a word between percent signs that is no percent-encoding.
fn has_placeholder(url: &str) -> bool {
    let mut words = url.split('%').skip(1).peekable();
    let is_word = |word: &str| {
        word.len() > 2
            && !word.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit)
            && word.chars().all(|c| c.is_alphanumeric() || "._-: ".contains(c))
    };
    while let Some(word) = words.next() {
        if words.peek().is_some() && is_word(word) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_to_the_web_are_tracked() {
        let long = format!("https://x.test/{}", "a".repeat(LINK_OCTETS));
        for (url, expected) in [
            ("https://x.test/a?b=c&d=%20%C3%BC#e", Some("https://x.test/a?b=c&d=%20%C3%BC#e")),
            ("HTTP://X.test", Some("HTTP://X.test")),
            ("https://ü.test/ü b", Some("https://xn--tda.test/%C3%BC%20b")),
            ("http://user:p@x.test:8080/", Some("http://user:p@x.test:8080/")),
            ("https://x.test/100%/50%25", Some("https://x.test/100%/50%25")),
            ("mailto:a@x.test", None),
            ("tel:+49", None),
            ("javascript:alert(1)", None),
            ("data:text/html,x", None),
            ("#top", None),
            ("/relative", None),
            ("//x.test/", None),
            ("https://", None),
            ("%unsubscribe_url%", None),
            ("https://x.test/%recipient.id%", None),
            ("https://x.test/?a=%tag_unsubscribe_url%&b", None),
            (&long, None),
            ("", None),
        ] {
            assert_eq!(target(url).as_deref(), expected, "{url}");
        }
    }
}
