//! Settings in memory: what each message asks for again, and almost never changes.
//!
//! An answer of the database is given again as long as nothing was changed since before it was asked. Every operation of
//! the writer counts as a change but those that say they are [`Work::Traffic`], so that forgetting to say it only costs
//! time. Other processes tell of their changes by a file that grows with each, [`CHANGED`]; its length is looked at
//! every time (docs/decisions/0018).

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::hash::Hash;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;
use smtp::Domain;

use crate::credential::Credential;
use crate::dkim::DkimSigner;
use crate::dns_check::DnsCheck;
use crate::{ApiKey, KeyHash, Role, SendingDomain, StoreError};

/// The file that tells of changes by other processes. An octet is added for each, so that its length never comes back.
pub(super) const CHANGED: &str = "waxwing.changed";
/// Of each kind so many answers are remembered at least, and twice as many at most.
const REMEMBERED: usize = 1024;
/// How long an answer is given again at most: what a process changed that died before it could tell of it.
const FRESH: Duration = Duration::from_secs(60);

/// What is remembered of each kind of setting. Only what there is: what there is not, is asked for every time.
#[derive(Debug)]
pub(super) struct Settings {
    changes: Changes,
    pub(super) domains: Known<Domain, SendingDomain>,
    pub(super) keys: Known<KeyHash, ApiKey>,
    pub(super) credentials: Known<(Domain, String), Credential>,
    /// Of a domain that does not sign too, with none.
    pub(super) signers: Known<Domain, Arc<[DkimSigner]>>,
    /// Of a domain whose records were never looked for too, with none.
    pub(super) dns_checks: Known<Domain, Option<Arc<DnsCheck>>>,
}

impl Settings {
    pub(super) fn new(changes: Changes) -> Settings {
        Settings {
            changes,
            domains: Known::default(),
            keys: Known::default(),
            credentials: Known::default(),
            signers: Known::default(),
            dns_checks: Known::default(),
        }
    }

    /// The answer that `known` has, or else the one that `ask` gets.
    pub(super) async fn find<K, V, F>(
        &self,
        known: &Known<K, V>,
        key: K,
        ask: impl FnOnce(K) -> F,
    ) -> Result<Option<V>, StoreError>
    where
        K: Hash + Eq + Clone,
        V: Clone,
        F: Future<Output = Result<Option<V>, StoreError>>,
    {
        // Before the database is asked: an answer may be older than a change that comes meanwhile, never the other way round.
        let (moment, now) = (self.changes.moment(), Instant::now());
        let Some(moment) = moment else { return ask(key).await };
        if let Some(answer) = known.get(moment, &key, now) {
            return Ok(Some(answer));
        }
        let answer = ask(key.clone()).await?;
        if let Some(answer) = &answer {
            known.put(moment, key, answer.clone(), now);
        }
        Ok(answer)
    }
}

/// What an operation of the writer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Anything, settings maybe.
    Any,
    /// Mail on its way and what is counted of it: no setting changes.
    Traffic,
    /// The same for new mail.
    NewMail,
}

/// The times at which settings may have changed.
#[derive(Debug, Clone)]
pub(super) enum Changes {
    /// This process tells, and others by a file.
    Told(Told),
    /// Nobody can say: other nodes change them too, and each question goes to the database.
    Unknown,
}

/// What tells of changes to the settings of a store of this machine.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// How many changes this process made.
    own: Arc<AtomicU64>,
    /// What other processes tell theirs by.
    file: PathBuf,
    /// The directory of it, held open: a path from the root takes several times as long to walk.
    directory: Arc<File>,
    role: Role,
}

/// Between two changes. Two moments are the same when no change lies between them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moment {
    own: u64,
    /// Inode, length, and time of the last change in seconds and nanoseconds.
    file: (u64, i64, i64, i64),
}

impl Changes {
    /// A server begins the file anew: it alone remembers what others change, and as yet it does not.
    pub(super) fn of_files(directory: &Path, role: Role) -> io::Result<Changes> {
        let (file, opened) = (directory.join(CHANGED), File::open(directory)?);
        if role == Role::Server {
            // One that another user's command made could not be written; the directory is ours.
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file)?,
            };
        }
        Ok(Changes::Told(Told { own: Arc::default(), file, directory: Arc::new(opened), role }))
    }

    /// Tells of a change that was committed. Whoever made it is answered after this.
    pub(super) fn tell(&self) {
        if let Changes::Told(told) = self {
            told.tell();
        }
    }

    /// Now. `None` when nobody can say what others changed.
    fn moment(&self) -> Option<Moment> {
        match self {
            Changes::Told(told) => told.moment(),
            Changes::Unknown => None,
        }
    }
}

