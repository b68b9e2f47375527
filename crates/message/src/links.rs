//! Links in texts: found and replaced, without a change to anything else.

use std::convert::Infallible;
use std::ops::Range;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};
use linkify::{LinkFinder, LinkKind};

/// Something to be put into HTML beside what stands there.
#[derive(Debug, Clone, Copy)]
pub struct Insertion<'a> {
    /// HTML.
    pub html: &'a str,
    /// Before everything that is shown, instead of after it.
    pub at_top: bool,
}

/// Replaces what `href` of `<a>` and `<area>` says, wherever `replace` gives something for it, and puts in the insertion.
/// `None` when that changes nothing.
///
/// HTML is read as browsers do: comments, scripts and texts have no links, and `&amp;` in an attribute is `&`. Only the values
/// that are replaced change.
pub fn replace_in_html(
    html: &str,
    replace: &mut dyn FnMut(&str) -> Option<String>,
    insertion: Option<Insertion<'_>>,
) -> Option<String> {
    let mut found = Found::default();
    let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, span: Span<usize>| {
        found.event(event, span);
        None::<Infallible>
    });
    // As a browser does: what is in a script or a title has no tags.
    emitter.naively_switch_states(true);
    let Ok(()) = Tokenizer::new_with_emitter(html, emitter).finish();
    let Found { links, places, .. } = found;
    let mut edits: Vec<_> =
        links.into_iter().filter_map(|(place, url)| Some((place, escape(&replace(&url)?)))).collect();
    if let Some(Insertion { html: new, at_top }) = insertion {
        let place = if at_top { places.top() } else { places.bottom(html) };
        let before = edits.partition_point(|(edited, _)| edited.start < place);
        edits.insert(before, (place..place, new.to_owned()));
    }
    apply(html, edits)
}

/// Replaces the URLs with a scheme in plain text, wherever `replace` gives something for them. `None` when that changes
/// nothing.
pub fn replace_in_text(text: &str, replace: &mut dyn FnMut(&str) -> Option<String>) -> Option<String> {
    let mut finder = LinkFinder::new();
    finder.kinds(&[LinkKind::Url]);
    let found = finder.links(text).filter_map(|link| Some((link.start()..link.end(), replace(link.as_str())?)));
    let edits = found.collect();
    apply(text, edits)
}

/// The text with other words in some places, which come in their order; `None` where there are none.
fn apply(text: &str, edits: Vec<(Range<usize>, String)>) -> Option<String> {
    if edits.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(text.len() + edits.iter().map(|(_, new)| new.len()).sum::<usize>());
    let mut done = 0;
    for (place, new) in edits {
        out.push_str(text.get(done..place.start)?);
        out.push_str(&new);
        done = place.end;
    }
    out.push_str(text.get(done..)?);
    Some(out)
}

/// What is found in HTML.
#[derive(Default)]
struct Found {
    /// What `href` says, and where.
    links: Vec<(Range<usize>, String)>,
    places: Places,
    /// The tag that is being read, if it may be a link.
    tag: Option<Tag>,
    name: Vec<u8>,
}

#[derive(Default)]
struct Tag {
    /// The attribute that is being read is the first `href`.
    is_href: bool,
    /// There was one: those after it say nothing.
    has_href: bool,
    link: Option<(Range<usize>, String)>,
}

impl Found {
    fn event(&mut self, event: CallbackEvent<'_>, span: Span<usize>) {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.name = name.to_vec();
                self.tag = matches!(name, b"a" | b"area").then(Tag::default);
            }
            CallbackEvent::AttributeName { name } => {
                if let Some(tag) = &mut self.tag {
                    tag.is_href = name == b"href" && !tag.has_href;
                    tag.has_href |= tag.is_href;
                }
            }
            CallbackEvent::AttributeValue { value } => {
                if let (Some(tag), Ok(value)) = (&mut self.tag, std::str::from_utf8(value))
                    && std::mem::take(&mut tag.is_href)
                {
                    let url = value.trim_matches([' ', '\t', '\r', '\n', '\x0c']).to_owned();
                    tag.link = Some((span.start..span.end, url));
                }
            }
            // A tag that does not end is none.
            CallbackEvent::CloseStartTag { .. } => {
                self.places.start(&self.name, span.end);
                self.links.extend(self.tag.take().and_then(|tag| tag.link));
            }
            CallbackEvent::EndTag { name } => {
                self.tag = None;
                self.places.end(name, span);
            }
            _ => {}
        }
    }
}

/// As a value of an attribute, quoted in either way or not at all.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' | '"' | '\'' | '<' | '>' | '`' | ' ' => escaped.push_str(&format!("&#{};", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Where what is shown begins and ends.
#[derive(Default)]
struct Places {
    html: Option<usize>,
    head_ends: Option<usize>,
    body: Option<usize>,
    body_ends: Option<usize>,
    html_ends: Option<usize>,
}

