//! One more try with a fresh token, when the server refused one that was kept.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::{Service, ServiceExt};

use super::Attempt;
use crate::{
    backend::{ConnectError, ConnectFailure},
    credentials::TokenSource,
};

/// A token may have been revoked, or its grants changed, while it was kept: a login refused with one is tried once more.
/// One that was just minted is not any better the second time.
///
/// `tower::retry` decides by the outcome alone; here the source of the tokens has a say as well, since it knows whether
/// there is any token that would be better.
#[derive(Clone)]
pub(super) struct FreshToken<S> {
    inner: S,
    tokens: Option<TokenSource>,
}

// === impl FreshToken ===

impl<S> FreshToken<S> {
    pub(super) const fn new(inner: S, tokens: Option<TokenSource>) -> Self {
        Self { inner, tokens }
    }
}

impl<S> Service<Attempt> for FreshToken<S>
where
    S: Service<Attempt, Error = ConnectError> + Clone + Send + 'static,
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
        let Self { inner, tokens } = self.clone();
        Box::pin(async move {
            let first = inner.clone().oneshot(attempt.clone()).await;
            let Some(tokens) = tokens else { return first };
            let refusal = match first {
                Ok(backend) => return Ok(backend),
                Err(refusal) => refusal,
            };
            let Some(refused) = refusal.refused_token().filter(|token| token.is_kept()) else {
                return Err(refusal);
            };
            match tokens.fresh(&attempt.request.user, refused).await {
                Ok(Some(fresh)) => inner.oneshot(Attempt { token: Some(fresh), ..attempt }).await,
                Ok(None) => Err(refusal),
                Err(error) => {
                    let endpoint = Arc::clone(&attempt.endpoint);
                    Err(ConnectError::new(endpoint, ConnectFailure::Token(error)))
                }
            }
        })
    }
}
