//! From what came of a stage to what is thought of it: no socket, no clock.

use std::net::SocketAddr;

use super::{
    finding::Opinion,
    questions::{Grants, Replay},
};
use crate::{
    app::principal::{self, PrincipalMistake},
    backend::{ConnectError, CredentialKind, ProbeLogin, QueryError},
    blame::Chain,
    credentials::{Login, TokenError, TokenLoginSettings, TokenOrigin, TokenPrincipal, TokenUsers},
    handshake::Method,
    names::UserName,
    tls::{TlsFacts, TlsMode},
    topology::{DeclaredRole, ObservedRole, ProbeAnswer},
};

/// A connect that failed, with the words and the remedy that the log has too.
pub(super) fn failed(error: &ConnectError) -> Opinion {
    let remedy = error.remedy().unwrap_or_else(|| "look into the server's own log".into());
    Opinion::failed(Chain(error).to_string(), remedy)
}

/// The way to each address.
pub(super) fn route(tried: &[(SocketAddr, Result<SocketAddr, ConnectError>)]) -> Opinion {
    let mut opinion = Opinion::ok(format!(
        "{} of {} addresses take connections",
        tried.iter().filter(|(_, reached)| reached.is_ok()).count(),
        tried.len()
    ));
    let all_lost = tried.iter().all(|(_, reached)| reached.is_err());
    for (address, reached) in tried {
        match reached {
            Ok(from) => opinion.note(format!("{address}: connected from {}", from.ip())),
            Err(error) => {
                let remedy = error.remedy().unwrap_or_default();
                opinion.warn(format!("{address}: {}", Chain(error)), format!("{address}: {remedy}"));
            }
        }
    }
    match tried {
        [(_, Err(error))] => failed(error),
        [(address, Ok(from))] => Opinion::ok(format!("{address}, connected from {}", from.ip())),
        _ if all_lost => {
            opinion.fail("sessions find no address that takes them");
            opinion
        }
        _ => opinion,
    }
}

/// What TLS came to; `None` is plaintext. `name` is the one that was sent or checked.
pub(super) fn tls(mode: TlsMode, facts: Option<&TlsFacts>, name: &str, stays_here: bool) -> Opinion {
    let Some(TlsFacts { version, cipher, .. }) = facts else {
        let said = format!("{}: plaintext", mode.as_str());
        return match (stays_here, mode) {
            (true, _) => Opinion::ok(format!("{said}, which does not leave this machine")),
            (false, TlsMode::Disable) => Opinion::warning(
                said,
                "set the endpoint's `tls.mode` to `verify-full`, or `verify-ca`, and its `ca_file`",
            ),
            (false, _) => Opinion::warning(
                format!("{said}, since the server does not offer TLS"),
                "turn TLS on at the server and set the endpoint's `tls.mode` to `verify-full`",
            ),
        };
    };
    let said = format!("{}, {version}, {cipher}", mode.as_str());
    match mode {
        TlsMode::VerifyFull => Opinion::ok(format!("{said}; chain trusted, the certificate is for {name}")),
        TlsMode::VerifyCa => Opinion::ok(format!("{said}; chain trusted, the name was not checked")),
        _ if stays_here => Opinion::ok(format!("{said}; nobody verified the server")),
        _ => Opinion::warning(
            format!("{said}; nobody verified the server"),
            "set the endpoint's `tls.mode` to `verify-full`, or `verify-ca`, and its `ca_file`",
        ),
    }
}

/// A token was minted for `user`.
pub(super) fn token(login: &Login, user: &UserName, bytes: usize) -> Opinion {
    let who = match login {
        Login::Token(TokenLoginSettings { origin: TokenOrigin::Google(_), .. }) => "Google issued",
        _ => "the command printed",
    };
    let said = format!("{who} a token for {user}, {bytes} characters long");
    match user.as_str().strip_suffix(GOOGLE_SERVICE_ACCOUNT) {
        Some(short) => Opinion::warning(
            format!("{said}; no database user of a service account has a name like that"),
            format!("write the user as `{short}`: AlloyDB leaves out `{GOOGLE_SERVICE_ACCOUNT}`"),
        ),
        None => Opinion::ok(said),
    }
}

