//! Durations as people write them: `500ms`, `30s`, `10m`, `1h30m`, `30d`.

use std::time::Duration;

/// A day of 24 hours.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 6] =
    [("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads whole numbers each followed by its unit, `None` for anything else.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        rest = next;
    }
    Some(Duration::from_millis(total))
}

/// The shortest way to write a duration so that [`parse`] reads it again; parts below a millisecond are dropped.
pub fn format(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    // Weeks are read, not written: "30d" is clearer than "4w2d".
    for (unit, size) in &UNITS[1..] {
        if millis >= *size {
            text.push_str(&format!("{}{unit}", millis / size));
            millis %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written() {
        for (text, millis, written) in [
            ("500ms", 500, "500ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "1m30s"),
            ("10m", 600_000, "10m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1h 30m", 5_400_000, "1h30m"),
            ("24h", 86_400_000, "1d"),
            ("30d", 30 * 86_400_000, "30d"),
            ("2w", 14 * 86_400_000, "14d"),
            ("0s", 0, "0s"),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(format(Duration::from_millis(millis)), written);
            assert_eq!(parse(written), parse(text));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", " ", "10", "m", "10 parsecs", "-5s", "1.5h", "10m5", "99999999999999999999d", "1e3s", "５m"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
