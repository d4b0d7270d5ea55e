//! Reasons of a classification: a closed set.

use super::StatementAccess;
use crate::closed_set::closed_set;

closed_set! {
    /// Reason of a classification. Of several reasons the weightiest is reported.
    ///
    /// Only texts with [`ClassifyReason::Read`] may leave the primary ([`ClassifyReason::leaves_primary`]). Other texts
    /// stay even with [`StatementAccess::Read`]: a text without writes raises no freshness floor, but may need the
    /// session's backend or the writer's state.
    #[derive(PartialOrd, Ord)]
    pub enum ClassifyReason(
        /// Access of a text with no other reason.
        access: StatementAccess,
        /// True if a text with the reason may run on a node other than the primary.
        leaves_primary: bool,
        /// True if a standby can serve the text once the client has declared a read-only transaction. The writer
        /// rejects writes, too; the error text of a standby may differ.
        suits_read_only: bool,
        /// True if each server refuses the text in a READ ONLY transaction.
        fails_read_only: bool,
    ) {
        /// Proven read of replicated data.
        Read = "read" { access: StatementAccess::Read, leaves_primary: true, suits_read_only: true, fails_read_only: false },
        /// Begins, sets or ends a transaction, and is not a whole READ ONLY transaction.
        Transaction = "transaction" { access: StatementAccess::Read, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Sets, shows, prepares, declares or drops session state.
        SessionState = "session-state" { access: StatementAccess::Read, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Reads the state of a server: `pg_stat_activity`, `pg_settings`, `inet_server_addr()`, ….
        ServerState = "server-state" { access: StatementAccess::Read, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// Reads a relation listed in `primary_only`.
        PrimaryOnly = "primary-only" { access: StatementAccess::Read, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// Reads a sequence, which runs ahead on a standby, or the session's last `nextval`.
        Sequence = "sequence" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// Reads an unlogged relation, which is empty or an error on a standby.
        Unlogged = "unlogged" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// Reads a temporary relation.
        Temporary = "temporary" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// Reads a foreign table, whose data does not follow the primary.
        Foreign = "foreign" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// Uses an object named by an earlier statement: `EXECUTE`, `FETCH`, `MOVE`.
        Named = "named" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Requests SERIALIZABLE, which standbys do not support.
        Serializable = "serializable" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// Calls a non-volatile function that fails or differs on a standby.
        StandbyFunction = "standby-function" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// Reads through a view, policy or generated column that calls a function tied to the primary.
        Definition = "definition" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Calls a volatile function, or an operator or cast with a volatile function.
        VolatileFunction = "volatile-function" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Uses an unknown relation or type: the catalogs should be read again.
        UnknownRelation = "unknown-relation" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Calls an unknown function or operator: the catalogs should be read again.
        UnknownFunction = "unknown-function" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Not decodable in the client's encoding.
        Encoding = "encoding" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Rejected by the grammar.
        Unparsable = "unparsable" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Accepted by the grammar, but with parts unknown to Gatekeeper.
        Uncovered = "uncovered" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Too long to classify.
        TooLong = "too-long" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Nested too deep to classify.
        TooDeep = "too-deep" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// The second parser disagrees.
        ParsersDisagree = "parsers-disagree" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Rejected as a write by a standby before.
        LearnedWrite = "learned-write" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// Locks rows or tables, or takes an advisory lock.
        Locks = "locks" { access: StatementAccess::Write, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// Reads or writes files or programs of the server.
        ServerFile = "server-file" { access: StatementAccess::Write, leaves_primary: false, suits_read_only: false, fails_read_only: true },
        /// Utility command: maintenance, notification, two-phase commit, a procedure or block.
        Utility = "utility" { access: StatementAccess::Write, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// Changes definitions, privileges or settings of the database.
        Ddl = "ddl" { access: StatementAccess::Write, leaves_primary: false, suits_read_only: false, fails_read_only: true },
        /// Changes rows.
        Writes = "writes" { access: StatementAccess::Write, leaves_primary: false, suits_read_only: false, fails_read_only: true },
    }
}
