//! Metrics of the process from `/proc`, read for each page.
//!
//! The names are those of all Prometheus client libraries.

use std::{fmt::Write, fs};

use super::{
    catalog::{self, PROCESS_CPU},
    registry::{Gauge, MetricRegistry},
};

pub(super) struct ProcessMetrics {
    memory: Gauge,
    fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
    start: Gauge,
}

impl ProcessMetrics {
    pub(super) fn new(registry: &MetricRegistry) -> Self {
        let gauge = |metric| registry.gauge(metric, Vec::new(), f64::NAN);
        Self {
            memory: gauge(&catalog::PROCESS_MEMORY),
            fds: gauge(&catalog::PROCESS_FDS),
            max_fds: gauge(&catalog::PROCESS_MAX_FDS),
            threads: gauge(&catalog::PROCESS_THREADS),
            start: gauge(&catalog::PROCESS_START),
        }
    }

    /// Updates the gauges and returns the processor time in seconds. Unreadable values keep their last state.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub(super) fn sample(&self) -> Option<f64> {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let mut cpu = None;
        if let Ok(text) = fs::read_to_string("/proc/self/stat")
            && let Some(stat) = Stat::parse(&text)
        {
            cpu = Some(stat.cpu_ticks as f64 / ticks);
            self.memory.set(stat.pages as f64 * rustix::param::page_size() as f64);
            self.threads.set(stat.threads as f64);
            if let Some(boot) = boot_time() {
                self.start.set(boot as f64 + stat.start_ticks as f64 / ticks);
            }
        }
        if let Some(FileDescriptors { open, limit }) = file_descriptors() {
            self.fds.set(open as f64);
            self.max_fds.set(limit as f64);
        }
        cpu
    }
}

/// File descriptors of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDescriptors {
    /// Number of open descriptors.
    pub open: u64,
    /// Maximum number; the largest integer without a limit, as in other programs.
    pub limit: u64,
}

/// Counts the descriptors; `None` if `/proc` cannot be read.
#[must_use]
pub fn file_descriptors() -> Option<FileDescriptors> {
    let folder = "/proc/self/fd";
    // Linux 6.2 and later give the number as the size of the folder; a list of ten thousand takes milliseconds.
    let open = match fs::metadata(folder).ok()?.len() {
        // Minus the descriptor of the folder itself.
        0 => (fs::read_dir(folder).ok()?.count() as u64).saturating_sub(1),
        open => open,
    };
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    Some(FileDescriptors { open, limit: limit.unwrap_or(u64::MAX) })
}

/// Adds the processor time to a page. The exporter's counters are integers; whole seconds would give rates over a
/// minute a step of one sixtieth of a processor.
pub(super) fn show_cpu(page: &mut String, seconds: Option<f64>) {
    let Some(seconds) = seconds else { return };
    let name = PROCESS_CPU.name;
    write!(page, "# HELP {name} {}\n# TYPE {name} counter\n{name} {seconds}\n", PROCESS_CPU.help).ok();
}

/// The used fields of `/proc/self/stat`; see
/// [proc_pid_stat(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, with any characters.
        let rest = &text[text.rfind(')')? + 1..];
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The man page counts fields from 1; the first of `rest` is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            pages: field(24)?,
        })
    }
}

/// Boot time of the machine, in seconds since 1970.
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_open_file_counts_as_a_descriptor() {
        let before = file_descriptors().unwrap();
        let files: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = file_descriptors().unwrap();
        // Other tests of the process open and close files, too.
        assert!(after.open + 50 > before.open + files.len() as u64, "{before:?} {after:?}");
        assert!(after.open < after.limit && after.limit == before.limit, "{after:?}");
    }

    #[test]
    fn a_program_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let text = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 9 0 12345 1000000 321 18446744073709551615";
        let stat = Stat { cpu_ticks: 12, threads: 9, start_ticks: 12345, pages: 321 };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("garbage"), None);
    }
}
