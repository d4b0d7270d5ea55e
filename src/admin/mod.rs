//! The admin API.

mod control;
mod server;
mod settings;

pub use control::{Command, Control, ReloadFailure, ReloadReport, control};
pub use server::{AdminError, Api, Server};
pub use settings::AdminSettings;
