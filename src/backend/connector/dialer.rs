//! The innermost service: dials, gets hold of a token, logs in.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::Service;

use super::Attempt;
use crate::{
    backend::{
        Backend, ConnectError, ConnectFailure, EndpointSettings,
        dial::{Connected, Whereto, dial},
        login::{Proof, log_in},
        phase::Stages,
        way::Way,
    },
    telemetry::labels::ConnectPhase,
    tls::ClientTls,
};

/// Dials and logs in.
#[derive(Clone)]
pub(in crate::backend) struct Dialer {
    settings: Arc<EndpointSettings>,
    tls: ClientTls,
    way: Arc<Way>,
}

// === impl Dialer ===

impl Dialer {
    pub(in crate::backend) const fn new(
        settings: Arc<EndpointSettings>,
        tls: ClientTls,
        way: Arc<Way>,
    ) -> Self {
        Self { settings, tls, way }
    }

    async fn open(self, attempt: Attempt) -> Result<Backend, ConnectFailure> {
        let Attempt { request, token, deadline, progress, .. } = attempt;
        let mut stages = Stages::start(&progress);
        self.way.permit(&request.user)?;
        let Connected { mut stream, verified, peer } =
            dial(&self.settings, &self.tls, Whereto::Endpoint, deadline, &mut stages).await?;
        let proof = match &*self.way {
            Way::Passthrough => Proof::Nothing,
            Way::Password(way) => Proof::Password(way),
            Way::Token(way) => {
                stages.enter(ConnectPhase::Token);
                way.proof(&request.user, token, verified.as_ref()).await?
            }
        };
        stages.enter(ConnectPhase::Login);
        let startup = self.way.startup(request.startup, &request.user);
        let (logged_in, unread) = log_in(&mut stream, &startup, &proof).await?;
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
