//! Answers of the DNS that still hold, each kept with its security. Whoever asks what is being asked waits for that answer.
//!
//! An answer holds for the smallest TTL in it (RFC 2181 §5.2) and not beyond its signatures (RFC 4035 §5.3.3), a denial for
//! what its SOA says (RFC 2308 §5). What has a TTL of zero, a denial without an SOA, and a lookup that failed serve those who
//! asked meanwhile and nobody after them (RFC 1035 §3.2.1).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use domain::base::{Message, Name, Rtype, Serial, Ttl};
use domain::rdata::{Rrsig, Soa};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{Answer, NoneSecured};

/// Longest that an answer is kept. Beyond a few minutes nothing is saved any more, while an operator who moves his hosts
/// would wait for it; the resolver behind us keeps it longer.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// Longest that a denial is kept: a record that was missing is often there a minute later.
const LONGEST_DENIAL: Duration = Duration::from_secs(60);
/// Most answers kept. Beyond it the oldest go, which costs a question and nothing else.
const ANSWERS: usize = 16 * 1024;
/// Most octets of an answer that is kept: more than fits a datagram (RFC 9715 §3.1), so that all of them together have
/// a limit.
const OCTETS: usize = 2 * 1024;

type Question = (Name<Vec<u8>>, Rtype);
type Asked = Result<Answer, NoneSecured>;

/// The answers that are kept.
#[derive(Default)]
pub(super) struct Answers(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_question: HashMap<Question, Arc<Entry>>,
    /// In the order in which they were asked. One that was asked again since is in it twice.
    asked: VecDeque<(Question, Weak<Entry>)>,
}

/// A question that is being asked, or its answer and until when that holds.
#[derive(Default)]
struct Entry(OnceCell<(Asked, Instant)>);

impl Entry {
    fn serves(&self) -> bool {
        self.0.get().is_none_or(|(_, until)| Instant::now() < *until)
    }
}

impl Answers {
    /// The answer that is kept, the one that is on its way, or what `ask` finds. When the one who asks goes away, the next who
    /// waits takes over.
    pub(super) async fn kept_or<F: Future<Output = Asked>>(
        &self,
        name: &Name<Vec<u8>>,
        rtype: Rtype,
        ask: impl FnOnce() -> F,
    ) -> Asked {
        let question = (name.clone(), rtype);
        let entry = self.entry(&question);
        let find = || async {
            let asked = ask().await.map(compact);
            let keep = asked.as_ref().map_or(Duration::ZERO, |answer| holds_for(&answer.message, rtype));
            if keep.is_zero() {
                self.drop_entry(&question, &entry);
            }
            (asked, Instant::now() + keep)
        };
        entry.0.get_or_init(find).await.0.clone()
    }

    /// Forgets all, and what is being asked at this moment too.
    pub(super) fn forget(&self) {
        *self.lock() = Kept::default();
    }

    fn entry(&self, question: &Question) -> Arc<Entry> {
        let mut kept = self.lock();
        if let Some(entry) = kept.by_question.get(question).filter(|entry| entry.serves()) {
            return entry.clone();
        }
        let entry = Arc::new(Entry::default());
        kept.by_question.insert(question.clone(), entry.clone());
        // What is not kept must not live on here.
        kept.asked.push_back((question.clone(), Arc::downgrade(&entry)));
        if kept.asked.len() > ANSWERS
            && let Some((question, oldest)) = kept.asked.pop_front()
        {
            kept.remove(&question, &oldest);
        }
        entry
    }

    fn drop_entry(&self, question: &Question, entry: &Arc<Entry>) {
        self.lock().remove(question, &Arc::downgrade(entry));
    }

    /// Nothing that holds the lock can fail halfway.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Removes this one, unless another has taken its place.
    fn remove(&mut self, question: &Question, entry: &Weak<Entry>) {
        if self.by_question.get(question).is_some_and(|there| Arc::as_ptr(there) == entry.as_ptr()) {
            self.by_question.remove(question);
        }
    }
}

/// The answer without the room that was made to receive it.
fn compact(answer: Answer) -> Answer {
    let octets = Bytes::copy_from_slice(answer.message.as_slice());
    match Message::from_octets(octets) {
        Ok(message) => Answer { message, ..answer },
        Err(_) => answer,
    }
}

/// How long a message may be kept. Zero where it may not, or where it cannot be read.
fn holds_for(message: &Message<Bytes>, rtype: Rtype) -> Duration {
    if message.as_slice().len() > OCTETS {
        return Duration::ZERO;
    }
    let seconds = seconds_of(message, rtype, now()).unwrap_or_default();
    let most = if is_denial(message, rtype) { LONGEST_DENIAL } else { LONGEST };
    Duration::from_secs(seconds.into()).min(most)
}

