//! Counts logins and measures the phases.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::Service;

use crate::{
    backend::{Backend, ConnectError},
    telemetry::EndpointMetrics,
};

#[derive(Clone)]
pub(super) struct Observe<S> {
    inner: S,
    metrics: Arc<EndpointMetrics>,
}

// === impl Observe ===

impl<S> Observe<S> {
    pub(super) const fn new(inner: S, metrics: Arc<EndpointMetrics>) -> Self {
        Self { inner, metrics }
    }
}

impl<S, R> Service<R> for Observe<S>
where
    S: Service<R, Response = Backend, Error = ConnectError>,
    S::Future: Send + 'static,
{
    type Response = Backend;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Backend, ConnectError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let connecting = self.inner.call(request);
        let metrics = Arc::clone(&self.metrics);
        Box::pin(async move {
            match connecting.await {
                Ok(mut backend) => {
                    for (phase, took) in backend.durations.iter() {
                        metrics.record_phase(phase, took);
                    }
                    backend.presence = Some(metrics.connected());
                    Ok(backend)
                }
                Err(error) => {
                    metrics.connect_failed(error.phase());
                    Err(error)
                }
            }
        })
    }
}
