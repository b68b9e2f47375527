//! Waxwing, the program: configuration, command line, HTTP API, queue, webhooks.

#![forbid(unsafe_code)]

pub mod acme;
pub mod api;
pub mod check;
pub mod cli;
pub mod config;
pub mod console;
mod copies;
pub mod demo;
mod dkim;
pub mod doctor;
mod inbound;
mod metrics;
mod notices;
pub mod queue;
mod remembered;
mod rotation;
pub mod sending_dns;
pub mod serve;
mod smtpd;
mod submission;
mod templates;
mod text;
pub mod tlsrpt;
mod tracking;
pub mod webhooks;
