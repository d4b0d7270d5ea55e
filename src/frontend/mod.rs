//! Client connections: listeners, greeting, authentication, and the relay that drives a session.
//!
//! Promises: a client is refused in words or served like by PostgreSQL; an idle client costs about its task and its
//! socket; a slow one slows nobody else. Refuses to know: what a message means (that is `session`), which endpoint serves
//! (that is `route`).

mod admission;
mod application_name;
mod asked;
mod assign;
mod authenticate;
mod briefing;
mod buffer;
mod cancel;
mod catalogue;
mod client;
mod commons;
mod conclude;
mod console;
mod context;
mod end;
mod greet;
mod guest;
mod guest_list;
mod identity_map;
mod inbound;
mod link;
mod listener;
mod lobby;
mod login;
mod outlet;
mod recorder;
mod relay;
mod serving;
mod session_entry;
mod sessions;
mod settings;
mod startup_options;
mod startup_values;
mod suspects;
mod tenancy;
mod traced;

mod users;
mod visitor;

pub use catalogue::{Unlisted, knowledge};
pub use commons::Commons;
pub use console::{Console, ConsoleClient};
pub use context::{Endpoints, ListenerContext, World};
pub use guest_list::GuestList;
pub use identity_map::{IdentityMap, IdentityMapError};
pub use listener::Listener;
pub(crate) use login::classifier_options;
pub use serving::{OwnBackend, Serving};
pub use session_entry::{Activity, Order, SessionEntry};
pub use sessions::{Registered, Sessions};
pub use settings::{Auth, Bind, ListenerLimits, ListenerSettings};
pub use suspects::Suspects;
pub use users::{Users, UsersFile, UsersFileError, UsersFileMistake};
pub use visitor::{Visit, Visitor};
