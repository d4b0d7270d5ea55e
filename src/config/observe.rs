//! Settings of admin API, audit log, log, probe and runtime.

use super::{
    clients::check_files,
    files,
    listener::{are_exclusive, parse_socket},
    problem::Origin,
    reader::{Section, Spot},
    secret,
    transport::read_identity,
    tree::Item,
    units,
};
use crate::{
    admin::AdminSettings,
    audit::{AuditLevel, AuditOutput, AuditSettings, OnFull, StatementText, SyncPolicy},
    credentials::Secret,
    frontend::{Bind, ListenerSettings},
    probe::ProbeSettings,
    tasks::RuntimeSettings,
    telemetry::{LogFormat, LogSettings},
    tls::{ClientCertificates, ListenerTls},
};

/// Default address of the admin API.
const ADMIN_BIND: &str = "127.0.0.1:8080";
/// Default first part of the names of metrics.
const METRICS_PREFIX: &str = "gatekeeper";
/// Maximum length of the first part, which each line of the page repeats.
const MAX_METRICS_PREFIX_BYTES: usize = 64;
/// Default capacity of the audit queue in records.
const DEFAULT_AUDIT_QUEUE_RECORDS: usize = 65_536;
/// Default wait of a client for room in the audit queue.
const AUDIT_BLOCK: std::time::Duration = std::time::Duration::from_secs(5);
/// Default interval of syncs of the audit log.
const AUDIT_SYNC: std::time::Duration = std::time::Duration::from_secs(1);
/// Default size of the statement text in an audit record, in bytes.
const DEFAULT_AUDIT_TEXT_BYTES: u64 = 8 << 10;

const LEVELS: [(&str, AuditLevel); 3] = [
    ("sessions", AuditLevel::Sessions),
    ("writes", AuditLevel::Writes),
    ("statements", AuditLevel::Statements),
];
const STATEMENTS: [(&str, StatementText); 4] = [
    ("none", StatementText::None),
    ("fingerprint", StatementText::Fingerprint),
    ("normalized", StatementText::Normalized),
    ("full", StatementText::Full),
];
const ON_FULL: [(&str, OnFull); 2] = [("block", OnFull::Block), ("shed", OnFull::Shed)];
const SYNC: [(&str, SyncPolicy); 3] = [
    ("never", SyncPolicy::Never),
    ("interval", SyncPolicy::Interval(AUDIT_SYNC)),
    ("batch", SyncPolicy::Batch),
];
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Reads `[admin]`; `None` if turned off.
pub(super) fn read_admin(root: &Section<'_>, listeners: &[Spot<ListenerSettings>]) -> Option<AdminSettings> {
    let section = root.table_or_empty("admin", "admin");
    let enabled = section.flag_or("enabled", true).value;
    let form = "write an IP address and a port, as in \"127.0.0.1:8080\"";
    let read = |text: &str| parse_socket(text).ok_or_else(|| format!("cannot listen on \"{text}\""));
    let bind = match section.has_key("bind") {
        true => section.parsed("bind", read, form).map(|spot| spot.value),
        false => {
            section.record("bind", ADMIN_BIND, &Origin::Default);
            ADMIN_BIND.parse().ok()
        }
    };
    let api_key = secret::read_secret(&section, "api_key");
    let viewer_key = read_viewer_key(&section, api_key.as_ref());
    let metrics_prefix = read_metrics_prefix(&section);
    let open_health = section.flag_or("open_health", false).value;
    let tls = section.table("tls", "admin.tls").and_then(|section| {
        let identity = read_identity(&section)?;
        let tls = ListenerTls {
            identity,
            required: true,
            client_certificates: ClientCertificates::None,
            client_ca_file: None,
        };
        check_files(&section, &tls);
        Some(tls)
    });
    let bind = bind?;
    if !enabled {
        return None;
    }
    if !bind.ip().is_loopback() {
        if !section.has_key("api_key") {
            let what = format!("other machines can reach {bind}, so the admin API needs a key");
            let remedy = match section.origin {
                Origin::File { .. } => "write api_key = { env = \"ADMIN_API_KEY\" } and set that variable",
                _ => "set ADMIN_API_KEY",
            };
            section.context.report.problem(&section.place("bind"), section.named("api_key"), what, remedy);
        }
        if !section.has_key("tls") {
            let what = format!("the admin API's key travels in plaintext to {bind}");
            let remedy = match section.origin {
                Origin::File { .. } => "give it a certificate: tls = { cert = \"…\", key = \"…\" }",
                _ => "give it a certificate: GATEKEEPER_API_TLS_CERT, GATEKEEPER_API_TLS_KEY",
            };
            section.warning("bind", what, remedy);
        }
    }
    if let Some(other) = listeners.iter().find(|other| are_exclusive(&Bind::Tcp(bind), &other.value.bind)) {
        let what = format!("listener `{}` listens on {} already", other.value.name, other.value.bind);
        section.problem("bind", what, format!("write another port in {}", section.remedy_name("bind")));
    }
    Some(AdminSettings { bind, api_key, viewer_key, open_health, metrics_prefix, tls })
}

