//! Which statements the level `writes` leaves out: those whose text says that they only read.

use crate::sql::{
    Classifier, ClassifierOptions, ClassifyReason, LexicalSettings, SchemaInfo, StatementAccess,
};

/// Judges statements by their text alone, without the catalogues of their database.
///
/// Fails closed: what is in doubt counts as a write (functions that are not built in, texts that were cut or have a backslash,
/// which may mean two things), and so does what decides how others count (transactions and settings). A view is taken for a
/// relation: what its functions write is not seen.
pub(super) struct Reads {
    classifier: Classifier,
    knowledge: SchemaInfo,
}

/// What a text means whose client may have said otherwise: see [`Reads::only_reads`].
const MEANING: LexicalSettings = LexicalSettings { standard_strings: true, utf8: true };

impl Reads {
    /// Nothing is remembered yet.
    pub(super) fn new() -> Self {
        Self { classifier: Classifier::new(&ClassifierOptions::default()), knowledge: SchemaInfo::assumed() }
    }

    /// Whether a statement with this text reads, and does nothing else. `cut` says that `text` is only the beginning of it.
    pub(super) fn only_reads(&self, text: &[u8], cut: bool) -> bool {
        if cut || text.contains(&b'\\') {
            return false;
        }
        let said = self.classifier.classify(text, &MEANING, &self.knowledge);
        said.access == StatementAccess::Read
            && matches!(said.reason, ClassifyReason::Read | ClassifyReason::ServerState)
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
