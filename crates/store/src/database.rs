//! Where a PostgreSQL is, and how one comes to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::LocationError;

/// How long one tries to connect to one of the hosts.
const CONNECT: Duration = Duration::from_secs(5);
/// How long what was sent may stay unconfirmed before a connection is lost: a host that is gone does not say so.
const UNCONFIRMED: Duration = Duration::from_secs(10);

/// A PostgreSQL: the words of its URL, understood.
#[derive(Clone)]
pub(crate) struct Database {
    /// As it was written, with its password.
    url: String,
    config: Config,
    tls: Tls,
}

/// What is asked of the connection to the database, by libpq's words.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tls {
    /// `disable`, or `prefer` and `require` without a certificate to compare with: nobody's certificate is verified.
    Unverified,
    /// `verify-full`, or anything with `sslrootcert`: the host's certificate must be for its name and by one of these.
    Verified {
        /// A file of certificates; without one those of the system.
        roots: Option<PathBuf>,
    },
}

impl Database {
    /// Understands `postgres://user:password@host:port/name?sslmode=…`; several hosts stand behind each other with commas.
    pub(crate) fn parse(url: &str) -> Result<Database, LocationError> {
        let unreadable = |reason: String| LocationError::Postgres(reason);
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut left, mut mode, mut roots) = (Vec::new(), "prefer", None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = value,
                Some(("sslrootcert", value)) if value != "system" => roots = Some(PathBuf::from(value)),
                Some(("sslrootcert", _)) => {}
                _ => left.push(pair),
            }
        }
        let query = if left.is_empty() { String::new() } else { format!("?{}", left.join("&")) };
        let mut config: Config = format!("{base}{query}").parse().map_err(|e: tokio_postgres::Error| {
            unreadable(std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string))
        })?;
        if config.get_hosts().is_empty() {
            return Err(unreadable("it names no host".to_owned()));
        }
        let ssl = match mode {
            "disable" => SslMode::Disable,
            "prefer" if roots.is_none() => SslMode::Prefer,
            "prefer" | "require" | "verify-full" => SslMode::Require,
            other => {
                let modes = "disable, prefer, require and verify-full";
                return Err(unreadable(format!("sslmode '{other}' is none of {modes}")));
            }
        };
        let tls = if mode == "verify-full" || roots.is_some() { Tls::Verified { roots } } else { Tls::Unverified };
        config.ssl_mode(ssl).target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.tcp_user_timeout(UNCONFIRMED).keepalives_idle(UNCONFIRMED);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name("waxwing");
        }
        Ok(Database { url: url.to_owned(), config, tls })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// What makes TLS connections to it.
    pub(crate) fn tls(&self) -> Result<MakeRustlsConnect, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone());
        let config = config.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
        let config = match &self.tls {
            Tls::Unverified => {
                config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth()
            }
            Tls::Verified { roots } => config.with_root_certificates(read_roots(roots.as_ref())?).with_no_client_auth(),
        };
        Ok(MakeRustlsConnect::new(config))
    }

    /// The URL without its password.
    pub(crate) fn shown(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("postgres", &self.url));
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('?').next().unwrap_or_default();
        match authority.rsplit_once('@') {
            Some((user, hosts)) => {
                let name = user.split(':').next().unwrap_or_default();
                format!("{scheme}://{name}@{hosts}{path}")
            }
            None => format!("{scheme}://{authority}{path}"),
        }
    }
}

fn read_roots(file: Option<&PathBuf>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let certificates: Vec<CertificateDer<'static>> = match file {
        Some(file) => {
            let unreadable = |e: rustls::pki_types::pem::Error| format!("sslrootcert {}: {e}", file.display());
            let all = CertificateDer::pem_file_iter(file).map_err(unreadable)?;
            all.collect::<Result<_, _>>().map_err(unreadable)?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    store.add_parsable_certificates(certificates);
    if store.is_empty() { Err("there is no certificate to verify the database's with".to_owned()) } else { Ok(store) }
}

impl PartialEq for Database {
    fn eq(&self, other: &Database) -> bool {
        self.url == other.url
    }
}

impl Eq for Database {}

/// Its password is nobody's to see.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Database").field(&self.shown()).finish()
    }
}

/// Takes every certificate: `sslmode=require` promises that nobody listens, and not who the host is.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
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
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_understood_and_its_password_never_shown() {
        let url = "postgres://waxwing:s3cret@db1.example,db2.example:5433/mail?sslmode=verify-full&application_name=x";
        let database = Database::parse(url).unwrap();
        assert_eq!(database.shown(), "postgres://waxwing@db1.example,db2.example:5433/mail");
        assert!(!format!("{database:?}").contains("s3cret"));
        assert_eq!(database.config.get_hosts().len(), 2);
        assert_eq!(database.config.get_application_name(), Some("x"));
        assert_eq!(database.tls, Tls::Verified { roots: None });
        assert_eq!(database.config.get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn what_is_asked_of_tls_is_never_less_than_was_written() {
        for (words, mode, verified) in [
            ("", SslMode::Prefer, false),
            ("?sslmode=disable", SslMode::Disable, false),
            ("?sslmode=prefer", SslMode::Prefer, false),
            ("?sslmode=require", SslMode::Require, false),
            ("?sslmode=verify-full", SslMode::Require, true),
            ("?sslmode=require&sslrootcert=/ca.pem", SslMode::Require, true),
            ("?sslrootcert=/ca.pem", SslMode::Require, true),
        ] {
            let database = Database::parse(&format!("postgres://db.example/mail{words}")).unwrap();
            assert_eq!(database.config.get_ssl_mode(), mode, "{words}");
            assert_eq!(matches!(database.tls, Tls::Verified { .. }), verified, "{words}");
        }
        for wrong in ["?sslmode=verify-ca", "?sslmode=", "?nonsense=1", ":port/x"] {
            assert!(Database::parse(&format!("postgres://db.example{wrong}")).is_err(), "{wrong}");
        }
    }
}
