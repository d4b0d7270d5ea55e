//! Settings reported by a server during login.

use crate::wire::{Frame, Speaker, backend::ParameterStatus};

/// ParameterStatus messages, unchanged: for lookup and forwarding.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    bytes: Vec<u8>,
}

impl Parameters {
    /// Appends a ParameterStatus.
    pub(super) fn push(&mut self, frame: &Frame<'_>) {
        self.bytes.extend_from_slice(frame.as_bytes());
    }

    /// Changes the reported value of the setting `name` to `value`, if there is a report.
    pub(crate) fn pretend(&mut self, name: &str, value: &[u8]) {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for status in self.iter() {
            let value = if status.name == name.as_bytes() { value } else { status.value };
            ParameterStatus { name: status.name, value }.write(&mut bytes);
        }
        self.bytes = bytes;
    }

    /// Sets `name` to `value` like a report by the server, with or without an earlier report.
    pub(crate) fn report(&mut self, name: &[u8], value: &[u8]) {
        let mut bytes = Vec::with_capacity(self.bytes.len() + value.len());
        let others = self.iter().filter(|status| status.name != name);
        others.chain([ParameterStatus { name, value }]).for_each(|status| status.write(&mut bytes));
        self.bytes = bytes;
    }

    /// All messages, concatenated, for forwarding to a client.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All settings, in the order of the reports.
    pub fn iter(&self) -> impl Iterator<Item = ParameterStatus<'_>> {
        let mut left = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let frame = Frame::read(Speaker::Server, left).ok()??;
            left = left.get(frame.as_bytes().len()..)?;
            ParameterStatus::decode(frame.body()).ok()
        })
    }

    /// The value of the setting `name`, as reported last.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().filter(|status| status.name == name.as_bytes()).last().map(|status| status.value)
    }
}
