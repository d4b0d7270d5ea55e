//! Looks at what a listener needs from files: its certificate and key, and its users.

use jiff::Timestamp;

use super::{
    certificates,
    finding::{Examination, Opinion, Stage},
};
use crate::{
    blame::Chain,
    frontend::{Auth, ListenerSettings, Users},
    tls::ServerTls,
};

/// Examines the listener of `settings`. Reads files; blocks.
pub(super) fn examine(settings: &ListenerSettings) -> Examination {
    let about = format!("{} on {}", settings.route, settings.bind);
    let mut examination = Examination::new(settings.name.to_string(), about);
    examination.add(Stage::Tls, tls(settings, Timestamp::now()));
    examination.add(Stage::Users, users(settings));
    examination
}

fn tls(settings: &ListenerSettings, now: Timestamp) -> Opinion {
    let Some(wanted) = &settings.tls else {
        return match settings.bind.is_local() {
            true => Opinion::ok("plaintext, which does not leave this machine"),
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
            certificates::judge(&mut opinion, &tls.certificates(), now);
            opinion
        }
        Err(error) => {
            Opinion::failed(Chain(&error).to_string(), "name a certificate and its key, both in PEM")
        }
    }
}

fn users(settings: &ListenerSettings) -> Opinion {
    match &settings.auth {
        Auth::Passthrough => Opinion::skipped("clients prove themselves to the server (passthrough)"),
        Auth::Trust => Opinion::skipped("clients are let in as whom they say (trust)"),
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
