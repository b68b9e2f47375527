//! The counts by themselves: no store, no sockets.

use std::collections::HashMap;
use std::sync::OnceLock;

use policy::backoff::{Contact, Pauses};
use policy::site::Site;
use proptest::prelude::*;
use smtp::Domain;
use store::{Gate, Held, Room};

use super::limiter::{Changed, Slot};
use super::*;

fn site(name: &str) -> Site {
    Site::named(name)
}

fn domain(name: &str) -> Domain {
    name.parse().unwrap()
}

fn limiter(limits: Limits) -> Arc<Limiter> {
    Arc::new(Limiter::new(limits))
}

/// So long after the test began.
fn at(millis: u64) -> Timestamp {
    static BEGAN: OnceLock<Timestamp> = OnceLock::new();
    *BEGAN.get_or_init(Timestamp::now) + Duration::from_millis(millis)
}

#[test]
fn a_site_has_so_many_slots_whatever_its_domains() {
    let limiter = limiter(Limits { concurrency: 2, ..Limits::default() });
    let (one, two) = (domain("one.test"), domain("two.test"));
    let first = limiter.reserve(&site("p"), &one, at(0)).unwrap();
    let second = limiter.reserve(&site("p"), &two, at(0)).unwrap();
    assert!(limiter.reserve(&site("p"), &two, at(0)).is_err());
    assert_eq!((limiter.site(&site("p"), at(0)), limiter.site(&site("q"), at(0))), (Room::Jobs(0), Room::Jobs(2)));
    drop(first);
    assert_eq!(limiter.site(&site("p"), at(0)), Room::Jobs(1));
    drop(second);
    assert_eq!(limiter.running(&site("p")), 0);
}

#[test]
fn who_turns_out_to_belong_to_a_full_site_does_not_go() {
    let limiter = limiter(Limits { concurrency: 1, ..Limits::default() });
    let (one, two) = (domain("one.test"), domain("two.test"));
    let mut first = limiter.reserve(&Site::unknown(&one), &one, at(0)).unwrap();
    assert!(limiter.reserve(&Site::unknown(&one), &one, at(0)).is_err(), "one tells where the others belong");
    let mut second = limiter.reserve(&Site::unknown(&two), &two, at(0)).unwrap();
    assert!(first.enter(&site("p"), at(0)) && !second.enter(&site("p"), at(0)));
    assert_eq!(limiter.running(&Site::unknown(&one)), 0);
    drop(first);
    assert!(second.enter(&site("p"), at(0)));
    assert_eq!(limiter.running(&site("p")), 1);
}

#[test]
fn a_rate_counts_what_goes_out_and_nothing_else() {
    let limiter = limiter(Limits { rate: Some("1/s".parse().unwrap()), ..Limits::default() });
    let one = domain("one.test");
    let unused = limiter.reserve(&site("p"), &one, at(0)).unwrap();
    assert_eq!(limiter.site(&site("p"), at(0)), Room::NotBefore(at(1000)));
    drop(unused);
    let mut used = limiter.reserve(&site("p"), &one, at(0)).unwrap();
    assert!(used.enter(&site("p"), at(0)));
    drop(used);
    assert_eq!(limiter.site(&site("p"), at(999)), Room::NotBefore(at(1000)));
    assert_eq!(limiter.site(&site("p"), at(1000)), Room::Jobs(1));
}

#[test]
fn one_dead_domain_does_not_speak_for_its_provider() {
    let pauses = Pauses { first: Duration::from_secs(1), most: Duration::from_secs(8) };
    let limiter = limiter(Limits { concurrency: 4, pauses, ..Limits::default() });
    let (dead, live) = (domain("dead.test"), domain("live.test"));
    let mut now = 0;
    for _ in 0..10 {
        now += 10_000;
        let slot = limiter.reserve(&site("p"), &dead, at(now)).unwrap();
        let changed = slot.met(Contact::Unreached, at(now), at(now));
        assert!(!changed.is_back);
        assert_eq!(changed.held, Some(Held::Destination(dead.clone())));
        assert_eq!(limiter.destination(&live, at(now)), Room::Jobs(usize::MAX));
        assert!(matches!(limiter.destination(&dead, at(now)), Room::NotBefore(until) if until > at(now)));
    }
    assert_eq!(limiter.site(&site("p"), at(now)), Room::Jobs(2), "it said so once");
    // A probe runs: no second one beside it.
    now += 10_000;
    let probe = limiter.reserve(&site("p"), &dead, at(now)).unwrap();
    assert_eq!(limiter.destination(&dead, at(now)), Room::Jobs(0));
    let changed = probe.met(Contact::Answered, at(now), at(now));
    assert_eq!(changed, Changed { is_back: true, held: None });
    assert_eq!(limiter.destination(&dead, at(now)), Room::Jobs(usize::MAX));
}

