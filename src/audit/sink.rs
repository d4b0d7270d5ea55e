//! The output for lines: a rotated file, or standard output.
//!
//! Promises: the file holds whole lines only, also after a partial write; a partial line left by an earlier process is
//! terminated; unwritten lines are returned to the caller, so that rotation, reopening and a full disk lose no line.
//! Refuses to know: when to rotate, and the content of lines.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};

use super::AuditOutput;

pub(super) struct Sink {
    output: Output,
}

enum Output {
    File { path: PathBuf, opened: OutputFile },
    Stdout,
}

/// An open file for appending.
pub(super) struct OutputFile {
    file: File,
    size: u64,
    /// A regular file, which can be synced.
    regular: bool,
}

/// A write that failed.
#[derive(Debug)]
pub(super) struct WriteFailed {
    /// Bytes of whole lines written to the file.
    pub(super) written: usize,
    pub(super) error: io::Error,
}

/// Read and write for the owner, read for the group.
const FILE_MODE: u32 = 0o640;

impl Sink {
    pub(super) fn open(output: &AuditOutput) -> io::Result<Self> {
        let output = match output {
            AuditOutput::Stdout => Output::Stdout,
            AuditOutput::File(path) => Output::File { path: path.clone(), opened: append_to(path)? },
        };
        Ok(Self { output })
    }

    /// Size of the file in bytes; 0 for standard output.
    pub(super) fn size(&self) -> u64 {
        match &self.output {
            Output::Stdout => 0,
            Output::File { opened, .. } => opened.size,
        }
    }

    /// Writes whole lines.
    ///
    /// # Errors
    /// The error of the operating system, with the number of bytes written.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), WriteFailed> {
        match &mut self.output {
            Output::Stdout => {
                let mut out = io::stdout().lock();
                let written = out.write_all(lines).and_then(|()| out.flush());
                written.map_err(|error| WriteFailed { written: 0, error })
            }
            Output::File { opened, .. } => append_lines(&mut opened.file, &mut opened.size, lines),
        }
    }

    /// Syncs the file to disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        match &self.output {
            Output::File { opened: OutputFile { file, regular: true, .. }, .. } => file.sync_data(),
            _ => Ok(()),
        }
    }

    /// True if the path refers to another file, or to none.
    pub(super) fn is_moved(&self) -> bool {
        let Output::File { path, opened } = &self.output else { return false };
        let place = |of: Metadata| (of.dev(), of.ino());
        match (std::fs::metadata(path), opened.file.metadata()) {
            (Ok(named), Ok(ours)) => place(named) != place(ours),
            _ => true,
        }
    }

    /// Moves the file aside, under a free name with the time and a number, and returns the name. Lines are still
    /// written to the moved file until another is opened at the path.
    pub(super) fn move_aside(&self, now: Timestamp) -> io::Result<Option<String>> {
        let Output::File { path, .. } = &self.output else { return Ok(None) };
        let stamp = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut aside = with_suffix(path, &stamp);
        for number in 1.. {
            if !aside.exists() {
                break;
            }
            aside = with_suffix(path, &format!("{stamp}-{number}"));
        }
        std::fs::rename(path, &aside)?;
        Ok(aside.file_name().map(|name| name.to_string_lossy().into_owned()))
    }

    /// Opens a file at the path. Lines go to the old file until the new one is adopted.
    pub(super) fn open_again(&self) -> io::Result<Option<OutputFile>> {
        match &self.output {
            Output::File { path, .. } => append_to(path).map(Some),
            Output::Stdout => Ok(None),
        }
    }

    /// Switches to the new file.
    pub(super) fn adopt(&mut self, new: OutputFile) {
        if let Output::File { opened, .. } = &mut self.output {
            *opened = new;
        }
    }
}

fn append_to(path: &Path) -> io::Result<OutputFile> {
    let mut file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)?;
    let facts = file.metadata()?;
    let mut size = facts.len();
    if facts.is_file() && size > 0 && !ends_a_line(path) {
        file.write_all(b"\n")?;
        size += 1;
    }
    Ok(OutputFile { file, size, regular: facts.is_file() })
}

/// True if the last byte of a file ends a line, or if the file cannot be read.
fn ends_a_line(path: &Path) -> bool {
    let last = || {
        let (mut file, mut last) = (File::open(path)?, [0]);
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        io::Result::Ok(last)
    };
    last().map_or(true, |last| last == *b"\n")
}

fn append_lines(file: &mut File, size: &mut u64, lines: &[u8]) -> Result<(), WriteFailed> {
    let mut written = 0;
    while written < lines.len() {
        match file.write(&lines[written..]) {
            Ok(0) => {
                return Err(remove_torn_line(file, size, lines, written, io::ErrorKind::WriteZero.into()));
            }
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(remove_torn_line(file, size, lines, written, error)),
        }
    }
    *size += written as u64;
    Ok(())
}

/// Removes a partial line from the file after a failed write.
fn remove_torn_line(
    file: &File,
    size: &mut u64,
    lines: &[u8],
    written: usize,
    error: io::Error,
) -> WriteFailed {
    let whole = memchr::memrchr(b'\n', &lines[..written]).map_or(0, |at| at + 1);
    *size += whole as u64;
    if written > whole && file.set_len(*size).is_err() {
        // Readers will find a partial line: truncation failed too.
        *size += (written - whole) as u64;
    }
    WriteFailed { written: whole, error }
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

    fn sink(path: &Path) -> Sink {
        Sink::open(&AuditOutput::File(path.to_owned())).unwrap()
    }

    #[test]
    fn the_file_is_not_for_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        sink(&path).write(b"{}\n").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
    }

    #[test]
    fn a_file_that_is_moved_aside_takes_lines_until_the_next_one_is_adopted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut sink = sink(&path);
        for number in 1..=3 {
            sink.write(format!("{{\"a\":{number}}}\n").as_bytes()).unwrap();
            assert!(!sink.is_moved());
            let aside = sink.move_aside(now()).unwrap().unwrap();
            assert!(sink.is_moved());
            assert!(aside.starts_with("audit.jsonl.20261122T100000Z"), "{aside}");
            sink.write(b"{\"end\":true}\n").unwrap();
            let next = sink.open_again().unwrap().unwrap();
            sink.adopt(next);
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("audit.jsonl.20261122T100000Z"), "{\"a\":1}\n{\"end\":true}\n");
        assert_eq!(read("audit.jsonl.20261122T100000Z-1"), "{\"a\":2}\n{\"end\":true}\n");
        assert_eq!(read("audit.jsonl.20261122T100000Z-2"), "{\"a\":3}\n{\"end\":true}\n");
        assert_eq!((read("audit.jsonl").as_str(), sink.size()), ("", 0));
    }

    #[test]
    fn half_a_line_that_was_left_behind_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        std::fs::write(&path, "{\"a\":1}\n{\"a").unwrap();
        let mut sink = sink(&path);
        sink.write(b"{\"a\":3}\n").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"a\n{\"a\":3}\n");
        assert_eq!(sink.size(), text.len() as u64);
    }

    #[test]
    fn a_write_that_fails_half_way_leaves_no_half_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        file.write_all(b"{\"a\":1}\n{\"a\":2}\n{\"a").unwrap();
        let (mut size, lines) = (0, b"{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
        let failed = remove_torn_line(&file, &mut size, lines, 19, io::ErrorKind::StorageFull.into());
        assert_eq!((failed.written, size), (16, 16));
        assert_eq!(std::fs::read(&path).unwrap(), &lines[..16]);
        append_lines(&mut file, &mut size, &lines[failed.written..]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), lines);
    }
}