/// Compares the principal of the tokens with the listed users.
pub(super) fn principal(
    opinion: &mut Opinion,
    found: &Result<TokenPrincipal, TokenError>,
    users: &TokenUsers,
) {
    if let Some(PrincipalMistake { what, remedy }) = principal::compare(found, users) {
        opinion.warn(what, remedy);
    } else if let Some(said) = found.as_ref().ok().and_then(principal::describe) {
        opinion.note(said);
    }
}

/// How the e-mail address of a service account ends; its database user does without.
const GOOGLE_SERVICE_ACCOUNT: &str = ".gserviceaccount.com";

/// A login that was refused. `others` is what the server asks of other listed users.
pub(super) fn login_failed(error: &ConnectError, others: &[(UserName, Method)]) -> Opinion {
    let mut opinion = failed(error);
    if is_asked_for_a_stored_password(error) {
        tell_the_flag_from_the_user(&mut opinion, others);
    }
    opinion
}

/// A server that has a stored password for somebody who shows a token: tokens are off for the whole instance, or this
/// user alone is no IAM user. What it asks of `others` tells.
fn tell_the_flag_from_the_user(opinion: &mut Opinion, others: &[(UserName, Method)]) {
    match others.iter().find(|(_, method)| *method == Method::CleartextPassword) {
        Some((other, _)) => {
            opinion.note(format!("of {other} it takes a token: the instance flag is on"));
            opinion.fail(
                "this user is no IAM user: make it one (`gcloud alloydb users create … --type=IAM_BASED`)",
            );
        }
        None if others.is_empty() => {}
        None => {
            opinion.note("it takes a token of none of the other listed users");
            opinion.fail("most likely `alloydb.iam_authentication` is off on this instance: set it to `on`");
        }
    }
}

/// Whether a token was shown to a server that has a password stored for the user.
pub(super) fn is_asked_for_a_stored_password(error: &ConnectError) -> bool {
    error.refused().is_some_and(|refused| {
        refused.shown == CredentialKind::Token
            && matches!(
                refused.said.method(),
                Some(Method::ScramSha256 | Method::ScramSha256Plus | Method::Md5Password)
            )
    })
}

/// What came of a startup without any proof of ours, where there is no user to log in as.
pub(super) fn knocked(login: &Login, asked: Result<Method, &ConnectError>) -> Opinion {
    let said = match asked {
        Ok(method) => format!("it asks for {method}"),
        // Nobody has to have made the user that was asked with.
        Err(error) => match error.refused().filter(|refused| refused.is_authorization()) {
            Some(refused) => format!("it says: {refused}"),
            None => return failed(error),
        },
    };
    match login {
        Login::Passthrough => Opinion::skipped(format!(
            "logins are the clients' own (passthrough): none can be tried. The server speaks PostgreSQL; {said}"
        )),
        Login::Password(_) | Login::Token(_) => Opinion::warning(
            format!("no user is known to log in as. The server speaks PostgreSQL; {said}"),
            "name one in the endpoint's `probe.user`",
        ),
    }
}

/// A server that is logged in to and does not answer.
pub(super) fn unanswered(error: &QueryError) -> Opinion {
    Opinion::failed(
        Chain(error).to_string(),
        "look at the server's own log: a user that may connect may ask these questions",
    )
}

