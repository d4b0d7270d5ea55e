//! The lines of a file, read one at a time with bounded memory.

use std::{
    cmp::Ordering,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// The lines of a file or of standard input.
pub(super) struct Lines {
    from: Box<dyn BufRead>,
    line: Vec<u8>,
}

/// Sort key of files: time of the first record.
#[derive(Deserialize)]
struct First {
    time: String,
    seq: u64,
}

/// Maximum length of a line: longer than any statement's text.
const MAX_LINE_BYTES: u64 = 2 << 30;
/// Size of a read.
const READ_BYTES: usize = 1 << 17;
/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut from: Box<dyn BufRead> = match path.to_str() {
            Some("-") => Box::new(BufReader::with_capacity(READ_BYTES, io::stdin())),
            _ => Box::new(BufReader::with_capacity(READ_BYTES, File::open(path)?)),
        };
        if from.fill_buf()?.starts_with(&GZIP) {
            return Err(io::Error::other("it is compressed: `zcat FILE… | gatekeeper audit verify -`"));
        }
        Ok(Self { from, line: Vec::new() })
    }

    /// The next line without its line break, which the last line may lack.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        if self.from.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        if self.line.len() as u64 == MAX_LINE_BYTES {
            return Err(io::Error::other("its lines do not end"));
        }
        let whole = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some(whole))
    }
}

/// The files in the order of their first records; names do not sort by age. Files without a record come last, in the
/// given order.
pub(super) fn in_order(files: &[PathBuf]) -> Vec<PathBuf> {
    if files.iter().any(|file| file.as_os_str() == "-") {
        return files.to_vec();
    }
    let mut files: Vec<_> = files.iter().map(|file| (first_record(file), file.clone())).collect();
    files.sort_by(|(one, _), (other, _)| match (one, other) {
        (Some(one), Some(other)) => one.time.cmp(&other.time).then(one.seq.cmp(&other.seq)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    });
    files.into_iter().map(|(_, file)| file).collect()
}

fn first_record(file: &Path) -> Option<First> {
    let mut lines = Lines::open(file).ok()?;
    serde_json::from_slice(lines.next().ok()??).ok()
}
