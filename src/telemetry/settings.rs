//! Settings of the program's log.

/// The program's log, on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A filter in the syntax of `tracing-subscriber`'s `EnvFilter`. Default `info`.
    pub filter: String,
    /// Format of lines.
    pub format: LogFormat,
    /// Each login and each end of a session is logged. Default no.
    pub connections: bool,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line, with the field names of Cloud Logging.
    Json,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text, connections: false }
    }
}
