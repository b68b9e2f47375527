//! Who is told by mail what became of a message (RFC 3461), and when.

use std::time::Duration;

use smtp::dsn::{Action, Notify};

/// How long a message waits before its delay is told to those who asked (RFC 3461 §4.1 leaves it to the server).
pub const DELAYED_AFTER: Duration = Duration::from_secs(30 * 60);

/// The wait after the first notification of a message; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(4 * 3600);

/// Whether the sender is to be told. `unasked` says whether failures are told of where RCPT had no NOTIFY.
pub fn is_wanted(notify: Option<Notify>, unasked: bool, action: Action) -> bool {
    let Some(notify) = notify else { return unasked && action == Action::Failed };
    match action {
        Action::Failed => notify.failure,
        Action::Delayed => notify.delay,
        Action::Delivered | Action::Relayed | Action::Expanded => notify.success,
    }
}

/// What the next host is asked to report (RFC 3461 §5.2.1).
///
/// Where its reports come to us and not to the sender (`reports_come_here`) failures are always wanted, since they become
/// events; what the sender asked decides what is passed on to him then.
pub fn asked_of_next_host(notify: Option<Notify>, reports_come_here: bool) -> Option<Notify> {
    notify.map(|notify| Notify { failure: notify.failure || reports_come_here, ..notify })
}

/// How long a notification waits for others of the same message, so that they go as one.
///
/// When nobody is left to wait for it goes at once; but a message with a thousand recipients, of whom one fails now and one
/// then, is told of about ten times within a day and no more.
pub fn wait_for_others(sent_before: u32, is_finished: bool) -> Duration {
    if is_finished && sent_before < 3 {
        return Duration::ZERO;
    }
    FIRST_WAIT.saturating_mul(1 << sent_before.min(10)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Notify = Notify { success: false, failure: false, delay: false };

    #[test]
    fn who_asked_is_told() {
        use Action::{Delayed, Delivered, Expanded, Failed, Relayed};
        for (notify, unasked, told) in [
            (None, true, &[Failed][..]),
            (None, false, &[]),
            (Some(NEVER), true, &[]),
            (Some(Notify { failure: true, ..NEVER }), false, &[Failed]),
            (Some(Notify { delay: true, ..NEVER }), true, &[Delayed]),
            (Some(Notify { success: true, ..NEVER }), true, &[Delivered, Relayed, Expanded]),
        ] {
            for action in [Failed, Delayed, Delivered, Relayed, Expanded] {
                assert_eq!(is_wanted(notify, unasked, action), told.contains(&action), "{notify:?} {action:?}");
            }
        }
    }

    #[test]
    fn reports_that_become_events_are_always_wanted() {
        let success = Notify { success: true, ..NEVER };
        for (notify, here, asked) in [
            (None, true, None),
            (None, false, None),
            (Some(NEVER), false, Some(NEVER)),
            (Some(NEVER), true, Some(Notify { failure: true, ..NEVER })),
            (Some(success), true, Some(Notify { success: true, failure: true, delay: false })),
            (Some(success), false, Some(success)),
        ] {
            assert_eq!(asked_of_next_host(notify, here), asked, "{notify:?} {here}");
        }
    }

    #[test]
    fn notifications_of_a_message_become_rarer() {
        assert_eq!([0, 1, 2, 3].map(|sent| wait_for_others(sent, true).as_secs()), [0, 0, 0, 480]);
        assert_eq!(
            [0, 1, 2, 7, 8, 99].map(|sent| wait_for_others(sent, false).as_secs() / 60),
            [1, 2, 4, 128, 240, 240]
        );
        // However recipients fail, one after the other, within a day.
        let (mut time, mut sent) = (Duration::ZERO, 0);
        while time < Duration::from_secs(24 * 3600) {
            time += wait_for_others(sent, true).max(Duration::from_secs(1));
            sent += 1;
        }
        assert!(sent <= 15, "{sent}");
    }
}
