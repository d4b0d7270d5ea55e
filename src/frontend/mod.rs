//! Client connections: listeners, greeting, authentication, and the relay that drives a session.
//!
//! Promises: a client is rejected with an error or served as by PostgreSQL; an idle client costs about its task and its
//! socket; a slow client delays no other. Refuses to know: the meaning of messages (`session`), and the choice of
//! endpoints (`route`).

mod accept;
mod acquire;
mod context;
mod login;
mod observe;
mod registry;
mod relay;
mod settings;
#[cfg(test)]
mod testing;
mod watchdog;

pub use accept::listener::{Listener, SocketFile};
pub use acquire::{
    catalog::read_schema_of_connection, outlier::OutlierDetector, shared_state::SharedStateRegistry,
};
pub use context::{ClientServices, Endpoints, ListenerContext, Observers, Routing};
pub(crate) use login::backend_login::classifier_options;
pub use login::{
    access_list::AccessList,
    console::{Console, ConsoleClient},
    identity_map::IdentityMap,
    users::{Users, UsersFile, UsersFileError},
};
pub use observe::client_log::ClientLog;
pub use registry::{
    cancel::cancel_for_successor,
    console_session::{ConsoleSessionEntry, ConsoleSessionGuard},
    current_backend::CurrentBackend,
    entry::{SessionCommand, SessionEntry, SessionWait},
    open_transactions::{OpenTransactions, TransactionAge, TransactionTimes},
    predecessor::{ForwardedCancel, MAX_FORWARDED_CANCELS, PredecessorSessions},
    retirement::{EndedUses, EndpointSessions},
    sessions::SessionRegistry,
};
#[cfg(test)]
pub use registry::{current_backend::OwnBackend, entry::Activity, sessions::Registered};
pub use settings::{Auth, BackendLossPolicy, Bind, ListenerLimits, ListenerSettings, SessionTimeouts};
pub use watchdog::Watchdog;
