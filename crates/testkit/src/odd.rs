//! Odd hosts: a front that speaks SMTP and hands the connection to another TLS engine after STARTTLS, such as the
//! system's `openssl s_server` with whatever versions, ciphers and certificates a test wants.

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// Longest that `openssl s_server` may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(10);

/// What takes over after the 220 to STARTTLS.
#[derive(Clone, Debug)]
pub enum Engine {
    /// `openssl s_server` with these arguments.
    OpenSsl(Vec<String>),
    /// Our own engine, configured by the test.
    Rustls(Arc<ServerConfig>),
    /// Waits for the client's hello, says these bytes and closes.
    Says(Vec<u8>),
}

/// A host with an odd TLS engine. It takes every message and stops when it is dropped.
#[derive(Debug)]
pub struct OddHost {
    sessions: Arc<Mutex<Vec<OddSession>>>,
    listener: JoinHandle<()>,
}

/// One connection to an odd host.
#[derive(Clone, Debug, Default)]
pub struct OddSession {
    /// The record with the client's first hello, its header of five bytes included; empty when there was none.
    pub hello: Vec<u8>,
    /// The lines that came in plaintext.
    pub plaintext: Vec<String>,
    /// The lines that came within TLS.
    pub encrypted: Vec<String>,
    /// What went wrong with the host itself: the test is void.
    pub trouble: Option<String>,
}

impl OddHost {
    /// Serves on a listener of the test's.
    pub fn start(listener: TcpListener, engine: Engine) -> OddHost {
        let sessions = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&sessions);
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut session = OddSession::default();
                if let Err(error) = serve(stream, &engine, &mut session).await {
                    session.trouble = Some(error.to_string());
                }
                lock(&noted).push(session);
            }
        });
        OddHost { sessions, listener }
    }

    /// The connections that are over, in the order of their coming.
    pub fn sessions(&self) -> Vec<OddSession> {
        lock(&self.sessions).clone()
    }

    /// Waits until so many connections are over; whoever waits in vain gets what came.
    pub async fn wait_for_sessions(&self, count: usize, limit: Duration) -> Vec<OddSession> {
        let enough = async {
            while lock(&self.sessions).len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(limit, enough).await;
        self.sessions()
    }
}

impl Drop for OddHost {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// One connection. An error is trouble with the host; what the client does is never one.
async fn serve(stream: TcpStream, engine: &Engine, session: &mut OddSession) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let _ = stream.write_all(b"220 odd.test ESMTP\r\n").await;
    if !converse(&mut stream, true, &mut session.plaintext).await {
        return Ok(());
    }
    let mut stream = stream.into_inner();
    session.hello = first_record(&mut stream).await;
    match engine {
        Engine::Says(words) => {
            let _ = stream.write_all(words).await;
            let _ = stream.shutdown().await;
        }
        Engine::Rustls(config) => {
            // The hello is given back to the engine in front of what follows.
            let (reader, writer) = stream.into_split();
            let stream = tokio::io::join(io::Cursor::new(session.hello.clone()).chain(reader), writer);
            if let Ok(stream) = TlsAcceptor::from(Arc::clone(config)).accept(stream).await {
                converse(&mut BufReader::new(stream), false, &mut session.encrypted).await;
            }
        }
        Engine::OpenSsl(arguments) => through_openssl(stream, arguments, session).await?,
    }
    Ok(())
}

/// Takes whatever message is sent. True when STARTTLS was answered with 220 and TLS is to follow.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    offers_tls: bool,
    lines: &mut Vec<String>,
) -> bool {
    let mut in_content = false;
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
        let line = line.trim_end().to_owned();
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "." if in_content => "250 2.0.0 taken\r\n",
            _ if in_content => continue,
            "EHLO" if offers_tls => "250-odd.test\r\n250 STARTTLS\r\n",
            "STARTTLS" if offers_tls => "220 go\r\n",
            "DATA" => "354 go on\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        in_content = verb == "DATA";
        lines.push(line);
        if stream.write_all(reply.as_bytes()).await.is_err() || stream.flush().await.is_err() || verb == "QUIT" {
            return false;
        }
        if verb == "STARTTLS" && offers_tls {
            return true;
        }
    }
}

