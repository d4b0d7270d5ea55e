//! The rows of what can be shown. Each table is read from what the program knows at that moment.

mod clients;
mod configuration;
mod endpoints;
mod socket;

use std::{sync::Arc, time::SystemTime};

use jiff::Timestamp;

use super::{Office, answer::Answer, subject::Subject};
use crate::{
    frontend::{ListenerContext, World},
    live::Live,
    names::EndpointName,
};

/// What is shown.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) office: &'a Office,
    pub(super) world: &'a World,
}

/// The answer to SHOW.
pub(super) fn show(subject: Subject, shown: Shown<'_>) -> Answer {
    match subject {
        Subject::Clients => clients::clients(shown),
        Subject::Config => configuration::config(shown),
        Subject::Endpoints => endpoints::endpoints(shown),
        Subject::Help => Answer::done().notice("Console usage", Some(help())),
        Subject::Version => Answer::rows([vec![concat!("Gatekeeper ", env!("CARGO_PKG_VERSION")).into()]]),
        Subject::Sockets | Subject::ActiveSockets => Answer::rows(clients::sockets(shown)),
        _ => Answer::done(),
    }
}

fn help() -> String {
    let subjects: Vec<_> = Subject::ALL.iter().map(|subject| subject.as_str()).collect();
    format!(
        "\n\tSHOW {}\n\tPAUSE [PLACE]\n\tRESUME [PLACE]\n\tDRAIN [PLACE]\n\tRECONNECT [PLACE]\n\tWAIT_CLOSE [PLACE]\
         \n\tKILL PLACE | SESSION\n\tRELOAD\n\tSHUTDOWN\nPLACE: DATABASE, @ENDPOINT or DATABASE@ENDPOINT.",
        subjects.join("|")
    )
}

/// A moment as PgBouncer shows it.
fn moment(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// What rows of clients and of servers call a server by.
fn server_name(endpoint: &EndpointName, pid: i32) -> String {
    format!("server-{endpoint}-{pid}")
}

/// The listeners as they are now.
fn listeners(shown: Shown<'_>) -> impl Iterator<Item = Arc<ListenerContext>> {
    let listeners: Vec<_> = shown.office.listeners.load().iter().map(Live::load).collect();
    listeners.into_iter()
}
