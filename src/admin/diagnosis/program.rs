//! Faults of the program: audit log, reloads, files.

use jiff::{SignedDuration, Timestamp};

use super::{
    fault::{Fault, FaultKind},
    words::{describe_count, describe_duration},
};
use crate::{admin::moment::Clock, audit::AuditCondition, events::FailedReload, files::UnusableFiles};

/// Time after which lost audit records are no news, as in the alert.
const LOSS_NOTICE: SignedDuration = SignedDuration::from_mins(5);

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
