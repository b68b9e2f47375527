//! What makes a message this message: its Message-ID, its date, its boundaries.

use mail_parser::DateTime;
use smtp::Domain;

/// The digits of base 32, lower case, without those that people mistake for others.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// The last second of the year 9999, the last that a date of RFC 5322 §3.3 can tell in four digits.
const LAST_SECOND: i64 = 253_402_300_799;

/// The time and the randomness that went into one message. The same identity and the same draft give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    message_id: String,
    date: String,
    boundary: String,
}

impl Identity {
    /// An identity from the time in Unix seconds, fresh random octets and the sending domain.
    ///
    /// Nobody may be able to guess `random` beforehand: text that contained a boundary would end its part.
    pub fn new(unix_seconds: i64, random: [u8; 32], domain: &Domain) -> Identity {
        let time = time_of(unix_seconds);
        let (id, boundary) = random.split_at(16);
        let message_id = format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}.{}@{domain}",
            time.year,
            time.month,
            time.day,
            time.hour,
            time.minute,
            time.second,
            base32(id)
        );
        let boundary = boundary.iter().map(|octet| format!("{octet:02x}")).collect();
        Identity { message_id, date: time.to_rfc822(), boundary }
    }

    /// The Message-ID without brackets: `20111114174239.16characters@domain`.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// The date as `Date` carries it (RFC 5322 §3.3), in UTC.
    pub fn date(&self) -> &str {
        &self.date
    }

    /// What the boundaries of this message are made of.
    pub(crate) fn boundary(&self) -> &str {
        &self.boundary
    }
}

/// The time as `Date` carries it (RFC 5322 §3.3), in UTC.
pub(crate) fn date_of(unix_seconds: i64) -> String {
    time_of(unix_seconds).to_rfc822()
}

fn time_of(unix_seconds: i64) -> DateTime {
    DateTime::from_timestamp(unix_seconds.clamp(0, LAST_SECOND))
}

/// One digit of each octet: sixteen digits hold 80 random bits, more than two messages of one second can share.
fn base32(octets: &[u8]) -> String {
    octets.iter().map(|octet| char::from(DIGITS[usize::from(octet & 31)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_randomness_and_domain_make_the_identity() {
        let domain = "samples.mailgun.org".parse().unwrap();
        let identity = Identity::new(1_321_292_559, std::array::from_fn(|i| i as u8), &domain);
        assert_eq!(identity.message_id(), "20111114174239.0123456789abcdef@samples.mailgun.org");
        assert_eq!(identity.date(), "Mon, 14 Nov 2011 17:42:39 +0000");
        assert_eq!(identity.boundary(), "101112131415161718191a1b1c1d1e1f");
    }

    #[test]
    fn no_time_breaks_the_form() {
        let domain = "example.com".parse().unwrap();
        for seconds in [i64::MIN, -1, 0, LAST_SECOND, i64::MAX] {
            let identity = Identity::new(seconds, [255; 32], &domain);
            assert_eq!(identity.message_id().len(), "20111114174239.0123456789abcdef@example.com".len());
        }
    }
}
