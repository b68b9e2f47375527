//! What listeners show: a certificate and its key from files, read again when they change; or one that nobody vouches for.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use store::Timestamp;
use tokio::sync::{Notify, watch};

use super::facts::Facts;
use crate::acme;
use crate::config::Config;

/// How often it is looked whether the files changed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Longest file that is read.
const FILE_OCTETS: u64 = 1024 * 1024;
/// The certificate that is made where none is configured, with its key.
const SELF_SIGNED: &str = "self-signed.pem";

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is not the certificate's, or of a kind that is not supported.
    #[error("{certificate} and {key} do not go together: {reason}")]
    Pair {
        /// The file with the certificate.
        certificate: String,
        /// The file with the key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// `certificate_key` without `certificate`.
    #[error("certificate_key is set without certificate")]
    KeyAlone,
    /// TLS could not be set up.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// A certificate of our own could not be made.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(String),
}

/// Where certificate and key stand; one file may hold both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    /// A certificate for `host` that nobody vouches for, in `directory`; made when it is not there.
    pub(crate) fn self_signed(directory: &Path, host: &str) -> Result<Files, CertificateError> {
        let path = directory.join(SELF_SIGNED);
        if !path.exists() {
            make_self_signed(&path, host).map_err(CertificateError::SelfSigned)?;
        }
        tracing::warn!(
            path = %path.display(),
            "no certificate is configured: clients are shown one that nobody vouches for"
        );
        Ok(Files { certificate: path.clone(), key: path })
    }

    /// When each of them was changed, and how long it is.
    fn look(&self) -> [Option<(SystemTime, u64)>; 2] {
        [&self.certificate, &self.key].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }

    fn load(&self) -> Result<Arc<CertifiedKey>, CertificateError> {
        let chain = read(&self.certificate)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
        let chain = chain.map_err(|error| unreadable(&self.certificate, error))?;
        if chain.is_empty() {
            return Err(unreadable(&self.certificate, "has no certificate in PEM form"));
        }
        // The parser's own words might quote the file.
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|_| unreadable(&self.key, "has no private key in PEM form"))?;
        let pair = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        pair.map(Arc::new).map_err(|error| CertificateError::Pair {
            certificate: self.certificate.display().to_string(),
            key: self.key.display().to_string(),
            reason: error.to_string(),
        })
    }
}

/// The certificate of the server itself in a file that may hold a chain.
pub(crate) fn first_of(path: &Path) -> Result<CertificateDer<'static>, CertificateError> {
    let first = CertificateDer::pem_slice_iter(&read(path)?).next();
    let first = first.ok_or_else(|| unreadable(path, "has no certificate in PEM form"))?;
    first.map_err(|error| unreadable(path, error))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    use std::io::Read;

    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| unreadable(path, error))?;
    file.take(FILE_OCTETS).read_to_end(&mut content).map_err(|error| unreadable(path, error))?;
    Ok(content)
}

fn unreadable(path: &Path, reason: impl ToString) -> CertificateError {
    CertificateError::File { path: path.display().to_string(), reason: reason.to_string() }
}

fn make_self_signed(path: &Path, host: &str) -> Result<(), String> {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).map_err(|error| error.to_string())?;
    let write = || -> io::Result<()> {
        // Whole or not at all, and its key for nobody else.
        let unfinished = path.with_extension("new");
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(made.cert.pem().as_bytes())?;
        file.write_all(made.signing_key.serialize_pem().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}

/// The certificate in force.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: Files,
    /// What is shown while those files are not there yet.
    until_then: Option<Files>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Those of the configuration; without any, one of our own.
    pub(crate) fn of(config: &Config) -> Result<Arc<Certificates>, CertificateError> {
        let self_signed = || Files::self_signed(config.own_directory(), &config.ehlo_name.to_string());
        let files = match (&config.certificate, &config.certificate_key) {
            (Some(certificate), key) => {
                Files { certificate: certificate.clone(), key: key.as_ref().unwrap_or(certificate).clone() }
            }
            (None, Some(_)) => return Err(CertificateError::KeyAlone),
            (None, None) if config.acme_names.is_empty() => self_signed()?,
            (None, None) => {
                let path = acme::Files::of(config).certificate();
                let files = Files { certificate: path.clone(), key: path };
                let until_then = if files.certificate.exists() { None } else { Some(self_signed()?) };
                return Certificates::load_or(files, until_then);
            }
        };
        Certificates::load(files)
    }

    /// Reads the files, whose faults are told now.
    pub(crate) fn load(files: Files) -> Result<Arc<Certificates>, CertificateError> {
        Certificates::load_or(files, None)
    }

    fn load_or(files: Files, until_then: Option<Files>) -> Result<Arc<Certificates>, CertificateError> {
        let current = RwLock::new(until_then.as_ref().unwrap_or(&files).load()?);
        Ok(Arc::new(Certificates { files, until_then, current }))
    }

    /// When what is shown ends.
    pub(crate) fn not_after(&self) -> Option<Timestamp> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        Facts::of(current.cert.first()?.clone().into_owned()).map(|facts| facts.not_after)
    }

    /// TLS 1.2 and 1.3 with this certificate, whichever it is at the time.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        Ok(Arc::new(config))
    }

    /// Reads the files again when they change and when `reload` says so. While they are wrong, the old one is shown.
    pub(crate) async fn keep_fresh(self: Arc<Self>, reload: Arc<Notify>, mut stop: watch::Receiver<bool>) {
        let mut seen = self.files.look();
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => false,
                () = reload.notified() => true,
                _ = stop.wait_for(|stopping| *stopping) => return,
            };
            let now = self.files.look();
            if now == seen && !asked || self.until_then.is_some() && now[0].is_none() {
                continue;
            }
            match self.files.load() {
                Ok(fresh) => {
                    seen = now;
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                    tracing::info!(path = %self.files.certificate.display(), "the certificate was read again");
                }
                Err(error) => tracing::warn!(%error, "the certificate cannot be read; the old one stays"),
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
