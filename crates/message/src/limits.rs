//! Every limit on what a stranger hands over, with its source.

/// Longest line of a header section, in octets, without CRLF (RFC 5322 §2.1.1).
pub const HEADER_LINE_OCTETS: usize = smtp::limits::TEXT_LINE_OCTETS;
/// Most header fields of a message. Real mail has fewer than a hundred.
pub const HEADER_FIELDS: usize = 1000;
/// Longest header section, in octets. Room for a `To` of a thousand recipients.
pub const HEADER_OCTETS: usize = 512 * 1024;
/// Longest header value handed over beside a draft, in octets.
pub const HEADER_VALUE_OCTETS: usize = 64 * 1024;
/// Longest name of a header field, in octets: it and its first fold must fit one line of 78 (RFC 5322 §2.1.1).
pub const HEADER_NAME_OCTETS: usize = 76;
/// Longest Message-ID, in octets, without its brackets.
pub const MESSAGE_ID_OCTETS: usize = 512;
/// Longest subject, in octets.
pub const SUBJECT_OCTETS: usize = 16 * 1024;
/// Longest text of an address list, in octets.
pub const MAILBOX_LIST_OCTETS: usize = 512 * 1024;
/// Longest single entry of an address list, in octets, with comments and encoded words.
pub const MAILBOX_OCTETS: usize = 2048;
/// Most mailboxes in one address list.
pub const MAILBOXES: usize = 1000;
/// Longest display name, in octets.
pub const DISPLAY_NAME_OCTETS: usize = 256;
/// Most attachments and inline files of a draft, and most that are told of an accepted message.
pub const ATTACHMENTS: usize = 1000;
/// Longest file name of an attachment, in octets.
pub const FILENAME_OCTETS: usize = 255;
/// Longest content type of an attachment with its parameters, in octets.
pub const CONTENT_TYPE_OCTETS: usize = 255;
/// Deepest nesting of multiparts that is read. Real mail has four levels.
pub const MIME_DEPTH: usize = 32;
/// How much of the header of one part is read, in octets.
pub const PART_HEADER_OCTETS: usize = 16 * 1024;
/// How much of a delivery status notification is read, in octets, without what it gives back of the message.
pub const DSN_OCTETS: usize = 256 * 1024;
/// Most recipients of a notification. No transaction of ours has more than a hundred.
pub const DSN_RECIPIENTS: usize = 500;
/// Longest text in a notification of our own, in octets, so that even one without a space fits a line.
pub const NOTIFICATION_TEXT_OCTETS: usize = 800;
/// Longest message that a notification gives back whole, in octets; of longer ones the header.
pub const RETURNED_OCTETS: usize = 1024 * 1024;
/// Longest header that it gives back, in octets.
pub const RETURNED_HEADER_OCTETS: usize = 64 * 1024;
/// Longest text of a notification that is kept, in octets.
pub const DSN_TEXT_OCTETS: usize = 1024;
/// Most parts of a report that are looked at. Real ones have three (RFC 6522 §3).
pub const REPORT_PARTS: usize = 100;
/// How much of the fields of a feedback report is read, in octets.
pub const FEEDBACK_OCTETS: usize = 64 * 1024;
/// Most values of one field of a feedback report that are read, and of one header field of the message in it.
pub const FEEDBACK_VALUES: usize = 20;
/// How much of a report about TLS is read, in octets, as it is in the mail.
pub const TLS_REPORT_OCTETS: usize = 8 * 1024 * 1024;
