//! Logins for submission.

use super::*;
use crate::{Credential, NewDomain, PasswordHash, StoreError};

fn credential(name: &str, mailbox: &str) -> Credential {
    Credential {
        domain: domain(name),
        mailbox: mailbox.to_owned(),
        hash: PasswordHash::new("$first"),
        created_at: Timestamp::from_secs(1),
    }
}

async fn create_domain(store: &Store, name: &str) {
    let new = NewDomain { name: domain(name), tls: TlsSettings::default(), dkim: None, now: Timestamp::from_secs(1) };
    store.create_domain(new).await.unwrap();
}

#[tokio::test]
async fn a_credential_is_made_found_changed_and_deleted() {
    let directory = Directory::new();
    let store = directory.server().await;
    let name = domain("sender.example");
    create_domain(&store, "sender.example").await;
    let ann = credential("sender.example", "ann");
    assert_eq!(store.credential(&name, "ann").await.unwrap(), None);
    store.create_credential(ann.clone()).await.unwrap();
    let taken = StoreError::Conflict("the credential ann@sender.example".to_owned());
    assert_eq!(store.create_credential(ann.clone()).await, Err(taken));
    assert_eq!(store.credential(&name, "ann").await.unwrap(), Some(ann.clone()));

    assert!(store.set_credential_password(&name, "ann", PasswordHash::new("$second")).await.unwrap());
    assert_eq!(store.credential(&name, "ann").await.unwrap().unwrap().hash.as_str(), "$second");
    assert!(!store.set_credential_password(&name, "bob", PasswordHash::new("$second")).await.unwrap());

    assert!(store.delete_credential(&name, "ann").await.unwrap());
    assert!(!store.delete_credential(&name, "ann").await.unwrap());
    assert_eq!(format!("{:?}", ann.hash), "PasswordHash(…)");
}

#[tokio::test]
async fn credentials_belong_to_their_domain() {
    let directory = Directory::new();
    let store = directory.server().await;
    let orphan = StoreError::Invalid("there is no domain nobody.example".to_owned());
    assert_eq!(store.create_credential(credential("nobody.example", "ann")).await, Err(orphan));
    for name in ["sender.example", "other.example"] {
        create_domain(&store, name).await;
        for mailbox in ["zoe", "ann", "bob"] {
            store.create_credential(credential(name, mailbox)).await.unwrap();
        }
    }
    let (total, page) = store.list_credentials(&domain("sender.example"), 2, 1).await.unwrap();
    let logins: Vec<String> = page.iter().map(Credential::login).collect();
    assert_eq!((total, logins), (3, vec!["bob@sender.example".to_owned(), "zoe@sender.example".to_owned()]));

    assert_eq!(store.delete_credentials(&domain("sender.example")).await.unwrap(), 3);
    assert_eq!(store.list_credentials(&domain("other.example"), 10, 0).await.unwrap().0, 3);
    // A domain of the same name that is made later has none of the old logins.
    store.delete_domain(&domain("other.example")).await.unwrap();
    create_domain(&store, "other.example").await;
    assert_eq!(store.credential(&domain("other.example"), "ann").await.unwrap(), None);
}
