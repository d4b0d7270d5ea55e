//! Examines a listener's files (certificate, key and users) and the login method of its clients.

use jiff::Timestamp;

use super::{
    certificates,
    finding::{Examination, Opinion, Stage},
};
use crate::{
    backend::EndpointSettings,
    blame::Chain,
    frontend::{Auth, ListenerSettings, Users},
    tls::{ServerTls, TlsMode},
};

/// Examines the listener of `settings`, with the `endpoints` of the configuration. Reads files; blocks.
pub(super) fn examine_listener(settings: &ListenerSettings, endpoints: &[EndpointSettings]) -> Examination {
    let about = format!("{} on {}", settings.route, settings.bind);
    let mut examination = Examination::new(settings.name.to_string(), about);
    examination.add(Stage::Tls, check_tls(settings, Timestamp::now()));
    examination.add(Stage::Users, check_users(settings));
    examination.add(Stage::Login, check_login(settings, endpoints));
    examination
}

/// Judges passthrough logins: with default settings, a passthrough login fails if both sides speak TLS.
fn check_login(settings: &ListenerSettings, endpoints: &[EndpointSettings]) -> Opinion {
    if settings.auth != Auth::Passthrough {
        return Opinion::skipped("only with passthrough do clients authenticate at the server");
    }
    let speaks_tls = |endpoint: &&EndpointSettings| {
        settings.route.may_reach(&endpoint.endpoint) && endpoint.tls.mode != TlsMode::Disable
    };
    match (&settings.tls, endpoints.iter().find(speaks_tls)) {
        (Some(_), Some(endpoint)) => Opinion::warning(
            format!(
                "TLS on both sides, to clients and to `{}`: a relayed SCRAM login fails for clients that bind to the \
                 channel, as libpq does by default, and sslmode=prefer then goes on in plaintext",
                endpoint.endpoint.name
            ),
            "write auth = { method = \"password\" }, or have the clients set channel_binding=disable",
        ),
        _ => Opinion::ok("SCRAM logins can be relayed: at most one side speaks TLS"),
    }
}

fn check_tls(settings: &ListenerSettings, now: Timestamp) -> Opinion {
    let Some(wanted) = &settings.tls else {
        return match settings.bind.is_local() {
            true => Opinion::ok("plaintext, on this machine only"),
            false => Opinion::warning(
                "clients speak plaintext",
                "set the listener's `tls` with a certificate and its key",
            ),
        };
    };
    match ServerTls::new(wanted) {
        Ok(tls) => {
            let mut opinion = Opinion::ok(match wanted.required {
                true => "required of clients",
                false => "offered to clients",
            });
            certificates::assess_certificates(&mut opinion, &tls.certificates(), now);
            opinion
        }
        Err(error) => {
            Opinion::failed(Chain(&error).to_string(), "name a certificate and its key, both in PEM")
        }
    }
}

fn check_users(settings: &ListenerSettings) -> Opinion {
    match &settings.auth {
        Auth::Passthrough => Opinion::skipped("clients prove themselves to the server (passthrough)"),
        Auth::Trust => Opinion::skipped("clients are not authenticated (trust)"),
        Auth::Certificate { .. } => {
            Opinion::skipped("clients show certificates, which the listener's CA signs")
        }
        Auth::Password { .. } => Opinion::skipped("clients say their passwords, which the endpoints judge"),
        Auth::Scram { users_file } => match Users::open(users_file) {
            Ok(_) => Opinion::ok(format!("{} can be used", users_file.display())),
            Err(error) => Opinion::failed(Chain(&error).to_string(), "correct the users file"),
        },
    }
}
