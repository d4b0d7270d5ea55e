//! Verifies a log: missing, changed and truncated records.
//!
//! Promises: reads every line; memory grows with the number of boots only; distinguishes a log truncated by a kill from
//! a damaged log. Refuses to know: whether a completely rewritten log is genuine. For that, the last hash of a chain
//! must be stored elsewhere.

mod finding;
mod lines;

use std::{borrow::Cow, collections::HashMap, path::PathBuf, rc::Rc};

use serde::Deserialize;

pub use self::finding::{Finding, FindingKind, LinePosition, Weight};
use self::lines::{Lines, in_order};
use super::{chain::LineHash, line::SCHEMA_VERSION};

/// Counts of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Files that were read.
    pub files: u64,
    /// Records read.
    pub records: u64,
    /// Boots of the process.
    pub boots: u64,
    /// Records reported as lost by the log.
    pub lost: u64,
    /// Findings of [`Weight::Fault`].
    pub faults: u64,
    /// Findings of [`Weight::Gap`].
    pub gaps: u64,
    /// Times of the first and the last record.
    pub span: Option<(Box<str>, Box<str>)>,
}

/// Reads `files` in the order of their records and reports findings. `-` is standard input.
pub fn verify(files: &[PathBuf], tell: &mut dyn FnMut(&Finding)) -> Summary {
    let mut verifier = LogVerifier { tell, summary: Summary::default(), boots: HashMap::new(), broken: None };
    for file in in_order(files) {
        let name: Rc<str> = file.to_string_lossy().into();
        let mut place = LinePosition { file: name, line: 0 };
        let mut lines = match Lines::open(&file) {
            Ok(lines) => lines,
            Err(error) => {
                verifier.found(&place, FindingKind::Unreadable(error.to_string().into()));
                continue;
            }
        };
        verifier.summary.files += 1;
        loop {
            place.line += 1;
            match lines.next() {
                Ok(Some(line)) => verifier.on_line(&place, line),
                Ok(None) => break,
                Err(error) => {
                    verifier.found(&place, FindingKind::Unreadable(error.to_string().into()));
                    break;
                }
            }
        }
    }
    verifier.on_end()
}

/// State of a verification.
struct LogVerifier<'a> {
    tell: &'a mut dyn FnMut(&Finding),
    summary: Summary,
    boots: HashMap<Box<str>, Boot>,
    /// An incomplete line: the end of a boot, or damage; the next line decides.
    broken: Option<(LinePosition, FindingKind)>,
}

/// One boot of the process.
struct Boot {
    /// Position among the boots.
    number: u64,
    last: LinePosition,
    last_seq: u64,
    /// Hash of the last line, if lines carry hashes.
    last_hash: Option<LineHash>,
    /// A later boot has begun.
    followed: bool,
    /// The boot has written `audit.stopped`.
    stopped: bool,
}

/// The fields of a line that verification needs.
#[derive(Deserialize)]
struct Record<'a> {
    schema_version: u64,
    #[serde(default)]
    seq: u64,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(borrow, default)]
    boot_id: Cow<'a, str>,
    #[serde(borrow)]
    prev_hash: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "event.action", default)]
    action: Cow<'a, str>,
    #[serde(rename = "audit.lost.count", default)]
    lost: u64,
    #[serde(rename = "audit.lost.after_seq", default)]
    lost_after: u64,
}