impl Places {
    fn start(&mut self, name: &[u8], behind: usize) {
        match name {
            b"html" => self.html = self.html.or(Some(behind)),
            b"body" => self.body = self.body.or(Some(behind)),
            _ => {}
        }
    }

    fn end(&mut self, name: &[u8], tag: Span<usize>) {
        match name {
            b"head" => self.head_ends = self.head_ends.or(Some(tag.end)),
            b"body" => self.body_ends = Some(tag.start),
            b"html" => self.html_ends = Some(tag.start),
            _ => {}
        }
    }

    fn top(&self) -> usize {
        self.body.or(self.head_ends).or(self.html).unwrap_or(0)
    }

    fn bottom(&self, html: &str) -> usize {
        self.body_ends.or(self.html_ends).unwrap_or(html.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Links in brackets, and `P` as insertion.
    fn in_html(html: &str, insertion: Option<bool>) -> Option<String> {
        let insertion = insertion.map(|at_top| Insertion { html: "P", at_top });
        replace_in_html(html, &mut |url| url.starts_with("http").then(|| format!("[{url}]")), insertion)
    }

    #[test]
    fn links_of_html_are_replaced_and_nothing_else() {
        for (html, replaced) in [
            ("<a href=\"http://x/\">http://x/</a>", Some("<a href=\"[http://x/]\">http://x/</a>")),
            ("<A\n HREF = 'http://x/?a=1&amp;b=2' >", Some("<A\n HREF = '[http://x/?a=1&#38;b=2]' >")),
            ("<a class=b href=http://x/>y", Some("<a class=b href=[http://x/]>y")),
            ("<a href=\" http://x/\n\">", Some("<a href=\"[http://x/]\">")),
            ("<area href=\"http://x/'\">", Some("<area href=\"[http://x/&#39;]\">")),
            ("<a href=\"http://x/\" href=\"http://y/\">", Some("<a href=\"[http://x/]\" href=\"http://y/\">")),
            ("ü<a title=\"ü>\" href=\"http://ü/\">ü</a>", Some("ü<a title=\"ü>\" href=\"[http://ü/]\">ü</a>")),
            ("<a href=http://x/><a href=http://y/>", Some("<a href=[http://x/]><a href=[http://y/]>")),
            ("<!-- <a href=\"http://x/\"> --><script>'<a href=\"http://x/\">'</script>", None),
            ("<style><a href=\"http://x/\"></style><textarea><a href=\"http://x/\"></textarea>", None),
            ("<link href=\"http://x/\"><img src=\"http://x/\"><base href=\"http://x/\">", None),
            ("<a href=\"mailto:a@x\"><a href=\"#top\"><a href><a href=\"\"><a href=''>", None),
            ("<a href=\"http://x/", None),
            ("no html", None),
            ("", None),
        ] {
            assert_eq!(in_html(html, None).as_deref(), replaced, "{html}");
        }
    }

    #[test]
    fn what_is_put_in_stands_where_it_is_shown() {
        for (html, top, bottom) in [
            ("a", "Pa", "aP"),
            ("", "P", "P"),
            ("<body c=d>a</body>", "<body c=d>Pa</body>", "<body c=d>aP</body>"),
            ("<html><head></head>a</html>", "<html><head></head>Pa</html>", "<html><head></head>aP</html>"),
            ("<html>a<!-- </body> -->", "<html>Pa<!-- </body> -->", "<html>a<!-- </body> -->P"),
        ] {
            assert_eq!(in_html(html, Some(true)).as_deref(), Some(top), "{html}");
            assert_eq!(in_html(html, Some(false)).as_deref(), Some(bottom), "{html}");
        }
        let both = in_html("<body><a href=http://x/>y</a></body>", Some(true));
        assert_eq!(both.as_deref(), Some("<body>P<a href=[http://x/]>y</a></body>"));
    }

    #[test]
    fn links_of_texts_are_found_without_what_surrounds_them() {
        let replaced = |text: &str| replace_in_text(text, &mut |url| Some(format!("[{url}]")));
        for (text, want) in [
            (
                "See http://x.test/a?b=c&d. Or (https://x.test/)!",
                Some("See [http://x.test/a?b=c&d]. Or ([https://x.test/])!"),
            ),
            ("<http://x.test/a>\r\nüü http://x.test/ü", Some("<[http://x.test/a]>\r\nüü [http://x.test/ü]")),
            ("a@x.test, x.test, www.x.test", None),
            ("", None),
        ] {
            assert_eq!(replaced(text).as_deref(), want, "{text}");
        }
    }
}
