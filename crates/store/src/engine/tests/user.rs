//! Users of the control panel and their sessions.

use std::time::Duration;

use super::*;
use crate::user::{NewSession, NewUser, User, UserRole};
use crate::{KeyHash, NewDomain, PasswordHash, StoreError};

fn new(name: &str, role: UserRole) -> NewUser {
    NewUser { name: name.to_owned(), hash: PasswordHash::new("hash"), role, now: Timestamp::from_secs(5) }
}

async fn create(store: &Store, name: &str) -> User {
    store.create_user(new(name, UserRole::Admin)).await.unwrap()
}

async fn open(store: &Store, user: &User, token: &str, seconds: i64) {
    let now = Timestamp::from_secs(seconds);
    let ends_at = now + Duration::from_secs(100);
    let (address, agent) = ("192.0.2.1".to_owned(), "Browser".to_owned());
    let new = NewSession { token: KeyHash::of(token), user: user.id, address, agent, now, ends_at };
    store.open_session(new).await.unwrap();
}

async fn user_of(store: &Store, token: &str, seconds: i64) -> Option<String> {
    let found = store.session(KeyHash::of(token), Timestamp::from_secs(seconds)).await.unwrap();
    found.map(|(_, user)| user.name)
}

#[tokio::test]
async fn there_is_one_first_user_and_one_of_each_name() {
    let directory = Directory::new();
    let store = directory.server().await;
    assert!(!store.has_users().await.unwrap());
    let first = store.create_first_user(new("Ann", UserRole::Admin)).await.unwrap();
    let again = store.create_first_user(new("Eve", UserRole::Admin)).await;
    assert_eq!(again, Err(StoreError::Conflict("the first user".to_owned())));
    assert_eq!(
        store.create_user(new("aNN", UserRole::Admin)).await,
        Err(StoreError::Conflict("the user aNN".to_owned()))
    );
    assert_eq!(store.find_user("ANN").await.unwrap(), Some(first.clone()));
    assert_eq!(store.find_user("Eve").await.unwrap(), None);
    assert_eq!(store.list_users().await.unwrap(), [first]);
}

#[tokio::test]
async fn the_last_who_may_do_everything_stays() {
    let directory = Directory::new();
    let store = directory.server().await;
    let name = domain("sender.example");
    let of_domain = UserRole::Domain(name.clone());
    let missing = store.create_user(new("bob", of_domain.clone())).await;
    assert_eq!(missing, Err(StoreError::Invalid("there is no domain sender.example".to_owned())));
    let (tls, now) = (TlsSettings::default(), Timestamp::now());
    store.create_domain(NewDomain { name: name.clone(), tls, dkim: None, now }).await.unwrap();
    let ann = create(&store, "ann").await;
    let bob = store.create_user(new("bob", of_domain.clone())).await.unwrap();
    assert_eq!(bob.role, of_domain);

    assert!(matches!(store.delete_user(ann.id).await, Err(StoreError::Invalid(_))));
    let eve = create(&store, "eve").await;
    assert!(store.delete_user(ann.id).await.unwrap());
    assert!(!store.delete_user(ann.id).await.unwrap());
    // The user of a domain goes with it, and so does the session.
    open(&store, &bob, "bob's", 10).await;
    store.delete_domain(&name).await.unwrap();
    assert_eq!(user_of(&store, "bob's", 11).await, None);
    assert_eq!(store.list_users().await.unwrap(), [eve]);
}

#[tokio::test]
async fn a_session_ends_in_time_by_itself_and_when_it_is_told_to() {
    let directory = Directory::new();
    let store = directory.server().await;
    let (ann, eve) = (create(&store, "ann").await, create(&store, "eve").await);
    for (user, token) in [(&ann, "1"), (&ann, "2"), (&ann, "3"), (&eve, "4")] {
        open(&store, user, token, 1000).await;
    }
    assert_eq!(user_of(&store, "1", 1099).await.as_deref(), Some("ann"));
    assert_eq!(user_of(&store, "1", 1100).await, None);
    assert_eq!(user_of(&store, "none", 1000).await, None);

    store.use_session(KeyHash::of("2"), Timestamp::from_secs(1050)).await.unwrap();
    let used = store.list_sessions(ann.id, Timestamp::from_secs(1060)).await.unwrap();
    let used: Vec<_> = used.iter().map(|session| session.used_at).collect();
    assert_eq!(used, [1050, 1000, 1000].map(Timestamp::from_secs));

    store.close_session(KeyHash::of("1")).await.unwrap();
    assert_eq!(user_of(&store, "1", 1001).await, None);
    // Another password ends the sessions that were opened with the old one.
    let hash = PasswordHash::new("other");
    assert!(store.set_user_password(ann.id, hash.clone(), Some(KeyHash::of("2"))).await.unwrap());
    assert_eq!(store.find_user("ann").await.unwrap().unwrap().hash, hash);
    assert_eq!(user_of(&store, "3", 1001).await, None);
    assert_eq!(user_of(&store, "2", 1001).await.as_deref(), Some("ann"));
    assert_eq!(store.close_sessions(ann.id).await.unwrap(), 1);
    assert_eq!(user_of(&store, "4", 1001).await.as_deref(), Some("eve"));
    assert!(!store.set_user_password(99, hash, None).await.unwrap());

    // What has ended is forgotten when another is opened.
    open(&store, &ann, "5", 2000).await;
    assert!(store.list_sessions(eve.id, Timestamp::from_secs(0)).await.unwrap().is_empty());
    let ann = store.find_user("ann").await.unwrap().unwrap();
    assert_eq!(ann.signed_in_at, Some(Timestamp::from_secs(2000)));
}
