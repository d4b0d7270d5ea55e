//! Where lines end: a file that is rotated and reopened, or standard output.
//!
//! Promises: the file holds whole lines only, also after a write that failed half-way; lines that were not written are
//! the caller's to write again, so that rotation, reopening and a full disk lose nothing.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};

use super::AuditOutput;

pub(super) struct Sink {
    output: Output,
    rotate_bytes: Option<u64>,
}

enum Output {
    File { path: PathBuf, file: File, size: u64 },
    Stdout,
}

/// A write that failed.
#[derive(Debug)]
pub(super) struct WriteFailed {
    /// Octets that are in the file for good: whole lines.
    pub(super) written: usize,
    pub(super) error: io::Error,
}

/// Owner reads and writes, group reads, others nothing.
const MODE: u32 = 0o640;

impl Sink {
    pub(super) fn open(output: &AuditOutput, rotate_bytes: Option<u64>) -> io::Result<Self> {
        let output = match output {
            AuditOutput::Stdout => Output::Stdout,
            AuditOutput::File(path) => {
                let (file, size) = append_to(path)?;
                Output::File { path: path.clone(), file, size }
            }
        };
        Ok(Self { output, rotate_bytes })
    }

    /// Writes whole lines. The file is rotated first if it would grow past its limit.
    ///
    /// # Errors
    /// The system's; it says how much was written all the same.
    pub(super) fn write(&mut self, lines: &[u8], now: Timestamp) -> Result<(), WriteFailed> {
        let failed = |written| move |error| WriteFailed { written, error };
        match &mut self.output {
            Output::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines).and_then(|()| out.flush()).map_err(failed(0))
            }
            Output::File { path, file, size } => {
                if *size > 0 && self.rotate_bytes.is_some_and(|limit| *size + lines.len() as u64 > limit) {
                    (*file, *size) = rotate(path, now).map_err(failed(0))?;
                }
                append(file, size, lines)
            }
        }
    }

    /// Opens the file by its name again, after somebody moved it. On failure the old one goes on.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Output::File { path, file, size } = &mut self.output {
            (*file, *size) = append_to(path)?;
        }
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn append(file: &mut File, size: &mut u64, lines: &[u8]) -> Result<(), WriteFailed> {
    let mut written = 0;
    while written < lines.len() {
        match file.write(&lines[written..]) {
            Ok(0) => return Err(torn(file, size, lines, written, io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(torn(file, size, lines, written, error)),
        }
    }
    *size += written as u64;
    Ok(())
}

/// After a failure: takes the beginning of a line that was left in the file out again.
fn torn(file: &File, size: &mut u64, lines: &[u8], written: usize, error: io::Error) -> WriteFailed {
    let whole = memchr::memrchr(b'\n', &lines[..written]).map_or(0, |at| at + 1);
    *size += whole as u64;
    if written > whole && file.set_len(*size).is_err() {
        // A reader will meet half a line; nothing better can be done on a disk in this state.
        *size += (written - whole) as u64;
    }
    WriteFailed { written: whole, error }
}

/// Moves the file aside, under a name with the time and a number that is free, and begins a new one.
fn rotate(path: &Path, now: Timestamp) -> io::Result<(File, u64)> {
    let stamp = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut aside = with_suffix(path, &stamp);
    for number in 1.. {
        if !aside.exists() {
            break;
        }
        aside = with_suffix(path, &format!("{stamp}-{number}"));
    }
    std::fs::rename(path, &aside)?;
    append_to(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    fn sink(path: &Path, rotate_bytes: Option<u64>) -> Sink {
        Sink::open(&AuditOutput::File(path.to_owned()), rotate_bytes).unwrap()
    }

    #[test]
    fn the_file_is_not_for_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        sink(&path, None).write(b"{}\n", now()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
    }

    #[test]
    fn a_file_is_moved_aside_before_it_grows_past_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut sink = sink(&path, Some(10));
        for line in ["{\"a\":1}\n", "{\"a\":2}\n", "{\"a\":3}\n"] {
            sink.write(line.as_bytes(), now()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("audit.jsonl.20261122T100000Z"), "{\"a\":1}\n");
        assert_eq!(read("audit.jsonl.20261122T100000Z-1"), "{\"a\":2}\n");
        assert_eq!(read("audit.jsonl"), "{\"a\":3}\n");
    }

    #[test]
    fn a_write_that_fails_half_way_leaves_no_half_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        file.write_all(b"{\"a\":1}\n{\"a\":2}\n{\"a").unwrap();
        let (mut size, lines) = (0, b"{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
        let failed = torn(&file, &mut size, lines, 19, io::ErrorKind::StorageFull.into());
        assert_eq!((failed.written, size), (16, 16));
        assert_eq!(std::fs::read(&path).unwrap(), &lines[..16]);
        append(&mut file, &mut size, &lines[failed.written..]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), lines);
    }
}
