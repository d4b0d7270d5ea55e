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
    pub(super) fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.node(node);
        }
    }

    fn maybe(&mut self, node: Option<&Node>) {
        if let Some(node) = node {
            self.node(node);
        }
    }

    /// An expression, part of an expression, or item of FROM. Recurses to the depth of the tree, limited to 100 by the
    /// decoder.
    pub(super) fn node(&mut self, node: &Node) {
        let Some(kind) = &node.node else { return };
        match kind {
            Kind::SelectStmt(select) => self.select(select),
            Kind::InsertStmt(_) | Kind::UpdateStmt(_) | Kind::DeleteStmt(_) | Kind::MergeStmt(_) => {
                self.blame(ClassifyReason::Writes);
            }
            // Leaves.
            Kind::AConst(_)
            | Kind::ParamRef(_)
            | Kind::AStar(_)
            | Kind::String(_)
            | Kind::Integer(_)
            | Kind::Float(_)
            | Kind::Boolean(_)
            | Kind::BitString(_)
            | Kind::SetToDefault(_)
            | Kind::JsonTablePathSpec(_) => {}
            // As `current_schema()`.
            Kind::SqlvalueFunction(function) if function.op() == SqlValueFunctionOp::SvfopCurrentSchema => {
                self.blame(ClassifyReason::StandbyFunction);
            }
            Kind::SqlvalueFunction(_) => {}
            Kind::ColumnRef(column) => {
                if let [_, .., last] = &*column.fields
                    && let Some(name) = word(last)
                {
                    self.attribute(name);
                }
            }
            Kind::ResTarget(target) => {
                self.nodes(&target.indirection);
                self.maybe(target.val.as_deref());
            }
            Kind::List(list) => self.nodes(&list.items),
            Kind::AExpr(expression) => self.operation(expression),
            Kind::BoolExpr(expression) => self.nodes(&expression.args),
            Kind::FuncCall(call) => self.function(call),
            Kind::NamedArgExpr(argument) => self.maybe(argument.arg.as_deref()),
            Kind::TypeCast(cast) => {
                self.maybe(cast.arg.as_deref());
                self.type_name(cast.type_name.as_ref());
            }
            Kind::CollateClause(collate) => self.maybe(collate.arg.as_deref()),
            Kind::SubLink(link) => {
                self.maybe(link.testexpr.as_deref());
                match &*link.oper_name {
                    [] if link.testexpr.is_some() => self.hidden_operators(&["="]),
                    [] => {}
                    name => self.operator(name),
                }
                self.maybe(link.subselect.as_deref());
            }
            Kind::CaseExpr(case) => {
                if case.arg.is_some() {
                    self.hidden_operators(&["="]);
                }
                self.maybe(case.arg.as_deref());
                self.nodes(&case.args);
                self.maybe(case.defresult.as_deref());
            }
            Kind::CaseWhen(when) => {
                self.maybe(when.expr.as_deref());
                self.maybe(when.result.as_deref());
            }
            Kind::CoalesceExpr(coalesce) => self.nodes(&coalesce.args),
            Kind::MinMaxExpr(choice) => {
                self.hidden_operators(&["<", ">"]);
                self.nodes(&choice.args);
            }
            Kind::NullTest(test) => self.maybe(test.arg.as_deref()),
            Kind::BooleanTest(test) => self.maybe(test.arg.as_deref()),
            Kind::RowExpr(row) => self.nodes(&row.args),
            Kind::AArrayExpr(array) => self.nodes(&array.elements),
            Kind::AIndirection(indirection) => {
                self.maybe(indirection.arg.as_deref());
                for step in &indirection.indirection {
                    match word(step) {
                        Some(name) => self.attribute(name),
                        None => self.node(step),
                    }
                }
            }
            Kind::AIndices(indices) => {
                self.maybe(indices.lidx.as_deref());
                self.maybe(indices.uidx.as_deref());
            }
            Kind::GroupingFunc(grouping) => self.nodes(&grouping.args),
            Kind::GroupingSet(set) => self.nodes(&set.content),
            Kind::SortBy(sort) => self.sort(sort),
            Kind::WindowDef(window) => self.window(window),
            // FROM.
            Kind::RangeVar(relation) => self.range(relation),
            Kind::RangeSubselect(subselect) => {
                self.maybe(subselect.subquery.as_deref());
                self.alias(subselect.alias.as_ref());
            }
            Kind::RangeFunction(function) => {
                self.nodes(&function.functions);
                self.alias(function.alias.as_ref());
                self.nodes(&function.coldeflist);
            }
            Kind::ColumnDef(column) => self.type_name(column.type_name.as_ref()),
            Kind::RangeTableSample(sample) => {
                self.maybe(sample.relation.as_deref());
                self.call(&sample.method, None);
                self.nodes(&sample.args);
                self.maybe(sample.repeatable.as_deref());
            }
            Kind::RangeTableFunc(table) => self.xml_table(table),
            Kind::RangeTableFuncCol(column) => self.xml_column(column),
            Kind::JoinExpr(join) => self.join(join),
            Kind::XmlExpr(xml) => {
                self.nodes(&xml.named_args);
                self.nodes(&xml.args);
            }
            Kind::XmlSerialize(xml) => {
                self.maybe(xml.expr.as_deref());
                self.type_name(xml.type_name.as_ref());
            }
            other => {
                if !self.json(other) {
                    self.blame(ClassifyReason::Uncovered);
                }
            }
        }
    }

    pub(super) fn select(&mut self, select: &SelectStmt) {
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
            self.with(with);
        }
        if into_clause.is_some() {
            self.blame(ClassifyReason::Writes);
        }
        if !locking_clause.is_empty() {
            self.blame(ClassifyReason::Locks);
        }
        if !distinct_clause.is_empty() || !group_clause.is_empty() || (larg.is_some() && !all) {
            self.hidden_operators(&["=", "<", ">"]);
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
            self.nodes(nodes);
        }
        for node in [where_clause, having_clause, limit_offset, limit_count] {
            self.maybe(node.as_deref());
        }
        for side in [larg, rarg].into_iter().flatten() {
            self.select(side);
        }
    }

    pub(super) fn with(&mut self, with: &WithClause) {
        let WithClause { ctes, recursive: _, location: _ } = with;
        // Each query may use later queries.
        for node in ctes {
            if let Some(Kind::CommonTableExpr(query)) = &node.node {
                self.queries.push(query.ctename.clone());
            }
        }
        for node in ctes {
            match &node.node {
                Some(Kind::CommonTableExpr(query)) => self.common(query),
                _ => self.blame(ClassifyReason::Uncovered),
            }
        }
    }

    fn common(&mut self, query: &CommonTableExpr) {
        self.maybe(query.ctequery.as_deref());
        if let Some(CteSearchClause { search_col_list, .. }) = &query.search_clause {
            self.nodes(search_col_list);
        }
        if let Some(cycle) = &query.cycle_clause {
            let CteCycleClause { cycle_col_list, cycle_mark_value, cycle_mark_default, .. } = &**cycle;
            self.hidden_operators(&["=", "<>"]);
            self.nodes(cycle_col_list);
            self.maybe(cycle_mark_value.as_deref());
            self.maybe(cycle_mark_default.as_deref());
        }
    }

    fn operation(&mut self, expression: &AExpr) {
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
            | AExprKind::AexprNotBetweenSym => self.hidden_operators(&["<", "<=", ">", ">="]),
            AExprKind::Undefined => self.blame(ClassifyReason::Uncovered),
        }
        self.maybe(expression.lexpr.as_deref());
        self.maybe(expression.rexpr.as_deref());
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
        match arguments::decided(call) {
            Some(Some(reason)) => {
                self.call(funcname, counted);
                self.blame(reason);
            }
            Some(None) => self.harmless_call(funcname),
            None => self.call(funcname, counted),
        }
        if *agg_distinct {
            self.hidden_operators(&["=", "<", ">"]);
        }
        self.nodes(args);
        self.nodes(agg_order);
        self.maybe(agg_filter.as_deref());
        if let Some(window) = over {
            self.window(window);
        }
    }

    fn sort(&mut self, sort: &SortBy) {
        match &*sort.use_op {
            [] => self.hidden_operators(&["<", ">", "="]),
            operator => self.operator(operator),
        }
        self.maybe(sort.node.as_deref());
    }

    pub(super) fn window(&mut self, window: &WindowDef) {
        if !window.partition_clause.is_empty() {
            self.hidden_operators(&["=", "<"]);
        }
        self.nodes(&window.partition_clause);
        self.nodes(&window.order_clause);
        self.maybe(window.start_offset.as_deref());
        self.maybe(window.end_offset.as_deref());
    }

    pub(super) fn range(&mut self, relation: &RangeVar) {
        self.relation(&relation.schemaname, &relation.relname);
        self.alias(relation.alias.as_ref());
    }

    fn join(&mut self, join: &JoinExpr) {
        if join.is_natural || !join.using_clause.is_empty() {
            self.hidden_operators(&["="]);
        }
        self.maybe(join.larg.as_deref());
        self.maybe(join.rarg.as_deref());
        self.maybe(join.quals.as_deref());
        self.alias(join.alias.as_ref());
    }

    /// Column names contain no code.
    fn alias(&mut self, alias: Option<&Alias>) {
        if let Some(Alias { aliasname: _, colnames }) = alias {
            self.nodes(colnames);
        }
    }

    pub(super) fn type_name(&mut self, name: Option<&TypeName>) {
        let Some(TypeName { names, typmods, pct_type, .. }) = name else { return };
        if *pct_type {
            // The type of a column, which may be any.
            return self.blame(ClassifyReason::Uncovered);
        }
        self.kind(names);
        self.nodes(typmods);
    }

    fn xml_table(&mut self, table: &RangeTableFunc) {
        self.maybe(table.docexpr.as_deref());
        self.maybe(table.rowexpr.as_deref());
        self.nodes(&table.namespaces);
        self.nodes(&table.columns);
        self.alias(table.alias.as_ref());
    }

    fn xml_column(&mut self, column: &RangeTableFuncCol) {
        self.type_name(column.type_name.as_ref());
        self.maybe(column.colexpr.as_deref());
        self.maybe(column.coldefexpr.as_deref());
    }

    pub(super) fn optional(&mut self, node: Option<&Node>) {
        self.maybe(node);
    }
}
