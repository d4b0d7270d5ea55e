//! Sessions that share backends are answered as if each had its own: conversations held directly and through both pool
//! modes, and once more with others taking the backend after every turn.

mod audited;
mod copying;
mod messages;
mod names;
mod notifications;
mod pipelines;
mod prepared;
mod resets;
mod settings;
mod sql_prepared;
mod startup;
mod state;
mod transactions;
mod unseen;
mod values;
