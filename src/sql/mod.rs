//! Statement texts: effects on the session and on the database, and the few statements that the session machine
//! handles.
//!
//! In transaction mode a session may return a backend only without leftover session state. The server's catalogs show
//! leftover state, but a query costs a round trip. So each text is scanned once, and only texts that *might* leave
//! state cause a state check.
//!
//! Promises: [`effects()`] over-approximates. A text that changes session state in a way named in [`Effects`] has the
//! bit, for any `standard_conforming_strings` and any ASCII superset as encoding; an extra bit costs a check. One pass,
//! no allocation. A text with two possible readings (a backslash before a quote, a dollar quote after a byte of a
//! Shift-JIS character) is scanned again with quotes and comments read as code.
//!
//! [`Classifier`] determines the effect on the database, and if a text may leave the primary. The classifier fails
//! closed: a text needs proof to count as a read. In order of cost: the cached text; a first word that writes; the
//! cached [`template`] (the text without literals); PostgreSQL's grammar, with a visit of the whole tree ([`query`],
//! [`syntax`]), the [`builtin`] tables and the [`SchemaInfo`] of the database; and the [`cross_check`] by another
//! parser.
//!
//! [`effects()`] refuses to know: the grammar (a rejected text does no harm), functions outside the table of
//! [`functions`] and the [`StatefulNames`], and the statement run by an `EXECUTE`, which counted at the `PREPARE`.

mod analysis;
mod arguments;
mod body;
mod builtin;
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
mod transaction_commands;
mod transaction_control;
mod transaction_steps;

#[cfg(test)]
pub(crate) use analysis::passes;
pub use analysis::{Analysis, AnalysisInputs, TextAnalyzer};
pub use classification::Classification;
pub use classifier::{Classifier, ClassifierOptions};
pub use classify_reason::ClassifyReason;
pub use command_word::{begins_with_row_change, may_run_in_failed_transaction, names_database};
pub use effects::Effects;
pub use hint::Hint;
pub use lexical_settings::LexicalSettings;
pub use parameters::highest_parameter;
pub use reference_checker::ReferenceList;
pub use scan::{effects, find_setting_names};
pub use schema_info::SchemaInfo;
pub use schema_info_builder::{SchemaInfoBuilder, UnknownRow, schema_info_sql};
pub use session_statement::{SessionStatement, deallocated_names, session_statement};
pub use setting_resets::{SettingReset, SettingResets, find_setting_resets};
pub use stateful::{EPOCH_SQL, STATEFUL_SQL, find_stateful_names};
pub use stateful_names::StatefulNames;
pub use stateful_names_builder::StatefulNamesBuilder;
pub use statement_access::StatementAccess;
pub use transaction_commands::{TransactionCommands, transaction_commands};
pub use transaction_control::{TransactionControl, TransactionModes};
