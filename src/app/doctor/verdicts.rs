//! Assesses the results of stages, without sockets and clocks.

use std::net::SocketAddr;

use super::{
    finding::Opinion,
    questions::{Grants, ReplayProgress},
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

/// A failed connection attempt, with the message and remedy of the log.
pub(super) fn assess_failure(error: &ConnectError) -> Opinion {
    let remedy = error.remedy().unwrap_or_else(|| "look into the server's own log".into());
    Opinion::failed(Chain(error).to_string(), remedy)
}

/// Reachability of each address.
pub(super) fn assess_route(tried: &[(SocketAddr, Result<SocketAddr, ConnectError>)]) -> Opinion {
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
        [(_, Err(error))] => assess_failure(error),
        [(address, Ok(from))] => Opinion::ok(format!("{address}, connected from {}", from.ip())),
        _ if all_lost => {
            opinion.fail("sessions find no address that takes them");
            opinion
        }
        _ => opinion,
    }
}

/// Result of the TLS handshake; `None` means plaintext. `name` is the sent or verified server name.
pub(super) fn assess_tls(mode: TlsMode, facts: Option<&TlsFacts>, name: &str, stays_here: bool) -> Opinion {
    let Some(TlsFacts { version, cipher, .. }) = facts else {
        let finding = format!("{}: plaintext", mode.as_str());
        return match (stays_here, mode) {
            (true, _) => Opinion::ok(format!("{finding}, on this machine only")),
            (false, TlsMode::Disable) => Opinion::warning(
                finding,
                "set the endpoint's `tls.mode` to `verify-full`, or `verify-ca`, and its `ca_file`",
            ),
            (false, _) => Opinion::warning(
                format!("{finding}; the server does not offer TLS"),
                "turn TLS on at the server and set the endpoint's `tls.mode` to `verify-full`",
            ),
        };
    };
    let finding = format!("{}, {version}, {cipher}", mode.as_str());
    match mode {
        TlsMode::VerifyFull => {
            Opinion::ok(format!("{finding}; chain trusted, the certificate is for {name}"))
        }
        TlsMode::VerifyCa => Opinion::ok(format!("{finding}; chain trusted, the name was not checked")),
        _ if stays_here => Opinion::ok(format!("{finding}; the server's certificate was not verified")),
        _ => Opinion::warning(
            format!("{finding}; the server's certificate was not verified"),
            "set the endpoint's `tls.mode` to `verify-full`, or `verify-ca`, and its `ca_file`",
        ),
    }
}

/// A token was minted for `user`.
pub(super) fn assess_token(login: &Login, user: &UserName, bytes: usize) -> Opinion {
    let who = match login {
        Login::Token(TokenLoginSettings { origin: TokenOrigin::Google(_), .. }) => "Google issued",
        _ => "the command printed",
    };
    let finding = format!("{who} a token for {user}, {bytes} characters long");
    match user.as_str().strip_suffix(GOOGLE_SERVICE_ACCOUNT) {
        Some(short) => Opinion::warning(
            format!("{finding}; this is not the database user name of a service account"),
            format!("write the user as `{short}`: AlloyDB leaves out `{GOOGLE_SERVICE_ACCOUNT}`"),
        ),
        None => Opinion::ok(finding),
    }
}

/// Compares the principal of the tokens with the listed users.
pub(super) fn assess_principal(
    opinion: &mut Opinion,
    found: &Result<TokenPrincipal, TokenError>,
    users: &TokenUsers,
) {
    if let Some(PrincipalMistake { what, remedy }) = principal::compare_principal(found, users) {
        opinion.warn(what, remedy);
    } else if let Some(finding) = found.as_ref().ok().and_then(principal::describe_principal) {
        opinion.note(finding);
    }
}

/// How the e-mail address of a service account ends; its database user does without.
const GOOGLE_SERVICE_ACCOUNT: &str = ".gserviceaccount.com";

/// A rejected login. `others` holds the methods that the server requests for other listed users.
pub(super) fn login_failed(error: &ConnectError, others: &[(UserName, Method)]) -> Opinion {
    let mut opinion = assess_failure(error);
    if is_asked_for_a_stored_password(error) {
        tell_the_flag_from_the_user(&mut opinion, others);
    }
    opinion
}

