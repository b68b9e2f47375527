//! `/v1/analytics`: what happened, asked in JSON.

mod log_filter;
mod logs;
mod operations;
mod request;

pub(super) use self::operations::operations;
