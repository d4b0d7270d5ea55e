//! Selects the statements that the level `writes` leaves out: statements that only read according to their text.

use crate::sql::{
    Classifier, ClassifierOptions, ClassifyReason, LexicalSettings, SchemaInfo, StatementAccess,
};

/// Classifies statements by text, without the system catalogs of their database.
///
/// Fails closed. Counted as writes: functions that are not built in, truncated texts, texts with a backslash
/// (ambiguous), and statements that change the meaning of others (transaction control, settings). A view counts as a
/// table, so writes by functions in a view are not detected.
pub(super) struct Reads {
    classifier: Classifier,
    knowledge: SchemaInfo,
}

/// Assumed lexical settings of a client; see [`Reads::only_reads`].
const MEANING: LexicalSettings = LexicalSettings { standard_strings: true, utf8: true };

impl Reads {
    /// An empty cache.
    pub(super) fn new() -> Self {
        Self { classifier: Classifier::new(&ClassifierOptions::default()), knowledge: SchemaInfo::assumed() }
    }

    /// True if a statement with this text only reads. `cut` marks a truncated text.
    pub(super) fn only_reads(&self, text: &[u8], cut: bool) -> bool {
        if cut || text.contains(&b'\\') {
            return false;
        }
        let classification = self.classifier.classify(text, &MEANING, &self.knowledge);
        classification.access == StatementAccess::Read
            && matches!(classification.reason, ClassifyReason::Read | ClassifyReason::ServerState)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_sure_to_read_is_left_out() {
        let reads = Reads::new();
        for text in [
            "SELECT 1",
            "SELECT * FROM t WHERE id = 'x'",
            "TABLE t",
            "SELECT now()",
            "SELECT * FROM pg_locks",
        ] {
            assert!(reads.only_reads(text.as_bytes(), false), "{text}");
        }
        for text in [
            "INSERT INTO t VALUES (1)",
            "WITH d AS (DELETE FROM t RETURNING 1) SELECT * FROM d",
            "SELECT 1; DELETE FROM t",
            "SELECT * FROM t FOR UPDATE",
            "SELECT nextval('s')",
            "SELECT mine(1)",
            "SELECT 1 INTO t",
            "BEGIN",
            "COMMIT",
            "SET ROLE joe",
            "EXECUTE p",
            "COPY t FROM STDIN",
            "DO $$ BEGIN END $$",
            "SELECT '\\'' ; DELETE FROM t --'",
            "SELEC",
        ] {
            assert!(!reads.only_reads(text.as_bytes(), false), "{text}");
        }
        assert!(!reads.only_reads(b"SELECT 1", true), "what follows may write");
    }
}
