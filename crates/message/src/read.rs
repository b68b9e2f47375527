//! What is in a message that is kept: its fields, its texts and its files.
//!
//! The passes are those of `rewrite` and `parts`: what is shown here as a text is what would be changed there, and the files
//! are those that events tell of. The cost is bounded by the size of the message.

use mail_parser::MessageParser;

use crate::mailbox::decode_words;
use crate::parts::{Found, files};
use crate::section::Section;
use crate::{AcceptError, AttachmentSummary, Changes, RewriteError, rewrite};

/// A message taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Names and values of the header, unfolded and decoded, in order.
    pub fields: Vec<(String, String)>,
    /// The first plain text.
    pub text: Option<String>,
    /// The first HTML.
    pub html: Option<String>,
    /// The files, in the order of [`file`].
    pub files: Vec<FileSummary>,
}

/// A file inside a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSummary {
    /// Its name, type and size.
    pub summary: AttachmentSummary,
    /// The name by which HTML shows it (RFC 2392), without brackets.
    pub content_id: Option<String>,
}

/// Takes a message apart, whose lines all end in CRLF.
///
/// # Errors
/// When it has no header section that can be read.
pub fn read(content: &[u8]) -> Result<Contents, AcceptError> {
    let section = Section::parse(content)?;
    let fields =
        section.fields.iter().map(|field| (field.name.to_owned(), decode_words(&field.value()).trim().to_owned()));
    let fields = fields.collect();
    let files =
        files(&section).into_iter().map(|Found { summary, content_id, .. }| FileSummary { summary, content_id });
    let files = files.collect();
    let mut texts = Texts::default();
    // Nothing is changed; whoever looks at all texts sees them decoded.
    if let Err(RewriteError::Message(error)) = rewrite(content, &[], &mut texts, usize::MAX) {
        return Err(error);
    }
    Ok(Contents { fields, text: texts.plain, html: texts.html, files })
}

/// The file of that number, counted from zero, with its content decoded; `None` when there are fewer.
///
/// # Errors
/// When the message has no header section that can be read.
pub fn file(content: &[u8], number: usize) -> Result<Option<(AttachmentSummary, Vec<u8>)>, AcceptError> {
    let section = Section::parse(content)?;
    let Some(found) = files(&section).into_iter().nth(number) else { return Ok(None) };
    let octets = &section.body[found.octets.clone()];
    let octets = octets.strip_suffix(b"\r\n").unwrap_or(octets);
    // Whatever it is, also a whole message: its octets are wanted and nothing that is in them.
    let head = format!(
        "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: {}\r\n\r\n",
        found.coding.as_str()
    );
    let part = [head.as_bytes(), octets].concat();
    let decoded = MessageParser::new().with_mime_headers().parse(&part);
    let decoded = decoded.and_then(|part| Some(part.parts.first()?.contents().to_vec()));
    Ok(Some((found.summary, decoded.unwrap_or_default())))
}

/// The first text of each kind.
#[derive(Default)]
struct Texts {
    plain: Option<String>,
    html: Option<String>,
}

impl Changes for Texts {
    fn header(&mut self, _: &str, _: &str) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn text(&mut self, media_type: &str, text: &str) -> Result<Option<String>, String> {
        let slot = match media_type {
            "text/plain" => &mut self.plain,
            "text/html" => &mut self.html,
            _ => return Ok(None),
        };
        slot.get_or_insert_with(|| text.to_owned());
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attachment, Draft, Identity, accept, compose};

    fn identity() -> Identity {
        Identity::new(1_700_000_000, [7; 32], &"example.com".parse().unwrap())
    }

    #[test]
    fn what_was_composed_is_read_again() {
        let mut draft = Draft::new("Änn <ann@example.com>".parse().unwrap(), "Grüße");
        draft.text = Some("Zażółć\n.\n".to_owned());
        draft.html = Some("<p>Zażółć</p><img src=\"cid:a.png\">".to_owned());
        let octets: Vec<u8> = (0..=255).cycle().take(1001).collect();
        let file_of = |filename: &str, content_type: &str, bytes: &[u8]| Attachment {
            filename: filename.to_owned(),
            content_type: content_type.to_owned(),
            bytes: bytes.to_vec(),
        };
        draft.attachments = vec![
            file_of("vedhæftet.bin", "application/x-thing", &octets),
            file_of("empty.txt", "text/plain", b""),
            file_of("note.txt", "text/plain", b"one\r\ntwo\r\n"),
        ];
        draft.inline = vec![file_of("a.png", "image/png", &octets)];
        let message = compose(&draft, &identity()).unwrap();
        let read = read(&message.content).unwrap();
        assert_eq!(read.text.as_deref().map(str::trim_end), Some("Zażółć\r\n."));
        assert_eq!(read.html, draft.html);
        assert!(read.fields.contains(&("Subject".to_owned(), "Grüße".to_owned())), "{:?}", read.fields);
        let told: Vec<_> = read.files.iter().map(|file| file.summary.clone()).collect();
        // In the order of the content: what the HTML shows stands before what is attached.
        let sorted = |mut files: Vec<_>| {
            files.sort_by(|a: &crate::AttachmentSummary, b| a.filename.cmp(&b.filename));
            files
        };
        assert_eq!(sorted(told.clone()), sorted(message.attachments.clone()));
        for (number, wanted) in draft.inline.iter().chain(&draft.attachments).enumerate() {
            let (summary, content) = file(&message.content, number).unwrap().unwrap();
            assert_eq!((&summary, content), (&told[number], wanted.bytes.clone()), "{}", wanted.filename);
            assert_eq!(summary.filename, wanted.filename);
        }
        assert_eq!(file(&message.content, 4), Ok(None));
        assert_eq!(read.files.iter().filter(|file| file.content_id.as_deref() == Some("a.png")).count(), 1);
    }

    #[test]
    fn what_others_built_is_read_as_far_as_it_goes() {
        let whole = "From: a@example.com\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n\
            --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nHi\r\n\
            --b\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n";
        let message = accept(whole.as_bytes(), &[], &identity()).unwrap();
        let contents = read(&message.content).unwrap();
        assert_eq!((contents.text.as_deref(), contents.html), (Some("Grüße"), None));
        let content = |number| file(&message.content, number).unwrap().map(|(_, content)| content);
        assert_eq!(content(0).as_deref(), Some(&b"Subject: inner\r\n\r\nHi"[..]));
        assert_eq!(content(1).as_deref(), Some(&[0, 1, 2][..]));
        let bare = read(b"Subject: x\r\n\r\n").unwrap();
        assert_eq!((bare.fields.len(), bare.files.len()), (1, 0));
    }
}