#[test]
fn a_dead_provider_is_one_probe_whatever_its_domains() {
    let pauses = Pauses { first: Duration::from_secs(1), most: Duration::from_secs(8) };
    let limiter = limiter(Limits { concurrency: 4, pauses, ..Limits::default() });
    let mut now = 0;
    let mut seen = Vec::new();
    for number in 0..6 {
        now += 10_000;
        let slot = limiter.reserve(&site("p"), &domain(&format!("d{number}.test")), at(now)).unwrap();
        slot.met(Contact::TurnedAway, at(now), at(now));
        drop(slot);
        seen.push(limiter.site(&site("p"), at(now)));
    }
    let held = |millis| Room::NotBefore(at(millis));
    assert_eq!(seen, [Room::Jobs(2), Room::Jobs(1), held(31_000), held(42_000), held(54_000), held(68_000)]);
    let slot = limiter.reserve(&site("p"), &domain("d7.test"), at(70_000)).unwrap();
    assert!(slot.met(Contact::Answered, at(70_000), at(70_000)).is_back);
    drop(slot);
    assert_eq!(limiter.site(&site("p"), at(70_000)), Room::Jobs(2));
}

proptest! {
    /// Whoever comes, enters, moves and goes: no site ever has more than it may, and at the end nothing is left.
    #[test]
    fn no_site_ever_has_more_than_it_may(
        limit in 1..5u32, steps in prop::collection::vec((0..4u8, 0..6usize, 0..3usize, 0..4usize), 1..200)
    ) {
        let limiter = limiter(Limits { concurrency: limit, ..Limits::default() });
        let mut slots: Vec<(Slot, Option<Site>)> = Vec::new();
        let mut entered: HashMap<Site, u32> = HashMap::new();
        for (step, (what, destination, place, which)) in steps.into_iter().enumerate() {
            let (destination, place) = (domain(&format!("d{destination}.test")), site(&format!("p{place}")));
            let now = at(step as u64 * 100_000);
            match (what, which.checked_rem(slots.len())) {
                (0, _) | (_, None) => {
                    let slot = limiter.reserve(&Site::unknown(&destination), &destination, now);
                    slots.extend(slot.map(|slot| (slot, None)));
                }
                (1, Some(index)) if slots[index].1.is_none() => {
                    if slots[index].0.enter(&place, now) {
                        slots[index].1 = Some(place.clone());
                        *entered.entry(place).or_default() += 1;
                    }
                }
                (2, Some(index)) => {
                    let contact = [Contact::Answered, Contact::Unreached, Contact::TurnedAway][which % 3];
                    slots[index].0.met(contact, now, now);
                }
                (_, Some(index)) => {
                    if let (_, Some(site)) = slots.swap_remove(index) {
                        *entered.get_mut(&site).unwrap() -= 1;
                    }
                }
            }
            for (site, running) in &entered {
                prop_assert!(*running <= limit);
                prop_assert_eq!(limiter.running(site), *running);
            }
        }
        slots.clear();
        for site in entered.keys() {
            prop_assert_eq!(limiter.running(site), 0);
        }
    }
}

#[test]
fn a_node_has_its_part_and_nothing_without_a_place() {
    use policy::share::Place;
    let rate = Some("2/s".parse().unwrap());
    let (paced, limiter) =
        (limiter(Limits { rate, ..Limits::default() }), limiter(Limits { concurrency: 5, ..Limits::default() }));
    let (p, one) = (site("p"), domain("one.test"));
    let slot = limiter.reserve(&p, &one, at(0)).unwrap();
    let parts = |places: &[Place]| {
        limiter.set_places(places.to_vec());
        (limiter.site(&p, at(0)), slot.spare(), limiter.site(&Site::unknown(&one), at(0)))
    };
    assert_eq!(parts(&[Place::ALONE]), (Room::Jobs(4), 4, Room::Jobs(1)));
    let three = |index| Place { index, nodes: 3 };
    let all: Vec<_> = (0..3).map(|index| parts(&[three(index)])).collect();
    // One of the 5 runs at each: 2 and 2 and 1 remain 1 and 1 and none.
    assert_eq!(all.iter().map(|part| part.1).sum::<usize>(), 2);
    assert!(all.iter().all(|part| part.0 == Room::Jobs(part.1) && part.2 == Room::Jobs(1)), "{all:?}");
    assert_eq!(parts(&[]), (Room::Jobs(0), 0, Room::Jobs(0)));
    assert!(limiter.reserve(&p, &one, at(0)).is_err());

    // A second's burst, then nothing; and nothing is written of it, since the others may go on.
    paced.set_places(vec![Place { index: 0, nodes: 2 }]);
    let held = paced.reserve(&p, &one, at(0)).unwrap();
    assert_eq!(paced.site(&p, at(0)), Room::Jobs(0));
    paced.set_places(vec![Place::ALONE]);
    assert!(matches!(paced.site(&p, at(0)), Room::NotBefore(_)));
    drop(held);
}
