//! Notifications of the service manager: readiness, state, and signs of life.
//!
//! <https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use crate::tasks::Workers;

/// The service manager, or none: without `NOTIFY_SOCKET`, every message is dropped.
pub(super) struct ServiceManager {
    ticks: Interval,
    has_watchdog: bool,
    /// The last reported state.
    state: String,
}

/// Interval of reports without a watchdog.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Begins a reload, with the time that `Type=notify-reload` requires.
pub(super) fn report_reload() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// Ends a reload.
pub(super) fn report_ready() {
    send(&[NotifyState::Ready]);
}

/// Begins the end of the process.
pub(super) fn report_stopping(sessions: usize) {
    let state = format!("draining {sessions} sessions");
    send(&[NotifyState::Stopping, NotifyState::Status(&state)]);
}

/// Makes `successor` the main process of the service.
pub(super) fn report_successor(successor: u32) {
    send(&[NotifyState::MainPid(successor)]);
}

fn send(states: &[NotifyState<'_>]) {
    // The program runs on without a service manager.
    sd_notify::notify(states).ok();
}

// === impl ServiceManager ===

impl ServiceManager {
    /// Reports readiness.
    pub(super) fn ready() -> Self {
        report_ready();
        let watchdog = sd_notify::watchdog_enabled();
        // Half the limit, as sd_watchdog_enabled(3) recommends.
        let period = watchdog.map_or(REPORT_INTERVAL, |limit| (limit / 2).min(REPORT_INTERVAL));
        let period = period.max(Duration::from_millis(1));
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, has_watchdog: watchdog.is_some(), state: String::new() }
    }

    /// Returns when a report is due.
    ///
    /// Cancel safe.
    pub(super) async fn tick(&mut self) {
        self.ticks.tick().await;
    }

    /// Reports `state` if new, and a sign of life if all `workers` run.
    pub(super) async fn report(&mut self, state: &str, workers: &Workers) {
        if self.state != state {
            state.clone_into(&mut self.state);
            send(&[NotifyState::Status(state)]);
        }
        if self.has_watchdog && timeout(self.ticks.period(), workers.pass_barrier()).await.is_ok() {
            send(&[NotifyState::Watchdog]);
        }
    }
}
