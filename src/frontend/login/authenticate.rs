//! Has a client prove who it is, where that is ours to check.

use jiff::Timestamp;

use super::{
    backend_login::{Failed, Login},
    greet::Unwelcome,
    unauthenticated_client::Guest,
};
use crate::{
    frontend::Auth,
    handshake::{Challenge, ChallengeError},
    scram::{NONCE_OCTETS, Verifier},
    session::Refusal,
    telemetry::labels::AuthFailure,
};

mod password;

/// A client that may come in. AuthenticationOk was not said yet.
pub(crate) struct Proved {
    /// What is still to be said before AuthenticationOk.
    pub(crate) output: Vec<u8>,
}

/// Why it may not.
pub(crate) enum Unproved {
    /// The connection ended first.
    Unwelcome(Unwelcome),
    /// There was no server to judge it.
    Unjudged(Failed),
    /// The proof did not hold.
    Failed(AuthFailure, Refusal),
}

/// Runs the listener's method for the client of `login`. `first` is said along with the first request.
///
/// Cancel safety: dropped half-way, the dialog is broken; close the connection.
///
/// # Errors
/// [`Unproved`]
pub(crate) async fn authenticate(
    guest: &mut Guest,
    login: &Login<'_>,
    first: Vec<u8>,
) -> Result<Proved, Unproved> {
    let Login { context, world, user, .. } = login;
    let name = user.as_str();
    let listed = context.settings.guests.has_user(user);
    match (&context.settings.auth, &context.users) {
        (Auth::Scram { .. }, Some(users)) => {
            let users = users.load();
            let known = users.verifier(name).filter(|_| listed).cloned();
            let unknown = known.is_none();
            let stranger = || Verifier::mock(&world.mock_secret, name.as_bytes(), users.usual_iterations());
            let verifier = known.unwrap_or_else(stranger);
            let mut nonce = [0; NONCE_OCTETS];
            aws_lc_rs::rand::fill(&mut nonce).map_err(|_| {
                Unproved::Unwelcome(Unwelcome::Refused(Refusal::internal("no random numbers to be had")))
            })?;
            let end_point = guest.stream.server_end_point();
            scram(guest, Challenge::new(verifier, nonce, end_point), first).await.map_err(|failure| {
                match failure {
                    ScramFailure::Gone(error) => Unproved::Unwelcome(Unwelcome::Gone(error)),
                    ScramFailure::Challenge(error) => {
                        let label = match (unknown, &error) {
                            (true, _) => AuthFailure::UnknownUser,
                            (false, ChallengeError::Violation(_)) => AuthFailure::Protocol,
                            (false, ChallengeError::Scram(_)) => AuthFailure::WrongPassword,
                        };
                        let refusal = Refusal { sqlstate: error.sqlstate(), ..Refusal::authentication(name) };
                        Unproved::Failed(label, refusal)
                    }
                }
            })
        }
        // The configuration allows it only where that is safe, or where somebody insisted.
        (Auth::Trust, _) => Ok(Proved { output: first }),
        (Auth::Certificate { name: kind, map }, _) => {
            let failed = |refusal| Unproved::Failed(AuthFailure::Certificate, refusal);
            // It was verified in the handshake.
            let Some(certificate) = guest.stream.peer_certificate() else {
                return Err(failed(Refusal::certificate_required()));
            };
            let names = kind.of(certificate, Timestamp::now());
            if !(listed && names.iter().any(|held| map.permits(held, user))) {
                tracing::info!(
                    listener = %context.settings.name,
                    %user,
                    ?names,
                    "a client's certificate does not stand for the user that it asked for"
                );
                return Err(failed(Refusal::certificate(name)));
            }
            Ok(Proved { output: first })
        }
        (Auth::Password { remember }, _) => {
            // A login of its own inside: large, and over soon.
            Box::pin(password::password(guest, login, listed, *remember, first)).await
        }
        (Auth::Scram { .. }, None) | (Auth::Passthrough, _) => {
            Err(Unproved::Unwelcome(Unwelcome::Refused(Refusal::internal("this listener has nobody to ask"))))
        }
    }
}

enum ScramFailure {
    Gone(std::io::Error),
    Challenge(ChallengeError),
}

async fn scram(guest: &mut Guest, mut challenge: Challenge, first: Vec<u8>) -> Result<Proved, ScramFailure> {
    let mut output = first;
    output.extend(challenge.poll_output().unwrap_or_default());
    loop {
        guest.say(&output).await.map_err(ScramFailure::Gone)?;
        output = loop {
            let taken = challenge.on_octets(guest.unread()).map_err(ScramFailure::Challenge)?;
            guest.take(taken.octets);
            let said = challenge.poll_output();
            match (taken.outcome, said) {
                (Some(()), said) => return Ok(Proved { output: said.unwrap_or_default() }),
                (None, Some(said)) => break said,
                (None, None) => guest.read_more().await.map_err(ScramFailure::Gone)?,
            }
        };
    }
}
