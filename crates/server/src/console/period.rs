//! The time that a page looks at: the last day, week or month, by hours or days.

use maud::{Markup, html};
use serde::Deserialize;

use super::client::with_query;

/// How far back a page looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Period {
    Day,
    #[default]
    Week,
    Month,
}

impl Period {
    const ALL: [Period; 3] = [Period::Day, Period::Week, Period::Month];

    /// Its word in the query of a page.
    pub(super) fn word(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }

    /// What people call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Period::Day => "last 24 hours",
            Period::Week => "last 7 days",
            Period::Month => "last 30 days",
        }
    }

    /// How long it is, in seconds.
    pub(super) fn seconds(self) -> i64 {
        match self {
            Period::Day => 86_400,
            Period::Week => 7 * 86_400,
            Period::Month => 30 * 86_400,
        }
    }

    /// In which parts it is told: the API's word, and their length in seconds.
    pub(super) fn resolution(self) -> (&'static str, i64) {
        match self {
            Period::Day => ("hour", 3600),
            Period::Week | Period::Month => ("day", 86_400),
        }
    }

    /// The beginnings of its parts up to `now`, in seconds since the epoch.
    pub(super) fn parts(self, now: i64) -> Vec<i64> {
        let (_, length) = self.resolution();
        let last = now.div_euclid(length) * length;
        let count = self.seconds() / length;
        (0..count).rev().map(|back| last - back * length).collect()
    }

    /// What stands below the part that begins then.
    pub(super) fn label(self, begin: i64) -> String {
        let time = jiff::Timestamp::from_second(begin).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
        let form = if self == Period::Day { "%H:00" } else { "%-d %b" };
        time.strftime(form).to_string()
    }

    /// Links to the same page over each period.
    pub(super) fn choice(self, path: &str, others: &[(&str, &str)]) -> Markup {
        html! {
            ul.tabs aria-label="Period" {
                @for one in Period::ALL {
                    @let parameters: Vec<_> = others.iter().copied().chain([("period", one.word())]).collect();
                    li { a href=(with_query(path, &parameters)) aria-current=[(one == self).then_some("true")] { (one.name()) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_told_in_whole_parts_up_to_now() {
        // 24 November 2026, 07:53:40 UTC.
        let now = 1_795_506_820;
        let parts = Period::Day.parts(now);
        assert_eq!(
            (parts.len(), Period::Day.label(parts[0]), Period::Day.label(parts[23])),
            (24, "08:00".into(), "07:00".into())
        );
        let parts = Period::Week.parts(now);
        assert_eq!(
            (parts.len(), Period::Week.label(parts[0]), Period::Week.label(parts[6])),
            (7, "18 Nov".into(), "24 Nov".into())
        );
        assert_eq!(Period::Month.parts(now).len(), 30);
    }
}
