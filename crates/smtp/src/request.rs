//! The commands that a server receives (RFC 5321 §4.1), from a line to a value. [`crate::command`] is the client's side.

use crate::dsn::{MailDsn, RcptDsn, is_xtext};
use crate::reply::{EnhancedCode, Reply};
use crate::{Address, AddressError, ReturnPath};

/// One command line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// EHLO, and what the client calls itself.
    Ehlo(String),
    /// HELO, and what the client calls itself.
    Helo(String),
    /// STARTTLS (RFC 3207 §4).
    StartTls,
    /// AUTH (RFC 4954 §4).
    Auth {
        /// The mechanism, in upper case.
        mechanism: String,
        /// The initial response in base64, if there is one; a lone `=` is the empty text.
        initial_response: Option<String>,
    },
    /// MAIL FROM.
    Mail(Mail),
    /// RCPT TO.
    Rcpt(Rcpt),
    /// DATA.
    Data,
    /// BDAT (RFC 3030 §2).
    Bdat {
        /// How many octets follow the command line.
        octets: u64,
        /// Whether they are the last of the message.
        last: bool,
    },
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// HELP.
    Help,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// QUIT.
    Quit,
}

/// MAIL FROM with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The reverse-path.
    pub return_path: ReturnPath,
    /// SIZE=, in octets (RFC 1870 §6).
    pub size: Option<u64>,
    /// SMTPUTF8 (RFC 6531 §3.4).
    pub smtputf8: bool,
    /// REQUIRETLS (RFC 8689 §4.1).
    pub requiretls: bool,
    /// RET= and ENVID= (RFC 3461).
    pub dsn: MailDsn,
}

/// RCPT TO with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rcpt {
    /// The forward-path.
    pub address: Address,
    /// Whether the line was ASCII. One that is not belongs to transactions with SMTPUTF8 only (RFC 6531 §3.4).
    pub is_ascii: bool,
    /// NOTIFY= and ORCPT= (RFC 3461).
    pub dsn: RcptDsn,
}

/// Why a line is no command that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No command of that name.
    #[error("Command not recognized")]
    Unknown,
    /// Control characters, or octets that are no UTF-8.
    #[error("The line has characters that no command has")]
    Characters,
    /// The command is not written like this; the text says how it is.
    #[error("Syntax: {0}")]
    Syntax(&'static str),
    /// A parameter that was not offered, or that the command does not have (RFC 5321 §4.1.1.11).
    #[error("Parameter '{0}' is not supported")]
    UnknownParameter(String),
    /// A parameter with a value that it cannot have, or given twice.
    #[error("Parameter '{0}' is not valid")]
    BadParameter(String),
    /// The reverse-path is no address.
    #[error("The sender's address is not valid: {0}")]
    Sender(#[source] AddressError),
    /// The forward-path is no address.
    #[error("The recipient's address is not valid: {0}")]
    Recipient(#[source] AddressError),
    /// An address beyond ASCII without SMTPUTF8 (RFC 6531 §3.5).
    #[error("An address beyond ASCII needs the parameter SMTPUTF8")]
    NeedsSmtputf8,
}

impl RequestError {
    /// What the client is told (RFC 5321 §4.2.2, RFC 3463 §3).
    pub fn reply(&self) -> Reply {
        let (code, subject, detail) = match self {
            RequestError::Unknown => (500, 5, 1),
            RequestError::Characters => (500, 5, 2),
            RequestError::Syntax(_) | RequestError::BadParameter(_) => (501, 5, 4),
            RequestError::UnknownParameter(_) => (555, 5, 4),
            RequestError::Sender(_) => (501, 1, 7),
            RequestError::Recipient(_) => (501, 1, 3),
            RequestError::NeedsSmtputf8 => (553, 6, 7),
        };
        Reply::of(code, EnhancedCode::new(5, subject, detail), &self.to_string())
    }
}

impl Request {
    /// Understands a command line, given without its CRLF.
    pub fn parse(line: &[u8]) -> Result<Request, RequestError> {
        let text = str::from_utf8(line).map_err(|_| RequestError::Characters)?;
        if text.chars().any(char::is_control) {
            return Err(RequestError::Characters);
        }
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim_end_matches(' ');
        let alone = |request, syntax| if rest.is_empty() { Ok(request) } else { Err(RequestError::Syntax(syntax)) };
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => name(rest, "EHLO name").map(Request::Ehlo),
            "HELO" => name(rest, "HELO name").map(Request::Helo),
            "STARTTLS" => alone(Request::StartTls, "STARTTLS"),
            "AUTH" => auth(rest),
            "MAIL" => mail(rest).map(Request::Mail),
            "RCPT" => rcpt(rest).map(Request::Rcpt),
            "DATA" => alone(Request::Data, "DATA"),
            "BDAT" => bdat(rest),
            "RSET" => alone(Request::Rset, "RSET"),
            "NOOP" => Ok(Request::Noop),
            "HELP" => Ok(Request::Help),
            "VRFY" => Ok(Request::Vrfy),
            "EXPN" => Ok(Request::Expn),
            "QUIT" => alone(Request::Quit, "QUIT"),
            _ => Err(RequestError::Unknown),
        }
    }
}

/// What a client calls itself. Many are wrong about it, and nothing depends on it: one printable word will do.
fn name(rest: &str, syntax: &'static str) -> Result<String, RequestError> {
    let rest = rest.trim();
    let fits = !rest.is_empty() && rest.len() <= crate::limits::DOMAIN_OCTETS;
    if fits && rest.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(rest.to_owned())
    } else {
        Err(RequestError::Syntax(syntax))
    }
}

