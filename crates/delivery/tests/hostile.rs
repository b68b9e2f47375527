//! Hosts that follow a script to the octet: what comes too slowly, too long, too early, in pieces or not at all.

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Scenario, switches};
use delivery::{Outcome, Report, Timeouts};
use rustls::crypto::aws_lc_rs;
use testkit::{Issue, Lab};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a host does, one after the other; then it hangs up.
#[derive(Clone, Debug)]
enum Act {
    /// Says this, in one segment.
    Say(&'static str),
    /// Waits for a line, or for whatever comes.
    Hear,
    /// Waits for a while, so that what follows is a segment of its own.
    Pause,
    /// Says this again and again, without end.
    Forever(&'static str),
    /// Says this an octet at a time, with a pause after each.
    Drip(&'static str),
    /// Shakes hands as it should; what follows is inside.
    Tls,
    /// Reads to the final dot.
    Content,
    /// Says and reads nothing more, and stays.
    Stall,
}
use Act::{Content, Drip, Forever, Hear, Pause, Say, Stall, Tls};

const PLAIN: &str = "250 odd.test\r\n";
const OFFERS: &str = "250-odd.test\r\n250 STARTTLS\r\n";

/// Whatever a connection heard in plaintext, and within TLS.
type Heard = Arc<Mutex<Vec<(String, String)>>>;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A host at which every connection plays the next of these scripts, the last one for all that come later.
struct Scripted {
    lab: Lab,
    heard: Heard,
    listener: tokio::task::JoinHandle<()>,
}

impl Scripted {
    async fn start(scripts: Vec<Vec<Act>>) -> Scripted {
        let lab = Lab::empty().await.unwrap();
        let (address, listener) = listen(lab.smtp_port()).await;
        lab.dns().update(|zone| zone.mx("d.test", 10, "mx.d.test").address("mx.d.test", address.ip()));
        let identity = lab.ca().issue(&Issue::new("mx.d.test")).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key.clone_key())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let heard = Heard::default();
        let noted = heard.clone();
        let listener = tokio::spawn(async move {
            let mut scripts = scripts.into_iter().peekable();
            let mut script = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                script = scripts.next().unwrap_or(script);
                let (script, acceptor, noted) = (script.clone(), acceptor.clone(), noted.clone());
                let index = {
                    let mut noted = noted.lock().unwrap();
                    noted.push(Default::default());
                    noted.len() - 1
                };
                tokio::spawn(play(stream, script, acceptor, noted, index));
            }
        });
        Scripted { lab, heard, listener }
    }

    /// What the connections heard so far.
    fn heard(&self) -> Vec<(String, String)> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn listen(port: u16) -> (SocketAddr, TcpListener) {
    for last in 77..=99 {
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
        if let Ok(listener) = TcpListener::bind(address).await {
            return (address, listener);
        }
    }
    panic!("no address is free");
}

async fn play(stream: TcpStream, script: Vec<Act>, acceptor: TlsAcceptor, heard: Heard, index: usize) {
    stream.set_nodelay(true).unwrap();
    let mut stream: Box<dyn Stream> = Box::new(stream);
    let mut encrypted = false;
    for act in script {
        let said = match act {
            Tls => match acceptor.accept(stream).await {
                Ok(inside) => {
                    (stream, encrypted) = (Box::new(inside), true);
                    continue;
                }
                Err(_) => return,
            },
            Say(text) => stream.write_all(text.as_bytes()).await,
            Forever(text) => loop {
                if let Err(error) = stream.write_all(text.repeat(100).as_bytes()).await {
                    break Err(error);
                }
            },
            Drip(text) => drip(&mut stream, text).await,
            Pause => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(())
            }
            Hear => hear(&mut stream, b"\n", encrypted, &heard, index).await,
            Content => hear(&mut stream, b"\r\n.\r\n", encrypted, &heard, index).await,
            Stall => return tokio::time::sleep(Duration::from_secs(60)).await,
        };
        if said.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
    // The client's last words are read, or closing would reset the connection under what was said.
    let rest = async { while hear(&mut stream, b"\n", encrypted, &heard, index).await.is_ok() {} };
    let _ = stream_end(rest).await;
}

/// The farewell of a host that does not wait for long.
async fn stream_end(rest: impl Future<Output = ()>) {
    let _ = tokio::time::timeout(Duration::from_millis(300), rest).await;
}

async fn drip(stream: &mut Box<dyn Stream>, text: &str) -> std::io::Result<()> {
    for octet in text.bytes() {
        stream.write_all(&[octet]).await?;
        stream.flush().await?;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    Ok(())
}

/// Reads until what came ends like this.
async fn hear(
    stream: &mut Box<dyn Stream>,
    end: &[u8],
    encrypted: bool,
    heard: &Heard,
    index: usize,
) -> std::io::Result<()> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while !all.ends_with(end) {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        all.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        let mut heard = heard.lock().unwrap();
        let side = if encrypted { &mut heard[index].1 } else { &mut heard[index].0 };
        side.push_str(&text);
    }
    Ok(())
}

/// Timeouts short enough that a test may wait for all of them.
fn impatient() -> Timeouts {
    let short = Duration::from_millis(2500);
    Timeouts { attempt: Duration::from_secs(20), ..Timeouts::default().capped(short) }
}

async fn deliver(host: &Scripted, scenario: Scenario) -> Report {
    let begun = Instant::now();
    let report = scenario.attempt(&host.lab).await;
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    report
}

/// How it ended, in a word, and why.
fn end(report: &Report) -> (&'static str, Option<&'static str>) {
    match &report.recipients[0].outcome {
        Outcome::Delivered(_) => ("delivered", None),
        Outcome::Deferred(problem) => ("deferred", problem.reason),
        Outcome::Failed(problem) => ("failed", problem.reason),
    }
}

fn script(parts: &[&[Act]]) -> Vec<Act> {
    parts.concat()
}

/// A host that wants nothing.
fn gone() -> Vec<Act> {
    vec![Say("554 gone\r\n"), Hear]
}

/// What a good host says until the answer to DATA, without PIPELINING.
fn to_data() -> Vec<Act> {
    let ok = [Hear, Say("250 ok\r\n")];
    script(&[&[Say("220 hi\r\n"), Hear, Say(PLAIN)], &ok, &ok, &[Hear]])
}

#[tokio::test]
async fn what_has_no_end_is_not_listened_to() {
    let line = "250-and so on\r\n";
    let cases: Vec<(&str, Vec<Act>)> = vec![
        (
            "a banner that drips",
            vec![Drip("220-I am the host and I have time, and so have you, and more than enough of it\r\n"), Stall],
        ),
        ("no banner", vec![Stall]),
        ("a banner of endless lines", vec![Forever("220-hi\r\n")]),
        ("a banner of one endless line", vec![Forever("220 hi")]),
        ("EHLO of endless lines", vec![Say("220 hi\r\n"), Hear, Forever(line)]),
        ("EHLO of one endless line", vec![Say("220 hi\r\n"), Hear, Forever("250-x")]),
        ("EHLO that drips", vec![Say("220 hi\r\n"), Hear, Drip("250-odd.test\r\n250-SIZE 1000000000000\r\n"), Stall]),
        ("empty lines", vec![Forever("\r\n")]),
        ("zeros", vec![Forever("\0\0\0\0")]),
        (
            "endless lines within TLS",
            vec![Say("220 hi\r\n"), Hear, Say(OFFERS), Hear, Say("220 go\r\n"), Tls, Hear, Forever(line)],
        ),
    ];
    let case = |(name, script): (&'static str, Vec<Act>)| async move {
        for policy in [switches(false, false), switches(true, true)] {
            // Who falls back to plaintext is told to go.
            let host = Scripted::start(vec![script.clone(), gone()]).await;
            let report = deliver(&host, Scenario { policy, timeouts: impatient(), ..Scenario::default() }).await;
            assert_eq!(end(&report).0, "deferred", "{name}: {:?}", report.steps);
            let detail = &report.steps[0].detail;
            assert!(detail.len() < 500, "{name}: {detail}");
            for (plain, inside) in host.heard() {
                assert!(!plain.contains("MAIL") && !inside.contains("MAIL"), "{name}");
            }
        }
    };
    common::all(cases.into_iter().map(|told| (told.0.to_owned(), case(told))).collect()).await;
}

/// Whatever a host says between its 220 and the handshake, or before: nothing of the message follows on that connection,
/// and no handshake begins after what was seen in time.
#[tokio::test]
async fn what_is_said_too_early_ends_the_connection() {
    let hi = [Say("220 hi\r\n"), Hear];
    let cases: Vec<(&str, Vec<Act>, &[&str])> = vec![
        (
            "in the same segment",
            script(&[&hi, &[Say(OFFERS), Hear, Say("220 go\r\n250 injected\r\n"), Tls]]),
            &["starttls-injected-data"],
        ),
        // What ends no line is as bad: it would stand before the first answer inside.
        (
            "half a line",
            script(&[&hi, &[Say(OFFERS), Hear, Say("220 go\r\n250 inj"), Tls]]),
            &["starttls-injected-data"],
        ),
        (
            "half a reply",
            script(&[&hi, &[Say(OFFERS), Hear, Say("220 go\r\n250-injected\r\n"), Tls]]),
            &["starttls-injected-data"],
        ),
        ("one octet", script(&[&hi, &[Say(OFFERS), Hear, Say("220 go\r\n\n"), Tls]]), &["starttls-injected-data"]),
        (
            "the 220 in two segments",
            script(&[&hi, &[Say(OFFERS), Hear, Say("220 "), Pause, Say("go\r\n250 injected\r\n"), Tls]]),
            &["starttls-injected-data"],
        ),
        (
            "a second 220",
            script(&[&hi, &[Say(OFFERS), Hear, Say("220 go\r\n220 go\r\n"), Tls]]),
            &["starttls-injected-data"],
        ),
        // In a segment of its own it stands where the host's hello should be.
        (
            "in the next segment",
            script(&[&hi, &[Say(OFFERS), Hear, Say("220 go\r\n"), Pause, Say("250 injected\r\n"), Tls]]),
            &["handshake-failed", "starttls-injected-data"],
        ),
        (
            "the 220 before it was asked for",
            script(&[&hi, &[Say("250-odd.test\r\n250 STARTTLS\r\n220 go\r\n"), Hear, Tls]]),
            &["starttls-no-reply"],
        ),
        (
            "a refusal and a 220",
            script(&[&hi, &[Say(OFFERS), Hear, Say("454 no\r\n220 go\r\n"), Stall]]),
            &["starttls-refused"],
        ),
        (
            "multi-line with another code",
            script(&[&hi, &[Say(OFFERS), Hear, Say("220-go\r\n250 ok\r\n"), Stall]]),
            &["starttls-no-reply"],
        ),
        (
            "no reply at all",
            script(&[&hi, &[Say(OFFERS), Hear, Say("\x16\x03\x03\x00\x02\x02\x28\r\n"), Stall]]),
            &["starttls-no-reply"],
        ),
        ("EOF in the 220", script(&[&hi, &[Say(OFFERS), Hear, Say("220-go\r\n")]]), &["starttls-no-reply"]),
    ];
    let case = |(name, first, codes): (&'static str, Vec<Act>, &'static [&'static str])| async move {
        for policy in [switches(true, false), switches(true, true), switches(false, false)] {
            let host = Scripted::start(vec![first.clone(), gone()]).await;
            let report = deliver(&host, Scenario { policy, timeouts: impatient(), ..Scenario::default() }).await;
            let context = format!("{name} {policy:?}: {:?}", report.steps);
            assert_eq!(end(&report).0, "deferred", "{context}");
            let heard = host.heard();
            for (plain, inside) in &heard {
                assert!(!plain.contains("MAIL") && inside.is_empty(), "{context} {plain:?} {inside:?}");
            }
            if policy.require_tls() {
                assert_eq!(report.steps[0].result, "left", "{context}");
                assert!(codes.contains(&report.steps[0].reason.unwrap()), "{context}");
                assert_eq!(heard.len(), 1, "{context}");
            } else if codes != ["starttls-refused"] {
                // In plaintext on another connection, which this host does not want either.
                assert_eq!((report.steps[0].result, heard.len()), ("plaintext-retry", 2), "{context}");
            }
        }
    };
    let named = |told: (&'static str, Vec<Act>, &'static [&'static str])| (told.0.to_owned(), case(told));
    common::all(cases.into_iter().map(named).collect()).await;
}

/// The same in the open: a reply that nobody asked for is nobody's answer, least of all the one that takes the message.
#[tokio::test]
async fn an_early_answer_answers_nothing() {
    let ok = [Hear, Say("250 ok\r\n")];
    let cases: Vec<(&str, Vec<Act>)> = vec![
        ("behind the greeting", script(&[&[Say("220 hi\r\n250 ok\r\n"), Stall]])),
        (
            "behind EHLO",
            script(&[&[
                Say("220 hi\r\n"),
                Hear,
                Say("250 odd.test\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"),
                Stall,
            ]]),
        ),
        (
            "behind MAIL",
            script(&[&[
                Say("220 hi\r\n"),
                Hear,
                Say(PLAIN),
                Hear,
                Say("250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"),
                Stall,
            ]]),
        ),
        (
            "behind RCPT",
            script(&[&[Say("220 hi\r\n"), Hear, Say(PLAIN)], &ok, &[Hear, Say("250 ok\r\n354 go\r\n"), Stall]]),
        ),
        ("behind 354", script(&[&to_data(), &[Say("354 go\r\n250 taken\r\n"), Stall]])),
        (
            "behind 354, pipelined",
            vec![
                Say("220 hi\r\n"),
                Hear,
                Say("250-odd.test\r\n250 PIPELINING\r\n"),
                Hear,
                Say("250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"),
                Stall,
            ],
        ),
    ];
    let case = |(name, script): (&'static str, Vec<Act>)| async move {
        let host = Scripted::start(vec![script]).await;
        let report = deliver(&host, Scenario { timeouts: impatient(), ..Scenario::default() }).await;
        assert_eq!(end(&report), ("deferred", Some("connection-lost")), "{name}: {:?}", report.steps);
        assert!(!host.heard()[0].0.contains("Subject"), "{name}: {:?}", host.heard());
    };
    common::all(cases.into_iter().map(|told| (told.0.to_owned(), case(told))).collect()).await;
}

/// The final answer that does not come whole: the host may have taken the message, so no other gets it in this attempt.
#[tokio::test]
async fn a_final_answer_in_pieces_is_none() {
    let cases: Vec<(&str, Vec<Act>)> = vec![
        ("EOF", vec![Content]),
        ("half a line", vec![Content, Say("250 tak")]),
        ("half a reply", vec![Content, Say("250-taken\r\n")]),
        ("no reply", vec![Content, Say("OK\r\n")]),
        ("drips", vec![Content, Drip("250 taken, and I shall tell you more about it in a moment, wait for it"), Stall]),
        ("endless", vec![Content, Forever("250-taken\r\n")]),
        ("another code at its end", vec![Content, Say("250-taken\r\n550 no\r\n"), Stall]),
    ];
    let inside = [Say("220 hi\r\n"), Hear, Say(OFFERS), Hear, Say("220 go\r\n"), Tls];
    let case = |(name, last): (&'static str, Vec<Act>), inside: Vec<Act>, encrypted: bool| async move {
        let mut acts = to_data();
        // Behind the handshake there is no second greeting.
        if encrypted {
            acts = script(&[&inside, &acts[1..]]);
        }
        let host = Scripted::start(vec![script(&[&acts, &[Say("354 go\r\n")], &last])]).await;
        host.lab.dns().update(|zone| {
            let zone = zone.mx("d.test", 20, "b.d.test");
            let first: Vec<Ipv4Addr> = (77..=99).map(|last| Ipv4Addr::new(127, 0, 0, last)).collect();
            first.into_iter().fold(zone, |zone, address| zone.a("b.d.test", address))
        });
        let report = deliver(&host, Scenario { timeouts: impatient(), ..Scenario::default() }).await;
        assert_eq!(end(&report), ("deferred", Some("connection-lost")), "{name} {encrypted}: {:?}", report.steps);
        assert_eq!((report.steps.len(), host.heard().len()), (1, 1), "{name} {encrypted}: {:?}", report.steps);
        let (plain, within) = &host.heard()[0];
        assert_eq!((plain.contains("Subject"), within.contains("Subject")), (!encrypted, encrypted), "{name}");
    };
    let both = cases.into_iter().flat_map(|told| [(told.clone(), false), (told, true)]);
    let named =
        both.map(|(told, encrypted)| (format!("{}, TLS: {encrypted}", told.0), case(told, inside.to_vec(), encrypted)));
    common::all(named.collect()).await;
}

#[tokio::test]
async fn a_host_that_reads_no_content_is_given_up() {
    let host = Scripted::start(vec![script(&[&to_data(), &[Say("354 go\r\n"), Stall]])]).await;
    // More than all buffers on the way hold.
    let content = "a line\r\n".repeat(4_000_000).into_bytes();
    let report = deliver(&host, Scenario { timeouts: impatient(), content, ..Scenario::default() }).await;
    assert_eq!(end(&report), ("deferred", Some("connection-lost")), "{:?}", report.steps);
}

/// Odd and in order.
#[tokio::test]
async fn replies_in_pieces_and_in_several_lines_are_replies() {
    let ok = [Hear, Say("250-o"), Pause, Say("k\r\n250"), Pause, Say(" ok\n")];
    let inside = script(&[
        &[Hear, Say("250-odd.test\r\n250 STARTTLS\r\n")],
        &ok,
        &ok,
        &[Hear, Say("354-go\r\n354 on\r\n"), Content],
    ]);
    let starts: [&[Act]; 3] = [
        &[Say("220-go\r\n220-on\r\n220 now\r\n")],
        &[Say("22"), Pause, Say("0 go\r"), Pause, Say("\n")],
        &[Say("220\r\n")],
    ];
    for start in starts {
        let before = [Say("220-hi\r\n220 there\r\n"), Hear, Drip("250-x\r\n250 STARTTLS\r\n"), Hear];
        let acts = script(&[&before, start, &[Tls], &inside, &[Drip("250 ok\r\n"), Hear, Say("221 bye\r\n")]]);
        let host = Scripted::start(vec![acts]).await;
        let timeouts = Timeouts { attempt: common::PATIENCE, ..Timeouts::default() };
        let report = deliver(&host, Scenario { policy: switches(true, false), timeouts, ..Scenario::default() }).await;
        assert_eq!(end(&report), ("delivered", None), "{:?}", report.steps);
        // STARTTLS, which is offered inside too, was said once.
        let (plain, within) = &host.heard()[0];
        assert!(plain.ends_with("STARTTLS\r\n") && !within.contains("STARTTLS") && within.contains("Subject"));
    }
}
