//! TLS towards web servers: as everywhere else, except that nothing is recorded and an invalid certificate ends it.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;

use super::TlsEngine;

impl TlsEngine {
    /// A configuration under which a handshake succeeds only with a server whose certificate is valid for its name, by
    /// the roots that this engine trusts.
    pub(crate) fn https(&self) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites for TLS 1.2 and 1.3")
            // Not dangerous at all: it is the verifier of rustls itself, and its word is final.
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&self.verifiers.all) as _)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}
