//! DKIM keys that take the place of others.

use super::dkim::{key, signing, with_domain};
use super::*;
use crate::StoreError;
use crate::dkim::DKIM_KEYS_PER_DOMAIN;
use crate::rotation::DkimRotation;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn successors_sign_once_they_are_promoted() {
    let scratch = Directory::new();
    let store = scratch.server().await;
    with_domain(&store, "a.example", Some(key("old", Some(2048), true))).await;
    let a = domain("a.example");
    let rotation = DkimRotation { enabled: true, interval: DAY };
    assert_eq!(store.dkim_rotation(&a).await.unwrap(), None);
    assert!(store.set_dkim_rotation(&a, rotation).await.unwrap());
    assert!(!store.set_dkim_rotation(&domain("b.example"), rotation).await.unwrap());
    assert_eq!(store.dkim_rotation(&a).await.unwrap(), Some(rotation));

    // The key was made at second 1.
    let (early, due) = (Timestamp::from_secs(86_400), Timestamp::from_secs(86_401));
    assert_eq!(store.dkim_rotations_due(early).await.unwrap(), []);
    assert_eq!(store.dkim_rotations_due(due).await.unwrap(), std::slice::from_ref(&a));
    let old = store.dkim_signers(&a).await.unwrap()[0].id;
    let new = store.create_dkim_successor(old, key("new", Some(2048), false)).await.unwrap().unwrap();
    assert_eq!(store.create_dkim_successor(old, key("third", Some(2048), false)).await.unwrap(), None);
    assert_eq!(store.dkim_rotations_due(due).await.unwrap(), [], "one is under way");
    assert_eq!(signing(&store, "a.example").await, ["old private old"]);
    let waiting = store.dkim_successors(Some(&a)).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].key.id, waiting[0].replaces), (1, new.id, old));

    assert!(store.promote_dkim_successor(new.id, due).await.unwrap());
    assert!(!store.promote_dkim_successor(new.id, due).await.unwrap());
    assert_eq!(signing(&store, "a.example").await, ["new private new"]);
    assert_eq!(store.dkim_successors(None).await.unwrap(), []);

    assert_eq!(store.delete_retired_dkim_keys(due).await.unwrap(), 0);
    assert_eq!(store.delete_retired_dkim_keys(due + DAY).await.unwrap(), 1);
    assert_eq!(signing(&store, "a.example").await, ["new private new"], "no key that was never retired goes");
    assert!(store.delete_domain(&a).await.unwrap());
    assert_eq!(store.dkim_rotation(&a).await.unwrap(), None);
}

#[tokio::test]
async fn who_turns_a_retired_key_on_keeps_it() {
    let scratch = Directory::new();
    let store = scratch.server().await;
    with_domain(&store, "a.example", Some(key("old", None, true))).await;
    let a = domain("a.example");
    let old = store.dkim_signers(&a).await.unwrap()[0].id;
    let new = store.create_dkim_successor(old, key("new", None, false)).await.unwrap().unwrap();
    store.promote_dkim_successor(new.id, Timestamp::from_secs(10)).await.unwrap();
    for active in [true, false] {
        store.set_dkim_key_active(&a, &domain("old"), active).await.unwrap().unwrap();
        assert_eq!(store.delete_retired_dkim_keys(Timestamp::from_secs(20)).await.unwrap(), 0, "{active}");
    }
}

#[tokio::test]
async fn a_key_that_was_switched_off_has_no_successor_that_signs() {
    let scratch = Directory::new();
    let store = scratch.server().await;
    with_domain(&store, "a.example", Some(key("old", None, true))).await;
    let a = domain("a.example");
    let old = store.dkim_signers(&a).await.unwrap()[0].id;
    let new = store.create_dkim_successor(old, key("new", None, false)).await.unwrap().unwrap();
    store.set_dkim_key_active(&a, &domain("old"), false).await.unwrap().unwrap();
    assert!(!store.promote_dkim_successor(new.id, Timestamp::from_secs(10)).await.unwrap());
    assert_eq!(signing(&store, "a.example").await, Vec::<String>::new());
    assert_eq!(store.dkim_successors(None).await.unwrap(), []);
    assert_eq!(store.delete_retired_dkim_keys(Timestamp::from_secs(20)).await.unwrap(), 0, "nobody's key goes");
}

#[tokio::test]
async fn a_domain_with_too_many_keys_gets_no_successor() {
    let scratch = Directory::new();
    let store = scratch.server().await;
    with_domain(&store, "a.example", Some(key("k0", None, true))).await;
    let a = domain("a.example");
    for number in 1..DKIM_KEYS_PER_DOMAIN {
        store.create_dkim_key(&a, key(&format!("k{number}"), None, false)).await.unwrap().unwrap();
    }
    let first = store.dkim_signers(&a).await.unwrap()[0].id;
    let refused = store.create_dkim_successor(first, key("more", None, false)).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    assert_eq!(store.dkim_successors(None).await.unwrap(), [], "nothing of it is kept");
}
