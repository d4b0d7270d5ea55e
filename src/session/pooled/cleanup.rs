//! State possibly left on the backend: possible side effects → state check → pins.
//!
//! Promises: after each transaction either nothing was left behind, by proof, or a state check follows before another
//! session gets the backend; state found there, or not checkable, pins the session to its backend. Refuses to know:
//! messages, and how a state check is sent.

use std::{collections::VecDeque, sync::Arc};

use super::outdated_texts::OutdatedTexts;
use crate::{
    route::RouteSide,
    session::{
        batch_writer::IDENTITY,
        database_state::DatabaseState,
        pending_request::MAY_RESET,
        pin::{Pin, Pins},
        setting_values::SettingValues,
        side_effects::SideEffects,
        state_check::{StateCheck, StateQuery, VISIBLE},
    },
    sql::{self, Effects},
    wire::Reader,
};

/// State possibly left on the backend by the transaction, and pins.
#[derive(Default)]
pub(in crate::session) struct Cleanup {
    pins: Pins,
    /// Pins not reported to the driver yet.
    new_pins: VecDeque<Pin>,
    /// RouteSide effects of the request being written, recorded with the request once it is queued.
    noted: SideEffects,
    /// State possibly left by the transaction's answered requests.
    possible_side_effects: Effects,
    /// The part of them that stands behind the end of a transaction.
    unchecked_side_effects: Effects,
    /// Settings possibly changed by the transaction's answered requests.
    changed_settings: Vec<Arc<[u8]>>,
    /// Settings possibly changed by each execution of an SQL-prepared statement.
    prepared_settings: Vec<Arc<[u8]>>,
    /// Count of failed state checks since the last answered check.
    failed_checks: u8,
    /// Count of state checks not reported to the driver yet.
    started_checks: u32,
    comparison: CatalogComparison,
    /// Stateful names that the transaction may define.
    learning: Vec<String>,
    /// Effects of the statements bound to portals in the transaction.
    portal_effects: Effects,
    /// State possibly on the backend since the lease, neither visible in the catalogs nor cleared by `DISCARD ALL`.
    lasting: Pins,
}

/// Comparison of the known catalog with the server's.
#[derive(Default)]
struct CatalogComparison {
    /// Catalog edition at the lease of the backend, or at the last comparison.
    edition: u32,
    /// Texts of the transaction to classify again with an up-to-date catalog.
    outdated: OutdatedTexts,
    /// The comparison must take place before the backend is returned.
    is_due: bool,
}

/// Facts that decide about the step after a transaction.
pub(in crate::session) struct SettleContext<'a> {
    database: &'a DatabaseState,
    /// The session's settings.
    settings: &'a SettingValues,
    /// Settings of the client's start-up packet.
    startup: &'a SettingValues,
    /// Settings known to the backend.
    held: &'a SettingValues,
    /// The backend has statements under the client's own names.
    has_client_named: bool,
    /// The backend takes writes. Catalogs of a standby may be behind, and statements on a standby are proved reads.
    is_writer: bool,
    /// The catalog was compared after the transaction.
    is_compared: bool,
}

/// Step after a transaction.
pub(in crate::session) enum SettleStep {
    /// Nothing was left behind.
    Clean,
    /// The catalog must be compared with the server's first.
    Compare,
    /// A state check: the queries, and whether client messages wait for the response.
    Check(Vec<StateQuery>, bool),
}

/// State checks that may fail in a row before the session keeps its backend.
const FAILED_CHECKS_MAX: u8 = 2;
/// State neither visible in the catalogs nor cleared by `DISCARD ALL`.
const LASTING: Pins = Pins::NONE.with(Pin::Load).with(Pin::Function);
/// Maximum length in bytes of a setting name without a dot (`NAMEDATALEN`).
const SETTING_NAME_MAX: usize = 63;

// === impl Cleanup ===

impl Cleanup {
    /// Session state that prevents the return of the backend.
    pub(in crate::session) const fn pins(&self) -> Pins {
        self.pins
    }

