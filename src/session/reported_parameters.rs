//! Settings reported by a server in ParameterStatus: those sent to a client, and those of its backend.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>

use std::sync::Arc;

use super::setting_values::mark_of;
use crate::{handshake::Parameters, sql::LexicalSettings};

/// Reported settings: those of a login, shared by many, and the changes since. Clones share the values until one is changed.
#[derive(Clone)]
pub struct ReportedParameters(Arc<Statuses>);

#[derive(Clone)]
struct Statuses {
    login: Arc<Parameters>,
    changed: Vec<Changed>,
    /// The sum of the marks of all settings but those of [`of_its_kind`].
    mark: u64,
    /// The sum of the marks of those.
    kind: u64,
}

/// Whether the server is a standby, as it reports it: <https://www.postgresql.org/docs/current/runtime-config-preset.html>.
pub(super) const IN_HOT_STANDBY: &[u8] = b"in_hot_standby";

/// Whether what a read pool's backend reports as `name` says what kind of server it is, and nothing of the session. Those that
/// a listener splits to are logged in so that they cannot write.
pub(super) fn of_its_kind(name: &[u8]) -> bool {
    name == IN_HOT_STANDBY || name == DEFAULT_READ_ONLY
}

/// The only start-up setting common to clients of all kinds.
pub(super) const APPLICATION_NAME: &[u8] = b"application_name";

/// Whether transactions are read-only that do not say otherwise:
/// <https://www.postgresql.org/docs/current/runtime-config-client.html>.
pub(super) const DEFAULT_READ_ONLY: &[u8] = b"default_transaction_read_only";

/// A setting's name and its value now.
type Changed = (Box<[u8]>, Box<[u8]>);

// === impl ReportedParameters ===

impl ReportedParameters {
    /// As a login reported them.
    #[must_use]
    pub fn new(login: Arc<Parameters>) -> Self {
        let mut statuses = Statuses { login: Arc::default(), changed: Vec::new(), mark: 0, kind: 0 };
        for status in login.iter() {
            statuses.set(status.name, status.value);
        }
        // The values are those of the login itself: no need to keep them twice.
        statuses.changed = Vec::new();
        statuses.login = login;
        Self(Arc::new(statuses))
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.get(name)
    }

    /// True if `name` has the `value`, in any case of letters.
    pub(super) fn is(&self, name: &[u8], value: &[u8]) -> bool {
        self.get(name).is_some_and(|reported| reported.eq_ignore_ascii_case(value))
    }

    /// Reading of the client's texts.
    pub(super) fn lexical(&self) -> LexicalSettings {
        LexicalSettings {
            standard_strings: self.is(b"standard_conforming_strings", b"on"),
            utf8: self.is(b"client_encoding", b"UTF8"),
        }
    }

    /// The value of `name` at the login: where `RESET` leads back to.
    pub(super) fn at_login(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.at_login(name)
    }

    /// A setting was reported; answers whether that was news.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        let news = self.get(name) != Some(value);
        if news {
            Arc::make_mut(&mut self.0).set(name, value);
        }
        news
    }

    /// Whether both say the same.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        self.says_as(other) && self.0.kind == other.0.kind
    }

    /// Whether both say the same, whatever kinds of servers they are.
    #[must_use]
    pub(super) fn says_as(&self, other: &Self) -> bool {
        self.0.mark == other.0.mark
    }

    /// All settings.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let changed = &self.0.changed;
        let kept = self.0.login.iter().map(|status| (status.name, status.value));
        let kept = kept.filter(|(name, _)| !changed.iter().any(|(changed, _)| **changed == **name));
        changed.iter().map(|(name, value)| (&**name, &**value)).chain(kept)
    }
}

// === impl Statuses ===

impl Statuses {
    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        match self.changed.iter().find(|(changed, _)| **changed == *name) {
            Some((_, value)) => Some(value),
            None => self.at_login(name),
        }
    }

    fn at_login(&self, name: &[u8]) -> Option<&[u8]> {
        self.login.iter().filter(|status| status.name == name).last().map(|status| status.value)
    }

    fn set(&mut self, name: &[u8], value: &[u8]) {
        let lost = self.get(name).map_or(0, |before| mark_of(name, before));
        let mark = if of_its_kind(name) { &mut self.kind } else { &mut self.mark };
        *mark = mark.wrapping_sub(lost).wrapping_add(mark_of(name, value));
        match self.changed.iter_mut().find(|(changed, _)| **changed == *name) {
            Some((_, changed)) => *changed = value.into(),
            None => self.changed.push((name.into(), value.into())),
        }
    }
}
