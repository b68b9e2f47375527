use super::*;
use crate::dsn::{Notify, Ret};

fn parse(line: &str) -> Result<Request, RequestError> {
    Request::parse(line.as_bytes())
}

fn mail_of(line: &str) -> Mail {
    match parse(line) {
        Ok(Request::Mail(mail)) => mail,
        other => panic!("{line}: {other:?}"),
    }
}

fn rcpt_of(line: &str) -> Rcpt {
    match parse(line) {
        Ok(Request::Rcpt(rcpt)) => rcpt,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn commands_know_no_case() {
    let auth = |initial: Option<&str>| Request::Auth {
        mechanism: "PLAIN".to_owned(),
        initial_response: initial.map(str::to_owned),
    };
    for (line, request) in [
        ("ehlo client.example", Request::Ehlo("client.example".to_owned())),
        ("HELO [192.0.2.1]", Request::Helo("[192.0.2.1]".to_owned())),
        ("StartTls", Request::StartTls),
        ("AUTH plain", auth(None)),
        ("AUTH PLAIN =", auth(Some(""))),
        ("AUTH PLAIN AGEAYg==", auth(Some("AGEAYg=="))),
        ("data", Request::Data),
        ("BDAT 1000", Request::Bdat { octets: 1000, last: false }),
        ("BDAT 0 last", Request::Bdat { octets: 0, last: true }),
        ("RSET ", Request::Rset),
        ("NOOP whatever", Request::Noop),
        ("VRFY a", Request::Vrfy),
        ("quit", Request::Quit),
    ] {
        assert_eq!(parse(line), Ok(request), "{line}");
    }
}

#[test]
fn paths_are_read_and_source_routes_dropped() {
    for (line, path) in [
        ("MAIL FROM:<>", ""),
        ("mail from: <a@example.com>", "a@example.com"),
        ("MAIL FROM:<\"a>b\"@example.com>", "\"a>b\"@example.com"),
        ("MAIL FROM:<@one,@two:a@example.com>", "a@example.com"),
    ] {
        assert_eq!(mail_of(line).return_path.to_string(), path, "{line}");
    }
    assert_eq!(rcpt_of("RCPT TO:<a@Example.Com>").address.to_string(), "a@example.com");
    assert!(!rcpt_of("RCPT TO:<grün@example.com>").is_ascii);
}

#[test]
fn parameters_are_read() {
    let mail =
        mail_of("MAIL FROM:<a@example.com> SIZE=12 body=8bitmime SMTPUTF8 REQUIRETLS AUTH=<> RET=hdrs ENVID=a+2Bb");
    assert_eq!((mail.size, mail.smtputf8, mail.requiretls), (Some(12), true, true));
    assert_eq!(mail.dsn, MailDsn { ret: Some(Ret::Headers), envid: Some("a+2Bb".parse().unwrap()) });
    assert!(mail.dsn.is_given() && !mail_of("MAIL FROM:<> BODY=7BIT").dsn.is_given());
    assert!(mail_of("MAIL FROM:<grün@example.com> SMTPUTF8").smtputf8);

    let rcpt = rcpt_of("RCPT TO:<a@example.com> NOTIFY=SUCCESS,delay ORCPT=rfc822;a@example.com");
    assert_eq!(rcpt.dsn.notify, Some(Notify { success: true, failure: false, delay: true }));
    assert_eq!(rcpt.dsn.orcpt.as_ref().map(ToString::to_string).as_deref(), Some("rfc822;a@example.com"));
    assert_eq!(rcpt_of("RCPT TO:<a@example.com> NOTIFY=NEVER").dsn.notify, Some(Notify::default()));
    assert!(rcpt.dsn.is_given() && !rcpt_of("RCPT TO:<a@example.com>").dsn.is_given());
}

#[test]
fn what_is_wrong_is_told_with_its_code() {
    for (line, reply) in [
        ("", "500 5.5.1 Command not recognized"),
        ("GET / HTTP/1.1", "500 5.5.1 Command not recognized"),
        ("NOOP \0", "500 5.5.2 The line has characters that no command has"),
        ("MAIL FROM:<a@example.com>\rRCPT TO:<b@example.com>", "500 5.5.2 The line has characters that no command has"),
        ("EHLO", "501 5.5.4 Syntax: EHLO name"),
        ("EHLO two words", "501 5.5.4 Syntax: EHLO name"),
        ("EHLO grün", "501 5.5.4 Syntax: EHLO name"),
        ("STARTTLS now", "501 5.5.4 Syntax: STARTTLS"),
        ("AUTH", "501 5.5.4 Syntax: AUTH mechanism [initial-response]"),
        ("AUTH PLAIN a b", "501 5.5.4 Syntax: AUTH mechanism [initial-response]"),
        ("BDAT", "501 5.5.4 Syntax: BDAT octets [LAST]"),
        ("BDAT -1", "501 5.5.4 Syntax: BDAT octets [LAST]"),
        ("BDAT 1 LEAST", "501 5.5.4 Syntax: BDAT octets [LAST]"),
        ("BDAT 99999999999999999999", "501 5.5.4 Syntax: BDAT octets [LAST]"),
        ("MAIL a@example.com", "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]"),
        ("MAIL FROM:a@example.com", "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]"),
        ("MAIL FROM:<a@example.com", "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]"),
        ("MAIL FROM:<a@example.com>SIZE=1", "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]"),
        ("RCPT FROM:<a@example.com>", "501 5.5.4 Syntax: RCPT TO:<address> [parameters]"),
        ("MAIL FROM:<a>", "501 5.1.7 The sender's address is not valid: there is no '@'"),
        ("RCPT TO:<>", "501 5.1.3 The recipient's address is not valid: there is no '@'"),
        (
            "RCPT TO:<a@[192.0.2.1]>",
            "501 5.1.3 The recipient's address is not valid: address literals are not supported",
        ),
        ("MAIL FROM:<grün@example.com>", "553 5.6.7 An address beyond ASCII needs the parameter SMTPUTF8"),
        ("MAIL FROM:<> SIZE=x", "501 5.5.4 Parameter 'SIZE=x' is not valid"),
        ("MAIL FROM:<> SIZE=1 SIZE=1", "501 5.5.4 Parameter 'SIZE=1' is not valid"),
        ("MAIL FROM:<> SMTPUTF8 SMTPUTF8", "501 5.5.4 Parameter 'SMTPUTF8' is not valid"),
        ("MAIL FROM:<> REQUIRETLS=yes", "501 5.5.4 Parameter 'REQUIRETLS=yes' is not valid"),
        ("MAIL FROM:<> RET=SOME", "501 5.5.4 Parameter 'RET=SOME' is not valid"),
        ("MAIL FROM:<> ENVID=a+2", "501 5.5.4 Parameter 'ENVID=a+2' is not valid"),
        ("MAIL FROM:<> BODY=BINARYMIME", "555 5.5.4 Parameter 'BODY=BINARYMIME' is not supported"),
        ("MAIL FROM:<> X-NEW", "555 5.5.4 Parameter 'X-NEW' is not supported"),
        ("RCPT TO:<a@example.com> NOTIFY=NEVER,SUCCESS", "501 5.5.4 Parameter 'NOTIFY=NEVER,SUCCESS' is not valid"),
        ("RCPT TO:<a@example.com> ORCPT=a@example.com", "501 5.5.4 Parameter 'ORCPT=a@example.com' is not valid"),
        ("RCPT TO:<a@example.com> SIZE=1", "555 5.5.4 Parameter 'SIZE=1' is not supported"),
    ] {
        assert_eq!(parse(line).unwrap_err().reply().to_string(), reply, "{line:?}");
    }
    assert_eq!(Request::parse(b"NOOP \xff"), Err(RequestError::Characters));
}
