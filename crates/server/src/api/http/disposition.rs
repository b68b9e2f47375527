//! `Content-Disposition` of a form part (RFC 7578 §4.2): its name, and its file name if it is a file.

use percent_encoding::percent_decode_str;

/// The two parameters that matter. `filename*` (RFC 5987), which older clients send, wins over `filename`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Disposition {
    /// The field's name.
    pub(crate) name: Option<String>,
    /// The file's name; a part that has one, even an empty one, is a file.
    pub(crate) filename: Option<String>,
}

impl Disposition {
    /// Reads the header's value. `None` when it is not UTF-8 or not `form-data`.
    pub(crate) fn parse(value: &[u8]) -> Option<Disposition> {
        let text = std::str::from_utf8(value).ok()?;
        let (kind, mut rest) = text.split_once(';').unwrap_or((text, ""));
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return None;
        }
        let mut disposition = Disposition::default();
        let mut extended = None;
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = parameter_value(after.trim_start())?;
            let slot = match name.trim_matches([' ', '\t', ';']).to_ascii_lowercase().as_str() {
                "name" => &mut disposition.name,
                "filename" => &mut disposition.filename,
                "filename*" => &mut extended,
                // Readers disagree on which field this is …
                "name*" => return None,
                _ => &mut None,
            };
            // … and on what counts when it is said twice.
            if slot.replace(value).is_some() {
                return None;
            }
            rest = after;
        }
        if let Some(value) = extended {
            disposition.filename = Some(extended_value(&value)?);
        }
        Some(disposition)
    }
}

/// A token or a quoted string, and what follows it.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return Some((text[..end].trim_end().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            // HTML escapes quotes and line ends by percent signs and nothing else.
            '"' => return Some((value.replace("%22", "\""), &quoted[at + 1..])),
            // Only quotes and backslashes are ever escaped; any other backslash is one (old browsers send paths).
            '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            c => value.push(c),
        }
    }
    None
}

/// `utf-8'en'na%C3%AFve.txt` (RFC 5987 §3.2).
fn extended_value(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let octets: Vec<u8> = percent_decode_str(encoded).collect();
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" | "us-ascii" => String::from_utf8(octets).ok(),
        "iso-8859-1" => Some(octets.into_iter().map(char::from).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_file_names_are_read_as_clients_write_them() {
        for (header, name, filename) in [
            ("form-data; name=\"to\"", "to", None),
            ("form-data; name=to", "to", None),
            ("Form-Data;name=\"o:require-tls\"", "o:require-tls", None),
            ("form-data; name=\"a\"; filename=\"b c.txt\"", "a", Some("b c.txt")),
            ("form-data; name=\"a\"; filename=\"\"", "a", Some("")),
            ("form-data; name=\"a\"; filename=\"vedhæftet fil.csv\"", "a", Some("vedhæftet fil.csv")),
            ("form-data; name=\"a\"; filename*=utf-8''vedh%C3%A6ftet%20fil.csv", "a", Some("vedhæftet fil.csv")),
            ("form-data; name=\"a\"; filename=\"x\"; filename*=UTF-8''%e2%82%ac", "a", Some("€")),
            ("form-data; filename=\"say \\\"hi\\\".txt\"; name=\"a\"", "a", Some("say \"hi\".txt")),
            ("form-data; name=\"a\"; filename=\"say %22hi%22.txt\"", "a", Some("say \"hi\".txt")),
            ("form-data; name=\"a\"; filename=\"C:\\temp\\x.txt\"", "a", Some("C:\\temp\\x.txt")),
            ("form-data; name=\"a;b=c\"; x=y", "a;b=c", None),
        ] {
            let expected = Disposition { name: Some(name.to_owned()), filename: filename.map(str::to_owned) };
            assert_eq!(Disposition::parse(header.as_bytes()), Some(expected), "{header}");
        }
    }

    #[test]
    fn what_is_no_form_part_is_refused() {
        for header in [
            "attachment; filename=x",
            "form-data; name=\"a",
            "form-data; name=\"a\"; filename*=x",
            "form-data; name=\"a\"; name=\"o:require-tls\"",
            "form-data; name=\"a\"; name*=utf-8''o%3Arequire-tls",
            "\"",
            "",
        ] {
            assert_eq!(Disposition::parse(header.as_bytes()), None, "{header}");
        }
        assert_eq!(Disposition::parse(b"form-data; name=\"\xff\""), None);
    }
}
