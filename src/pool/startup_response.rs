//! Reports of a server at the login of a backend.

use std::sync::Arc;

use crate::{
    handshake::{LoggedIn, Parameters},
    wire::ProtocolVersion,
};

/// Reports of a server at the login of a backend: enough to greet a client as the server would, without a backend.
#[derive(Clone)]
pub struct StartupResponse {
    /// Protocol version of the server's connection.
    pub version: ProtocolVersion,
    /// Settings reported by the server.
    pub parameters: Arc<Parameters>,
    /// NoticeResponses, unchanged and concatenated.
    pub notices: Vec<u8>,
}

impl StartupResponse {
    pub(super) fn new(logged_in: &LoggedIn) -> Self {
        Self {
            version: logged_in.version,
            parameters: Arc::new(logged_in.parameters.clone()),
            notices: logged_in.notices.clone(),
        }
    }

    /// True if another login had equal reports.
    pub(super) fn has_same_reports(&self, logged_in: &LoggedIn) -> bool {
        self.version == logged_in.version
            && *self.parameters == logged_in.parameters
            && self.notices == logged_in.notices
    }
}
