//! The report for people: readable at 3 a.m., in a terminal of 80 columns.

use std::io::{self, Write};

use super::{
    DoctorReport,
    finding::{Examination, Finding, Verdict},
};

/// Width of the report in columns.
const REPORT_WIDTH_COLUMNS: usize = 80;
/// Column at which texts begin, after verdict and stage.
const TEXT_INDENT_COLUMNS: usize = 23;
/// Non-breaking space: keeps a number with its unit.
const TIE: char = '\u{a0}';

/// Writes the results for one endpoint or listener (`kind`).
pub(super) fn print_examination(
    out: &mut impl Write,
    kind: &str,
    examination: &Examination,
    colour: bool,
) -> io::Result<()> {
    writeln!(out, "{kind} {}: {}", examination.name, without_controls(&examination.about))?;
    for finding in &examination.findings {
        write_finding(out, finding, colour)?;
    }
    writeln!(out)
}

/// Writes a summary of a few lines.
pub(super) fn print_summary(out: &mut impl Write, report: &DoctorReport) -> io::Result<()> {
    for verdict in [Verdict::Failed, Verdict::Warning] {
        let all = [("endpoint", &report.endpoints), ("listener", &report.listeners)];
        for (kind, examination) in
            all.into_iter().flat_map(|(kind, all)| all.iter().map(move |it| (kind, it)))
        {
            let stages: Vec<&str> = examination
                .findings
                .iter()
                .filter(|finding| finding.verdict == verdict)
                .map(|finding| finding.stage.as_str())
                .collect();
            if !stages.is_empty() {
                writeln!(out, "{}: {kind} {} ({})", verdict.as_str(), examination.name, stages.join(", "))?;
            }
        }
    }
    if report.verdict < Verdict::Warning { writeln!(out, "all ok") } else { Ok(()) }
}

fn write_finding(out: &mut impl Write, finding: &Finding, colour: bool) -> io::Result<()> {
    let Finding { stage, verdict, details, remedies, took } = finding;
    let mut paragraphs: Vec<String> = details.iter().map(|detail| without_controls(detail)).collect();
    if let (Some(took), Some(first)) = (took, paragraphs.first_mut()) {
        first.push_str(&format!(" ({}{TIE}ms)", took.as_millis()));
    }
    paragraphs.extend(remedies.iter().map(|remedy| format!("remedy: {}", without_controls(remedy))));
    let lines: Vec<String> = paragraphs
        .iter()
        .flat_map(|paragraph| wrap_text(paragraph, REPORT_WIDTH_COLUMNS - TEXT_INDENT_COLUMNS))
        .collect();
    let (on, off) = if colour { (verdict.color_of(), "\x1b[0m") } else { ("", "") };
    write!(out, "  {on}{:7}{off}  {:10}", verdict.as_str(), stage.as_str())?;
    for (at, line) in lines.iter().enumerate() {
        let indent = if at == 0 { 2 } else { TEXT_INDENT_COLUMNS };
        writeln!(out, "{:indent$}{}", "", line.replace(TIE, " "))?;
    }
    Ok(())
}

/// Removes control characters, which a server could use to control the terminal.
fn without_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Breaks lines at spaces. Long words stay whole for copying. Never empty.
fn wrap_text(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

impl Verdict {
    const fn color_of(self) -> &'static str {
        match self {
            Self::Skipped => "\x1b[2m",
            Self::Ok => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Failed => "\x1b[31m",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::finding::{Opinion, Stage};

    fn written(colour: bool) -> String {
        let mut sheet =
            Examination::new("reads".into(), "read-pool of cluster orders, 10.20.30.41:5432".into());
        sheet.add(Stage::Name, Opinion::ok("10.20.30.41 is an address"));
        sheet.add(
            Stage::Route,
            Opinion::failed(
                "backend dial failed: endpoint `reads` at 10.20.30.41:5432: \x1b[31mConnection refused",
                "the host answers, but nothing listens on port 5432: is the instance running, is the port correct?",
            ),
        );
        sheet.skip_rest(&[Stage::Name, Stage::Route, Stage::Tls]);
        let mut out = Vec::new();
        print_examination(&mut out, "endpoint", &sheet, colour).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_failure_stands_with_its_remedy_within_80_columns() {
        assert_eq!(
            written(false),
            "\
endpoint reads: read-pool of cluster orders, 10.20.30.41:5432
  ok       name        10.20.30.41 is an address
  failed   route       backend dial failed: endpoint `reads` at
                       10.20.30.41:5432: [31mConnection refused
                       remedy: the host answers, but nothing listens on port
                       5432: is the instance running, is the port correct?
  skipped  tls         because route failed

"
        );
    }

    #[test]
    fn only_a_terminal_is_sent_escape_sequences() {
        assert!(!written(false).contains('\x1b'));
        assert!(written(true).contains("\x1b[31mfailed \x1b[0m  route"));
    }
}
