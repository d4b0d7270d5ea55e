//! Choice of a credential: by the settings, with a token if configured, and a fresh token if a cached token was
//! rejected.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::timeout;
use tower::{Service, ServiceExt};

use super::{Attempt, LoginCredential};
use crate::{
    backend::{
        ConnectError, ConnectFailure, Refused,
        accepted::AcceptedPasswords,
        login_method::{LoginMethod, TokenMethod},
    },
    credentials::{Token, TokenError},
    telemetry::labels::ConnectPhase,
};

/// Chooses the credential before dialing: a wait for a token holds no connection and no permit, and minting has a
/// separate time limit.
///
/// A cached token may be revoked, or the grants changed: a rejected login is repeated once with a fresh token.
/// `tower::retry` decides by the outcome only; here the token source decides, too, because the source knows if a better
/// token is available.
#[derive(Clone)]
pub(super) struct Prove<S> {
    inner: S,
    login_method: Arc<LoginMethod>,
}

// === impl Prove ===

impl<S> Prove<S> {
    pub(super) const fn new(inner: S, login_method: Arc<LoginMethod>) -> Self {
        Self { inner, login_method }
    }
}

impl<S> Prove<S>
where
    S: Service<Attempt, Error = ConnectError> + Clone,
{
    async fn connect(self, mut attempt: Attempt) -> Result<S::Response, ConnectError> {
        attempt.request.startup = self.login_method.startup(attempt.request.startup, &attempt.request.user);
        match &*self.login_method {
            LoginMethod::Passthrough(accepted) => connect_as_client(self.inner, accepted, attempt).await,
            LoginMethod::Password(login_method) => {
                attempt.credential = LoginCredential::Password(Arc::clone(login_method));
                self.inner.oneshot(attempt).await
            }
            LoginMethod::Token(login_method) => connect_with_token(self.inner, login_method, attempt).await,
        }
    }
}

/// Logs in with the password accepted by the server for the user; a rejection removes the password.
async fn connect_as_client<S>(
    inner: S,
    accepted: &AcceptedPasswords,
    mut attempt: Attempt,
) -> Result<S::Response, ConnectError>
where
    S: Service<Attempt, Error = ConnectError>,
{
    let user = attempt.request.user.clone();
    let known = accepted.get(&user);
    if let Some(login_method) = known.as_ref().and_then(|known| known.login_method()) {
        attempt.credential = LoginCredential::Password(Arc::clone(login_method));
    }
    let result = inner.oneshot(attempt).await;
    if let (Err(error), Some(known)) = (&result, &known)
        && error.refused().is_some_and(Refused::is_authorization)
    {
        accepted.forget(&user, known);
    }
    result
}

async fn connect_with_token<S>(
    inner: S,
    login_method: &TokenMethod,
    mut attempt: Attempt,
) -> Result<S::Response, ConnectError>
where
    S: Service<Attempt, Error = ConnectError> + Clone,
{
    let endpoint = Arc::clone(&attempt.endpoint);
    let fail = |failure| ConnectError::new(Arc::clone(&endpoint), failure);
    let user = attempt.request.user.clone();
    login_method.check_permitted(&user).map_err(fail)?;
    let began = Instant::now();
    let limit = attempt.request.token_wait.unwrap_or(Duration::MAX);
    let token =
        timeout(limit, login_method.source.token(&user)).await.unwrap_or(Err(TokenError::NotYet { limit }));
    let token = token.map_err(|error| fail(ConnectFailure::Token(error)))?;
    attempt.durations.add(ConnectPhase::Token, began.elapsed());
    attempt.credential = login_method.credential(token);
    let refusal = match inner.clone().oneshot(attempt.clone()).await {
        Ok(backend) => return Ok(backend),
        Err(refusal) => refusal,
    };
    let Some(refused) = refusal.refused_token().filter(|token| token.is_kept()) else { return Err(refusal) };
    let left = limit.saturating_sub(began.elapsed());
    let fresh = timeout(left, login_method.source.fresh(&user, refused)).await;
    match fresh.unwrap_or(Err(TokenError::NotYet { limit })) {
        Ok(Some(fresh)) => {
            attempt.credential = login_method.credential(fresh);
            inner.oneshot(attempt).await
        }
        Ok(None) => Err(refusal),
        Err(error) => Err(fail(ConnectFailure::Token(error))),
    }
}

impl TokenMethod {
    fn credential(&self, token: Token) -> LoginCredential {
        LoginCredential::Token { token, insecure_without_verification: self.insecure_without_verification }
    }
}

impl<S> Service<Attempt> for Prove<S>
where
    S: Service<Attempt, Error = ConnectError> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        Box::pin(self.clone().connect(attempt))
    }
}
