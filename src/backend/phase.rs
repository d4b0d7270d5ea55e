//! Phases of a connect: durations, and the current phase.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use crate::telemetry::labels::ConnectPhase;

/// How long each stage took; zero for a stage that was not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations([Duration; ConnectPhase::ALL.len()]);

/// Current phase of a connect, shared between the connect and the time limit.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU8>);

/// A stopwatch over the phases of a connect.
pub(super) struct Stages {
    progress: Progress,
    durations: Durations,
    current: ConnectPhase,
    since: Instant,
}

// === impl Durations ===

impl Durations {
    /// How long `phase` took.
    #[must_use]
    pub fn of(&self, phase: ConnectPhase) -> Duration {
        self.0.get(phase.index()).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, phase: ConnectPhase, took: Duration) {
        if let Some(duration) = self.0.get_mut(phase.index()) {
            *duration += took;
        }
    }

    /// The stages that took any time.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectPhase, Duration)> + '_ {
        ConnectPhase::ALL.iter().copied().zip(self.0).filter(|(_, took)| !took.is_zero())
    }
}

// === impl Progress ===

impl Progress {
    /// The current phase; `None` while waiting for a permit.
    pub(super) fn phase(&self) -> Option<ConnectPhase> {
        let index = usize::from(self.0.load(Ordering::Relaxed)).checked_sub(1)?;
        ConnectPhase::ALL.get(index).copied()
    }

    fn enter(&self, phase: ConnectPhase) {
        self.0.store(u8::try_from(phase.index() + 1).unwrap_or(u8::MAX), Ordering::Relaxed);
    }
}

// === impl Stages ===

impl Stages {
    /// Starts the stopwatch, with the durations so far.
    pub(super) fn start(progress: &Progress, durations: Durations) -> Self {
        let current = ConnectPhase::Resolve;
        progress.enter(current);
        Self { progress: progress.clone(), durations, current, since: Instant::now() }
    }

    /// Ends the current stage and begins `phase`.
    pub(super) fn enter(&mut self, phase: ConnectPhase) {
        self.stop();
        self.current = phase;
        self.progress.enter(phase);
    }

    /// Ends the last stage.
    pub(super) fn end(mut self) -> Durations {
        self.stop();
        self.durations
    }

    fn stop(&mut self) {
        let now = Instant::now();
        self.durations.add(self.current, now - self.since);
        self.since = now;
    }
}