/// The first TLS record of the client, as far as it comes.
async fn first_record(stream: &mut TcpStream) -> Vec<u8> {
    let mut record = vec![0; 5];
    if stream.read_exact(&mut record).await.is_err() {
        return Vec::new();
    }
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    match stream.read_exact(&mut record[5..]).await {
        Ok(_) => record,
        Err(_) => Vec::new(),
    }
}

/// One `openssl s_server` for one connection: TLS goes in by a socket, what it decrypts comes out of its standard
/// output, and what is to be encrypted goes into its standard input.
async fn through_openssl(mut client: TcpStream, arguments: &[String], session: &mut OddSession) -> io::Result<()> {
    let folder = Folder::new()?;
    let address = own_address();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let errors = folder.path("stderr");
    let child = openssl()
        .args(["s_server", "-quiet", "-accept", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .stderr(std::fs::File::create(&errors)?)
        .spawn()?;
    let mut child = Reaped(child);
    let mut tls = match connect(address, &mut child).await {
        Ok(tls) => tls,
        Err(error) => {
            return Err(io::Error::other(format!("{error}: {}", std::fs::read_to_string(&errors)?)));
        }
    };
    tls.write_all(&session.hello).await?;
    let mut inside = BufReader::new(UnixStream::from_std(ours)?);
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut tls) => {}
        // After the 221 the client hangs up: what is left to copy is nobody's.
        _ = converse(&mut inside, false, &mut session.encrypted) => {
            let _ = tokio::time::timeout(
                Duration::from_secs(1), tokio::io::copy_bidirectional(&mut client, &mut tls)).await;
        }
    }
    Ok(())
}

async fn connect(address: SocketAddr, child: &mut Reaped) -> io::Result<TcpStream> {
    let started = tokio::time::Instant::now();
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) if started.elapsed() > START_LIMIT => return Err(error),
            Err(_) => {}
        }
        if let Some(status) = child.0.try_wait()? {
            return Err(io::Error::other(format!("openssl s_server ended with {status}")));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// An address of loopback that nobody else has: `s_server` cannot tell which port it was given.
fn own_address() -> SocketAddr {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let octets = [64 + std::process::id() as usize % 128, count / 250 % 250, 1 + count % 250].map(|n| n as u8);
    SocketAddr::from(([127, octets[0], octets[1], octets[2]], 4433))
}

/// A child that does not outlive its owner.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The system's `openssl` without the system's settings, which may forbid what a test is about.
fn openssl() -> Command {
    let mut command = Command::new("openssl");
    command.env("OPENSSL_CONF", "/dev/null");
    command
}

/// Whether there is an `openssl` of version 3 on this machine.
pub fn openssl_is_there() -> bool {
    let version = openssl().arg("version").output();
    version.is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"OpenSSL 3"))
}

