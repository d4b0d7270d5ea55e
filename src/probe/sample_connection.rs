//! A sampler's connection to the writer.

use std::time::Duration;

use super::{
    prober::{connect_request, send_terminate},
    sampler::SampleConnection,
};
use crate::{
    backend::{Backend, ConnectError, EndpointHandle, ProbeLogin, QueryError, Questions, query_state},
    topology::ProbeAnswer,
};

/// Connection to the writer, opened on demand.
pub(super) struct WriterConnection {
    pub(super) endpoint: EndpointHandle,
    pub(super) login: ProbeLogin,
    pub(super) kept: Option<Backend>,
}

/// Reason of a failed sample.
#[derive(Debug, thiserror::Error)]
pub(super) enum SampleError {
    /// Login failed.
    #[error("logging in")]
    Connect(#[source] ConnectError),
    /// The query failed.
    #[error("querying the WAL position")]
    Ask(#[source] QueryError),
    /// The time limit was exceeded.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

impl SampleConnection for WriterConnection {
    async fn open(&mut self) -> Result<(), SampleError> {
        if self.kept.is_none() {
            self.kept = Some(
                self.endpoint.connect(connect_request(&self.login)).await.map_err(SampleError::Connect)?,
            );
        }
        Ok(())
    }

    async fn ask(&mut self) -> Result<ProbeAnswer, SampleError> {
        let Some(kept) = &mut self.kept else { return Err(SampleError::Ask(QueryError::Nothing)) };
        query_state(&mut kept.stream, Questions::All).await.map_err(SampleError::Ask)
    }

    async fn close(&mut self) {
        if let Some(kept) = self.kept.take() {
            send_terminate(kept).await;
        }
    }
}
