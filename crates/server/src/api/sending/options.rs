//! What a request says beside the message: `o:`, `h:`, `v:` and `t:` fields, and `X-Mailgun-*` headers that mean the same.

use policy::tls::{TlsSettings, TlsTag};
use serde_json::{Map, Value};
use store::tracking::TrackedLinks;

use crate::api::http::error::ApiError;
use crate::api::http::form::Field;
use crate::api::http::time;
use crate::api::limits::{DELIVER_WITHIN_MINUTES, DELIVERY_AHEAD_SECONDS, OPTIONS_OCTETS, TAG_OCTETS, TAGS};
use crate::copies::{RECIPIENT_VARIABLES_HEADER, RecipientVariables};
use crate::tracking::Wanted;

/// The options of one message.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Options {
    /// From `h:`, without those that are options.
    pub(crate) headers: Vec<(String, String)>,
    /// From `v:`; all values are strings.
    pub(crate) variables: Map<String, Value>,
    /// From `o:tag`.
    pub(crate) tags: Vec<String>,
    /// From `o:testmode`.
    pub(crate) test_mode: Option<bool>,
    /// From `o:deliverytime`, in microseconds; a time that has passed is `None`.
    pub(crate) deliver_at: Option<i64>,
    /// From `o:deliver-within`, in microseconds: when the window ends that begins with the delivery time.
    pub(crate) expires_at: Option<i64>,
    /// From `X-Mailgun-Recipient-Variables`, and from `recipient-variables` itself.
    pub(crate) recipient_variables: Option<RecipientVariables>,
    /// From `v:` and `X-Mailgun-Variables`, as templates see them: JSON is JSON.
    pub(crate) template_variables: Map<String, Value>,
    /// From `t:`.
    pub(crate) template: TemplateOptions,
    /// From `o:require-tls`, `o:skip-verification`, and the two of RFC 8689.
    pub(crate) tls: TlsSettings,
    /// From `o:dkim`: whether the message is signed.
    pub(crate) dkim: Option<bool>,
    /// From `o:tracking` and its like.
    pub(crate) tracking: Wanted,
    requiretls: Option<bool>,
    tls_not_required: bool,
    delivery_time: Option<String>,
    deliver_within: Option<i64>,
    octets: usize,
}

/// What `t:` fields say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TemplateOptions {
    /// The tag of the version; without it the active one.
    pub(crate) version: Option<String>,
    /// The text is made of the template too.
    pub(crate) text: Option<bool>,
    /// Variables, which beat those of [`Options::template_variables`].
    pub(crate) variables: Option<Map<String, Value>>,
}

/// The header by which a message passes over what its recipients' domains demand (RFC 8689 §5).
pub(super) const TLS_REQUIRED: &str = "TLS-Required";

/// How the names of all headers begin that are options.
const OPTION_PREFIX: &str = "x-mailgun-";

/// Options of Mailgun that are not there yet. Ignoring one would send something else than what was asked for.
const NOT_YET: [&str; 8] = [
    "secondary-dkim",
    "secondary-dkim-public",
    "deliverytime-optimize-period",
    "time-zone-localize",
    "sending-ip",
    "sending-ip-pool",
    "archive-to",
    "suppress-headers",
];

/// Headers that are options, and the options that they are.
const HEADER_OPTIONS: [(&str, &str); 15] = [
    ("x-mailgun-require-tls", "require-tls"),
    ("x-mailgun-tls-end-to-end", "tls-end-to-end"),
    ("x-mailgun-skip-verification", "skip-verification"),
    ("x-mailgun-tag", "tag"),
    ("x-mailgun-drop-message", "testmode"),
    ("x-mailgun-deliver-by", "deliverytime"),
    ("x-mailgun-dkim", "dkim"),
    ("x-mailgun-track", "tracking"),
    ("x-mailgun-track-clicks", "tracking-clicks"),
    ("x-mailgun-track-opens", "tracking-opens"),
    ("x-mailgun-track-pixel-location-top", "tracking-pixel-location-top"),
    ("x-mailgun-sending-ip", "sending-ip"),
    ("x-mailgun-sending-ip-pool", "sending-ip-pool"),
    ("x-mailgun-delivery-time-optimize-period", "deliverytime-optimize-period"),
    ("x-mailgun-time-zone-localize", "time-zone-localize"),
];

/// Headers that Mailgun writes itself and that ask for nothing. A message that is passed on may have them.
const HEADERS_THAT_ASK_NOTHING: [&str; 8] = [
    "x-mailgun-sid",
    "x-mailgun-batch-id",
    "x-mailgun-incoming",
    "x-mailgun-spf",
    "x-mailgun-dkim-check-result",
    "x-mailgun-sflag",
    "x-mailgun-sscore",
    "x-mailgun-sending-ip-pool-name",
];

