//! Server side: authenticates a client by SCRAM.

use super::{Taken, error::Violation, frame_within};
use crate::{
    scram::{AwaitClientFinal, AwaitClientFirst, NONCE_BYTES, ScramError, Verifier},
    wire::{Speaker, SqlState, authentication},
};

/// SCRAM authentication of a client.
///
/// Unknown users are challenged with [`Verifier::mock_for`]: the exchange looks, lasts and fails as with a wrong password.
/// The caller sends AuthenticationOk.
pub struct Challenge {
    phase: ChallengePhase,
    output: Vec<u8>,
}

enum ChallengePhase {
    First(AwaitClientFirst),
    Final(AwaitClientFinal),
    Over,
}

/// Reason of a failed authentication. The client learns only the SQLSTATE.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// The exchange failed.
    #[error(transparent)]
    Scram(ScramError),
    /// The client does not keep to the protocol.
    #[error(transparent)]
    Violation(Violation),
}

// === impl Challenge ===

impl Challenge {
    /// Offers the mechanisms. `end_point` is the hash of Gatekeeper's certificate for a client with TLS, and adds
    /// SCRAM-SHA-256-PLUS.
    #[must_use]
    pub fn new(verifier: Verifier, nonce: [u8; NONCE_BYTES], end_point: Option<Vec<u8>>) -> Self {
        let first = AwaitClientFirst::new(verifier, nonce, end_point);
        let mut output = Vec::new();
        authentication::write_sasl(&mut output, first.mechanisms().iter().map(|name| name.as_bytes()));
        Self { phase: ChallengePhase::First(first), output }
    }

    /// Processes read bytes; the outcome is the client's successful proof.
    ///
    /// # Errors
    /// [`ChallengeError`] if the proof fails or the message is malformed.
    pub fn on_bytes(&mut self, unread: &[u8]) -> Result<Taken<()>, ChallengeError> {
        let frame = frame_within(Speaker::StrangeClient, unread).map_err(ChallengeError::Violation)?;
        let Some(frame) = frame else { return Ok(Taken { bytes: 0, outcome: None }) };
        let mut outcome = None;
        self.phase = match std::mem::replace(&mut self.phase, ChallengePhase::Over) {
            ChallengePhase::First(first) => {
                let response = authentication::SaslInitialResponse::decode(frame.body())
                    .map_err(|error| ChallengeError::Violation(Violation::Body(error)))?;
                let (answer, last) = first
                    .on_client_first(response.mechanism, response.data.unwrap_or_default())
                    .map_err(ChallengeError::Scram)?;
                authentication::write_sasl_continue(&mut self.output, answer.as_bytes());
                ChallengePhase::Final(last)
            }
            ChallengePhase::Final(last) => {
                let answer = last.on_client_final(frame.body()).map_err(ChallengeError::Scram)?;
                authentication::write_sasl_final(&mut self.output, answer.as_bytes());
                outcome = Some(());
                ChallengePhase::Over
            }
            ChallengePhase::Over => {
                return Err(ChallengeError::Violation(Violation::OutOfTurn("nothing more")));
            }
        };
        Ok(Taken { bytes: frame.as_bytes().len(), outcome })
    }

    /// Output to send.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output))
    }
}

// === impl ChallengeError ===

impl ChallengeError {
    /// SQLSTATE for the client, as PostgreSQL sends.
    #[must_use]
    pub const fn sqlstate(&self) -> SqlState {
        match self {
            Self::Scram(ScramError::WrongProof) => SqlState::INVALID_PASSWORD,
            Self::Scram(ScramError::Downgrade | ScramError::Binding) => SqlState::INVALID_AUTHORIZATION,
            Self::Scram(ScramError::Unsupported(_)) => SqlState::FEATURE_NOT_SUPPORTED,
            Self::Scram(_) | Self::Violation(_) => SqlState::PROTOCOL_VIOLATION,
        }
    }
}
