//! What a session that shares backends does with its client's messages.
//!
//! A message goes on as it is wherever it can. What must be added (settings, a missing Parse, a BEGIN held back) or said
//! otherwise (the name of a prepared statement) is written to a buffer that goes to the backend in the same write.

use std::{sync::Arc, time::Instant};

use super::{
    ledger::{Closed, Made, Owed},
    machine::{Session, text, until_nul},
    memory::Memory,
    own::{self, Own, Pen},
    pin::Pin,
    refusal::Refusal,
    report::{Report, StatementKind},
    sharing::{Gathered, SOME_UNNAMED, Sharing, Untold},
    statement::{PREFIX, Statement, text_of},
    take::Take,
};
use crate::{
    sql::{self, Command, Effects},
    wire::{
        self, FrameError, Header, Piece, Reader, Speaker, TransactionStatus, backend, frontend,
        tag::frontend as f,
    },
};

/// What becomes of a message.
enum Verdict {
    /// It goes on as it is.
    Pass,
    /// It was understood, and answered or rewritten.
    Taken,
    /// Not yet.
    Wait,
}

/// The octets shown in one call, and how they go to the backend: in place, or, from the first addition on, by way of our
/// own buffer.
struct Shown<'a> {
    octets: &'a [u8],
    at: usize,
    staged: bool,
    /// No more octets can be shown before some of these are taken.
    full: bool,
}

/// Messages beyond this are not kept to be read whole.
const GATHERED_MAX: usize = 1 << 20;
/// `currval` and `lastval`, as FunctionCall knows them.
const SEQUENCE_READERS: [u32; 2] = [1575, 2559];
/// `setseed`.
const SETSEED: u32 = 1599;
/// Names of settings are looked for among parameters up to this length (`NAMEDATALEN`, and a prefix of the same length).
const SETTING_NAME_MAX: usize = 128;

impl Session {
    /// As [`Session::on_client`], when backends are shared.
    pub(super) fn on_client_shared(
        &mut self,
        now: Instant,
        unread: &[u8],
        full: bool,
    ) -> Result<Take, FrameError> {
        let staged = self.sharing.as_ref().is_some_and(|sharing| !sharing.to_backend.is_empty());
        let mut shown = Shown { octets: unread, at: 0, staged, full };
        loop {
            if self.gathering() {
                match self.gather(now, &mut shown)? {
                    true => continue,
                    false => break,
                }
            }
            if self.client.at_boundary() && self.copies_in() {
                let run = wire::run(Speaker::Client, f::COPY_DATA, &unread[shown.at..]).octets;
                self.pass_on(&mut shown, run);
            }
            let Some(piece) = self.client.next(&unread[shown.at..])? else { break };
            let octets = match &piece {
                Piece::Whole(frame) => frame.octets(),
                Piece::Part(part) => &unread[shown.at..shown.at + part.here()],
                Piece::Rest(here) => &unread[shown.at..shown.at + here],
            };
            let verdict = match &piece {
                Piece::Whole(frame) => self.request(now, frame.tag(), frame.body(), None, &mut shown),
                Piece::Part(part) => {
                    let body = octets.get(Header::OCTETS..).unwrap_or_default();
                    let stuck = full && shown.at == 0;
                    match part.tag() {
                        f::QUERY | f::PARSE if !stuck => break,
                        f::QUERY | f::PARSE if part.total() <= GATHERED_MAX => {
                            self.begin_gathering(part.tag(), octets, part.missing(), &mut shown);
                            self.client.pass(&piece);
                            shown.at += octets.len();
                            continue;
                        }
                        f::BIND if !names_are_there(body) && !stuck => break,
                        f::DESCRIBE | f::EXECUTE | f::CLOSE | f::SYNC | f::FLUSH | f::TERMINATE => break,
                        tag => {
                            let verdict = self.request(now, tag, body, Some(part.total()), &mut shown);
                            if let Some(sharing) = &mut self.sharing {
                                sharing.drop_rest = matches!(verdict, Verdict::Taken) && tag != f::BIND;
                            }
                            verdict
                        }
                    }
                }
                Piece::Rest(_) if self.sharing.as_ref().is_some_and(|sharing| sharing.drop_rest) => {
                    self.stage(&mut shown);
                    Verdict::Taken
                }
                Piece::Rest(_) => Verdict::Pass,
            };
            match verdict {
                Verdict::Wait => break,
                Verdict::Pass if shown.staged => {
                    if let Some(sharing) = &mut self.sharing {
                        sharing.to_backend.extend_from_slice(octets);
                    }
                }
                Verdict::Pass => {}
                Verdict::Taken => self.stage(&mut shown),
            }
            shown.at += self.client.pass(&piece);
        }
        Ok(if shown.staged { Take { pass: 0, drop: shown.at } } else { Take { pass: shown.at, drop: 0 } })
    }

    fn pass_on(&mut self, shown: &mut Shown<'_>, count: usize) {
        if shown.staged
            && let Some(sharing) = &mut self.sharing
        {
            sharing.to_backend.extend_from_slice(&shown.octets[shown.at..shown.at + count]);
        }
        shown.at += count;
    }

    /// From here on our own buffer leads to the backend, with what has passed before.
    fn stage(&mut self, shown: &mut Shown<'_>) {
        if !shown.staged
            && let Some(sharing) = &mut self.sharing
        {
            sharing.to_backend.extend_from_slice(&shown.octets[..shown.at]);
            shown.staged = true;
        }
    }

    /// Whether the client's CopyData can only be for the backend.
    fn copies_in(&self) -> bool {
        self.sharing.as_ref().is_some_and(|sharing| sharing.held.is_some() && !sharing.skipping)
            && !self.ledger.is_settled()
    }

