//! What a server said when it let a backend in.

use std::sync::Arc;

use crate::{
    handshake::{LoggedIn, Parameters},
    wire::ProtocolVersion,
};

/// What a server said when it let a backend in: enough to greet a client as the server would, without a backend.
#[derive(Clone)]
pub struct Welcome {
    /// The version spoken with the server.
    pub version: ProtocolVersion,
    /// What it reported of its settings.
    pub parameters: Arc<Parameters>,
    /// NoticeResponses, as they came, one behind the other.
    pub notices: Vec<u8>,
}

impl Welcome {
    pub(super) fn new(logged_in: &LoggedIn) -> Self {
        Self {
            version: logged_in.version,
            parameters: Arc::new(logged_in.parameters.clone()),
            notices: logged_in.notices.clone(),
        }
    }

    /// Whether another login was answered in the very same words.
    pub(super) fn says(&self, logged_in: &LoggedIn) -> bool {
        self.version == logged_in.version
            && *self.parameters == logged_in.parameters
            && self.notices == logged_in.notices
    }
}