/// Whether a field of a message's own header is an option, which is for us and not for the recipient.
pub(super) fn is_option_header(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.starts_with(OPTION_PREFIX) && !HEADERS_THAT_ASK_NOTHING.contains(&lower.as_str())
}

impl Options {
    /// Takes the field if it is an option, and says whether it was one. Prefixes and names of options know no case.
    pub(crate) fn take(&mut self, field: &Field) -> Result<bool, ApiError> {
        let Some((prefix, name)) = field.name.split_once(':') else { return Ok(false) };
        let prefix = prefix.trim().to_ascii_lowercase();
        if !matches!(prefix.as_str(), "o" | "h" | "v" | "t") {
            return Ok(false);
        }
        let value = field.as_text()?;
        if prefix == "h" && name.trim().eq_ignore_ascii_case(RECIPIENT_VARIABLES_HEADER) {
            return self.individual(value, &field.name).map(|()| true);
        }
        self.count(field.name.len() + value.len())?;
        match prefix.as_str() {
            "o" => self.set(name, value, &field.name)?,
            "h" => self.header(name, value, &field.name)?,
            "v" => self.variable(name, Value::from(value), &field.name)?,
            _ => self.template_option(name, value, &field.name)?,
        }
        Ok(true)
    }

    fn template_option(&mut self, name: &str, value: &str, given: &str) -> Result<(), ApiError> {
        let no_json = || ApiError::bad_request(format!("'{given}' parameter is not a valid JSON"));
        match plain_name(name).as_str() {
            // Clients send fields that they have nothing for.
            "version" | "text" | "variables" if value.trim().is_empty() => Ok(()),
            "version" => once(&mut self.template.version, value.trim().to_owned(), given),
            "text" => once(&mut self.template.text, yes_no(value, given)?, given),
            "variables" => match serde_json::from_str(value) {
                Ok(Value::Object(map)) => once(&mut self.template.variables, map, given),
                _ => Err(no_json()),
            },
            _ => Err(not_supported(given)),
        }
    }

    /// Takes a header of a whole message if it is an option.
    pub(crate) fn take_own_header(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        if name.eq_ignore_ascii_case(TLS_REQUIRED) {
            // In a message that is passed on an odd value is somebody else's; it lifts nothing.
            self.tls_not_required |= value.trim().eq_ignore_ascii_case("no");
            return Ok(());
        }
        if name.eq_ignore_ascii_case(RECIPIENT_VARIABLES_HEADER) {
            return self.individual(value, name);
        }
        self.count(name.len() + value.len())?;
        self.take_header(name, value).map(|_| ())
    }

    /// REQUIRETLS was asked for beside the message (RFC 8689 §4.1). A header that says otherwise is then refused.
    pub(crate) fn ask_requiretls(&mut self) {
        self.requiretls = Some(true);
    }

    /// Takes what is said about each recipient, each of whom gets a copy of its own from now on.
    pub(crate) fn individual(&mut self, json: &str, given: &str) -> Result<(), ApiError> {
        let variables = RecipientVariables::parse(json);
        let no_json = || ApiError::bad_request(format!("'{}' parameter is not a valid JSON", excerpt(given)));
        once(&mut self.recipient_variables, variables.map_err(|error| no_json().because(error))?, given)
    }

    /// Options are few, wherever they stand: each event repeats some of them.
    fn count(&mut self, octets: usize) -> Result<(), ApiError> {
        self.octets += octets;
        if self.octets <= OPTIONS_OCTETS {
            return Ok(());
        }
        let text = "Send options (parameters starting with o:, h:, or v:) are limited to 16 kB total";
        Err(ApiError::bad_request(text))
    }

    /// `TLS-Required: No` (RFC 8689 §5), the only value that there is.
    fn tls_required(&mut self, value: &str, given: &str) -> Result<(), ApiError> {
        if !value.trim().eq_ignore_ascii_case("no") {
            let text = format!("'{}' can only be 'no' (RFC 8689); to demand TLS write o:require-tls", excerpt(given));
            return Err(ApiError::bad_request(text));
        }
        self.tls_not_required = true;
        Ok(())
    }

