//! What is kept in the directory of the store: the account's key, the certificate with its key, and how the last try
//! went, for `waxwing doctor`.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use store::Timestamp;
use url::Url;

use crate::config::Config;
use crate::smtpd::facts::Facts;

/// The certificate with its chain and its key: one file, so that they never stand apart.
const CERTIFICATE: &str = "acme-certificate.pem";
const ACCOUNT: &str = "acme-account.json";
const STATUS: &str = "acme-status.json";
/// Longest file that is read.
const FILE_OCTETS: u64 = 1024 * 1024;

/// Where the files stand.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    directory: PathBuf,
}

/// How the last try went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    #[serde(with = "micros")]
    pub(crate) tried_at: Option<Timestamp>,
    /// Why there was no certificate.
    pub(crate) error: Option<String>,
    /// When it is tried again, or the certificate renewed.
    #[serde(with = "micros")]
    pub(crate) next_at: Option<Timestamp>,
}

/// An account at an authority.
#[derive(Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) directory: String,
    pub(super) credentials: AccountCredentials,
}

impl Files {
    pub(crate) fn of(config: &Config) -> Files {
        Files { directory: config.own_directory().to_owned() }
    }

    /// The file with certificate and key.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.join(CERTIFICATE)
    }

    /// What the certificate says that is there.
    pub(crate) fn facts(&self) -> Option<Facts> {
        Facts::of_pem(&read(&self.certificate()).ok()?)
    }

    pub(super) fn put_certificate(&self, pem: &str) -> io::Result<()> {
        write(&self.certificate(), pem.as_bytes())
    }

    /// The account at the authority of this directory.
    pub(super) fn account(&self, directory: &Url) -> io::Result<Option<Account>> {
        match read(&self.directory.join(ACCOUNT)) {
            // Nothing of the file is quoted: it holds a key.
            Ok(json) => match serde_json::from_slice::<Account>(&json) {
                Ok(account) => Ok(Some(account).filter(|account| account.directory == directory.as_str())),
                Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{ACCOUNT} cannot be read"))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn put_account(&self, account: &Account) -> io::Result<()> {
        write(&self.directory.join(ACCOUNT), &serde_json::to_vec(account)?)
    }

    /// Forgets an account that its authority does not know.
    pub(super) fn forget_account(&self) -> io::Result<()> {
        std::fs::remove_file(self.directory.join(ACCOUNT))
    }

    /// How the last try went, as far as is known.
    pub(crate) fn status(&self) -> Status {
        let json = read(&self.directory.join(STATUS)).unwrap_or_default();
        serde_json::from_slice(&json).unwrap_or_default()
    }

    /// For others to see; that it cannot be written is no reason to fail.
    pub(super) fn put_status(&self, status: &Status) {
        if *status == self.status() {
            return;
        }
        let written = serde_json::to_vec(status).map_err(io::Error::from);
        if let Err(error) = written.and_then(|json| write(&self.directory.join(STATUS), &json)) {
            tracing::warn!(%error, "{STATUS} cannot be written");
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;

    let mut content = Vec::new();
    std::fs::File::open(path)?.take(FILE_OCTETS).read_to_end(&mut content)?;
    Ok(content)
}

/// Whole or not at all, after a power cut too, and for nobody else.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    // One that was left behind may have been made by somebody else, with other rights.
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    path.parent().map_or(Ok(()), |directory| std::fs::File::open(directory)?.sync_all())
}

/// A time as microseconds, or nothing.
mod micros {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use store::Timestamp;

    pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(Timestamp::as_micros).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_micros))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_whole_and_for_nobody_else() {
        let directory = std::env::temp_dir().join(format!("waxwing-acme-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&directory).unwrap();
        let files = Files { directory: directory.clone() };
        assert_eq!((files.status(), files.facts()), (Status::default(), None));
        let status = Status {
            tried_at: Some(Timestamp::from_secs(5)),
            error: Some("no".to_owned()),
            next_at: Some(Timestamp::from_secs(6)),
        };
        files.put_status(&status);
        assert_eq!(files.status(), status);
        // What was left behind by a crash, open to all.
        std::fs::write(directory.join("acme-certificate.new"), "half").unwrap();
        files.put_certificate("whole").unwrap();
        assert_eq!(std::fs::read_to_string(files.certificate()).unwrap(), "whole");
        assert_eq!(std::fs::metadata(files.certificate()).unwrap().permissions().mode() & 0o777, 0o600);
        let here: Url = "https://ca.example/directory".parse().unwrap();
        assert!(files.account(&here).unwrap().is_none());
        std::fs::write(directory.join(ACCOUNT), "{secret").unwrap();
        let error = files.account(&here).err().unwrap().to_string();
        assert_eq!(error, "acme-account.json cannot be read");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
