//! Decisions of an operator about the writer, passed to the publisher.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    prober::{connect_request, send_terminate},
    publisher::ProbeMessage,
};
use crate::{
    backend::{EndpointHandle, Questions, query_state},
    blame::Chain,
    topology::{DecisionError, Observation, OperatorDecision, ProbeAnswer, ProbeOutcome},
};

/// Passes decisions to the publisher. Cheap to clone.
#[derive(Clone)]
pub struct WriterDecisions {
    pub(super) inbox: mpsc::Sender<ProbeMessage>,
}

/// Answer of a server to a new login.
#[derive(Debug, Clone, Copy)]
pub struct FreshAnswer {
    /// Local clock before the query.
    pub asked_at: Instant,
    /// State of the server.
    pub answer: ProbeAnswer,
}

/// Reason for the lack of an answer. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// The endpoint has no login for the probe.
    NoLogin,
    /// The login or the query failed.
    Failed(Arc<str>),
}

// === impl WriterDecisions ===

impl WriterDecisions {
    /// Applies `decision`; returns after the publication of the snapshot. The answer `seen` counts like a probe of the
    /// endpoint of the decision.
    ///
    /// Cancel safety: a dropped call may or may not take effect.
    ///
    /// # Errors
    /// [`DecisionError`]: nothing has changed.
    pub async fn decide(
        &self,
        decision: OperatorDecision,
        seen: Option<FreshAnswer>,
    ) -> Result<(), DecisionError> {
        let seen = seen.and_then(|seen| seen.observation(&decision));
        let (answer, answered) = oneshot::channel();
        let message = ProbeMessage::Decided { decision, seen, answer: Some(answer) };
        self.inbox.send(message).await.map_err(|_| DecisionError::Ended)?;
        answered.await.unwrap_or(Err(DecisionError::Ended))
    }

    /// Ends a hold without waiting; false if the publisher's queue is full or the publisher has ended.
    pub fn end_hold(&self) -> bool {
        let message = ProbeMessage::Decided { decision: OperatorDecision::Release, seen: None, answer: None };
        self.inbox.try_send(message).is_ok()
    }

    /// Logs in to `endpoint` anew, and asks for role and read-only state, within `limit`.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`NoAnswer`]
    pub async fn ask_server(
        &self,
        endpoint: &EndpointHandle,
        limit: Duration,
    ) -> Result<FreshAnswer, NoAnswer> {
        let Some(login) = &endpoint.settings().probe_login else { return Err(NoAnswer::NoLogin) };
        let ask = async {
            let connected = endpoint.connect_for_probe(connect_request(login)).await;
            let mut backend =
                connected.map_err(|error| NoAnswer::Failed(Chain(&error).to_string().into()))?;
            let asked_at = Instant::now();
            let mut answer = query_state(&mut backend.stream, Questions::All).await;
            if answer.as_ref().is_err_and(|error| error.is_about_the_question()) {
                answer = query_state(&mut backend.stream, Questions::Role).await;
            }
            send_terminate(backend).await;
            let answer = answer.map_err(|error| NoAnswer::Failed(Chain(&error).to_string().into()))?;
            Ok(FreshAnswer { asked_at, answer })
        };
        let late = |_| Err(NoAnswer::Failed(format!("no answer within {} s", limit.as_secs()).into()));
        timeout(limit, ask).await.unwrap_or_else(late)
    }
}

// === impl FreshAnswer ===

impl FreshAnswer {
    fn observation(self, decision: &OperatorDecision) -> Option<Observation> {
        let OperatorDecision::Move(endpoint) = decision else { return None };
        Some(Observation {
            endpoint: endpoint.clone(),
            asked_at: self.asked_at,
            ended_at: Instant::now(),
            outcome: ProbeOutcome::Answered(self.answer),
        })
    }
}