    /// Takes a header if it is an option, and says whether it was one.
    fn take_header(&mut self, name: &str, value: &str) -> Result<bool, ApiError> {
        if !is_option_header(name) {
            return Ok(false);
        }
        let lower = name.to_ascii_lowercase();
        if let Some((_, option)) = HEADER_OPTIONS.iter().find(|(header, _)| *header == lower) {
            return self.set(option, value, name).map(|()| true);
        }
        match lower.as_str() {
            "x-mailgun-variables" => self.variables(value, name)?,
            // It was looked up before.
            "x-mailgun-template-name" => {}
            "x-mailgun-template-version" => self.template_option("version", value, name)?,
            "x-mailgun-template-variables" => self.template_option("variables", value, name)?,
            _ => return Err(not_supported(name)),
        }
        Ok(true)
    }

    /// Settles what depends on other options and on the time of the request. No option may come after it.
    pub(crate) fn settle(&mut self, now: i64) -> Result<(), ApiError> {
        // REQUIRETLS beats the header: who asks for both has said more with the first (RFC 8689 §4.1).
        self.tls.tag = match (self.requiretls, self.tls_not_required) {
            (Some(true), _) => Some(TlsTag::Requiretls),
            (_, true) => Some(TlsTag::NotRequired),
            (_, false) => None,
        };
        self.settle_delivery_time(now)?;
        self.expires_at = self.deliver_within.map(|window| self.deliver_at.unwrap_or(now) + window);
        Ok(())
    }

    fn settle_delivery_time(&mut self, now: i64) -> Result<(), ApiError> {
        let Some(text) = &self.delivery_time else { return Ok(()) };
        let not_a_date = || ApiError::bad_request(format!("{text} is not an RFC-2822 compliant date"));
        let at = time::parse(text).ok_or_else(not_a_date)?;
        if at > now + DELIVERY_AHEAD_SECONDS * 1_000_000 {
            let days = DELIVERY_AHEAD_SECONDS / 86_400;
            return Err(ApiError::bad_request(format!("o:deliverytime is more than {days} days ahead")));
        }
        self.deliver_at = (at > now).then_some(at);
        Ok(())
    }

    /// Sets the option of that name; `given` is what the request calls it.
    fn set(&mut self, name: &str, value: &str, given: &str) -> Result<(), ApiError> {
        match plain_name(name).as_str() {
            "require-tls" => once(&mut self.tls.require_tls, yes_no(value, given)?, given),
            "skip-verification" => once(&mut self.tls.skip_verification, yes_no(value, given)?, given),
            "tls-end-to-end" => once(&mut self.requiretls, yes_no(value, given)?, given),
            "tls-required" => {
                self.tls_required(value, given)?;
                if !self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(TLS_REQUIRED)) {
                    self.headers.push((TLS_REQUIRED.to_owned(), "No".to_owned()));
                }
                Ok(())
            }
            "testmode" => once(&mut self.test_mode, yes_no(value, given)?, given),
            "dkim" => once(&mut self.dkim, yes_no(value, given)?, given),
            "deliverytime" => once(&mut self.delivery_time, excerpt(value.trim()), given),
            "deliver-within" => once(&mut self.deliver_within, window(value, given)?, given),
            "tag" => self.tag(value, given),
            "tracking" => once(&mut self.tracking.all, tracked_links(value, given)?, given),
            "tracking-clicks" => once(&mut self.tracking.clicks, tracked_links(value, given)?, given),
            "tracking-opens" => once(&mut self.tracking.opens, yes_no(value, given)?, given),
            "tracking-pixel-location-top" => {
                let at_top = tracked_links(value, given)? != TrackedLinks::None;
                once(&mut self.tracking.at_top, at_top, given)
            }
            name if NOT_YET.contains(&name) => Err(not_supported(given)),
            _ => Err(ApiError::bad_request(format!("'{}' is not an option", excerpt(given)))),
        }
    }

    fn header(&mut self, name: &str, value: &str, given: &str) -> Result<(), ApiError> {
        if name.is_empty() {
            return Err(ApiError::bad_request(format!("'{given}' has no header name")));
        }
        if !name.is_ascii() {
            return Err(ApiError::bad_request(format!("Header name must be pure ASCII: {}", excerpt(name))));
        }
        if !self.take_header(name.trim(), value)? {
            if name.trim().eq_ignore_ascii_case(TLS_REQUIRED) {
                return self.set("tls-required", value, given);
            } else if asks_for_tls(name) {
                let text =
                    format!("'{}' would have no effect; write o:require-tls or o:skip-verification", excerpt(given));
                return Err(ApiError::bad_request(text));
            }
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        Ok(())
    }

    fn tag(&mut self, value: &str, given: &str) -> Result<(), ApiError> {
        let tag = value.trim();
        let refuse = |why: String| Err(ApiError::bad_request(format!("{given} {why}")));
        if tag.is_empty() || !tag.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            return refuse("must be printable ASCII and not empty".to_owned());
        }
        if tag.len() > TAG_OCTETS {
            return refuse(format!("is longer than {TAG_OCTETS} characters"));
        }
        if self.tags.iter().any(|known| known.eq_ignore_ascii_case(tag)) {
            return Ok(());
        }
        if self.tags.len() == TAGS {
            return refuse(format!("is given too often, max is {TAGS}"));
        }
        self.tags.push(tag.to_owned());
        Ok(())
    }

    fn variables(&mut self, json: &str, given: &str) -> Result<(), ApiError> {
        let Ok(Value::Object(map)) = serde_json::from_str(json) else {
            return Err(ApiError::bad_request(format!("{given} is not a valid JSON object")));
        };
        map.into_iter().try_for_each(|(name, value)| self.variable(&name, value, given))
    }

    fn variable(&mut self, name: &str, value: Value, given: &str) -> Result<(), ApiError> {
        if name.is_empty() {
            return Err(ApiError::bad_request(format!("'{given}' has no variable name")));
        }
        // Templates can go through a list; events and the message tell of it as text.
        let json = value.as_str().filter(|text| text.starts_with(['{', '[']));
        let json = json.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| value.clone());
        let value = if value.is_string() { value } else { Value::from(value.to_string()) };
        match self.variables.get(name) {
            Some(known) if *known != value => Err(more_than_once(given)),
            _ => {
                self.variables.insert(name.to_owned(), value);
                self.template_variables.insert(name.to_owned(), json);
                Ok(())
            }
        }
    }
}

