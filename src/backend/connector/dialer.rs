//! The innermost service: dials and logs in.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::Service;

use super::{Attempt, LoginCredential};
use crate::{
    backend::{
        Backend, ConnectError, ConnectFailure, EndpointSettings,
        dial::{Connected, Whereto, dial},
        login::{Proof, log_in},
        phase::Stages,
    },
    credentials::TokenLogin,
    telemetry::labels::ConnectPhase,
    tls::{ClientTls, VerifiedTls},
};

/// Dials and logs in.
#[derive(Clone)]
pub(in crate::backend) struct Dialer {
    settings: Arc<EndpointSettings>,
    tls: ClientTls,
}

// === impl Dialer ===

impl Dialer {
    pub(in crate::backend) const fn new(settings: Arc<EndpointSettings>, tls: ClientTls) -> Self {
        Self { settings, tls }
    }

    async fn open(self, attempt: Attempt) -> Result<Backend, ConnectFailure> {
        let Attempt { request, credential, deadline, progress, durations, .. } = attempt;
        let mut stages = Stages::start(&progress, durations);
        let Connected { mut stream, verified, peer } =
            dial(&self.settings, &self.tls, Whereto::Endpoint, deadline, &mut stages).await?;
        let proof = proof_for(&credential, verified.as_ref())?;
        stages.enter(ConnectPhase::Login);
        let (logged_in, unread) = log_in(&mut stream, &request.startup, &proof).await?;
        Ok(Backend { stream, logged_in, unread, peer, durations: stages.end(), presence: None })
    }
}

impl Service<Attempt> for Dialer {
    type Response = Backend;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Backend, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let endpoint = Arc::clone(&attempt.endpoint);
        let opening = self.clone().open(attempt);
        Box::pin(async move { opening.await.map_err(|failure| ConnectError::new(endpoint, failure)) })
    }
}

/// Converts a login credential into a proof that may be shown to the server, verified or not.
fn proof_for<'a>(
    credential: &'a LoginCredential,
    verified: Option<&VerifiedTls>,
) -> Result<Proof<'a>, ConnectFailure> {
    Ok(match credential {
        LoginCredential::Nothing => Proof::Nothing,
        LoginCredential::Password(login_method) => Proof::Password(login_method),
        LoginCredential::Token { token, insecure_without_verification } => Proof::Token(match verified {
            Some(evidence) => TokenLogin::new(token.clone(), evidence),
            None if *insecure_without_verification => TokenLogin::without_verification(token.clone()),
            None => return Err(ConnectFailure::Unverified),
        }),
    })
}
