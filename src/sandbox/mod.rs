//! A throwaway cluster shaped like AlloyDB, made of PostgreSQL servers on this machine, for the demo and the tests.
//!
//! Promises: everything it starts ends with its owner, also when that is killed; several run side by side; what a fault
//! does is done to real servers and real connections. Refuses to know: the rest of the program. It needs Linux and an
//! installed PostgreSQL, and keeps its files in memory.
//!
//! [`Single`] is one server. [`Sandbox`] is the whole: a primary and a read pool of two nodes behind one address; a
//! secondary cluster, with its own CA, that replicates from the primary. Every endpoint's address is a [`Middleman`]'s.

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
