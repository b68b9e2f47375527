//! The HTTP API over real sockets and a real store: what a client sees, and what was kept.

mod access;
mod copies;
mod credentials;
mod dkim;
mod domains;
mod events;
mod keys;
mod logs;
mod metrics;
mod queue;
mod queues;
mod sending;
mod stored;
mod support;
mod suppressions;
mod templates;
mod tenants;
mod tls;
mod tls_reports;
mod tracking;
mod webhooks;
