//! Files reloaded on change: CAs, certificates, keys, users files.
//!
//! Promises: every kind of change (written in place, renamed over, symlink of a Kubernetes volume swapped) is found
//! within about two seconds; a file is read once unchanged for a second; an invalid file is reported and changes
//! nothing. Refuses to know: the contents of files.

use std::{
    error::Error,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

/// Interval of file checks. A file counts as stable after two equal checks in a row.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A value read from files, which can be read again.
pub trait Reloadable: Send + Sync {
    /// Name for logs and answers: `TLS towards endpoint reads`.
    fn describe(&self) -> String;

    /// The files of the value.
    fn files(&self) -> Vec<PathBuf>;

    /// Reloads the files, checks them, and activates the new content.
    ///
    /// # Errors
    /// The problem with the files; nothing has changed then.
    fn reload(&self) -> Result<Reload, ReloadError>;
}

/// Reason for invalid files.
pub type ReloadError = Box<dyn Error + Send + Sync>;

/// Result of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The contents are unchanged.
    Unchanged,
    /// The new contents are in use.
    Swapped,
}

/// A reload that changed something or failed.
#[derive(Debug)]
pub struct Reloaded {
    /// Name of the value: [`Reloadable::describe`].
    pub what: String,
    /// Result of the reload.
    pub result: Result<Reload, ReloadError>,
}

/// All values of the process that are read from files. A cheap handle. A dropped value is no longer watched.
#[derive(Clone, Default)]
pub struct Files {
    entries: Arc<Mutex<Vec<WatchedValue>>>,
}

struct WatchedValue {
    what: Weak<dyn Reloadable>,
    /// State at the last check.
    seen: Vec<FileMetadata>,
    /// State at the last read.
    read: Vec<FileMetadata>,
    /// Failed reads since the last successful one.
    failure: Option<(SystemTime, String)>,
}

/// Files that cannot be used: the previous contents stay in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableFiles {
    /// Name of the value: [`Reloadable::describe`].
    pub what: String,
    /// Time of the first failed read.
    pub since: SystemTime,
    /// Reason, with its causes.
    pub error: String,
}

/// Metadata of a file. Renames and symlink swaps change the inode, writes change the times.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileMetadata(Option<[i64; 7]>);

// === impl Files ===

impl Files {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches `what` until it is dropped. Reads once more soon: the files may have changed since the value was made.
    pub fn watch<R: Reloadable + 'static>(&self, what: &Arc<R>) {
        let weak: Weak<R> = Arc::downgrade(what);
        self.lock().push(WatchedValue { what: weak, seen: Vec::new(), read: Vec::new(), failure: None });
    }

    /// Values whose last read has failed.
    #[must_use]
    pub fn unusable(&self) -> Vec<UnusableFiles> {
        let unusable = |entry: &WatchedValue| {
            let ((since, error), what) = (entry.failure.clone()?, entry.what.upgrade()?);
            Some(UnusableFiles { what: what.describe(), since, error })
        };
        self.lock().iter().filter_map(unusable).collect()
    }

    /// Reads all values now, changed or not; returns changes and failures.
    #[must_use]
    pub fn reload(&self) -> Vec<Reloaded> {
        self.read_if(|entry, now| {
            entry.seen.clone_from(&now);
            entry.read = now;
            true
        })
    }

    /// Checks the files each second until dropped, and reports changes and failures.
    ///
    /// Reads small files on the current thread: must not run on a worker. Cancel safe.
    pub async fn run(self, mut report: impl FnMut(Reloaded)) {
        let mut ticks = tokio::time::interval(FILE_CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.check_once().into_iter().for_each(&mut report);
        }
    }

    /// A single check: reads files that changed since the last read and are stable since the last check.
    fn check_once(&self) -> Vec<Reloaded> {
        self.read_if(|entry, now| {
            let still = entry.seen == now;
            let due = still && entry.read != now;
            if due {
                entry.read.clone_from(&now);
            }
            entry.seen = now;
            due
        })
    }

    fn read_if(&self, due: impl Fn(&mut WatchedValue, Vec<FileMetadata>) -> bool) -> Vec<Reloaded> {
        let mut entries = self.lock();
        let mut reports = Vec::new();
        entries.retain_mut(|entry| {
            let Some(what) = entry.what.upgrade() else { return false };
            let now = what.files().iter().map(|path| FileMetadata::at(path)).collect();
            if due(entry, now) {
                let result = what.reload();
                entry.note_result(&result);
                if !matches!(result, Ok(Reload::Unchanged)) {
                    reports.push(Reloaded { what: what.describe(), result });
                }
            }
            true
        });
        reports
    }

    fn lock(&self) -> MutexGuard<'_, Vec<WatchedValue>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl WatchedValue ===

impl WatchedValue {
    fn note_result(&mut self, result: &Result<Reload, ReloadError>) {
        let since = self.failure.as_ref().map_or_else(SystemTime::now, |(since, _)| *since);
        self.failure = result.as_ref().err().map(|error| (since, describe_chain(&**error)));
    }
}

