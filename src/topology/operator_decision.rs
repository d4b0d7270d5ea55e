//! Decisions of an operator about the writer.

use super::{EndpointStatus, TopologySnapshot, WriterControl, writer_control::FenceCause};
use crate::names::EndpointName;

/// Decision of an operator about the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorDecision {
    /// No endpoint is the writer until the hold ends: new transactions wait.
    Hold,
    /// Ends the hold: the election decides as before.
    Release,
    /// Makes the endpoint the writer, fences the previous writer, and ends the hold.
    Move(EndpointName),
    /// Ends the fence of the endpoint.
    EndFence(EndpointName),
    /// Decisions of the process that this one replaces.
    Restore(WriterControl),
}

/// Reason for a decision without effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// The endpoint is not in the configuration.
    #[error("the endpoint is not in the configuration")]
    UnknownEndpoint,
    /// The server did not report that it accepts writes.
    #[error("the server does not report that it accepts writes")]
    NotWritable,
    /// The writer is being moved.
    #[error("the writer is being moved")]
    Held,
    /// The server of a fenced endpoint accepts writes beside the writer.
    #[error("the server accepts writes beside the writer")]
    StillWritable,
    /// The endpoint is not fenced.
    #[error("the endpoint is not fenced")]
    NotFenced,
    /// The probe has ended, because the program is shutting down.
    #[error("the program is shutting down")]
    Ended,
}

impl OperatorDecision {
    /// Changes the control of `snapshot` accordingly.
    pub(super) fn decide_control(&self, snapshot: &TopologySnapshot) -> Result<WriterControl, DecisionError> {
        let mut control = snapshot.control.clone();
        match self {
            Self::Hold if control.is_held => return Err(DecisionError::Held),
            Self::Hold => control.is_held = true,
            Self::Release => control.is_held = false,
            Self::Move(name) => {
                let status = snapshot.get(name).ok_or(DecisionError::UnknownEndpoint)?;
                if !status.says_writable() {
                    return Err(DecisionError::NotWritable);
                }
                appoint(&mut control, &snapshot.endpoints, status);
            }
            Self::Restore(before) => control = before.clone(),
            Self::EndFence(name) => {
                if !control.end_fence(name) {
                    return Err(DecisionError::NotFenced);
                }
                if has_writable_rival(snapshot, name) {
                    return Err(DecisionError::StillWritable);
                }
            }
        }
        Ok(control)
    }
}

/// True if the server of the endpoint accepts writes, and another server is the writer: without the fence, the loss of
/// the writer would make a server the writer whose data differ.
fn has_writable_rival(snapshot: &TopologySnapshot, endpoint: &EndpointName) -> bool {
    let incumbent = snapshot.control.incumbent.as_ref().and_then(|name| snapshot.get(name));
    match (snapshot.get(endpoint), incumbent) {
        (Some(status), Some(incumbent)) => status.says_writable() && !status.is_same_server(incumbent),
        _ => false,
    }
}

/// Makes `appointed` the writer. Fences the incumbent, and every other server that may be elected and accepts writes.
fn appoint(control: &mut WriterControl, endpoints: &[EndpointStatus], appointed: &EndpointStatus) {
    let name = &appointed.endpoint.name;
    control.end_fence(name);
    for other in endpoints.iter().filter(|other| !other.is_same_server(appointed)) {
        let is_incumbent = control.incumbent.as_ref() == Some(&other.endpoint.name);
        if is_incumbent || (control.may_elect(other) && other.says_writable()) {
            control.fence(&other.endpoint.name, FenceCause::Moved);
        }
    }
    control.appointed = Some(name.clone());
    control.incumbent = Some(name.clone());
    control.is_held = false;
}