/// Reads the key that permits reading only, beside the key that permits everything.
fn read_viewer_key(section: &Section<'_>, api_key: Option<&Secret>) -> Option<Secret> {
    let viewer_key = secret::read_secret(section, "viewer_key")?;
    if !section.has_key("api_key") {
        let what = "without `api_key`, everybody who reaches the admin API may do everything";
        let remedy = match section.origin {
            Origin::File { .. } => "write api_key = { env = \"ADMIN_API_KEY\" } and set that variable",
            _ => "set ADMIN_API_KEY",
        };
        section.problem("viewer_key", what, remedy);
    }
    let is_same = api_key.is_some_and(|key| key.reveal() == viewer_key.reveal());
    // A check without secrets reads the same value for both.
    if is_same && section.context.follow {
        section.problem("viewer_key", "is the same key as `api_key`", "choose another key for viewers");
    }
    Some(viewer_key)
}

fn read_metrics_prefix(section: &Section<'_>) -> Box<str> {
    let read = |text: &str| {
        let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        let is_name = text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || c.is_ascii_digit());
        match is_name && text.len() <= MAX_METRICS_PREFIX_BYTES {
            true => Ok(Box::from(text)),
            false => Err(format!("\"{text}\" cannot begin the name of a metric")),
        }
    };
    let form = "write letters, digits and underscores, as in \"alloydb_gatekeeper\"";
    section.parsed("metrics_prefix", read, form).map_or_else(
        || {
            section.record("metrics_prefix", METRICS_PREFIX, &Origin::Default);
            METRICS_PREFIX.into()
        },
        |spot| spot.value,
    )
}

