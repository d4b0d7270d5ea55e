//! Texts of prepared statements and portals, for reports; empty unless texts are captured.

use std::collections::HashMap;

use super::statement_report::CapturedText;

/// Maximum number of statements, and of portals: beyond, the texts of all earlier ones are dropped.
const REMEMBERED_MAX: usize = 4096;

/// Text by statement name and by portal name. Names are bytes in the client's encoding.
#[derive(Default)]
pub(super) struct CapturedTexts {
    statements: HashMap<Box<[u8]>, CapturedText>,
    portals: HashMap<Box<[u8]>, CapturedText>,
}

impl CapturedTexts {
    pub(super) fn parsed(&mut self, statement: &[u8], text: CapturedText) {
        remember(&mut self.statements, statement, text);
    }

    pub(super) fn bound(&mut self, portal: &[u8], statement: &[u8]) {
        match self.of_statement(statement) {
            Some(text) => remember(&mut self.portals, portal, text),
            None => {
                self.portals.remove(portal);
            }
        }
    }

    pub(super) fn closed_portal(&mut self, name: &[u8]) {
        self.portals.remove(name);
    }

    pub(super) fn closed_statement(&mut self, name: &[u8]) {
        self.statements.remove(name);
    }

    pub(super) fn of_statement(&self, statement: &[u8]) -> Option<CapturedText> {
        self.statements.get(statement).cloned()
    }

    pub(super) fn of_portal(&self, portal: &[u8]) -> Option<CapturedText> {
        self.portals.get(portal).cloned()
    }
}

fn remember(texts: &mut HashMap<Box<[u8]>, CapturedText>, name: &[u8], text: CapturedText) {
    if texts.len() >= REMEMBERED_MAX && !texts.contains_key(name) {
        texts.clear();
    }
    texts.insert(name.into(), text);
}
