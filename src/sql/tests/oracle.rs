//! The scanner against PostgreSQL's grammar: effects visible in the parse tree must be reported.

use super::{super::Effects, effects_of, names_of};
use pg_query::{NodeRef, ParserOptions, protobuf};
use proptest::{prelude::*, sample::select};

/// Certain effects in the tree of `text`; `None` if the grammar rejects the text.
fn shown(text: &str, reading: ParserOptions) -> Option<(Effects, Vec<String>)> {
    let parsed = pg_query::parse(text, reading).ok()?;
    let mut effects = Effects::NONE;
    let mut names = Vec::new();
    for (node, ..) in parsed.protobuf.nodes() {
        effects |= match node {
            NodeRef::VariableSetStmt(set) => setting(set, &mut names),
            NodeRef::CreateStmt(_)
            | NodeRef::ViewStmt(_)
            | NodeRef::CreateSeqStmt(_)
            | NodeRef::CreateTableAsStmt(_)
            | NodeRef::IntoClause(_) => Effects::TEMPORARY,
            NodeRef::RangeVar(relation) if relation.relpersistence == "t" => Effects::TEMPORARY,
            NodeRef::ListenStmt(_) | NodeRef::UnlistenStmt(_) => Effects::LISTEN,
            NodeRef::PrepareStmt(_) | NodeRef::DeallocateStmt(_) => Effects::PREPARE,
            NodeRef::ExecuteStmt(_) => Effects::EXECUTE,
            NodeRef::DeclareCursorStmt(cursor) if cursor.options & HOLD != 0 => Effects::CURSOR,
            NodeRef::ClosePortalStmt(_) => Effects::CURSOR,
            NodeRef::LoadStmt(_) => Effects::LOAD,
            NodeRef::DiscardStmt(_) => Effects::DISCARD,
            NodeRef::DoStmt(_) | NodeRef::CallStmt(_) | NodeRef::CreateFunctionStmt(_) => Effects::BLOCK,
            NodeRef::DropStmt(_) => Effects::DROPS,
            NodeRef::InsertStmt(_) | NodeRef::MergeStmt(_) => Effects::SEQUENCE_MOVE,
            NodeRef::CopyStmt(copy) if copy.is_from => Effects::SEQUENCE_MOVE,
            NodeRef::FuncCall(call) => called(call),
            _ => Effects::NONE,
        };
    }
    // `SELECT … INTO` and top-level statements are not among the nodes of every version: checked here.
    for statement in &parsed.protobuf.stmts {
        use protobuf::node::Node;
        match statement.stmt.as_ref().and_then(|node| node.node.as_ref()) {
            Some(Node::VariableSetStmt(set)) => effects |= setting(set, &mut names),
            Some(Node::SelectStmt(select)) if select.into_clause.is_some() => effects |= Effects::TEMPORARY,
            Some(Node::ListenStmt(_) | Node::UnlistenStmt(_)) => effects |= Effects::LISTEN,
            Some(Node::LoadStmt(_)) => effects |= Effects::LOAD,
            Some(Node::DiscardStmt(_)) => effects |= Effects::DISCARD,
            Some(Node::DeallocateStmt(_)) => effects |= Effects::PREPARE,
            Some(Node::ClosePortalStmt(_)) => effects |= Effects::CURSOR,
            Some(Node::CreateStmt(_) | Node::ViewStmt(_) | Node::CreateSeqStmt(_)) => {
                effects |= Effects::TEMPORARY | Effects::DDL;
            }
            Some(Node::AlterTableStmt(_) | Node::RenameStmt(_) | Node::IndexStmt(_)) => {
                effects |= Effects::DDL
            }
            _ => {}
        }
    }
    Some((effects, names))
}

/// `CURSOR_OPT_HOLD` of PostgreSQL's `parsenodes.h`.
const HOLD: i32 = 0x20;

fn setting(set: &protobuf::VariableSetStmt, names: &mut Vec<String>) -> Effects {
    use protobuf::VariableSetKind::{VarReset, VarResetAll, VarSetDefault};
    if set.is_local || set.name == "TRANSACTION" || set.name == "TRANSACTION SNAPSHOT" {
        return Effects::NONE;
    }
    match set.name.to_lowercase().as_str() {
        "" => {}
        "seed" => return Effects::FUNCTION,
        "session characteristics" => names.push("default_transaction_read_only".to_owned()),
        name => names.push(name.to_owned()),
    }
    match set.kind() {
        VarReset | VarResetAll | VarSetDefault => Effects::SETTINGS | Effects::SETTINGS_ALL,
        _ => Effects::SETTINGS,
    }
}

