//! `gatekeeper classify`: classification of a text, for people and, line by line, for programs.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::sql::{
    self, Classification, Classifier, ClassifierOptions, LexicalSettings, ReferenceList, SchemaInfo,
    StatefulNames, StatementAccess, TransactionControl,
};

/// An input line.
#[derive(Deserialize)]
struct ClassifyInput {
    sql: String,
}

/// The output line of a classification.
#[derive(Serialize)]
struct ClassifyOutput {
    access: &'static str,
    reason: &'static str,
    effects: Vec<&'static str>,
}

/// The output line for invalid input.
#[derive(Serialize)]
struct Mistake {
    error: String,
}

/// Maximum length of a line in bytes.
const MAX_LINE_BYTES: u64 = 256 << 20;

/// Prints the classification of `text` for people.
pub(super) fn classify_text(text: &[u8], out: &mut impl Write, knowledge: &SchemaInfo) -> io::Result<()> {
    let classifier = Classifier::new(&ClassifierOptions::default());
    let (said, findings) = classifier.explain(text, &LexicalSettings::default(), knowledge);
    let effects = sql::effects(text, &StatefulNames::default());
    writeln!(out, "access     {}", said.access.as_str())?;
    writeln!(out, "reason     {}", said.reason.as_str())?;
    writeln!(out, "split      {}", destination(&said))?;
    writeln!(out, "control    {}", describe_control(said.control))?;
    writeln!(out, "hint       {}", said.hint.map_or("none", |hint| hint.as_str()))?;
    writeln!(out, "effects    {}", join_names(effects.names()))?;
    let ReferenceList { functions, relations, operators, types } = &findings;
    for (name, found) in
        [("functions", functions), ("relations", relations), ("operators", operators), ("types", types)]
    {
        writeln!(out, "{name:<9}  {}", join_names(found.iter().map(String::as_str)))?;
    }
    out.flush()
}

/// Writes an output line for each line of `input`.
pub(super) fn classify_lines(
    input: &mut impl BufRead,
    out: &mut impl Write,
    knowledge: &SchemaInfo,
) -> io::Result<()> {
    let classifier = Classifier::new(&ClassifierOptions::default());
    let mut line = Vec::new();
    loop {
        line.clear();
        io::Read::take(&mut *input, MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<ClassifyInput>(&line) {
            Ok(ClassifyInput { sql }) => {
                let said = classifier.classify(sql.as_bytes(), &LexicalSettings::default(), knowledge);
                let effects = sql::effects(sql.as_bytes(), &StatefulNames::default());
                let answer = ClassifyOutput {
                    access: said.access.as_str(),
                    reason: said.reason.as_str(),
                    effects: effects.names().collect(),
                };
                serde_json::to_writer(&mut *out, &answer)?;
            }
            Err(error) => serde_json::to_writer(&mut *out, &Mistake { error: error.to_string() })?,
        }
        writeln!(out)?;
        out.flush()?;
    }
}

/// The destination on a split listener.
fn destination(said: &Classification) -> &'static str {
    match (said.may_leave_primary(), said.control, said.access) {
        (true, ..) => "a read pool",
        (
            false,
            TransactionControl::Begin(_) | TransactionControl::SetTransaction(_),
            StatementAccess::Read,
        ) => "with the first statement after it, which decides for the whole transaction",
        (
            false,
            TransactionControl::Commit { .. }
            | TransactionControl::Rollback { .. }
            | TransactionControl::Savepoint,
            StatementAccess::Read,
        ) => "wherever its transaction is",
        _ => "the primary",
    }
}

fn describe_control(control: TransactionControl) -> String {
    let modes = |modes: sql::TransactionModes| {
        let access = match modes.read_only {
            Some(true) => " read only",
            Some(false) => " read write",
            None => "",
        };
        format!("{access}{}", if modes.serializable == Some(true) { " serializable" } else { "" })
    };
    match control {
        TransactionControl::None => "none".to_owned(),
        TransactionControl::Begin(said) => format!("begin{}", modes(said)),
        TransactionControl::SetTransaction(said) => format!("set transaction{}", modes(said)),
        TransactionControl::Commit { chain } => format!("commit{}", if chain { " and chain" } else { "" }),
        TransactionControl::Rollback { chain } => {
            format!("rollback{}", if chain { " and chain" } else { "" })
        }
        TransactionControl::Savepoint => "savepoint".to_owned(),
        TransactionControl::Whole(said) => format!("a whole transaction{}", modes(said)),
        TransactionControl::Mixed => "mixed".to_owned(),
    }
}

fn join_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(input: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        classify_lines(&mut &input[..], &mut out, &SchemaInfo::assumed()).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_line_is_answered_with_one_line_whatever_it_is() {
        let input = b"{\"sql\": \"SELECT 1\"}\n\nnonsense\n{\"sql\": 1}\n\xff\n{\"sql\": \"SET x = 1\", \"more\": 2}\n{\"sql\": \"DELETE FROM t\"}";
        let answers = answers(input);
        assert_eq!(answers[0], r#"{"access":"read","reason":"read","effects":[]}"#);
        assert!(answers[1..4].iter().all(|line| line.starts_with(r#"{"error":""#)), "{answers:?}");
        assert_eq!(answers[4], r#"{"access":"read","reason":"session-state","effects":["SETTINGS"]}"#);
        assert_eq!(answers[5], r#"{"access":"write","reason":"writes","effects":[]}"#);
        assert_eq!(answers.len(), 6);
    }

    #[test]
    fn what_was_found_is_said() {
        let mut out = Vec::new();
        let text =
            b"/* gatekeeper: route=primary */ WITH w AS (SELECT 1) SELECT now(), s.f() FROM w, public.t";
        classify_text(text, &mut out, &SchemaInfo::assumed()).unwrap();
        let out = String::from_utf8(out).unwrap();
        for line in [
            "reason     unknown-function",
            "hint       primary",
            "functions  now, s.f",
            "relations  public.t",
        ] {
            assert!(out.contains(line), "{line} is missing in\n{out}");
        }
    }
}
