//! Responses in transaction pooling equal those of a dedicated backend: conversations run directly and through both
//! pool modes, and again with neighbors that take the backend after every turn.

mod audited;
mod copying;
mod hidden_state;
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
mod values;
