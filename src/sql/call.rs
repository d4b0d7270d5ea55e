//! Which names of a text are called, and which calls are proved to leave nothing in the session.
//!
//! A call is a name in front of an opening parenthesis. Names of relations in front of a list of columns, and words of the
//! grammar, are not. Refuses to know: attribute notation (`(row).name`), operators and casts; their names count wherever
//! they are written.

use super::{Catalogue, Effects, built_in, lexer::Token, name_set::NAME_LENGTH};

/// Follows the tokens of a text up to each opening parenthesis.
#[derive(Default)]
pub(super) struct CallTracker<'a> {
    name: Option<Name<'a>>,
    relation: RelationName,
}

/// A name that an opening parenthesis may follow.
#[derive(Clone, Copy)]
struct Name<'a> {
    text: &'a [u8],
    schema: Option<&'a [u8]>,
    quoted: bool,
    /// A dot follows: the text is a schema's name.
    qualifies: bool,
}

/// Whether a relation is named here, which a list of columns may follow.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum RelationName {
    #[default]
    Absent,
    Follows,
    Present,
}

// === impl CallTracker ===

impl<'a> CallTracker<'a> {
    /// Takes the next token; the effects of the call that it completes.
    #[inline]
    pub(super) fn on_token(&mut self, token: Token<'a>, catalogue: &Catalogue) -> Effects {
        match token {
            Token::Word(word) => self.on_name(word, false),
            Token::Quoted(word) => self.on_name(word, true),
            Token::Symbol(b'.') => {
                if let Some(name) = &mut self.name {
                    name.qualifies = true;
                }
                if self.relation == RelationName::Present {
                    self.relation = RelationName::Follows;
                }
            }
            Token::Symbol(b'(') => {
                let called = self.name.take();
                let names_columns = std::mem::take(&mut self.relation) == RelationName::Present;
                return match called {
                    Some(name) if !names_columns && !name.qualifies => effects_of_call(&name, catalogue),
                    _ => Effects::NONE,
                };
            }
            _ => *self = Self::default(),
        }
        Effects::NONE
    }

    fn on_name(&mut self, text: &'a [u8], quoted: bool) {
        let schema = self.name.filter(|name| name.qualifies).map(|name| name.text);
        self.relation = match self.relation {
            RelationName::Follows => RelationName::Present,
            _ if !quoted && schema.is_none() && is_in(text, &BEFORE_A_RELATION) => RelationName::Follows,
            _ => RelationName::Absent,
        };
        self.name = Some(Name { text, schema, quoted, qualifies: false });
    }
}

/// The effects of calling the unquoted `name`: for scans that read no other tokens.
pub(super) fn effects_of_unquoted_call(text: &[u8], catalogue: &Catalogue) -> Effects {
    effects_of_call(&Name { text, schema: None, quoted: false, qualifies: false }, catalogue)
}

fn effects_of_call(name: &Name<'_>, catalogue: &Catalogue) -> Effects {
    if name.schema.is_none_or(|schema| schema.eq_ignore_ascii_case(b"pg_catalog")) {
        match built_in::leaves_nothing(name.text) {
            Some(true) => return Effects::NONE,
            Some(false) => return Effects::UNPROVED,
            None => {}
        }
    }
    let known = (!name.quoted && name.schema.is_none() && is_syntax(name.text))
        || catalogue.functions.contains(name.text);
    // A known function that is not proved has its name in `Catalogue::unproved`, which counts wherever it is written.
    if known { Effects::NONE } else { Effects::UNPROVED.union(Effects::UNKNOWN) }
}

fn is_syntax(word: &[u8]) -> bool {
    word.len() <= NAME_LENGTH && is_in(word, SYNTAX)
}

/// `words` are in lower case.
fn is_in(word: &[u8], words: &[&str]) -> bool {
    words.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word))
}

/// Words in front of the name of a relation or of a prepared statement, which a list in parentheses may follow. No function
/// call can follow them, but for `EXECUTE` in PL/pgSQL, which counts by itself.
const BEFORE_A_RELATION: [&str; 10] =
    ["into", "copy", "table", "as", "with", "recursive", "references", "analyze", "execute", "prepare"];