    /// Pins the session to its backend.
    pub(in crate::session) fn pin(&mut self, pin: Pin) {
        self.note_lasting(pin);
        if !self.pins.contains(pin) {
            self.pins = self.pins.with(pin);
            self.new_pins.push_back(pin);
        }
    }

    /// Next pin not reported to the driver.
    pub(in crate::session) fn poll_pin(&mut self) -> Option<Pin> {
        self.new_pins.pop_front()
    }

    /// Count of state checks started since the last poll.
    pub(in crate::session) fn poll_started_checks(&mut self) -> u32 {
        std::mem::take(&mut self.started_checks)
    }

    /// True if nothing is left to check, and no pin exists.
    pub(in crate::session) fn is_clean(&self) -> bool {
        self.pins.is_empty() && self.possible_side_effects.is_empty() && !self.comparison.is_due
    }

    /// True if no transaction so far may have left state on the backend.
    pub(in crate::session) fn has_left_nothing(&self) -> bool {
        self.pins.is_empty() && self.possible_side_effects.is_empty()
    }

    /// True if the transaction may have left any state of `effects`.
    pub(in crate::session) fn may_have_left(&self, effects: Effects) -> bool {
        self.possible_side_effects.intersects(effects)
    }

    /// True if a portal of the transaction may reset the session.
    pub(in crate::session) const fn portal_may_reset(&self) -> bool {
        self.portal_effects.intersects(MAY_RESET)
    }

    /// True if the backend may hold state neither visible in the catalogs nor cleared by `DISCARD ALL`.
    pub(in crate::session) const fn spoils_backend(&self) -> bool {
        !self.lasting.is_empty()
    }

    /// Notes a library loaded by a statement.
    pub(in crate::session) fn note_library(&mut self) {
        self.note_lasting(Pin::Load);
    }

    fn note_lasting(&mut self, pin: Pin) {
        if LASTING.contains(pin) {
            self.lasting = self.lasting.with(pin);
        }
    }

    /// Notes a leased backend; `edition` is that of the known catalog.
    pub(in crate::session) fn on_lease(&mut self, edition: u32) {
        (self.comparison.edition, self.lasting) = (edition, Pins::NONE);
    }

    /// Notes the possible side effects of `statement`, for the request being written. `parameters` are those of a Bind,
    /// from the formats on.
    pub(in crate::session) fn note(
        &mut self,
        mut effects: Effects,
        statement: &[u8],
        parameters: Option<&[u8]>,
        database: &DatabaseState,
    ) {
        if effects.contains(Effects::EXECUTE) {
            effects |= Effects::UNPROVED;
        }
        if database.is_strict() {
            effects |= Effects::UNPROVED | Effects::UNKNOWN;
        }
        if effects.contains(Effects::UNKNOWN) || !database.is_current() {
            self.noted.add_outdated(statement);
        }
        if effects.is_empty() {
            return;
        }
        self.noted.add_effects(effects);
        if parameters.is_some() {
            self.portal_effects |= effects;
        }
        if effects.contains(Effects::SETTINGS) {
            self.note_setting_names(statement, effects.contains(Effects::PREPARE));
        }
        if effects.contains(Effects::EXECUTE) {
            for name in &self.prepared_settings {
                self.noted.add_setting(Arc::clone(name));
            }
        }
        if effects.contains(Effects::SETTINGS_BOUND)
            && !parameters.is_some_and(|parameters| self.note_parameters(parameters))
        {
            self.note_pin(Pin::HiddenSetting);
        }
        if effects.contains(Effects::BLOCK) {
            self.learning.append(&mut database.learn(statement));
        }
        for (effect, pin) in [
            (Effects::SETTINGS_HIDDEN, Pin::HiddenSetting),
            (Effects::LOAD, Pin::Load),
            (Effects::FUNCTION, Pin::Function),
        ] {
            if effects.contains(effect) {
                self.note_pin(pin);
            }
        }
    }

