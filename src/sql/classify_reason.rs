//! Why a text is judged as it is: a closed set.

use super::StatementAccess;
use crate::closed_set::closed_set;

closed_set! {
    /// Why a text is judged as it is. Of several that apply the one is said that weighs most.
    ///
    /// Only [`ClassifyReason::Read`] may leave the primary ([`ClassifyReason::leaves_primary`]). The others keep their text there even
    /// where its [`StatementAccess`] is [`StatementAccess::Read`]: what writes nothing raises no freshness floor, and still may need the session's
    /// own backend or the writer's own state.
    #[derive(PartialOrd, Ord)]
    pub enum ClassifyReason(
        /// What a text may do that is judged on this ground alone.
        access: StatementAccess,
        /// True if a text of this ground may be sent to another node than the primary.
        leaves_primary: bool,
        /// True if a standby can serve the text, once the client has said that it only reads. What would write is refused by
        /// the writer, too; a standby might say it in other words.
        suits_read_only: bool,
        /// True if each server refuses the text in a READ ONLY transaction.
        fails_read_only: bool,
    ) {
        /// It is proved to read nothing but what every node has.
        Read = "read" { access: StatementAccess::Read, leaves_primary: true, suits_read_only: true, fails_read_only: false },
        /// It begins, sets or ends a transaction, and is not READ ONLY from its beginning to its end.
        Transaction = "transaction" { access: StatementAccess::Read, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// It sets, shows, prepares, declares or drops what belongs to the session.
        SessionState = "session-state" { access: StatementAccess::Read, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// It reads what each server has of its own: `pg_stat_activity`, `pg_settings`, `inet_server_addr()`, ….
        ServerState = "server-state" { access: StatementAccess::Read, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// It reads a relation that is listed as `primary_only`.
        PrimaryOnly = "primary-only" { access: StatementAccess::Read, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// It reads a sequence, which runs ahead on a standby, or what the session's last `nextval` was.
        Sequence = "sequence" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// It reads an unlogged relation, which is empty or refused on a standby.
        Unlogged = "unlogged" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// It reads a temporary relation.
        Temporary = "temporary" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// It reads a foreign table: what stands behind it does not follow the primary.
        Foreign = "foreign" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// It uses what an earlier statement named and said: `EXECUTE`, `FETCH`, `MOVE`.
        Named = "named" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// It asks for SERIALIZABLE, which a standby does not have.
        Serializable = "serializable" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// It calls a function that fails on a standby, or answers otherwise there, though it is not volatile.
        StandbyFunction = "standby-function" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// A view, a policy or a generated column of what it reads calls what may not leave the primary.
        Definition = "definition" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// It calls a volatile function, or an operator or a cast that resolves to one.
        VolatileFunction = "volatile-function" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// It uses a relation or a type that is not known: the catalogues are to be read again.
        UnknownRelation = "unknown-relation" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// It calls a function or an operator that is not known: the catalogues are to be read again.
        UnknownFunction = "unknown-function" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// Its bytes cannot be read in the client's encoding.
        Encoding = "encoding" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// The grammar refuses it.
        Unparsable = "unparsable" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// The grammar takes it, and it holds what this program does not know.
        Uncovered = "uncovered" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// It is too long to be judged.
        TooLong = "too-long" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// It is nested too deep to be judged.
        TooDeep = "too-deep" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// The second parser reads it otherwise.
        ParsersDisagree = "parsers-disagree" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: true, fails_read_only: false },
        /// A standby refused it as a write before.
        LearnedWrite = "learned-write" { access: StatementAccess::Unproven, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// It locks rows or tables, or takes an advisory lock.
        Locks = "locks" { access: StatementAccess::Write, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// It reads or writes files or programs of the server.
        ServerFile = "server-file" { access: StatementAccess::Write, leaves_primary: false, suits_read_only: false, fails_read_only: true },
        /// It is a command other than a query: maintenance, notification, two-phase commit, a procedure or block.
        Utility = "utility" { access: StatementAccess::Write, leaves_primary: false, suits_read_only: false, fails_read_only: false },
        /// It changes definitions, rights or settings of the database.
        Ddl = "ddl" { access: StatementAccess::Write, leaves_primary: false, suits_read_only: false, fails_read_only: true },
        /// It changes rows.
        Writes = "writes" { access: StatementAccess::Write, leaves_primary: false, suits_read_only: false, fails_read_only: true },
    }
}