impl LogVerifier<'_> {
    fn on_line(&mut self, place: &LinePosition, line: &[u8]) {
        let record: Record<'_> = match serde_json::from_slice(line) {
            Ok(record) => record,
            Err(error) => return self.on_broken(place, line, &error),
        };
        let begins = record.action == "audit.started" && record.seq == 1;
        if let Some((place, damage)) = self.broken.take() {
            self.found(&place, if begins { FindingKind::CutOff } else { damage });
        }
        if record.schema_version != SCHEMA_VERSION {
            return self.found(place, FindingKind::Version(record.schema_version));
        }
        if record.seq == 0 || record.boot_id.is_empty() || record.time.is_empty() {
            return self.found(place, FindingKind::Unnumbered);
        }
        self.summary.records += 1;
        match &mut self.summary.span {
            None => self.summary.span = Some((record.time.as_ref().into(), record.time.as_ref().into())),
            Some((_, last)) if **last < *record.time => *last = record.time.as_ref().into(),
            Some(_) => {}
        }
        if begins {
            // Earlier boots end here, unless a process continues beside the new one.
            self.boots.values_mut().for_each(|boot| boot.followed = true);
        }
        self.in_its_place(place, &record, line);
        if record.lost > 0 {
            self.summary.lost += record.lost;
            let (count, after, before) = (record.lost, record.lost_after, record.seq);
            self.found(place, FindingKind::Lost { count, after, before });
        }
    }

    fn on_broken(&mut self, place: &LinePosition, line: &[u8], error: &serde_json::Error) {
        if let Some((place, damage)) = self.broken.take() {
            self.found(&place, damage);
        }
        let zeros = line.len() - line.iter().rev().skip_while(|byte| **byte == 0).count();
        let damage = FindingKind::Damaged(if zeros > 0 {
            "it ends in zeros, as after a power failure".into()
        } else {
            error.to_string().into()
        });
        // An incomplete line, possibly cut in the middle of a character.
        let ends_early = error.is_eof()
            || zeros > 0
            || std::str::from_utf8(line).is_err_and(|error| error.error_len().is_none());
        match ends_early {
            true => self.broken = Some((place.clone(), damage)),
            false => self.found(place, damage),
        }
    }

    fn in_its_place(&mut self, place: &LinePosition, record: &Record<'_>, line: &[u8]) {
        let hash = record.prev_hash.as_ref().map(|_| LineHash::of(line));
        let seq = record.seq;
        let Some(boot) = self.boots.get_mut(&*record.boot_id) else {
            let id: Box<str> = record.boot_id.as_ref().into();
            let boot = Boot {
                number: self.summary.boots,
                last: place.clone(),
                last_seq: seq,
                last_hash: hash,
                followed: false,
                stopped: record.action == "audit.stopped",
            };
            self.boots.insert(id.clone(), boot);
            self.summary.boots += 1;
            return match seq {
                1 if record
                    .prev_hash
                    .as_ref()
                    .is_some_and(|recorded| *recorded != LineHash::NONE.to_string()) =>
                {
                    self.found(place, FindingKind::Changed { seq });
                }
                1 => {}
                // Records before the first file are not missing.
                _ if self.summary.boots == 1 => {
                    self.found(place, FindingKind::BeginsInside { boot: id, first: seq })
                }
                _ => self.found(place, FindingKind::Missing { boot: id, first: 1, last: seq - 1 }),
            };
        };
        let expected = boot.last_seq + 1;
        let chained = match (&boot.last_hash, &record.prev_hash) {
            (Some(hash), Some(recorded)) => *recorded == hash.to_string(),
            (None, None) => true,
            _ => false,
        };
        if seq >= expected {
            (boot.last_seq, boot.last_hash, boot.last) = (seq, hash, place.clone());
        }
        boot.stopped |= record.action == "audit.stopped";
        let id: Box<str> = record.boot_id.as_ref().into();
        if seq > expected {
            self.found(place, FindingKind::Missing { boot: id, first: expected, last: seq - 1 });
        } else if seq < expected {
            self.found(place, FindingKind::Misplaced { boot: id, seq, expected });
        } else if !chained {
            self.found(place, FindingKind::Changed { seq });
        }
    }

    fn on_end(mut self) -> Summary {
        if let Some((place, _)) = self.broken.take() {
            self.found(&place, FindingKind::CutOff);
        }
        let mut open: Vec<_> =
            std::mem::take(&mut self.boots).into_iter().filter(|(_, boot)| !boot.stopped).collect();
        open.sort_by_key(|(_, boot)| boot.number);
        for (id, Boot { last, last_seq, followed, .. }) in open {
            let kind = match followed {
                true => FindingKind::Killed { boot: id, last: last_seq },
                false => FindingKind::Open { boot: id, last: last_seq },
            };
            self.found(&last, kind);
        }
        self.summary
    }

    fn found(&mut self, place: &LinePosition, kind: FindingKind) {
        match kind.weight() {
            Weight::Fault => self.summary.faults += 1,
            Weight::Gap => self.summary.gaps += 1,
            Weight::Remark => {}
        }
        (self.tell)(&Finding { place: place.clone(), kind });
    }
}

#[cfg(test)]
mod tests;
