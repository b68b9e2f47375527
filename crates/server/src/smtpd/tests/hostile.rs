//! What a client says once it is logged in, the codes that it gets, and how many messages are kept.

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::End;
use super::super::limits::{FAULTS, IDLE_COMMANDS, Times};
use super::super::wire::Wire;
use super::{OCTETS, World, codes};

/// A sender and a recipient.
const BEGIN: &str = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n";

async fn check(cases: impl IntoIterator<Item = (String, Vec<&str>, usize)>) {
    let world = World::start().await;
    for (said, expected, kept) in cases {
        let before = world.messages().len();
        let mut client = world.log_in().await;
        client.say(said.as_bytes()).await;
        let _ = client.0.get_mut().shutdown().await;
        let replies = client.rest().await;
        let short: String = said.chars().take(200).collect();
        assert_eq!(codes(&replies), expected, "{short:?}: {replies:?}");
        assert_eq!(world.messages().len() - before, kept, "{short:?}");
    }
}

#[tokio::test]
async fn commands() {
    let long = "x".repeat(5000);
    let cases = [
        ("NOOP\nNOOP\r\n".to_owned(), vec!["500 5.5.2"], 0),
        ("NOOP\r\n\nQUIT\r\n".to_owned(), vec!["250 2.0.0", "500 5.5.2"], 0),
        (format!("NOOP {long}\r\nQUIT\r\n"), vec!["500 5.5.2"], 0),
        (long.clone(), vec!["500 5.5.2"], 0),
        ("NOOP \0\r\nRSET\r\nQUIT\r\n".to_owned(), vec!["500 5.5.2", "250 2.0.0", "221 2.0.0"], 0),
        ("NOOP \rRSET\r\nQUIT\r\n".to_owned(), vec!["500 5.5.2", "221 2.0.0"], 0),
        ("POST / HTTP/1.1\r\nHost: x\r\nMAIL FROM:<a@example.com>\r\n".to_owned(), vec!["421 4.7.0"], 0),
        (
            format!("{BEGIN}RSET\r\nDATA\r\nQUIT\r\n"),
            vec!["250 2.1.0", "250 2.1.5", "250 2.0.0", "503 5.5.1", "221 2.0.0"],
            0,
        ),
        (format!("{BEGIN}MAIL FROM:<>\r\nQUIT\r\n"), vec!["250 2.1.0", "250 2.1.5", "503 5.5.1", "221 2.0.0"], 0),
        ("MAIL FROM:<> SIZE=100001\r\nQUIT\r\n".to_owned(), vec!["552 5.3.4", "221 2.0.0"], 0),
        ("MAIL FROM:<> RET=FULL\r\nQUIT\r\n".to_owned(), vec!["555 5.5.4", "221 2.0.0"], 0),
        (
            "MAIL FROM:<>\r\nRCPT TO:<b@example.com> NOTIFY=NEVER\r\nQUIT\r\n".to_owned(),
            vec!["250 2.1.0", "555 5.5.4", "221 2.0.0"],
            0,
        ),
        (
            "MAIL FROM:<>\r\nRCPT TO:<grün@example.com>\r\nQUIT\r\n".to_owned(),
            vec!["250 2.1.0", "553 5.6.7", "221 2.0.0"],
            0,
        ),
        (
            "MAIL FROM:<>\r\nRCPT TO:<unknown@example.com>\r\nDATA\r\nQUIT\r\n".to_owned(),
            vec!["250 2.1.0", "550 5.1.1", "503 5.5.1", "221 2.0.0"],
            0,
        ),
        (
            format!("{BEGIN}RCPT TO:<c@example.com>\r\nRCPT TO:<d@example.com>\r\nRCPT TO:<e@example.com>\r\nQUIT\r\n"),
            vec!["250 2.1.0", "250 2.1.5", "250 2.1.5", "250 2.1.5", "452 4.5.3", "221 2.0.0"],
            0,
        ),
        (
            format!("MAIL FROM:<>\r\n{}", "RCPT TO:<unknown@example.com>\r\n".repeat(13)),
            [vec!["250 2.1.0"], vec!["550 5.1.1"; 12], vec!["421 4.7.0"]].concat(),
            0,
        ),
        (
            "WHAT\r\n".repeat(FAULTS as usize + 5),
            [vec!["500 5.5.1"; FAULTS as usize + 1], vec!["421 4.7.0"]].concat(),
            0,
        ),
        // Recipients of no message are like any other command that leads to none.
        (
            "RCPT TO:<b@example.com>\r\n".repeat(FAULTS as usize + 5),
            [vec!["503 5.5.1"; FAULTS as usize + 1], vec!["421 4.7.0"]].concat(),
            0,
        ),
        (
            format!("MAIL FROM:<>\r\n{}", "RCPT TO:<nobody>\r\n".repeat(13)),
            [vec!["250 2.1.0"], vec!["501 5.1.3"; 12], vec!["421 4.7.0"]].concat(),
            0,
        ),
        // EHLO twice, STARTTLS and AUTH came before; the one too many is answered.
        ("RSET\r\n".repeat(250), [vec!["250 2.0.0"; IDLE_COMMANDS as usize - 3], vec!["421 4.7.0"]].concat(), 0),
    ];
    check(cases).await;
}

