//! Statement text: what it may do to the session and to the database, and which few statements the session machine acts on
//! itself.
//!
//! In transaction mode a session may only give its backend back when nothing of it is left there. The server's catalogues
//! say what is left, but asking costs a round trip; so each text is scanned once, and only a text that *might* leave
//! something is asked about.
//!
//! Promises: [`effects()`] over-approximates. A text that changes the session's state in a way named in [`Effects`] has
//! that bit, whatever `standard_conforming_strings` is and whatever superset of ASCII the client speaks; a bit too many
//! costs a check. One pass, no allocation. Where the bytes can be read in two ways (a backslash before a quote, a dollar
//! quote after a byte of a Shift-JIS character) the text is scanned again with quotes and comments taken for code.
//!
//! [`Classifier`] answers the other question: what a text may do to the database, and whether it may leave the primary. It fails
//! closed: a text must be proved to do no more than read. In order of cost: what is
//! remembered of the very text; a first word that writes; what is remembered of its [`template`] (all but its literals); the
//! server's own grammar, whose tree is walked whole ([`query`], [`syntax`]), with what the [`built_in`] tables and the
//! [`Knowledge`] of the database say of each name; and the [`second_opinion`] of another parser.
//!
//! [`effects()`] refuses to know: the grammar (what PostgreSQL refuses does no harm), what a function does that is in neither the table of
//! [`functions`] nor the [`Catalogue`], and what an `EXECUTE` of a prepared statement runs: that was said by its `PREPARE`.

mod access;
mod arguments;
mod body;
mod built_in;
mod cache;
mod call;
mod catalogue;
mod catalogue_builder;
mod classification;
mod classifier;
mod command;
mod command_word;
mod control;
mod decided;
mod effects;
mod functions;
mod ground;
mod hint;
mod json;
mod judge;
mod keyword;
mod knowledge;
mod knowledge_builder;
mod led_back;
mod lexer;
mod meaning;
mod name_set;
mod parameters;
mod query;
mod scan;
mod second_opinion;
mod settings;
mod stateful;
mod steps;
mod syntax;
mod template;
#[cfg(test)]
mod tests;

pub use access::Access;
pub use catalogue::Catalogue;
pub use catalogue_builder::CatalogueBuilder;
pub use classification::Classification;
pub use classifier::{Classifier, ClassifierOptions};
pub use command::{Command, command};
pub use command_word::names_database;
pub use control::{Control, Modes};
pub use effects::Effects;
pub use ground::Ground;
pub use hint::Hint;
pub use judge::Findings;
pub use knowledge::Knowledge;
pub use knowledge_builder::{KnowledgeBuilder, UnknownRow, knowledge_sql};
pub use led_back::{LeadsBack, LedBack, leads_back};
pub use meaning::Meaning;
pub use parameters::highest_parameter;
pub use scan::{effects, setting_names};
pub use stateful::{EPOCH_SQL, STATEFUL_SQL, stateful_names};
