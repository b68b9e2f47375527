//! What all endpoints share: keys, forms, errors, dates, the address of this server.

mod attempts;
pub(crate) mod auth;
pub(crate) mod disposition;
pub(crate) mod domain;
pub(crate) mod error;
pub(crate) mod form;
pub(crate) mod log;
pub(crate) mod time;
pub(crate) mod url;