    /// Notes a pin, for the request being written.
    pub(in crate::session) fn note_pin(&mut self, pin: Pin) {
        // A backend is closed even if the session ends before the response.
        self.note_lasting(pin);
        self.noted.pin(pin);
    }

    /// Takes the side effects of the request written, to record them with the request.
    pub(in crate::session) fn take_noted(&mut self) -> Option<Box<SideEffects>> {
        self.noted.take()
    }

    /// Settles a request with its response: its side effects may exist on the backend now.
    pub(in crate::session) fn on_response(&mut self, side_effects: Option<Box<SideEffects>>) {
        let Some(side_effects) = side_effects else { return };
        let (effects, settings, pins, outdated) = side_effects.into_parts();
        self.comparison.outdated.append(outdated);
        self.possible_side_effects |= effects;
        self.changed_settings.extend(settings);
        for pin in pins.iter() {
            self.pin(pin);
        }
    }

    /// Settles a request refused in a failed transaction: the server has executed nothing, so no pin is needed. A state check
    /// still follows, because a function can raise the same error.
    pub(in crate::session) fn on_refused(&mut self, side_effects: Option<Box<SideEffects>>) {
        self.on_response(side_effects.map(|mut side_effects| {
            side_effects.remove_pins();
            side_effects
        }));
    }

    fn note_setting_names(&mut self, statement: &[u8], is_prepared: bool) {
        let mut is_followed = true;
        let (noted, prepared) = (&mut self.noted, &mut self.prepared_settings);
        sql::find_setting_names(statement, &mut |name| {
            // The spelling of a non-ASCII name elsewhere depends on the encoding.
            is_followed &= name.is_ascii();
            noted.add_setting(name.into());
            if is_prepared && !prepared.iter().any(|known| **known == *name) {
                prepared.push(name.into());
            }
        });
        if !is_followed {
            self.note_pin(Pin::HiddenSetting);
        }
    }

    /// Notes every parameter usable as a setting name. False for a possible non-ASCII name: the spelling elsewhere
    /// depends on the encoding.
    fn note_parameters(&mut self, parameters: &[u8]) -> bool {
        let noted = &mut self.noted;
        let mut reader = Reader::new(parameters);
        let mut is_followed = true;
        let mut values = || {
            for _ in 0..reader.i16().ok()? {
                reader.i16().ok()?;
            }
            for _ in 0..reader.i16().ok()? {
                let Ok(length) = usize::try_from(reader.i32().ok()?) else { continue };
                let value = reader.bytes(length).ok()?;
                if !may_name_setting(value) {
                    continue;
                }
                if value.is_ascii() {
                    noted.add_setting(value.to_ascii_lowercase().into());
                } else {
                    // Settings not built into the server have a dot in the name.
                    is_followed &= !value.contains(&b'.');
                }
            }
            Some(())
        };
        values();
        is_followed
    }

    /// Notes an error of the server. A rejected setting may be one that no session can change, and its value is not the
    /// session's: a check of all settings tells them apart.
    pub(in crate::session) fn on_error(&mut self) {
        if self.possible_side_effects.intersects(Effects::SETTINGS | Effects::SETTINGS_BOUND) {
            self.possible_side_effects |= Effects::SETTINGS_ALL;
        }
    }

    /// Forgets state cleared by `DISCARD ALL`.
    pub(in crate::session) fn on_discard_all(&mut self) {
        self.pins = Pins::NONE;
        self.portal_effects = Effects::NONE;
        self.forget_transaction();
    }

    /// Removes a pin whose state is cleared.
    pub(in crate::session) fn unpin(&mut self, pin: Pin) {
        self.pins = self.pins.without(pin);
    }

    /// Notes that the backend is lost before the response to a state check: any state may have been left.
    pub(in crate::session) fn on_check_lost(&mut self) {
        self.unchecked_side_effects |= Effects::UNPROVED;
    }

