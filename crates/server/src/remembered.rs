//! A memory of strangers that they cannot make grow.

use std::collections::HashMap;
use std::hash::Hash;

/// What was put last: at least `MOST` keys, and at most twice as many.
#[derive(Debug)]
pub(crate) struct Remembered<K, V, const MOST: usize> {
    new: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V, const MOST: usize> Default for Remembered<K, V, MOST> {
    fn default() -> Self {
        Remembered { new: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Hash + Eq, V: Copy, const MOST: usize> Remembered<K, V, MOST> {
    /// What was put under the key last, if it is not too long ago.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.new.get(key).or_else(|| self.old.get(key)).copied()
    }

    /// Puts it there.
    pub(crate) fn put(&mut self, key: K, value: V) {
        if self.new.len() >= MOST && !self.new.contains_key(&key) {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_what_is_new_is_known() {
        let mut remembered = Remembered::<_, _, 100>::default();
        for key in 0..500 {
            remembered.put(key, ());
        }
        assert!(remembered.new.len() + remembered.old.len() <= 200);
        assert!((400..500).all(|key| remembered.get(&key).is_some()));
    }
}
