//! Command lines taken apart (RFC 5321 §4.1.1), strictly.

/// A command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Ehlo(String),
    Helo(String),
    StartTls,
    /// The mechanism and the initial response.
    Auth(String, Option<String>),
    Mail(Path),
    Rcpt(Path),
    Data,
    Rset,
    Noop,
    Vrfy,
    Quit,
    /// A known command with an argument that it cannot have.
    Malformed(&'static str),
    Unknown,
}

/// The argument of MAIL or RCPT.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) address: String,
    pub(super) params: Vec<String>,
}

impl Path {
    /// The value of a parameter, empty for one without; `None` when it is not there.
    pub(super) fn param(&self, keyword: &str) -> Option<&str> {
        let split = |param: &'_ String| -> usize { param.find('=').unwrap_or(param.len()) };
        let found = self.params.iter().find(|param| param[..split(param)].eq_ignore_ascii_case(keyword))?;
        Some(found.get(split(found) + 1..).unwrap_or_default())
    }
}

impl Command {
    pub(super) fn parse(line: &str) -> Command {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match (verb.to_ascii_uppercase().as_str(), argument) {
            ("EHLO" | "HELO", "") => Command::Malformed("EHLO without a name"),
            ("EHLO", name) => Command::Ehlo(name.to_owned()),
            ("HELO", name) => Command::Helo(name.to_owned()),
            ("STARTTLS", "") => Command::StartTls,
            ("AUTH", argument) => auth(argument),
            ("MAIL", argument) => path(argument, "FROM:").map_or_else(Command::Malformed, Command::Mail),
            ("RCPT", argument) => match path(argument, "TO:") {
                Ok(path) if path.address.is_empty() => Command::Malformed("RCPT with an empty path"),
                Ok(path) => Command::Rcpt(path),
                Err(fault) => Command::Malformed(fault),
            },
            ("DATA", "") => Command::Data,
            ("RSET", "") => Command::Rset,
            ("NOOP", _) => Command::Noop,
            ("VRFY", _) => Command::Vrfy,
            ("QUIT", "") => Command::Quit,
            ("STARTTLS" | "DATA" | "RSET" | "QUIT", _) => Command::Malformed("an argument where none may be"),
            _ => Command::Unknown,
        }
    }
}

fn auth(argument: &str) -> Command {
    let (mechanism, initial) = match argument.split_once(' ') {
        Some((mechanism, initial)) => (mechanism, Some(initial.to_owned())),
        None => (argument, None),
    };
    Command::Auth(mechanism.to_ascii_uppercase(), initial)
}

/// `FROM:<address> PARAM=value …`. Blanks around the colon are what lax servers forgive; here they are a fault.
fn path(argument: &str, keyword: &str) -> Result<Path, &'static str> {
    let start = argument.get(..keyword.len()).filter(|start| start.eq_ignore_ascii_case(keyword));
    let rest = start.map(|_| &argument[keyword.len()..]).ok_or("MAIL or RCPT without FROM: or TO:")?;
    let rest = rest.strip_prefix('<').ok_or("a path without angle brackets")?;
    let end = end_of_path(rest).ok_or("a path without its closing bracket")?;
    let (address, params) = (&rest[..end], &rest[end + 1..]);
    if !params.is_empty() && !params.starts_with(' ') {
        return Err("text right after a path");
    }
    let params = params.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>();
    if params.iter().any(String::is_empty) {
        return Err("superfluous blanks between parameters");
    }
    Ok(Path { address: address.to_owned(), params })
}

/// Where the `>` is that no quoted local part contains.
fn end_of_path(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().find_map(|(i, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some(i),
            _ => {}
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(address: &str, params: &[&str]) -> Command {
        Command::Mail(Path { address: address.into(), params: params.iter().map(|p| (*p).into()).collect() })
    }

    #[test]
    fn commands_are_read_strictly() {
        for (line, command) in [
            ("ehlo a.test", Command::Ehlo("a.test".into())),
            ("EHLO", Command::Malformed("EHLO without a name")),
            ("mail from:<a@b.test>", mail("a@b.test", &[])),
            ("MAIL FROM:<> SIZE=10 BODY=8BITMIME", mail("", &["SIZE=10", "BODY=8BITMIME"])),
            (r#"MAIL FROM:<"a>b"@c.test>"#, mail(r#""a>b"@c.test"#, &[])),
            ("MAIL FROM: <a@b.test>", Command::Malformed("a path without angle brackets")),
            ("MAIL FROM:a@b.test", Command::Malformed("a path without angle brackets")),
            ("MAIL FROM:<a@b.test", Command::Malformed("a path without its closing bracket")),
            ("MAIL FROM:<a@b.test>SIZE=1", Command::Malformed("text right after a path")),
            ("MAIL FROM:<a@b.test>  SIZE=1", Command::Malformed("superfluous blanks between parameters")),
            ("RCPT TO:<>", Command::Malformed("RCPT with an empty path")),
            ("DATA", Command::Data),
            ("DATA now", Command::Malformed("an argument where none may be")),
            ("AUTH plain AGEAYg==", Command::Auth("PLAIN".into(), Some("AGEAYg==".into()))),
            ("HELP", Command::Unknown),
        ] {
            assert_eq!(Command::parse(line), command, "{line}");
        }
    }

    #[test]
    fn parameters_are_found_in_any_case() {
        let Command::Mail(path) = Command::parse("MAIL FROM:<> size=7 SMTPUTF8") else { panic!() };
        assert_eq!((path.param("SIZE"), path.param("smtputf8"), path.param("BODY")), (Some("7"), Some(""), None));
    }
}
