//! Settings in memory: whoever changes one, the next question is answered with what holds then.

use super::*;
use crate::credential::{Credential, PasswordHash};
use crate::engine::settings::CHANGED;
use crate::{KeyHash, KeyRole, KeyScope, NewDomain, NewKey};

const KEY: &str = "key-of-many-letters";

fn name() -> Domain {
    domain("sender.example")
}

async fn set_up(store: &Store) {
    let new = NewDomain { name: name(), tls: TlsSettings::default(), dkim: None, now: Timestamp::now() };
    store.create_domain(new).await.unwrap();
    let hash = PasswordHash::new("first");
    let credential = Credential { domain: name(), mailbox: "app".to_owned(), hash, created_at: Timestamp::now() };
    store.create_credential(credential).await.unwrap();
    let key = NewKey {
        hash: KeyHash::of(KEY),
        description: String::new(),
        hint: "ters".to_owned(),
        scope: KeyScope::Domain(name()),
        role: KeyRole::Sending,
        expires_at: None,
        now: Timestamp::now(),
    };
    store.create_key(key).await.unwrap();
}

async fn hash(store: &Store) -> Option<String> {
    store.credential(&name(), "app").await.unwrap().map(|found| found.hash.as_str().to_owned())
}

async fn requires_tls(store: &Store) -> Option<bool> {
    store.domain(&name()).await.unwrap().and_then(|found| found.tls.require_tls)
}

/// Changes by `changer` are seen by `server` with the next question.
async fn changes_are_seen(changer: &Store, server: &Store) {
    set_up(changer).await;
    assert_eq!((hash(server).await.as_deref(), requires_tls(server).await), (Some("first"), None));
    for round in 0..20 {
        let password = format!("password {round}");
        changer.set_credential_password(&name(), "app", PasswordHash::new(password.clone())).await.unwrap();
        assert_eq!(hash(server).await, Some(password));
        let tls = TlsSettings { require_tls: Some(round % 2 == 0), ..TlsSettings::default() };
        changer.update_domain(&name(), tls).await.unwrap();
        assert_eq!(requires_tls(server).await, Some(round % 2 == 0));
    }
    let key = server.find_key(&KeyHash::of(KEY)).await.unwrap().unwrap();
    assert!(changer.delete_key(key.id).await.unwrap());
    assert_eq!(server.find_key(&KeyHash::of(KEY)).await.unwrap(), None);
    changer.delete_domain(&name()).await.unwrap();
    assert_eq!((hash(server).await, requires_tls(server).await), (None, None));
    // What was not there is not remembered as such.
    set_up(changer).await;
    assert_eq!(hash(server).await.as_deref(), Some("first"));
}

#[tokio::test]
async fn changes_of_this_process_are_seen_at_once() {
    let directory = Directory::of_files();
    let server = directory.server().await;
    changes_are_seen(&server, &server.clone()).await;
}

#[tokio::test]
async fn changes_of_another_process_are_seen_at_once() {
    let directory = Directory::of_files();
    let server = directory.server().await;
    let tool = Store::open(&directory.location(), Role::Tool).await.unwrap();
    changes_are_seen(&tool, &server).await;
    // The file may go, as in a folder that was put back by hand.
    std::fs::remove_file(directory.0.join(CHANGED)).unwrap();
    assert_eq!(hash(&server).await.as_deref(), Some("first"));
    tool.set_credential_password(&name(), "app", PasswordHash::new("last")).await.unwrap();
    assert_eq!(hash(&server).await.as_deref(), Some("last"));
}

#[tokio::test]
async fn mail_leaves_what_is_remembered() {
    let directory = Directory::of_files();
    let server = directory.server().await;
    set_up(&server).await;
    assert_eq!(hash(&server).await.as_deref(), Some("first"));
    // Behind everybody's back, so that it shows who asked the database.
    let outside = rusqlite::Connection::open(directory.0.join("waxwing.db")).unwrap();
    outside.busy_timeout(Duration::from_secs(5)).unwrap();
    outside.execute("UPDATE credential SET hash = 'second'", []).unwrap();
    server.accept(message(&["a@example.com"])).await.unwrap();
    let jobs = claim(&server, 1).await;
    server.record(Timestamp::now(), outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();
    assert_eq!(hash(&server).await.as_deref(), Some("first"), "remembered");
    server.update_domain(&name(), TlsSettings::default()).await.unwrap();
    assert_eq!(hash(&server).await.as_deref(), Some("second"), "asked for again");
}
