//! Source of the backends of a session, as the login found it.

use std::sync::Arc;

use super::initial_parameter_status::InitialParameterStatus;
use crate::{
    frontend::{acquire::PooledAcquirer, context::ListenerContext, relay::backend_side::SessionBackend},
    pool::Lease,
    route::RoutePolicy,
    session::{DatabaseState, RouteOptions, Session, SessionOptions},
    sql::StatefulNames,
    tls::Stream,
    wire::TransactionStatus,
};

/// Source of the backends of a session.
pub(crate) enum BackendSource {
    /// It has one of its own, for life.
    Own {
        stream: Stream,
        /// What the server said behind its first ReadyForQuery.
        unread: Vec<u8>,
        status: TransactionStatus,
    },
    /// It has leased one for life.
    Leased(Lease),
    /// It shares backends with others.
    Shared {
        acquirer: Box<PooledAcquirer>,
        database: Arc<DatabaseState>,
        /// What the client is told of its settings.
        initial_status: Arc<InitialParameterStatus>,
        route_options: RouteOptions,
    },
}

/// A new session with its parts.
pub(crate) struct SessionStart {
    pub(crate) backend: SessionBackend,
    /// `None` for a dedicated session.
    pub(crate) acquirer: Option<Box<PooledAcquirer>>,
    pub(crate) session: Session,
    /// Bytes of the server behind its first ReadyForQuery.
    pub(crate) unread: Vec<u8>,
}

// === impl BackendSource ===

impl BackendSource {
    /// Starts the session. `pid` is the process id of the client's cancel key.
    pub(crate) fn into_session(
        self,
        context: &ListenerContext,
        pid: i32,
        options: SessionOptions,
    ) -> SessionStart {
        match self {
            Self::Own { stream, unread, status } => SessionStart {
                backend: SessionBackend::Own(stream),
                acquirer: None,
                session: Session::new(status, options),
                unread,
            },
            Self::Leased(lease) => {
                let functions = &context.settings.pool.pin_on_functions;
                let spoiling = (!functions.is_empty()).then(|| {
                    let mut spoiling = StatefulNames::default();
                    functions.iter().for_each(|function| spoiling.insert(function));
                    Arc::new(spoiling)
                });
                let session = Session::returning(spoiling, options);
                let backend = SessionBackend::Leased(lease);
                SessionStart { backend, acquirer: None, session, unread: Vec::new() }
            }
            Self::Shared { acquirer, database, initial_status, route_options } => {
                let known = initial_status.known.clone();
                let mut session = Session::shared(database, known, initial_status.settings.clone(), options);
                session.told_pid(pid);
                if let RoutePolicy::Split(split) = &context.settings.route {
                    session.split(Arc::clone(split), route_options);
                }
                let backend = SessionBackend::None;
                SessionStart { backend, acquirer: Some(acquirer), session, unread: Vec::new() }
            }
        }
    }
}
