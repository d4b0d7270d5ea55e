//! The texts behind prepared statements and portals, for the audit log; empty unless somebody wants them.

use std::collections::HashMap;

use super::report::Text;

/// Statements and portals remembered at the most; a client with more finds its oldest ones without a text.
const REMEMBERED_MAX: usize = 4096;

/// Text by statement name and by portal name. Names are the client's bytes, in whatever encoding it uses.
#[derive(Default)]
pub(super) struct Texts {
    statements: HashMap<Box<[u8]>, Text>,
    portals: HashMap<Box<[u8]>, Text>,
}

impl Texts {
    pub(super) fn parsed(&mut self, statement: &[u8], text: Text) {
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

    pub(super) fn closed(&mut self, portal: bool, name: &[u8]) {
        if portal { &mut self.portals } else { &mut self.statements }.remove(name);
    }

    pub(super) fn of_statement(&self, statement: &[u8]) -> Option<Text> {
        self.statements.get(statement).cloned()
    }

    pub(super) fn of_portal(&self, portal: &[u8]) -> Option<Text> {
        self.portals.get(portal).cloned()
    }
}

fn remember(texts: &mut HashMap<Box<[u8]>, Text>, name: &[u8], text: Text) {
    if texts.len() >= REMEMBERED_MAX && !texts.contains_key(name) {
        texts.clear();
    }
    texts.insert(name.into(), text);
}
