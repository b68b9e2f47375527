//! What a receiver's answer to a notification means, and when the notification is sent again.

use std::time::Duration;

use crate::retry::Schedule;

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A status of HTTP (RFC 9110 §15).
    Status(u16),
    /// None: no connection, no TLS, no answer in time.
    Nothing,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Taken,
    /// The receiver does not want it, now or ever.
    Unwanted,
    /// It is sent again after this time.
    Again(Duration),
    /// It was sent often enough.
    GivenUp,
}

/// The status by which a receiver says that it does not want a notification: 406.
const UNWANTED: u16 = 406;

/// The verdict on the answer to attempt `attempt_no` (1 for the first).
///
/// A redirect is no success: what is told is for the one whom the sender named.
pub fn verdict(answer: Answer, attempt_no: u32, schedule: &Schedule) -> Verdict {
    match answer {
        Answer::Status(200..=299) => Verdict::Taken,
        Answer::Status(UNWANTED) => Verdict::Unwanted,
        Answer::Status(_) | Answer::Nothing => schedule.wait_after(attempt_no).map_or(Verdict::GivenUp, Verdict::Again),
    }
}

/// 10, 10, 15, 30 minutes, 1, 2, 4 hours: the waits that Mailgun documents, eight attempts within about eight hours.
pub fn schedule() -> Schedule {
    Schedule::new([10, 10, 15, 30, 60, 120, 240].map(|minutes| Duration::from_secs(minutes * 60)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_what_follows() {
        let minutes = |minutes: u64| Verdict::Again(Duration::from_secs(minutes * 60));
        for (answer, attempt_no, expected) in [
            (Answer::Status(200), 1, Verdict::Taken),
            (Answer::Status(204), 8, Verdict::Taken),
            (Answer::Status(406), 1, Verdict::Unwanted),
            (Answer::Status(301), 1, minutes(10)),
            (Answer::Status(404), 2, minutes(10)),
            (Answer::Status(410), 3, minutes(15)),
            (Answer::Status(429), 4, minutes(30)),
            (Answer::Status(500), 5, minutes(60)),
            (Answer::Status(503), 6, minutes(120)),
            (Answer::Nothing, 7, minutes(240)),
            (Answer::Nothing, 8, Verdict::GivenUp),
            (Answer::Status(500), 9, Verdict::GivenUp),
        ] {
            assert_eq!(verdict(answer, attempt_no, &schedule()), expected, "{answer:?} to attempt {attempt_no}");
        }
        assert_eq!(schedule().waits().iter().sum::<Duration>(), Duration::from_secs((8 * 60 + 5) * 60));
    }
}