    fn gathering(&self) -> bool {
        self.sharing.as_ref().is_some_and(|sharing| sharing.gathered.is_some())
    }

    fn begin_gathering(&mut self, tag: u8, octets: &[u8], missing: usize, shown: &mut Shown<'_>) {
        self.stage(shown);
        if let Some(sharing) = &mut self.sharing {
            let mut all = Vec::with_capacity(octets.len() + missing);
            all.extend_from_slice(octets);
            sharing.gathered = Some(Gathered { tag, octets: all, missing });
        }
    }

    /// Takes in more of a large message; once it is whole, it is understood. Answers whether there is more to do.
    fn gather(&mut self, now: Instant, shown: &mut Shown<'_>) -> Result<bool, FrameError> {
        let Some(sharing) = &mut self.sharing else { return Ok(false) };
        let Some(gathered) = &mut sharing.gathered else { return Ok(true) };
        if gathered.missing > 0 {
            let Some(piece @ Piece::Rest(here)) = self.client.next(&shown.octets[shown.at..])? else {
                return Ok(false);
            };
            gathered.octets.extend_from_slice(&shown.octets[shown.at..shown.at + here]);
            gathered.missing -= here;
            self.client.pass(&piece);
            // These octets are done with, whatever becomes of the message.
            self.stage(shown);
            shown.at += here;
            return Ok(true);
        }
        let Some(gathered) = sharing.gathered.take() else { return Ok(true) };
        self.stage(shown);
        let body = gathered.octets.get(Header::OCTETS..).unwrap_or_default();
        let verdict = self.request(now, gathered.tag, body, None, shown);
        let Some(sharing) = &mut self.sharing else { return Ok(false) };
        match verdict {
            Verdict::Wait => {
                sharing.gathered = Some(gathered);
                return Ok(false);
            }
            Verdict::Pass => sharing.to_backend.extend_from_slice(&gathered.octets),
            Verdict::Taken => {}
        }
        Ok(true)
    }

