//! A message that came in by SMTP submission: whole, its options among its own headers.
//!
//! The options are read by the code that reads a form's, so that a header means at port 587 what it means over HTTP.

use std::collections::HashMap;

use axum::body::Bytes;
use message::Mailbox;
use policy::site::registrable;
use smtp::dsn::{MailDsn, RcptDsn};
use smtp::{Address, Domain, ReturnPath};
use store::Store;
use store::dsn::DsnRequest;

use super::mime_headers::{for_each_option, without_options};
use super::options::Options;
use super::request::{MimeRequest, Recipients};
use super::template::{UsedTemplate, Wanted};
use super::{Ready, take_whole};
use crate::api::http::error::ApiError;
use crate::api::http::time;

/// What a transaction brought in.
pub(crate) struct Submitted {
    /// Header and body, dots no longer doubled.
    pub(crate) content: Bytes,
    /// Each address once, at least one, and what RCPT said of notifications.
    pub(crate) recipients: Vec<(Address, RcptDsn)>,
    /// The reverse-path of MAIL. The null one: nobody is to be told of failures.
    pub(crate) return_path: ReturnPath,
    /// What MAIL said of notifications (RFC 3461).
    pub(crate) dsn: MailDsn,
    /// MAIL asked for REQUIRETLS (RFC 8689 §4.1).
    pub(crate) requiretls: bool,
    /// The trace field (RFC 5321 §4.4), with its CRLF.
    pub(crate) received: String,
}

/// Why a message is not taken.
pub(crate) enum Refused {
    /// An option cannot be honoured; the text names its header.
    Option(ApiError),
    /// The message itself cannot be sent.
    Message(ApiError),
}

impl Submitted {
    /// The template that its headers name.
    pub(crate) async fn template(&self, store: &Store, domain: &Domain) -> Result<Option<UsedTemplate>, ApiError> {
        let mut wanted = Wanted::default();
        wanted.take_message(&self.content)?;
        UsedTemplate::find(store, domain, wanted).await
    }

    /// The message in its final bytes: without its option headers, and with what a message must have.
    pub(crate) fn ready(self, domain: &Domain, template: Option<&UsedTemplate>) -> Result<Ready, Refused> {
        let now = time::now();
        let options = self.options(now).map_err(Refused::Option)?;
        let message = without_options(self.content);
        let asked: HashMap<Address, RcptDsn> = self.recipients.iter().cloned().collect();
        let to: Result<Vec<_>, _> =
            self.recipients.into_iter().map(|(address, _)| Mailbox::new(None, address)).collect();
        let to = to.map_err(|error| Refused::Message(ApiError::bad_request(error.to_string())))?;
        let recipients = Recipients::new(&to, &[], &options).map_err(Refused::Message)?;
        let request = MimeRequest { message, recipients, options };
        let ready = take_whole(request, template, &self.received, domain, now).map_err(Refused::Message)?;
        let of_recipients = ready.recipients.iter().map(|address| asked.get(address).cloned().unwrap_or_default());
        let dsn = DsnRequest {
            unasked: is_told_unasked(&self.return_path, domain),
            recipients: of_recipients.collect(),
            mail: self.dsn,
            return_to: match &self.return_path {
                ReturnPath::Null => None,
                ReturnPath::Address(address) => Some(address.clone()),
            },
        };
        Ok(Ready { return_path: Some(self.return_path), dsn: Some(dsn), ..ready })
    }

    fn options(&self, now: i64) -> Result<Options, ApiError> {
        let mut options = Options::default();
        if self.requiretls {
            options.ask_requiretls();
        }
        for_each_option(&self.content, |name, value| options.take_own_header(name, value))?;
        options.settle(now)?;
        Ok(options)
    }
}

/// Whether failures are told to an address that did not ask for it: if it is one of the sending domain's own organisation,
/// since its domain is the sending domain, or lies below it, or above it and below a public suffix. An application that writes some other address into
/// MAIL must ask by NOTIFY before anybody there gets mail because of it.
fn is_told_unasked(return_path: &ReturnPath, domain: &Domain) -> bool {
    match return_path {
        ReturnPath::Null => false,
        ReturnPath::Address(address) => {
            let of = address.domain();
            of.is_within(domain) || domain.is_within(of) && registrable(of) == registrable(domain)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_is_told_unasked() {
        let domain = "mg.example.com".parse().unwrap();
        for (address, told) in [
            ("app@mg.example.com", true),
            ("app@a.mg.example.com", true),
            ("bob@example.com", true),
            ("bob@other.example.com", false),
            ("bob@example.org", false),
            ("bob@notmg.example.com", false),
            ("bob@com", false),
        ] {
            assert_eq!(is_told_unasked(&ReturnPath::Address(address.parse().unwrap()), &domain), told, "{address}");
        }
        assert!(!is_told_unasked(&ReturnPath::Null, &domain));
    }
}
