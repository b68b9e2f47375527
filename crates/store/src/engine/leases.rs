//! Who is taken: the recipients that a claim gave away, and until when.
//!
//! Kept in memory. A server has its store alone and begins with nothing running, so after a crash nobody has anything any
//! more, which is what it begins with. A claim thus writes nothing about recipients, and neither does a release.

use std::collections::{BTreeMap, HashMap};

use crate::{RecipientId, Timestamp};

/// By destination, which is how a claim asks.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_destination: HashMap<String, BTreeMap<i64, i64>>,
    /// What this transaction changed, for the case that it is not committed.
    changes: Vec<Change>,
}

/// What a recipient had before.
#[derive(Debug)]
struct Change {
    destination: String,
    recipient: i64,
    until: Option<i64>,
}

impl Leases {
    /// A transaction begins: what was changed before stays.
    pub(super) fn keep(&mut self) {
        self.changes.clear();
    }

    /// How much was changed since then.
    pub(super) fn mark(&self) -> usize {
        self.changes.len()
    }

    /// Takes back what was changed since that mark.
    pub(super) fn undo_to(&mut self, mark: usize) {
        while self.changes.len() > mark
            && let Some(Change { destination, recipient, until }) = self.changes.pop()
        {
            self.put(destination, recipient, until);
        }
    }

    pub(super) fn begin(&mut self, destination: &str, recipient: RecipientId, until: Timestamp) {
        self.change(destination, recipient, Some(until.as_micros()));
    }

    pub(super) fn end(&mut self, destination: &str, recipient: RecipientId) {
        if self.by_destination.get(destination).is_some_and(|leased| leased.contains_key(&recipient.0)) {
            self.change(destination, recipient, None);
        }
    }

    /// The same where the recipient is gone, and its destination with it.
    pub(super) fn forget(&mut self, recipient: RecipientId) {
        let has_it = |(_, leased): &(&String, &BTreeMap<i64, i64>)| leased.contains_key(&recipient.0);
        let found = self.by_destination.iter().find(has_it).map(|(destination, _)| destination.clone());
        found.into_iter().for_each(|destination| self.change(&destination, recipient, None));
    }

    /// Whether somebody has it.
    pub(super) fn holds(&self, destination: &str, recipient: RecipientId, now: Timestamp) -> bool {
        let until = self.by_destination.get(destination).and_then(|leased| leased.get(&recipient.0));
        until.is_some_and(|until| *until > now.as_micros())
    }

    /// The recipients of a destination that have a lease, ended or not, each with its end.
    pub(super) fn of(&self, destination: &str) -> Option<&BTreeMap<i64, i64>> {
        self.by_destination.get(destination)
    }

    /// How many there are at a destination.
    pub(super) fn count(&self, destination: &str) -> usize {
        self.of(destination).map_or(0, BTreeMap::len)
    }

    /// How many there are.
    pub(super) fn total(&self) -> usize {
        self.by_destination.values().map(BTreeMap::len).sum()
    }

    /// Ends all of them.
    pub(super) fn clear(&mut self) {
        for (destination, leased) in std::mem::take(&mut self.by_destination) {
            let change =
                |(recipient, until)| Change { destination: destination.clone(), recipient, until: Some(until) };
            self.changes.extend(leased.into_iter().map(change));
        }
    }

    fn change(&mut self, destination: &str, recipient: RecipientId, until: Option<i64>) {
        let before = self.put(destination.to_owned(), recipient.0, until);
        self.changes.push(Change { destination: destination.to_owned(), recipient: recipient.0, until: before });
    }

    fn put(&mut self, destination: String, recipient: i64, until: Option<i64>) -> Option<i64> {
        match until {
            Some(until) => self.by_destination.entry(destination).or_default().insert(recipient, until),
            None => {
                let leased = self.by_destination.get_mut(&destination)?;
                let before = leased.remove(&recipient);
                if leased.is_empty() {
                    self.by_destination.remove(&destination);
                }
                before
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_transaction_changed_is_taken_back() {
        let (a, b, c) = (RecipientId(1), RecipientId(2), RecipientId(3));
        let at = Timestamp::from_micros;
        let mut leases = Leases::default();
        leases.begin("d.example", a, at(10));
        leases.begin("d.example", b, at(20));
        leases.keep();

        leases.end("d.example", a);
        leases.begin("d.example", b, at(40));
        let mark = leases.mark();
        leases.begin("e.example", c, at(30));
        leases.forget(b);
        leases.undo_to(mark);
        assert!(leases.holds("d.example", b, at(39)) && !leases.holds("d.example", b, at(40)));
        assert!(!leases.holds("d.example", a, at(0)) && leases.count("e.example") == 0);
        leases.clear();
        assert_eq!(leases.total(), 0);

        leases.undo_to(0);
        assert!(leases.holds("d.example", a, at(9)) && leases.holds("d.example", b, at(19)));
        assert_eq!((leases.total(), leases.holds("d.example", b, at(20))), (2, false));
    }
}
