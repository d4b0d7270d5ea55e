//! The admin API.

mod server;
mod settings;

pub use server::{AdminError, Api, Server};
pub use settings::AdminSettings;