    /// Forgets what the lost backend held. True if session state is lost that the client may rely on: of a pin, or of a
    /// transaction that is over and was not checked yet. The client is told of a running transaction anyway.
    pub(in crate::session) fn on_backend_lost(&mut self) -> bool {
        let is_lost = !(self.unchecked_side_effects.is_empty() && self.pins.is_empty());
        self.pins = Pins::NONE;
        self.portal_effects = Effects::NONE;
        self.comparison = CatalogComparison::default();
        self.prepared_settings.clear();
        self.noted = SideEffects::default();
        self.forget_transaction();
        is_lost
    }

    /// Forgets the transaction: the backend is given up.
    pub(in crate::session) fn forget_transaction(&mut self) {
        (self.possible_side_effects, self.unchecked_side_effects) = (Effects::NONE, Effects::NONE);
        self.changed_settings.clear();
    }

    /// Ends the transaction for the names that its texts may define: a later catalog read shows what they do.
    pub(in crate::session) fn end_learning(&mut self, database: &DatabaseState) {
        if !self.learning.is_empty() {
            database.end_learning(&std::mem::take(&mut self.learning));
        }
    }

    /// Notes the end of a transaction: its side effects stay on the backend.
    pub(in crate::session) const fn on_transaction_over(&mut self) {
        self.unchecked_side_effects = self.possible_side_effects;
    }

    /// Decides the step after a transaction.
    pub(in crate::session) fn settle(&mut self, context: &SettleContext<'_>) -> SettleStep {
        let mut effects = std::mem::take(&mut self.possible_side_effects);
        self.unchecked_side_effects = Effects::NONE;
        self.portal_effects = Effects::NONE;
        if effects.contains(Effects::DDL) {
            effects = effects.without(Effects::DDL);
            context.database.definitions_changed();
        }
        self.end_learning(context.database);
        if context.is_writer && !context.is_compared {
            let database = context.database;
            let has_changed = database.is_changed() || database.edition() != self.comparison.edition;
            let is_unknown = effects.contains(Effects::UNKNOWN);
            // The server may have used definitions newer than the classification of the transaction's texts.
            if has_changed || is_unknown {
                effects |= Effects::UNPROVED;
            }
            if has_changed || is_unknown || !database.is_current() {
                (self.possible_side_effects, self.unchecked_side_effects) = (effects, effects);
                self.comparison.is_due = true;
                return SettleStep::Compare;
            }
        }
        self.comparison.outdated.clear();
        if effects.is_empty() {
            return SettleStep::Clean;
        }
        self.check_of(effects, context)
    }

    /// State check after a transaction with possible side `effects`.
    fn check_of(&mut self, effects: Effects, context: &SettleContext<'_>) -> SettleStep {
        let (mut queries, mut is_awaited) = (Vec::new(), false);
        let has_visible_pins = self.pins.minus(Pins::VISIBLE) != self.pins;
        let is_unproved = effects.contains(Effects::UNPROVED);
        if is_unproved
            || effects.intersects(VISIBLE)
            || (has_visible_pins && effects.contains(Effects::DROPS))
        {
            queries.push(StateQuery::Pins);
        }
        let mut names = std::mem::take(&mut self.changed_settings);
        if is_unproved || effects.contains(Effects::SETTINGS_ALL) {
            queries.push(StateQuery::Settings);
            // A reset setting has the start-up value again: applied before any statement that may show the value.
            is_awaited = effects.contains(Effects::SETTINGS_ALL) && !context.startup.entries().is_empty();
            names.extend(context.settings.entries().iter().map(|entry| Arc::clone(&entry.name)));
            names.retain(|name| is_unlisted(name));
        }
        names.retain(|name| !context.lacks_startup_setting(name));
        names.sort_unstable();
        names.dedup();
        if is_unproved {
            let custom = context.database.custom_settings();
            let hidden = custom.iter().map(Arc::clone).chain(IDENTITY.iter().map(|name| (*name).into()));
            let hidden = hidden.filter(|name| names.binary_search(name).is_err());
            queries.extend(hidden.map(StateQuery::HiddenSetting));
        }
        queries.extend(names.into_iter().map(StateQuery::Setting));
        if effects.contains(Effects::PREPARE) && context.has_client_named {
            queries.push(StateQuery::Statements);
            is_awaited = true;
        }
        if queries.is_empty() { SettleStep::Clean } else { SettleStep::Check(queries, is_awaited) }
    }

