//! HTML as readers without HTML see it.

use mail_parser::decoders::html;

/// The text that an HTML shows, for the part that stands beside it. Where links lead to is not in it.
pub fn html_to_text(html: &str) -> String {
    html::html_to_text(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_goes_and_text_stays() {
        let html = "<html><head><title>t</title><style>p {}</style></head><body><p>Hi <b>Ann</b> &amp; co</p><p>bye</p></body>";
        let text = html_to_text(html);
        assert!(text.contains("Hi Ann & co") && text.contains("bye"), "{text:?}");
        assert!(!text.contains(['<', '>', '{']), "{text:?}");
    }
}
