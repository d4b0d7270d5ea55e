//! What names in a text come down to: the worst ground so far, and what was found on the way.

use pg_query::protobuf::{Node, node::Node as Kind};

use super::{ClassifyReason, SchemaInfo, schema_info::Found};

/// The names that a text uses, as written, for people.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ReferenceList {
    /// What it calls.
    pub functions: Vec<String>,
    /// What it reads or writes; names of its own WITH queries are not among them.
    pub relations: Vec<String>,
    /// Operators that PostgreSQL does not have.
    pub operators: Vec<String>,
    /// Types that PostgreSQL does not have.
    pub types: Vec<String>,
}

/// A judgement under way.
pub(super) struct ReferenceChecker<'k> {
    pub(super) schema_info: &'k SchemaInfo,
    primary_only: &'k [(Option<String>, String)],
    reason: ClassifyReason,
    /// The names of WITH queries, wherever they stand.
    pub(super) queries: Vec<String>,
    findings: Option<&'k mut ReferenceList>,
}

impl<'k> ReferenceChecker<'k> {
    pub(super) fn new(
        schema_info: &'k SchemaInfo,
        primary_only: &'k [(Option<String>, String)],
        findings: Option<&'k mut ReferenceList>,
    ) -> Self {
        Self { schema_info, primary_only, reason: ClassifyReason::Read, queries: Vec::new(), findings }
    }

    /// The worst ground so far.
    pub(super) fn reason(&self) -> ClassifyReason {
        self.reason
    }

    /// The text stays on the primary on this ground too.
    pub(super) fn blame(&mut self, reason: ClassifyReason) {
        self.reason = self.reason.max(reason);
    }

    /// A call of a function with so many arguments, if they can be counted.
    pub(super) fn call(&mut self, name: &[Node], arguments: Option<usize>) {
        let Some((schema, name)) = qualified(name) else { return self.blame(ClassifyReason::Uncovered) };
        self.note(schema, name, |findings| &mut findings.functions);
        let found = self.schema_info.function(schema, name, arguments);
        self.found(found, ClassifyReason::UnknownFunction);
    }

    /// A call that its arguments make harmless, if PostgreSQL's own function is meant.
    pub(super) fn harmless_call(&mut self, name: &[Node]) {
        let Some((schema, name)) = qualified(name) else { return self.blame(ClassifyReason::Uncovered) };
        self.note(schema, name, |findings| &mut findings.functions);
        if schema.is_none() && self.schema_info.functions.contains_key(name) {
            self.blame(ClassifyReason::VolatileFunction);
        }
    }

    pub(super) fn operator(&mut self, name: &[Node]) {
        let Some((schema, name)) = qualified(name) else { return self.blame(ClassifyReason::Uncovered) };
        let found = self.schema_info.operator(schema, name);
        if found != Found::Safe {
            self.note(schema, name, |findings| &mut findings.operators);
        }
        self.found(found, ClassifyReason::UnknownFunction);
    }

    /// An operator that the grammar or the executor puts in.
    pub(super) fn hidden_operators(&mut self, names: &[&str]) {
        for name in names {
            let found = self.schema_info.operator(None, name);
            self.found(found, ClassifyReason::UnknownFunction);
        }
    }

    /// A cast to a type.
    pub(super) fn kind(&mut self, name: &[Node]) {
        let Some((schema, name)) = qualified(name) else { return self.blame(ClassifyReason::Uncovered) };
        let found = self.schema_info.kind(schema, name);
        if schema != Some("pg_catalog") || found != Found::Safe {
            self.note(schema, name, |findings| &mut findings.types);
        }
        self.found(found, ClassifyReason::UnknownRelation);
    }

    /// A relation that is read.
    pub(super) fn relation(&mut self, schema: &str, name: &str) {
        let schema = (!schema.is_empty()).then_some(schema);
        // A schema that is not said could be any.
        let is_meant = |listed: &Option<String>| match (listed, schema) {
            (Some(listed), Some(schema)) => listed == schema,
            _ => true,
        };
        if self.primary_only.iter().any(|(of, listed)| listed == name && is_meant(of)) {
            self.blame(ClassifyReason::PrimaryOnly);
        }
        let found = match schema {
            Some(schema) if schema.starts_with("pg_temp") || schema.starts_with("pg_toast_temp") => {
                Found::Unsafe(ClassifyReason::Temporary)
            }
            _ => self.schema_info.relation(schema, name),
        };
        // A WITH query of that name may be meant, or not: where it stands does not count.
        if found == Found::Nothing && schema.is_none() && self.queries.iter().any(|query| query == name) {
            return;
        }
        if schema.is_some() || !self.queries.iter().any(|query| query == name) {
            self.note(schema, name, |findings| &mut findings.relations);
        }
        self.found(found, ClassifyReason::UnknownRelation);
    }

    /// `(row).name` or `table.name`, which may be another way to write a call.
    pub(super) fn attribute(&mut self, name: &str) {
        if let Some(reason) = self.schema_info.attribute(name) {
            self.note(None, name, |findings| &mut findings.functions);
            self.blame(reason);
        }
    }

    fn found(&mut self, found: Found, unknown: ClassifyReason) {
        if let Some(reason) = found.reason(unknown) {
            self.blame(reason);
        }
    }

    fn note(&mut self, schema: Option<&str>, name: &str, list: fn(&mut ReferenceList) -> &mut Vec<String>) {
        let Some(findings) = &mut self.findings else { return };
        let list = list(findings);
        let name = schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"));
        if !list.contains(&name) {
            list.push(name);
        }
    }
}

/// Schema and name; a database's name in front does not count. `None` if it is no such name.
pub(super) fn qualified(parts: &[Node]) -> Option<(Option<&str>, &str)> {
    match parts {
        [name] => Some((None, word(name)?)),
        [schema, name] | [_, schema, name] => Some((Some(word(schema)?), word(name)?)),
        _ => None,
    }
}

/// The text of a node that is a name.
pub(super) fn word(node: &Node) -> Option<&str> {
    match &node.node {
        Some(Kind::String(string)) => Some(&string.sval),
        _ => None,
    }
}
