//! The program's log: lines on standard error, as text or for Cloud Logging.

use std::{fmt, io};

use serde::ser::{SerializeMap, Serializer};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Registry,
    filter::LevelFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{Format, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

use super::{LogFormat, LogSettings};

/// Reason for a failed start of the log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is invalid.
    #[error(
        "`{filter}` is not a valid log filter: write a level such as `info`, or pairs such as `gatekeeper::tls=debug`"
    )]
    Filter {
        /// The filter as configured.
        filter: String,
        /// The syntax error.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process already has a log.
    #[error("the log is already started")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
    /// The log has ended.
    #[error("the log has ended")]
    Ended(#[source] reload::Error),
}

/// Filter of the running log. Cheap to clone.
#[derive(Clone)]
pub struct LogFilter {
    handle: reload::Handle<EnvFilter, Registry>,
}

/// Starts the log of this process.
///
/// # Errors
/// The filter is invalid, or the process already has a log.
pub fn start_log(settings: &LogSettings) -> Result<LogFilter, LogError> {
    let (subscriber, filter) = build_subscriber(settings, io::stderr)?;
    subscriber.try_init().map_err(LogError::Twice)?;
    Ok(filter)
}

fn build_subscriber<W>(
    settings: &LogSettings,
    to: W,
) -> Result<(impl SubscriberInitExt + Subscriber, LogFilter), LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse_filter(&settings.filter)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(to).with_ansi(false);
    let lines: Box<dyn tracing_subscriber::Layer<_> + Send + Sync> = match settings.format {
        LogFormat::Text => Box::new(lines.event_format(OneLine(Format::default()))),
        LogFormat::Json => Box::new(lines.event_format(CloudLogging)),
    };
    Ok((tracing_subscriber::registry().with(filter).with(lines), LogFilter { handle }))
}

/// Parses a filter. A level alone is that of Gatekeeper: libraries log warnings at most.
fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    let directives = match filter.parse::<LevelFilter>() {
        Ok(level) if level > LevelFilter::WARN => format!("warn,{}={level}", env!("CARGO_PKG_NAME")),
        _ => filter.to_owned(),
    };
    EnvFilter::try_new(directives).map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

// === impl LogFilter ===

impl LogFilter {
    /// Replaces the filter, for all events from now on.
    ///
    /// # Errors
    /// The filter is invalid; the previous one stays in use.
    pub fn replace(&self, filter: &str) -> Result<(), LogError> {
        self.handle.reload(parse_filter(filter)?).map_err(LogError::Ended)
    }
}

/// Writes one line per event and escapes control characters in values. Clients choose user, database and application
/// names, which would otherwise forge lines or control a terminal.
struct OneLine(Format);

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::with_capacity(256);
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let line = line.strip_suffix('\n').unwrap_or(&line);
        for c in line.chars() {
            if is_unsafe_in_text(c) { write!(to, "{}", c.escape_default())? } else { to.write_char(c)? }
        }
        to.write_char('\n')
    }
}

/// True for control characters, for line separators of some viewers, and for characters that change the text direction.
fn is_unsafe_in_text(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One JSON object per line with the
/// [names that Cloud Logging reads](https://cloud.google.com/logging/docs/structured-logging), `severity`, `time` and
/// `message`, and with the fields of the event.
struct CloudLogging;

impl<S, N> FormatEvent<S, N> for CloudLogging
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Vec::with_capacity(256);
        write_event(&mut line, event).map_err(|_| fmt::Error)?;
        line.push(b'\n');
        to.write_str(std::str::from_utf8(&line).map_err(|_| fmt::Error)?)
    }
}

fn write_event(line: &mut Vec<u8>, event: &Event<'_>) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Serializer::new(line);
    let mut map = json.serialize_map(None)?;
    map.serialize_entry("severity", severity_name(*event.metadata().level()))?;
    map.serialize_entry("time", &jiff::Timestamp::now().to_string())?;
    let mut fields = Fields { map: &mut map, result: Ok(()) };
    event.record(&mut fields);
    fields.result?;
    map.serialize_entry("target", event.metadata().target())?;
    map.end()
}

const fn severity_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

