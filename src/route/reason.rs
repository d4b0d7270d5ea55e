//! Why an endpoint was chosen.

use crate::{closed_set::closed_set, sql::ClassifyReason};

closed_set! {
    /// Why an endpoint was chosen.
    pub enum RouteReason(
        /// True if the reason sends a read to the writer, and a read pool that is there and keeps up would have spared it.
        is_fallback: bool,
    ) {
        /// The route wants the writer, and this is it.
        Writer = "writer" { is_fallback: false },
        /// The route wants a read pool, and this one was the least busy of two drawn.
        ReadPool = "read-pool" { is_fallback: false },
        /// The route wants the secondary cluster.
        Secondary = "secondary" { is_fallback: false },
        /// The route names this endpoint.
        Named = "named" { is_fallback: false },
        /// The route wants a read pool, none can serve, and the primary may stand in.
        NoReader = "no-reader" { is_fallback: true },
        /// Split: the session or the transaction is read-only, and a read pool serves it.
        ReadOnly = "read-only" { is_fallback: false },
        /// Split: a hint in the statement says so.
        Hint = "hint" { is_fallback: false },
        /// Split: the session says so by `gatekeeper.route`.
        SessionSetting = "session-setting" { is_fallback: false },
        /// Split: a read, and the node is known not to show what it must see yet.
        NotFresh = "not-fresh" { is_fallback: true },
        /// Split: a read, and the writer was not asked since the session's last write where it stands.
        NotSampled = "not-sampled" { is_fallback: true },
        /// Split: a read that a node answered before it was found to show too little; it ran again.
        AnswerTooOld = "answer-too-old" { is_fallback: true },
        /// Split: nobody knows yet what else belongs to it.
        Unfinished = "unfinished" { is_fallback: false },
    }
    includes {
        /// Split: what was judged of the statement decides: a read pool serves what is proved to read, the writer what is not.
        Statement(ClassifyReason) = word_of { is_fallback: never },
        /// Split: a read that ran again after it failed where it went first.
        Rerun(RerunCause) = RerunCause::as_str { is_fallback: always },
    }
}

closed_set! {
    /// Why a statement ran again.
    pub enum RerunCause {
        /// The standby would not run it (SQLSTATE 25006): it was a write after all.
        ReadOnlyRefused = "read-only-refused",
        /// It was in the way of what the standby had to replay (SQLSTATE 40001).
        RecoveryConflict = "recovery-conflict",
        /// The node went away, or ended the connection (SQLSTATE 57P01).
        NodeLost = "node-lost",
        /// The standby lacked something, or could not do it; the primary has the last word.
        StandbyRefused = "standby-refused",
    }
}

// === impl RouteReason ===

impl RouteReason {
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

const fn never(_: ClassifyReason) -> bool {
    false
}

const fn always(_: RerunCause) -> bool {
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
