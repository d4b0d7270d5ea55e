//! Checks the names in a text: the weightiest reason so far, and the references found.

use pg_query::protobuf::{Node, node::Node as Kind};

use super::{ClassifyReason, SchemaInfo, schema_info::Found};

/// The names that a text uses, as written, for people.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ReferenceList {
    /// Called functions.
    pub functions: Vec<String>,
    /// Relations read or written, without names of WITH queries.
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
    /// Names of all WITH queries of the text.
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

    /// Adds a reason to stay on the primary.
    pub(super) fn add_reason(&mut self, reason: ClassifyReason) {
        self.reason = self.reason.max(reason);
    }

    /// Checks a call with the number of arguments, if known.
    pub(super) fn call(&mut self, name: &[Node], arguments: Option<usize>) {
        let Some((schema, name)) = qualified_name(name) else {
            return self.add_reason(ClassifyReason::Uncovered);
        };
        self.note_reference(schema, name, |findings| &mut findings.functions);
        let found = self.schema_info.function(schema, name, arguments);
        self.add_finding(found, ClassifyReason::UnknownFunction);
    }

    /// Checks a call that the arguments make harmless, provided that the name means the built-in function.
    pub(super) fn check_harmless_call(&mut self, name: &[Node]) {
        let Some((schema, name)) = qualified_name(name) else {
            return self.add_reason(ClassifyReason::Uncovered);
        };
        self.note_reference(schema, name, |findings| &mut findings.functions);
        if schema.is_none() && self.schema_info.functions.contains_key(name) {
            self.add_reason(ClassifyReason::VolatileFunction);
        }
    }

    pub(super) fn operator(&mut self, name: &[Node]) {
        let Some((schema, name)) = qualified_name(name) else {
            return self.add_reason(ClassifyReason::Uncovered);
        };
        let found = self.schema_info.operator(schema, name);
        if found != Found::Safe {
            self.note_reference(schema, name, |findings| &mut findings.operators);
        }
        self.add_finding(found, ClassifyReason::UnknownFunction);
    }

    /// An operator that the grammar or the executor puts in.
    pub(super) fn check_hidden_operators(&mut self, names: &[&str]) {
        for name in names {
            let found = self.schema_info.operator(None, name);
            self.add_finding(found, ClassifyReason::UnknownFunction);
        }
    }

    /// A cast to a type.
    pub(super) fn kind(&mut self, name: &[Node]) {
        let Some((schema, name)) = qualified_name(name) else {
            return self.add_reason(ClassifyReason::Uncovered);
        };
        let found = self.schema_info.kind(schema, name);
        if schema != Some("pg_catalog") || found != Found::Safe {
            self.note_reference(schema, name, |findings| &mut findings.types);
        }
        self.add_finding(found, ClassifyReason::UnknownRelation);
    }

    /// A relation that is read.
    pub(super) fn relation(&mut self, schema: &str, name: &str) {
        let schema = (!schema.is_empty()).then_some(schema);
        // A name without schema may be in any schema.
        let is_meant = |listed: &Option<String>| match (listed, schema) {
            (Some(listed), Some(schema)) => listed == schema,
            _ => true,
        };
        if self.primary_only.iter().any(|(of, listed)| listed == name && is_meant(of)) {
            self.add_reason(ClassifyReason::PrimaryOnly);
        }
        let found = match schema {
            Some(schema) if schema.starts_with("pg_temp") || schema.starts_with("pg_toast_temp") => {
                Found::Unsafe(ClassifyReason::Temporary)
            }
            _ => self.schema_info.relation(schema, name),
        };
        // The name may or may not mean the WITH query: scopes are not tracked.
        if found == Found::Nothing && schema.is_none() && self.queries.iter().any(|query| query == name) {
            return;
        }
        if schema.is_some() || !self.queries.iter().any(|query| query == name) {
            self.note_reference(schema, name, |findings| &mut findings.relations);
        }
        self.add_finding(found, ClassifyReason::UnknownRelation);
    }

    /// `(row).name` or `table.name`, which may be another way to write a call.
    pub(super) fn check_attribute(&mut self, name: &str) {
        if let Some(reason) = self.schema_info.attribute(name) {
            self.note_reference(None, name, |findings| &mut findings.functions);
            self.add_reason(reason);
        }
    }

    fn add_finding(&mut self, found: Found, unknown: ClassifyReason) {
        if let Some(reason) = found.reason(unknown) {
            self.add_reason(reason);
        }
    }

    fn note_reference(
        &mut self,
        schema: Option<&str>,
        name: &str,
        list: fn(&mut ReferenceList) -> &mut Vec<String>,
    ) {
        let Some(findings) = &mut self.findings else { return };
        let list = list(findings);
        let name = schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"));
        if !list.contains(&name) {
            list.push(name);
        }
    }
}

/// Schema and name, without a database name in front; `None` for other forms.
pub(super) fn qualified_name(parts: &[Node]) -> Option<(Option<&str>, &str)> {
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
