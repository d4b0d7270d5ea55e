//! A sampler's connection to the writer.

use std::time::Duration;

use super::{
    prober::{farewell, request},
    sampler::Line,
};
use crate::{
    backend::{Backend, ConnectError, EndpointHandle, ProbeLogin, QueryError, Questions, ask},
    topology::ProbeAnswer,
};

/// Connection to the writer, opened on demand.
pub(super) struct WriterLine {
    pub(super) endpoint: EndpointHandle,
    pub(super) login: ProbeLogin,
    pub(super) kept: Option<Backend>,
}

/// Reason of a failed sample.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// Login failed.
    #[error("logging in")]
    Connect(#[source] ConnectError),
    /// The query failed.
    #[error("asking")]
    Ask(#[source] QueryError),
    /// The time limit was exceeded.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

impl Line for WriterLine {
    async fn open(&mut self) -> Result<(), LineError> {
        if self.kept.is_none() {
            self.kept = Some(self.endpoint.connect(request(&self.login)).await.map_err(LineError::Connect)?);
        }
        Ok(())
    }

    async fn ask(&mut self) -> Result<ProbeAnswer, LineError> {
        let Some(kept) = &mut self.kept else { return Err(LineError::Ask(QueryError::Nothing)) };
        ask(&mut kept.stream, Questions::All).await.map_err(LineError::Ask)
    }

    async fn close(&mut self) {
        if let Some(kept) = self.kept.take() {
            farewell(kept).await;
        }
    }
}
