//! The engine on real sockets, with a handler that writes down what it is given.

mod hostile;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use smtp::Reply;
use smtp::request::{Mail, Rcpt};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::certificate::{Certificates, Files};
use super::limits::Times;
use super::listener::{Service, Tls, serve};
use super::{Handler, Terms, Transaction, reply};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest message of the tests.
const OCTETS: usize = 100_000;

/// Keeps messages as texts: sender, recipients, content.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Kept>>>);

type Kept = (String, Vec<String>, Vec<u8>);

impl Handler for Recorder {
    async fn authenticate(&mut self, login: &str, password: &str) -> Result<(), Reply> {
        match (login, password) {
            ("user", "secret") => Ok(()),
            _ => Err(reply(535, 7, 8, "Wrong login or password")),
        }
    }

    async fn mail(&mut self, _: &Mail) -> Result<(), Reply> {
        Ok(())
    }

    async fn rcpt(&mut self, rcpt: &Rcpt) -> Result<(), Reply> {
        let is_known = rcpt.address.local_part() != "unknown";
        if is_known { Ok(()) } else { Err(reply(550, 1, 1, "No such user")) }
    }

    async fn message(&mut self, transaction: Transaction, content: Vec<u8>) -> Reply {
        let recipients = transaction.recipients.iter().map(|rcpt| rcpt.address.to_string()).collect();
        self.0.lock().unwrap().push((transaction.mail.return_path.to_string(), recipients, content));
        reply(250, 0, 0, "Kept")
    }
}

/// A running listener.
struct World {
    address: SocketAddr,
    kept: Recorder,
    files: Files,
    reload: Arc<Notify>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    directory: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl World {
    async fn start() -> World {
        World::start_with(Times::default(), false, Duration::from_secs(20)).await
    }

    async fn start_with(times: Times, implicit: bool, grace: Duration) -> World {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("waxwing-smtpd-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let files = Files::self_signed(&directory, "mail.test").unwrap();
        let certificates = Certificates::load(files.clone()).unwrap();
        let config = certificates.server_config().unwrap();
        let tls = if implicit { Tls::Implicit(config) } else { Tls::StartTls(config) };
        let terms = Terms {
            service: "test",
            host: "mail.test".to_owned(),
            login: true,
            dsn: false,
            message_octets: OCTETS,
            recipients: 3,
            times,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (kept, reload) = (Recorder::default(), Arc::new(Notify::new()));
        tokio::spawn(certificates.keep_fresh(reload.clone(), stopped.clone()));
        let handler = kept.clone();
        let task = tokio::spawn(serve(listener, Service::new(terms), tls, move |_| handler.clone(), stopped, grace));
        World { address, kept, files, reload, stop, task, directory }
    }

    /// A connection whose greeting was read.
    async fn connect(&self) -> Client {
        let mut client = self.connect_silently().await;
        assert_eq!(client.reply().await, "220 mail.test ESMTP");
        client
    }

    async fn connect_silently(&self) -> Client {
        Client(BufReader::new(Box::new(TcpStream::connect(self.address).await.unwrap())))
    }

    /// The same, in TLS after STARTTLS, and after EHLO.
    async fn connect_tls(&self) -> Client {
        let mut client = self.connect().await;
        client.ask("EHLO client.test").await;
        assert_eq!(client.ask("STARTTLS").await, "220 2.0.0 Ready for TLS");
        let mut client = self.handshake(client).await.unwrap();
        let offered = client.ask("EHLO client.test").await;
        assert!(offered.contains("250 AUTH PLAIN LOGIN"), "{offered}");
        client
    }

    async fn handshake(&self, client: Client) -> std::io::Result<Client> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.files.certificate).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("mail.test").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, client.0.into_inner()).await?;
        Ok(Client(BufReader::new(Box::new(stream))))
    }

    /// The same, logged in.
    async fn log_in(&self) -> Client {
        let mut client = self.connect_tls().await;
        // NUL user NUL secret
        assert_eq!(client.ask("AUTH PLAIN AHVzZXIAc2VjcmV0").await, "235 2.7.0 Authentication successful");
        client
    }

    fn messages(&self) -> Vec<Kept> {
        self.kept.0.lock().unwrap().clone()
    }
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

struct Client(BufReader<Box<dyn Socket>>);

impl Client {
    async fn say(&mut self, octets: &[u8]) {
        // Whoever was refused may find the connection closed.
        let _ = self.0.get_mut().write_all(octets).await;
        let _ = self.0.get_mut().flush().await;
    }

