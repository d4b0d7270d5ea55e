//! Finds called names in a text, and calls proved to leave no session state.
//!
//! A call is a name before an opening parenthesis. Names of relations before a column list, and words of the grammar,
//! are not calls. Refuses to know: attribute notation (`(row).name`), operators and casts; names in all three count
//! anywhere in a text.

use super::{Effects, StatefulNames, builtin, lexer::Token, scan::TextOrigin};

/// Follows the tokens of a text up to each opening parenthesis.
pub(super) struct CallTracker<'a> {
    place: TextOrigin,
    name: Option<Name<'a>>,
    relation: RelationName,
    /// The last token was a closing parenthesis.
    behind_parenthesis: bool,
    /// The next token begins a statement.
    starts: bool,
}

/// A name, possibly followed by an opening parenthesis.
#[derive(Clone, Copy)]
struct Name<'a> {
    text: &'a [u8],
    schema: Option<&'a [u8]>,
    /// Word directly before the name.
    before: Option<&'a [u8]>,
    quoted: bool,
    /// True if the preceding token allows a function name.
    callable: bool,
    /// A dot follows: the text is a schema's name.
    qualifies: bool,
}

/// Position relative to a relation name, possibly followed by a column list.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum RelationName {
    #[default]
    Absent,
    Follows,
    Present,
}

// === impl CallTracker ===

impl<'a> CallTracker<'a> {
    pub(super) fn new(place: TextOrigin) -> Self {
        Self { place, name: None, relation: RelationName::Absent, behind_parenthesis: false, starts: true }
    }

    /// Consumes the next token; returns the effects of the call completed by the token.
    #[inline]
    pub(super) fn on_token(&mut self, token: Token<'a>, catalogue: &StatefulNames) -> Effects {
        let behind_parenthesis =
            std::mem::replace(&mut self.behind_parenthesis, token == Token::Symbol(b')'));
        let starts = std::mem::replace(&mut self.starts, token == Token::Symbol(b';'));
        match token {
            // No operand directly follows an operand: `OVER (`, `FILTER (`, `VALUES (` or the columns of an alias.
            Token::Word(word) => {
                // No call begins a statement.
                let is_copy = starts && word.eq_ignore_ascii_case(b"copy");
                self.on_name(word, false, !behind_parenthesis && !is_copy);
            }
            Token::Quoted(word) => self.on_name(word, true, !behind_parenthesis),
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
                    Some(name) if name.callable && !names_columns && !name.qualifies => {
                        let in_body = self.place == TextOrigin::Body;
                        effects_of_call(&name, in_body, catalogue)
                    }
                    _ => Effects::NONE,
                };
            }
            _ => self.forget(),
        }
        Effects::NONE
    }

    fn forget(&mut self) {
        (self.name, self.relation) = (None, RelationName::Absent);
    }

    fn on_name(&mut self, text: &'a [u8], quoted: bool, callable: bool) {
        let schema = self.name.filter(|name| name.qualifies).map(|name| name.text);
        self.relation = match self.relation {
            RelationName::Follows => RelationName::Present,
            _ if !quoted && schema.is_none() && is_in(text, &BEFORE_A_RELATION) => RelationName::Follows,
            _ => RelationName::Absent,
        };
        let before = self.name.filter(|name| !name.qualifies && !name.quoted).map(|name| name.text);
        self.name = Some(Name { text, schema, before, quoted, callable, qualifies: false });
    }
}

/// Returns the effects of calling the unquoted name `text`, for scans without further tokens.
pub(super) fn effects_of_unquoted_call(text: &[u8], catalogue: &StatefulNames) -> Effects {
    let name = Name { text, schema: None, before: None, quoted: false, callable: true, qualifies: false };
    effects_of_call(&name, false, catalogue)
}

