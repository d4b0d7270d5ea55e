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
//! [`SchemaInfo`] of the database say of each name; and the [`cross_check`] of another parser.
//!
//! [`effects()`] refuses to know: the grammar (what PostgreSQL refuses does no harm), what a function does that is in neither the table of
//! [`functions`] nor the [`StatefulNames`], and what an `EXECUTE` of a prepared statement runs: that was said by its `PREPARE`.

mod arguments;
mod body;
mod built_in;
mod builtin_overrides;
mod cache;
mod call;
mod classification;
mod classifier;
mod classify_reason;
mod command_word;
mod cross_check;
mod effects;
mod functions;
mod hint;
mod json;
mod keyword;
mod lexer;
mod lexical_settings;
mod name_set;
mod parameters;
mod query;
mod reference_checker;
mod scan;
mod schema_info;
mod schema_info_builder;
mod session_statement;
mod setting_resets;
mod settings;
mod stateful;
mod stateful_names;
mod stateful_names_builder;
mod statement_access;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod transaction_control;
mod transaction_steps;

pub use classification::Classification;
pub use classifier::{Classifier, ClassifierOptions};
pub use classify_reason::ClassifyReason;
pub use command_word::names_database;
pub use effects::Effects;
pub use hint::Hint;
pub use lexical_settings::LexicalSettings;
pub use parameters::highest_parameter;
pub use reference_checker::ReferenceList;
pub use scan::{effects, find_setting_names};
pub use schema_info::SchemaInfo;
pub use schema_info_builder::{SchemaInfoBuilder, UnknownRow, schema_info_sql};
pub use session_statement::{SessionStatement, session_statement};
pub use setting_resets::{SettingReset, SettingResets, find_setting_resets};
pub use stateful::{EPOCH_SQL, STATEFUL_SQL, find_stateful_names};
pub use stateful_names::StatefulNames;
pub use stateful_names_builder::StatefulNamesBuilder;
pub use statement_access::StatementAccess;
pub use transaction_control::{TransactionControl, TransactionModes};
