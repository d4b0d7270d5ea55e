//! Why an endpoint was chosen.

use crate::{closed_set::closed_set, sql::ClassifyReason};

closed_set! {
    /// Why an endpoint was chosen.
    pub enum RouteReason(
        /// True if the reason sends a read to the writer that a present and fresh read pool would have served.
        is_fallback: bool,
    ) {
        /// The route selects the writer.
        Writer = "writer" { is_fallback: false },
        /// The route selects a read pool: the less loaded of two random candidates.
        ReadPool = "read-pool" { is_fallback: false },
        /// The route wants the secondary cluster.
        Secondary = "secondary" { is_fallback: false },
        /// The route names the endpoint.
        Named = "named" { is_fallback: false },
        /// The route selects a read pool, none is usable, and the primary may serve instead.
        NoReader = "no-reader" { is_fallback: true },
        /// Split: every read pool is lagging, and the primary serves instead.
        Lagging = "lagging" { is_fallback: true },
        /// Split: the session or the transaction is read-only; a read pool serves.
        ReadOnly = "read-only" { is_fallback: false },
        /// Split: a hint in the statement.
        Hint = "hint" { is_fallback: false },
        /// Split: the session's setting `gatekeeper.route`.
        SessionSetting = "session-setting" { is_fallback: false },
        /// Split: a read on a node that is known to be older than the freshness floor.
        NotFresh = "not-fresh" { is_fallback: true },
        /// Split: a read without a WAL sample of the writer since the session's last write.
        NotSampled = "not-sampled" { is_fallback: true },
        /// Split: a read whose answer turned out to be too old, run again on the writer.
        AnswerTooOld = "answer-too-old" { is_fallback: true },
        /// Split: the rest of the unit is unknown.
        Unfinished = "unfinished" { is_fallback: false },
    }
    includes {
        /// Split: the classification decides: a read pool serves proven reads, the writer all other statements.
        Statement(ClassifyReason) = word_of { is_fallback: never_fallback },
        /// Split: a read that failed on a read pool and ran again.
        Rerun(RerunCause) = RerunCause::as_str { is_fallback: always_fallback },
    }
}

closed_set! {
    /// Why a statement ran again.
    pub enum RerunCause {
        /// The standby rejected a write (SQLSTATE 25006).
        ReadOnlyRefused = "read-only-refused",
        /// The read conflicted with WAL replay on the standby (SQLSTATE 40001).
        RecoveryConflict = "recovery-conflict",
        /// The node went away, or ended the connection (SQLSTATE 57P01).
        NodeLost = "node-lost",
        /// The standby lacked an object or feature; the primary decides.
        StandbyRefused = "standby-refused",
    }
}

// === impl RouteReason ===

impl RouteReason {
    /// True if the reason may lead to the writer. A listener that names an endpoint, and readers, do not follow the
    /// writer.
    #[must_use]
    pub const fn is_for_writer(self) -> bool {
        !matches!(self, Self::Named | Self::Secondary | Self::ReadPool | Self::ReadOnly)
    }

    /// The reasons with [`RouteReason::is_fallback`].
    pub const FALLBACKS: [Self; count_fallbacks()] = {
        let mut fallbacks = [Self::NoReader; count_fallbacks()];
        let (mut at, mut found) = (0, 0);
        while at < Self::ALL.len() {
            if Self::ALL[at].is_fallback() {
                fallbacks[found] = Self::ALL[at];
                found += 1;
            }
            at += 1;
        }
        fallbacks
    };
}

const fn count_fallbacks() -> usize {
    let (mut at, mut found) = (0, 0);
    while at < RouteReason::ALL.len() {
        found += RouteReason::ALL[at].is_fallback() as usize;
        at += 1;
    }
    found
}

/// An endpoint can be named, too.
const fn word_of(classify_reason: ClassifyReason) -> &'static str {
    match classify_reason {
        ClassifyReason::Named => "named-earlier",
        other => other.as_str(),
    }
}

const fn never_fallback(_: ClassifyReason) -> bool {
    false
}

const fn always_fallback(_: RerunCause) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_place_and_a_word_of_its_own() {
        let mut words = HashSet::new();
        for (at, reason) in RouteReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), at, "{reason:?}");
            let word = reason.as_str();
            assert!(words.insert(word), "`{word}` stands twice");
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{word}");
        }
    }
}
