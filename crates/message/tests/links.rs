//! What holds for any HTML: only the links change, each into what was given for it.

use html5gum::emitters::default::{DefaultEmitter, Token};
use html5gum::{HtmlString, Tokenizer};
use message::links::{replace_in_html, replace_in_text};
use proptest::prelude::*;

/// Pieces that HTML readers stumble over, and links among them.
fn html() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zü <>&;=\"'/!-]{0,12}",
        3 => "https?://[a-z]{1,8}\\.test/[a-z&;=\"'ü?#% ]{0,12}",
        6 => prop::sample::select(vec![
            "<a href=\"", "<a href='", "<a href=", "\">", "'>", ">", "</a>", "<area href=\"", "<A HREF = ", " href=", "&amp;",
            "&#38;", "&quot;", "<!--", "-->", "<!", "<script>", "</script>", "<title>", "</title>", "<textarea>", "</textarea>",
            "<body>", "</body>", "</html>", "<![CDATA[", "]]>", "<?php", "\0", "\r\n", "\t", "<a ", "</a href=\"", "/",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn tokens(html: &str) -> Vec<Token<()>> {
    let mut emitter = DefaultEmitter::<()>::new_with_span();
    emitter.naively_switch_states(true);
    let is_no_error = |token: &Token<()>| !matches!(token, Token::Error(_));
    Tokenizer::new_with_emitter(html, emitter).flatten().filter(is_no_error).collect()
}

fn trimmed(value: &HtmlString) -> String {
    String::from_utf8(value.to_vec()).unwrap().trim_matches([' ', '\t', '\r', '\n', '\x0c']).to_owned()
}

/// What nobody can mistake for anything, and leads back.
fn tracked(url: &str) -> Option<String> {
    let digits: String = url.bytes().map(|b| format!("{b:02x}")).collect();
    url.starts_with("http").then(|| format!("T{digits}"))
}

proptest! {
    #[test]
    fn all_but_the_links_of_html_stays(html in html()) {
        let changed = replace_in_html(&html, &mut tracked, None);
        let expected = tokens(&html).into_iter().map(|token| match token {
            Token::StartTag(mut tag) if matches!(tag.name.as_slice(), b"a" | b"area") => {
                if let Some(href) = tag.attributes.get_mut(&b"href"[..])
                    && let Some(new) = tracked(&trimmed(href))
                {
                    href.value = HtmlString(new.into_bytes());
                }
                Token::StartTag(tag)
            }
            other => other,
        });
        prop_assert_eq!(tokens(changed.as_deref().unwrap_or(&html)), expected.collect::<Vec<_>>());
    }

    #[test]
    fn all_but_the_links_of_texts_stays(words in prop::collection::vec("[a-zü().,<>\"' \r\n]{0,8}|https?://[a-z]{1,9}\\.test/[a-z?&=]{0,9}", 0..12)) {
        let text = words.concat();
        let mut links = Vec::new();
        let changed = replace_in_text(&text, &mut |url| {
            links.push(url.to_owned());
            Some("\0".to_owned())
        });
        let changed = changed.unwrap_or_else(|| text.clone());
        let mut back = String::new();
        let mut links = links.into_iter();
        changed.chars().for_each(|c| match c {
            '\0' => back.push_str(&links.next().unwrap()),
            c => back.push(c),
        });
        prop_assert_eq!(back, text);
    }
}
