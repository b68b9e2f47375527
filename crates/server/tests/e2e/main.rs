//! End to end: the built program, real sockets, real TLS, a DNS authority; what is asserted is what a user gets, the
//! event JSON, and what the receivers saw.

mod acme;
mod bounces;
mod check;
mod complaints;
mod copies;
mod dns;
mod doctor;
mod dsn;
mod durability;
mod evidence;
mod journey;
mod posture;
mod reuse;
mod smtp_client;
mod stored;
mod submission;
mod suppressions;
mod table;
mod tracking;
mod webhooks;
mod world;