#[tokio::test]
async fn messages() {
    let large = "0123456789abcdef\r\n".repeat(OCTETS / 18 + 2);
    let cases = [
        (
            format!("{BEGIN}DATA\r\n{large}.\r\nQUIT\r\n"),
            vec!["250 2.1.0", "250 2.1.5", "354", "552 5.3.4", "221 2.0.0"],
            0,
        ),
        (
            format!("{BEGIN}BDAT 100001\r\n{}BDAT 1 LAST\r\nxQUIT\r\n", &large[..100_001]),
            vec!["250 2.1.0", "250 2.1.5", "552 5.3.4", "552 5.3.4", "221 2.0.0"],
            0,
        ),
        (format!("{BEGIN}BDAT 99999999999\r\nQUIT\r\n"), vec!["250 2.1.0", "250 2.1.5", "552 5.3.4"], 0),
        (format!("{BEGIN}BDAT\r\nRSET\r\n"), vec!["250 2.1.0", "250 2.1.5", "501 5.5.4"], 0),
        ("BDAT 6 LAST\r\nRSET\r\nQUIT\r\n".to_owned(), vec!["503 5.5.1", "221 2.0.0"], 0),
        (
            format!("{BEGIN}BDAT 2\r\na\nBDAT 0 LAST\r\nQUIT\r\n"),
            vec!["250 2.1.0", "250 2.1.5", "250 2.0.0", "550 5.6.0", "221 2.0.0"],
            0,
        ),
        (
            format!("{BEGIN}BDAT 3\r\na\r\nDATA\r\nRCPT TO:<c@example.com>\r\nBDAT 0 LAST\r\nQUIT\r\n"),
            vec!["250 2.1.0", "250 2.1.5", "250 2.0.0", "503 5.5.1", "503 5.5.1", "250 2.0.0", "221 2.0.0"],
            1,
        ),
        // Gone in the middle: nothing is kept.
        (format!("{BEGIN}DATA\r\nSubject: half\r\n\r\n.\r"), vec!["250 2.1.0", "250 2.1.5", "354"], 0),
        (format!("{BEGIN}BDAT 100 LAST\r\nSubject: half\r\n"), vec!["250 2.1.0", "250 2.1.5"], 0),
    ];
    check(cases).await;
}

/// None of these ends the data, and each is refused.
#[tokio::test]
async fn smuggling() {
    let ends = ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n.\r\r\n", "\r\r\n.\n", "\n\n.\r\n"];
    let case = |end| {
        let said = format!("{BEGIN}DATA\r\nfirst\r\n{end}{BEGIN}DATA\r\nsecond\r\n.\r\nQUIT\r\n");
        (said, vec!["250 2.1.0", "250 2.1.5", "354", "550 5.6.0", "221 2.0.0"], 0)
    };
    check(ends.map(case)).await;
}

/// Whoever always has something to say is timed all the same.
#[tokio::test]
async fn a_flood_does_not_outrun_the_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    client.write_all(b"NOOP\r\n").await.unwrap();
    stream.readable().await.unwrap();
    let (_stop, stopped) = watch::channel(false);
    let mut wire = Wire::new(stream, Times::default(), stopped);
    wire.deadline = Instant::now();
    assert!(matches!(wire.line(true).await, Err(End::TimedOut)));
}