fn called(call: &protobuf::FuncCall) -> Effects {
    let Some(protobuf::node::Node::String(name)) = call.funcname.last().and_then(|node| node.node.as_ref())
    else {
        return Effects::NONE;
    };
    match name.sval.as_str() {
        "pg_advisory_lock"
        | "pg_advisory_lock_shared"
        | "pg_try_advisory_lock"
        | "pg_try_advisory_lock_shared"
        | "pg_advisory_unlock"
        | "pg_advisory_unlock_shared"
        | "pg_advisory_unlock_all" => Effects::ADVISORY,
        "nextval" | "setval" => Effects::SEQUENCE_MOVE,
        "currval" | "lastval" => Effects::SEQUENCE_READ,
        "setseed" | "dblink_connect" => Effects::FUNCTION,
        _ => Effects::NONE,
    }
}

/// True if `text` calls `set_config` beyond the transaction.
fn configures(text: &str, reading: ParserOptions) -> bool {
    let Ok(parsed) = pg_query::parse(text, reading) else { return false };
    parsed.protobuf.nodes().into_iter().any(|(node, ..)| {
        let NodeRef::FuncCall(call) = node else { return false };
        let last = |node: Option<&protobuf::Node>| node.and_then(|node| node.node.clone());
        let named = matches!(last(call.funcname.last()),
            Some(protobuf::node::Node::String(name)) if name.sval == "set_config");
        let local = matches!(last(call.args.get(2)), Some(protobuf::node::Node::AConst(constant))
            if matches!(constant.val, Some(protobuf::a_const::Val::Boolval(protobuf::Boolean { boolval: true }))));
        named && !local
    })
}

const CONFIGURES: Effects =
    Effects::SETTINGS.union(Effects::SETTINGS_BOUND).union(Effects::SETTINGS_HIDDEN).union(Effects::FUNCTION);

/// Effects that the scanner misses in `text`.
fn missed(text: &str) -> Option<String> {
    READINGS.iter().find_map(|reading| missed_in(text, *reading))
}

/// `standard_conforming_strings` on and off.
const READINGS: [ParserOptions; 2] =
    [ParserOptions::DEFAULT, ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS];

fn missed_in(text: &str, reading: ParserOptions) -> Option<String> {
    let (mut shown, shown_names) = shown(text, reading)?;
    let found_effects = effects_of(text);
    if found_effects.contains(Effects::SETTINGS_HIDDEN) {
        shown = shown.without(Effects::SETTINGS);
    }
    // CREATE FUNCTION … SET has such a node, too, and changes no session state.
    let definition = found_effects.contains(Effects::BLOCK | Effects::DDL);
    let expected = if definition { shown.without(Effects::SETTINGS | Effects::SETTINGS_ALL) } else { shown };
    if !found_effects.contains(expected) {
        return Some(format!(
            "{text:?}: {:?} is missing in {found_effects:?}",
            expected.without(found_effects)
        ));
    }
    if configures(text, reading) && !found_effects.intersects(CONFIGURES) {
        return Some(format!("{text:?}: set_config is missing in {found_effects:?}"));
    }
    let names = names_of(text);
    let name = shown_names.into_iter().find(|name| !names.contains(name))?;
    (!definition && !found_effects.contains(Effects::SETTINGS_HIDDEN))
        .then(|| format!("{text:?}: setting {name} is missing in {names:?}"))
}

