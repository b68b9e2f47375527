//! Sending domains and API keys.

use super::*;
use crate::{DomainQuery, DomainSort, KeyHash, KeyRole, KeyScope, NewDomain, NewKey, SendingDomain, StoreError};

async fn create(store: &Store, name: &str, seconds: i64) -> SendingDomain {
    let now = Timestamp::from_secs(seconds);
    store.create_domain(NewDomain { name: domain(name), tls: TlsSettings::default(), dkim: None, now }).await.unwrap()
}

#[tokio::test]
async fn a_domain_is_made_read_changed_and_deleted() {
    let directory = Directory::new();
    let store = directory.server().await;
    let name = domain("sender.example");
    assert_eq!(store.domain(&name).await.unwrap(), None);
    let made = create(&store, "sender.example", 5).await;
    assert_eq!((made.id.len(), made.created_at, made.tls), (24, Timestamp::from_secs(5), TlsSettings::default()));
    assert!(made.id.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(store.domain(&name).await.unwrap(), Some(made.clone()));
    let again = NewDomain { name: name.clone(), tls: TlsSettings::default(), dkim: None, now: Timestamp::now() };
    assert_eq!(store.create_domain(again).await, Err(StoreError::Conflict("the domain sender.example".to_owned())));

    // Each switch on its own; what is not stated stays.
    let (yes, no) = (Some(true), Some(false));
    for (require_tls, skip_verification, then) in
        [(yes, None, (yes, None)), (None, no, (yes, no)), (no, yes, (no, yes)), (None, None, (no, yes))]
    {
        let patch = TlsSettings { require_tls, skip_verification, ..TlsSettings::default() };
        let tls = store.update_domain(&name, patch).await.unwrap().unwrap().tls;
        assert_eq!((tls.require_tls, tls.skip_verification), then);
        assert_eq!(store.domain(&name).await.unwrap().unwrap().tls, tls);
    }
    assert_eq!(store.update_domain(&domain("no.example"), TlsSettings::default()).await.unwrap(), None);

    assert!(store.delete_domain(&name).await.unwrap());
    assert!(!store.delete_domain(&name).await.unwrap());
    assert_eq!(store.domain(&name).await.unwrap(), None);
}

#[tokio::test]
async fn deleting_a_domain_leaves_its_mail_and_its_events() {
    let directory = Directory::new();
    let store = directory.server().await;
    create(&store, "sender.example", 5).await;
    store.accept(message(&["a@example.com"])).await.unwrap();
    assert!(store.delete_domain(&domain("sender.example")).await.unwrap());
    let jobs = claim(&store, 1).await;
    store.record(Timestamp::now(), outcomes(&jobs, NewState::Delivered, &[delivered()])).await.unwrap();
    assert_eq!(kinds(&all_events(&store).await), [EventKind::Accepted, EventKind::Delivered]);
}

#[tokio::test]
async fn domains_are_listed_in_pages() {
    let directory = Directory::new();
    let store = directory.server().await;
    for (seconds, name) in ["b.example", "a.example", "c.test", "d_x.test"].into_iter().enumerate() {
        create(&store, name, seconds as i64).await;
    }
    let list = async |search: Option<&str>, limit, skip, sort| {
        let query = DomainQuery { search: search.map(str::to_owned), limit, skip, sort, ..DomainQuery::default() };
        let (total, domains) = store.list_domains(query).await.unwrap();
        (total, domains.iter().map(|domain| domain.name.to_string()).collect::<Vec<_>>().join(" "))
    };
    use DomainSort::{NameAscending, NameDescending, Newest};
    assert_eq!(list(None, 10, 0, Newest).await, (4, "d_x.test c.test a.example b.example".to_owned()));
    assert_eq!(list(None, 2, 1, NameAscending).await, (4, "b.example c.test".to_owned()));
    assert_eq!(list(None, 2, 0, NameDescending).await, (4, "d_x.test c.test".to_owned()));
    assert_eq!(list(Some("EXAMPLE"), 1, 0, NameAscending).await, (2, "a.example".to_owned()));
    assert_eq!(list(Some("_"), 10, 0, Newest).await, (1, "d_x.test".to_owned()));
    assert_eq!(list(Some("%"), 10, 0, Newest).await, (0, String::new()));
    assert_eq!(list(Some("' OR 1=1 --"), 10, 0, Newest).await, (0, String::new()));
}

#[tokio::test]
async fn a_key_is_kept_as_its_hash() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    assert!(!store.has_keys().await.unwrap());
    let new = |key: &str| NewKey {
        hash: KeyHash::of(key),
        description: "ci".to_owned(),
        hint: key[key.len() - 4..].to_owned(),
        scope: KeyScope::Account,
        role: KeyRole::Admin,
        expires_at: None,
        now: Timestamp::from_secs(9),
    };
    let made = store.create_key(new("key-of-many-letters")).await.unwrap();
    assert_eq!((made.hint.as_str(), made.created_at), ("ters", Timestamp::from_secs(9)));
    assert!(matches!(store.create_key(new("key-of-many-letters")).await, Err(StoreError::Conflict(_))));
    assert!(store.has_keys().await.unwrap());
    assert_eq!(store.find_key(&KeyHash::of("key-of-many-letters")).await.unwrap(), Some(made.clone()));
    assert_eq!(store.find_key(&KeyHash::of("key-of-many-Letters")).await.unwrap(), None);
    let second = store.create_key(new("another-one")).await.unwrap();
    assert_eq!(store.list_keys().await.unwrap(), [made.clone(), second]);
    assert!(store.delete_key(made.id).await.unwrap());
    assert!(!store.delete_key(made.id).await.unwrap());
    assert_eq!(store.find_key(&KeyHash::of("key-of-many-letters")).await.unwrap(), None);

    store.close().await;
    let file = std::fs::read(directory.0.join("waxwing.db")).unwrap();
    let needle = b"another-one";
    assert!(!file.windows(needle.len()).any(|part| part == needle), "the key itself is in the file");
}

#[tokio::test]
async fn a_key_of_a_domain_goes_with_the_domain() {
    let directory = Directory::new();
    let store = directory.server().await;
    let (name, end) = ("example.com".parse::<Domain>().unwrap(), Timestamp::from_secs(20));
    let new = |key: &str, scope: KeyScope| NewKey {
        hash: KeyHash::of(key),
        description: String::new(),
        hint: String::new(),
        scope,
        role: KeyRole::Sending,
        expires_at: Some(end),
        now: Timestamp::from_secs(9),
    };
    let of_domain = KeyScope::Domain(name.clone());
    let refused = store.create_key(new("a", of_domain.clone())).await;
    assert_eq!(refused, Err(StoreError::Invalid("there is no domain example.com".to_owned())));

    let (tls, now) = (TlsSettings::default(), Timestamp::from_secs(1));
    let domain = NewDomain { name: name.clone(), tls, dkim: None, now };
    store.create_domain(domain).await.unwrap();
    let made = store.create_key(new("a", of_domain.clone())).await.unwrap();
    assert_eq!((&made.scope, made.role, made.expires_at), (&of_domain, KeyRole::Sending, Some(end)));
    assert!(!made.is_expired(Timestamp::from_micros(19_999_999)) && made.is_expired(end));
    assert_eq!(store.find_key(&KeyHash::of("a")).await.unwrap(), Some(made));
    assert!(!store.has_keys().await.unwrap(), "it is no key of the account");
    let kept = store.create_key(new("b", KeyScope::Account)).await.unwrap();
    assert!(store.delete_domain(&name).await.unwrap());
    assert_eq!(store.list_keys().await.unwrap(), [kept]);
}