/// Words of SQL and PL/pgSQL that an opening parenthesis may follow, and that are not functions of `pg_proc`.
/// <https://www.postgresql.org/docs/current/sql-keywords-appendix.html>
const SYNTAX: &[&str] = &[
    "in",
    "values",
    "and",
    "or",
    "not",
    "as",
    "using",
    "on",
    "by",
    "over",
    "from",
    "where",
    "having",
    "select",
    "exists",
    "any",
    "all",
    "some",
    "array",
    "row",
    "rows",
    "when",
    "then",
    "else",
    "case",
    "coalesce",
    "greatest",
    "least",
    "nullif",
    "cast",
    "extract",
    "filter",
    "within",
    "group",
    "union",
    "except",
    "intersect",
    "distinct",
    "limit",
    "offset",
    "fetch",
    "set",
    "with",
    "materialized",
    "lateral",
    "join",
    "returning",
    "key",
    "check",
    "unique",
    "default",
    "partition",
    "grouping",
    "sets",
    "rollup",
    "cube",
    "conflict",
    "trim",
    "overlay",
    "position",
    "substring",
    "treat",
    "normalize",
    "collation",
    "decimal",
    "dec",
    "float",
    "character",
    "char",
    "varying",
    "nchar",
    "national",
    "varchar",
    "precision",
    "zone",
    "time",
    "timestamp",
    "interval",
    "numeric",
    "bit",
    "explain",
    "vacuum",
    "analyze",
    "xmlelement",
    "xmlattributes",
    "xmlforest",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmlconcat",
    "xmlexists",
    "xmlagg",
    "xmltable",
    "passing",
    "columns",
    "json_object",
    "json_array",
    "json_objectagg",
    "json_arrayagg",
    "json_value",
    "json_query",
    "json_exists",
    "json_table",
    "json_scalar",
    "json_serialize",
    "json",
    "is",
    "like",
    "ilike",
    "similar",
    "escape",
    "between",
    "order",
    "range",
    "groups",
    "include",
    "only",
    "tablesample",
    "merge_action",
    "div",
    "mod",
    "elseif",
    "elsif",
    "if",
    "while",
    "return",
    "until",
    "assert",
    "query",
    "perform",
    "foreach",
    "loop",
    "for",
    "execute",
    "begin",
    "exit",
    "continue",
    "merge",
    "update",
    "insert",
    "delete",
    "current",
    "ordinality",
    "options",
    "generated",
    "always",
    "identity",
    "start",
];

#[cfg(test)]
mod tests {
    use super::{super::effects, *};

    const UNKNOWN: Effects = Effects::UNPROVED.union(Effects::UNKNOWN);

    fn unproved(text: &str) -> Effects {
        let effects = effects(text.as_bytes(), &Catalogue::default());
        Effects::from_bits(effects.bits() & UNKNOWN.bits())
    }

    #[test]
    fn calls_of_built_in_functions_are_proved() {
        for text in [
            "SELECT count(*), max (a), pg_catalog.lower(b), COALESCE(c, now()) FROM t WHERE a IN (1, 2)",
            "INSERT INTO t (a, b) VALUES (1, 2) ON CONFLICT (a) DO UPDATE SET (a, b) = (1, 2)",
            "INSERT INTO s.t (a) SELECT x FROM generate_series(1, 3) AS g(x)",
            "INSERT INTO \"S\".\"T\"(a) VALUES ($1) RETURNING (a)",
            "WITH x(a) AS (SELECT 1), RECURSIVE y (b) AS (SELECT 2) SELECT 'f(1)' /* g(1) */ FROM x WHERE (a = ANY ($1))",
            "SELECT a::numeric(10, 2), CAST(b AS varchar(3)), extract(year FROM c), trim(both FROM d) FROM t",
            "COPY t (a, b) FROM STDIN",
            "SELECT row_number() OVER (PARTITION BY a), sum(b) FILTER (WHERE b > 0) FROM t GROUP BY GROUPING SETS ((a), ())",
        ] {
            assert_eq!(unproved(text), Effects::NONE, "{text}");
        }
    }

    #[test]
    fn calls_of_other_functions_are_unknown() {
        for text in [
            "SELECT f(1)",
            "SELECT f  (1)",
            "SELECT f /* x */ (1)",
            "SELECT s.f(1)",
            "SELECT s.count(1)",
            "SELECT \"In\"(1)",
            "SELECT \"in\"(1)",
            "SELECT * FROM t JOIN f(1) ON g(2)",
            "SELECT pg_catalog.no_such_function(1)",
            "SELECT 'it\\'s', f(1)",
        ] {
            assert_eq!(unproved(text), UNKNOWN, "{text}");
        }
    }

    #[test]
    fn functions_that_run_their_arguments_are_unproved() {
        for text in [
            "SELECT query_to_xml('SELECT 1', true, true, '')",
            "SELECT pg_catalog.table_to_xml($1, true, true, '')",
        ] {
            assert_eq!(unproved(text), Effects::UNPROVED, "{text}");
        }
    }
}