/// Not run by default: needs a file of statements, each ended by a zero byte, named by `SQL_CORPUS`.
#[test]
#[ignore = "needs a corpus"]
fn nothing_is_missed_in_a_corpus() {
    let corpus =
        std::fs::read(std::env::var("SQL_CORPUS").expect("SQL_CORPUS names a file")).expect("readable");
    let texts = corpus.split(|byte| *byte == 0).filter_map(|text| str::from_utf8(text).ok());
    let (mut read, mut faults) = (0, Vec::new());
    let mut plain = std::collections::BTreeMap::<&str, (usize, usize)>::new();
    for text in texts {
        let Some((shown, _)) = shown(text, ParserOptions::DEFAULT) else { continue };
        read += 1;
        faults.extend(missed(text));
        let verb = text.split_whitespace().next().unwrap_or("").to_lowercase();
        let Some(verb) = ["select", "insert", "update", "delete"].into_iter().find(|known| *known == verb)
        else {
            continue;
        };
        let known = Effects::SEQUENCE_MOVE | Effects::SEQUENCE_READ;
        if shown.without(known).is_empty() && !configures(text, ParserOptions::DEFAULT) {
            let found_effects = effects_of(text).without(known);
            let (all, wrong) = plain.entry(verb).or_default();
            *all += 1;
            *wrong += usize::from(!found_effects.is_empty());
            if !found_effects.is_empty() {
                println!(
                    "too much: {found_effects:?}: {}",
                    text.escape_debug().take(150).collect::<String>()
                );
            }
        }
    }
    println!("{read} read; plain statements with too much: {plain:?}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Statements composed of random words and separators.
    #[test]
    fn nothing_is_missed_in_recombined_statements(
        parts in prop::collection::vec((select(PIECES), select(BETWEEN)), 1..6),
    ) {
        let text: String = parts.iter().flat_map(|(piece, between)| [*piece, *between]).collect();
        prop_assert_eq!(missed(&text), None);
    }

    /// A statement with random bytes inserted is still covered, if the grammar accepts the text.
    #[test]
    fn nothing_is_missed_in_mutilated_statements(
        first in select(PIECES), second in select(PIECES), noise in select(NOISE), place in 0.0..1.0,
    ) {
        let text = format!("{first}; {second}");
        let at = (place * text.len() as f64) as usize;
        let text = format!("{}{noise}{}", &text[..at], &text[at..]);
        prop_assert_eq!(missed(&text), None);
    }

    /// No panic for any bytes.
    #[test]
    fn any_bytes_are_scanned(bytes in prop::collection::vec(select(&b"'\"$-/*\\;:,.()eEuU&sSaA0\n\r \x80\xff\x00"[..]), 0..80)) {
        let _ = super::super::effects(&bytes, &super::super::StatefulNames::default());
        super::super::find_setting_names(&bytes, &mut |_| ());
        let _ = super::super::session_statement(&bytes);
        super::super::find_stateful_names(&bytes, &super::super::StatefulNames::default(), &mut |_| ());
    }
}

const PIECES: &[&str] = &[
    "SELECT 1",
    "SELECT 'a', \"b\", $$c$$, E'd\\'', $x$ ' $x$",
    "SELECT '\\'",
    "SELECT '\\' ', 1",
    "SELECT 'x\\'; LISTEN y; --'",
    "SELECT '\\' /*'; RESET z /* */ */",
    "SELECT E'\\\\', '\\\\'",
    "SET",
    "SESSION",
    "LOCAL",
    "x = 1",
    "a.b TO 'c'",
    "TIME ZONE 'UTC'",
    "ROLE y",
    "NAMES 'utf8'",
    "SET x = 1",
    "SET LOCAL x = 1",
    "set session x to default",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "RESET x",
    "RESET ALL",
    "BEGIN",
    "LISTEN x",
    "UNLISTEN *",
    "LOAD 'x'",
    "PREPARE p AS",
    "EXECUTE p",
    "DEALLOCATE ALL",
    "DISCARD TEMP",
    "EXPLAIN ANALYZE",
    "EXPLAIN (ANALYZE, COSTS OFF)",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "CLOSE c",
    "CREATE TEMP TABLE t (a int)",
    "CREATE TABLE t AS",
    "CREATE VIEW v AS",
    "CREATE SCHEMA s",
    "SELECT 1 INTO TEMP t",
    "SELECT 1 INTO t",
    "WITH x AS (SELECT 1)",
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET a = 1",
    "SELECT nextval('x'), pg_catalog.\"pg_advisory_lock\"(1)",
    "SELECT set_config('a', 'b', false)",
    "SELECT set_config('a', 'b', true)",
    "COPY t FROM STDIN",
    "COPY (SELECT lastval()) TO STDOUT",
    "CALL p()",
    "DO 'x'",
    "DROP TABLE t",
];

const BETWEEN: &[&str] = &[
    " ",
    ";",
    "; ",
    "\n",
    "\r",
    "\t;\x0b",
    "/**/",
    " /* ' */ ",
    "/* /* ; */ \" */",
    " -- ;'\n",
    "--\r",
    "; -- $$\n",
    " ",
    ";--\";\r\n",
    " /* $a$ */",
];

const NOISE: &[&str] =
    &["'", "\"", "$$", "$a$", "--", "/*", "*/", "\\'", "E'", "U&\"", "''", ";", "\n", "(", ")", "1", "ä"];
