//! What a sender asks to be told about a message (RFC 3461), and what can be told (RFC 3464).

use std::fmt;
use std::str::FromStr;

/// Longest ENVID, in octets of xtext (RFC 3461 §4.4).
const ENVID_OCTETS: usize = 100;
/// Longest ORCPT, in octets of xtext, its type included (RFC 3461 §4.2).
const ORCPT_OCTETS: usize = 500;

/// The parameters of MAIL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailDsn {
    /// RET= (RFC 3461 §4.3).
    pub ret: Option<Ret>,
    /// ENVID= (RFC 3461 §4.4).
    pub envid: Option<Envid>,
}

/// The parameters of RCPT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RcptDsn {
    /// NOTIFY= (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// ORCPT= (RFC 3461 §4.2).
    pub orcpt: Option<Orcpt>,
}

impl MailDsn {
    /// Whether any was given.
    pub fn is_given(&self) -> bool {
        *self != MailDsn::default()
    }
}

impl RcptDsn {
    /// Whether any was given.
    pub fn is_given(&self) -> bool {
        *self != RcptDsn::default()
    }
}

/// How much of the message a notification gives back (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// When a notification is wanted (RFC 3461 §4.1). None of the three is NEVER.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notify {
    /// When the message was delivered.
    pub success: bool,
    /// When it could not be.
    pub failure: bool,
    /// When it takes long.
    pub delay: bool,
}

/// What the sender calls the transaction, as xtext of printable characters (RFC 3461 §4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envid(String);

/// The recipient as the sender knows it: a type and an address, as xtext of printable characters (RFC 3461 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orcpt(String);

/// What was done with a message for a recipient (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It was not delivered, and nobody will try again.
    Failed,
    /// It is still being tried.
    Delayed,
    /// It was delivered.
    Delivered,
    /// It went on to where no notifications are made.
    Relayed,
    /// It was delivered to a list or to several addresses.
    Expanded,
}

/// A parameter with a value that it cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no value of a parameter of DSN (RFC 3461)")]
pub struct DsnError;

impl Envid {
    /// What it stands for: printable ASCII.
    pub fn decoded(&self) -> String {
        decoded(&self.0).unwrap_or_default()
    }
}

impl FromStr for Envid {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.len() <= ENVID_OCTETS && decoded(text).is_some();
        fits.then(|| Envid(text.to_owned())).ok_or(DsnError)
    }
}

impl Orcpt {
    /// What it stands for, as `Original-Recipient` has it: the type, a semicolon, the address in printable ASCII.
    pub fn decoded(&self) -> String {
        let (kind, address) = self.0.split_once(';').unwrap_or_default();
        format!("{kind}; {}", decoded(address).unwrap_or_default())
    }
}

impl FromStr for Orcpt {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, address) = text.split_once(';').ok_or(DsnError)?;
        let is_kind = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let fits = text.len() <= ORCPT_OCTETS && is_kind && decoded(address).is_some();
        fits.then(|| Orcpt(text.to_owned())).ok_or(DsnError)
    }
}

/// Whether a text is xtext, whatever it stands for (RFC 3461 §4).
pub(crate) fn is_xtext(text: &str) -> bool {
    octets(text).is_some_and(|octets| !octets.is_empty())
}

/// What xtext stands for, if that is something printable.
fn decoded(text: &str) -> Option<String> {
    let text = String::from_utf8(octets(text)?).ok()?;
    (!text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b))).then_some(text)
}

/// Printable ASCII in which `+` begins an octet in hexadecimal digits, in upper case (RFC 3461 §4).
fn octets(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || match bytes.next()? {
            digit @ b'0'..=b'9' => Some(digit - b'0'),
            digit @ b'A'..=b'F' => Some(digit - b'A' + 10),
            _ => None,
        };
        octets.push(match byte {
            b'+' => digit()? * 16 + digit()?,
            byte if byte.is_ascii_graphic() && byte != b'=' => byte,
            _ => return None,
        });
    }
    Some(octets)
}

