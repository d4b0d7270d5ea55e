//! Dialing and logging in against scripted servers on loopback.

mod dial;
mod judge;
mod login;
mod query;
mod script;
mod stack;
