//! Places and what waits for them, by themselves; and outcomes on their way into the store.

use std::collections::BTreeSet;

use policy::backoff::Contact;
use policy::site::Site;
use smtp::Domain;
use store::{ClaimedRecipient, Location, Role};

use super::ahead::Begun;
use super::in_flight::released;
use super::*;

fn ahead(total: usize, concurrency: u32) -> (Arc<Limiter>, Ahead) {
    let limiter = Arc::new(Limiter::new(Limits { total, concurrency, ..Limits::default() }));
    (limiter.clone(), Ahead::new(total, limiter))
}

/// So many jobs for a site of that name, as a store gives them.
async fn jobs(site: &str, count: usize) -> Vec<Job> {
    let directory = std::env::temp_dir().join(format!("waxwing-ahead-{:016x}", rand::random::<u64>()));
    let store = Store::open(&Location::sqlite(&directory), Role::Server).await.unwrap();
    store.accept(super::tests::message(None)).await.unwrap();
    let now = Timestamp::now();
    let job = store.claim(Claim::all(now, now + LEASE, 1)).await.unwrap().remove(0);
    store.close().await;
    std::fs::remove_dir_all(directory).unwrap();
    let (site, destination) = (Site::named(site), format!("{site}.test").parse::<Domain>().unwrap());
    let numbered = |number: usize| {
        let id = store::RecipientId::of_number(number as i64);
        let recipients = vec![ClaimedRecipient { id, ..job.recipients[0].clone() }];
        let (site, destination) = (site.clone(), destination.clone());
        Job { site, destination, is_prompt: true, recipients, ..job.clone() }
    };
    (0..count).map(numbered).collect()
}

fn sites(begun: &[Begun]) -> BTreeSet<String> {
    begun.iter().map(|begun| begun.job.site.to_string()).collect()
}

#[tokio::test]
async fn whoever_ends_begins_what_waits_at_its_site_and_leaves_a_full_house_in_turn() {
    let (limiter, ahead) = ahead(3, 2);
    assert!(ahead.take_in([jobs("a", 6).await, jobs("b", 2).await].concat()).is_empty());
    let (mut begun, refused) = ahead.begin();
    assert_eq!((begun.len(), refused.len(), ahead.running(), ahead.waiting()), (3, 0, 3, 5));
    assert_eq!(sites(&begun), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    // All places are taken: each that ends serves the site whose turn it is, so that b is not left behind.
    let mut served = Vec::new();
    while let Some(Begun { slot, is_slow, .. }) = begun.pop() {
        let site = slot.site().clone();
        drop(slot);
        let (next, _) = ahead.next(&site, is_slow, true);
        served.extend(next.iter().map(|next| next.job.site.to_string()));
        begun.extend(next);
        assert!(limiter.running(&Site::named("a")) <= 2);
    }
    assert_eq!((served.len(), ahead.running(), ahead.waiting()), (5, 0, 0));
    assert!(served[..2].contains(&"b".to_owned()), "{served:?}");
}

#[tokio::test]
async fn what_waits_goes_back_when_its_site_is_held_back_and_at_a_stop() {
    let (limiter, ahead) = ahead(10, 1);
    let all = jobs("a", 4).await;
    let destination = all[0].destination.clone();
    ahead.take_in(all);
    let (begun, _) = ahead.begin();
    let now = Timestamp::now();
    assert!(begun[0].slot.met(Contact::Unreached, now, now).held.is_some());
    assert_eq!(ahead.give_up(&Site::named("a"), &destination).len(), 3);
    assert_eq!((ahead.waiting(), limiter.may_wait(&Site::named("a"))), (0, 0));
    ahead.take_in(jobs("b", 3).await);
    assert_eq!(ahead.close().len(), 3);
    assert_eq!(ahead.take_in(jobs("b", 2).await).len(), 2, "nothing is taken in after the stop");
    assert_eq!(ahead.room(), None);
}

#[tokio::test]
async fn only_a_site_that_answers_at_once_has_work_ahead() {
    let (limiter, ahead) = ahead(10, 2);
    let site = Site::named("a");
    let room = |limiter: &Limiter| store::Gate::site(limiter, &site, Timestamp::now());
    assert_eq!((limiter.may_wait(&site), room(&limiter)), (0, store::Room::Jobs(2)));
    ahead.take_in(jobs("a", 2).await);
    let (begun, _) = ahead.begin();
    let now = Timestamp::now();
    begun[0].slot.met(Contact::Answered, now, now);
    assert_eq!((limiter.may_wait(&site), room(&limiter)), (16, store::Room::Jobs(16)));
    // More is claimed when half of it is gone.
    ahead.take_in(jobs("a", 9).await);
    assert_eq!(room(&limiter), store::Room::Jobs(0));
    begun[0].slot.met(Contact::Answered, now, now + Duration::from_secs(2));
    assert_eq!(limiter.may_wait(&site), 0, "it has become slow");
}

#[tokio::test]
async fn nothing_begins_while_the_store_refuses_or_too_much_is_unrecorded() {
    let directory = std::env::temp_dir().join(format!("waxwing-recorder-{:016x}", rand::random::<u64>()));
    let store = Store::open(&Location::sqlite(&directory), Role::Server).await.unwrap();
    let (records, recorder) = Records::new(store.clone(), Arc::default(), Arc::default());
    let outcomes = |count: i64| (0..count).map(|number| released(store::RecipientId::of_number(number))).collect();
    records.hand_over(outcomes(199), None);
    assert!(records.may_begin(), "and nobody waits for the record");
    records.hand_over(outcomes(1), None);
    assert!(!records.may_begin());
    let (here, away) = (directory.join("waxwing.db"), directory.join("away"));
    std::fs::rename(&here, &away).unwrap();
    let recording = tokio::spawn(recorder.run());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(records.unrecorded(), 200);
    std::fs::rename(&away, &here).unwrap();
    super::tests::until("all is recorded", async || records.unrecorded() == 0 && records.may_begin()).await;
    drop(records);
    recording.await.unwrap();
    store.close().await;
    std::fs::remove_dir_all(directory).unwrap();
}