/// The smallest of the TTLs that say how long the message holds, of its signatures' time, and for a denial of what its SOA
/// says. `None` where there is none.
fn seconds_of(message: &Message<Bytes>, rtype: Rtype, now: Serial) -> Option<u32> {
    let (mut smallest, mut told) = (u32::MAX, false);
    for record in message.answer().ok()? {
        let record = record.ok()?;
        (smallest, told) = (smallest.min(valid(record.ttl())), true);
        if let Some(signature) = record.into_record::<Rrsig<_, _>>().ok()? {
            let until = signature.data().expiration().into_int().wrapping_sub(now.into_int());
            // Serial arithmetic (RFC 4034 §3.1.5): what is half the circle ahead is over.
            let left = u32::try_from(until.cast_signed()).unwrap_or_default();
            smallest = smallest.min(left).min(valid(signature.data().original_ttl()));
        }
    }
    if is_denial(message, rtype) {
        let authority = message.authority().ok()?;
        let soa = authority.limit_to::<Soa<_>>().next()?.ok()?;
        (smallest, told) = (smallest.min(valid(soa.ttl())).min(valid(soa.data().minimum())), true);
    }
    told.then_some(smallest)
}

/// Whether it says that there is no such record: not even at the end of an alias.
fn is_denial(message: &Message<Bytes>, rtype: Rtype) -> bool {
    let Ok(answer) = message.answer() else { return true };
    !answer.flatten().any(|record| record.rtype() == rtype)
}

/// A TTL with its first bit set counts as zero (RFC 2181 §8).
fn valid(ttl: Ttl) -> u32 {
    let seconds = ttl.as_secs();
    if seconds > i32::MAX.cast_unsigned() { 0 } else { seconds }
}

