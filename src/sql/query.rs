//! Visits the whole tree of a query: unlisted nodes keep the text on the primary.

use pg_query::protobuf::{
    AExpr, AExprKind, Alias, CommonTableExpr, CteCycleClause, CteSearchClause, FuncCall, JoinExpr, Node,
    RangeTableFunc, RangeTableFuncCol, RangeVar, SelectStmt, SortBy, SqlValueFunctionOp, TypeName, WindowDef,
    WithClause, node::Node as Kind,
};

use super::{
    ClassifyReason, arguments,
    reference_checker::{ReferenceChecker, word},
};

impl ReferenceChecker<'_> {
    pub(super) fn visit_nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.visit_node(node);
        }
    }

    fn visit_optional(&mut self, node: Option<&Node>) {
        if let Some(node) = node {
            self.visit_node(node);
        }
    }

    /// An expression, part of an expression, or item of FROM. Recurses to the depth of the tree, limited to 100 by the
    /// decoder.
    pub(super) fn visit_node(&mut self, node: &Node) {
        let Some(kind) = &node.node else { return };
        let is_covered = is_leaf(kind)
            || self.visit_expression(kind)
            || self.visit_construct(kind)
            || self.visit_clause(kind)
            || self.visit_from_item(kind)
            || self.visit_json(kind);
        if !is_covered {
            self.add_reason(ClassifyReason::Uncovered);
        }
    }

    /// Visits `kind` if the node is a reference, an operation, a call or a conversion; `false` otherwise.
    fn visit_expression(&mut self, kind: &Kind) -> bool {
        match kind {
            Kind::ColumnRef(column) => {
                if let [_, .., last] = &*column.fields
                    && let Some(name) = word(last)
                {
                    self.check_attribute(name);
                }
            }
            Kind::AIndirection(indirection) => {
                self.visit_optional(indirection.arg.as_deref());
                for step in &indirection.indirection {
                    match word(step) {
                        Some(name) => self.check_attribute(name),
                        None => self.visit_node(step),
                    }
                }
            }
            Kind::AIndices(indices) => {
                self.visit_optional(indices.lidx.as_deref());
                self.visit_optional(indices.uidx.as_deref());
            }
            Kind::AExpr(expression) => self.visit_operation(expression),
            Kind::BoolExpr(expression) => self.visit_nodes(&expression.args),
            Kind::NullTest(test) => self.visit_optional(test.arg.as_deref()),
            Kind::BooleanTest(test) => self.visit_optional(test.arg.as_deref()),
            Kind::FuncCall(call) => self.function(call),
            Kind::NamedArgExpr(argument) => self.visit_optional(argument.arg.as_deref()),
            Kind::SqlvalueFunction(function) => {
                // As `current_schema()`.
                if function.op() == SqlValueFunctionOp::SvfopCurrentSchema {
                    self.add_reason(ClassifyReason::StandbyFunction);
                }
            }
            Kind::TypeCast(cast) => {
                self.visit_optional(cast.arg.as_deref());
                self.type_name(cast.type_name.as_ref());
            }
            Kind::CollateClause(collate) => self.visit_optional(collate.arg.as_deref()),
            _ => return false,
        }
        true
    }

    /// Visits `kind` if the node has syntax of its own: CASE, a subquery, GREATEST, a row, an array, XML; `false` otherwise.
    fn visit_construct(&mut self, kind: &Kind) -> bool {
        match kind {
            Kind::SubLink(link) => {
                self.visit_optional(link.testexpr.as_deref());
                match &*link.oper_name {
                    [] if link.testexpr.is_some() => self.check_hidden_operators(&["="]),
                    [] => {}
                    name => self.operator(name),
                }
                self.visit_optional(link.subselect.as_deref());
            }
            Kind::CaseExpr(case) => {
                if case.arg.is_some() {
                    self.check_hidden_operators(&["="]);
                }
                self.visit_optional(case.arg.as_deref());
                self.visit_nodes(&case.args);
                self.visit_optional(case.defresult.as_deref());
            }
            Kind::CaseWhen(when) => {
                self.visit_optional(when.expr.as_deref());
                self.visit_optional(when.result.as_deref());
            }
            Kind::CoalesceExpr(coalesce) => self.visit_nodes(&coalesce.args),
            Kind::MinMaxExpr(choice) => {
                self.check_hidden_operators(&["<", ">"]);
                self.visit_nodes(&choice.args);
            }
            Kind::RowExpr(row) => self.visit_nodes(&row.args),
            Kind::AArrayExpr(array) => self.visit_nodes(&array.elements),
            Kind::XmlExpr(xml) => {
                self.visit_nodes(&xml.named_args);
                self.visit_nodes(&xml.args);
            }
            Kind::XmlSerialize(xml) => {
                self.visit_optional(xml.expr.as_deref());
                self.type_name(xml.type_name.as_ref());
            }
            _ => return false,
        }
        true
    }

    /// Visits `kind` if the node is a statement or part of a clause other than FROM; `false` otherwise.
    fn visit_clause(&mut self, kind: &Kind) -> bool {
        match kind {
            Kind::SelectStmt(select) => self.visit_select(select),
            Kind::InsertStmt(_) | Kind::UpdateStmt(_) | Kind::DeleteStmt(_) | Kind::MergeStmt(_) => {
                self.add_reason(ClassifyReason::Writes);
            }
            Kind::ResTarget(target) => {
                self.visit_nodes(&target.indirection);
                self.visit_optional(target.val.as_deref());
            }
            Kind::List(list) => self.visit_nodes(&list.items),
            Kind::GroupingFunc(grouping) => self.visit_nodes(&grouping.args),
            Kind::GroupingSet(set) => self.visit_nodes(&set.content),
            Kind::SortBy(sort) => self.visit_sort(sort),
            Kind::WindowDef(window) => self.visit_window(window),
            _ => return false,
        }
        true
    }

    /// Visits `kind` if the node is an item of FROM, or part of an item; `false` otherwise.
    fn visit_from_item(&mut self, kind: &Kind) -> bool {
        match kind {
            Kind::RangeVar(relation) => self.visit_range(relation),
            Kind::RangeSubselect(subselect) => {
                self.visit_optional(subselect.subquery.as_deref());
                self.visit_alias(subselect.alias.as_ref());
            }
            Kind::RangeFunction(function) => {
                self.visit_nodes(&function.functions);
                self.visit_alias(function.alias.as_ref());
                self.visit_nodes(&function.coldeflist);
            }
            Kind::ColumnDef(column) => self.type_name(column.type_name.as_ref()),
            Kind::RangeTableSample(sample) => {
                self.visit_optional(sample.relation.as_deref());
                self.call(&sample.method, None);
                self.visit_nodes(&sample.args);
                self.visit_optional(sample.repeatable.as_deref());
            }
            Kind::RangeTableFunc(table) => self.xml_table(table),
            Kind::RangeTableFuncCol(column) => self.xml_column(column),
            Kind::JoinExpr(join) => self.visit_join(join),
            _ => return false,
        }
        true
    }

    pub(super) fn visit_select(&mut self, select: &SelectStmt) {
        // Without `..`: additions of a newer grammar must be checked here.
        let SelectStmt {
            distinct_clause,
            into_clause,
            target_list,
            from_clause,
            where_clause,
            group_clause,
            group_distinct: _,
            having_clause,
            window_clause,
            values_lists,
            sort_clause,
            limit_offset,
            limit_count,
            limit_option: _,
            locking_clause,
            with_clause,
            op: _,
            all,
            larg,
            rarg,
        } = select;
        if let Some(with) = with_clause {
            self.visit_with(with);
        }
        if into_clause.is_some() {
            self.add_reason(ClassifyReason::Writes);
        }
        if !locking_clause.is_empty() {
            self.add_reason(ClassifyReason::Locks);
        }
        if !distinct_clause.is_empty() || !group_clause.is_empty() || (larg.is_some() && !all) {
            self.check_hidden_operators(&["=", "<", ">"]);
        }
        // DISTINCT without ON is a list with an empty node.
        for nodes in [
            distinct_clause,
            target_list,
            from_clause,
            group_clause,
            window_clause,
            values_lists,
            sort_clause,
        ] {
            self.visit_nodes(nodes);
        }
        for node in [where_clause, having_clause, limit_offset, limit_count] {
            self.visit_optional(node.as_deref());
        }
        for side in [larg, rarg].into_iter().flatten() {
            self.visit_select(side);
        }
    }

    pub(super) fn visit_with(&mut self, with: &WithClause) {
        let WithClause { ctes, recursive: _, location: _ } = with;
        // Each query may use later queries.
        for node in ctes {
            if let Some(Kind::CommonTableExpr(query)) = &node.node {
                self.queries.push(query.ctename.clone());
            }
        }
        for node in ctes {
            match &node.node {
                Some(Kind::CommonTableExpr(query)) => self.visit_common_table(query),
                _ => self.add_reason(ClassifyReason::Uncovered),
            }
        }
    }

    fn visit_common_table(&mut self, query: &CommonTableExpr) {
        self.visit_optional(query.ctequery.as_deref());
        if let Some(CteSearchClause { search_col_list, .. }) = &query.search_clause {
            self.visit_nodes(search_col_list);
        }
        if let Some(cycle) = &query.cycle_clause {
            let CteCycleClause { cycle_col_list, cycle_mark_value, cycle_mark_default, .. } = &**cycle;
            self.check_hidden_operators(&["=", "<>"]);
            self.visit_nodes(cycle_col_list);
            self.visit_optional(cycle_mark_value.as_deref());
            self.visit_optional(cycle_mark_default.as_deref());
        }
    }

    fn visit_operation(&mut self, expression: &AExpr) {
        match expression.kind() {
            AExprKind::AexprOp
            | AExprKind::AexprOpAny
            | AExprKind::AexprOpAll
            | AExprKind::AexprDistinct
            | AExprKind::AexprNotDistinct
            | AExprKind::AexprNullif
            | AExprKind::AexprIn
            | AExprKind::AexprLike
            | AExprKind::AexprIlike
            | AExprKind::AexprSimilar => self.operator(&expression.name),
            AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => self.check_hidden_operators(&["<", "<=", ">", ">="]),
            AExprKind::Undefined => self.add_reason(ClassifyReason::Uncovered),
        }
        self.visit_optional(expression.lexpr.as_deref());
        self.visit_optional(expression.rexpr.as_deref());
    }

    pub(super) fn function(&mut self, call: &FuncCall) {
        let FuncCall {
            funcname,
            args,
            agg_order,
            agg_filter,
            over,
            agg_within_group,
            agg_star: _,
            agg_distinct,
            func_variadic,
            funcformat: _,
            location: _,
        } = call;
        // Arguments of an ordered-set aggregate and the elements of a variadic array are not counted here.
        let counted = (!agg_within_group && !func_variadic).then_some(args.len());
        match arguments::classify_call(call) {
            Some(Some(reason)) => {
                self.call(funcname, counted);
                self.add_reason(reason);
            }
            Some(None) => self.check_harmless_call(funcname),
            None => self.call(funcname, counted),
        }
        if *agg_distinct {
            self.check_hidden_operators(&["=", "<", ">"]);
        }
        self.visit_nodes(args);
        self.visit_nodes(agg_order);
        self.visit_optional(agg_filter.as_deref());
        if let Some(window) = over {
            self.visit_window(window);
        }
    }

    fn visit_sort(&mut self, sort: &SortBy) {
        match &*sort.use_op {
            [] => self.check_hidden_operators(&["<", ">", "="]),
            operator => self.operator(operator),
        }
        self.visit_optional(sort.node.as_deref());
    }

    pub(super) fn visit_window(&mut self, window: &WindowDef) {
        if !window.partition_clause.is_empty() {
            self.check_hidden_operators(&["=", "<"]);
        }
        self.visit_nodes(&window.partition_clause);
        self.visit_nodes(&window.order_clause);
        self.visit_optional(window.start_offset.as_deref());
        self.visit_optional(window.end_offset.as_deref());
    }

    pub(super) fn visit_range(&mut self, relation: &RangeVar) {
        self.relation(&relation.schemaname, &relation.relname);
        self.visit_alias(relation.alias.as_ref());
    }

    fn visit_join(&mut self, join: &JoinExpr) {
        if join.is_natural || !join.using_clause.is_empty() {
            self.check_hidden_operators(&["="]);
        }
        self.visit_optional(join.larg.as_deref());
        self.visit_optional(join.rarg.as_deref());
        self.visit_optional(join.quals.as_deref());
        self.visit_alias(join.alias.as_ref());
    }

    /// Column names contain no code.
    fn visit_alias(&mut self, alias: Option<&Alias>) {
        if let Some(Alias { aliasname: _, colnames }) = alias {
            self.visit_nodes(colnames);
        }
    }

    pub(super) fn type_name(&mut self, name: Option<&TypeName>) {
        let Some(TypeName { names, typmods, pct_type, .. }) = name else { return };
        if *pct_type {
            // The type of a column, which may be any.
            return self.add_reason(ClassifyReason::Uncovered);
        }
        self.kind(names);
        self.visit_nodes(typmods);
    }

    fn xml_table(&mut self, table: &RangeTableFunc) {
        self.visit_optional(table.docexpr.as_deref());
        self.visit_optional(table.rowexpr.as_deref());
        self.visit_nodes(&table.namespaces);
        self.visit_nodes(&table.columns);
        self.visit_alias(table.alias.as_ref());
    }

    fn xml_column(&mut self, column: &RangeTableFuncCol) {
        self.type_name(column.type_name.as_ref());
        self.visit_optional(column.colexpr.as_deref());
        self.visit_optional(column.coldefexpr.as_deref());
    }

    pub(super) fn visit_optional_nodes(&mut self, node: Option<&Node>) {
        self.visit_optional(node);
    }
}

/// True if the node has no parts to visit.
const fn is_leaf(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::AConst(_)
            | Kind::ParamRef(_)
            | Kind::AStar(_)
            | Kind::String(_)
            | Kind::Integer(_)
            | Kind::Float(_)
            | Kind::Boolean(_)
            | Kind::BitString(_)
            | Kind::SetToDefault(_)
            | Kind::JsonTablePathSpec(_)
    )
}