/// Writes an event's fields, including `message`, as entries of the line's object.
struct Fields<'a, M: SerializeMap> {
    map: &'a mut M,
    result: Result<(), M::Error>,
}

impl<M: SerializeMap> Fields<'_, M> {
    fn entry(&mut self, field: &Field, value: impl serde::Serialize) {
        if self.result.is_ok() {
            self.result = self.map.serialize_entry(field.name(), &value);
        }
    }
}

impl<M: SerializeMap> Visit for Fields<'_, M> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.entry(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.entry(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.entry(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.entry(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.entry(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.entry(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(settings: &LogSettings, what: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        tracing::subscriber::with_default(
            build_subscriber(settings, move || writer.clone()).unwrap().0,
            what,
        );
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_json_line_has_the_names_that_cloud_logging_reads() {
        let settings =
            LogSettings { filter: "info".into(), format: LogFormat::Json, ..LogSettings::default() };
        let page = logged(&settings, || {
            tracing::warn!(endpoint = %"reads", attempts = 3, ok = false, "login \"failed\"");
            tracing::debug!("hidden by the filter");
        });
        let line: serde_json::Value = serde_json::from_str(&page).unwrap();
        assert_eq!(line["severity"], "WARNING");
        assert_eq!(line["message"], "login \"failed\"");
        assert_eq!(line["endpoint"], "reads");
        assert_eq!(line["attempts"], 3);
        assert_eq!(line["ok"], false);
        assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert_eq!(page.matches('\n').count(), 1);
    }

    #[test]
    fn a_text_line_is_for_people() {
        let page = logged(&LogSettings::default(), || tracing::info!(listener = %"app", "listening"));
        assert!(page.contains("INFO") && page.ends_with("listening listener=app\n"), "{page}");
    }

    #[test]
    fn a_value_in_a_text_line_forges_no_other() {
        let user =
            "eve\n2026-01-01T00:00:00Z  WARN gatekeeper: forged\r\u{1b}[31m\u{7f}\u{85}\u{2028}\u{202e}é\\";
        let page = logged(&LogSettings::default(), || {
            let span = tracing::info_span!("login", %user);
            span.in_scope(|| tracing::info!(%user, user = ?user, "{user}"));
        });
        assert_eq!(page.matches('\n').count(), 1, "{page}");
        let unsafe_ones: Vec<char> =
            page.trim_end_matches('\n').chars().filter(|c| is_unsafe_in_text(*c)).collect();
        assert!(unsafe_ones.is_empty(), "{unsafe_ones:?} in {page}");
        assert!(page.contains(r"eve\n2026-01-01T00:00:00Z  WARN gatekeeper: forged\r"), "{page}");
        assert!(page.contains('é'), "what can be read stays as it is: {page}");
    }

    #[test]
    fn a_level_alone_is_that_of_gatekeeper() {
        let settings = LogSettings { filter: "debug".into(), ..LogSettings::default() };
        let page = logged(&settings, || {
            tracing::debug!("ours");
            tracing::debug!(target: "rustls::client", "theirs");
            tracing::warn!(target: "rustls::client", "their warning");
        });
        assert!(
            page.contains("ours") && page.contains("their warning") && !page.contains("theirs"),
            "{page}"
        );
    }

    #[test]
    fn a_replaced_filter_counts_at_once() {
        let page = Page::default();
        let writer = page.clone();
        let (subscriber, filter) = build_subscriber(&LogSettings::default(), move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("before");
            filter.replace("debug").unwrap();
            tracing::debug!("behind");
            assert!(filter.replace("gatekeeper=loud=er").is_err());
            tracing::debug!("last");
        });
        let page = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert!(!page.contains("before") && page.contains("behind") && page.contains("last"), "{page}");
    }

    #[test]
    fn a_wrong_filter_is_refused_with_a_hint() {
        let settings = LogSettings { filter: "gatekeeper=loud=er".into(), ..LogSettings::default() };
        let error = build_subscriber(&settings, io::sink).err().unwrap();
        assert!(error.to_string().contains("`gatekeeper=loud=er` is not a valid log filter"), "{error}");
    }
}
