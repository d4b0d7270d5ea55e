//! The session's id in `application_name`, by which logs and views of a server can be joined with the audit log.

use super::{reported_parameters::APPLICATION_NAME, setting_values::SettingValues};

/// The end of a session's `application_name`: `gk:BOOT_ID:SESSION_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionTag(Box<[u8]>);

/// Bytes of `application_name` that a server keeps.
/// <https://www.postgresql.org/docs/current/runtime-config-logging.html#GUC-APPLICATION-NAME>
const MAX_APPLICATION_NAME_BYTES: usize = 63;

// === impl SessionTag ===

impl SessionTag {
    /// The tag of the session `id` of the process run `boot_id`.
    #[must_use]
    pub fn new(boot_id: &str, id: u64) -> Self {
        Self(format!("gk:{boot_id}:{id}").into_bytes().into())
    }

    /// `name`, cut as needed, with the tag behind. `name` is plain ASCII, as a server stores it.
    #[must_use]
    pub fn apply_to(&self, name: &[u8]) -> Vec<u8> {
        if name.ends_with(&self.0) {
            return name.to_vec();
        }
        let room = MAX_APPLICATION_NAME_BYTES.saturating_sub(self.0.len() + 1);
        let mut tagged = name[..name.len().min(room)].trim_ascii_end().to_vec();
        if !tagged.is_empty() {
            tagged.push(b' ');
        }
        tagged.extend_from_slice(&self.0);
        tagged
    }

    /// `values` with the tag in `application_name`, if that is set.
    pub(super) fn apply_to_values(&self, values: &SettingValues) -> SettingValues {
        match values.get(APPLICATION_NAME) {
            Some(name) => values.with(APPLICATION_NAME, Some(&self.apply_to(name))),
            None => values.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(name: &str) -> String {
        String::from_utf8(SessionTag::new("0123456789abcdef", 42).apply_to(name.as_bytes())).unwrap()
    }

    #[test]
    fn the_clients_name_stays_in_front() {
        assert_eq!(tagged("psql"), "psql gk:0123456789abcdef:42");
        assert_eq!(tagged(""), "gk:0123456789abcdef:42");
        assert_eq!(tagged(&tagged("psql")), tagged("psql"), "a tag is not repeated");
    }

    #[test]
    fn a_long_name_loses_its_end() {
        let long = tagged(&"n".repeat(80));
        assert_eq!(long.len(), 63);
        assert!(long.starts_with("nnn") && long.ends_with("n gk:0123456789abcdef:42"), "{long}");
        let most = SessionTag::new("0123456789abcdef", u64::MAX).apply_to(&[b'n'; 80]);
        assert_eq!(most.len(), 63);
    }

    #[test]
    fn only_a_name_that_is_set_is_tagged() {
        let tag = SessionTag::new("0123456789abcdef", 42);
        let values = SettingValues::default().with(b"work_mem", Some(b"1MB"));
        assert!(tag.apply_to_values(&values) == values);
        let named = tag.apply_to_values(&values.with(APPLICATION_NAME, Some(b"job")));
        assert_eq!(named.get(APPLICATION_NAME), Some(&b"job gk:0123456789abcdef:42"[..]));
    }
}
