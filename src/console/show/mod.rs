//! The rows of SHOW, built from the current state of the program.

mod clients;
mod configuration;
mod endpoints;
mod faults;
mod pools;
mod servers;
mod socket;
mod stats;

use std::{sync::Arc, time::SystemTime};

use jiff::Timestamp;
use socket::Socket;

use super::{ConsoleContext, response::CommandResponse, show_target::ShowTarget};
use crate::{frontend::ListenerContext, live::Live, names::EndpointName};

/// The source of the rows.
#[derive(Clone, Copy)]
pub(super) struct ShowContext<'a> {
    pub(super) context: &'a ConsoleContext,
}

/// The response to SHOW.
pub(super) fn show_table(target: ShowTarget, shown: ShowContext<'_>) -> CommandResponse {
    match target {
        ShowTarget::Clients => clients::show_clients(shown),
        ShowTarget::Config => configuration::show_config(shown),
        ShowTarget::Endpoints => endpoints::show_endpoints(shown),
        ShowTarget::Faults => faults::show_faults(shown),
        ShowTarget::Help => CommandResponse::done().with_notice("Console usage", Some(help_text())),
        ShowTarget::Version => {
            CommandResponse::rows([vec![concat!("Gatekeeper ", env!("CARGO_PKG_VERSION")).into()]])
        }
        ShowTarget::Databases => pools::show_databases(shown),
        ShowTarget::Lists => pools::show_lists(shown),
        ShowTarget::Pins => clients::show_pins(shown),
        ShowTarget::Pools => pools::show_pools(shown),
        ShowTarget::Servers => servers::show_servers(shown),
        ShowTarget::Sockets | ShowTarget::ActiveSockets => {
            let sockets = clients::client_sockets(shown).chain(servers::server_sockets(shown));
            CommandResponse::rows(sockets.map(Socket::row_with_positions))
        }
        ShowTarget::State => pools::show_state(shown),
        ShowTarget::Stats => stats::show_stats(shown),
        ShowTarget::StatsAverages => stats::show_averages(shown),
        ShowTarget::StatsTotals => stats::show_totals(shown),
        ShowTarget::Totals => stats::show_sums(shown),
        ShowTarget::Users => pools::show_users(shown),
    }
}

fn help_text() -> String {
    let subjects: Vec<_> = ShowTarget::ALL.iter().map(|target| target.as_str()).collect();
    format!(
        "\n\tSHOW {}\n\tPAUSE [PLACE]\n\tRESUME [PLACE]\n\tDRAIN [PLACE]\n\tRECONNECT [PLACE]\n\tWAIT_CLOSE [PLACE]\
         \n\tKILL PLACE | SESSION\n\tMOVE WRITER TO ENDPOINT [WAIT SECONDS] [PROMOTION_WAIT SECONDS]\n\tUNFENCE ENDPOINT\n\tRELOAD\n\tSHUTDOWN\nPLACE: DATABASE, @ENDPOINT or DATABASE@ENDPOINT.",
        subjects.join("|")
    )
}

/// A time in PgBouncer's format.
fn format_time(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Name of a client in `ptr` and `link`.
fn client_name(id: u64) -> String {
    format!("client-{id}")
}

/// Name of a server in `ptr` and `link`.
fn server_name(endpoint: &EndpointName, pid: i32) -> String {
    format!("server-{endpoint}-{pid}")
}

/// The current listeners.
fn current_listeners(shown: ShowContext<'_>) -> impl Iterator<Item = Arc<ListenerContext>> {
    let listeners: Vec<_> = shown.context.listeners.load().iter().map(Live::load).collect();
    listeners.into_iter()
}
