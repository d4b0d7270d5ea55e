//! What a server reported of its settings: what a client was told, and what its backend says.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>

use std::sync::Arc;

use super::settings::mark_of;
use crate::handshake::Parameters;

/// Reported settings: those of a login, which many share, and what has changed since.
#[derive(Clone)]
pub struct Reported {
    login: Arc<Parameters>,
    changed: Vec<Changed>,
    /// The sum of the marks of all settings.
    mark: u64,
}

/// A setting's name and its value now.
type Changed = (Box<[u8]>, Box<[u8]>);

// === impl Reported ===

impl Reported {
    /// As a login reported them.
    #[must_use]
    pub fn new(login: Arc<Parameters>) -> Self {
        let mut reported = Self { login: Arc::default(), changed: Vec::new(), mark: 0 };
        for status in login.iter() {
            reported.set(status.name, status.value);
        }
        // The values are those of the login itself: no need to keep them twice.
        reported.changed = Vec::new();
        reported.login = login;
        reported
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        match self.changed.iter().find(|(changed, _)| **changed == *name) {
            Some((_, value)) => Some(value),
            None => self.login.iter().filter(|status| status.name == name).last().map(|status| status.value),
        }
    }

    /// A setting was reported; answers whether that was news.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        let before = self.get(name);
        if before == Some(value) {
            return false;
        }
        let lost = before.map_or(0, |before| mark_of(name, before));
        self.mark = self.mark.wrapping_sub(lost).wrapping_add(mark_of(name, value));
        match self.changed.iter_mut().find(|(changed, _)| **changed == *name) {
            Some((_, changed)) => *changed = value.into(),
            None => self.changed.push((name.into(), value.into())),
        }
        true
    }

    /// Whether both say the same.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        self.mark == other.mark
    }

    /// All settings.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let changed = self.changed.iter().map(|(name, value)| (&**name, &**value));
        let kept = self.login.iter().map(|status| (status.name, status.value));
        changed.chain(kept.filter(|(name, _)| !self.changed.iter().any(|(changed, _)| **changed == **name)))
    }
}
