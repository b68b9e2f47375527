//! DKIM keys.

use super::*;
use crate::dkim::{DKIM_KEYS_PER_DOMAIN, DkimKeyDeletion, DkimKeyQuery, NewDkimKey, PrivateKey};
use crate::{NewDomain, StoreError};

pub(super) fn key(selector: &str, rsa_bits: Option<u32>, active: bool) -> NewDkimKey {
    NewDkimKey {
        selector: domain(selector),
        rsa_bits,
        private: PrivateKey::new(format!("private {selector}")),
        record: format!("v=DKIM1; p={selector}"),
        active,
        now: Timestamp::from_secs(1),
    }
}

pub(super) async fn with_domain(store: &Store, name: &str, dkim: Option<NewDkimKey>) {
    let new = NewDomain { name: domain(name), tls: TlsSettings::default(), dkim, now: Timestamp::from_secs(1) };
    store.create_domain(new).await.unwrap();
}

pub(super) async fn signing(store: &Store, name: &str) -> Vec<String> {
    let signers = store.dkim_signers(&domain(name)).await.unwrap();
    signers.iter().map(|signer| format!("{} {}", signer.selector, signer.private.expose())).collect()
}

#[tokio::test]
async fn active_keys_sign_rsa_first() {
    let scratch = Directory::new();
    let store = scratch.server().await;
    with_domain(&store, "a.example", Some(key("first", None, true))).await;
    with_domain(&store, "b.example", None).await;
    let a = domain("a.example");
    let made = store.create_dkim_key(&a, key("rsa", Some(2048), false)).await.unwrap().unwrap();
    assert_eq!((made.record_name().as_str(), made.active), ("rsa._domainkey.a.example", false));
    assert_eq!(signing(&store, "a.example").await, ["first private first"]);
    let turned = store.set_dkim_key_active(&a, &domain("rsa"), true).await.unwrap().unwrap();
    assert_eq!((turned.id, turned.active), (made.id, true));
    assert_eq!(signing(&store, "a.example").await, ["rsa private rsa", "first private first"]);
    assert!(signing(&store, "b.example").await.is_empty());
    // Another process sees it too.
    let other = Store::open(&scratch.location(), Role::Tool).await.unwrap();
    other.set_dkim_key_active(&a, &domain("first"), false).await.unwrap().unwrap();
    assert_eq!(signing(&store, "a.example").await, ["rsa private rsa"]);
    assert_eq!(store.set_dkim_key_active(&domain("b.example"), &domain("rsa"), true).await.unwrap(), None);
    assert!(!format!("{:?}", store.dkim_signers(&a).await.unwrap()).contains("private rsa"));
}

#[tokio::test]
async fn a_selector_belongs_to_one_key_and_keys_are_few() {
    let scratch = Directory::new();
    let store = scratch.server().await;
    with_domain(&store, "a.example", Some(key("s0", Some(2048), true))).await;
    let a = domain("a.example");
    let again = store.create_dkim_key(&a, key("s0", None, true)).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    assert_eq!(store.create_dkim_key(&domain("no.example"), key("s", None, true)).await.unwrap(), None);
    for number in 1..DKIM_KEYS_PER_DOMAIN {
        store.create_dkim_key(&a, key(&format!("s{number}"), None, false)).await.unwrap().unwrap();
    }
    let one_more = store.create_dkim_key(&a, key("more", None, true)).await;
    assert!(matches!(one_more, Err(StoreError::Invalid(_))), "{one_more:?}");
    let query = DkimKeyQuery { domain: Some(a.clone()), limit: 2, skip: 1, ..DkimKeyQuery::default() };
    let (total, page) = store.dkim_keys(query).await.unwrap();
    let page: Vec<_> = page.iter().map(|key| key.selector.as_str()).collect();
    assert_eq!((total, page), (10, vec!["s1", "s2"]));
    let query = DkimKeyQuery { selector: Some(domain("s3")), limit: 9, ..DkimKeyQuery::default() };
    let (total, found) = store.dkim_keys(query).await.unwrap();
    assert_eq!((total, found.len()), (1, 1));
    assert!(matches!(store.rename_dkim_key(found[0].id, &a).await.unwrap(), Some(key) if key.selector == a));
    assert!(matches!(store.rename_dkim_key(found[0].id, &domain("s1")).await, Err(StoreError::Conflict(_))));
}

#[tokio::test]
async fn the_last_active_key_stays_and_all_go_with_their_domain() {
    use DkimKeyDeletion::{Deleted, LastActive, NotFound};
    let scratch = Directory::new();
    let store = scratch.server().await;
    with_domain(&store, "a.example", Some(key("s1", Some(2048), true))).await;
    let a = domain("a.example");
    store.create_dkim_key(&a, key("s2", Some(2048), false)).await.unwrap();
    let delete = async |selector: &str| store.delete_dkim_key(&a, &domain(selector)).await.unwrap();
    assert_eq!(delete("s1").await, LastActive);
    store.set_dkim_key_active(&a, &domain("s2"), true).await.unwrap();
    assert_eq!((delete("s1").await, delete("s1").await), (Deleted, NotFound));
    let (_, kept) = store.dkim_keys(DkimKeyQuery { limit: 9, ..DkimKeyQuery::default() }).await.unwrap();
    store.delete_domain(&a).await.unwrap();
    assert!(signing(&store, "a.example").await.is_empty());
    with_domain(&store, "a.example", Some(key("s2", Some(2048), true))).await;
    let (total, anew) = store.dkim_keys(DkimKeyQuery { limit: 9, ..DkimKeyQuery::default() }).await.unwrap();
    assert_eq!(total, 1);
    assert!(anew[0].id > kept[0].id, "a number is never given twice");
}

/// Whoever can read the database has the private keys.
#[tokio::test]
async fn a_database_that_others_can_read_is_closed_to_them() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Directory::of_files();
    scratch.server().await.close().await;
    let path = scratch.0.join("waxwing.db");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    scratch.server().await.close().await;
    assert_eq!(mode(), 0o600);
}
