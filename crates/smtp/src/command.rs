//! The commands that a client sends (RFC 5321 §4.1.1), each as the exact line that goes out.

use std::fmt;

use crate::dsn::{MailDsn, RcptDsn};
use crate::{Address, ReturnPath};

/// A command line. `Display` writes it without CRLF; [`Command::to_wire`] with it.
///
/// No value held here can contain CR or LF: addresses are parsed, numbers are numbers, and names come from our own
/// configuration, checked there. So a command is always one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// EHLO with our name (RFC 5321 §4.1.1.1).
    Ehlo(&'a str),
    /// HELO with our name, for hosts that do not know EHLO.
    Helo(&'a str),
    /// STARTTLS (RFC 3207 §4).
    StartTls,
    /// AUTH PLAIN with its initial response in base64 (RFC 4954 §4, RFC 4616).
    AuthPlain(&'a str),
    /// MAIL FROM with its parameters.
    Mail {
        /// The reverse-path.
        return_path: &'a ReturnPath,
        /// SIZE=, in octets (RFC 1870 §6).
        size: Option<usize>,
        /// BODY=8BITMIME (RFC 6152 §3).
        eight_bit: bool,
        /// SMTPUTF8 (RFC 6531 §3.4).
        smtputf8: bool,
        /// REQUIRETLS (RFC 8689 §4.1).
        requiretls: bool,
        /// RET= and ENVID= (RFC 3461).
        dsn: &'a MailDsn,
    },
    /// RCPT TO with its parameters.
    Rcpt {
        /// The forward-path.
        address: &'a Address,
        /// NOTIFY= and ORCPT= (RFC 3461).
        dsn: &'a RcptDsn,
    },
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// QUIT.
    Quit,
}

impl Command<'_> {
    /// The line as it goes over the wire, CRLF included.
    pub fn to_wire(&self) -> String {
        format!("{self}\r\n")
    }
}

impl fmt::Display for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Ehlo(name) => write!(f, "EHLO {name}"),
            Command::Helo(name) => write!(f, "HELO {name}"),
            Command::StartTls => f.write_str("STARTTLS"),
            Command::AuthPlain(initial_response) => write!(f, "AUTH PLAIN {initial_response}"),
            Command::Mail { return_path, size, eight_bit, smtputf8, requiretls, dsn } => {
                write!(f, "MAIL FROM:<{return_path}>")?;
                if let Some(octets) = size {
                    write!(f, " SIZE={octets}")?;
                }
                if *eight_bit {
                    f.write_str(" BODY=8BITMIME")?;
                }
                if *smtputf8 {
                    f.write_str(" SMTPUTF8")?;
                }
                if *requiretls {
                    f.write_str(" REQUIRETLS")?;
                }
                dsn.fmt(f)
            }
            Command::Rcpt { address, dsn } => write!(f, "RCPT TO:<{address}>{dsn}"),
            Command::Data => f.write_str("DATA"),
            Command::Rset => f.write_str("RSET"),
            Command::Quit => f.write_str("QUIT"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsn::{Notify, Ret};

    #[test]
    fn commands_are_written_as_the_rfc_spells_them() {
        let bob: Address = "bob@example.com".parse().unwrap();
        let from = ReturnPath::Address(bob.clone());
        let none = MailDsn::default();
        let mail = |size, eight_bit, smtputf8, requiretls| {
            Command::Mail { return_path: &from, size, eight_bit, smtputf8, requiretls, dsn: &none }.to_string()
        };
        assert_eq!(mail(None, false, false, false), "MAIL FROM:<bob@example.com>");
        assert_eq!(
            mail(Some(12), true, true, true),
            "MAIL FROM:<bob@example.com> SIZE=12 BODY=8BITMIME SMTPUTF8 REQUIRETLS"
        );
        let null = Command::Mail {
            return_path: &ReturnPath::Null,
            size: None,
            eight_bit: false,
            smtputf8: false,
            requiretls: false,
            dsn: &MailDsn { ret: Some(Ret::Full), envid: Some("QQ+2B1".parse().unwrap()) },
        };
        assert_eq!(null.to_wire(), "MAIL FROM:<> RET=FULL ENVID=QQ+2B1\r\n");
        let rcpt = |dsn: RcptDsn| Command::Rcpt { address: &bob, dsn: &dsn }.to_wire();
        assert_eq!(rcpt(RcptDsn::default()), "RCPT TO:<bob@example.com>\r\n");
        let never = RcptDsn { notify: Some(Notify::default()), orcpt: None };
        assert_eq!(rcpt(never), "RCPT TO:<bob@example.com> NOTIFY=NEVER\r\n");
        assert_eq!(Command::Ehlo("mail.example.com").to_wire(), "EHLO mail.example.com\r\n");
    }
}
