//! Stops the program: readiness off, listeners closed, sessions drained, the rest terminated.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

use super::{program::Program, service_manager};
use crate::{events::EventKind, frontend::SessionCommand};

/// The command of a signal.
pub(super) enum Signal {
    /// SIGHUP.
    Reload,
    /// SIGUSR1, as sent after a rotation of files.
    ReopenFiles,
    /// SIGUSR2, as in PgBouncer.
    Resume,
    /// SIGTERM, SIGINT or SIGQUIT.
    Stop,
}

/// Reason why the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// A signal, or a command of an operator.
    Stopped,
    /// Another process serves new clients.
    HandedOver {
        /// Its process id, if known.
        successor: Option<u32>,
    },
}

/// The handled signals.
pub(super) struct Signals {
    hangup: tokio::signal::unix::Signal,
    user_1: tokio::signal::unix::Signal,
    user_2: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    /// SIGXFSZ: a file has reached the size limit of the process. Handled so that the write fails with an error
    /// instead.
    _file_size: tokio::signal::unix::Signal,
}

/// Time between the last command to sessions and the end of their threads.
const LAST_MESSAGE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3);

impl Signals {
    /// Installs the handlers; from now on, signals do not end the process.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// The next signal. Cancel safe.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.user_1.recv() => Signal::ReopenFiles,
            _ = self.user_2.recv() => Signal::Resume,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.quit.recv() => Signal::Stop,
        }
    }

    /// Waits for a further stop signal. Cancel safe.
    async fn stop(&mut self) {
        while !matches!(self.next().await, Signal::Stop) {}
    }
}

/// Stops accepting; sessions go on.
fn leave_to_successor(program: &mut Program, successor: Option<u32>) {
    if let Some(successor) = successor {
        service_manager::report_successor(successor);
    }
    for (_, listener) in program.listeners.drain() {
        listener.leave_to_successor();
    }
    program.admin = None;
    program.services.routing.pools.leave_to_successor();
    let sessions = program.services.sessions.count();
    tracing::info!(
        successor,
        sessions,
        "another process serves new clients; a signal ends the wait for the rest"
    );
}

/// Drains and stops; a second stop signal stops immediately.
pub(super) async fn drain_and_stop(mut program: Program, mut signals: Signals, ending: Ending) {
    let sessions = std::sync::Arc::clone(&program.services.sessions);
    let settings = program.config.runtime.clone();
    program.services.observers.events.record_event(EventKind::Draining);
    match ending {
        Ending::Stopped => {
            service_manager::report_stopping(sessions.count());
            tracing::info!(
                sessions = sessions.count(),
                "draining sessions; a second signal stops immediately"
            );
            if let Some(admin) = &program.admin {
                admin.drain();
            }
        }
        Ending::HandedOver { successor } => {
            leave_to_successor(&mut program, successor);
            tokio::select! {
                _ = timeout(settings.handover_wait, sessions.wait_until_empty()) => {}
                () = signals.stop() => {}
            }
        }
    }
    let in_order = async {
        if matches!(ending, Ending::Stopped) {
            sleep(settings.drain_delay).await;
        }
        program.listeners.clear();
        sessions.send_command_to_all(SessionCommand::Drain);
        timeout(settings.drain_timeout, sessions.wait_until_empty()).await.is_ok()
    };
    let all_ended = tokio::select! {
        all_ended = in_order => all_ended,
        () = signals.stop() => false,
    };
    program.listeners.clear();
    if !all_ended {
        tracing::warn!(sessions = sessions.count(), "drain timed out: terminating the remaining sessions");
        sessions.send_command_to_all(SessionCommand::Stop);
        timeout(LAST_MESSAGE_TIMEOUT, sessions.wait_until_empty()).await.ok();
    }
    program.services.routing.pools.shutdown();
    program.workers.shutdown().await;
    program.builder.tasks.shutdown().await;
    program.services.observers.audit.close().await;
    tracing::info!("gatekeeper stopped");
}
