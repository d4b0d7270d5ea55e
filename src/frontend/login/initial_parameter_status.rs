//! Initial ParameterStatus messages of pooled sessions, built once for all clients with equal messages.

use std::sync::Arc;

use super::startup_values::StartupValues;
use crate::{
    handshake::Parameters,
    pool::StartupResponse,
    session::{ReportedParameters, SettingValues},
};

/// Initial ParameterStatus of clients with equal `application_name` and startup settings, after a login with
/// `startup_response`.
pub(crate) struct InitialParameterStatus {
    startup_response: Arc<StartupResponse>,
    /// `application_name` of the client, if sent.
    application: Option<Box<[u8]>>,
    /// Remaining startup settings of the client.
    startup: Option<Arc<StartupValues>>,
    /// `application_name` and `startup` as settings of the session.
    pub(crate) settings: SettingValues,
    /// Parameters as reported to the client.
    pub(crate) known: ReportedParameters,
    /// The concatenated ParameterStatus messages.
    pub(crate) bytes: Vec<u8>,
}

/// Cache of the last used initial ParameterStatus messages, the latest first.
#[derive(Default)]
pub(crate) struct InitialParameterStatusCache {
    latest: Vec<Arc<InitialParameterStatus>>,
}

/// Maximum number of entries: usually one login with one or two names, but names are arbitrary.
const MAX_ENTRIES: usize = 8;

// === impl InitialParameterStatus ===

impl InitialParameterStatus {
    /// The messages for a client with the name `application` and the startup settings `startup`.
    pub(super) fn new(
        startup_response: &Arc<StartupResponse>,
        application: Option<&[u8]>,
        startup: Option<&Arc<StartupValues>>,
    ) -> Self {
        let mut parameters = Parameters::clone(&startup_response.parameters);
        let mut settings = SettingValues::default();
        if let Some(startup) = startup {
            settings = startup.settings.clone();
            for (name, value) in &startup.reported {
                let reported =
                    startup_response.parameters.iter().find(|it| it.name.eq_ignore_ascii_case(name));
                if let Some(status) = reported {
                    parameters.report(status.name, value);
                }
            }
        }
        if let Some(application) = application {
            parameters.report(b"application_name", application);
            settings = settings.with(b"application_name", Some(application));
        }
        let bytes = parameters.as_bytes().to_vec();
        Self {
            startup_response: Arc::clone(startup_response),
            application: application.map(Box::from),
            startup: startup.cloned(),
            settings,
            known: ReportedParameters::new(Arc::new(parameters)),
            bytes,
        }
    }

    fn is_for(
        &self,
        startup_response: &Arc<StartupResponse>,
        application: Option<&[u8]>,
        startup: Option<&Arc<StartupValues>>,
    ) -> bool {
        Arc::ptr_eq(&self.startup_response, startup_response)
            && self.application.as_deref() == application
            && self.startup.as_ref().map(Arc::as_ptr) == startup.map(Arc::as_ptr)
    }
}

// === impl InitialParameterStatusCache ===

impl InitialParameterStatusCache {
    /// Returns the initial ParameterStatus for `application` and `startup`, based on the parameters of the login
    /// `startup_response`.
    pub(crate) fn of(
        &mut self,
        startup_response: &Arc<StartupResponse>,
        application: Option<&[u8]>,
        startup: Option<&Arc<StartupValues>>,
    ) -> Arc<InitialParameterStatus> {
        match self.latest.iter().position(|known| known.is_for(startup_response, application, startup)) {
            Some(at) => self.latest[..=at].rotate_right(1),
            None => {
                self.latest.truncate(MAX_ENTRIES - 1);
                self.latest
                    .insert(0, Arc::new(InitialParameterStatus::new(startup_response, application, startup)));
            }
        }
        Arc::clone(&self.latest[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ProtocolVersion;

    fn startup_response() -> Arc<StartupResponse> {
        Arc::new(StartupResponse {
            version: ProtocolVersion::V3_0,
            parameters: Arc::default(),
            notices: Vec::new(),
        })
    }

    #[test]
    fn clients_that_are_told_the_same_share_one_status() {
        let (one, two) = (startup_response(), startup_response());
        let mut initial_statuses = InitialParameterStatusCache::default();
        let psql = initial_statuses.of(&one, Some(b"psql"), None);
        assert_eq!(psql.bytes, b"S\0\0\0\x1aapplication_name\0psql\0");
        assert_eq!(psql.known.get(b"application_name"), Some(&b"psql"[..]));
        let nobody = initial_statuses.of(&one, None, None);
        assert!(nobody.bytes.is_empty());
        assert!(Arc::ptr_eq(&psql, &initial_statuses.of(&one, Some(b"psql"), None)));
        assert!(Arc::ptr_eq(&nobody, &initial_statuses.of(&one, None, None)));
        assert!(
            !Arc::ptr_eq(&nobody, &initial_statuses.of(&two, None, None)),
            "another login may say something else"
        );
    }

    #[test]
    fn those_that_nobody_needs_are_forgotten() {
        let startup_response = startup_response();
        let mut initial_statuses = InitialParameterStatusCache::default();
        let first = initial_statuses.of(&startup_response, Some(b"first"), None);
        for number in 0..20 {
            initial_statuses.of(&startup_response, Some(format!("{number}").as_bytes()), None);
            initial_statuses.of(&startup_response, Some(b"often"), None);
        }
        assert_eq!(initial_statuses.latest.len(), MAX_ENTRIES);
        assert!(!Arc::ptr_eq(&first, &initial_statuses.of(&startup_response, Some(b"first"), None)));
    }
}