/// Explains a password request to a token user: either tokens are disabled for the instance, or the user is not an IAM
/// user. The methods of `others` tell which.
fn tell_the_flag_from_the_user(opinion: &mut Opinion, others: &[(UserName, Method)]) {
    match others.iter().find(|(_, method)| *method == Method::CleartextPassword) {
        Some((other, _)) => {
            opinion.note(format!("of {other} it takes a token: the instance flag is on"));
            opinion.fail(
                "this user is not an IAM user: make it one (`gcloud alloydb users create … --type=IAM_BASED`)",
            );
        }
        None if others.is_empty() => {}
        None => {
            opinion.note("it takes a token of none of the other listed users");
            opinion.fail("most likely `alloydb.iam_authentication` is off on this instance: set it to `on`");
        }
    }
}

/// True if a server rejected a token because the user has a stored password.
pub(super) fn is_asked_for_a_stored_password(error: &ConnectError) -> bool {
    error.refused().is_some_and(|refused| {
        refused.shown == CredentialKind::Token
            && matches!(
                refused.response.method(),
                Some(Method::ScramSha256 | Method::ScramSha256Plus | Method::Md5Password)
            )
    })
}

/// Result of a startup without credentials, for endpoints without a user for logins.
pub(super) fn assess_startup(login: &Login, asked: Result<Method, &ConnectError>) -> Opinion {
    let finding = match asked {
        Ok(method) => format!("it asks for {method}"),
        // The user of the startup packet need not exist.
        Err(error) => match error.refused().filter(|refused| refused.is_authorization()) {
            Some(refused) => format!("server message: {refused}"),
            None => return assess_failure(error),
        },
    };
    match login {
        Login::Passthrough => Opinion::skipped(format!(
            "clients log in themselves (passthrough), so no login was tried. The server speaks PostgreSQL; {finding}"
        )),
        Login::Password(_) | Login::Token(_) => Opinion::warning(
            format!("no user is configured for a login. The server speaks PostgreSQL; {finding}"),
            "name one in the endpoint's `probe.user`",
        ),
    }
}

/// A server that accepts the login but does not answer queries.
pub(super) fn assess_query_error(error: &QueryError) -> Opinion {
    Opinion::failed(
        Chain(error).to_string(),
        "look at the server's own log: a user that may connect may ask these questions",
    )
}

/// Role reported by the server. `has_peer`: of several endpoints declared primary, one is the writer.
pub(super) fn assess_role(declared: DeclaredRole, has_peer: bool, answer: &ProbeAnswer) -> Opinion {
    let observed = answer.role.as_str();
    let read_only = if answer.read_only { "read-only" } else { "takes writes" };
    let mut opinion = Opinion::ok(format!("declared {declared}, reported {observed}; {read_only}"));
    if let Some(node) = answer.node {
        opinion.note(format!("node {node}"));
    }
    match (declared.expected_role(), answer.role) {
        (ObservedRole::Primary, ObservedRole::Standby) if has_peer => {
            opinion.note("another endpoint declared primary is the writer");
        }
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

/// Replication lag; a primary has none.
pub(super) fn assess_lag(
    answer: &ProbeAnswer,
    replay: Option<&Result<ReplayProgress, QueryError>>,
) -> Opinion {
    match replay {
        None => Opinion::ok(match answer.lsn {
            Some(lsn) => format!("none: a primary, its WAL is at {:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF),
            None => "none: a primary".to_owned(),
        }),
        Some(Err(error)) => Opinion::warning(
            Chain(error).to_string(),
            "without positions, reads that must see a write go to the primary: let the user ask for them",
        ),
        Some(Ok(ReplayProgress { replayed: None, .. })) => Opinion::warning(
            "the server does not say how far it has replayed",
            "without positions, reads that must see a write go to the primary",
        ),
        Some(Ok(ReplayProgress { replayed: Some(at), behind, last_transaction, paused })) => {
            let mut opinion = Opinion::ok(format!("replayed up to {at}"));
            if let Some(bytes) = behind {
                opinion.note(format!("{bytes} bytes received and not yet replayed"));
            }
            if let Some(seconds) = last_transaction {
                opinion.note(format!(
                    "the last transaction replayed was committed {seconds} s ago (the value grows while the writer is idle)"
                ));
            }
            if *paused {
                opinion.warn("replay is paused", "`SELECT pg_wal_replay_resume()` lets it go on");
            }
            opinion
        }
    }
}

/// Privileges of the probe. `reduced` is the reason why the probe reads less than usual.
pub(super) fn assess_privileges(
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
            "grant the missing privileges to the probe's user: until then, positions and nodes stay unknown",
        );
    }
    match grants {
        Err(error) => opinion.note(format!("other privileges of the users are unknown: {error}")),
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
                    format!("listed users that are not IAM users: {users}"),
                    "make them IAM users (`gcloud alloydb users create … --type=IAM_BASED`): a token does not log in others",
                );
            }
        }
    }
    opinion
}

#[cfg(test)]
mod tests;
