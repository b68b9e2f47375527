//! Suppression lists.

use policy::suppression::Listed;

use super::*;
use crate::suppression::{Suppression, SuppressionList, SuppressionPlace, SuppressionQuery, TAGS_PER_ADDRESS};

fn entry(text: &str, tags: &[&str]) -> Suppression {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Suppression { tags, ..Suppression::of(&address(text), Timestamp::from_micros(5)) }
}

async fn subjects(store: &Store, place: SuppressionPlace, prefix: &str, limit: usize) -> Vec<String> {
    let (domain, list, prefix) = (domain("sender.example"), SuppressionList::Bounces, prefix.to_owned());
    let query = SuppressionQuery { domain, list, prefix, place, limit };
    store.suppressions(query).await.unwrap().into_iter().map(|entry| entry.subject).collect()
}

#[tokio::test]
async fn pages_go_both_ways_through_a_list() {
    use SuppressionPlace::{After, Before, First, Last};
    let directory = Directory::new();
    let store = directory.server().await;
    let all = ["a@x.test", "b@x.test", "ba@x.test", "c@x.test"];
    let entries = all.iter().map(|text| entry(text, &[])).collect();
    store.suppress(&domain("sender.example"), SuppressionList::Bounces, entries).await.unwrap();
    let others = [("other.example", SuppressionList::Bounces), ("sender.example", SuppressionList::Complaints)];
    for (name, list) in others {
        store.suppress(&domain(name), list, vec![entry("0@x.test", &[]), entry("z@x.test", &[])]).await.unwrap();
    }
    for (place, prefix, limit, expected) in [
        (First, "", 10, &all[..]),
        (First, "", 2, &all[..2]),
        (After("b@x.test".into()), "", 10, &all[2..]),
        (After("b@x.tes".into()), "", 10, &all[1..]),
        (After("c@x.test".into()), "", 10, &[]),
        (Before("c@x.test".into()), "", 2, &all[1..3]),
        (Before("a@x.test".into()), "", 2, &[]),
        (Last, "", 3, &all[1..]),
        (First, "b", 10, &all[1..3]),
        (After("b@x.test".into()), "b", 10, &all[2..3]),
        (After("a".into()), "b", 1, &all[1..2]),
        (Last, "b", 1, &all[2..3]),
        (Before("ba@x.test".into()), "b", 9, &all[1..2]),
    ] {
        assert_eq!(subjects(&store, place.clone(), prefix, limit).await, expected, "{place:?} {prefix} {limit}");
    }
    store.clear_suppressions(&domain("sender.example"), SuppressionList::Bounces).await.unwrap();
    assert_eq!(subjects(&store, First, "", 10).await, [""; 0]);
    let listed = store.listed(&domain("sender.example"), &[address("Z@x.test"), address("c@x.test")]).await.unwrap();
    assert_eq!(listed, [Listed { complained: true, ..Listed::default() }, Listed::default()]);
}

#[tokio::test]
async fn tags_add_up_and_go_one_by_one() {
    let directory = Directory::new();
    let store = directory.server().await;
    let (sender, list) = (domain("sender.example"), SuppressionList::Unsubscribes);
    let add = |tags: Vec<String>| {
        let entry = Suppression { tags, ..entry("a@x.test", &[]) };
        store.suppress(&sender, list, vec![entry])
    };
    let tags = || async {
        let listed = store.listed(&sender, &[address("a@x.test")]).await.unwrap();
        listed.into_iter().next().unwrap().unsubscribed.join(" ")
    };
    add(vec!["News".into()]).await.unwrap();
    add(vec!["offers".into(), "news".into()]).await.unwrap();
    assert_eq!(tags().await, "news offers");
    assert_eq!(store.unsuppress(&sender, list, "a@x.test", Some("OFFERS")).await, Ok(true));
    assert_eq!(store.unsuppress(&sender, list, "a@x.test", Some("offers")).await, Ok(false));
    assert_eq!(tags().await, "news");
    assert_eq!(store.unsuppress(&sender, list, "a@x.test", Some("news")).await, Ok(true));
    assert_eq!(store.suppression(&sender, list, "a@x.test").await, Ok(None));
    // Everything, in each of its three ways.
    for many in [vec![], vec!["news".into(), "*".into()], (0..=TAGS_PER_ADDRESS).map(|n| n.to_string()).collect()] {
        add(many).await.unwrap();
        assert_eq!(tags().await, "*");
        assert_eq!(store.unsuppress(&sender, list, "a@x.test", None).await, Ok(true));
    }
}

#[tokio::test]
async fn a_bounce_goes_on_the_list_with_its_event_unless_it_is_allowed() {
    let directory = Directory::new();
    let store = directory.server().await;
    let sender = domain("sender.example");
    let now = Timestamp::now();
    let allowed = vec![entry("kept@x.test", &[]), Suppression::of_domain(&domain("kept.test"), now)];
    store.suppress(&sender, SuppressionList::Allowlist, allowed).await.unwrap();
    store.accept(message(&["Gone@x.test", "Kept@x.test", "any@kept.test", "full@x.test"])).await.unwrap();
    for job in claim(&store, 10).await {
        for recipient in job.recipients {
            let state = if recipient.address.local_part() == "full" { NewState::Failed } else { NewState::Bounced };
            let events = vec![failed(Severity::Permanent)];
            let outcome = RecipientOutcome { recipient: recipient.id, state, events };
            // A late outcome for one that is finished changes nothing.
            store.record(soon(), vec![outcome.clone()]).await.unwrap();
            store.record(soon(), vec![RecipientOutcome { state: NewState::Bounced, ..outcome }]).await.unwrap();
        }
    }
    assert_eq!(subjects(&store, SuppressionPlace::First, "", 10).await, ["gone@x.test"]);
    let found = store.suppression(&sender, SuppressionList::Bounces, "gone@x.test").await.unwrap().unwrap();
    assert_eq!((found.code.as_str(), found.text.as_str()), ("451", "2.0.0 OK"));
    assert_eq!(store.queued().await, Ok(0));
    // The lists outlive their domain: what is queued still obeys them.
    store.delete_domain(&sender).await.unwrap();
    assert_eq!(subjects(&store, SuppressionPlace::First, "", 10).await.len(), 1);
}
