//! What a server reported of its settings while it let a client in.

use crate::wire::{Frame, Speaker, backend::ParameterStatus};

/// ParameterStatus messages as they came, to be looked into and to be forwarded.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    bytes: Vec<u8>,
}

impl Parameters {
    /// Appends a ParameterStatus.
    pub(super) fn push(&mut self, frame: &Frame<'_>) {
        self.bytes.extend_from_slice(frame.as_bytes());
    }

    /// As if the setting `name`, if it was reported, had been reported as `value`.
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

    /// All messages, one behind the other: to be sent to a client as they are.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All settings, in the order they were reported.
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