impl Told {
    fn tell(&self) {
        self.own.fetch_add(1, Ordering::SeqCst);
        if self.role == Role::Tool
            && let Err(error) = self.tell_others()
        {
            let (file, seconds) = (self.file.display(), FRESH.as_secs());
            tracing::warn!(%error, %file, "a server that runs may see the change only after {seconds} seconds");
        }
    }

    fn tell_others(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.file)?;
        // Where there is no room for an octet there is room for a time.
        file.write_all(b".").or_else(|_| File::set_modified(&file, SystemTime::now()))
    }

    /// Now. `None` when nobody can say what others changed.
    fn moment(&self) -> Option<Moment> {
        let own = self.own.load(Ordering::SeqCst);
        let file = match statat(&self.directory, CHANGED, AtFlags::empty()) {
            Ok(found) => (found.st_ino, found.st_size, found.st_mtime, i64::try_from(found.st_mtime_nsec).ok()?),
            Err(Errno::NOENT) => Default::default(),
            Err(_) => return None,
        };
        Some(Moment { own, file })
    }
}

/// Answers of one kind, all of them of one moment.
#[derive(Debug)]
pub(super) struct Known<K, V>(Mutex<Answers<K, V>>);

#[derive(Debug)]
struct Answers<K, V> {
    moment: Moment,
    new: HashMap<K, (Instant, V)>,
    old: HashMap<K, (Instant, V)>,
}

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Known(Mutex::new(Answers { moment: Moment::default(), new: HashMap::new(), old: HashMap::new() }))
    }
}

impl<K: Hash + Eq, V: Clone> Known<K, V> {
    /// The answer, if it is one of this moment. Those of any other are forgotten.
    fn get(&self, moment: Moment, key: &K, now: Instant) -> Option<V> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.moment != moment {
            *answers = Answers { moment, new: HashMap::new(), old: HashMap::new() };
            return None;
        }
        let (at, answer) = answers.new.get(key).or_else(|| answers.old.get(key))?;
        (now.saturating_duration_since(*at) < FRESH).then(|| answer.clone())
    }

    /// Remembers an answer that was asked for at this moment, if it is still the last that anybody has seen.
    fn put(&self, moment: Moment, key: K, answer: V, now: Instant) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.moment != moment {
            return;
        }
        if answers.new.len() >= REMEMBERED && !answers.new.contains_key(&key) {
            answers.old = std::mem::take(&mut answers.new);
        }
        answers.new.insert(key, (now, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Moment = Moment { own: 1, file: (0, 0, 0, 0) };

    #[test]
    fn an_answer_holds_until_something_changes_and_not_for_long() {
        let (known, now) = (Known::default(), Instant::now());
        assert_eq!(known.get(AT, &"a", now), None);
        known.put(AT, "a", 1, now);
        assert_eq!(known.get(AT, &"a", now + FRESH - Duration::from_secs(1)), Some(1));
        assert_eq!(known.get(AT, &"a", now + FRESH), None);
        for later in [Moment { own: 2, ..AT }, Moment { file: (0, 1, 0, 0), ..AT }] {
            known.put(AT, "a", 1, now);
            assert_eq!(known.get(later, &"a", now), None);
            // What was asked for before the change and answered after it.
            known.put(AT, "a", 1, now);
            assert_eq!(known.get(later, &"a", now), None);
            assert_eq!(known.get(AT, &"a", now), None, "nothing comes back");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_new_is_known() {
        let (known, now) = (Known::default(), Instant::now());
        known.get(AT, &0, now);
        (0..5 * REMEMBERED).for_each(|key| known.put(AT, key, (), now));
        let answers = known.0.lock().unwrap();
        assert!(answers.new.len() + answers.old.len() <= 2 * REMEMBERED);
        drop(answers);
        assert!((4 * REMEMBERED..5 * REMEMBERED).all(|key| known.get(AT, &key, now).is_some()));
    }
}