impl FromStr for Notify {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut notify = Notify::default();
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(notify);
        }
        for word in text.split(',') {
            let flag = match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => &mut notify.success,
                "FAILURE" => &mut notify.failure,
                "DELAY" => &mut notify.delay,
                _ => return Err(DsnError),
            };
            if std::mem::replace(flag, true) {
                return Err(DsnError);
            }
        }
        Ok(notify)
    }
}

impl FromStr for Ret {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_uppercase().as_str() {
            "FULL" => Ok(Ret::Full),
            "HDRS" => Ok(Ret::Headers),
            _ => Err(DsnError),
        }
    }
}

impl FromStr for Action {
    type Err = DsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Action::Failed, Action::Delayed, Action::Delivered, Action::Relayed, Action::Expanded];
        all.into_iter().find(|action| action.as_str().eq_ignore_ascii_case(text)).ok_or(DsnError)
    }
}

impl Action {
    /// The word of RFC 3464 §2.3.3.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed => "delayed",
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
            Action::Expanded => "expanded",
        }
    }
}

impl fmt::Display for Envid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Orcpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let words: Vec<&str> = words.into_iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word).collect();
        if words.is_empty() { f.write_str("NEVER") } else { f.write_str(&words.join(",")) }
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ret::Full => "FULL",
            Ret::Headers => "HDRS",
        })
    }
}

impl fmt::Display for MailDsn {
    /// The parameters, each with a space before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ret.iter().try_for_each(|ret| write!(f, " RET={ret}"))?;
        self.envid.iter().try_for_each(|envid| write!(f, " ENVID={envid}"))
    }
}

impl fmt::Display for RcptDsn {
    /// The parameters, each with a space before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notify.iter().try_for_each(|notify| write!(f, " NOTIFY={notify}"))?;
        self.orcpt.iter().try_for_each(|orcpt| write!(f, " ORCPT={orcpt}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notify_survives_its_text() {
        for bits in 0..8 {
            let notify = Notify { success: bits & 1 != 0, failure: bits & 2 != 0, delay: bits & 4 != 0 };
            assert_eq!(notify.to_string().parse(), Ok(notify), "{notify}");
        }
        for text in ["", "NEVER,DELAY", "SUCCESS,SUCCESS", "SUCCESS,", "MAYBE", "SUCCESS, DELAY"] {
            assert_eq!(text.parse::<Notify>(), Err(DsnError), "{text}");
        }
    }

    #[test]
    fn xtext_stands_for_something_printable() {
        for (text, meaning) in [("QQ314159", "QQ314159"), ("a+2Bb+3D", "a+b="), ("+20x", " x")] {
            assert_eq!(text.parse::<Envid>().map(|envid| envid.decoded()).as_deref(), Ok(meaning));
        }
        // The last two would end the line of a report, and the text of one.
        for text in ["", "a=b", "a+2", "a+2b", "a b", "grün", "+", "a+0D+0ATo: x", "a+00"] {
            assert_eq!(text.parse::<Envid>(), Err(DsnError), "{text}");
        }
        let long = "x".repeat(ENVID_OCTETS);
        assert!(long.parse::<Envid>().is_ok() && format!("{long}x").parse::<Envid>().is_err());
        assert!(is_xtext("<>") && is_xtext("+0A") && !is_xtext(""));
    }

    #[test]
    fn original_recipients_have_a_type() {
        let orcpt: Orcpt = "rfc822;Bob+2Bnews@b.example".parse().unwrap();
        assert_eq!(orcpt.decoded(), "rfc822; Bob+news@b.example");
        for text in ["bob@b.example", ";bob@b.example", "rfc822;", "rfc 822;x", "rfc822;a+0Ab"] {
            assert_eq!(text.parse::<Orcpt>(), Err(DsnError), "{text}");
        }
        let parameters = RcptDsn { notify: Some(Notify::default()), orcpt: Some(orcpt) };
        assert_eq!(parameters.to_string(), " NOTIFY=NEVER ORCPT=rfc822;Bob+2Bnews@b.example");
        assert!(parameters.is_given() && !RcptDsn::default().is_given() && !MailDsn::default().is_given());
    }
}
