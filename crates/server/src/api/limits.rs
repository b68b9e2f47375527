//! Every limit of the HTTP API, with its source.

use std::time::Duration;

/// Longest request body: 52.4 MiB, as Mailgun has it.
pub(crate) const REQUEST_OCTETS: u64 = 54_945_382;
/// Longest message as it goes out, and longest single form field: 25 MiB. Mailgun says 25 MB.
pub(crate) const MESSAGE_OCTETS: u64 = 25 * 1024 * 1024;
/// Most form fields. Room for a `to` of its own for each of a thousand recipients, three times over.
pub(crate) const FORM_FIELDS: usize = 4096;
/// Most files in one form.
pub(crate) const FORM_FILES: usize = 200;
/// Longest name of a form field, in octets.
pub(crate) const FIELD_NAME_OCTETS: usize = 256;
/// Time to send a whole form: the longest one at two megabits per second.
pub(crate) const FORM_TIME: Duration = Duration::from_secs(4 * 60);
/// Octets of forms that are held in memory at the same time; further requests wait for their turn.
pub(crate) const FORMS_IN_MEMORY_OCTETS: u64 = 512 * 1024 * 1024;
/// Longest wait for that turn.
pub(crate) const FORM_WAIT: Duration = Duration::from_secs(20);

/// Names and values of all `o:`, `h:`, `v:` and `t:` fields together: 16 kB, as Mailgun has it.
pub(crate) const OPTIONS_OCTETS: usize = 16 * 1024;
/// Most recipients of one message, as Mailgun has it.
pub(crate) const RECIPIENTS: usize = 1000;
/// Longest tag, as Mailgun has it.
pub(crate) const TAG_OCTETS: usize = 128;
/// Most tags of one message.
pub(crate) const TAGS: usize = 10;
/// How far ahead `o:deliverytime` may be, as Mailgun has it.
pub(crate) const DELIVERY_AHEAD_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Shortest and longest `o:deliver-within`, in minutes, as Mailgun has it.
pub(crate) const DELIVER_WITHIN_MINUTES: std::ops::RangeInclusive<i64> = 5..=24 * 60;

/// Most entries in one request to put some on a suppression list, as Mailgun has it.
pub(crate) const SUPPRESSIONS_AT_ONCE: usize = 1000;
/// Longest such request in JSON, in octets.
pub(crate) const SUPPRESSIONS_OCTETS: usize = 4 * 1024 * 1024;
/// Most entries of a suppression list on a page, as Mailgun has it.
pub(crate) const SUPPRESSIONS_PER_PAGE: usize = 1000;
/// Entries on a page unless the request says otherwise.
pub(crate) const SUPPRESSIONS_PER_PAGE_DEFAULT: usize = 100;
/// Longest reason of an entry of a suppression list, in octets.
pub(crate) const SUPPRESSION_TEXT_OCTETS: usize = 2048;
/// Longest code of a bounce, in octets.
pub(crate) const SUPPRESSION_CODE_OCTETS: usize = 16;
/// Most rows of an imported file that are told of one by one.
pub(crate) const IMPORT_ERRORS_TOLD: usize = 100;
/// Most DKIM keys on a page.
pub(crate) const DKIM_KEYS_PER_PAGE: usize = 100;
/// DKIM keys on a page unless the request says otherwise.
pub(crate) const DKIM_KEYS_PER_PAGE_DEFAULT: usize = 10;

/// Kept messages that are read at the same time; further requests wait for their turn, as forms do.
pub(crate) const MESSAGES_READ_AT_ONCE: usize = 4;

/// Longest query of a request for events, in octets.
pub(crate) const QUERY_OCTETS: usize = 4096;
/// Longest page token, in octets: the base64 of a query, in which JSON may double every octet, and its position.
pub(crate) const TOKEN_OCTETS: usize = 12 * 1024;
/// Most events on a page, as Mailgun has it.
pub(crate) const EVENTS_PER_PAGE: usize = 300;
/// Events on a page unless the request says otherwise.
pub(crate) const EVENTS_PER_PAGE_DEFAULT: usize = 100;
/// Octets of events on a page, roughly: a page ends early rather than tell a thousand recipients three hundred times.
pub(crate) const EVENTS_PAGE_OCTETS: usize = 8 * 1024 * 1024;
/// Longest filter expression, in octets.
pub(crate) const EXPRESSION_OCTETS: usize = 1024;
/// Most words in one filter expression.
pub(crate) const EXPRESSION_WORDS: usize = 64;
/// Deepest nesting of a filter expression.
pub(crate) const EXPRESSION_DEPTH: usize = 16;

/// Most events on a page of the logs, as Mailgun has it.
pub(crate) const LOGS_PER_PAGE: usize = 100;
/// Most values in the filter of a request in JSON, and events that it names.
pub(crate) const LOG_VALUES: usize = 100;
/// Most hours, days or months that one question about counts may span.
pub(crate) const METRICS_PARTS: usize = 2000;
/// Most items on a page of metrics.
pub(crate) const METRICS_PER_PAGE: usize = 1000;
/// Items on a page of metrics unless the request says otherwise.
pub(crate) const METRICS_PER_PAGE_DEFAULT: usize = 100;
/// Most domains that stats are told of at once.
pub(crate) const STATS_DOMAINS: usize = 10_000;
/// Most tags on a page.
pub(crate) const TAGS_PER_PAGE: usize = 1000;
/// Tags on a page unless the request says otherwise.
pub(crate) const TAGS_PER_PAGE_DEFAULT: usize = 100;
/// Longest description of a tag, in octets.
pub(crate) const TAG_DESCRIPTION_OCTETS: usize = 1000;
/// Longest question in JSON, in octets.
pub(crate) const JSON_OCTETS: usize = 256 * 1024;
/// Time to send one.
pub(crate) const JSON_TIME: Duration = Duration::from_secs(30);