/// An error with its causes.
fn describe_chain(error: &(dyn Error + 'static)) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

// === impl FileMetadata ===

impl FileMetadata {
    fn at(path: &Path) -> Self {
        Self(fs::metadata(path).ok().map(|found| {
            [
                found.dev().cast_signed(),
                found.ino().cast_signed(),
                found.size().cast_signed(),
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec(),
            ]
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds the text of a file; rejects an empty text.
    struct Held {
        path: PathBuf,
        text: Mutex<String>,
    }

    impl Reloadable for Held {
        fn describe(&self) -> String {
            "held".into()
        }

        fn files(&self) -> Vec<PathBuf> {
            vec![self.path.clone()]
        }

        fn reload(&self) -> Result<Reload, ReloadError> {
            let now = fs::read_to_string(&self.path)?;
            if now.is_empty() {
                return Err("empty".into());
            }
            let mut text = self.text.lock().unwrap();
            if *text == now {
                return Ok(Reload::Unchanged);
            }
            *text = now;
            Ok(Reload::Swapped)
        }
    }

    fn held(path: PathBuf) -> (Files, Arc<Held>) {
        let text = fs::read_to_string(&path).unwrap();
        let files = Files::new();
        let held = Arc::new(Held { path, text: Mutex::new(text) });
        files.watch(&held);
        settle(&files);
        (files, held)
    }

    /// Checks until nothing is due; returns the reports.
    fn settle(files: &Files) -> Vec<String> {
        (0..3).flat_map(|_| files.check_once()).map(|reloaded| format!("{:?}", reloaded.result)).collect()
    }

    #[test]
    fn a_file_written_in_place_is_read_once_it_is_still() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, "one").unwrap();
        let (files, held) = held(path.clone());
        fs::write(&path, "half").unwrap();
        assert!(files.check_once().is_empty(), "the file has only just changed");
        fs::write(&path, "whole text").unwrap();
        assert!(files.check_once().is_empty(), "the file is still being written");
        assert_eq!(files.check_once().len(), 1);
        assert_eq!(*held.text.lock().unwrap(), "whole text");
        assert!(files.check_once().is_empty(), "nothing is read twice");
    }

    #[test]
    fn an_unusable_file_is_listed_until_it_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, "one").unwrap();
        let (files, _held) = held(path.clone());
        let listed = || -> Vec<_> { files.unusable().into_iter().map(|it| (it.what, it.error)).collect() };
        assert_eq!(listed(), []);
        fs::write(&path, "").unwrap();
        settle(&files);
        assert_eq!(listed(), [("held".to_owned(), "empty".to_owned())]);
        let since = files.unusable()[0].since;
        let failed = files.reload();
        assert!(failed[0].result.is_err());
        assert_eq!(files.unusable()[0].since, since, "since the first failure");
        fs::write(&path, "one").unwrap();
        settle(&files);
        assert_eq!(listed(), [], "mended by the old contents");
    }

    #[test]
    fn a_rename_over_the_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, next) = (folder.path().join("ca.pem"), folder.path().join("next"));
        fs::write(&path, "one").unwrap();
        let (files, held) = held(path.clone());
        fs::write(&next, "two").unwrap();
        fs::rename(&next, &path).unwrap();
        assert_eq!(settle(&files), ["Ok(Swapped)"]);
        assert_eq!(*held.text.lock().unwrap(), "two");
    }

    #[test]
    fn a_kubernetes_volume_swaps_a_folder_behind_a_symlink() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("..v1", "one"), ("..v2", "two")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("ca.pem"), text).unwrap();
        }
        std::os::unix::fs::symlink("..v1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/ca.pem", at("ca.pem")).unwrap();
        let (files, held) = held(at("ca.pem"));
        std::os::unix::fs::symlink("..v2", at("..next")).unwrap();
        fs::rename(at("..next"), at("..data")).unwrap();
        assert_eq!(settle(&files), ["Ok(Swapped)"]);
        assert_eq!(*held.text.lock().unwrap(), "two");
    }

    #[test]
    fn a_bad_or_missing_file_is_reported_once_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, "one").unwrap();
        let (files, held) = held(path.clone());
        fs::write(&path, "").unwrap();
        assert_eq!(settle(&files), ["Err(\"empty\")"]);
        fs::remove_file(&path).unwrap();
        let reports = settle(&files);
        assert_eq!(reports.len(), 1);
        assert!(reports[0].contains("NotFound"), "{reports:?}");
        assert_eq!(*held.text.lock().unwrap(), "one");
        fs::write(&path, "two").unwrap();
        assert_eq!(settle(&files), ["Ok(Swapped)"]);
    }

    #[test]
    fn a_reload_on_demand_reads_at_once_and_what_was_dropped_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, "one").unwrap();
        let (files, held) = held(path.clone());
        fs::write(&path, "two").unwrap();
        assert_eq!(files.reload().len(), 1);
        assert_eq!(files.reload().len(), 0, "unchanged files are not reported");
        drop(held);
        files.check_once();
        assert!(files.entries.lock().unwrap().is_empty());
    }

    #[test]
    fn a_change_before_the_first_look_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, "new").unwrap();
        let files = Files::new();
        let held = Arc::new(Held { path, text: Mutex::new("old".into()) });
        files.watch(&held);
        assert_eq!(settle(&files), ["Ok(Swapped)"]);
    }
}
