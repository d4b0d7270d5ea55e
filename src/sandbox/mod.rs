//! A throwaway cluster shaped like AlloyDB, of local PostgreSQL servers, for the demo and the tests.
//!
//! Promises: everything ends with the owner, even after SIGKILL; several sandboxes run side by side; faults affect real
//! servers and real connections. Refuses to know: the rest of the program. Requires Linux and an installed PostgreSQL;
//! keeps the files in memory.
//!
//! [`Single`] is a single server. [`Sandbox`] is the whole: a primary, a read pool of two nodes behind an address, and
//! a secondary cluster with a separate CA that replicates from the primary. Every endpoint's address belongs to a
//! [`Middleman`].

mod account;
mod authority;
mod block;
mod cluster;
mod demo;
mod error;
mod front;
mod google;
mod guard;
mod installation;
mod middleman;
mod node;
mod options;
mod rebuild;
mod run;
#[expect(clippy::module_inception, reason = "the type has the folder's name, and its file has the type's")]
mod sandbox;
mod single;
mod site;
mod template;
mod tokens;
mod users;

pub use authority::{Authority, Certificate};
pub use block::AddressBlock;
pub use cluster::{SandboxCluster, SandboxEndpoint};
pub use demo::demo;
pub use error::SandboxError;
pub use front::{ALICE_AT_LISTENERS, FrontListener};
#[cfg(test)]
pub use google::FakeRequest;
pub use google::{FakeGoogle, GoogleFault};
pub use installation::Installation;
pub use middleman::{Middleman, Passage};
pub use node::{Node, Stop};
pub use options::{SandboxOptions, ServerTls, TokenCheck};
pub use sandbox::Sandbox;
pub use single::Single;
pub use tokens::Tokens;
pub use users::{ALICE, APP, APP_MD5, DATABASE, NativeUser, REPLICATOR, SERVICE_ACCOUNT, SUPERUSER};
