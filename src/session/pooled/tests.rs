//! Sessions for unit tests of the types that borrow components.

use super::*;
use crate::{session::tests::fresh_backend, sql::StatefulNames};

/// Session of a client without settings.
pub(super) fn session() -> Pooled {
    let database = Arc::new(DatabaseState::new(StatefulNames::default()));
    Pooled::new(
        database,
        ReportedParameters::new(Arc::default()),
        SettingValues::default(),
        SessionOptions::default(),
    )
}

/// Session that holds a new backend.
pub(super) fn session_with_backend() -> Pooled {
    let mut session = session();
    session.backend.on(BackendEvent::Needed).unwrap();
    session.attach(fresh_backend(), false);
    session
}

/// Session on a split route, without a backend.
pub(super) fn split_session() -> Pooled {
    let mut session = session();
    session.split(Arc::default(), RouteOptions::default());
    session
}