/// Reads `[audit]`; without the table there is no audit log.
pub(super) fn read_audit(root: &Section<'_>) -> Option<AuditSettings> {
    if !root.has_key("audit") {
        root.record("audit", "off", &Origin::Default);
    }
    let section = root.table("audit", "audit")?;
    let output = match section.raw("file").and_then(Item::as_text) {
        Some("-") => {
            section.record("file", "-", &section.place("file"));
            Some(AuditOutput::Stdout)
        }
        _ => section.path("file").map(|spot| AuditOutput::File(spot.value)),
    };
    if let Some(AuditOutput::File(file)) = &output {
        files::check_directory(&section, "file", file);
    }
    if output.is_none() && !section.has_key("file") {
        section.missing("file", "file = \"/var/log/gatekeeper/audit.jsonl\", or \"-\" for standard output");
    }
    let level = section.word_or("level", &LEVELS, AuditLevel::default()).value;
    let statements = section.word_or("statements", &STATEMENTS, StatementText::default()).value;
    let on_full = section.word_or("on_full", &ON_FULL, OnFull::default()).value;
    let queue = section.count("queue", 1, DEFAULT_AUDIT_QUEUE_RECORDS);
    let block_timeout = section.positive_duration("block_timeout", AUDIT_BLOCK);
    let rotate_bytes = section.size("rotate_size");
    if rotate_bytes.as_ref().is_some_and(|spot| spot.value < 1 << 16) {
        section.problem("rotate_size", "is too small to be useful", "write at least \"64KiB\"");
    }
    if rotate_bytes.is_some() && output == Some(AuditOutput::Stdout) {
        section.problem("rotate_size", "only a file can be rotated", "remove it, or write to a file");
    }
    let max_text = section.size("max_text").map_or_else(
        || {
            section.record("max_text", units::show_size(DEFAULT_AUDIT_TEXT_BYTES), &Origin::Default);
            DEFAULT_AUDIT_TEXT_BYTES
        },
        |spot| spot.value,
    );
    let sync_interval = section.positive_duration("sync_interval", AUDIT_SYNC);
    let sync = match section.word_or("sync", &SYNC, SyncPolicy::default()).value {
        SyncPolicy::Interval(_) => SyncPolicy::Interval(sync_interval),
        other => other,
    };
    if sync != SyncPolicy::Never && output == Some(AuditOutput::Stdout) {
        section.problem("sync", "only a file can be synced", "remove it, or write to a file");
    }
    let hash_chain = section.flag_or("hash_chain", false).value;
    Some(AuditSettings {
        output: output?,
        level,
        statements,
        on_full,
        queue,
        block_timeout,
        rotate_bytes: rotate_bytes.map(|spot| spot.value),
        max_text: usize::try_from(max_text).unwrap_or(usize::MAX),
        sync,
        hash_chain,
    })
}

/// Reads `[log]`.
pub(super) fn read_log(root: &Section<'_>) -> LogSettings {
    let section = root.table_or_empty("log", "log");
    let default = LogSettings::default();
    let form =
        "write a level (error, warn, info, debug, trace) or a filter as in \"info,gatekeeper::tls=debug\"";
    let read = |text: &str| match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("\"{text}\" is not a valid filter: {error}")),
    };
    let filter = match section.parsed("level", read, form) {
        Some(spot) => spot.value,
        None => {
            section.record("level", default.filter.clone(), &Origin::Default);
            default.filter
        }
    };
    LogSettings {
        filter,
        format: section.word_or("format", &FORMATS, default.format).value,
        connections: section.flag_or("connections", default.connections).value,
    }
}

/// Reads `[probe]`.
pub(super) fn read_probe(root: &Section<'_>) -> ProbeSettings {
    let section = root.table_or_empty("probe", "probe");
    let default = ProbeSettings::default();
    ProbeSettings {
        interval: section.positive_duration("interval", default.interval),
        timeout: section.positive_duration("timeout", default.timeout),
        failures: u32::try_from(section.count("failures", 1, default.failures as usize)).unwrap_or(u32::MAX),
        lagging_after: section.duration("lagging_after", default.lagging_after).value,
    }
}

/// Reads the path of the socket for handovers.
fn read_handover(section: &Section<'_>) -> Option<std::path::PathBuf> {
    let path = section.path("handover")?.value;
    files::check_directory(section, "handover", &path);
    Some(path)
}

/// Reads `[runtime]`, including the region of the process.
pub(super) fn read_runtime(root: &Section<'_>) -> (RuntimeSettings, Option<String>) {
    let section = root.table_or_empty("runtime", "runtime");
    let default = RuntimeSettings::default();
    let workers = section.number("workers", 1..=1024);
    if workers.is_none() {
        section.record("workers", "the number of cores", &Origin::Default);
    }
    let settings = RuntimeSettings {
        workers: workers.and_then(|spot| usize::try_from(spot.value).ok()),
        drain_delay: section.duration("drain_delay", default.drain_delay).value,
        drain_timeout: section.duration("drain_timeout", default.drain_timeout).value,
        handover: read_handover(&section),
        handover_wait: section.duration("handover_wait", default.handover_wait).value,
    };
    let local_region = section.text("local_region");
    if local_region.is_none() {
        section.record("local_region", "the writer's", &Origin::Default);
    }
    (settings, local_region.map(|spot| spot.value))
}
