//! What the writer's thread has read of rows that hardly ever change, so that it need not read them for every transaction.
//!
//! Only the server's own operations change these rows. What was read in a transaction that is not committed is forgotten.

use std::collections::{HashMap, HashSet};

use crate::Timestamp;
use crate::traffic::{Resolution, Slice};

/// Most of each kind; then all of it is forgotten.
const MOST: usize = 10_000;

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Values that have rows of their own in the counts.
    told_apart: HashSet<ToldApart>,
    /// By sending domain and destination: hosts whose deliveries are like those before, and until when that is enough.
    habits: HashMap<(String, String), HashMap<String, Habit>>,
}

/// A value, and the part of time that it was counted in.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToldApart {
    pub(super) resolution: Resolution,
    pub(super) start: i64,
    pub(super) slice: Slice,
    pub(super) domain: String,
    pub(super) value: String,
}

#[derive(Debug, Clone, Copy)]
struct Habit {
    verified: bool,
    until: Timestamp,
}

impl Known {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.told_apart.clear();
        self.habits.clear();
    }

    pub(super) fn is_told_apart(&self, value: &ToldApart) -> bool {
        self.told_apart.contains(value)
    }

    pub(super) fn tell_apart(&mut self, value: ToldApart) {
        if self.told_apart.len() >= MOST {
            self.told_apart.clear();
        }
        self.told_apart.insert(value);
    }

    /// Whether a delivery that showed that is what the host and the destination always show, and written often enough.
    pub(super) fn is_habit(&self, of: (&str, &str), mx_host: &str, verified: bool, now: Timestamp) -> bool {
        let habits = self.habits.get(&(of.0.to_owned(), of.1.to_owned()));
        habits.and_then(|hosts| hosts.get(mx_host)).is_some_and(|habit| habit.verified == verified && now < habit.until)
    }

    pub(super) fn put_habit(&mut self, of: (&str, &str), mx_host: &str, verified: bool, until: Timestamp) {
        if self.habits.len() >= MOST {
            self.habits.clear();
        }
        let hosts = self.habits.entry((of.0.to_owned(), of.1.to_owned())).or_default();
        if hosts.len() < MOST {
            hosts.insert(mx_host.to_owned(), Habit { verified, until });
        }
    }

    /// A delivery to the destination was another than those before.
    pub(super) fn forget_habits(&mut self, of: (&str, &str)) {
        self.habits.remove(&(of.0.to_owned(), of.1.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_habit_holds_for_its_host_and_its_time() {
        let at = Timestamp::from_micros;
        let mut known = Known::default();
        known.put_habit(("s.example", "d.example"), "mx1", true, at(10));
        known.put_habit(("s.example", "d.example"), "mx2", false, at(10));
        let is_habit = |known: &Known, destination, host, verified, now| {
            known.is_habit(("s.example", destination), host, verified, at(now))
        };
        assert!(is_habit(&known, "d.example", "mx1", true, 9) && is_habit(&known, "d.example", "mx2", false, 9));
        assert!(!is_habit(&known, "d.example", "mx1", false, 9) && !is_habit(&known, "d.example", "mx1", true, 10));
        assert!(!is_habit(&known, "e.example", "mx1", true, 9) && !is_habit(&known, "d.example", "mx3", true, 9));
        known.forget_habits(("s.example", "d.example"));
        assert!(!is_habit(&known, "d.example", "mx1", true, 9) && !is_habit(&known, "d.example", "mx2", false, 9));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut known = Known::default();
        let value = |number: i64| ToldApart {
            resolution: Resolution::Hour,
            start: number,
            slice: Slice::Tag,
            domain: "s.example".to_owned(),
            value: "news".to_owned(),
        };
        for number in 0..=MOST as i64 {
            known.tell_apart(value(number));
            known.put_habit(("s.example", &number.to_string()), "mx", true, Timestamp::from_micros(1));
        }
        assert!(known.told_apart.len() <= MOST && known.habits.len() <= MOST);
        assert!(known.is_told_apart(&value(MOST as i64)));
    }
}
