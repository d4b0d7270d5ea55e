//! The console: a virtual database for `psql` and exporters, with PgBouncer's commands.
//!
//! Promises: only listed users may log in, and each command needs its right; every command is audited and counted like
//! a request to the admin API; tables have PgBouncer's columns. Sessions end when the program drains. Refuses to know:
//! how a client was authenticated, and the meaning of SQL statements.
//!
//! The parts: the frontend passes clients to [`Console`]. `visit` serves one client with the `protocol`. `command`
//! parses texts, `show_target` lists the tables, `show` builds rows, and `act` runs other commands.
//!
//! Database names in tables are `database@endpoint`: one database may be reachable at several endpoints, and exporters
//! need unique names.

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

pub use averages::{Averages, publish_averages as keep_averages};
pub use dispatch::{ConfigLine, Console, ConsoleContext};
pub use settings::ConsoleSettings;
