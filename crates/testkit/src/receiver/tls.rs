//! The server's side of TLS, whole and broken.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::CertificateDer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    behaviour::{Behaviour, Breakage, Tls},
    record::TlsSeen,
};
use crate::ca::{Identity, Issue};

/// What [`Tls::Injects`] appends to the 220 in plaintext.
pub const INJECTED: &str = "250 injected\r\n";

/// Longest handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);

/// The acceptor for a behaviour, or `None` where no handshake can come about. Its sessions can be resumed, as with
/// real servers.
pub(super) fn acceptor(behaviour: &Behaviour) -> io::Result<Option<TlsAcceptor>> {
    let versions: &[&SupportedProtocolVersion] = match behaviour.tls {
        Tls::NotOffered | Tls::RefusedWith(_) | Tls::Broken(_) => return Ok(None),
        Tls::Tls12Only => &[&TLS12],
        Tls::Tls13Only => &[&TLS13],
        _ => &[&TLS13, &TLS12],
    };
    let identity = match &behaviour.identity {
        Some(identity) => identity.clone(),
        None => Identity::self_signed(&Issue::new(behaviour.name()))?,
    };
    // Named, not the process's default: the program that is tested may have set none, or another.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(identity.key.clone_key()).map_err(io::Error::other)?;
    let certified = Arc::new(CertifiedKey::new(identity.chain, key));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?;
    let builder = match &behaviour.tls {
        Tls::RequiresClientCertificate(root) => {
            builder.with_client_cert_verifier(client_verifier(root.clone(), provider)?)
        }
        _ => builder.with_no_client_auth(),
    };
    let config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn client_verifier(
    root: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
) -> io::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add(root).map_err(io::Error::other)?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(io::Error::other)
}

/// Shakes hands; the error says why it failed in words.
pub(super) async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, TlsSeen), String> {
    match timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Err(_) => Err("the client did not finish the handshake in time".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(stream)) => {
            let seen = seen(stream.get_ref().1);
            Ok((stream, seen))
        }
    }
}

fn seen(connection: &ServerConnection) -> TlsSeen {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
        other => format!("{other:?}"),
    };
    let cipher = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    let group = connection.negotiated_key_exchange_group();
    TlsSeen {
        version,
        // IANA writes TLS_AES_128_GCM_SHA256 where rustls writes TLS13_AES_128_GCM_SHA256.
        cipher: cipher.replace("TLS13_", "TLS_"),
        key_exchange: group.map(|group| format!("{:?}", group.name())).unwrap_or_default(),
        sni: connection.server_name().map(str::to_owned),
        resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        client_certificate: connection.peer_certificates().is_some_and(|chain| !chain.is_empty()),
    }
}

/// What is recorded as the error of a handshake that is broken on purpose.
pub(super) fn breakage_in_words(how: Breakage) -> &'static str {
    match how {
        Breakage::Close => "closed after 220, on purpose",
        Breakage::Stall => "silent after 220, on purpose",
        Breakage::Garbage => "garbage after 220, on purpose",
        Breakage::ProtocolVersion => "protocol version refused, on purpose",
    }
}

/// Breaks the handshake after the 220.
pub(super) async fn break_handshake(mut stream: TcpStream, how: Breakage) {
    let said: &[u8] = match how {
        Breakage::Close => return,
        Breakage::Stall => return drain(stream).await,
        Breakage::Garbage => b"454-This is no TLS record,\r\n454 whatever you make of it\r\n",
        // Alert record of TLS 1.0: fatal, protocol_version (RFC 5246 §7.2).
        Breakage::ProtocolVersion => &[0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 70],
    };
    // The client speaks first in TLS; closing with its hello unread would reset the connection under our own answer.
    let mut hello = [0; 4096];
    let _ = timeout(HANDSHAKE_LIMIT, stream.read(&mut hello)).await;
    let _ = stream.write_all(said).await;
    let _ = stream.shutdown().await;
    drain(stream).await;
}

/// Reads until the client leaves, for a bounded time.
async fn drain(mut stream: TcpStream) {
    let mut sink = [0; 4096];
    let all = async { while stream.read(&mut sink).await.is_ok_and(|count| count > 0) {} };
    let _ = timeout(Duration::from_secs(600), all).await;
}
