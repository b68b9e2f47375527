//! A client of SMTP submission.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{DOMAIN, PATIENCE, World};

pub(crate) const PASSWORD: &str = "correct horse";

/// A connection in TLS, after EHLO.
pub(crate) struct Client(BufReader<TlsStream<TcpStream>>);

impl World {
    /// Makes the login `app@` the domain.
    pub(crate) async fn add_login(&self) {
        let fields = [("login", "app"), ("password", PASSWORD)];
        self.post(&format!("/v3/domains/{DOMAIN}/credentials"), &fields).await;
    }

    pub(crate) async fn connect(&self) -> Client {
        let mut plain = BufReader::new(TcpStream::connect(self.submission()).await.unwrap());
        let mut line = String::new();
        plain.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("220 "), "{line}");
        plain.get_mut().write_all(b"EHLO client.example\r\n").await.unwrap();
        while line.as_bytes()[3] == b'-' || line.starts_with("220") {
            line.clear();
            plain.read_line(&mut line).await.unwrap();
        }
        plain.get_mut().write_all(b"STARTTLS\r\n").await.unwrap();
        line.clear();
        plain.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("220 "), "{line}");

        // The certificate that the server made for itself.
        let mut roots = RootCertStore::empty();
        let path = self.directory.join("data/self-signed.pem");
        roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("waxwing.sender.example").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, plain.into_inner()).await.unwrap();
        let mut client = Client(BufReader::new(stream));
        assert!(client.ask("EHLO client.example").await.contains("AUTH PLAIN LOGIN"));
        client
    }

    /// The same, logged in.
    pub(crate) async fn log_in(&self) -> Client {
        let mut client = self.connect().await;
        let answer = client.auth(&format!("app@{DOMAIN}"), PASSWORD).await;
        assert_eq!(answer, "235 2.7.0 Authentication successful");
        client
    }
}

impl Client {
    pub(crate) async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
        self.0.get_mut().flush().await.unwrap();
    }

    /// A whole reply, its lines joined by LF; empty when the connection has ended.
    pub(crate) async fn reply(&mut self) -> String {
        let mut lines: Vec<String> = Vec::new();
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("no reply in time");
            if read.unwrap_or(0) == 0 {
                return lines.join("\n");
            }
            let is_last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line.trim_end().to_owned());
            if is_last {
                return lines.join("\n");
            }
        }
    }

    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.say(&format!("{line}\r\n")).await;
        self.reply().await
    }

    pub(crate) async fn auth(&mut self, login: &str, password: &str) -> String {
        self.ask(&format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{login}\0{password}")))).await
    }

    /// Sends a message and gives the last reply. `parameters` are those of MAIL.
    pub(crate) async fn send(&mut self, parameters: &str, to: &[&str], message: &str) -> String {
        let mail = format!("MAIL FROM:<{}>{parameters}", "somebody@elsewhere.example");
        assert_eq!(self.ask(&mail).await, "250 2.1.0 Sender OK");
        for to in to {
            assert_eq!(self.ask(&format!("RCPT TO:<{to}>")).await, "250 2.1.5 Recipient OK");
        }
        assert!(self.ask("DATA").await.starts_with("354 "));
        self.ask(&format!("{message}\r\n.")).await
    }
}

/// The Message-ID that a positive reply tells, without brackets.
pub(crate) fn id_of(reply: &str) -> String {
    let id = reply.strip_prefix("250 2.0.0 Queued as <").and_then(|rest| rest.strip_suffix('>'));
    id.unwrap_or_else(|| panic!("not taken: {reply}")).to_owned()
}

/// How long a stretch of time was at least.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = std::time::Instant::now();
    (work.await, begun.elapsed())
}
