//! The files inside a message that somebody else built.
//!
//! One pass over the lines, with a stack of boundaries: the cost is bounded by the size of the message, whatever its
//! structure. (A parser that looks ahead for each boundary is slow on a message that announces many and has none.)

use std::ops::Range;

use mail_parser::{MessageParser, MimeHeaders};

use crate::limits::{ATTACHMENTS, MIME_DEPTH, PART_HEADER_OCTETS};
use crate::lines::{lines, printable};
use crate::section::Section;
use crate::summary::AttachmentSummary;

/// The attachments of a message: the parts that have a name, are meant as attachments, or are no text. Nested messages are
/// told as one file.
pub(crate) fn attachments(section: &Section<'_>) -> Vec<AttachmentSummary> {
    files(section).into_iter().map(|file| file.summary).collect()
}

/// An attachment, and where its content is.
pub(crate) struct Found {
    pub(crate) summary: AttachmentSummary,
    /// The name by which HTML shows it (RFC 2392), without brackets.
    pub(crate) content_id: Option<String>,
    pub(crate) coding: Coding,
    /// In the body of the message, with the line break that belongs to the boundary.
    pub(crate) octets: Range<usize>,
}

/// The attachments, in order, with their content.
pub(crate) fn files(section: &Section<'_>) -> Vec<Found> {
    let describes_body = |name: &str| name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("Content-"));
    let fields = section.fields.iter().filter(|field| describes_body(field.name));
    let header: Vec<u8> = fields.flat_map(|field| field.bytes).copied().collect();

    let mut walk = Walk {
        parser: MessageParser::new().with_mime_headers(),
        boundaries: Vec::new(),
        state: State::Between,
        at: 0,
        found: Vec::new(),
    };
    walk.begin(&header);
    if walk.boundaries.is_empty() && matches!(walk.state, State::Between) {
        // A text and nothing else, as most mail: no line of it can change that.
        return walk.found;
    }
    for line in lines(section.body) {
        walk.line(line);
    }
    walk.end_part(walk.at);
    walk.found
}

struct Walk {
    parser: MessageParser,
    /// Of the multiparts that are open, outermost first.
    boundaries: Vec<String>,
    state: State,
    /// How much of the body was read.
    at: usize,
    found: Vec<Found>,
}

enum State {
    /// In a preamble, an epilogue, or a part that nobody asks about.
    Between,
    /// In the header of a part, as far as it was read.
    Header(Vec<u8>),
    /// In the content of an attachment.
    File(Found),
}

/// The transfer encoding of a part (RFC 2045 §6).
#[derive(Clone, Copy)]
pub(crate) enum Coding {
    Plain,
    Base64,
    QuotedPrintable,
}

impl Walk {
    fn line(&mut self, line: &[u8]) {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        let start = self.at;
        self.at += line.len();
        if let Some((depth, closes)) = delimiter(&self.boundaries, text) {
            self.end_part(start);
            self.boundaries.truncate(if closes { depth } else { depth + 1 });
            self.state = if closes { State::Between } else { State::Header(Vec::new()) };
            return;
        }
        match &mut self.state {
            State::Between => {}
            State::Header(header) if text.is_empty() => {
                let header = std::mem::take(header);
                self.begin(&header);
            }
            State::Header(header) if header.len() + line.len() <= PART_HEADER_OCTETS => header.extend_from_slice(line),
            State::Header(_) => {}
            State::File(file) => file.summary.size += file.coding.decoded(line),
        }
    }

    /// Reads the header of a part, and so what its content is.
    fn begin(&mut self, header: &[u8]) {
        self.state = State::Between;
        let header = &header[..header.len().min(PART_HEADER_OCTETS)];
        let bytes = [header, b"\r\n"].concat();
        let Some(part) = self.parser.parse_headers(&bytes) else { return };

        let content_type = part.content_type();
        let kind = content_type.map_or("text", |t| t.ctype()).to_ascii_lowercase();
        let boundary = content_type.and_then(|t| t.attribute("boundary")).filter(|boundary| !boundary.is_empty());
        if let Some(boundary) = boundary.filter(|_| kind == "multipart") {
            if self.boundaries.len() < MIME_DEPTH {
                self.boundaries.push(boundary.to_owned());
            }
            return;
        }

        let filename = part.attachment_name().map(printable).unwrap_or_default();
        let is_meant = part.content_disposition().is_some_and(|disposition| disposition.is_attachment());
        if self.found.len() < ATTACHMENTS && (is_meant || !filename.is_empty() || kind != "text") {
            let subtype = content_type.and_then(|t| t.subtype()).unwrap_or("plain").to_ascii_lowercase();
            let content_type = printable(&format!("{kind}/{subtype}"));
            let coding =
                match part.content_transfer_encoding().map(|coding| coding.trim().to_ascii_lowercase()).as_deref() {
                    Some("base64") => Coding::Base64,
                    Some("quoted-printable") => Coding::QuotedPrintable,
                    _ => Coding::Plain,
                };
            let summary = AttachmentSummary { filename, content_type, size: 0 };
            let content_id = part.content_id().map(|id| printable(id.trim_matches(['<', '>'])));
            self.state = State::File(Found { summary, content_id, coding, octets: self.at..self.at });
        }
    }

    fn end_part(&mut self, end: usize) {
        if let State::File(mut file) = std::mem::replace(&mut self.state, State::Between) {
            file.summary.size = file.coding.total(file.summary.size);
            file.octets.end = end;
            self.found.push(file);
        }
    }
}

/// Which of the open multiparts the line delimits, and whether it closes it (RFC 2046 §5.1.1). An outer boundary ends
/// what is inside, closed or not.
pub(crate) fn delimiter(boundaries: &[String], line: &[u8]) -> Option<(usize, bool)> {
    let rest = line.strip_prefix(b"--")?;
    boundaries.iter().enumerate().rev().find_map(|(depth, boundary)| {
        match rest.strip_prefix(boundary.as_bytes())?.trim_ascii_end() {
            b"" => Some((depth, false)),
            b"--" => Some((depth, true)),
            _ => None,
        }
    })
}

impl Coding {
    /// The word of `Content-Transfer-Encoding`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Coding::Plain => "binary",
            Coding::Base64 => "base64",
            Coding::QuotedPrintable => "quoted-printable",
        }
    }

    /// What a line adds to the size: octets, or for base64 its digits.
    fn decoded(self, line: &[u8]) -> usize {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        match self {
            Coding::Plain => line.len(),
            Coding::Base64 => text.iter().filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')).count(),
            Coding::QuotedPrintable => {
                let (text, line_break) = text.strip_suffix(b"=").map_or((text, 2), |text| (text, 0));
                text.len() + line_break - 2 * text.iter().filter(|b| **b == b'=').count().min(text.len() / 3)
            }
        }
    }

    /// The size of the file. The last line break belongs to the boundary behind it (RFC 2046 §5.1.1).
    fn total(self, sum: usize) -> usize {
        match self {
            Coding::Plain | Coding::QuotedPrintable => sum.saturating_sub(2),
            Coding::Base64 => sum * 3 / 4,
        }
    }
}
