//! When a deferred recipient is tried again, and when we give up.

use std::time::Duration;

/// The waits after the first, second, … deferral. When they are used up the recipient has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Schedule {
    /// A schedule of these waits. An empty one means a single attempt.
    pub fn new(waits: Vec<Duration>) -> Schedule {
        Schedule(waits)
    }

    /// The waits.
    pub fn waits(&self) -> &[Duration] {
        &self.0
    }

    /// How long to wait after attempt `attempt_no` (1 for the first), `None` when there is no further attempt.
    pub fn wait_after(&self, attempt_no: u32) -> Option<Duration> {
        let index = usize::try_from(attempt_no.checked_sub(1)?).ok()?;
        self.0.get(index).copied()
    }

    /// How long the schedule goes on after no attempt, after the first, the second …, and after the last.
    pub fn left(&self) -> Vec<Duration> {
        (0..=self.0.len()).map(|made| self.0[made..].iter().sum()).collect()
    }

    /// The same where no attempt may be made later than `left` from now.
    pub fn wait_within(&self, attempt_no: u32, left: Option<Duration>) -> Option<Duration> {
        self.wait_after(attempt_no).filter(|wait| left.is_none_or(|left| *wait < left))
    }
}

impl Default for Schedule {
    /// 10, 15, 30 minutes, 1, 2, 4 hours: the waits that Mailgun documents, seven attempts within eight hours.
    fn default() -> Self {
        Schedule([10, 15, 30, 60, 120, 240].map(|minutes| Duration::from_secs(minutes * 60)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_attempts_within_eight_hours() {
        let schedule = Schedule::default();
        let minutes: Vec<_> = (1..=8).map(|n| schedule.wait_after(n).map(|wait| wait.as_secs() / 60)).collect();
        assert_eq!(minutes, [Some(10), Some(15), Some(30), Some(60), Some(120), Some(240), None, None]);
        assert!(schedule.waits().iter().sum::<Duration>() < Duration::from_secs(8 * 3600));
        assert_eq!(schedule.wait_after(0), None);
        let left: Vec<_> = schedule.left().iter().map(|left| left.as_secs() / 60).collect();
        assert_eq!(left, [475, 465, 450, 420, 360, 240, 0]);
        assert_eq!(Schedule::new(Vec::new()).left(), [Duration::ZERO]);
    }

    #[test]
    fn a_window_ends_the_schedule() {
        let schedule = Schedule::default();
        let minutes = |n: u64| Duration::from_secs(n * 60);
        for (attempt_no, left, expected) in [
            (1, None, Some(10)),
            (1, Some(11), Some(10)),
            (1, Some(10), None),
            (1, Some(0), None),
            (6, Some(1000), Some(240)),
            (7, Some(1000), None),
        ] {
            assert_eq!(schedule.wait_within(attempt_no, left.map(minutes)), expected.map(minutes));
        }
    }
}
