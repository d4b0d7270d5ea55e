//! `gatekeeper audit verify`: says what [`verify::verify`] finds.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};

use crate::audit::verify::{self, Summary, Weight};

/// What can be done with an audit log.
#[derive(Subcommand)]
pub(super) enum AuditCommand {
    /// Read audit files and say whether a record is missing, changed or cut off.
    ///
    /// Checks that each line is JSON with a known schema version, that `seq` has no gap within a `boot_id`, and the chain of
    /// hashes where there is one. Give it the file and those that were moved aside, in any order: `audit.jsonl*`. Ends with 0
    /// if the log is as it was written, with 1 if it is damaged.
    Verify(Verify),
}

/// What to read, and how much to say.
#[derive(Args)]
pub(super) struct Verify {
    /// Audit files; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Say nothing but what is wrong.
    #[arg(long, short)]
    quiet: bool,
    /// End with 1, too, if records are known to be missing: lost by the log's own word, or with a process that was killed.
    #[arg(long)]
    strict: bool,
}

/// Faults that are told one by one; there may be one for each line.
const TOLD: u64 = 50;

/// Verifies, and tells it to `out`; whether all is well.
pub(super) fn verify(asked: &Verify, out: &mut impl Write) -> io::Result<bool> {
    let mut written = Ok(());
    let mut told = 0;
    let summary = verify::verify(&asked.files, &mut |finding| {
        let weight = finding.kind.weight();
        let matters = weight == Weight::Fault || (asked.strict && weight == Weight::Gap);
        if (asked.quiet && !matters) || written.is_err() {
            return;
        }
        told += 1;
        if told <= TOLD {
            written = writeln!(out, "{}: {finding}", if matters { "FAULT" } else { "note" });
        } else if told == TOLD + 1 {
            written = writeln!(out, "… there is more; it is counted below");
        }
    });
    written?;
    let well = summary.faults == 0 && (!asked.strict || summary.gaps == 0);
    if !asked.quiet || !well {
        writeln!(out, "{}", verdict(&summary, well))?;
    }
    Ok(well)
}

fn verdict(summary: &Summary, well: bool) -> String {
    let Summary { files, records, boots, lost, faults, gaps, span } = summary;
    let mut said = match (well, faults) {
        (true, _) => "OK".to_owned(),
        (false, 0) => format!("NOT COMPLETE, {}", counted(*gaps, "gap")),
        (false, _) => format!("NOT OK, {}", counted(*faults, "fault")),
    };
    said += &format!(
        ": {} of {} in {}",
        counted(*records, "record"),
        counted(*boots, "boot"),
        counted(*files, "file")
    );
    if let Some((first, last)) = span {
        said += &format!(", {first} to {last}");
    }
    match (well, lost, gaps) {
        (_, 1.., _) => said += &format!("; {} lost by the log's own word", counted(*lost, "record")),
        (true, _, 0) => said += "; none is missing in between",
        (true, ..) => said += "; no record is missing except those that a killed process had not written",
        _ => {}
    }
    said
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
