//! A whole message gets another body: HTML that was made elsewhere takes the place of what it said.

use crate::body;
use crate::compose::{Attachment, ComposeError, Draft};
use crate::identity::Identity;
use crate::lines::to_crlf;
use crate::mailbox::Mailbox;
use crate::read::{file, read};
use crate::section::Section;
use crate::{AcceptError, html_to_text};

/// Why a message cannot be given HTML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceError {
    /// It is no message.
    #[error(transparent)]
    Message(#[from] AcceptError),
    /// It has HTML of its own.
    #[error("the message has HTML of its own")]
    HasHtml,
    /// A part of it cannot be written again.
    #[error(transparent)]
    Part(#[from] ComposeError),
}

/// A message with its new body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Header and body. Lines end in CRLF.
    pub content: Vec<u8>,
    /// Its text was made of the HTML.
    pub is_text_made: bool,
}

/// Whether the header of a message, whatever its line ends, has a field of that name. What is no message has none.
pub fn has_field(given: &[u8], name: &str) -> bool {
    Section::parse(&to_crlf(given)).is_ok_and(|section| section.get(name).is_some())
}

/// Gives a message this HTML. Its text stays as the alternative, if it says anything; else, `with_text`, one is made of the
/// HTML. Its files stay. Its fields stay as they were written, but for those of MIME, which are about the body, and for
/// signatures (`DKIM-Signature`), which the body would no longer bear out.
///
/// # Errors
/// When it is no message, has HTML already, or has a file that cannot be written again.
pub fn with_html(given: &[u8], html: &str, with_text: bool, identity: &Identity) -> Result<Replaced, ReplaceError> {
    let normal = to_crlf(given);
    let contents = read(&normal)?;
    if contents.html.is_some_and(|html| !html.trim().is_empty()) {
        return Err(ReplaceError::HasHtml);
    }
    let own_text = contents.text.filter(|text| !text.trim().is_empty());
    let is_text_made = with_text && own_text.is_none();
    // Of the draft only what makes up the body is used.
    let nobody = Mailbox::new(None, "nobody@localhost".parse().map_err(|_| AcceptError::NoFrom)?);
    let mut draft = Draft::new(nobody.map_err(AcceptError::From)?, "");
    draft.text = own_text.or_else(|| with_text.then(|| html_to_text(html)));
    draft.html = Some(html.to_owned());
    for (number, found) in contents.files.iter().enumerate() {
        let Some((summary, bytes)) = file(&normal, number)? else { continue };
        let filename = if summary.filename.is_empty() { format!("file-{}", number + 1) } else { summary.filename };
        let attachment = Attachment { filename, content_type: summary.content_type, bytes };
        match found.content_id {
            Some(_) => draft.inline.push(attachment),
            None => draft.attachments.push(attachment),
        }
    }
    let (body, _) = body::build(&draft, identity)?;

    let section = Section::parse(&normal)?;
    let is_about_body = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("content-") || name == "mime-version" || name == "dkim-signature"
    };
    let mut content = Vec::with_capacity(normal.len() + html.len());
    for field in section.fields.iter().filter(|field| !is_about_body(field.name)) {
        content.extend_from_slice(field.bytes);
        if !content.ends_with(b"\r\n") {
            content.extend_from_slice(b"\r\n");
        }
    }
    content.extend_from_slice(b"MIME-Version: 1.0\r\n");
    body.write_part(&mut content);
    if !content.ends_with(b"\r\n") {
        content.extend_from_slice(b"\r\n");
    }
    Ok(Replaced { content, is_text_made })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::new(1_700_000_000, [7; 32], &"example.com".parse().unwrap())
    }

    fn texts(content: &[u8]) -> (Option<String>, Option<String>) {
        let read = read(content).unwrap();
        (read.text.map(|text| text.trim_end().to_owned()), read.html.map(|html| html.trim_end().to_owned()))
    }

    #[test]
    fn fields_stay_and_the_body_is_new() {
        let given = "From: Ann <ann@example.com>\nDKIM-Signature: v=1\nX-Odd:  two\n lines\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\
            Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ngr=FC=DFe\n";
        let replaced = with_html(given.as_bytes(), "<p>Zażółć</p>", false, &identity()).unwrap();
        let text = String::from_utf8(replaced.content.clone()).unwrap();
        let fields = "From: Ann <ann@example.com>\r\nX-Odd:  two\r\n lines\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
            MIME-Version: 1.0\r\nContent-Type: multipart/alternative;";
        assert!(text.starts_with(fields), "{text}");
        assert_eq!(texts(&replaced.content), (Some("grüße".to_owned()), Some("<p>Zażółć</p>".to_owned())));
        assert!(!replaced.is_text_made);
        assert!(has_field(given.as_bytes(), "x-odd") && !has_field(given.as_bytes(), "grüße"));
    }

    #[test]
    fn a_text_is_made_where_there_is_none_and_one_is_wanted() {
        for (given, with_text, text, is_made) in [
            ("From: a@example.com\r\n\r\n", true, Some("Hi"), true),
            ("From: a@example.com\r\n\r\n  \r\n", true, Some("Hi"), true),
            ("From: a@example.com\r\n\r\nmine\r\n", true, Some("mine"), false),
            ("From: a@example.com", false, None, false),
        ] {
            let replaced = with_html(given.as_bytes(), "<p>Hi</p>", with_text, &identity()).unwrap();
            assert_eq!(texts(&replaced.content), (text.map(str::to_owned), Some("<p>Hi</p>".to_owned())), "{given:?}");
            assert_eq!(replaced.is_text_made, is_made, "{given:?}");
        }
    }

    #[test]
    fn files_stay() {
        let given = "From: a@example.com\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\nContent-Type: image/png\r\nContent-Disposition: inline; filename=a.png\r\nContent-ID: <a.png>\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n\
            --b\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Disposition: attachment\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nAQID\r\n--b--\r\n";
        let replaced = with_html(given.as_bytes(), "<img src=\"cid:a.png\">", false, &identity()).unwrap();
        let read = read(&replaced.content).unwrap();
        let names: Vec<_> = read.files.iter().map(|file| file.summary.filename.as_str()).collect();
        assert_eq!(names, ["a.png", "x.pdf"]);
        assert_eq!(read.files[0].content_id.as_deref(), Some("a.png"));
        assert_eq!(file(&replaced.content, 1).unwrap().unwrap().1, [1, 2, 3]);
    }

    #[test]
    fn html_is_not_thrown_away() {
        let given = b"From: a@example.com\r\nContent-Type: text/html\r\n\r\n<p>mine</p>\r\n";
        assert_eq!(with_html(given, "<p>Hi</p>", false, &identity()), Err(ReplaceError::HasHtml));
        assert!(matches!(with_html(b"no message", "x", false, &identity()), Err(ReplaceError::Message(_))));
    }
}
