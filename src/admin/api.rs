//! The parts of the program that the admin API shows and controls.

use std::sync::Arc;

use super::ProgramControl;
use crate::{
    files::Files,
    frontend::{ListenerContext, Observers, Routing, SessionRegistry},
    live::Live,
    telemetry::Metrics,
    writer_move::WriterMover,
};

/// The parts of the program that the admin API shows and controls.
#[derive(Clone)]
pub struct Api {
    /// Endpoints and pools.
    pub routing: Arc<Routing>,
    /// Receivers of reports.
    pub observers: Arc<Observers>,
    /// Logged-in sessions.
    pub sessions: Arc<SessionRegistry>,
    /// The current listeners.
    pub listeners: Live<Vec<Live<ListenerContext>>>,
    /// Reload and stop.
    pub control: ProgramControl,
    /// Moves the writer.
    pub mover: Arc<WriterMover>,
    /// The metrics.
    pub metrics: Metrics,
    /// Files that are read again when they change.
    pub files: Files,
}
