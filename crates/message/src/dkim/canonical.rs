//! The `relaxed` forms of header and body (RFC 6376 §3.4.2, §3.4.4).

use aws_lc_rs::digest::{Context, Digest, SHA256};

use crate::section::Section;

/// The fields of `names` in their relaxed form, each occurrence once, from the last upwards (RFC 6376 §5.4.2). A name
/// without an occurrence that is left stands for nothing.
pub(super) fn header(section: &Section<'_>, names: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut taken = vec![false; section.fields.len()];
    for name in names {
        let next = (0..section.fields.len()).rev().find(|i| !taken[*i] && section.fields[*i].is_named(name));
        if let Some(index) = next {
            taken[index] = true;
            field(section.fields[index].bytes, &mut out);
        }
    }
    out
}

/// One field: its name in lower case, its value unfolded, runs of white space as one space, none at either end.
pub(super) fn field(bytes: &[u8], out: &mut Vec<u8>) {
    let colon = bytes.iter().position(|octet| *octet == b':').unwrap_or(bytes.len());
    let (name, value) = (&bytes[..colon], bytes.get(colon + 1..).unwrap_or_default());
    out.extend(name.trim_ascii_end().to_ascii_lowercase());
    out.push(b':');
    let start = out.len();
    for word in value.split(|octet| matches!(octet, b' ' | b'\t' | b'\r' | b'\n')).filter(|word| !word.is_empty()) {
        if out.len() > start {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
    out.extend_from_slice(b"\r\n");
}

/// The SHA-256 of the relaxed body: no white space at the ends of lines, runs of it as one space, no empty lines at the
/// end. White space is removed *before* empty lines are, so a line of spaces is an empty line; a body of nothing else
/// is the empty text.
pub(super) fn body_hash(body: &[u8]) -> Digest {
    let mut hash = Context::new(&SHA256);
    let mut empty_lines = 0;
    let mut line = Vec::new();
    for raw in body.split_inclusive(|octet| *octet == b'\n') {
        line.clear();
        relax(raw.strip_suffix(b"\r\n").unwrap_or(raw), &mut line);
        if line.is_empty() {
            empty_lines += 1;
            continue;
        }
        for _ in 0..std::mem::take(&mut empty_lines) {
            hash.update(b"\r\n");
        }
        hash.update(&line);
        hash.update(b"\r\n");
    }
    hash.finish()
}

/// Unlike in a header field, white space at the *start* of a line stays, as one space.
fn relax(line: &[u8], out: &mut Vec<u8>) {
    let mut space = false;
    for octet in line {
        if matches!(octet, b' ' | b'\t') {
            space = true;
            continue;
        }
        if std::mem::take(&mut space) {
            out.push(b' ');
        }
        out.push(*octet);
    }
}
