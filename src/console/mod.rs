//! The console: what `psql` and exporters talk to instead of a database, in PgBouncer's words.
//!
//! Promises: only users who are listed come in, and each command needs its own right; every command is audited and counted
//! as a request to the admin API is; the tables have PgBouncer's columns. It ends when the program drains. Refuses to know:
//! how a client has proved who it is (that was before), what a statement of SQL means.
//!
//! The parts: [`Console`] is what the frontend hands a client to. `visit` drives one client's `protocol` (the protocol);
//! a `command` is what a text asks for, `target` what can be shown, `show` makes the rows, `act` does the rest.
//!
//! Names of databases in its tables are `database@endpoint`: one database may be reached at several endpoints, and an
//! exporter needs each name once.

mod act;
mod averages;
mod client;
mod command;
mod dispatch;
mod protocol;
mod response;
mod settings;
mod show;
mod show_target;
mod stats_values;
mod table;
mod visit;
mod word;

pub use averages::{Averages, keep as keep_averages};
pub use dispatch::{ConfigLine, Console, ConsoleContext};
pub use settings::ConsoleSettings;