    /// A whole reply, its lines joined by LF; empty when the connection has ended.
    async fn reply(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("no reply in time");
            if read.unwrap_or(0) == 0 {
                return lines.join("\n");
            }
            let is_last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line.trim_end_matches("\r\n").to_owned());
            if is_last {
                return lines.join("\n");
            }
        }
    }

    async fn ask(&mut self, line: &str) -> String {
        self.say(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// All replies until the connection ends.
    async fn rest(&mut self) -> Vec<String> {
        let mut replies = Vec::new();
        loop {
            match self.reply().await {
                reply if reply.is_empty() => return replies,
                reply => replies.push(reply),
            }
        }
    }
}

/// The codes of replies, the enhanced ones too.
fn codes(replies: &[String]) -> Vec<String> {
    let code = |reply: &String| match reply.split(' ').nth(1).filter(|word| word.contains('.')) {
        Some(enhanced) => format!("{} {enhanced}", &reply[..3]),
        None => reply[..3].to_owned(),
    };
    replies.iter().map(code).collect()
}

#[tokio::test]
async fn nothing_but_starttls_is_done_without_tls() {
    let world = World::start().await;
    let mut client = world.connect().await;
    let offered = client.ask("EHLO client.test").await;
    assert_eq!(
        offered,
        "250-mail.test\n250-PIPELINING\n250-SIZE 100000\n250-8BITMIME\n250-SMTPUTF8\n250-CHUNKING\n\
         250-ENHANCEDSTATUSCODES\n250 STARTTLS"
    );
    for (line, expected) in [
        ("AUTH PLAIN AHVzZXIAc2VjcmV0", "538 5.7.11 Encryption required: say STARTTLS first"),
        ("MAIL FROM:<a@example.com>", "530 5.7.0 Say STARTTLS first"),
        ("RCPT TO:<a@example.com>", "503 5.5.1 RCPT follows MAIL"),
        ("DATA", "503 5.5.1 DATA follows MAIL and a RCPT that was taken"),
    ] {
        assert_eq!(client.ask(line).await, expected, "{line}");
    }
    let mut client = world.connect_tls().await;
    let offered = client.ask("EHLO client.test").await;
    assert!(offered.contains("REQUIRETLS") && !offered.contains("STARTTLS"), "{offered}");
    for (line, expected) in
        [("STARTTLS", "503 5.5.1 This is TLS"), ("MAIL FROM:<a@example.com>", "530 5.7.0 Authentication required")]
    {
        assert_eq!(client.ask(line).await, expected, "{line}");
    }
    assert_eq!(client.ask("QUIT").await, "221 2.0.0 Bye");
    assert_eq!(client.reply().await, "");
}

/// Whatever somebody on the way puts behind STARTTLS is not read as if it had come over TLS.
#[tokio::test]
async fn commands_behind_starttls_end_the_connection() {
    let world = World::start().await;
    let mut client = world.connect().await;
    client.ask("EHLO client.test").await;
    client.say(b"STARTTLS\r\nEHLO injected.test\r\n").await;
    assert_eq!(client.rest().await, ["554 5.5.1 Nothing may follow STARTTLS before its reply"]);

    // What comes after the reply, but in the clear, is no handshake.
    let mut client = world.connect().await;
    client.ask("EHLO client.test").await;
    assert_eq!(client.ask("STARTTLS").await, "220 2.0.0 Ready for TLS");
    client.say(b"EHLO injected.test\r\nMAIL FROM:<a@example.com>\r\n").await;
    let answer = client.rest().await;
    assert!(answer.iter().all(|line| !line.starts_with("250")), "{answer:?}");

    // What was said in the clear is forgotten.
    let mut client = world.connect().await;
    client.ask("EHLO client.test").await;
    client.ask("STARTTLS").await;
    let mut client = world.handshake(client).await.unwrap();
    assert_eq!(client.ask("AUTH PLAIN AHVzZXIAc2VjcmV0").await, "503 5.5.1 AUTH follows EHLO, and comes before MAIL");
}

#[tokio::test]
async fn logins_in_every_form() {
    let world = World::start().await;
    for (lines, expected) in [
        (&["AUTH PLAIN AHVzZXIAc2VjcmV0"][..], "235 2.7.0"),
        (&["auth plain", "AHVzZXIAc2VjcmV0"], "334 |235 2.7.0"),
        (&["AUTH PLAIN dXNlcgB1c2VyAHNlY3JldA=="], "235 2.7.0"), // user NUL user NUL secret
        (&["AUTH LOGIN", "dXNlcg==", "c2VjcmV0"], "334 VXNlcm5hbWU6|334 UGFzc3dvcmQ6|235 2.7.0"),
        (&["AUTH LOGIN dXNlcg==", "c2VjcmV0"], "334 UGFzc3dvcmQ6|235 2.7.0"),
        (&["AUTH PLAIN", "*"], "334 |501 5.7.0"),
        (&["AUTH LOGIN dXNlcg==", "*"], "334 UGFzc3dvcmQ6|501 5.7.0"),
        (&["AUTH PLAIN ="], "501 5.5.2"),
        (&["AUTH PLAIN !!!"], "501 5.5.2"),
        (&["AUTH PLAIN /w=="], "501 5.5.2"),
        (&["AUTH PLAIN dXNlcgBzZWNyZXQ="], "501 5.5.2"), // user NUL secret
        (&["AUTH PLAIN cm9vdAB1c2VyAHNlY3JldA=="], "535 5.7.8"), // root NUL user NUL secret
        (&["AUTH PLAIN AHVzZXIAd3Jvbmc="], "535 5.7.8"),
        (&["AUTH CRAM-MD5"], "504 5.5.4"),
    ] {
        let mut client = world.connect_tls().await;
        for (line, expected) in lines.iter().zip(expected.split('|')) {
            let answer = client.ask(line).await;
            assert!(answer.starts_with(expected), "{lines:?}: {answer}");
        }
    }
    let mut client = world.log_in().await;
    assert_eq!(client.ask("AUTH PLAIN AHVzZXIAc2VjcmV0").await, "503 5.5.1 You are logged in");
    let mut client = world.connect_tls().await;
    for expected in ["535 5.7.8", "535 5.7.8", "421 4.7.0 Too many wrong passwords"] {
        assert!(client.ask("AUTH PLAIN AHVzZXIAd3Jvbmc=").await.starts_with(expected));
    }
    assert_eq!(client.reply().await, "");
}

#[tokio::test]
async fn a_message_by_data_and_one_by_chunks_in_one_go() {
    let world = World::start().await;
    let mut client = world.log_in().await;
    let (envelope, content) = (
        "MAIL FROM:<a@example.com> SIZE=30\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<b@example.com>\r\n",
        "Subject: x\r\n\r\nbody\r\n",
    );
    client.say(format!("{envelope}DATA\r\n").as_bytes()).await;
    for expected in ["250 2.1.0", "250 2.1.5", "250 2.1.5", "354 "] {
        assert!(client.reply().await.starts_with(expected));
    }
    // The next transaction comes in the same packet as the end of the data.
    client
        .say(
            format!(
                "{content}..dot\r\n.\r\n{envelope}BDAT 12\r\n{}BDAT 8 LAST\r\n{}QUIT\r\n",
                &content[..12],
                &content[12..]
            )
            .as_bytes(),
        )
        .await;
    let replies = client.rest().await;
    let expected = ["250 2.0.0", "250 2.1.0", "250 2.1.5", "250 2.1.5", "250 2.0.0", "250 2.0.0", "221 2.0.0"];
    assert_eq!(codes(&replies), expected, "{replies:?}");
    let from_to =
        |content: String| ("a@example.com".to_owned(), vec!["b@example.com".to_owned()], content.into_bytes());
    assert_eq!(world.messages(), [from_to(format!("{content}.dot\r\n")), from_to(content.to_owned())]);
}

#[tokio::test]
async fn chunks_of_strangers_are_not_read() {
    let world = World::start().await;
    let mut client = world.connect_tls().await;
    client.say(b"BDAT 50000000\r\n").await;
    assert_eq!(client.rest().await, ["530 5.7.0 Authentication required"]);
}

#[tokio::test]
async fn tls_from_the_beginning() {
    let world = World::start_with(Times::default(), true, Duration::ZERO).await;
    let mut client = world.handshake(world.connect_silently().await).await.unwrap();
    assert_eq!(client.reply().await, "220 mail.test ESMTP");
    let offered = client.ask("EHLO client.test").await;
    assert!(offered.ends_with("250 AUTH PLAIN LOGIN") && !offered.contains("STARTTLS"), "{offered}");
    // Who speaks in the clear is not answered in words.
    let mut client = world.connect_silently().await;
    client.say(b"EHLO client.test\r\n").await;
    let answer = client.rest().await;
    assert!(answer.iter().all(|line| !line.starts_with("250")), "{answer:?}");
}

#[tokio::test]
async fn whoever_takes_too_long_is_told() {
    let short = Duration::from_millis(300);
    let idle = World::start_with(Times { command: short, ..Times::default() }, false, Duration::ZERO).await;
    let stranger = World::start_with(Times { until_login: short, ..Times::default() }, false, Duration::ZERO).await;
    for world in [idle, stranger] {
        let mut client = world.connect().await;
        client.ask("EHLO client.test").await;
        assert_eq!(client.rest().await, ["421 4.4.2 It took too long"]);
    }
    let slow = World::start_with(Times { block: short, ..Times::default() }, false, Duration::ZERO).await;
    let mut client = slow.log_in().await;
    client.say(b"MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: half\r\n").await;
    let replies = client.rest().await;
    assert_eq!(codes(&replies), ["250 2.1.0", "250 2.1.5", "354", "421 4.4.2"]);
    assert_eq!(slow.messages().len(), 0);
    let silent = World::start_with(Times { handshake: short, ..Times::default() }, true, Duration::ZERO).await;
    assert_eq!(silent.connect_silently().await.rest().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_stop_lets_messages_be_finished_and_sends_the_others_away() {
    let world = World::start().await;
    let mut idle = world.log_in().await;
    let mut busy = world.log_in().await;
    busy.say(b"MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n").await;
    for _ in 0..3 {
        busy.reply().await;
    }
    world.stop.send_replace(true);
    assert_eq!(idle.rest().await, ["421 4.3.2 The server is stopping"]);
    busy.say(b"Subject: whole\r\n\r\n.\r\n").await;
    assert_eq!(busy.rest().await, ["250 2.0.0 Kept", "421 4.3.2 The server is stopping"]);
    assert_eq!(world.messages().len(), 1);
    assert!(TcpStream::connect(world.address).await.is_err());
    let mut world = world;
    tokio::time::timeout(PATIENCE, &mut world.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_its_grace() {
    let mut world = World::start_with(Times::default(), false, Duration::from_millis(100)).await;
    let mut busy = world.log_in().await;
    busy.say(b"MAIL FROM:<>\r\n").await;
    busy.reply().await;
    world.stop.send_replace(true);
    tokio::time::timeout(PATIENCE, &mut world.task).await.unwrap().unwrap();
    assert_eq!(busy.reply().await, "");
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_a_broken_one_is_not() {
    let world = World::start().await;
    drop(world.log_in().await);
    // Half a file: the old certificate stays.
    let old = std::fs::read(&world.files.certificate).unwrap();
    std::fs::write(&world.files.certificate, &old[..old.len() / 2]).unwrap();
    world.reload.notify_one();
    tokio::time::sleep(Duration::from_millis(200)).await;
    std::fs::write(&world.files.certificate, &old).unwrap();
    drop(world.log_in().await);

    let fresh = world.directory.join("fresh");
    std::fs::create_dir_all(&fresh).unwrap();
    let fresh = Files::self_signed(&fresh, "mail.test").unwrap();
    std::fs::copy(&fresh.certificate, &world.files.certificate).unwrap();
    world.reload.notify_one();
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut client = world.connect().await;
        client.ask("EHLO client.test").await;
        client.ask("STARTTLS").await;
        // The client trusts the new certificate alone.
        if world.handshake(client).await.is_ok() {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "the new certificate is never shown");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn faults_of_certificate_files_are_told() {
    let directory = std::env::temp_dir().join(format!("waxwing-certificates-{}", std::process::id()));
    let (one, other) = (directory.join("one"), directory.join("other"));
    for path in [&one, &other] {
        std::fs::create_dir_all(path).unwrap();
    }
    let one = Files::self_signed(&one, "mail.test").unwrap();
    let other = Files::self_signed(&other, "mail.test").unwrap();
    let empty = directory.join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (certificate, key, expected) in [
        (&one.certificate, &other.key, "do not go together"),
        (&one.certificate, &empty, "has no private key in PEM form"),
        (&empty, &one.key, "has no certificate in PEM form"),
        (&directory.join("nothing"), &one.key, "No such file"),
    ] {
        let files = Files { certificate: certificate.clone(), key: key.clone() };
        let error = Certificates::load(files).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&one.key).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::remove_dir_all(directory).unwrap();
}