/// The four spellings, in any case. A setting is never guessed from anything else.
pub(crate) fn yes_no(value: &str, field: &str) -> Result<bool, ApiError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(ApiError::bad_request(format!("'{field}' must be one of: yes, no, true, false"))),
    }
}

/// The four spellings, and a fifth: only in HTML.
pub(crate) fn tracked_links(value: &str, field: &str) -> Result<TrackedLinks, ApiError> {
    if value.trim().eq_ignore_ascii_case("htmlonly") {
        return Ok(TrackedLinks::Html);
    }
    let refuse = |_| ApiError::bad_request(format!("'{field}' must be one of: yes, no, true, false, htmlonly"));
    yes_no(value, field).map(|yes| if yes { TrackedLinks::All } else { TrackedLinks::None }).map_err(refuse)
}

/// The length of a delivery window in microseconds: `2h`, `30m`, `1h30m`.
fn window(value: &str, field: &str) -> Result<i64, ApiError> {
    let refuse = || ApiError::bad_request(format!("'{field}' must be a time like 1h30m, from 5m to 24h"));
    let number = |text: &str| match text.len() {
        1..=4 if text.bytes().all(|b| b.is_ascii_digit()) => text.parse::<i64>().map_err(|_| refuse()),
        _ => Err(refuse()),
    };
    let text = value.trim().to_ascii_lowercase();
    let (hours, rest) =
        text.split_once('h').map_or((0, text.as_str()), |(hours, rest)| (number(hours).unwrap_or(-1), rest));
    let minutes = if rest.is_empty() { 0 } else { number(rest.strip_suffix('m').ok_or_else(refuse)?)? };
    let total = hours * 60 + minutes;
    if text.is_empty() || hours < 0 || !DELIVER_WITHIN_MINUTES.contains(&total) {
        return Err(refuse());
    }
    Ok(total * 60 * 1_000_000)
}

/// Sets what may be said only once, or several times alike.
pub(crate) fn once<T: PartialEq>(slot: &mut Option<T>, value: T, field: &str) -> Result<(), ApiError> {
    match slot {
        Some(known) if *known != value => Err(more_than_once(field)),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

fn more_than_once(field: &str) -> ApiError {
    ApiError::bad_request(format!("'{}' is given more than once, with different values", excerpt(field)))
}

/// The name without case, and without the index that some clients add to repeated fields: `attachment[1]`.
pub(crate) fn plain_name(name: &str) -> String {
    let name = name.trim();
    let indexed = name.strip_suffix(']').and_then(|name| name.rsplit_once('['));
    let name = match indexed {
        Some((name, index)) if index.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => name,
    };
    name.to_ascii_lowercase()
}

/// Whether the letters of a name spell one of the two TLS settings: somebody relies on it, however it is written.
pub(crate) fn asks_for_tls(name: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase());
    let letters: String = letters.collect();
    letters.contains("requiretls") || letters.contains("skipverif")
}

/// The refusal of what later versions will bring.
pub(crate) fn not_supported(field: &str) -> ApiError {
    ApiError::bad_request(format!("'{}' is not supported yet", excerpt(field)))
}

/// The first 100 characters, none of them a control, for error texts.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
