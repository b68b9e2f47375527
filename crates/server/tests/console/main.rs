//! The control panel over real sockets and a real store: what a browser sees, and what was changed.

mod domains;
mod door;
mod keys;
mod support;
