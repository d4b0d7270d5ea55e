//! The constructors and query functions of SQL/JSON in a query's tree.

use pg_query::protobuf::{
    JsonAggConstructor, JsonBehavior, JsonKeyValue, JsonOutput, JsonTable, JsonTableColumn, JsonValueExpr,
    node::Node as Kind,
};

use super::reference_checker::ReferenceChecker;

impl ReferenceChecker<'_> {
    /// Visits `kind` if the node belongs to SQL/JSON; `false` otherwise.
    pub(super) fn visit_json(&mut self, kind: &Kind) -> bool {
        match kind {
            Kind::JsonValueExpr(value) => self.json_value(Some(value)),
            Kind::JsonKeyValue(pair) => self.json_pair(Some(pair)),
            Kind::JsonArgument(argument) => self.json_value(argument.val.as_deref()),
            Kind::JsonOutput(output) => self.json_output(Some(output)),
            Kind::JsonIsPredicate(test) => self.visit_optional_nodes(test.expr.as_deref()),
            Kind::JsonBehavior(behavior) => self.json_behavior(Some(behavior)),
            Kind::JsonFuncExpr(function) => {
                self.json_value(function.context_item.as_deref());
                self.visit_optional_nodes(function.pathspec.as_deref());
                self.visit_nodes(&function.passing);
                self.json_output(function.output.as_ref());
                self.json_behavior(function.on_empty.as_deref());
                self.json_behavior(function.on_error.as_deref());
            }
            Kind::JsonParseExpr(parse) => {
                self.json_value(parse.expr.as_deref());
                self.json_output(parse.output.as_ref());
            }
            Kind::JsonScalarExpr(scalar) => {
                self.visit_optional_nodes(scalar.expr.as_deref());
                self.json_output(scalar.output.as_ref());
            }
            Kind::JsonSerializeExpr(serialize) => {
                self.json_value(serialize.expr.as_deref());
                self.json_output(serialize.output.as_ref());
            }
            Kind::JsonObjectConstructor(object) => {
                self.visit_nodes(&object.exprs);
                self.json_output(object.output.as_ref());
            }
            Kind::JsonArrayConstructor(array) => {
                self.visit_nodes(&array.exprs);
                self.json_output(array.output.as_ref());
            }
            Kind::JsonArrayQueryConstructor(array) => {
                self.visit_optional_nodes(array.query.as_deref());
                self.json_output(array.output.as_ref());
            }
            Kind::JsonObjectAgg(aggregate) => {
                self.json_aggregate(aggregate.constructor.as_deref());
                self.json_pair(aggregate.arg.as_deref());
            }
            Kind::JsonArrayAgg(aggregate) => {
                self.json_aggregate(aggregate.constructor.as_deref());
                self.json_value(aggregate.arg.as_deref());
            }
            Kind::JsonTable(table) => self.json_table(table),
            Kind::JsonTableColumn(column) => self.json_column(column),
            _ => return false,
        }
        true
    }

    fn json_value(&mut self, value: Option<&JsonValueExpr>) {
        let Some(JsonValueExpr { raw_expr, formatted_expr, format: _ }) = value else { return };
        self.visit_optional_nodes(raw_expr.as_deref());
        self.visit_optional_nodes(formatted_expr.as_deref());
    }

    fn json_pair(&mut self, pair: Option<&JsonKeyValue>) {
        let Some(JsonKeyValue { key, value }) = pair else { return };
        self.visit_optional_nodes(key.as_deref());
        self.json_value(value.as_deref());
    }

    fn json_output(&mut self, output: Option<&JsonOutput>) {
        self.type_name(output.and_then(|output| output.type_name.as_ref()));
    }

    fn json_behavior(&mut self, behavior: Option<&JsonBehavior>) {
        self.visit_optional_nodes(behavior.and_then(|behavior| behavior.expr.as_deref()));
    }

    fn json_aggregate(&mut self, aggregate: Option<&JsonAggConstructor>) {
        let Some(JsonAggConstructor { output, agg_filter, agg_order, over, location: _ }) = aggregate else {
            return;
        };
        self.json_output(output.as_ref());
        self.visit_optional_nodes(agg_filter.as_deref());
        self.visit_nodes(agg_order);
        if let Some(window) = over {
            self.visit_window(window);
        }
    }

    fn json_table(&mut self, table: &JsonTable) {
        self.json_value(table.context_item.as_deref());
        self.visit_optional_nodes(table.pathspec.as_ref().and_then(|path| path.string.as_deref()));
        self.visit_nodes(&table.passing);
        self.visit_nodes(&table.columns);
        self.json_behavior(table.on_error.as_deref());
    }

    fn json_column(&mut self, column: &JsonTableColumn) {
        self.type_name(column.type_name.as_ref());
        self.visit_optional_nodes(column.pathspec.as_ref().and_then(|path| path.string.as_deref()));
        self.visit_nodes(&column.columns);
        self.json_behavior(column.on_empty.as_deref());
        self.json_behavior(column.on_error.as_deref());
    }
}