fn auth(rest: &str) -> Result<Request, RequestError> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) if rest.is_ascii() => Ok(Request::Auth {
            mechanism: mechanism.to_ascii_uppercase(),
            initial_response: initial.map(|text| if text == "=" { "" } else { text }.to_owned()),
        }),
        _ => Err(RequestError::Syntax("AUTH mechanism [initial-response]")),
    }
}

fn bdat(rest: &str) -> Result<Request, RequestError> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let octets = words.next().and_then(number);
    let last = match words.next() {
        None => Some(false),
        Some(word) => word.eq_ignore_ascii_case("LAST").then_some(true),
    };
    match (octets, last, words.next()) {
        (Some(octets), Some(last), None) => Ok(Request::Bdat { octets, last }),
        _ => Err(RequestError::Syntax("BDAT octets [LAST]")),
    }
}

fn mail(rest: &str) -> Result<Mail, RequestError> {
    const SYNTAX: RequestError = RequestError::Syntax("MAIL FROM:<address> [parameters]");
    let (path, parameters) = path(rest, "FROM:").ok_or(SYNTAX)?;
    let return_path = match path {
        "" => ReturnPath::Null,
        text => ReturnPath::Address(text.parse().map_err(RequestError::Sender)?),
    };
    let mut mail = Mail { return_path, size: None, smtputf8: false, requiretls: false, dsn: MailDsn::default() };
    let mut body = None;
    let mut auth = None;
    for (parameter, keyword, value) in words(parameters) {
        let unknown = || RequestError::UnknownParameter(excerpt(parameter));
        let bad = || RequestError::BadParameter(excerpt(parameter));
        match (keyword.as_str(), value) {
            ("SIZE", Some(value)) => set(&mut mail.size, number(value).ok_or_else(bad)?).ok_or_else(bad)?,
            // What is 8-bit and what is not is read from the message itself.
            ("BODY", Some(value)) => match value.to_ascii_uppercase().as_str() {
                "7BIT" | "8BITMIME" => set(&mut body, ()).ok_or_else(bad)?,
                _ => return Err(unknown()),
            },
            ("SMTPUTF8", None) if !mail.smtputf8 => mail.smtputf8 = true,
            ("REQUIRETLS", None) if !mail.requiretls => mail.requiretls = true,
            // Who wrote the message is the credential's to say, not the client's (RFC 4954 §5).
            ("AUTH", Some(value)) if is_xtext(value) => set(&mut auth, ()).ok_or_else(bad)?,
            ("RET", Some(value)) => set(&mut mail.dsn.ret, value.parse().map_err(|_| bad())?).ok_or_else(bad)?,
            ("ENVID", Some(value)) => set(&mut mail.dsn.envid, value.parse().map_err(|_| bad())?).ok_or_else(bad)?,
            ("SIZE" | "BODY" | "SMTPUTF8" | "REQUIRETLS" | "AUTH" | "RET" | "ENVID", _) => return Err(bad()),
            _ => return Err(unknown()),
        }
    }
    if !rest.is_ascii() && !mail.smtputf8 {
        return Err(RequestError::NeedsSmtputf8);
    }
    Ok(mail)
}

fn rcpt(rest: &str) -> Result<Rcpt, RequestError> {
    const SYNTAX: RequestError = RequestError::Syntax("RCPT TO:<address> [parameters]");
    let (path, parameters) = path(rest, "TO:").ok_or(SYNTAX)?;
    let address = path.parse().map_err(RequestError::Recipient)?;
    let mut rcpt = Rcpt { address, is_ascii: rest.is_ascii(), dsn: RcptDsn::default() };
    for (parameter, keyword, value) in words(parameters) {
        let bad = || RequestError::BadParameter(excerpt(parameter));
        match (keyword.as_str(), value) {
            ("NOTIFY", Some(value)) => set(&mut rcpt.dsn.notify, value.parse().map_err(|_| bad())?).ok_or_else(bad)?,
            ("ORCPT", Some(value)) => set(&mut rcpt.dsn.orcpt, value.parse().map_err(|_| bad())?).ok_or_else(bad)?,
            ("NOTIFY" | "ORCPT", _) => return Err(bad()),
            _ => return Err(RequestError::UnknownParameter(excerpt(parameter))),
        }
    }
    Ok(rcpt)
}

/// What stands between the angle brackets, without the source route that nobody uses any more (RFC 5321 §4.1.1.3),
/// and what follows them. Spaces after the colon are no part of the grammar, but of many clients.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let start = rest.get(..keyword.len()).filter(|start| start.eq_ignore_ascii_case(keyword))?;
    let rest = rest[start.len()..].trim_start_matches(' ').strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    let end = rest.char_indices().find_map(|(at, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some(at),
            _ => {}
        }
        None
    })?;
    let (path, after) = (&rest[..end], &rest[end + 1..]);
    let path = match path.strip_prefix('@').and_then(|route| route.split_once(':')) {
        Some((_, mailbox)) => mailbox,
        None => path,
    };
    (after.is_empty() || after.starts_with(' ')).then_some((path, after))
}

/// The parameters: each as written, its keyword in upper case, its value.
fn words(parameters: &str) -> impl Iterator<Item = (&str, String, Option<&str>)> {
    parameters.split(' ').filter(|word| !word.is_empty()).map(|word| match word.split_once('=') {
        Some((keyword, value)) => (word, keyword.to_ascii_uppercase(), Some(value)),
        None => (word, word.to_ascii_uppercase(), None),
    })
}

/// At most eighteen digits, which every number that means anything here has.
fn number(text: &str) -> Option<u64> {
    let fits = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// `None` when the parameter was there already.
fn set<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// As much of a parameter as a reply needs to name it.
fn excerpt(parameter: &str) -> String {
    parameter.chars().take(60).collect()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
