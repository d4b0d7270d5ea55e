//! Statement text: what it may do to the session, and which few statements the session machine acts on itself.
//!
//! In transaction mode a session may only give its backend back when nothing of it is left there. The server's catalogues
//! say what is left, but asking costs a round trip; so each text is scanned once, and only a text that *might* leave
//! something is asked about.
//!
//! Promises: [`effects`] over-approximates. A text that changes the session's state in a way named in [`Effects`] has
//! that bit, whatever `standard_conforming_strings` is and whatever superset of ASCII the client speaks; a bit too many
//! costs a check. One pass, no allocation. Where the octets can be read in two ways (a backslash before a quote, a dollar
//! quote after an octet of a Shift-JIS character) the text is scanned again with quotes and comments taken for code.
//!
//! Refuses to know: the grammar (what PostgreSQL refuses does no harm), what a function does that is in neither the table of
//! [`functions`] nor the [`Catalogue`], and what an `EXECUTE` of a prepared statement runs: that was said by its `PREPARE`.

mod body;
mod catalogue;
mod command;
mod effects;
mod functions;
mod keyword;
mod lexer;
mod scan;
mod settings;
mod stateful;
#[cfg(test)]
mod tests;

pub use catalogue::Catalogue;
pub use command::{Command, command};
pub use effects::Effects;
pub use scan::{effects, setting_names};
pub use stateful::{STATEFUL_SQL, stateful_names};
