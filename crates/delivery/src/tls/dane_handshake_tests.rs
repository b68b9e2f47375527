//! Whole handshakes: what SNI says, and two verdicts that do not know of each other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest;
use policy::dane::{Tlsa, TlsaSet};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use testkit::{Ca, Identity, Issue, Validity};
use tokio_rustls::TlsAcceptor;

use crate::client::RouteHost;
use crate::tls::{Expected, Roots, TlsEngine, TlsFacts};

const HOST: &str = "mx.d.test";
const BASE: &str = "real.d.test";

/// Shows one certificate and remembers the name it was asked for.
#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    sni: Mutex<Option<String>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        *self.sni.lock().unwrap() = hello.server_name().map(str::to_owned);
        Some(self.key.clone())
    }
}

/// A handshake of a client that trusts `ca` with a host that shows `identity`; its facts, and the SNI.
async fn shake_hands(ca: &Ca, identity: &Identity, tlsa: Option<&TlsaSet>) -> (Arc<TlsFacts>, String) {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(identity.key.clone_key()).unwrap();
    let key = Arc::new(CertifiedKey::new(identity.chain.clone(), key));
    let shown = Arc::new(Shown { key, sni: Mutex::default() });
    let config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(shown.clone());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let host = tokio::spawn(async move { TlsAcceptor::from(Arc::new(config)).accept(theirs).await.unwrap() });
    let engine = TlsEngine::new(Roots::of(ca.roots())).unwrap();
    let name = RouteHost::Name(HOST.parse().unwrap());
    let (_stream, facts) =
        engine.handshake(ours, &name, Expected { tlsa, pins: &[] }, Duration::from_secs(20)).await.unwrap();
    drop(host.await.unwrap());
    let sni = shown.sni.lock().unwrap().clone().unwrap();
    (facts, sni)
}

/// `3 0 1` about this certificate, at a name that is not the host's.
fn about(identity: &Identity) -> TlsaSet {
    let data = digest::digest(&digest::SHA256, &identity.chain[0]).as_ref().to_vec();
    let association = Tlsa { usage: 3, selector: 0, matching: 1, data }.association().unwrap();
    TlsaSet { base: BASE.parse().unwrap(), also: Vec::new(), associations: vec![association] }
}

#[tokio::test]
async fn each_verdict_is_recorded_whatever_the_other_says() {
    let ca = Ca::new().unwrap();
    let good = ca.issue(&Issue::new(HOST)).unwrap();
    let other = ca.issue(&Issue::new(HOST)).unwrap();
    let expired = ca.issue(&Issue { validity: Validity::Expired, ..Issue::new(HOST) }).unwrap();
    let misnamed = ca.issue(&Issue::new("other.test")).unwrap();
    let own = Identity::self_signed(&Issue::new(HOST)).unwrap();
    for (shown, published, pkix, dane) in [
        (&good, &good, "ok", "ok"),
        (&good, &other, "ok", "validation-failure"),
        (&expired, &expired, "certificate-expired", "ok"),
        (&misnamed, &misnamed, "certificate-host-mismatch", "ok"),
        (&own, &own, "certificate-not-trusted", "ok"),
        (&own, &good, "certificate-not-trusted", "validation-failure"),
    ] {
        let (facts, sni) = shake_hands(&ca, shown, Some(&about(published))).await;
        let verdict = facts.dane.as_ref().unwrap();
        assert_eq!((facts.verification.code(), verdict.verification.code()), (pkix, dane));
        assert_eq!(verdict.matched.as_deref(), (dane == "ok").then_some("3 0 1"));
        // The name of the TLSA records is asked for; the other verdict is still about the host's.
        assert_eq!((sni.as_str(), facts.sni.as_deref()), (BASE, Some(BASE)));
    }
}

#[tokio::test]
async fn without_records_there_is_no_verdict_of_theirs() {
    let ca = Ca::new().unwrap();
    let (facts, sni) = shake_hands(&ca, &ca.issue(&Issue::new(HOST)).unwrap(), None).await;
    assert_eq!((facts.verification.code(), facts.dane.as_ref(), sni.as_str()), ("ok", None, HOST));
}
