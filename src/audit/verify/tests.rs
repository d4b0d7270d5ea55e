use std::{fs, path::Path};

use serde_json::json;

use super::*;

const ONE: &str = "00000000000000aa";
const TWO: &str = "00000000000000bb";

/// A folder of logs with a line for each word: `a3` is the third record of the first boot.
struct Logs {
    folder: tempfile::TempDir,
    files: Vec<PathBuf>,
    /// Time of the next line, for the order of files.
    clock: u64,
}

impl Logs {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), files: Vec::new(), clock: 0 }
    }

    fn line(&mut self, word: &str) -> String {
        self.clock += 1;
        let (boot, rest) = word.split_at(1);
        let (seq, action) = match rest.split_once('.') {
            Some((seq, "stop")) => (seq, "audit.stopped"),
            Some((seq, _)) => (seq, "audit.lost"),
            None if rest == "1" => (rest, "audit.started"),
            None => (rest, "session.opened"),
        };
        let seq: u64 = seq.parse().unwrap();
        let mut line = json!({
            "schema_version": 1,
            "seq": seq,
            "time": format!("2026-11-22T10:00:00.{:06}Z", self.clock),
            "boot_id": if boot == "a" { ONE } else { TWO },
            "event.action": action,
        });
        if action == "audit.lost" {
            line["audit.lost.count"] = 7.into();
            line["audit.lost.after_seq"] = (seq - 1).into();
        }
        line.to_string()
    }

    fn file(&mut self, name: &str, words: &[&str]) -> &mut Self {
        let text: String = words.iter().map(|word| self.line(word) + "\n").collect();
        self.raw(name, &text)
    }

    fn raw(&mut self, name: &str, text: impl AsRef<[u8]>) -> &mut Self {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        self.files.push(path);
        self
    }

    /// Findings as `file:line kind`.
    fn found(&self) -> (Vec<String>, Summary) {
        found(&self.files)
    }
}

fn found(files: &[PathBuf]) -> (Vec<String>, Summary) {
    let mut findings = Vec::new();
    let summary = verify(files, &mut |finding| {
        let file = Path::new(&*finding.place.file).file_name().unwrap().to_string_lossy().into_owned();
        findings.push(format!("{file}:{} {:?}", finding.place.line, finding.kind));
    });
    (findings, summary)
}

#[test]
fn a_whole_log_is_found_whole_whatever_the_order_of_its_files() {
    let mut logs = Logs::new();
    logs.file("audit.jsonl.1", &["a1", "a2", "a3"]).file("audit.jsonl.2", &["a4", "a5.stop", "b1"]);
    logs.file("audit.jsonl", &["b2", "b3.stop"]);
    logs.raw("empty", "");
    logs.files.rotate_left(2);
    let (findings, summary) = logs.found();
    assert_eq!(findings, [""; 0]);
    assert_eq!((summary.files, summary.records, summary.boots), (4, 8, 2));
    assert_eq!((summary.faults, summary.gaps, summary.lost), (0, 0, 0));
    let (first, last) = summary.span.unwrap();
    assert_eq!((&*first, &*last), ("2026-11-22T10:00:00.000001Z", "2026-11-22T10:00:00.000008Z"));
}

#[test]
fn what_is_missing_doubled_or_moved_is_named() {
    for (words, expected) in [
        (
            &["a1", "a2", "a4", "a5.stop"][..],
            "audit:3 Missing { boot: \"00000000000000aa\", first: 3, last: 3 }",
        ),
        (&["a1", "a9.stop"], "audit:2 Missing { boot: \"00000000000000aa\", first: 2, last: 8 }"),
        (
            &["a1", "a2.stop", "b3", "b4.stop"],
            "audit:3 Missing { boot: \"00000000000000bb\", first: 1, last: 2 }",
        ),
        (
            &["a1", "a2", "a2", "a3.stop"],
            "audit:3 Misplaced { boot: \"00000000000000aa\", seq: 2, expected: 3 }",
        ),
    ] {
        let (findings, summary) = Logs::new().file("audit", words).found();
        assert_eq!(findings, [expected], "{words:?}");
        assert_eq!(summary.faults, 1);
    }
    let (findings, _) = Logs::new().file("audit", &["a1", "a3", "a2", "a4.stop"]).found();
    assert_eq!(findings.len(), 2, "two lines changed places: {findings:?}");
}

#[test]
fn a_file_that_is_missing_in_the_middle_is_missed() {
    let mut logs = Logs::new();
    logs.file("1", &["a1", "a2"]).file("2", &["a3", "a4"]).file("3", &["a5", "a6.stop"]);
    logs.files.remove(1);
    let (findings, summary) = logs.found();
    assert_eq!(findings, ["3:1 Missing { boot: \"00000000000000aa\", first: 3, last: 4 }"]);
    assert_eq!(summary.faults, 1);
}

#[test]
fn files_that_were_not_named_are_no_fault_of_those_that_were() {
    let (findings, summary) = Logs::new().file("audit", &["a7", "a8"]).found();
    assert_eq!(
        findings,
        [
            "audit:1 BeginsInside { boot: \"00000000000000aa\", first: 7 }",
            "audit:2 Open { boot: \"00000000000000aa\", last: 8 }"
        ]
    );
    assert_eq!((summary.faults, summary.gaps), (0, 0));
}

