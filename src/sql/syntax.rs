//! Visits the trees of statements: effect of each statement, and transaction control of the whole text.

use pg_query::protobuf::{
    AConst, CopyStmt, DefElem, Node, RawStmt, TransactionStmt, TransactionStmtKind, VariableSetStmt,
    a_const::Val, node::Node as Kind,
};

use super::{
    Classification, ClassifyReason, StatementAccess, TransactionControl, TransactionModes,
    reference_checker::ReferenceChecker, transaction_steps::Step,
};

impl ReferenceChecker<'_> {
    /// Judges all statements of a text together.
    pub(super) fn text(mut self, statements: &[RawStmt]) -> Classification {
        let steps: Vec<Step> = statements
            .iter()
            .filter_map(|raw| raw.stmt.as_ref()?.node.as_ref())
            .map(|kind| self.statement(kind))
            .collect();
        let control = Step::combine_steps(&steps);
        let ends = !matches!(control, TransactionControl::Whole(_));
        if ends && steps.contains(&Step::Local) {
            self.add_reason(ClassifyReason::SessionState);
        }
        // True if a read-only transaction begins or ends in the text, or a transaction that may write.
        let doubtful = match control {
            TransactionControl::None => false,
            TransactionControl::Begin(modes) | TransactionControl::SetTransaction(modes) => {
                self.add_reason(ClassifyReason::Transaction);
                modes.read_only == Some(false)
            }
            TransactionControl::Commit { .. }
            | TransactionControl::Rollback { .. }
            | TransactionControl::Savepoint => {
                self.add_reason(ClassifyReason::Transaction);
                false
            }
            TransactionControl::Whole(modes) => {
                let reads = modes.read_only == Some(true);
                if !reads {
                    self.add_reason(ClassifyReason::Transaction);
                }
                !reads
            }
            TransactionControl::Mixed => {
                self.add_reason(ClassifyReason::Transaction);
                true
            }
        };
        if steps.iter().any(|step| step.modes().is_some_and(|modes| modes.serializable == Some(true))) {
            self.add_reason(ClassifyReason::Serializable);
        }
        let reason = self.reason();
        let access = if doubtful { reason.access().max(StatementAccess::Unproven) } else { reason.access() };
        Classification { access, reason, control, hint: None }
    }

    fn statement(&mut self, kind: &Kind) -> Step {
        match kind {
            Kind::SelectStmt(select) => self.visit_select(select),
            Kind::InsertStmt(_) | Kind::UpdateStmt(_) | Kind::DeleteStmt(_) | Kind::MergeStmt(_) => {
                self.visit_written(kind);
            }
            Kind::ExplainStmt(explain) => {
                if let Some(kind) = explain.query.as_ref().and_then(|node| node.node.as_ref()) {
                    self.visit_explained(kind);
                }
            }
            Kind::CopyStmt(copy) => self.visit_copy(copy),
            Kind::TransactionStmt(control) => return self.control(control),
            Kind::VariableSetStmt(set) => return self.set(set),
            Kind::DeclareCursorStmt(cursor) => {
                self.visit_optional_nodes(cursor.query.as_deref());
                if cursor.options & HOLD == 0 {
                    return Step::Local;
                }
                self.add_reason(ClassifyReason::SessionState);
            }
            Kind::ExecuteStmt(execute) => {
                self.visit_nodes(&execute.params);
                self.add_reason(ClassifyReason::Named);
            }
            Kind::FetchStmt(_) => self.add_reason(ClassifyReason::Named),
            // The statement of a PREPARE has no effect before EXECUTE.
            Kind::VariableShowStmt(_)
            | Kind::PrepareStmt(_)
            | Kind::DeallocateStmt(_)
            | Kind::DiscardStmt(_)
            | Kind::ClosePortalStmt(_)
            | Kind::UnlistenStmt(_)
            | Kind::LoadStmt(_)
            | Kind::ConstraintsSetStmt(_) => self.add_reason(ClassifyReason::SessionState),
            Kind::LockStmt(_) => self.add_reason(ClassifyReason::Locks),
            Kind::ListenStmt(_)
            | Kind::NotifyStmt(_)
            | Kind::CallStmt(_)
            | Kind::DoStmt(_)
            | Kind::VacuumStmt(_)
            | Kind::ClusterStmt(_)
            | Kind::ReindexStmt(_)
            | Kind::CheckPointStmt(_)
            | Kind::RefreshMatViewStmt(_) => self.add_reason(ClassifyReason::Utility),
            _ => self.add_reason(ClassifyReason::Ddl),
        }
        Step::Plain
    }

    /// EXPLAIN of a write goes where the write goes: ANALYZE may be on.
    fn visit_explained(&mut self, kind: &Kind) {
        match kind {
            Kind::DeclareCursorStmt(cursor) => self.visit_optional_nodes(cursor.query.as_deref()),
            kind => {
                self.statement(kind);
            }
        }
    }

    /// The relation is only noted.
    fn visit_written(&mut self, kind: &Kind) {
        let relation = match kind {
            Kind::InsertStmt(insert) => insert.relation.as_ref(),
            Kind::UpdateStmt(update) => update.relation.as_ref(),
            Kind::DeleteStmt(delete) => delete.relation.as_ref(),
            Kind::MergeStmt(merge) => merge.relation.as_ref(),
            _ => None,
        };
        if let Some(relation) = relation {
            self.visit_range(relation);
        }
        self.add_reason(ClassifyReason::Writes);
    }

    fn visit_copy(&mut self, copy: &CopyStmt) {
        if let Some(relation) = &copy.relation {
            self.visit_range(relation);
        }
        if copy.is_from {
            self.add_reason(ClassifyReason::Writes);
        }
        if copy.is_program || !copy.filename.is_empty() {
            self.add_reason(ClassifyReason::ServerFile);
        }
        self.visit_optional_nodes(copy.query.as_deref());
        self.visit_optional_nodes(copy.where_clause.as_deref());
    }

    fn control(&mut self, control: &TransactionStmt) -> Step {
        use TransactionStmtKind::{
            TransStmtBegin, TransStmtCommit, TransStmtRelease, TransStmtRollback, TransStmtRollbackTo,
            TransStmtSavepoint, TransStmtStart,
        };
        match control.kind() {
            TransStmtBegin | TransStmtStart => Step::Begin(parse_modes(&control.options)),
            TransStmtCommit => Step::Commit { chain: control.chain },
            TransStmtRollback => Step::Rollback { chain: control.chain },
            TransStmtSavepoint | TransStmtRelease | TransStmtRollbackTo => Step::Savepoint,
            // Two-phase commit.
            _ => {
                self.add_reason(ClassifyReason::Utility);
                Step::Other
            }
        }
    }

    fn set(&mut self, set: &VariableSetStmt) -> Step {
        match &*set.name {
            "TRANSACTION" => Step::SetTransaction(parse_modes(&set.args)),
            // A snapshot exported by another session of the same server.
            "TRANSACTION SNAPSHOT" => {
                self.add_reason(ClassifyReason::StandbyFunction);
                Step::Other
            }
            // `transaction_read_only` and similar settings: equivalent to SET TRANSACTION.
            name if starts_with(name, "transaction_") => {
                self.add_reason(ClassifyReason::Transaction);
                Step::Other
            }
            _ if set.is_local => Step::Local,
            _ => {
                self.add_reason(ClassifyReason::SessionState);
                Step::Plain
            }
        }
    }
}

