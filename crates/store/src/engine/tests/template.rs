//! Templates and their versions.

use serde_json::json;

use super::*;
use crate::template::{
    NamePage, NewTemplate, NewTemplateVersion, TEMPLATES_PER_DOMAIN, TemplateUse, TemplateVersionChange,
};
use crate::{NewDomain, StoreError};

async fn with_domain(directory: &Directory) -> (Store, Domain) {
    let store = directory.server().await;
    let name = domain("sender.example");
    let new = NewDomain { name: name.clone(), tls: TlsSettings::default(), dkim: None, now: Timestamp::now() };
    store.create_domain(new).await.unwrap();
    (store, name)
}

fn version(tag: &str, active: bool) -> NewTemplateVersion {
    NewTemplateVersion {
        tag: tag.to_owned(),
        source: format!("Hi {{{{{tag}}}}}"),
        comment: String::new(),
        headers: json!({ "Subject": tag }).as_object().unwrap().clone(),
        active,
        now: Timestamp::now(),
    }
}

fn template(name: &str, version: Option<NewTemplateVersion>) -> NewTemplate {
    let (description, created_by) = ("what for".to_owned(), "me".to_owned());
    NewTemplate { name: name.to_owned(), description, created_by, version, now: Timestamp::now() }
}

#[tokio::test]
async fn one_version_of_a_template_is_active() {
    let directory = Directory::new();
    let (store, sender) = with_domain(&directory).await;
    let (made, first) = store.create_template(&sender, template("a", Some(version("one", false)))).await.unwrap();
    assert_eq!((made.name.as_str(), made.description.as_str(), made.created_by.as_str()), ("a", "what for", "me"));
    assert!(first.unwrap().active, "the first one is");
    let conflict = store.create_template(&sender, template("a", None)).await;
    assert!(matches!(conflict, Err(StoreError::Conflict(_))));

    let (_, second) = store.create_template_version(&sender, "a", version("two", false)).await.unwrap().unwrap();
    assert!(!second.active);
    assert!(matches!(
        store.create_template_version(&sender, "a", version("two", true)).await,
        Err(StoreError::Conflict(_))
    ));
    store.create_template_version(&sender, "a", version("three", true)).await.unwrap().unwrap();
    let active = || async { store.template(&sender, "a").await.unwrap().unwrap().1.map(|version| version.tag) };
    assert_eq!(active().await.as_deref(), Some("three"));

    let change = TemplateVersionChange { source: Some("new".to_owned()), activate: true, ..Default::default() };
    assert!(store.change_template_version(&sender, "a", "two", change).await.unwrap());
    let (_, changed) = store.template_version(&sender, "a", "two").await.unwrap().unwrap();
    assert_eq!((changed.source.as_str(), changed.active), ("new", true));
    assert_eq!(changed.headers["Subject"], "two", "what is not stated stays");
    assert_eq!(active().await.as_deref(), Some("two"));

    assert!(store.delete_template_version(&sender, "a", "two").await.unwrap());
    assert!(!store.delete_template_version(&sender, "a", "two").await.unwrap());
    assert_eq!(active().await, None);
    assert!(store.describe_template(&sender, "a", "other".to_owned()).await.unwrap());
    assert_eq!(store.template(&sender, "a").await.unwrap().unwrap().0.description, "other");
}

#[tokio::test]
async fn lists_are_read_from_both_ends() {
    let directory = Directory::new();
    let (store, sender) = with_domain(&directory).await;
    for name in ["d", "b", "a", "c", "e"] {
        store.create_template(&sender, template(name, Some(version("x", true)))).await.unwrap();
        store.create_template_version(&sender, "a", version(name, false)).await.unwrap();
    }
    let of = |text: &str| text.to_owned();
    for (page, expected) in [
        (NamePage::First, "a b"),
        (NamePage::Last, "d e"),
        (NamePage::After(of("b")), "c d"),
        (NamePage::After(of("bb")), "c d"),
        (NamePage::After(of("e")), ""),
        (NamePage::Before(of("d")), "b c"),
        (NamePage::Before(of("a")), ""),
    ] {
        let found = store.templates(&sender, page.clone(), 2).await.unwrap();
        let names: Vec<_> = found.iter().map(|(template, _)| template.name.as_str()).collect();
        assert_eq!(names.join(" "), expected, "{page:?}");
    }
    let (_, versions) = store.template_versions(&sender, "a", NamePage::First, 10).await.unwrap().unwrap();
    let tags: Vec<_> = versions.iter().map(|version| version.tag.as_str()).collect();
    assert_eq!(tags, ["a", "c", "e", "x"], "what came before the template was not made");
    assert!(store.template_versions(&sender, "none", NamePage::First, 10).await.unwrap().is_none());
}

#[tokio::test]
async fn templates_belong_to_their_domain_and_go_with_it() {
    let directory = Directory::new();
    let (store, sender) = with_domain(&directory).await;
    let other = domain("other.example");
    let new = NewDomain { name: other.clone(), tls: TlsSettings::default(), dkim: None, now: Timestamp::now() };
    store.create_domain(new.clone()).await.unwrap();
    for (domain, name) in [(&sender, "a"), (&sender, "b"), (&other, "a")] {
        store.create_template(domain, template(name, Some(version("x", true)))).await.unwrap();
    }
    assert_eq!(store.delete_templates(&sender, Some("a")).await.unwrap(), 1);
    assert_eq!(store.delete_templates(&sender, None).await.unwrap(), 1);
    assert!(store.template(&other, "a").await.unwrap().is_some());
    store.delete_domain(&other).await.unwrap();
    store.create_domain(new).await.unwrap();
    assert!(store.template(&other, "a").await.unwrap().is_none(), "who has the name next does not see them");
    let nobody = store.create_template(&domain("nobody.example"), template("a", None)).await;
    assert!(nobody.is_err());
}

#[tokio::test]
async fn there_are_not_too_many() {
    let directory = Directory::new();
    let (store, sender) = with_domain(&directory).await;
    for n in 0..TEMPLATES_PER_DOMAIN {
        store.create_template(&sender, template(&n.to_string(), None)).await.unwrap();
    }
    assert!(matches!(store.create_template(&sender, template("more", None)).await, Err(StoreError::Invalid(_))));
}

#[tokio::test]
async fn events_tell_of_the_template() {
    let directory = Directory::new();
    let store = directory.server().await;
    let used = TemplateUse { name: "a".to_owned(), version: "one".to_owned(), is_text: true };
    store.accept(NewMessage { template: Some(used.clone()), ..message(&["a@example.com"]) }).await.unwrap();
    assert_eq!(all_events(&store).await[0].message.template, Some(used));
}
