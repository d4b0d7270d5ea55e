//! `gatekeeper audit verify`: prints the findings of [`verify::verify`].

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};

use crate::audit::verify::{self, Summary, Weight};

/// Commands on audit logs.
#[derive(Subcommand)]
pub(super) enum AuditCommand {
    /// Verify audit files: missing, changed and truncated records.
    ///
    /// Checks that each line is JSON with a known schema version, that `seq` has no gap within a `boot_id`, and the
    /// chain of hashes, if present. Takes the current file and the rotated ones, in any order: `audit.jsonl*`. Exits
    /// with 0 if the log is intact, with 1 if damaged.
    Verify(Verify),
}

/// Input and output of the verification.
#[derive(Args)]
pub(super) struct Verify {
    /// Audit files; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print faults only.
    #[arg(long, short)]
    quiet: bool,
    /// Also exit with 1 if records are known to be missing: reported as lost in the log, or lost with a killed process.
    #[arg(long)]
    strict: bool,
}

/// Maximum number of faults printed one by one; a file may have one in each line.
const MAX_PRINTED_FAULTS: u64 = 50;

/// Verifies and prints to `out`; true if no fault was found.
pub(super) fn verify_files(asked: &Verify, out: &mut impl Write) -> io::Result<bool> {
    let mut written = Ok(());
    let mut told = 0;
    let summary = verify::verify(&asked.files, &mut |finding| {
        let weight = finding.kind.weight();
        let matters = weight == Weight::Fault || (asked.strict && weight == Weight::Gap);
        if (asked.quiet && !matters) || written.is_err() {
            return;
        }
        told += 1;
        if told <= MAX_PRINTED_FAULTS {
            written = writeln!(out, "{}: {finding}", if matters { "FAULT" } else { "note" });
        } else if told == MAX_PRINTED_FAULTS + 1 {
            written = writeln!(out, "… there is more; it is counted below");
        }
    });
    written?;
    let well = summary.faults == 0 && (!asked.strict || summary.gaps == 0);
    if !asked.quiet || !well {
        writeln!(out, "{}", summary_line(&summary, well))?;
    }
    Ok(well)
}

fn summary_line(summary: &Summary, well: bool) -> String {
    let Summary { files, records, boots, lost, faults, gaps, span } = summary;
    let mut said = match (well, faults) {
        (true, _) => "OK".to_owned(),
        (false, 0) => format!("NOT COMPLETE, {}", count_of(*gaps, "gap")),
        (false, _) => format!("NOT OK, {}", count_of(*faults, "fault")),
    };
    said += &format!(
        ": {} of {} in {}",
        count_of(*records, "record"),
        count_of(*boots, "boot"),
        count_of(*files, "file")
    );
    if let Some((first, last)) = span {
        said += &format!(", {first} to {last}");
    }
    match (well, lost, gaps) {
        (_, 1.., _) => said += &format!("; {} lost by the log's own word", count_of(*lost, "record")),
        (true, _, 0) => said += "; none is missing in between",
        (true, ..) => said += "; no record is missing except those that a killed process had not written",
        _ => {}
    }
    said
}

fn count_of(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
