//! What happened, event by event and counted: `/v1/analytics`, and the older `stats` and `tags`.

mod aggregates;
mod log_filter;
mod logs;
mod metrics;
mod metrics_query;
mod operations;
mod request;
mod stats;
mod tags;

pub(super) use self::operations::operations;