/// What the server says it is.
pub(super) fn role(declared: DeclaredRole, answer: &ProbeAnswer) -> Opinion {
    let observed = answer.role.as_str();
    let read_only = if answer.read_only { "read-only" } else { "takes writes" };
    let mut opinion = Opinion::ok(format!("declared {declared}, says it is a {observed}; {read_only}"));
    if let Some(node) = answer.node {
        opinion.note(format!("node {node}"));
    }
    match (declared.expected_role(), answer.role) {
        (ObservedRole::Primary, ObservedRole::Standby) => opinion.fail(
            "correct the endpoint's `address`, or declare its `role` as `read-pool` or `secondary`; after a switchover \
             the writer is elsewhere, and this is as it should be until it is switched back",
        ),
        (ObservedRole::Standby, ObservedRole::Primary) => opinion.fail(
            "correct the endpoint's `address`, or declare its `role` as `primary`; if it was promoted, make sure that \
             the old primary does not write any more",
        ),
        (ObservedRole::Primary, ObservedRole::Primary) if answer.read_only => opinion.warn(
            "it is a primary whose transactions are read-only by default",
            "look for `default_transaction_read_only` among the settings of the server, the database and the user",
        ),
        _ => {}
    }
    opinion
}

/// How far it is behind; a primary is not.
pub(super) fn lag(answer: &ProbeAnswer, replay: Option<&Result<Replay, QueryError>>) -> Opinion {
    match replay {
        None => Opinion::ok(match answer.lsn {
            Some(lsn) => format!("none: a primary, its WAL is at {:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF),
            None => "none: a primary".to_owned(),
        }),
        Some(Err(error)) => Opinion::warning(
            Chain(error).to_string(),
            "without positions, reads that must see a write go to the primary: let the user ask for them",
        ),
        Some(Ok(Replay { replayed: None, .. })) => Opinion::warning(
            "the server does not say how far it has replayed",
            "without positions, reads that must see a write go to the primary",
        ),
        Some(Ok(Replay { replayed: Some(at), behind, last_transaction, paused })) => {
            let mut opinion = Opinion::ok(format!("replayed up to {at}"));
            if let Some(bytes) = behind {
                opinion.note(format!("{bytes} bytes received and not yet replayed"));
            }
            if let Some(seconds) = last_transaction {
                opinion.note(format!(
                    "the last transaction replayed was committed {seconds} s ago (it grows while nobody writes)"
                ));
            }
            if *paused {
                opinion.warn("replay is paused", "`SELECT pg_wal_replay_resume()` lets it go on");
            }
            opinion
        }
    }
}

/// What may be asked of the server. `reduced` is why the probe asks it for less than usual.
pub(super) fn privileges(
    login: &ProbeLogin,
    reduced: Option<&QueryError>,
    grants: &Result<Grants, QueryError>,
) -> Opinion {
    let ProbeLogin { user, database } = login;
    let mut opinion =
        Opinion::ok(format!("{user} may connect to {database}; the probe's questions are answered"));
    if let Some(error) = reduced {
        opinion = Opinion::warning(
            format!("{user} may connect to {database}; {error}"),
            "grant the probe's user what it lacks: until then positions and nodes stay unknown",
        );
    }
    match grants {
        Err(error) => opinion.note(format!("what else the users may do is not known: {error}")),
        Ok(Grants { databases, missing, shut_out, not_iam }) => {
            if let Some(databases) = databases {
                opinion.note(format!("databases open to {user}: {databases}"));
            }
            if let Some(users) = missing {
                opinion.warn(
                    format!("listed users that do not exist: {users}"),
                    "make them (`gcloud alloydb users create`), or take them off the endpoint's `users`",
                );
            }
            if let Some(users) = shut_out {
                opinion.warn(
                    format!("listed users that may not log in or not connect to {database}: {users}"),
                    "ALTER ROLE … LOGIN, and GRANT CONNECT ON DATABASE, as they need it",
                );
            }
            if let Some(users) = not_iam {
                opinion.warn(
                    format!("listed users that are no IAM users: {users}"),
                    "make them IAM users (`gcloud alloydb users create … --type=IAM_BASED`): a token does not log in others",
                );
            }
        }
    }
    opinion
}

#[cfg(test)]
mod tests;
