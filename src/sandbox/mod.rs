//! A throwaway cluster shaped like AlloyDB, made of PostgreSQL servers on this machine, for the demo and the tests.
//!
//! Promises: everything it starts ends with its owner, also when that is killed; several run side by side; what a fault
//! does is done to real servers and real connections. Refuses to know: the rest of the program. It needs Linux and an
//! installed PostgreSQL, and keeps its files in memory.
//!
//! [`Single`] is one server.

mod account;
mod authority;
mod block;
mod error;
mod guard;
mod installation;
mod node;
mod options;
mod run;
mod single;
mod site;
mod template;
mod tokens;
mod users;

pub use authority::{Authority, Certificate};
pub use block::AddressBlock;
pub use error::SandboxError;
pub use installation::Installation;
pub use node::{Node, Stop};
pub use options::{SandboxOptions, ServerTls, TokenCheck};
pub use single::Single;
pub use tokens::Tokens;
pub use users::{ALICE, APP, APP_MD5, DATABASE, NativeUser, REPLICATOR, SERVICE_ACCOUNT, SUPERUSER};