    /// One message. `total` is the length of its frame when only the beginning of its body is here.
    fn request(
        &mut self,
        now: Instant,
        tag: u8,
        body: &[u8],
        total: Option<usize>,
        shown: &mut Shown<'_>,
    ) -> Verdict {
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        if tag == f::TERMINATE {
            self.farewell = true;
            return Verdict::Taken;
        }
        if sharing.skipping {
            if tag == f::SYNC {
                sharing.skipping = false;
                backend::write_ready_for_query(&mut sharing.to_client, self.status);
            }
            return Verdict::Taken;
        }
        if sharing.held.is_none() {
            match tag {
                f::SYNC if body.is_empty() => {
                    backend::write_ready_for_query(&mut sharing.to_client, self.status);
                    return Verdict::Taken;
                }
                // PostgreSQL ignores copied data that nobody asked for, too.
                f::FLUSH | f::COPY_DATA | f::COPY_DONE | f::COPY_FAIL => return Verdict::Taken,
                _ => {}
            }
            if let Some(refusal) = sharing.failing.take() {
                self.refuse(tag, &refusal);
                return Verdict::Taken;
            }
            let answered = match tag {
                f::QUERY => self.answer_ourselves(now, body),
                f::PARSE if total.is_none() => self.parse_ourselves(body),
                f::CLOSE => self.close_ourselves(body),
                _ => false,
            };
            if answered {
                return Verdict::Taken;
            }
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        if sharing.held.is_none() {
            sharing.wants = true;
            return Verdict::Wait;
        }
        if sharing.confirming {
            return Verdict::Wait;
        }
        if self.is_uncertain(tag, body) {
            return self.wait_for_answers();
        }
        if tag == f::BIND && total.is_some() && self.binds_setting_name(body) {
            if !(shown.full && shown.at == 0) {
                return Verdict::Wait;
            }
            self.pin(Pin::HiddenSetting);
        }
        if !self.prelude(tag, shown) {
            return Verdict::Wait;
        }
        match tag {
            f::QUERY => self.query(now, body, total.is_some(), shown),
            f::FUNCTION_CALL => {
                self.in_batch = false;
                self.begun += 1;
                self.suspect_function(body);
                let kind = StatementKind::FunctionCall;
                self.owe(Owed::Whole { kind, started: now, text: None, rows: 0, error: None });
                Verdict::Pass
            }
            f::PARSE => {
                let verdict = self.parse(body, total.is_some(), shown);
                self.in_batch = true;
                verdict
            }
            f::BIND => self.bind(body, total, shown),
            f::DESCRIBE => self.describe(body, shown),
            f::EXECUTE => {
                self.in_batch = true;
                self.begun += 1;
                let portal = if self.keeper.is_some() { until_nul(body).0.into() } else { Box::default() };
                self.owe(Owed::Execute { started: now, portal });
                Verdict::Pass
            }
            f::CLOSE => self.close(body),
            f::SYNC => {
                self.in_batch = false;
                self.owe(Owed::Sync { started: now });
                if let Some(sharing) = &mut self.sharing {
                    sharing.batch = sharing.batch.wrapping_add(1);
                }
                Verdict::Pass
            }
            f::COPY_DONE | f::COPY_FAIL => {
                self.owe(Owed::CopyEnd);
                Verdict::Pass
            }
            _ => Verdict::Pass,
        }
    }

    /// Whether what a message means depends on answers that are on their way: PostgreSQL, which does one thing after the
    /// other, knows by then which statements there are. Every answer that is waited for comes without the client's doing.
    fn is_uncertain(&self, tag: u8, body: &[u8]) -> bool {
        if self.ledger.is_settled() || self.ledger.copies_in().is_some() {
            return false;
        }
        let name = match tag {
            f::PARSE => Some(until_nul(body).0).filter(|name| !name.is_empty()),
            f::BIND => Some(until_nul(until_nul(body).1).0),
            f::DESCRIBE | f::CLOSE => object(body).filter(|(which, _)| *which == b'S').map(|(_, name)| name),
            _ => None,
        };
        let Some(name) = name else { return false };
        let mass = Effects::PREPARE | Effects::DISCARD;
        let swept = || self.sharing.as_ref().is_some_and(|sharing| sharing.suspicion.intersects(mass));
        self.ledger.is_uncertain(name) || (!self.in_batch && swept())
    }

    /// Whether a Bind has the name of a setting among its parameters.
    fn binds_setting_name(&self, body: &[u8]) -> bool {
        let Some(sharing) = self.sharing.as_deref() else { return false };
        let text = match until_nul(until_nul(body).1).0 {
            b"" => text_of(&sharing.unnamed.definition),
            name => match sharing.statements.get(name) {
                Some(statement) => statement.text(),
                None => return false,
            },
        };
        let effects = sharing.common.with_catalogue(|catalogue| sql::effects(text, catalogue));
        effects.contains(Effects::SETTINGS_BOUND)
    }

    fn wait_for_answers(&mut self) -> Verdict {
        if let Some(sharing) = &mut self.sharing {
            sharing.awaiting = true;
        }
        Verdict::Wait
    }

    /// The client's request finds no backend.
    fn refuse(&mut self, tag: u8, refusal: &Refusal) {
        let Some(sharing) = &mut self.sharing else { return };
        refusal.write_error(&mut sharing.to_client);
        if matches!(tag, f::QUERY | f::FUNCTION_CALL) {
            backend::write_ready_for_query(&mut sharing.to_client, self.status);
        } else {
            sharing.skipping = true;
        }
    }

    /// A transaction's beginning, and the end of one in which nothing was said, need no backend.
    fn answer_ourselves(&mut self, now: Instant, body: &[u8]) -> bool {
        /// No text that is one of these commands and nothing else is longer, unless by comments.
        const LONGEST: usize = 64;
        let Some(sharing) = &mut self.sharing else { return false };
        let (text, rest) = until_nul(body);
        if text.len() > LONGEST || text.len() == body.len() || !rest.is_empty() {
            return false;
        }
        let (done, status) = match (sharing.untold, self.status) {
            (Untold::Nothing, TransactionStatus::Idle) => {
                if !may_be_begin(text) {
                    return false;
                }
                let done = match sql::command(text) {
                    Command::Begin => "BEGIN",
                    Command::StartTransaction => "START TRANSACTION",
                    _ => return false,
                };
                sharing.untold = Untold::Begun;
                (done, TransactionStatus::Open)
            }
            (Untold::Begun | Untold::Failed, _) => {
                let done = match sql::command(text) {
                    Command::Commit if sharing.untold == Untold::Begun => "COMMIT",
                    Command::Commit | Command::Rollback => "ROLLBACK",
                    _ => return false,
                };
                sharing.untold = Untold::Nothing;
                (done, TransactionStatus::Idle)
            }
            (Untold::Nothing, _) => return false,
        };
        // As any Query does.
        sharing.unnamed.number = 0;
        backend::write_command_complete(&mut sharing.to_client, done);
        backend::write_ready_for_query(&mut sharing.to_client, status);
        self.status = status;
        self.begun += 1;
        self.transactions += u64::from(status == TransactionStatus::Idle);
        let text = self.keeper.as_ref().map(|keeper| super::machine::text(text, keeper.limit, false));
        self.reports.push_back(Report {
            kind: StatementKind::Query,
            started: now,
            ended: now,
            rows: 0,
            error: None,
            text,
        });
        true
    }

    /// A statement that a server has accepted in the same circumstances needs no backend to be prepared again: it is parsed
    /// where it is executed. A client that waits for the answer may hold up the very one that holds the last backend.
    fn parse_ourselves(&mut self, body: &[u8]) -> bool {
        let Some(sharing) = &mut self.sharing else { return false };
        let (name, definition) = until_nul(body);
        if name.is_empty() || sharing.statements.contains_key(name) {
            return false;
        }
        let Some(statement) = sharing.common.accepted(definition, &sharing.settings) else { return false };
        // What it executes are this session's own statements: that another session's were there says nothing.
        if sharing.common.effects(&statement).contains(Effects::EXECUTE) {
            return false;
        }
        sharing.statements.insert(name.into(), statement);
        backend::write_parse_complete(&mut sharing.to_client);
        if let Some(keeper) = &mut self.keeper {
            keeper.texts.parsed(name, text(text_of(definition), keeper.limit, false));
        }
        true
    }

    /// A name is forgotten without a backend.
    fn close_ourselves(&mut self, body: &[u8]) -> bool {
        let Some(sharing) = &mut self.sharing else { return false };
        let Some((b'S', name)) = object(body) else { return false };
        if sharing.statements.remove(name).is_none() {
            return false;
        }
        backend::write_close_complete(&mut sharing.to_client);
        if let Some(keeper) = &mut self.keeper {
            keeper.texts.closed(false, name);
        }
        true
    }

    /// What has to go ahead of a first message: the session's settings, and its BEGIN. False when the message has to wait.
    fn prelude(&mut self, tag: u8, shown: &mut Shown<'_>) -> bool {
        if self.in_batch || !self.ledger.owes_client_nothing() {
            return true;
        }
        let Some(sharing) = self.sharing.as_deref() else { return true };
        if sharing.held.is_none() {
            return true;
        }
        if !sharing.common.knows_database() {
            // Whatever it calls may leave something behind.
            self.pin(Pin::Unproved);
        }
        let Some(sharing) = self.sharing.as_deref() else { return true };
        if !matches!(tag, f::QUERY | f::FUNCTION_CALL) && sharing.common.reads_sequences() {
            // In the middle of a batch it is too late.
            self.clear_sequences(shown);
        }
        let Some(sharing) = self.sharing.as_deref() else { return true };
        if sharing.has_settings_to_apply(self.status) {
            self.apply_settings(shown);
            if self.sharing.as_ref().is_some_and(|sharing| sharing.confirming) {
                return false;
            }
        }
        let untold = self.sharing.as_mut().map_or(Untold::Nothing, |sharing| sharing.tell());
        if untold == Untold::Nothing {
            return true;
        }
        self.stage(shown);
        self.say_ahead("BEGIN", Own::Begin { failed: false });
        if untold == Untold::Failed {
            // There is none of this name, and a transaction that tries has failed.
            self.say_ahead("ROLLBACK TO SAVEPOINT __gatekeeper_failed", Own::Aside);
        }
        true
    }

    fn say_ahead(&mut self, query: &str, own: Own) {
        if let Some(sharing) = &mut self.sharing {
            frontend::write_query(&mut sharing.to_backend, query);
        }
        self.owe(Owed::Own(own));
    }

    fn apply_settings(&mut self, shown: &mut Shown<'_>) {
        self.stage(shown);
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let wanted = sharing.settings.clone();
        let Some((held, pen)) = sharing.pen() else { return };
        let confirming = own::changes_identity(&held, &wanted);
        let own = own::write_apply(&held, &wanted, pen);
        sharing.confirming = confirming;
        self.owe(Owed::Own(own));
    }

    fn query(&mut self, now: Instant, body: &[u8], cut: bool, shown: &mut Shown<'_>) -> Verdict {
        let statement = until_nul(body).0;
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        let effects = sharing.common.with_catalogue(|catalogue| sql::effects(statement, catalogue));
        let lists = sharing.common.may_list_prepared(statement);
        let mut verdict = Verdict::Pass;
        let names = effects.intersects(Effects::PREPARE | Effects::EXECUTE);
        if (names || lists) && !self.in_batch && self.ledger.names_statements() {
            return self.wait_for_answers();
        }
        if cut {
            self.pin(Pin::LongStatement);
        }
        if lists {
            self.show_own_statements(shown);
        }
        if names {
            verdict = self.sql_prepared(statement, shown);
        }
        self.sequences(effects, Some(shown));
        self.suspect(effects, statement, None);
        if let Some(sharing) = &mut self.sharing {
            // As PostgreSQL: a Query destroys the unnamed statement.
            sharing.unnamed.number = 0;
            if let Some(held) = &mut sharing.held {
                held.unnamed = 0;
            }
        }
        self.in_batch = false;
        self.begun += 1;
        let text = self.keeper.as_ref().map(|keeper| text(statement, keeper.limit, cut));
        self.owe(Owed::Whole { kind: StatementKind::Query, started: now, text, rows: 0, error: None });
        verdict
    }

    fn parse(&mut self, body: &[u8], cut: bool, shown: &mut Shown<'_>) -> Verdict {
        let (name, definition) = until_nul(body);
        let text = self.keeper.as_ref().map(|keeper| text(text_of(definition), keeper.limit, cut));
        if name.is_empty() && !cut {
            return self.parse_unnamed(definition, text, shown);
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        if let Some(statement) = sharing.statements.get(name).cloned() {
            // The server itself is to say that it exists already.
            self.stage(shown);
            self.parse_under_own_name(name, &statement);
            self.owe(Owed::Parse { name: name.into(), text, made: Made::AsIs });
            return Verdict::Pass;
        }
        if cut {
            // Too large to be kept: it stays where it is, under the name the client gave it.
            if name.is_empty() {
                let number = sharing.unnamed.define(b"", Effects::NONE, 0, false);
                if let Some(held) = &mut sharing.held {
                    held.unnamed = number;
                }
            } else {
                sharing.has_own(name);
            }
            self.pin(Pin::LongStatement);
            self.owe(Owed::Parse { name: name.into(), text, made: Made::AsIs });
            return Verdict::Pass;
        }
        let statement = sharing.common.statement(definition);
        if sharing.common.effects(&statement).contains(Effects::SEQUENCE_READ) {
            self.sequences_are_read(shown);
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        if sharing.common.effects(&statement).contains(Effects::EXECUTE) {
            self.executed_by_parse(text_of(definition), shown);
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        // The server may have one of that name already: it is to say so.
        let by_sql = sharing.pins.contains(Pin::SqlPrepared)
            || sharing.suspicion.contains(Effects::PREPARE)
            || sharing.is_own(name);
        sharing.statements.insert(name.into(), Arc::clone(&statement));
        self.stage(shown);
        if by_sql {
            self.try_name(name, &statement);
        }
        self.send_parse(&statement, |statement| Owed::Parse {
            name: name.into(),
            text,
            made: Made::Named(statement),
        });
        Verdict::Taken
    }

    fn parse_unnamed(
        &mut self,
        definition: &[u8],
        text: Option<super::Text>,
        shown: &mut Shown<'_>,
    ) -> Verdict {
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        let statement = text_of(definition);
        let edition = sharing.common.edition();
        let effects = sharing.common.with_catalogue(|catalogue| sql::effects(statement, catalogue));
        if effects.contains(Effects::SEQUENCE_READ) {
            self.sequences_are_read(shown);
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        let lists = sharing.common.may_list_prepared(definition);
        let number = sharing.unnamed.define(definition, effects, edition, lists);
        if let Some(held) = &mut sharing.held {
            held.unnamed = number;
        }
        let mut verdict = Verdict::Pass;
        if effects.intersects(Effects::PREPARE | Effects::EXECUTE) {
            verdict = self.sql_prepared_by_parse(statement, definition, shown);
        }
        self.owe(Owed::Parse { name: Box::default(), text, made: Made::Unnamed(number) });
        verdict
    }

    /// Writes a Parse of `statement`, which the backend may have already: then it is closed before.
    fn send_parse(&mut self, statement: &Arc<Statement>, owed: impl FnOnce(Arc<Statement>) -> Owed) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let Some(held) = sharing.held.as_deref_mut() else { return };
        let (id, name) = (statement.id(), statement.name());
        let had = held.prepared.may_have(id);
        if had {
            frontend::write_close_statement(&mut sharing.to_backend, name);
        }
        statement.write_parse(&mut sharing.to_backend);
        let evicted = held.prepared.sent(id, name, sharing.batch);
        if let Some((_, name)) = &evicted {
            frontend::write_close_statement(&mut sharing.to_backend, name);
        }
        if had {
            self.owe(Owed::Close { portal: false, name: name.into(), closed: Closed::Ours(id) });
        }
        self.owe(owed(Arc::clone(statement)));
        if let Some((id, name)) = evicted {
            self.owe(Owed::Close { portal: false, name, closed: Closed::Ours(id) });
        }
    }

    /// Sees to it that the backend has `statement` for what follows in this batch.
    fn ensure(&mut self, statement: &Arc<Statement>, shown: &mut Shown<'_>) {
        self.stage(shown);
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let batch = sharing.batch;
        let ready = sharing.held.as_mut().is_some_and(|held| held.prepared.uses(statement.id(), batch));
        if !ready {
            self.send_parse(statement, |statement| Owed::Parse {
                name: Box::default(),
                text: None,
                made: Made::Ours(statement),
            });
        }
    }

    fn bind(&mut self, body: &[u8], total: Option<usize>, shown: &mut Shown<'_>) -> Verdict {
        self.in_batch = true;
        let (portal, rest) = until_nul(body);
        let (name, rest) = until_nul(rest);
        if !names_are_there(body) {
            // The server is to say that it makes no sense.
            return Verdict::Pass;
        }
        if self.keeper.is_some() {
            self.owe(Owed::Bind { portal: portal.into(), statement: name.into() });
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        if name.is_empty() {
            self.bind_unnamed(rest, shown);
            return Verdict::Pass;
        }
        let Some(statement) = sharing.statements.get(name).cloned() else {
            return self.unknown(name, shown);
        };
        sharing.bound = statement.id();
        let effects = sharing.common.effects(&statement);
        self.sequences(effects, None);
        self.suspect(effects, statement.text(), Some(rest));
        if statement.lists {
            self.show_own_statements_in_batch(shown);
            return Verdict::Pass;
        }
        // It may have been parsed on another backend, or on none.
        if effects.contains(Effects::EXECUTE) {
            self.executed_by_parse(statement.text(), shown);
        }
        self.ensure(&statement, shown);
        if let Some(sharing) = &mut self.sharing {
            write_bind(&mut sharing.to_backend, portal, statement.name(), rest, body, total);
        }
        Verdict::Taken
    }

    fn bind_unnamed(&mut self, rest: &[u8], shown: &mut Shown<'_>) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        sharing.bound = 0;
        if sharing.unnamed.number != 0 && sharing.unnamed.lists && !rest.is_empty() {
            self.show_own_statements_in_batch(shown);
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        if sharing.unnamed.number != 0 {
            let effects = sharing.unnamed.effects(&sharing.common);
            self.sequences(effects, None);
            if !effects.is_empty() {
                let definition = self.sharing.as_mut().map(|s| std::mem::take(&mut s.unnamed.definition));
                let definition = definition.unwrap_or_default();
                self.suspect(effects, text_of(&definition), Some(rest));
                if let Some(sharing) = &mut self.sharing {
                    sharing.unnamed.definition = definition;
                }
            }
        }
        self.ensure_unnamed(shown);
    }

    /// Sees to it that the backend has the client's unnamed statement, or none.
    fn ensure_unnamed(&mut self, shown: &mut Shown<'_>) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let number = sharing.unnamed.number;
        if sharing.held.as_ref().is_none_or(|held| held.unnamed == number) {
            return;
        }
        self.stage(shown);
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let owed = if number == 0 {
            // Another session's: the server is to say that there is none.
            frontend::write_close_statement(&mut sharing.to_backend, b"");
            Owed::Close { portal: false, name: Box::default(), closed: Closed::Ours(0) }
        } else {
            frontend::write_parse(&mut sharing.to_backend, b"", &sharing.unnamed.definition);
            Owed::Parse { name: Box::default(), text: None, made: Made::OursUnnamed }
        };
        if let Some(held) = &mut sharing.held {
            held.unnamed = number;
        }
        self.owe(owed);
    }

    fn describe(&mut self, body: &[u8], shown: &mut Shown<'_>) -> Verdict {
        self.in_batch = true;
        let Some((b'S', name)) = object(body) else { return Verdict::Pass };
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        if name.is_empty() {
            self.ensure_unnamed(shown);
            return Verdict::Pass;
        }
        let Some(statement) = sharing.statements.get(name).cloned() else {
            return self.unknown(name, shown);
        };
        sharing.bound = statement.id();
        self.ensure(&statement, shown);
        if let Some(sharing) = &mut self.sharing {
            frontend::write_describe_statement(&mut sharing.to_backend, statement.name());
        }
        Verdict::Taken
    }

    fn close(&mut self, body: &[u8]) -> Verdict {
        self.in_batch = true;
        let Some((which, name)) = object(body) else { return Verdict::Pass };
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        let mut closed = Closed::AsIs;
        if which == b'S' {
            if name.is_empty() {
                sharing.unnamed.number = 0;
                if let Some(held) = &mut sharing.held {
                    held.unnamed = 0;
                }
            } else if let Some(statement) = sharing.statements.remove(name) {
                sharing.has_no_own(name);
                // The backend knows no statement of that name, and says CloseComplete all the same.
                closed = Closed::Name(statement);
            }
        }
        self.owe(Owed::Close { portal: which == b'P', name: name.into(), closed });
        Verdict::Pass
    }

    /// A statement that the client never prepared by message: the server knows it by SQL, or says that it does not exist.
    /// Names like our own are kept from what they could reach: that is closed first.
    fn unknown(&mut self, name: &[u8], shown: &mut Shown<'_>) -> Verdict {
        let number = name.strip_prefix(PREFIX).and_then(|number| str::from_utf8(number).ok()?.parse().ok());
        if let Some(id) = number {
            self.stage(shown);
            if let Some(sharing) = &mut self.sharing {
                frontend::write_close_statement(&mut sharing.to_backend, name);
                sharing.lose(id);
            }
            self.owe(Owed::Close { portal: false, name: name.into(), closed: Closed::Ours(id) });
        }
        Verdict::Pass
    }

    /// Makes `statement` on the backend under the client's own name, in the batch that is being written.
    fn parse_under_own_name(&mut self, name: &[u8], statement: &Statement) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        frontend::write_close_statement(&mut sharing.to_backend, name);
        frontend::write_parse(&mut sharing.to_backend, name, statement.definition());
        sharing.has_own(name);
        self.owe(Owed::Close { portal: false, name: name.into(), closed: Closed::Aside });
        self.owe(Owed::Parse { name: Box::default(), text: None, made: Made::Aside });
    }

    /// Has the server say so if it has a statement called `name`, made by SQL.
    fn try_name(&mut self, name: &[u8], statement: &Statement) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        frontend::write_parse(&mut sharing.to_backend, name, statement.definition());
        frontend::write_close_statement(&mut sharing.to_backend, name);
        self.owe(Owed::Parse { name: Box::default(), text: None, made: Made::Aside });
        self.owe(Owed::Close { portal: false, name: name.into(), closed: Closed::Aside });
    }

    /// `DEALLOCATE` and `EXECUTE` of what was prepared by message.
    fn sql_prepared(&mut self, statement: &[u8], shown: &mut Shown<'_>) -> Verdict {
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        if self.status == TransactionStatus::Failed || sharing.statements.is_empty() {
            return Verdict::Pass;
        }
        match sql::command(statement) {
            Command::Deallocate { name } => {
                let Some(prepared) = sharing.statements.remove(&*name) else { return Verdict::Pass };
                if sharing.has_no_own(&name) {
                    return Verdict::Pass;
                }
                self.stage(shown);
                self.prepare_aside(&prepared);
                if let Some(sharing) = &mut self.sharing {
                    frontend::write_query(&mut sharing.to_backend, &deallocate(&prepared));
                    sharing.lose(prepared.id());
                }
                Verdict::Taken
            }
            _ => {
                let named = sharing.named_in(statement);
                if !named.is_empty() && !self.in_batch && self.ledger.owes_client_nothing() {
                    self.stage(shown);
                    for (name, prepared) in &named {
                        self.executes_by_sql(prepared);
                        if let Some(sharing) = &mut self.sharing {
                            frontend::write_close_statement(&mut sharing.to_backend, name);
                            frontend::write_parse(&mut sharing.to_backend, name, prepared.definition());
                            sharing.has_own(name);
                        }
                    }
                    if let Some(sharing) = &mut self.sharing {
                        frontend::write_sync(&mut sharing.to_backend);
                    }
                    self.owe(Owed::Own(Own::Aside));
                }
                Verdict::Pass
            }
        }
    }

    /// A statement that was prepared by message is executed by SQL, whatever it does.
    fn executes_by_sql(&mut self, prepared: &Arc<Statement>) {
        let Some(sharing) = &mut self.sharing else { return };
        let effects = sharing.common.effects(prepared);
        self.suspect(effects, prepared.text(), None);
        self.pin(Pin::SqlExecute);
    }

    /// The same where a Parse says `EXECUTE`, by itself or within another statement.
    fn executed_by_parse(&mut self, statement: &[u8], shown: &mut Shown<'_>) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        for (name, prepared) in sharing.named_in(statement) {
            self.stage(shown);
            self.executes_by_sql(&prepared);
            self.parse_under_own_name(&name, &prepared);
        }
    }

    /// Makes all statements of the client under its own names, in a batch of our own.
    fn make_all_under_own_names(&mut self) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let Sharing { statements, strays, to_backend, .. } = sharing;
        for (name, statement) in statements {
            frontend::write_close_statement(to_backend, name);
            frontend::write_parse(to_backend, name, statement.definition());
            if !strays.contains(name) {
                strays.push(name.clone());
            }
        }
        frontend::write_sync(to_backend);
        self.owe(Owed::Own(Own::Aside));
    }

    /// The same in the extended protocol.
    fn sql_prepared_by_parse(
        &mut self,
        statement: &[u8],
        definition: &[u8],
        shown: &mut Shown<'_>,
    ) -> Verdict {
        let Some(sharing) = self.sharing.as_deref_mut() else { return Verdict::Pass };
        if self.status == TransactionStatus::Failed || sharing.statements.is_empty() {
            return Verdict::Pass;
        }
        match sql::command(statement) {
            Command::Deallocate { name } => {
                let Some(prepared) = sharing.statements.remove(&*name) else { return Verdict::Pass };
                if sharing.has_no_own(&name) {
                    return Verdict::Pass;
                }
                self.ensure(&prepared, shown);
                if let Some(sharing) = &mut self.sharing {
                    let types = definition.get(statement.len()..).unwrap_or_default();
                    let rewritten = [deallocate(&prepared).as_bytes(), types].concat();
                    frontend::write_parse(&mut sharing.to_backend, b"", &rewritten);
                    sharing.unnamed.definition = rewritten;
                    sharing.lose(prepared.id());
                }
                Verdict::Taken
            }
            _ => {
                self.executed_by_parse(statement, shown);
                Verdict::Pass
            }
        }
    }

    /// A batch of our own ahead of a Query, for a statement that the Query needs.
    fn prepare_aside(&mut self, statement: &Arc<Statement>) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let Some((_, mut pen)) = sharing.pen() else { return };
        pen.prepare(statement);
        frontend::write_sync(pen.out);
        self.owe(Owed::Own(Own::Prepare { statement: Arc::clone(statement), failed: false }));
    }

    /// The client is about to list prepared statements: it is to see its own, under its own names, and no others.
    fn show_own_statements(&mut self, shown: &mut Shown<'_>) {
        if self.in_batch || self.status == TransactionStatus::Failed {
            return;
        }
        self.stage(shown);
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let Some(held) = sharing.held.as_deref_mut() else { return };
        for name in held.prepared.clear() {
            frontend::write_close_statement(&mut sharing.to_backend, &name);
        }
        self.make_all_under_own_names();
    }

    /// The same within a batch of the client's.
    fn show_own_statements_in_batch(&mut self, shown: &mut Shown<'_>) {
        self.stage(shown);
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let Some(held) = sharing.held.as_deref_mut() else { return };
        let ours: Vec<_> = held.prepared.clear().collect();
        for name in &ours {
            frontend::write_close_statement(&mut sharing.to_backend, name);
        }
        let theirs: Vec<_> =
            sharing.statements.iter().map(|(name, known)| (name.clone(), Arc::clone(known))).collect();
        for name in ours {
            self.owe(Owed::Close { portal: false, name, closed: Closed::Aside });
        }
        for (name, statement) in theirs {
            self.parse_under_own_name(&name, &statement);
        }
    }

    /// Minds statements that move sequences, and those that read what an earlier one has left. `shown` comes with a first
    /// message alone: ahead of others nothing can be said.
    fn sequences(&mut self, effects: Effects, shown: Option<&mut Shown<'_>>) {
        if !effects.intersects(Effects::SEQUENCE_MOVE | Effects::SEQUENCE_READ) {
            return;
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        if effects.contains(Effects::SEQUENCE_READ) {
            sharing.common.sequences_are_read();
        }
        if sharing.common.reads_sequences() {
            if let Some(shown) = shown {
                self.clear_sequences(shown);
            }
            self.pin(Pin::Sequence);
        } else {
            sharing.sequences_are_ours = true;
        }
    }

    /// The client prepares a statement that reads what an earlier one has left.
    fn sequences_are_read(&mut self, shown: &mut Shown<'_>) {
        if let Some(sharing) = &mut self.sharing {
            sharing.common.sequences_are_read();
        }
        self.clear_sequences(shown);
    }

    /// Takes away what other sessions have left of their sequences, ahead of what the client is about to say first.
    fn clear_sequences(&mut self, shown: &mut Shown<'_>) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        if sharing.sequences_are_ours
            || sharing.pins.contains(Pin::Sequence)
            || self.in_batch
            || !self.ledger.owes_client_nothing()
            || self.status == TransactionStatus::Failed
        {
            return;
        }
        sharing.sequences_are_ours = true;
        self.stage(shown);
        if let Some(sharing) = &mut self.sharing {
            frontend::write_query(&mut sharing.to_backend, "DISCARD SEQUENCES");
        }
        self.owe(Owed::Own(Own::Sequences));
    }

    /// Notes what a statement may leave behind. `parameters` are those of its Bind, from the formats on.
    fn suspect(&mut self, effects: Effects, statement: &[u8], parameters: Option<&[u8]>) {
        if effects.is_empty() {
            return;
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        sharing.suspicion |= effects;
        sharing.about_databases |= effects.contains(Effects::DDL)
            && statement.windows(b"database".len()).any(|word| word.eq_ignore_ascii_case(b"database"));
        sharing.leads_back |= effects.contains(Effects::SETTINGS_ALL);
        if effects.contains(Effects::SETTINGS) {
            sql::setting_names(statement, &mut |name| sharing.touched.push(name.into()));
        }
        if effects.contains(Effects::SETTINGS_BOUND) {
            match parameters {
                Some(parameters) => touched_by_parameters(parameters, sharing),
                None => self.pin(Pin::HiddenSetting),
            }
        }
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        if effects.contains(Effects::BLOCK) {
            sharing.common.learn(statement);
        }
        for (effect, pin) in [
            (Effects::SETTINGS_HIDDEN, Pin::HiddenSetting),
            (Effects::LOAD, Pin::Load),
            (Effects::FUNCTION, Pin::Function),
        ] {
            if effects.contains(effect) {
                self.pin(pin);
            }
        }
    }

    /// Notes what a FunctionCall may leave behind: whatever it calls.
    fn suspect_function(&mut self, body: &[u8]) {
        let (oid, arguments) = body.split_at(body.len().min(4));
        let oid = oid.try_into().map_or(0, u32::from_be_bytes);
        let read = if SEQUENCE_READERS.contains(&oid) { Effects::SEQUENCE_READ } else { Effects::NONE };
        self.sequences(Effects::SEQUENCE_MOVE | read, None);
        let settings = Effects::SETTINGS_ALL | Effects::SETTINGS_BOUND;
        let hidden = if oid == SETSEED { Effects::FUNCTION } else { Effects::NONE };
        self.suspect(own::VISIBLE | settings | hidden, b"", Some(arguments));
    }

    pub(super) fn pin(&mut self, pin: Pin) {
        if let Some(sharing) = &mut self.sharing
            && !sharing.pins.contains(pin)
        {
            sharing.pins = sharing.pins.with(pin);
            sharing.new_pins.push_back(pin);
        }
    }

    pub(super) fn owe(&mut self, request: Owed) {
        if let Some(ignored) = self.ledger.owe(request) {
            self.undo(ignored);
        }
    }

    /// The server never got to this request.
    pub(super) fn undo(&mut self, request: Owed) {
        let Some(sharing) = self.sharing.as_deref_mut() else { return };
        let mut held = sharing.held.as_deref_mut();
        let mut doubt = |id| {
            if let Some(held) = &mut held {
                held.prepared.doubt(id);
            }
        };
        match request {
            Owed::Parse { name, made: Made::Named(statement), .. } => {
                doubt(statement.id());
                if sharing.statements.get(&name).is_some_and(|other| Arc::ptr_eq(other, &statement)) {
                    sharing.statements.remove(&name);
                }
            }
            Owed::Parse { made: Made::Ours(statement), .. } => doubt(statement.id()),
            Owed::Parse { made: Made::Unnamed(number), .. } => {
                if sharing.unnamed.number == number {
                    sharing.unnamed.number = 0;
                }
                forget_unnamed(held);
            }
            Owed::Parse { made: Made::OursUnnamed, .. } | Owed::Close { closed: Closed::Ours(0), .. } => {
                forget_unnamed(held);
            }
            Owed::Close { name, closed: Closed::Name(statement), .. } => {
                sharing.statements.insert(name, statement);
            }
            Owed::Close { name, closed: Closed::Ours(id), .. } => {
                if let Some(held) = held {
                    held.prepared.kept(id, &name);
                }
            }
            _ => {}
        }
    }
}

fn forget_unnamed(held: Option<&mut Memory>) {
    if let Some(held) = held {
        held.unnamed = SOME_UNNAMED;
    }
}

// === impl Sharing ===

impl Sharing {
    /// The settings of the held backend, and what a batch of ours for it is written with.
    pub(super) fn pen(&mut self) -> Option<(super::Settings, Pen<'_>)> {
        let held = self.held.as_deref_mut()?;
        self.batch = self.batch.wrapping_add(1);
        let settings = held.settings.clone();
        let pen = Pen {
            phrases: &self.common.phrases,
            prepared: &mut held.prepared,
            batch: self.batch,
            out: &mut self.to_backend,
        };
        Some((settings, pen))
    }

    /// The held backend is about to be told what it was not told of the transaction.
    fn tell(&mut self) -> Untold {
        std::mem::replace(&mut self.untold, Untold::Nothing)
    }

    /// Whether the held backend has a statement under the client's own name.
    fn is_own(&self, name: &[u8]) -> bool {
        self.strays.iter().any(|own| **own == *name)
    }

    /// The held backend is about to have a statement under the client's own name.
    pub(super) fn has_own(&mut self, name: &[u8]) {
        if !self.is_own(name) {
            self.strays.push(name.into());
        }
    }

    /// The held backend is about to lose it; whether it had it.
    fn has_no_own(&mut self, name: &[u8]) -> bool {
        let before = self.strays.len();
        self.strays.retain(|own| **own != *name);
        self.strays.len() < before
    }

    /// The held backend is about to lose a prepared statement.
    fn lose(&mut self, id: u64) {
        if let Some(held) = &mut self.held {
            held.prepared.closed(id);
        }
    }
}

/// Notes every parameter that may be a setting's name.
fn touched_by_parameters(parameters: &[u8], sharing: &mut Sharing) {
    let mut reader = Reader::new(parameters);
    let mut values = || {
        for _ in 0..reader.i16().ok()? {
            reader.i16().ok()?;
        }
        for _ in 0..reader.i16().ok()? {
            let Ok(length) = usize::try_from(reader.i32().ok()?) else { continue };
            let value = reader.octets(length).ok()?;
            let name = |octet: &u8| octet.is_ascii_alphanumeric() || b"_.$".contains(octet);
            if (1..=SETTING_NAME_MAX).contains(&value.len()) && value.iter().all(name) {
                sharing.touched.push(value.to_ascii_lowercase().into());
            }
        }
        Some(())
    };
    values();
}

/// Whether both names of a Bind are in what is here of its body.
fn names_are_there(body: &[u8]) -> bool {
    memchr::memchr_iter(0, body).nth(1).is_some()
}

/// What a Describe or Close is about, if it makes sense.
fn object(body: &[u8]) -> Option<(u8, &[u8])> {
    let (&which, name) = body.split_first()?;
    let (&end, name) = name.split_last()?;
    (end == 0 && memchr::memchr(0, name).is_none()).then_some((which, name))
}

/// Appends a Bind of `statement`; `total` is the length of the client's frame when only its beginning is here.
fn write_bind(
    out: &mut Vec<u8>,
    portal: &[u8],
    statement: &[u8],
    rest: &[u8],
    body: &[u8],
    total: Option<usize>,
) {
    let start = out.len();
    frontend::write_bind(out, portal, statement, rest);
    let Some(total) = total else { return };
    // The length speaks of what is still to come, too.
    let missing = total - Header::OCTETS - body.len();
    let length = u32::try_from(out.len() - start - 1 + missing).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start + 1..).and_then(|from| from.first_chunk_mut()) {
        *field = length.to_be_bytes();
    }
}

fn deallocate(statement: &Statement) -> String {
    format!("DEALLOCATE \"{}\"", String::from_utf8_lossy(statement.name()))
}

/// Whether a look at the text is worth it: it begins like BEGIN or START TRANSACTION.
fn may_be_begin(text: &[u8]) -> bool {
    let start = text.iter().position(|octet| !octet.is_ascii_whitespace()).unwrap_or(0);
    matches!(
        text.get(start..start + 2),
        Some([b'b' | b'B', b'e' | b'E'] | [b's' | b'S', b't' | b'T'] | b"/*" | b"--")
    )
}
