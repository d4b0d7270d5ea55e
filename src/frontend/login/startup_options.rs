//! Settings in a client's startup packet: by name, and within `options` in libpq's notation.
//!
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS>

use crate::wire::StartupMessage;

/// Startup settings of a client in the server's processing order, without `application_name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StartupOptions {
    /// Names in lower case, and values.
    pub(crate) settings: Vec<(String, Vec<u8>)>,
    /// `application_name` of the client.
    pub(crate) application: Option<Vec<u8>>,
}

/// Settings effective only at login, or with effects beyond the setting's own value.
const NOT_CARRIED: [&str; 6] = [
    "local_preload_libraries",
    "role",
    "seed",
    "session_authorization",
    "session_preload_libraries",
    "temp_buffers",
];

impl StartupOptions {
    /// Reads the settings in `startup`; `None` if only a server understands some of the settings.
    pub(crate) fn read(startup: &StartupMessage) -> Option<Self> {
        let mut options = Self::default();
        if let Some(text) = startup.get("options") {
            let words = split_words(text);
            let mut words = words.iter();
            while let Some(word) = words.next() {
                let setting = match word.strip_prefix(b"-c") {
                    Some([]) => words.next()?,
                    Some(attached) => attached,
                    None => word.strip_prefix(b"--")?,
                };
                let equals = setting.iter().position(|byte| *byte == b'=')?;
                let (name, value) = setting.split_at(equals);
                options.add(&replace_dashes(name), &value[1..])?;
            }
        }
        for (name, value) in startup.parameters() {
            if !Self::is_other(name) {
                options.add(name, value)?;
            }
        }
        Some(options)
    }

    /// Removes the settings read by [`StartupOptions::read`] from `startup`.
    pub(crate) fn remove_from(startup: &mut StartupMessage) {
        startup.remove("options");
        let names: Vec<_> = startup.parameters().map(|(name, _)| name.to_vec()).collect();
        for name in names.iter().filter(|name| !Self::is_other(name)) {
            startup.remove(&String::from_utf8_lossy(name));
        }
    }

    /// True if the parameter `name` is not a setting.
    fn is_other(name: &[u8]) -> bool {
        matches!(name, b"user" | b"database" | b"replication" | b"options") || name.starts_with(b"_pq_.")
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.$".contains(byte);
        if name.is_empty() || !name.iter().all(is_name) {
            return None;
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if name == "application_name" {
            self.application = Some(value.to_vec());
            return Some(());
        }
        if NOT_CARRIED.contains(&name.as_str()) || name.starts_with("transaction_") {
            return None;
        }
        self.settings.push((name, value.to_vec()));
        Some(())
    }
}

/// Replaces dashes in a name by underscores, like a server's command-line parser.
fn replace_dashes(name: &[u8]) -> Vec<u8> {
    name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect()
}

/// Splits `options` into words; a backslash escapes the next byte.
fn split_words(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut within = false;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if b" \t\n\r\x0b\x0c".contains(byte) {
            within = false;
            continue;
        }
        if !within {
            words.push(Vec::new());
            within = true;
        }
        let byte = if *byte == b'\\' { bytes.next() } else { Some(byte) };
        if let (Some(word), Some(byte)) = (words.last_mut(), byte) {
            word.push(*byte);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)]) -> Option<String> {
        let mut startup = StartupMessage::new(crate::wire::ProtocolVersion::V3_0);
        for (name, value) in parameters {
            startup.set(name, value.as_bytes());
        }
        let StartupOptions { settings, application } = StartupOptions::read(&startup)?;
        let application = application.map(|name| ("application_name".to_owned(), name));
        let all = settings.into_iter().chain(application);
        let shown = all.map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(&value)));
        Some(shown.collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn options_are_read_as_a_server_reads_them() {
        for (options, expected) in [
            ("-c geqo=off", Some("geqo=off")),
            (" -cgeqo=off  --Work-Mem=1MB ", Some("geqo=off|work_mem=1MB")),
            (r"-c search_path=a\ b,\\c", Some(r"search_path=a b,\c")),
            ("-c app.x=a=b --app.y=", Some("app.x=a=b|app.y=")),
            ("-c application_name=mine", Some("application_name=mine")),
            ("", Some("")),
            ("-c geqo", None),
            ("-c", None),
            ("--", None),
            ("-E", None),
            ("-S 100", None),
            ("word", None),
            ("-c role=other", None),
            ("-c transaction_isolation=serializable", None),
            ("-c gäqo=off", None),
        ] {
            assert_eq!(read(&[("options", options)]).as_deref(), expected, "{options}");
        }
    }

    #[test]
    fn parameters_come_behind_options() {
        let both = read(&[("DateStyle", "German"), ("options", "-c datestyle=ISO"), ("user", "u")]);
        assert_eq!(both.as_deref(), Some("datestyle=ISO|datestyle=German"));
        assert_eq!(read(&[("role", "other")]), None);
    }

    #[test]
    fn what_was_read_is_taken_out() {
        let mut startup = StartupMessage::new(crate::wire::ProtocolVersion::V3_0);
        for (name, value) in [("DateStyle", "German"), ("options", "-c a.b=c"), ("_pq_.some", "x")] {
            startup.set(name, value);
        }
        StartupOptions::remove_from(&mut startup);
        let left: Vec<_> = startup.parameters().collect();
        assert_eq!(left, [(&b"_pq_.some"[..], &b"x"[..])]);
    }
}
