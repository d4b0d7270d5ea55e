//! One client's conversation, without sockets.
//!
//! Promises: octets of both sides are walked over once and forwarded as they are; what the server owes is known from its
//! own answers. Refuses to know: sockets, clocks, TLS, which endpoint serves.
//!
//! In session mode a backend belongs to its session for life, so everything is forwarded and nothing held back; the
//! machine watches for what others must know: statements that end (metrics, audit), whether the session is idle (drain),
//! whether a statement was under way when somebody vanished (cancel).
//!
//! A session that shares backends ([`Session::shared`]) says when it [wants](Session::wants_backend) one and when it is
//! [done](Session::detach) with it. What is its own and has to be there whichever backend it holds (prepared statements,
//! settings, a BEGIN held back) goes ahead of its statements in the same write; what it may have left behind it looks up in
//! the server's catalogues before it lets go, and is held by [`Pin`]s as long as something is there.

mod answers;
mod cause;
mod cluster_commands;
mod common;
mod ledger;
mod machine;
mod memory;
mod own;
mod parsed;
mod pin;
mod prepared;
mod refusal;
mod repeat;
mod report;
mod reported;
mod requests;
mod result_shape;
mod settings;
mod sharing;
mod split;
mod startup;
mod statement;
mod statement_name;
mod take;
#[cfg(test)]
mod tests;
mod texts;

pub use cause::Cause;
pub use common::{CatalogInstant, Common};
pub use machine::{Session, SessionOptions};
pub use memory::Memory;
pub use pin::{Pin, Pins};
pub use refusal::Refusal;
pub use report::{Report, StatementKind, Text};
pub use reported::Reported;
pub use settings::Settings;
pub use split::{Asked, Assignment, Freshness};
pub use take::Take;
