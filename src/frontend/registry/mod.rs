//! Logged-in sessions as other parts of the program see them: to list, cancel and end sessions.

mod activity_times;
pub(crate) mod cancel;
pub(crate) mod console_session;
pub(crate) mod current_backend;
pub(crate) mod entry;
pub(crate) mod open_transactions;
pub(crate) mod predecessor;
pub(crate) mod retirement;
pub(crate) mod sessions;