fn effects_of_call(name: &Name<'_>, in_body: bool, catalogue: &StatefulNames) -> Effects {
    if name.schema.is_none_or(|schema| schema.eq_ignore_ascii_case(b"pg_catalog")) {
        match builtin::leaves_nothing(name.text) {
            Some(true) => return Effects::NONE,
            Some(false) => return Effects::UNPROVED,
            None => {}
        }
    }
    let known = (!name.quoted && name.schema.is_none() && is_syntax(name, in_body))
        || catalogue.functions.contains(name.text);
    // `StatefulNames::unproved` lists known functions without proof; listed names count anywhere in a text.
    if known { Effects::NONE } else { Effects::UNPROVED.union(Effects::UNKNOWN) }
}

/// True for a word of the grammar. A function may share the name of an unreserved word: the word is grammar only in the
/// grammar's position.
fn is_syntax(name: &Name<'_>, in_body: bool) -> bool {
    let follows = |(word, before): &(&str, &[&str])| {
        word.as_bytes().eq_ignore_ascii_case(name.text)
            && name.before.is_some_and(|known| is_in(known, before))
    };
    is_in(name.text, SYNTAX) || UNRESERVED.iter().any(follows) || (in_body && is_in(name.text, PLPGSQL))
}

/// `words` are in lower case.
fn is_in(word: &[u8], words: &[&str]) -> bool {
    words.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word))
}

/// Words before a relation or prepared statement, possibly followed by a list in parentheses. No function call follows
/// the words, except `EXECUTE` in PL/pgSQL, where `EXECUTE` itself counts.
const BEFORE_A_RELATION: [&str; 10] =
    ["into", "copy", "table", "as", "with", "recursive", "references", "analyze", "execute", "prepare"];

/// Words possibly followed by an opening parenthesis and invalid as function names, and a few words never used as
/// function names.
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
    "lateral",
    "join",
    "returning",
    "check",
    "unique",
    "default",
    "grouping",
    "trim",
    "overlay",
    "position",
    "substring",
    "treat",
    "normalize",
    "decimal",
    "dec",
    "float",
    "character",
    "char",
    "nchar",
    "varchar",
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
    "xmltable",
    "xmlnamespaces",
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
    "like",
    "ilike",
    "between",
    "for",
    "merge_action",
    "only",
];

/// Unreserved words, each with the preceding words excluding a function name.
const UNRESERVED: &[(&str, &[&str])] = &[
    ("by", &["group", "order", "partition"]),
    ("conflict", &["on"]),
    ("sets", &["grouping"]),
    ("key", &["primary", "foreign"]),
    ("materialized", &["as", "not"]),
    ("varying", &["character", "char", "bit", "nchar"]),
];

/// PL/pgSQL words possibly followed by an expression in parentheses. Sources are read together with the names of all
/// functions.
const PLPGSQL: &[&str] = &[
    "if",
    "elsif",
    "elseif",
    "while",
    "return",
    "until",
    "assert",
    "query",
    "perform",
    "foreach",
    "loop",
    "begin",
    "exit",
    "continue",
    "execute",
    "partition",
    "key",
    "rollup",
    "cube",
];

#[cfg(test)]
mod tests {
    use super::{super::effects, *};

    const UNKNOWN: Effects = Effects::UNPROVED.union(Effects::UNKNOWN);

    fn unproved(text: &str) -> Effects {
        let effects = effects(text.as_bytes(), &StatefulNames::default());
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
            "SELECT 1; copy (SELECT a FROM t) TO STDOUT",
            "SELECT row_number() OVER (PARTITION BY a), sum(b) FILTER (WHERE b > 0) FROM t GROUP BY GROUPING SETS ((a), ())",
        ] {
            assert_eq!(unproved(text), Effects::NONE, "{text}");
        }
    }

    #[test]
    fn calls_of_other_functions_are_unknown() {
        for text in [
            "SELECT f(1)",
            "SELECT sets(1)",
            "SELECT a, over(1), by(2) FROM t ORDER BY key(3)",
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
