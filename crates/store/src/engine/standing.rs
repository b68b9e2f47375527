//! What a node knows of its place among those that share the store, and how long that holds.
//!
//! A node asks every few seconds who is there. Meanwhile the others may know more or less than it does. So whoever has come
//! waits before it takes its part of what all have together, until all others must know of it or have stopped; and when one
//! has gone, what it had is taken only then. In between nobody has more than any of those places would give him.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use policy::share::Place;

use super::shared::DEAD_AFTER;

/// What was learned longer ago is not relied on.
const FRESH: Duration = DEAD_AFTER.checked_div(2).unwrap();
/// When everybody has learned what one has, or relies on nothing any more, and what ran by what was known before has ended.
pub(super) const SETTLED: Duration = FRESH.saturating_add(DEAD_AFTER.checked_div(6).unwrap());

/// What it knows.
#[derive(Debug, Default)]
pub(super) struct Standing {
    asked: Option<Instant>,
    /// The places that count still, each with when it was learned; the last one is that of now.
    places: VecDeque<(Instant, Place)>,
}

impl Standing {
    /// The database was asked at `asked`, and the node has that place; none as long as it is new among others.
    pub(super) fn learn(&mut self, asked: Instant, place: Option<Place>) {
        self.asked = Some(asked);
        match place {
            None => self.places.clear(),
            Some(place) if self.places.back().is_some_and(|(_, last)| *last == place) => {}
            Some(place) => self.places.push_back((asked, place)),
        }
        while self.places.get(1).is_some_and(|(since, _)| *since + SETTLED <= asked) {
            self.places.pop_front();
        }
    }

    /// The places that count at `now`.
    pub(super) fn places(&self, now: Instant) -> Vec<Place> {
        if self.is_fresh(now) { self.places.iter().map(|(_, place)| *place).collect() } else { Vec::new() }
    }

    /// Whether it is the first of all.
    pub(super) fn is_first(&self, now: Instant) -> bool {
        self.is_fresh(now) && self.places.back().is_some_and(|(_, place)| place.index == 0)
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < FRESH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn place(index: u32, nodes: u32) -> Place {
        Place { index, nodes }
    }

    #[test]
    fn who_has_not_asked_or_not_lately_has_no_place() {
        let (mut standing, began) = (Standing::default(), Instant::now());
        assert!(standing.places(began).is_empty() && !standing.is_first(began));
        standing.learn(began, Some(Place::ALONE));
        assert_eq!((standing.places(began), standing.is_first(began)), (vec![Place::ALONE], true));
        let late = began + FRESH;
        assert!(standing.places(late).is_empty() && !standing.is_first(late));
    }

    #[test]
    fn a_place_counts_until_everybody_knows_the_next_one() {
        let (mut standing, began) = (Standing::default(), Instant::now());
        standing.learn(began, Some(place(1, 3)));
        standing.learn(began + SECOND, Some(place(1, 3)));
        let gone = began + 2 * SECOND;
        standing.learn(gone, Some(place(0, 2)));
        assert_eq!(standing.places(gone), [place(1, 3), place(0, 2)]);
        assert!(standing.is_first(gone), "what is done once is done by the first of those who are there");
        let end = gone + SETTLED;
        standing.learn(end - Duration::from_millis(1), Some(place(0, 2)));
        assert_eq!(standing.places(end - Duration::from_millis(1)).len(), 2);
        standing.learn(end, Some(place(0, 2)));
        assert_eq!(standing.places(end), [place(0, 2)]);
    }

    #[test]
    fn who_was_cut_off_and_joins_anew_begins_with_nothing() {
        let (mut standing, began) = (Standing::default(), Instant::now());
        standing.learn(began, Some(Place::ALONE));
        standing.learn(began + SECOND, None);
        assert!(standing.places(began + SECOND).is_empty());
        standing.learn(began + 2 * SECOND, Some(place(1, 2)));
        assert_eq!(standing.places(began + 2 * SECOND), [place(1, 2)], "what was before was not its own any more");
    }
}
