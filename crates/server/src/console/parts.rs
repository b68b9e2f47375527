//! What pages are made of.

use maud::{Markup, html};
use store::Timestamp;

/// Text of a stranger, at most so many characters: what cannot be seen is made visible, and what turns the direction of
/// writing does nothing.
pub(super) fn shown(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).map(visible).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// The character as it may be shown: itself, or what stands for it.
pub(super) fn visible(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' => ' ',
        // The pictures of control characters.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '\u{fffd}',
        c => c,
    }
}

/// The beginning of a text, at most so many octets, in whole characters.
pub(super) fn cut(text: &str, octets: usize) -> &str {
    let end = (0..=octets.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// Text of a stranger that has lines, with each line break as one.
pub(super) fn shown_lines(text: &str, most: usize) -> String {
    text.lines().map(|line| shown(line, most)).collect::<Vec<_>>().join("\n")
}

/// A point in time. Browsers with scripts show it in their own time zone.
pub(super) fn when(time: Timestamp) -> Markup {
    when_seconds(time.as_micros() as f64 / 1e6)
}

/// The same of seconds since the epoch, as the API has them.
pub(super) fn when_seconds(seconds: f64) -> Markup {
    let time = jiff::Timestamp::from_microsecond((seconds * 1e6) as i64).unwrap_or_default();
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC);
    let exact = zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    html! { time datetime=(exact) { (zoned.strftime("%-d %b %Y, %H:%M:%S UTC").to_string()) } }
}

/// A table in a box of its own, that scrolls where it is too wide. The caption is for those who do not see it.
pub(super) fn table(caption: &str, heads: &[&str], rows: impl IntoIterator<Item = Vec<Markup>>) -> Markup {
    let mut rows = rows.into_iter().peekable();
    let is_empty = rows.peek().is_none();
    html! {
        div.table tabindex="0" role="region" aria-label=(caption) {
            table {
                caption.unseen { (caption) }
                thead {
                    tr {
                        @for head in heads {
                            th scope="col" { @if head.is_empty() { span.unseen { "Actions" } } @else { (head) } }
                        }
                    }
                }
                tbody {
                    @for row in rows { tr { @for (cell, head) in row.into_iter().zip(heads) { td data-head=(head) { (cell) } } } }
                    @if is_empty { tr { td.empty colspan=(heads.len()) { "There is nothing here." } } }
                }
            }
        }
    }
}

/// How good a thing is, for a mark. Colour alone never says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Fair,
    Bad,
    Plain,
}

/// A word with a colour.
pub(super) fn mark(tone: Tone, word: &str) -> Markup {
    let class = match tone {
        Tone::Good => "tag good",
        Tone::Fair => "tag fair",
        Tone::Bad => "tag bad",
        Tone::Plain => "tag",
    };
    html! { span class=(class) { (word) } }
}

/// A button that asks first, where scripts run.
pub(super) fn confirmed(label: &str, question: &str) -> Markup {
    html! { button.danger type="submit" data-confirm=(question) { (label) } }
}

/// Something to be copied, with a button for it where scripts run.
pub(super) fn copyable(text: &str) -> Markup {
    html! {
        span.copyable {
            code { (text) }
            button.copy type="button" data-copy=(text) hidden { "Copy" }
        }
    }
}

/// A part of a page that is asked for again every so many seconds, where scripts run.
pub(super) fn live(id: &str, seconds: u32, body: Markup) -> Markup {
    html! { div id=(id) data-live=(seconds) aria-live="off" { (body) } }
}

/// Names and values.
pub(super) fn facts<'a>(pairs: impl IntoIterator<Item = (&'a str, Markup)>) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in pairs { div { dt { (name) } dd { (value) } } }
        }
    }
}

/// A link to what comes before or after on a list, if there is any.
pub(super) fn pager(previous: Option<&str>, next: Option<&str>) -> Markup {
    html! {
        @if previous.is_some() || next.is_some() {
            nav.pager aria-label="Pages" {
                @if let Some(path) = previous { a href=(path) rel="prev" { "← Newer" } }
                @if let Some(path) = next { a href=(path) rel="next" { "Older →" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_say_is_seen_and_bounded() {
        assert_eq!(shown("a\u{1b}[31mb\0\u{7f}", 20), "a␛[31mb␀␡");
        assert_eq!(shown("evil\u{202e}gpj.exe", 20), "evil\u{fffd}gpj.exe");
        assert_eq!(shown("abcdef", 3), "abc…");
        assert_eq!(shown("abc", 3), "abc");
        assert_eq!([cut("aé", 2), cut("aé", 3), cut("", 5)], ["a", "aé", ""]);
        assert_eq!(shown_lines("250-a\r\n250 b", 20), "250-a\n250 b");
    }

    #[test]
    fn a_time_is_exact_for_machines() {
        let time = when(Timestamp::from_secs(1_700_000_000)).into_string();
        assert_eq!(time, "<time datetime=\"2023-11-14T22:13:20Z\">14 Nov 2023, 22:13:20 UTC</time>");
    }

    #[test]
    fn an_empty_table_says_so() {
        assert!(table("Things", &["A", ""], []).into_string().contains("There is nothing here."));
    }
}
