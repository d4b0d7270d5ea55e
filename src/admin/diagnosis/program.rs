//! Faults of the program: audit log, reloads, files, descriptors, panics.

use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};

use super::{
    fault::{Fault, FaultKind},
    words::{describe_count, describe_duration},
};
use crate::{
    admin::moment::Clock, audit::AuditCondition, events::FailedReload, files::UnusableFiles,
    telemetry::FileDescriptors,
};

/// Time for which lost audit records are a fault, as in the alert.
const LOSS_NOTICE: SignedDuration = SignedDuration::from_mins(5);
/// Time for which a panic is a fault, as in the alert.
const PANIC_NOTICE: SignedDuration = SignedDuration::from_mins(15);
/// Part of the descriptors that may be open, from 0 to 1, as in the alert.
const MAX_DESCRIPTOR_RATIO: f64 = 0.9;

/// Faults of the audit log.
pub(super) fn diagnose_audit(condition: &AuditCondition, now: Timestamp, clock: Clock) -> Vec<Fault> {
    let remedy = || "Make the file in [audit] writable, or free space.".to_owned();
    let failing = condition.write_error.as_ref().map(|(since, error)| {
        let effect = match condition.blocks {
            true => "clients wait and are refused (on_full = \"block\")",
            false => "records are lost once its queue is full (on_full = \"shed\")",
        };
        let text = format!("The audit log cannot be written: {error}; {effect}.");
        Fault::new(FaultKind::AuditFailing, text, remedy(), Some(clock.since_time(*since)))
    });
    let recent = condition.losses.filter(|(_, last)| now.duration_since(*last) <= LOSS_NOTICE);
    let lost = recent.map(|(count, last)| {
        let records = describe_count(count, "record");
        let ago = describe_duration(now.duration_since(last).unsigned_abs());
        let text = format!("The audit log has lost {records} since the start, the last one {ago} ago.");
        let remedy = "Raise `queue` in [audit], or use a faster disk; on_full = \"block\" loses nothing.";
        Fault::new(FaultKind::AuditLost, text, remedy.to_owned(), Some(clock.since_time(last)))
    });
    failing.into_iter().chain(lost).collect()
}

/// The fault of reloads without success.
pub(super) fn diagnose_reload(failed: &FailedReload, clock: Clock) -> Fault {
    let text =
        format!("The configuration could not be reloaded, and the next start will fail: {}.", failed.error);
    let remedy = "Correct it (`gatekeeper check` lists all mistakes), and reload again.";
    Fault::new(FaultKind::ReloadFailed, text, remedy.to_owned(), Some(clock.since_time(failed.since)))
}

/// The fault of changed files that cannot be used.
pub(super) fn diagnose_files(files: &UnusableFiles, clock: Clock) -> Fault {
    let UnusableFiles { what, since, error } = files;
    let text = format!("Changed files cannot be used, the previous contents stay: {what}: {error}.");
    let remedy = "Correct the files; they are read again without a reload.";
    Fault::new(FaultKind::FileUnusable, text, remedy.to_owned(), Some(clock.since_system(*since)))
}

/// The fault of a process with too few descriptors left.
#[expect(clippy::cast_precision_loss, reason = "a ratio of counts")]
pub(super) fn diagnose_descriptors(descriptors: FileDescriptors) -> Option<Fault> {
    let FileDescriptors { open, limit } = descriptors;
    (open as f64 > limit as f64 * MAX_DESCRIPTOR_RATIO).then(|| {
        let text = format!("Gatekeeper has {open} of at most {limit} file descriptors open.");
        let remedy =
            "Raise the limit of the process (LimitNOFILE, ulimit -n) and restart, before clients are refused.";
        Fault::new(FaultKind::DescriptorsNearLimit, text, remedy.to_owned(), None)
    })
}

/// The fault of recent panics; `panics` is their number and the time of the last one.
pub(super) fn diagnose_panics(
    panics: Option<(u64, SystemTime)>,
    now: Timestamp,
    clock: Clock,
) -> Option<Fault> {
    let (count, last) = panics?;
    let last = Timestamp::try_from(last).ok()?;
    let age = now.duration_since(last);
    (age <= PANIC_NOTICE).then(|| {
        let tasks = describe_count(count, "task");
        let ago = describe_duration(age.unsigned_abs());
        let text = format!(
            "A bug in Gatekeeper has ended {tasks} by a panic since the start, the last one {ago} ago."
        );
        let remedy = "Report the line of the log that begins with `panic`, with the version.";
        Fault::new(FaultKind::Panicked, text, remedy.to_owned(), Some(clock.since_time(last)))
    })
}
