//! Why a text is judged as it is: a closed set.

use super::Access;

/// Why a text is judged as it is. Of several that apply the one is said that weighs most.
///
/// Only [`Ground::Read`] may leave the primary ([`Ground::may_leave_primary`]). The others keep their text there even
/// where its [`Access`] is [`Access::Read`]: what writes nothing raises no freshness floor, and still may need the session's
/// own backend or the writer's own state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Ground {
    /// It is proved to read nothing but what every node has.
    Read,
    /// It begins, sets or ends a transaction, and is not READ ONLY from its beginning to its end.
    Transaction,
    /// It sets, shows, prepares, declares or drops what belongs to the session.
    SessionState,
    /// It reads what each server has of its own: `pg_stat_activity`, `pg_settings`, `inet_server_addr()`, ….
    ServerState,
    /// It reads a relation that is listed as `primary_only`.
    PrimaryOnly,
    /// It reads a sequence, which runs ahead on a standby, or what the session's last `nextval` was.
    Sequence,
    /// It reads an unlogged relation, which is empty or refused on a standby.
    Unlogged,
    /// It reads a temporary relation.
    Temporary,
    /// It reads a foreign table: what stands behind it does not follow the primary.
    Foreign,
    /// It uses what an earlier statement named and said: `EXECUTE`, `FETCH`, `MOVE`.
    Named,
    /// It asks for SERIALIZABLE, which a standby does not have.
    Serializable,
    /// It calls a function that fails on a standby, or answers otherwise there, though it is not volatile.
    StandbyFunction,
    /// A view, a policy or a generated column of what it reads calls what may not leave the primary.
    Definition,
    /// It calls a volatile function, or an operator or a cast that resolves to one.
    VolatileFunction,
    /// It uses a relation or a type that is not known: the catalogues are to be read again.
    UnknownRelation,
    /// It calls a function or an operator that is not known: the catalogues are to be read again.
    UnknownFunction,
    /// Its octets cannot be read in the client's encoding.
    Encoding,
    /// The grammar refuses it.
    Unparsable,
    /// The grammar takes it, and it holds what this program does not know.
    Uncovered,
    /// It is too long to be judged.
    TooLong,
    /// It is nested too deep to be judged.
    TooDeep,
    /// The second parser reads it otherwise.
    ParsersDisagree,
    /// A standby refused it as a write before.
    LearnedWrite,
    /// It locks rows or tables, or takes an advisory lock.
    Locks,
    /// It reads or writes files or programs of the server.
    ServerFile,
    /// It is a command other than a query: maintenance, notification, two-phase commit, a procedure or block.
    Utility,
    /// It changes definitions, rights or settings of the database.
    Ddl,
    /// It changes rows.
    Writes,
}

impl Ground {
    /// All of them, from the lightest to the heaviest.
    pub const ALL: [Self; 28] = [
        Self::Read,
        Self::Transaction,
        Self::SessionState,
        Self::ServerState,
        Self::PrimaryOnly,
        Self::Sequence,
        Self::Unlogged,
        Self::Temporary,
        Self::Foreign,
        Self::Named,
        Self::Serializable,
        Self::StandbyFunction,
        Self::Definition,
        Self::VolatileFunction,
        Self::UnknownRelation,
        Self::UnknownFunction,
        Self::Encoding,
        Self::Unparsable,
        Self::Uncovered,
        Self::TooLong,
        Self::TooDeep,
        Self::ParsersDisagree,
        Self::LearnedWrite,
        Self::Locks,
        Self::ServerFile,
        Self::Utility,
        Self::Ddl,
        Self::Writes,
    ];

    /// As it is written in labels and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Transaction => "transaction",
            Self::SessionState => "session-state",
            Self::ServerState => "server-state",
            Self::Sequence => "sequence",
            Self::PrimaryOnly => "primary-only",
            Self::Unlogged => "unlogged",
            Self::Temporary => "temporary",
            Self::Foreign => "foreign",
            Self::Named => "named",
            Self::Serializable => "serializable",
            Self::StandbyFunction => "standby-function",
            Self::Definition => "definition",
            Self::VolatileFunction => "volatile-function",
            Self::UnknownRelation => "unknown-relation",
            Self::UnknownFunction => "unknown-function",
            Self::Encoding => "encoding",
            Self::Unparsable => "unparsable",
            Self::Uncovered => "uncovered",
            Self::TooLong => "too-long",
            Self::TooDeep => "too-deep",
            Self::ParsersDisagree => "parsers-disagree",
            Self::LearnedWrite => "learned-write",
            Self::Locks => "locks",
            Self::ServerFile => "server-file",
            Self::Utility => "utility",
            Self::Ddl => "ddl",
            Self::Writes => "writes",
        }
    }

    /// What a text may do that is judged on this ground alone.
    #[must_use]
    pub const fn access(self) -> Access {
        match self {
            Self::Read | Self::Transaction | Self::SessionState | Self::ServerState | Self::PrimaryOnly => {
                Access::Read
            }
            Self::Sequence
            | Self::Unlogged
            | Self::Temporary
            | Self::Foreign
            | Self::Named
            | Self::Serializable
            | Self::StandbyFunction
            | Self::Definition
            | Self::VolatileFunction
            | Self::UnknownRelation
            | Self::UnknownFunction
            | Self::Encoding
            | Self::Unparsable
            | Self::Uncovered
            | Self::TooLong
            | Self::TooDeep
            | Self::ParsersDisagree
            | Self::LearnedWrite => Access::Doubt,
            Self::Locks | Self::ServerFile | Self::Utility | Self::Ddl | Self::Writes => Access::Write,
        }
    }

    /// Whether a text that is judged on this ground may be sent to another node than the primary.
    #[must_use]
    pub const fn may_leave_primary(self) -> bool {
        matches!(self, Self::Read)
    }
}
