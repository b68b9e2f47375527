//! Why a handshake failed, as precisely as the engine tells.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

/// Why TLS failed, as one code and in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: &'static str,
    words: String,
}

/// The host speaks TLS 1.0, TLS 1.1 or SSL alone.
const VERSION: &str = "tls-version-unsupported";
/// The host found no cipher suite, key exchange group or kind of signature among ours.
const CIPHER: &str = "no-shared-cipher";
/// The host's certificate or its key cannot be used in a handshake.
const KEY: &str = "certificate-key-unsupported";
/// A message of the handshake is larger than the engine takes: in practice, the chain of certificates.
const TOO_LARGE: &str = "handshake-too-large";
/// Everything else.
const FAILED: &str = "handshake-failed";

impl Failure {
    /// The error of a connection that was to become TLS. Once the host has shown its certificate, versions and ciphers
    /// were agreed on, and whatever it complains of is something else.
    pub(super) fn of(error: &io::Error, saw_certificate: bool) -> Failure {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::AlertReceived(alert)) if saw_certificate => Failure {
                code: FAILED,
                words: format!(
                    "the host ended it after showing its certificate; perhaps it demands one of us (alert {alert:?})"
                ),
            },
            Some(error) => Failure::of_engine(error),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                Failure { code: FAILED, words: "the host closed the connection".to_owned() }
            }
            None => Failure { code: FAILED, words: error.to_string() },
        }
    }

    /// One code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    fn of_engine(error: &Error) -> Failure {
        let (code, words) = match error {
            Error::AlertReceived(AlertDescription::ProtocolVersion)
            | Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => (VERSION, "the host speaks neither TLS 1.2 nor TLS 1.3".to_owned()),
            // A host that finds nothing in common says no more than this; which part it missed, it keeps to itself.
            Error::AlertReceived(
                alert @ (AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity),
            ) => (CIPHER, format!("the host shares no cipher, key exchange or signature with us (alert {alert:?})")),
            // These hosts do not ask what we offer.
            Error::PeerMisbehaved(
                PeerMisbehaved::SelectedUnofferedCipherSuite
                | PeerMisbehaved::SelectedUnusableCipherSuiteForVersion
                | PeerMisbehaved::SelectedUnofferedKxGroup
                | PeerMisbehaved::IllegalHelloRetryRequestWithUnofferedNamedGroup
                | PeerMisbehaved::IllegalHelloRetryRequestWithUnofferedCipherSuite
                | PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme
                | PeerMisbehaved::SignedKxWithWrongAlgorithm,
            )
            | Error::PeerIncompatible(_) => (CIPHER, error.to_string()),
            Error::AlertReceived(
                alert @ (AlertDescription::UnsupportedCertificate | AlertDescription::BadCertificate),
            ) => (KEY, format!("the host says that a certificate does not fit (alert {alert:?})")),
            Error::InvalidCertificate(CertificateError::BadSignature) => (
                FAILED,
                "the host did not prove that it holds its certificate's key: the signature is wrong".to_owned(),
            ),
            // The verifier of the handshake lets every certificate pass: what is left is a key it could not use.
            Error::InvalidCertificate(CertificateError::Other(why)) => (KEY, why.to_string()),
            Error::InvalidCertificate(_) => (KEY, error.to_string()),
            Error::NoCertificatesPresented => (KEY, "the host shows no certificate".to_owned()),
            Error::InvalidMessage(
                InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
            ) => (
                TOO_LARGE,
                "a message of the handshake, such as the chain of certificates, is larger than 64 KB".to_owned(),
            ),
            Error::AlertReceived(alert) => (FAILED, format!("the host ended it (alert {alert:?})")),
            other => (FAILED, other.to_string()),
        };
        Failure { code, words }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(error: Error) -> &'static str {
        Failure::of(&io::Error::new(io::ErrorKind::InvalidData, error), false).code()
    }

    #[test]
    fn a_code_for_each_kind_of_failure() {
        use AlertDescription as Alert;
        for (error, expected) in [
            (Error::AlertReceived(Alert::ProtocolVersion), VERSION),
            (PeerIncompatible::ServerDoesNotSupportTls12Or13.into(), VERSION),
            (Error::AlertReceived(Alert::HandshakeFailure), CIPHER),
            (Error::AlertReceived(Alert::InsufficientSecurity), CIPHER),
            (PeerMisbehaved::SelectedUnofferedCipherSuite.into(), CIPHER),
            (PeerIncompatible::UncompressedEcPointsRequired.into(), CIPHER),
            (CertificateError::BadEncoding.into(), KEY),
            (CertificateError::BadSignature.into(), FAILED),
            (InvalidMessage::HandshakePayloadTooLarge.into(), TOO_LARGE),
            (InvalidMessage::InvalidContentType.into(), FAILED),
            (Error::AlertReceived(Alert::InternalError), FAILED),
            (Error::AlertReceived(Alert::DecodeError), FAILED),
            (Error::DecryptError, FAILED),
        ] {
            assert_eq!(code(error.clone()), expected, "{error:?}");
        }
        let broken = Failure::of(&io::ErrorKind::UnexpectedEof.into(), false);
        assert_eq!((broken.code(), broken.to_string().as_str()), (FAILED, "the host closed the connection"));
        let late = io::Error::other(Error::AlertReceived(Alert::HandshakeFailure));
        assert_eq!((Failure::of(&late, false).code(), Failure::of(&late, true).code()), (CIPHER, FAILED));
    }
}
