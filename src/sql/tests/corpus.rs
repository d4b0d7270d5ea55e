//! PostgreSQL's regression statements, each run on a hot standby: forbidden classifications, and the rate of exact
//! classifications.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    process::Command,
};

use pg_query::NodeRef;
use serde::Deserialize;

use super::super::{
    Classifier, ClassifierOptions, ClassifyReason, Effects, LexicalSettings, SchemaInfo, StatementAccess,
    TransactionControl, builtin, effects,
};
use crate::sql::{StatefulNames, schema_info::Found};

/// A statement of the corpus.
#[derive(Deserialize)]
struct Statement {
    sql: String,
    /// SQLSTATE on the standby.
    standby: String,
    class: Class,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Class {
    Read,
    Write,
    StandbyError,
    BothError,
}

/// SQLSTATEs of rejections on a standby only, independent of the state of other nodes.
const ONLY_A_STANDBY: [&str; 3] = ["55000", "XX000", "0A000"];

/// The corpus file, beside the repository or at `STATEMENT_CORPUS`; `None` without a file.
fn corpus() -> Option<Vec<Statement>> {
    let path = std::env::var_os("STATEMENT_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/statement-corpus.jsonl.xz"),
        PathBuf::from,
    );
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    let unpacked = Command::new("xz").arg("-dc").arg(&path).output().expect("xz runs");
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    let text = String::from_utf8(unpacked.stdout).expect("UTF-8");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a statement")).collect())
}

/// Statements classified as reads although the standby rejected them, with reasons. A line has a reason, two spaces and
/// the statement, with `\n` for line ends.
fn exceptions() -> HashMap<String, &'static str> {
    include_str!("../../../tests/data/classifier/exceptions.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (reason, text) =
                line.split_once("  ").unwrap_or_else(|| panic!("two spaces are missing in `{line}`"));
            (text.trim_start().replace(r"\n", "\n"), reason)
        })
        .collect()
}

/// True if a statement calls built-in functions only.
fn is_builtin(sql: &str) -> bool {
    let Ok(parsed) = pg_query::parse(sql, pg_query::ParserOptions::DEFAULT) else { return false };
    let name = |parts: &[pg_query::protobuf::Node]| match parts.last().and_then(|node| node.node.as_ref()) {
        Some(pg_query::protobuf::node::Node::String(name)) => name.sval.clone(),
        _ => String::new(),
    };
    parsed.protobuf.nodes().into_iter().all(|(node, ..)| match node {
        NodeRef::FuncCall(call) => builtin::function(&name(&call.funcname), None) != Found::Nothing,
        NodeRef::AExpr(expression) if expression.kind() == pg_query::protobuf::AExprKind::AexprOp => {
            builtin::operator(&name(&expression.name)) != Found::Nothing
        }
        _ => true,
    })
}

#[test]
fn no_write_of_the_corpus_is_called_a_read_and_nearly_every_read_is() {
    let Some(corpus) = corpus() else { return };
    let classifier = Classifier::new(&ClassifierOptions::default());
    let (lexical, schema_info) = (LexicalSettings::default(), SchemaInfo::assumed());
    let exceptions = exceptions();
    let mut unused: HashSet<&str> = exceptions.keys().map(String::as_str).collect();
    let excused = |sql: &str, unused: &mut HashSet<&str>| {
        unused.remove(sql);
        exceptions.contains_key(sql)
    };
    let mut wrong = Vec::new();
    let (mut plain, mut plain_reads, mut all, mut all_reads) = (0, 0, 0, 0);
    let mut missed = BTreeMap::<ClassifyReason, Vec<&str>>::new();
    for statement in &corpus {
        let sql = &statement.sql;
        let classification = classifier.classify(sql.as_bytes(), &lexical, &schema_info);
        let leaves = classification.may_leave_primary();
        match statement.class {
            Class::Write => {
                if classification.access == StatementAccess::Read && !excused(sql, &mut unused) {
                    wrong.push(format!("{} {}: {sql}", statement.standby, classification.reason.as_str()));
                }
            }
            Class::StandbyError if ONLY_A_STANDBY.contains(&&*statement.standby) => {
                if classification.access == StatementAccess::Read && !excused(sql, &mut unused) {
                    wrong.push(format!("{} {}: {sql}", statement.standby, classification.reason.as_str()));
                }
            }
            Class::Read => {
                all += 1;
                all_reads += u32::from(leaves);
                let stateless = effects(sql.as_bytes(), &StatefulNames::default())
                    .without(Effects::SEQUENCE_MOVE)
                    == Effects::NONE
                    && !matches!(
                        classification.reason,
                        ClassifyReason::SessionState | ClassifyReason::Transaction | ClassifyReason::Named
                    )
                    && classification.control == TransactionControl::None;
                if stateless && is_builtin(sql) {
                    plain += 1;
                    plain_reads += u32::from(leaves);
                    if !leaves {
                        missed.entry(classification.reason).or_default().push(sql);
                    }
                }
            }
            Class::StandbyError | Class::BothError => {}
        }
    }
    let percent = |part: u32, whole: u32| f64::from(part) * 100.0 / f64::from(whole.max(1));
    for (reason, texts) in &missed {
        println!("{} {}", reason.as_str(), texts.len());
        for text in texts {
            println!("    {}", text.replace('\n', " ").chars().take(160).collect::<String>());
        }
    }
    println!("writes called reads: {}", wrong.len());
    println!(
        "reads called reads: {plain_reads} of {plain} without state and functions of their own: {:.2} %",
        percent(plain_reads, plain)
    );
    println!("reads called reads, of all: {all_reads} of {all}: {:.2} %", percent(all_reads, all));
    assert!(wrong.is_empty(), "{} writes are called reads:\n{}", wrong.len(), wrong.join("\n"));
    assert!(percent(plain_reads, plain) >= 97.0, "too few reads are called reads");
    assert!(unused.is_empty(), "exceptions that are none: {unused:?}");
}
