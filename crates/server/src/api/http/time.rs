//! Points in time as requests and answers write them: RFC 2822 dates and Unix seconds. Inside, microseconds since the
//! epoch.

use jiff::fmt::rfc2822;

/// The last second of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// Microseconds since the epoch, now.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// Reads an RFC 2822 date or Unix seconds, which may have a fraction.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    parse_epoch(text).or_else(|| parse_date(text))
}

/// Reads what [`parse`] reads, and RFC 3339 dates, as some clients write all dates.
pub(crate) fn parse_any(text: &str) -> Option<i64> {
    let iso = || text.trim().parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond);
    parse(text).or_else(|| iso().filter(|micros| (0..=LAST_SECOND * 1_000_000).contains(micros)))
}

/// `1606399301.266`, exactly; digits beyond microseconds are dropped.
fn parse_epoch(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.len() <= 12 && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(seconds) || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = seconds.parse().ok().filter(|seconds| *seconds <= LAST_SECOND)?;
    let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Some(seconds * 1_000_000 + micros.parse::<i64>().ok()?)
}

fn parse_date(text: &str) -> Option<i64> {
    // A wrong day of the week is the most common slip in dates written by hand, and tells nothing.
    let parser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    let micros = parser.parse_timestamp(text).ok()?.as_microsecond();
    (0..=LAST_SECOND * 1_000_000).contains(&micros).then_some(micros)
}

/// `Mon, 02 Jan 2006 15:04:05 GMT`, the one form that all clients read.
pub(crate) fn to_date(micros: i64) -> String {
    let seconds = micros.div_euclid(1_000_000).clamp(0, LAST_SECOND);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap_or_default()
}

/// `2006-01-02T15:04:05`, in UTC, as some answers have it.
pub(crate) fn to_iso(micros: i64) -> String {
    let seconds = micros.div_euclid(1_000_000).clamp(0, LAST_SECOND);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_string().trim_end_matches('Z').to_owned()
}

/// `2006-01-02T15:04:05.000001Z`, with as many digits as there are.
pub(crate) fn to_rfc3339(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// Unix seconds with their fraction, as events carry them.
pub(crate) fn to_epoch(micros: i64) -> f64 {
    // Exact to the microsecond until the year 2255.
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_epochs_are_read() {
        for (text, micros) in [
            ("0", 0),
            ("1606399301", 1_606_399_301_000_000),
            ("1606399301.266", 1_606_399_301_266_000),
            ("1606399301.2660019", 1_606_399_301_266_001),
            (" 1606399301 ", 1_606_399_301_000_000),
            ("Thu, 13 Oct 2011 18:02:00 GMT", 1_318_528_920_000_000),
            ("Thu, 13 Oct 2011 18:02:00 UTC", 1_318_528_920_000_000),
            ("Thu, 13 Oct 2011 18:02:00 +0000", 1_318_528_920_000_000),
            ("Thu, 13 Oct 2011 20:02:00 +0200", 1_318_528_920_000_000),
            ("13 Oct 2011 18:02:00 -0000", 1_318_528_920_000_000),
            ("Fri, 13 Oct 2011 18:02:00 GMT", 1_318_528_920_000_000),
            ("Thu, 13 Oct 2011 13:02:00 EST", 1_318_528_920_000_000),
        ] {
            assert_eq!(parse(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "-1", "1.", ".5", "1e9", "tomorrow", "2011-10-13T18:02:00Z", "99999999999999", "1,5", "+1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn some_clients_write_rfc_3339() {
        assert_eq!(parse_any("2011-10-13T20:02:00+02:00"), Some(1_318_528_920_000_000));
        assert_eq!(parse_any("Thu, 13 Oct 2011 18:02:00 GMT"), Some(1_318_528_920_000_000));
        assert_eq!(parse_any("2011-10-13"), None);
        assert_eq!(to_rfc3339(1_318_528_920_000_001), "2011-10-13T18:02:00.000001Z");
    }

    #[test]
    fn dates_are_written_in_one_form() {
        assert_eq!(to_date(1_318_528_920_999_999), "Thu, 13 Oct 2011 18:02:00 GMT");
        assert_eq!(to_date(1_136_214_245_000_000), "Mon, 02 Jan 2006 15:04:05 GMT");
        assert_eq!(to_iso(1_136_214_245_999_999), "2006-01-02T15:04:05");
        assert_eq!(serde_json::json!(to_epoch(1_606_399_301_266_001)).to_string(), "1606399301.266001");
    }
}
