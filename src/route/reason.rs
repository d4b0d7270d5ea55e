//! Why an endpoint was chosen.

use crate::sql::Ground;

/// Why an endpoint was chosen: a closed set, since it is a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The route wants the writer, and this is it.
    Writer,
    /// The route wants a read pool, and this one was the least busy of two drawn.
    ReadPool,
    /// The route wants the secondary cluster.
    Secondary,
    /// The route names this endpoint.
    Named,
    /// The route wants a read pool, none can serve, and the primary may stand in.
    NoReader,
    /// Split: the session or the transaction is read-only, and a read pool serves it.
    ReadOnly,
    /// Split: what was judged of the statement decides: a read pool serves what is proved to read, the writer what is not.
    Statement(Ground),
    /// Split: what the session left on its backend of the writer keeps it there.
    Pinned,
    /// Split: a hint in the statement says so.
    Hint,
    /// Split: the session says so by `gatekeeper.route`.
    SessionSetting,
    /// Split: a read, and the node is known not to show what it must see yet.
    NotFresh,
    /// Split: a read, and the writer was not asked since the session's last write where it stands.
    NotSampled,
    /// Split: a read that a node answered before it was found to show too little; it ran again.
    AnswerTooOld,
    /// Split: nobody knows yet what else belongs to it.
    Unfinished,
    /// Split: a read that ran again after it failed where it went first.
    Rerun(RerunCause),
}

/// Why a statement ran again: a closed set, since it is a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RerunCause {
    /// The standby would not run it (SQLSTATE 25006): it was a write after all.
    ReadOnlyRefused,
    /// It was in the way of what the standby had to replay (SQLSTATE 40001).
    RecoveryConflict,
    /// The node went away, or ended the connection (SQLSTATE 57P01).
    NodeLost,
    /// The standby lacked something, or could not do it; the primary has the last word.
    StandbyRefused,
}

// === impl Reason ===

impl Reason {
    /// Every value: label values exist from the start.
    pub const ALL: [Self; PLAIN.len() + Ground::ALL.len() + RerunCause::ALL.len()] = {
        let mut all = [Self::Writer; PLAIN.len() + Ground::ALL.len() + RerunCause::ALL.len()];
        let mut at = 0;
        while at < all.len() {
            all[at] = if at < PLAIN.len() {
                PLAIN[at]
            } else if at < PLAIN.len() + Ground::ALL.len() {
                Self::Statement(Ground::ALL[at - PLAIN.len()])
            } else {
                Self::Rerun(RerunCause::ALL[at - PLAIN.len() - Ground::ALL.len()])
            };
            at += 1;
        }
        all
    };

    /// Why a read went to the writer instead of a read pool, as far as a reason can say so: those that a read pool which is
    /// there, and keeps up, would have spared.
    pub const FALLBACKS: [Self; 4 + RerunCause::ALL.len()] = [
        Self::NoReader,
        Self::NotFresh,
        Self::NotSampled,
        Self::AnswerTooOld,
        Self::Rerun(RerunCause::ReadOnlyRefused),
        Self::Rerun(RerunCause::RecoveryConflict),
        Self::Rerun(RerunCause::NodeLost),
        Self::Rerun(RerunCause::StandbyRefused),
    ];

    /// Its place in [`Reason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Writer => 0,
            Self::ReadPool => 1,
            Self::Secondary => 2,
            Self::Named => 3,
            Self::NoReader => 4,
            Self::ReadOnly => 5,
            Self::Pinned => 6,
            Self::Hint => 7,
            Self::SessionSetting => 8,
            Self::NotFresh => 9,
            Self::NotSampled => 10,
            Self::AnswerTooOld => 11,
            Self::Unfinished => 12,
            Self::Statement(ground) => PLAIN.len() + ground as usize,
            Self::Rerun(cause) => PLAIN.len() + Ground::ALL.len() + cause as usize,
        }
    }

    /// The word used in metrics, logs and the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::ReadPool => "read-pool",
            Self::Secondary => "secondary",
            Self::Named => "named",
            Self::NoReader => "no-reader",
            Self::ReadOnly => "read-only",
            // An endpoint can be named, too.
            Self::Statement(Ground::Named) => "named-earlier",
            Self::Statement(ground) => ground.as_str(),
            Self::Pinned => "pinned",
            Self::Hint => "hint",
            Self::SessionSetting => "session-setting",
            Self::NotFresh => "not-fresh",
            Self::NotSampled => "not-sampled",
            Self::AnswerTooOld => "answer-too-old",
            Self::Unfinished => "unfinished",
            Self::Rerun(cause) => cause.as_str(),
        }
    }
}

/// Those that carry nothing.
const PLAIN: [Reason; 13] = [
    Reason::Writer,
    Reason::ReadPool,
    Reason::Secondary,
    Reason::Named,
    Reason::NoReader,
    Reason::ReadOnly,
    Reason::Pinned,
    Reason::Hint,
    Reason::SessionSetting,
    Reason::NotFresh,
    Reason::NotSampled,
    Reason::AnswerTooOld,
    Reason::Unfinished,
];

// === impl RerunCause ===

impl RerunCause {
    /// Every value: label values exist from the start.
    pub const ALL: [Self; 4] =
        [Self::ReadOnlyRefused, Self::RecoveryConflict, Self::NodeLost, Self::StandbyRefused];

    /// The word used in metrics, logs and the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnlyRefused => "read-only-refused",
            Self::RecoveryConflict => "recovery-conflict",
            Self::NodeLost => "node-lost",
            Self::StandbyRefused => "standby-refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_place_and_a_word_of_its_own() {
        let mut words = HashSet::new();
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), at, "{reason:?}");
            let word = reason.as_str();
            assert!(words.insert(word), "`{word}` stands twice");
            assert!(word.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'-'), "{word}");
        }
    }
}