/// The clock of signatures: seconds since 1970, modulo 2^32.
fn now() -> Serial {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is what is meant")]
    Serial(since_epoch.as_secs() as u32)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use domain::base::MessageBuilder;
    use domain::base::iana::{Class, SecurityAlgorithm};
    use domain::rdata::dnssec::Timestamp;
    use domain::rdata::{A, Cname};
    use policy::dane::Security;

    use super::*;

    fn name(text: &str) -> Name<Vec<u8>> {
        text.parse().unwrap()
    }

    /// What a test message is made of.
    enum Part {
        /// An address with a TTL.
        Address(u32),
        /// An alias with a TTL.
        Alias(u32),
        /// A signature: TTL, original TTL, and how long from now it is valid.
        Signature(u32, u32, i32),
        /// An SOA with its TTL and minimum, in the authority section.
        Soa(u32, u32),
    }

    const NOW: u32 = u32::MAX - 10;

    fn message(parts: &[Part]) -> Message<Bytes> {
        let mut query = MessageBuilder::new_vec().question();
        query.push((name("a.test"), Rtype::A)).unwrap();
        let mut answer = query.answer();
        let ttl = Ttl::from_secs;
        for part in parts {
            match part {
                Part::Address(time) => answer.push((name("a.test"), *time, A::from_octets(192, 0, 2, 1))).unwrap(),
                Part::Alias(time) => answer.push((name("a.test"), *time, Cname::new(name("b.test")))).unwrap(),
                Part::Signature(time, original, left) => {
                    let until = Timestamp::from(NOW.wrapping_add_signed(*left));
                    let (algorithm, octets) = (SecurityAlgorithm::ED25519, vec![0_u8; 64]);
                    let signer = name("test");
                    let signature =
                        Rrsig::new(Rtype::A, algorithm, 2, ttl(*original), until, until, 1, signer, octets).unwrap();
                    answer.push((name("a.test"), Class::IN, ttl(*time), signature)).unwrap();
                }
                Part::Soa(..) => {}
            }
        }
        let mut authority = answer.authority();
        for part in parts {
            if let Part::Soa(time, minimum) = part {
                let (second, minimum) = (ttl(1), ttl(*minimum));
                let soa = Soa::new(name("ns.test"), name("h.test"), Serial(1), second, second, second, minimum);
                authority.push((name("test"), *time, soa)).unwrap();
            }
        }
        Message::from_octets(Bytes::from(authority.finish())).unwrap()
    }

    #[test]
    fn an_answer_holds_as_long_as_all_of_it() {
        use Part::{Address, Alias, Signature, Soa};
        let cases: &[(&[Part], Option<u32>)] = &[
            (&[Address(60)], Some(60)),
            (&[Address(60), Address(20)], Some(20)),
            (&[Address(0)], Some(0)),
            (&[Address(1 << 31)], Some(0)),
            (&[Address(60), Alias(5)], Some(5)),
            (&[Address(600), Signature(600, 300, 4000)], Some(300)),
            (&[Address(600), Signature(600, 600, 30)], Some(30)),
            (&[Address(600), Signature(600, 600, -1)], Some(0)),
            // Denials.
            (&[], None),
            (&[Soa(900, 60)], Some(60)),
            (&[Soa(30, 60)], Some(30)),
            (&[Soa(30, 0)], Some(0)),
            (&[Alias(7), Soa(30, 60)], Some(7)),
            (&[Alias(7)], None),
        ];
        for (number, (parts, expected)) in cases.iter().enumerate() {
            assert_eq!(seconds_of(&message(parts), Rtype::A, Serial(NOW)), *expected, "case {number}");
        }
    }

    #[test]
    fn nothing_is_kept_for_ever() {
        use Part::{Address, Alias, Soa};
        assert_eq!(holds_for(&message(&[Address(86_400)]), Rtype::A), LONGEST);
        assert_eq!(holds_for(&message(&[Soa(86_400, 86_400)]), Rtype::A), LONGEST_DENIAL);
        assert_eq!(holds_for(&message(&[Alias(60)]), Rtype::A), Duration::ZERO);
        let large: Vec<Part> = (0..200).map(|_| Address(60)).collect();
        assert_eq!(holds_for(&message(&large), Rtype::A), Duration::ZERO);
    }

    fn answer(ttl: u32) -> Answer {
        Answer { message: message(&[Part::Address(ttl)]), security: Security::Insecure }
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_serves_all_who_ask_while_its_answer_holds() {
        let (answers, asked) = (Answers::default(), AtomicUsize::new(0));
        let ask = |ttl| {
            let asked = &asked;
            move || async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                asked.fetch_add(1, Ordering::Relaxed);
                Ok(answer(ttl))
            }
        };
        let (a, spelled_otherwise) = (name("a.test"), name("A.Test"));
        let (one, other, third) = tokio::join!(
            answers.kept_or(&a, Rtype::A, ask(60)),
            answers.kept_or(&spelled_otherwise, Rtype::A, ask(60)),
            answers.kept_or(&a, Rtype::AAAA, ask(0)),
        );
        assert!(one.is_ok_and(|answer| answer.security == Security::Insecure) && other.is_ok() && third.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        for (wait, total) in [(59, 2), (2, 3), (0, 3)] {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            answers.kept_or(&a, Rtype::A, ask(60)).await.unwrap();
            assert_eq!(asked.load(Ordering::Relaxed), total);
        }
        answers.forget();
        answers.kept_or(&a, Rtype::A, ask(60)).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_shared_by_those_who_wait_and_not_kept() {
        let (answers, asked) = (Answers::default(), AtomicUsize::new(0));
        let ask = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            asked.fetch_add(1, Ordering::Relaxed);
            Err(NoneSecured::Bogus("forged".to_owned()))
        };
        let a = name("a.test");
        let both = tokio::join!(answers.kept_or(&a, Rtype::A, ask), answers.kept_or(&a, Rtype::A, ask));
        assert!(both.0.is_err() && both.1.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(answers.kept_or(&a, Rtype::A, ask).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_answer_to_what_was_asked_before_all_was_forgotten_is_not_kept() {
        let (answers, a) = (Answers::default(), name("a.test"));
        let ask = || async {
            answers.forget();
            Ok(answer(60))
        };
        answers.kept_or(&a, Rtype::A, ask).await.unwrap();
        let again = answers.kept_or(&a, Rtype::A, || async { Err(NoneSecured::Bogus("asked".to_owned())) });
        assert!(again.await.is_err());
    }

    #[tokio::test]
    async fn there_is_a_limit_to_what_is_kept() {
        let answers = Answers::default();
        for number in 0..ANSWERS + 100 {
            let one = name(&format!("{number}.test"));
            answers.kept_or(&one, Rtype::A, || async { Ok(answer(60)) }).await.unwrap();
        }
        for _ in 0..ANSWERS + 100 {
            answers.kept_or(&name("zero.test"), Rtype::A, || async { Ok(answer(0)) }).await.unwrap();
        }
        let kept = answers.lock();
        assert_eq!((kept.by_question.len(), kept.asked.len()), (0, ANSWERS));
    }
}
