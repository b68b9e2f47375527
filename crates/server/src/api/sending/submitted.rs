//! A message that came in by SMTP submission: whole, its options among its own headers.
//!
//! The options are read by the code that reads a form's, so that a header means at port 587 what it means over HTTP.

use message::Mailbox;
use smtp::{Address, Domain};
use store::Store;

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
    pub(crate) content: Vec<u8>,
    /// Each address once, at least one.
    pub(crate) recipients: Vec<Address>,
    /// The reverse-path of MAIL was the null one: nobody is to be told of failures.
    pub(crate) null_return_path: bool,
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
        let message = without_options(&self.content).into();
        // There are enough copies of it by now.
        drop(self.content);
        let to: Result<Vec<_>, _> = self.recipients.into_iter().map(|address| Mailbox::new(None, address)).collect();
        let to = to.map_err(|error| Refused::Message(ApiError::bad_request(error.to_string())))?;
        let recipients = Recipients::new(&to, &[], &options).map_err(Refused::Message)?;
        let request = MimeRequest { message, recipients, options };
        let ready = take_whole(request, template, &self.received, domain, now).map_err(Refused::Message)?;
        Ok(Ready { null_return_path: self.null_return_path, ..ready })
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