/// `CURSOR_OPT_HOLD` of PostgreSQL's `parsenodes.h`.
const HOLD: i32 = 0x20;

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|front| front.eq_ignore_ascii_case(prefix))
}

/// The modes in the options of BEGIN or SET TRANSACTION.
fn parse_modes(options: &[Node]) -> TransactionModes {
    let mut modes = TransactionModes::default();
    for option in options {
        let Some(Kind::DefElem(option)) = &option.node else { continue };
        match &*option.defname {
            "transaction_read_only" => modes.read_only = Some(!is_zero(option)),
            "transaction_isolation" => modes.serializable = Some(is_serializable(option)),
            _ => {}
        }
    }
    modes
}

fn option_value(option: &DefElem) -> Option<&Val> {
    match option.arg.as_ref()?.node.as_ref()? {
        Kind::AConst(AConst { val, .. }) => val.as_ref(),
        _ => None,
    }
}

/// READ WRITE; an unreadable value counts as READ WRITE.
fn is_zero(option: &DefElem) -> bool {
    !matches!(option_value(option), Some(Val::Ival(number)) if number.ival != 0)
}

fn is_serializable(option: &DefElem) -> bool {
    !matches!(option_value(option), Some(Val::Sval(level)) if !level.sval.eq_ignore_ascii_case("serializable"))
}
