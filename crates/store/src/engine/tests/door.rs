//! Opening: who may, and what they find.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::{NewDomain, StoreError};

#[tokio::test]
async fn a_second_server_is_kept_out() {
    let directory = Directory::of_files();
    let first = directory.server().await;
    let second = Store::open(&directory.location(), Role::Server).await;
    assert_eq!(second.err(), Some(StoreError::Locked(directory.0.display().to_string())));
    first.close().await;
    directory.server().await;
}

#[tokio::test]
async fn a_tool_works_beside_a_server() {
    let directory = Directory::of_files();
    let server = directory.server().await;
    let tool = Store::open(&directory.location(), Role::Tool).await.unwrap();
    let writing = tokio::spawn({
        let server = server.clone();
        async move {
            for number in 0..50 {
                server.accept(message(&[&format!("r{number}@example.com")])).await.unwrap();
            }
        }
    });
    for number in 0..10 {
        let name = domain(&format!("d{number}.example"));
        let new = NewDomain { name: name.clone(), tls: TlsSettings::default(), dkim: None, now: Timestamp::now() };
        tool.create_domain(new).await.unwrap();
        assert!(server.domain(&name).await.unwrap().is_some());
    }
    writing.await.unwrap();
    assert_eq!(all_events(&tool).await.len(), 50);
}

#[tokio::test]
async fn a_tool_may_come_first() {
    let directory = Directory::new();
    let tool = Store::open(&directory.location(), Role::Tool).await.unwrap();
    assert!(!tool.has_keys().await.unwrap());
    let server = directory.server().await;
    server.accept(message(&["a@example.com"])).await.unwrap();
    assert_eq!(all_events(&tool).await.len(), 1);
}

#[tokio::test]
async fn nobody_else_can_read_the_files() {
    let directory = Directory::of_files();
    let store = directory.server().await;
    store.accept(message(&["a@example.com"])).await.unwrap();
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.0.clone()), 0o700);
    for file in ["waxwing.db", "waxwing.db-wal", "waxwing.db-shm", "waxwing.lock", "waxwing.changed"] {
        assert_eq!(mode(directory.0.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_database_of_the_future_is_left_alone() {
    let directory = Directory::new();
    let store = directory.server().await;
    let age = |writing: &super::super::writer::Writing<'_>| {
        let age = if writing.connection.sqlite().is_some() {
            "PRAGMA user_version = 99"
        } else {
            "UPDATE waxwing_schema SET version = 99"
        };
        Ok(writing.connection.execute_batch(age)?)
    };
    store.engine().writer.run(0, age).await.unwrap();
    store.close().await;
    for role in [Role::Server, Role::Tool] {
        let opened = Store::open(&directory.location(), role).await;
        let known = super::super::schema::VERSION;
        assert_eq!(opened.err(), Some(StoreError::NewerSchema { found: 99, known }));
    }
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let directory = Directory::of_files();
    std::fs::write(&directory.0, "not a directory").unwrap();
    let inside = Location::sqlite(directory.0.join("data"));
    let opened = Store::open(&inside, Role::Server).await;
    assert!(matches!(opened, Err(StoreError::CannotOpen { .. })), "{opened:?}");
    std::fs::remove_file(&directory.0).unwrap();

    std::fs::create_dir(&directory.0).unwrap();
    std::fs::write(directory.0.join("waxwing.db"), "something else entirely, and long enough to look at").unwrap();
    let opened = Store::open(&directory.location(), Role::Server).await;
    assert!(matches!(opened, Err(StoreError::Damaged(_))), "{opened:?}");
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let directory = Directory::new();
    let store = directory.server().await;
    store.close().await;
    store.close().await;
    assert!(matches!(store.accept(message(&["a@example.com"])).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.has_keys().await, Err(StoreError::Unavailable(_))));
}