    /// Counts a state check sent to the backend.
    pub(in crate::session) fn on_check_started(&mut self) {
        self.started_checks += 1;
    }

    /// Handles a state check with all responses; `found` holds the visible pins, if requested.
    pub(in crate::session) fn on_check_answered(&mut self, found: Option<Pins>) {
        self.failed_checks = 0;
        if let Some(found) = found {
            let before = self.pins;
            self.pins = before.minus(Pins::VISIBLE).union(found);
            self.new_pins.extend(found.minus(before).iter());
        }
    }

    /// Handles a failed state check. A check of all state follows once the session is at rest; after several failures
    /// the session keeps its backend.
    pub(in crate::session) fn on_check_failed(&mut self, check: &StateCheck) {
        self.failed_checks += 1;
        if self.failed_checks <= FAILED_CHECKS_MAX {
            self.possible_side_effects |= Effects::UNPROVED | Effects::SETTINGS_ALL | Effects::PREPARE;
            self.changed_settings.extend(check.settings().map(Arc::clone));
        } else {
            self.failed_checks = 0;
            self.pin(Pin::Unproved);
        }
    }

    /// True if the catalog must be compared before the backend is returned.
    pub(in crate::session) const fn is_comparison_due(&self) -> bool {
        self.comparison.is_due
    }

    /// Notes a comparison, or a read, of the catalog, now of `edition`. Returns the texts to classify again, and whether
    /// the list is complete.
    pub(in crate::session) fn on_compared(&mut self, edition: u32) -> (Vec<Box<[u8]>>, bool) {
        self.comparison.is_due = false;
        self.possible_side_effects = self.possible_side_effects.without(Effects::UNKNOWN);
        if std::mem::replace(&mut self.comparison.edition, edition) != edition {
            self.possible_side_effects |= Effects::UNPROVED;
        }
        self.comparison.outdated.take()
    }
}

// === impl SettleContext ===

impl<'a> SettleContext<'a> {
    /// Facts about a session with `settings`, of which `startup` are those of the client's start-up packet, on a writer with
    /// the settings `held`.
    pub(super) const fn new(
        database: &'a DatabaseState,
        settings: &'a SettingValues,
        startup: &'a SettingValues,
        held: &'a SettingValues,
    ) -> Self {
        Self {
            database,
            settings,
            startup,
            held,
            has_client_named: false,
            is_writer: true,
            is_compared: false,
        }
    }

    /// Notes whether the backend has statements under the client's own names.
    pub(super) const fn with_client_named(self, has_client_named: bool) -> Self {
        Self { has_client_named, ..self }
    }

    /// Notes the side of the backend.
    pub(super) fn on_side(self, side: RouteSide) -> Self {
        Self { is_writer: side == RouteSide::Writer, ..self }
    }

    /// Notes whether the catalog was compared after the transaction.
    pub(super) const fn compared(self, is_compared: bool) -> Self {
        Self { is_compared, ..self }
    }

    /// True if the backend has lost a start-up setting by `DISCARD ALL`, and the next statement applies the setting: the
    /// value there is not the client's.
    fn lacks_startup_setting(&self, name: &[u8]) -> bool {
        self.startup.get(name).is_some() && self.held.get(name).is_none()
    }
}

/// True if `pg_settings` does not list a setting of this name.
fn is_unlisted(name: &[u8]) -> bool {
    name.contains(&b'.') || name == b"role" || name == b"session_authorization"
}

/// True if a parameter value may be the name of a setting.
fn may_name_setting(value: &[u8]) -> bool {
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.$".contains(byte) || !byte.is_ascii();
    !value.is_empty() && value.iter().all(name) && (value.len() <= SETTING_NAME_MAX || value.contains(&b'.'))
}

#[cfg(test)]
mod tests;
