//! A client without manners of its own: it sends what the test writes.

// Each test program uses its own part.
#![allow(dead_code)]

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Long enough for a busy machine, short enough for a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client<S> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

impl Client<TcpStream> {
    /// Connects and reads the greeting.
    pub(crate) async fn connect(address: SocketAddr) -> Client<TcpStream> {
        let mut client = Client::silent(address).await;
        assert_eq!(client.reply().await.0, 220);
        client
    }

    pub(crate) async fn silent(address: SocketAddr) -> Client<TcpStream> {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, buffer: Vec::new() }
    }

    /// EHLO and STARTTLS with its 220, then the handshake.
    pub(crate) async fn starttls(
        mut self,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<Client<TlsStream<TcpStream>>> {
        assert!(self.ask("EHLO client.test").await.1.contains("STARTTLS"));
        assert_eq!(self.ask("STARTTLS").await.0, 220);
        self.handshake(config, name).await
    }

    pub(crate) async fn handshake(
        self,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<Client<TlsStream<TcpStream>>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name, self.stream);
        let stream = timeout(PATIENCE, handshake).await.map_err(io::Error::other)??;
        Ok(Client { stream, buffer: Vec::new() })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn ask(&mut self, command: &str) -> (u16, String) {
        self.send(format!("{command}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Asks, and insists on the codes.
    pub(crate) async fn expect(&mut self, dialogue: &[(&str, u16)]) {
        for (command, code) in dialogue {
            let (answered, text) = self.ask(command).await;
            assert_eq!(answered, *code, "{command}: {text}");
        }
    }

    /// The next reply: its code and its whole text.
    pub(crate) async fn reply(&mut self) -> (u16, String) {
        self.try_reply().await.expect("a reply")
    }

    /// The next reply, or `None` at the end of the connection.
    pub(crate) async fn try_reply(&mut self) -> Option<(u16, String)> {
        loop {
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            let mut length = 0;
            for line in text.split_inclusive("\r\n").take_while(|line| line.ends_with("\r\n")) {
                length += line.len();
                if line.as_bytes().get(3) != Some(&b'-') {
                    self.buffer.drain(..length);
                    return Some((line[..3].parse().unwrap(), text[..length].to_owned()));
                }
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.expect("a reply in time");
            if !read.is_ok_and(|count| count > 0) {
                return None;
            }
        }
    }

    /// A whole transaction after EHLO; gives the code of the final dot.
    pub(crate) async fn mail(&mut self, recipient: &str, content: &str) -> u16 {
        let rcpt = format!("RCPT TO:<{recipient}>");
        self.expect(&[("MAIL FROM:<sender@client.test>", 250), (&rcpt, 250), ("DATA", 354)]).await;
        self.send(content.as_bytes()).await;
        self.reply().await.0
    }
}

/// A client that trusts these roots.
pub(crate) fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A client that takes any certificate whose key is proved.
pub(crate) fn credulous() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let verifier = Arc::new(Credulous(provider()));
    Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// What the web PKI says about a certificate: `ok` or the error's words.
pub(crate) fn verdict(roots: RootCertStore, chain: &[CertificateDer<'static>], name: &str) -> String {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    match verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now()) {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
