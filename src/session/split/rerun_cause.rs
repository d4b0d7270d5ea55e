//! Rerun cause of a read pool's error: which errors are due to the standby, so that the writer's response counts.

use crate::{route::RerunCause, wire::ErrorFields};

/// Returns the rerun cause if a node's response may be due to standby status; then the writer's response counts.
///
/// Covers errors of the standby itself, and errors explained by lag. Lag explains relations, functions and types made
/// or changed a moment ago (class 42), and standby-only states (0A, 55, 58, XX). A node is lost only if the connection
/// ends with the error: a server continuing after an error of class 08 or 57 has answered.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
#[must_use]
pub(in crate::session) fn find_rerun_cause(fault: &ErrorFields<'_>) -> Option<RerunCause> {
    let state = fault.sqlstate()?;
    match (state.as_str(), state.class()) {
        ("40001" | "40P01", _) => Some(RerunCause::RecoveryConflict),
        _ if fault.is_fatal() => Some(RerunCause::NodeLost),
        ("25006", _) => Some(RerunCause::ReadOnlyRefused),
        (_, "0A" | "3D" | "3F" | "42" | "55" | "58" | "XX") => Some(RerunCause::StandbyRefused),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_goes_on_is_not_lost() {
        use RerunCause::{NodeLost, ReadOnlyRefused, RecoveryConflict, StandbyRefused};
        for (state, by_error, by_fatal) in [
            ("08P01", None, NodeLost),
            ("08006", None, NodeLost),
            ("57014", None, NodeLost),
            ("57P01", None, NodeLost),
            ("57P03", None, NodeLost),
            ("22012", None, NodeLost),
            ("25P03", None, NodeLost),
            ("40001", Some(RecoveryConflict), RecoveryConflict),
            ("25006", Some(ReadOnlyRefused), NodeLost),
            ("42P01", Some(StandbyRefused), NodeLost),
            ("XX000", Some(StandbyRefused), NodeLost),
        ] {
            for (severity, expected) in
                [("ERROR", by_error), ("FATAL", Some(by_fatal)), ("PANIC", Some(by_fatal))]
            {
                let body = format!("SX\0V{severity}\0C{state}\0Mm\0\0");
                assert_eq!(
                    find_rerun_cause(&ErrorFields::new(body.as_bytes())),
                    expected,
                    "{severity} {state}"
                );
            }
        }
    }
}