/// A temporary folder that is removed when dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Folder> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("waxwing-odd-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)?;
        Ok(Folder(folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What an odd certificate is to be; the default is a good one. `openssl` makes it, since it minds nothing.
#[derive(Clone, Debug)]
pub struct OddCertificate {
    /// How the key is made: the arguments of `openssl` without the output, such as `genpkey -algorithm ED25519`.
    pub key: &'static str,
    /// The digest that the issuer signs with, such as `-sha1`.
    pub digest: &'static str,
    /// The extensions, in the lines of OpenSSL's configuration; `None` makes a certificate of X.509 version 1.
    pub extensions: Option<&'static str>,
    /// Days until it ends; one that ended is negative.
    pub days: i32,
    /// The serial number.
    pub serial: &'static str,
    /// Signed by itself and not by the authority.
    pub self_signed: bool,
    /// How many authorities stand between the root and the certificate.
    pub intermediates: usize,
    /// How many copies of the root are sent beside: they make the chain large.
    pub copies_of_root: usize,
}

impl OddCertificate {
    /// An ECDSA key on P-256.
    pub const P256: &'static str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256";

    /// A good certificate for `mx.d.test`.
    pub fn good() -> OddCertificate {
        OddCertificate {
            key: OddCertificate::P256,
            digest: "-sha256",
            extensions: Some("subjectAltName=DNS:mx.d.test"),
            days: 30,
            serial: "77",
            self_signed: false,
            intermediates: 0,
            copies_of_root: 0,
        }
    }
}

/// An authority that `openssl` made, and the files of its certificates, which are gone when it is dropped.
#[derive(Debug)]
pub struct OddCa {
    folder: Folder,
    count: AtomicUsize,
}

impl OddCa {
    /// A new authority with a key on P-256.
    pub fn new() -> io::Result<OddCa> {
        let ca = OddCa { folder: Folder::new()?, count: AtomicUsize::new(0) };
        std::fs::write(ca.folder.path("req.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n")?;
        std::fs::write(ca.folder.path("ca.ext"), "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n")?;
        ca.run(OddCertificate::P256, &["-out", "ca.key"])?;
        ca.run("req -new -config req.cnf -subj /CN=odd-ca -key ca.key", &["-out", "ca.csr"])?;
        ca.run("x509 -req -in ca.csr -signkey ca.key -extfile ca.ext -days 30 -sha256", &["-out", "ca.pem"])?;
        Ok(ca)
    }

    /// The root, in PEM.
    pub fn file(&self) -> PathBuf {
        self.folder.path("ca.pem")
    }

    /// Makes a certificate and gives the arguments of `openssl s_server` that show it.
    pub fn issue(&self, odd: &OddCertificate) -> io::Result<Vec<String>> {
        let name = format!("c{}", self.count.fetch_add(1, Ordering::Relaxed));
        let file = |end: &str| format!("{name}.{end}");
        let mut chain = String::new();
        let root = std::fs::read_to_string(self.file())?;
        let mut issuer = "ca.pem".to_owned();
        for level in 0..odd.intermediates {
            // All authorities have the root's key: the chain is what counts.
            let (csr, pem) = (file("i.csr"), file(&format!("{level}.pem")));
            let subject = format!("/CN={name} authority {level}");
            self.run("req -new -config req.cnf -key ca.key", &["-subj", &subject, "-out", &csr])?;
            let sign = "x509 -req -CAkey ca.key -extfile ca.ext -days 30 -sha256";
            self.run(sign, &["-set_serial", "5", "-CA", &issuer, "-in", &csr, "-out", &pem])?;
            chain.insert_str(0, &std::fs::read_to_string(self.folder.path(&pem))?);
            issuer = pem;
        }
        chain.push_str(&root.repeat(odd.copies_of_root));
        let (key, csr, pem) = (file("key"), file("csr"), file("pem"));
        let (command, rest) = odd.key.split_once(' ').unwrap_or((odd.key, ""));
        let rest: Vec<&str> = ["-out", &key].into_iter().chain(rest.split(' ')).collect();
        self.run(command, &rest)?;
        self.run("req -new -config req.cnf -subj /CN=mx.d.test", &["-key", &key, "-out", &csr])?;
        let (days, extensions) = (odd.days.to_string(), file("ext"));
        let mut arguments = vec!["-in", &csr, "-out", &pem, "-days", &days, odd.digest, "-set_serial", odd.serial];
        if let Some(lines) = odd.extensions {
            std::fs::write(self.folder.path(&extensions), lines)?;
            arguments.extend(["-extfile", &extensions]);
        }
        match odd.self_signed {
            true => arguments.extend(["-signkey", &key]),
            false => arguments.extend(["-CA", &issuer, "-CAkey", "ca.key"]),
        }
        self.run("x509 -req", &arguments)?;
        std::fs::write(self.folder.path(&file("chain")), &chain)?;
        let full = |end: &str| self.folder.path(&file(end)).display().to_string();
        let mut shown = vec!["-cert".to_owned(), full("pem"), "-key".to_owned(), full("key")];
        if !chain.is_empty() {
            shown.extend(["-cert_chain".to_owned(), full("chain")]);
        }
        Ok(shown)
    }

    fn run(&self, command: &str, arguments: &[&str]) -> io::Result<()> {
        let output = openssl()
            .args(command.split(' '))
            .args(arguments)
            .current_dir(&self.folder.0)
            .stdin(Stdio::null())
            .output()?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                Err(io::Error::other(format!("openssl {command} {arguments:?}: {why}")))
            }
        }
    }
}