#[test]
fn a_kill_is_told_from_damage() {
    let mut logs = Logs::new();
    let (started, second, third) = (logs.line("a1"), logs.line("a2"), logs.line("a3"));
    let (next, end) = (logs.line("b1"), logs.line("b2.stop"));
    let half = &third[..third.len() / 2];
    // The writer was killed in the middle of a line, and no process followed.
    let (findings, summary) = Logs::new().raw("audit", format!("{started}\n{second}\n{half}")).found();
    assert_eq!(findings, ["audit:3 CutOff", "audit:2 Open { boot: \"00000000000000aa\", last: 2 }"]);
    assert_eq!((summary.faults, summary.gaps), (0, 1));
    // The next process terminated the partial line and began a new one.
    let restarted = format!("{started}\n{second}\n{half}\n{next}\n{end}\n");
    let (findings, summary) = Logs::new().raw("audit", &restarted).found();
    assert_eq!(findings, ["audit:3 CutOff", "audit:2 Killed { boot: \"00000000000000aa\", last: 2 }"]);
    assert_eq!((summary.faults, summary.gaps, summary.boots), (0, 2, 2));
    // Also if the first line of the next process went to another file.
    let mut two = Logs::new();
    two.raw("1", format!("{started}\n{second}\n{half}")).raw("2", format!("{next}\n{end}\n"));
    assert_eq!(two.found().0.len(), 2, "{:?}", two.found());
    // A process that continues beside the next was not killed.
    let (findings, _) =
        Logs::new().file("audit", &["a1", "a2", "b1", "a3", "b2", "a4.stop", "b3.stop"]).found();
    assert_eq!(findings, [""; 0]);
    // A partial line before a whole line of the same process is damage.
    for damaged in [
        half.to_owned(),
        "\0\0\0".to_owned(),
        "x".to_owned(),
        "{}".to_owned(),
        third.replace("\"time\"", "\"tame\""),
    ] {
        let (findings, summary) =
            Logs::new().raw("audit", format!("{started}\n{damaged}\n{second}\n{third}\n")).found();
        assert!(
            findings[0].starts_with("audit:2 Damaged") || findings[0].starts_with("audit:2 Unnumbered"),
            "{findings:?}"
        );
        assert_eq!(summary.faults, 1, "{damaged}");
    }
    // A power failure leaves zeros at the end.
    let (findings, summary) = Logs::new().raw("audit", format!("{started}\n{half}\0\0\0\0")).found();
    assert_eq!(findings[0], "audit:2 CutOff");
    assert_eq!(summary.faults, 0);
}

#[test]
fn every_single_byte_that_is_changed_or_cut_is_noticed_where_there_is_a_chain() {
    let mut logs = Logs::new();
    let (mut text, mut last) = (String::new(), LineHash::NONE);
    for word in ["a1", "a2", "a3", "a4.stop"] {
        let mut line: serde_json::Value = serde_json::from_str(&logs.line(word)).unwrap();
        line["prev_hash"] = last.to_string().into();
        let line = line.to_string();
        last = LineHash::of(line.as_bytes());
        text += &(line + "\n");
    }
    let path = logs.folder.path().join("audit");
    let verdict = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        found(std::slice::from_ref(&path))
    };
    assert_eq!(verdict(text.as_bytes()).0, [""; 0]);
    let last_line = text[..text.len() - 1].rfind('\n').unwrap();
    for at in 0..last_line {
        for other in [b'x', b'7', b' '] {
            let mut bytes = text.clone().into_bytes();
            if std::mem::replace(&mut bytes[at], other) != other {
                assert!(verdict(&bytes).1.faults > 0, "byte {at} became {}", other as char);
            }
        }
    }
    let third = text.lines().nth(2).unwrap();
    let without_hash = text.replace(third, &third.replace("prev_hash", "past_hash"));
    assert!(verdict(without_hash.as_bytes()).1.faults > 0);
}

#[test]
fn what_the_log_says_was_lost_is_counted() {
    let (findings, summary) = Logs::new().file("audit", &["a1", "a2", "a3.lost", "a4.stop"]).found();
    assert_eq!(findings, ["audit:3 Lost { count: 7, after: 2, before: 3 }"]);
    assert_eq!((summary.faults, summary.gaps, summary.lost), (0, 1, 7));
}

#[test]
fn what_cannot_be_read_says_what_to_do() {
    let mut logs = Logs::new();
    let newer = logs.line("a1").replace("\"schema_version\":1", "\"schema_version\":2");
    logs.raw("newer", newer + "\n").raw("packed", [0x1f, 0x8b, 8, 0]);
    logs.files.push(logs.folder.path().join("nowhere"));
    let mut findings = Vec::new();
    let summary = verify(&logs.files, &mut |finding| findings.push(finding.to_string()));
    assert_eq!(summary.faults, 3);
    for (finding, expected) in findings.iter().zip([
        "newer:1: has schema version 2, which this gatekeeper does not know: use a newer one",
        "packed: cannot be read: it is compressed: `zcat FILE… | gatekeeper audit verify -`",
        "nowhere: cannot be read: No such file or directory (os error 2)",
    ]) {
        assert!(finding.ends_with(expected), "{finding}");
    }
}
