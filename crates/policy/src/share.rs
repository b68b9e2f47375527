//! What one of several nodes may have of a limit that holds for all of them together.
//!
//! Nobody is asked before each attempt: a node knows how many there are and where it stands among them, and takes its part.
//! Parts that nodes work out from the same places never come to more than the limit.

/// Where a node stands among those that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// How many come before it: less than `nodes`.
    pub index: u32,
    /// How many there are, with it: at least 1.
    pub nodes: u32,
}

impl Place {
    /// That of a node that has its store to itself.
    pub const ALONE: Place = Place { index: 0, nodes: 1 };

    /// Its part of `limit`. What cannot be divided goes to other nodes for other keys.
    fn part(self, limit: u32, key: &str) -> u32 {
        let nodes = self.nodes.max(1);
        let turn = key.bytes().fold(0, |sum: u32, octet| sum.wrapping_add(octet.into()));
        let turned = (u64::from(self.index) + u64::from(turn)) % u64::from(nodes);
        limit / nodes + u32::from(turned < u64::from(limit % nodes))
    }
}

/// What a node may have of `limit` that has these places lately: the least of its parts, since the others may know the later
/// of them only, or the earlier. Nothing where it has no place.
pub fn of(limit: u32, key: &str, places: &[Place]) -> u32 {
    places.iter().map(|place| place.part(limit, key)).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_all_come_to_the_limit() {
        for limit in [1, 2, 3, 7, 10, 10_000, u32::MAX] {
            for nodes in 1..=11 {
                for key in ["", "mx.example", "?d.example", "\u{10ffff}"] {
                    let parts: Vec<u32> = (0..nodes).map(|index| of(limit, key, &[Place { index, nodes }])).collect();
                    assert_eq!(parts.iter().map(|part| u64::from(*part)).sum::<u64>(), u64::from(limit), "{parts:?}");
                    assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1, "{parts:?}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_divided_goes_round() {
        let who = |key| (0..3).find(|index| of(1, key, &[Place { index: *index, nodes: 3 }]) == 1);
        let all: std::collections::BTreeSet<_> = ["a", "b", "c"].map(who).into();
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn the_least_of_the_places_counts() {
        let place = |index, nodes| Place { index, nodes };
        assert_eq!(of(10, "a", &[Place::ALONE]), 10);
        assert_eq!(of(10, "a", &[place(0, 5), Place::ALONE]), 2);
        assert_eq!(of(10, "a", &[Place::ALONE, place(0, 5)]), 2);
        assert_eq!(of(10, "a", &[]), 0);
    }
}