/// Reports about TLS that strangers may upload in a minute, all together.
pub(crate) const UPLOADS_PER_MINUTE: u32 = 60;
/// When a domain that was reported about too often may be reported about again, as reporters are told: reports are daily.
pub(crate) const REPORTS_AGAIN: Duration = Duration::from_secs(6 * 3600);
/// Uploaded reports that are read at the same time.
pub(crate) const UPLOADS_AT_ONCE: usize = 4;
/// Time to send one.
pub(crate) const UPLOAD_TIME: Duration = Duration::from_secs(60);
/// Most reports about TLS on a page.
pub(crate) const REPORTS_PER_PAGE: usize = 100;
/// Reports on a page unless the request says otherwise.
pub(crate) const REPORTS_PER_PAGE_DEFAULT: usize = 20;

/// Longest footer that tells how to unsubscribe, in octets. Each message that has it keeps it.
pub(crate) const FOOTER_OCTETS: usize = 8 * 1024;
/// Longest form by which a recipient unsubscribes, in octets: RFC 8058 has one short field.
pub(crate) const UNSUBSCRIBE_OCTETS: usize = 4096;
/// Recipients who unsubscribe at the same time. Further ones wait.
pub(crate) const UNSUBSCRIBED_AT_ONCE: usize = 100;
/// Events of recipients' programs that wait to be written at the same time. Further ones are left out.
pub(crate) const TRACKED_AT_ONCE: usize = 1000;
/// Calls of links from one address that are told in a minute. A company may share one.
pub(crate) const TRACKED_PER_MINUTE: u32 = 600;
/// Most addresses whose calls are counted.
pub(crate) const TRACKED_ADDRESSES: usize = 10_000;

/// Wrong keys that an address may try in [`WRONG_KEY_TIME`].
pub(crate) const WRONG_KEYS: u32 = 60;
/// The time in which they are counted, and the longest wait.
pub(crate) const WRONG_KEY_TIME: Duration = Duration::from_secs(60);
/// Most addresses whose wrong keys are counted.
pub(crate) const WRONG_KEY_ADDRESSES: usize = 4096;
/// Most API keys.
pub(crate) const KEYS: usize = 10_000;
/// Longest description of an API key, in octets.
pub(crate) const KEY_DESCRIPTION_OCTETS: usize = 200;
/// Longest life of an API key that ends at all, in seconds: a hundred years.
pub(crate) const KEY_SECONDS: u64 = 100 * 365 * 86_400;

/// Longest name of a template or a version, in octets.
pub(crate) const TEMPLATE_NAME_OCTETS: usize = 255;
/// Longest description of a template or comment on a version, in octets.
pub(crate) const TEMPLATE_COMMENT_OCTETS: usize = 1024;
/// Longest JSON of the headers that a template presets, in octets.
pub(crate) const TEMPLATE_HEADERS_OCTETS: usize = 4096;
/// Most templates or versions on a page, as Mailgun has it.
pub(crate) const TEMPLATES_PER_PAGE: usize = 100;
/// Templates or versions on a page unless the request says otherwise.
pub(crate) const TEMPLATES_PER_PAGE_DEFAULT: usize = 10;

/// Most domains on a page, as Mailgun has it.
pub(crate) const DOMAINS_PER_PAGE: usize = 1000;
/// Domains on a page unless the request says otherwise.
pub(crate) const DOMAINS_PER_PAGE_DEFAULT: usize = 100;

/// Most SMTP credentials of a domain.
pub(crate) const CREDENTIALS: u64 = 1000;
/// Most credentials on a page, as Mailgun has it.
pub(crate) const CREDENTIALS_PER_PAGE: usize = 1000;
/// Credentials on a page unless the request says otherwise.
pub(crate) const CREDENTIALS_PER_PAGE_DEFAULT: usize = 100;

/// Longest range of `/v1/tls`, in days.
pub(crate) const POSTURE_DAYS: u64 = 400;
/// Most destinations on a page of `/v1/tls`.
pub(crate) const POSTURE_PER_PAGE: usize = 1000;
/// Destinations on a page unless the request says otherwise.
pub(crate) const POSTURE_PER_PAGE_DEFAULT: usize = 100;
/// Most destinations on a page that tells hours or days apart.
pub(crate) const POSTURE_PER_PAGE_WITH_BUCKETS: usize = 50;
/// Most hours or days that are told apart.
pub(crate) const POSTURE_BUCKETS: u64 = 400;

/// Most URLs that are told of one kind of event, as Mailgun has it.
pub(crate) const WEBHOOK_URLS: usize = 3;
/// Longest URL of a webhook.
pub(crate) const WEBHOOK_URL_OCTETS: usize = 2048;
/// Longest description of a webhook.
pub(crate) const WEBHOOK_DESCRIPTION_OCTETS: usize = 500;
/// Most tests of webhooks at the same time.
pub(crate) const WEBHOOK_TESTS_AT_ONCE: usize = 8;
/// Most recipients on a page of the queue.
pub(crate) const QUEUE_PER_PAGE: usize = 300;
/// Recipients on a page of the queue unless it is said.
pub(crate) const QUEUE_PER_PAGE_DEFAULT: usize = 100;
/// Most recipients that one order names.
pub(crate) const QUEUE_IDS: usize = 1000;
/// Destinations that are looked at at the same time.
pub(crate) const CHECKS_AT_ONCE: usize = 4;
/// Longest look at a destination.
pub(crate) const CHECK_TIME: Duration = Duration::from_secs(100);
/// Longest wait for the answer to a test.
pub(crate) const WEBHOOK_TEST_TIME: Duration = Duration::from_secs(15);
