//! Sessions that share backends, as scripts: what each side says, and what reaches the other.

use std::{sync::Arc, time::Instant};

use proptest::{collection::vec, prelude::*};

use super::{
    super::{
        AssignedBackend, CatalogInstant, DatabaseState, FreshnessCheck, ReportedParameters, RouteOptions,
        Session, SessionOptions, SettingValues,
    },
    RouteSide::{self, Client, Server},
    client, executions, frame, fresh_backend, server,
};
use crate::{
    handshake::Parameters,
    names::EndpointName,
    route,
    sql::{StatefulNames, StatefulNamesBuilder},
    wire::{Frame, Speaker, TransactionStatus},
};

/// A session and what has reached either side.
pub(super) struct Talk {
    pub(super) session: Session,
    input: [Vec<u8>; 2],
    pub(super) to_backend: Vec<u8>,
    pub(super) to_client: Vec<u8>,
    /// How often a backend was leased.
    leases: usize,
    /// Sides of the leases, if the session splits.
    pub(super) sides: Option<Vec<route::RouteSide>>,
    /// The writer serves reads, too.
    pub(super) has_no_reader: bool,
    /// Leases wait.
    pub(super) has_no_backend: bool,
    /// A side made no sense.
    over: bool,
    /// Maximum bytes presented at once.
    buffer: usize,
}

impl Talk {
    pub(super) fn new(text_limit: Option<usize>) -> Self {
        let database = Arc::new(DatabaseState::new(StatefulNames::default()));
        database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
        Self::knowing(database, text_limit)
    }

    /// Session of a database with known `database`.
    pub(super) fn knowing(database: Arc<DatabaseState>, text_limit: Option<usize>) -> Self {
        Self::beginning(database, SettingValues::default(), text_limit)
    }

    /// Session of a client with `startup` in the start-up packet.
    fn beginning(database: Arc<DatabaseState>, startup: SettingValues, text_limit: Option<usize>) -> Self {
        let known = ReportedParameters::new(Arc::new(Parameters::default()));
        let session = Session::shared(
            database,
            known,
            startup,
            SessionOptions { text_limit, ..SessionOptions::default() },
        );
        let input = [Vec::new(), Vec::new()];
        let (to_backend, to_client) = (Vec::new(), Vec::new());
        let buffer = usize::MAX;
        Self {
            session,
            input,
            to_backend,
            to_client,
            leases: 0,
            sides: None,
            has_no_reader: false,
            has_no_backend: false,
            over: false,
            buffer,
        }
    }

    /// Session with reads on the read pools, and a return of backends.
    pub(super) fn splitting() -> Self {
        let mut talk = Self::new(None);
        talk.session.split(Arc::default(), RouteOptions::default());
        talk.sides = Some(Vec::new());
        talk
    }

    /// Breaks the backend's connection; true if the session continues.
    pub(super) fn lose_backend(&mut self) -> bool {
        let goes_on = self.session.on_backend_lost(Instant::now());
        self.input[1].clear();
        self.settle();
        goes_on
    }

    fn lease(&mut self) {
        self.leases += 1;
        let tracked_state = fresh_backend();
        let Some(sides) = &mut self.sides else { return self.session.attach(tracked_state, false) };
        let mut need = self.session.need();
        if self.has_no_reader {
            need.side = route::RouteSide::Writer;
        }
        sides.push(need.side);
        let endpoint = &EndpointName::new("some").unwrap();
        let freshness = FreshnessCheck::Enough;
        self.session.assign(
            tracked_state,
            false,
            AssignedBackend { side: need.side, reason: need.reason, endpoint, freshness },
        );
    }

    /// A side says `bytes`, `step` of them at a time.
    pub(super) fn say(&mut self, side: &RouteSide, bytes: &[u8], step: usize) {
        for part in bytes.chunks(step) {
            let input = match side {
                Client => &mut self.input[0],
                Server => &mut self.input[1],
            };
            input.extend_from_slice(part);
            self.settle();
        }
    }

    /// Answers all messages received by the server, in order, outside of a transaction.
    pub(super) fn answer(&mut self) {
        self.answer_in(b"I");
    }

    /// Answers all messages received by the server, in order, in the transaction status `status`.
    pub(super) fn answer_in(&mut self, status: &[u8]) {
        let requests = std::mem::take(&mut self.to_backend);
        let mut rest = requests.as_slice();
        let mut answers = Vec::new();
        while let Ok(Some(message)) = Frame::read(Speaker::Client, rest) {
            answers.extend(match message.tag() {
                b'P' => frame(b'1', b""),
                // The Bind announces more formats than present.
                b'B' if message.body().starts_with(b"\0\0\xff\xff") => {
                    answers.extend([frame(b'E', ERROR), frame(b'Z', status)].concat());
                    break;
                }
                b'B' => frame(b'2', b""),
                b'C' => frame(b'3', b""),
                b'D' if message.body().first() == Some(&b'S') => {
                    [frame(b't', b"\0\0"), frame(b'n', b"")].concat()
                }
                b'D' => frame(b'n', b""),
                b'E' => frame(b'C', b"SELECT 1\0"),
                b'S' => frame(b'Z', status),
                b'Q' => [frame(b'C', b"SELECT 1\0"), frame(b'Z', status)].concat(),
                _ => Vec::new(),
            });
            rest = &rest[message.as_bytes().len()..];
        }
        self.say(&Server, &answers, 1000);
    }

    /// Does what a driver does until nothing moves.
    pub(super) fn settle(&mut self) {
        let now = Instant::now();
        loop {
            let mut moved = false;
            if self.session.wants_catalogue() {
                self.session.on_catalogue(true);
            }
            for at in [0, 1] {
                let unread = &self.input[at];
                let unread = &unread[..unread.len().min(self.buffer)];
                let full = unread.len() == self.buffer;
                let consumed = if at == 0 {
                    self.session.on_client(now, unread, false)
                } else {
                    self.session.on_backend(now, unread, full)
                };
                let Ok(consumed) = consumed else {
                    self.over = true;
                    return;
                };
                assert!(consumed.byte_count() <= unread.len(), "no more is taken than was shown");
                let to = if at == 0 { &mut self.to_backend } else { &mut self.to_client };
                if at == 0 {
                    to.extend(self.session.to_backend().map(std::mem::take).unwrap_or_default());
                }
                to.extend_from_slice(&unread[..consumed.forward]);
                self.to_client.extend(self.session.to_client().map(std::mem::take).unwrap_or_default());
                self.to_backend.extend(self.session.to_backend().map(std::mem::take).unwrap_or_default());
                self.input[at].drain(..consumed.byte_count());
                moved |= consumed.byte_count() > 0;
                if at == 0 && self.sides.is_some() && self.input[1].is_empty() {
                    moved |= self.session.detach().is_some();
                }
                if self.session.wants_backend() && !self.has_no_backend {
                    self.lease();
                    moved = true;
                }
            }
            while self.session.poll_report().is_some() {}
            if !moved {
                return;
            }
        }
    }
}

/// The messages in `bytes`: their tags, and the texts in them that a reader recognises.
pub(super) fn shown(bytes: &[u8], speaker: Speaker) -> String {
    let mut shown = Vec::new();
    let mut rest = bytes;
    while let Ok(Some(frame)) = Frame::read(speaker, rest) {
        let body: String = frame
            .body()
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
            .collect();
        shown.push(format!("{}{}", char::from(frame.tag()), body.trim_end_matches('.')));
        rest = &rest[frame.as_bytes().len()..];
    }
    // Name key of the simulated backend: zeros.
    shown.join(" | ").replace(&format!("__gatekeeper_{}", "0".repeat(47)), "__gatekeeper_")
}

/// Plays a script in all step sizes; answers what reached the backend and the client.
pub(super) fn played(script: &[(RouteSide, Vec<u8>)]) -> (String, String, Talk) {
    let play = |step| {
        let mut talk = Talk::new(Some(50));
        for (side, bytes) in script {
            talk.say(side, bytes, step);
        }
        talk
    };
    let whole = play(usize::MAX);
    for step in 1..20 {
        let parts = play(step);
        assert_eq!(parts.to_backend, whole.to_backend, "shown {step} bytes at a time");
        assert_eq!(parts.to_client, whole.to_client, "shown {step} bytes at a time");
    }
    (shown(&whole.to_backend, Speaker::Client), shown(&whole.to_client, Speaker::Server), whole)
}

pub(super) fn one_batch(client_frames: &[(u8, &[u8])]) -> (RouteSide, Vec<u8>) {
    (Client, client_frames.iter().flat_map(|(tag, body)| frame(*tag, body)).collect())
}

pub(super) const BIND_S: &[u8] = b"\0s\0\0\0\0\0\0\0";
pub(super) const EXECUTE: &[u8] = b"\0\0\0\0\0";
pub(super) const ERROR: &[u8] = b"SERROR\0VERROR\0C22012\0Mdivision\0\0";

#[test]
fn a_beginning_is_held_back_until_there_is_something_to_begin() {
    let (to_backend, to_client, talk) = played(&[
        client(b'Q', b"BEGIN\0"),
        client(b'Q', b"COMMIT\0"),
        client(b'Q', b"START TRANSACTION\0"),
        client(b'Q', b"SELECT 1\0"),
        server(b'C', b"BEGIN\0"),
        server(b'Z', b"T"),
        server(b'C', b"SELECT 1\0"),
        server(b'Z', b"T"),
    ]);
    assert_eq!(to_backend, "QBEGIN | QSELECT 1");
    assert_eq!(to_client, "CBEGIN | ZT | CCOMMIT | ZI | CSTART TRANSACTION | ZT | CSELECT 1 | ZT");
    assert_eq!((talk.leases, talk.session.status()), (1, TransactionStatus::Open));
}

#[test]
fn a_statement_is_prepared_under_a_shared_name_and_made_again_where_it_is_missing() {
    let mut script =
        vec![one_batch(&[(b'P', b"s\0SELECT 1\0\0\0"), (b'S', b"")]), server(b'1', b""), server(b'Z', b"I")];
    let (to_backend, to_client, _) = played(&script);
    assert_eq!(to_backend, "P__gatekeeper_a.SELECT 1 | S");
    assert_eq!(to_client, "1 | ZI");
    let play = |talk: &mut Talk, script: &[(RouteSide, Vec<u8>)]| {
        script.iter().for_each(|(side, bytes)| talk.say(side, bytes, 1000));
    };
    let mut talk = Talk::new(None);
    play(&mut talk, &script);
    assert!(talk.session.detach().is_some(), "nothing of the session is left there");
    talk.to_backend.clear();
    script = vec![one_batch(&[(b'B', BIND_S), (b'E', EXECUTE), (b'S', b"")])];
    play(&mut talk, &script);
    let sent = shown(&talk.to_backend, Speaker::Client);
    assert_eq!(sent, "P__gatekeeper_a.SELECT 1 | B.__gatekeeper_a | E | S");
    talk.to_client.clear();
    let answer = [server(b'1', b""), server(b'2', b""), server(b'C', b"SELECT 1\0"), server(b'Z', b"I")];
    play(&mut talk, &answer);
    assert_eq!(
        shown(&talk.to_client, Speaker::Server),
        "2 | CSELECT 1 | ZI",
        "what it did not ask for is not said"
    );
}

/// Messages received by a client on a backend without the client's statements `s` and `t`, and with responses in order.
fn answer_where_statements_are_missing(text_limit: Option<usize>, messages: &[(u8, &[u8])]) -> String {
    let mut talk = Talk::new(text_limit);
    let parses = one_batch(&[(b'P', b"s\0SELECT 1\0\0\0"), (b'P', b"t\0SELECT 2\0\0\0"), (b'S', b"")]);
    talk.say(&Client, &parses.1, 1000);
    talk.answer();
    assert!(talk.session.detach().is_some(), "nothing of the session is left there");
    talk.to_client.clear();
    talk.say(&Client, &one_batch(messages).1, 1000);
    talk.answer();
    shown(&talk.to_client, Speaker::Server)
}

#[test]
fn what_the_client_did_not_say_is_not_answered_whoever_keeps_texts() {
    let bind = |portal: &str, statement: &str| {
        [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\0\0\0\0\0"].concat()
    };
    let (bind_s, bind_t, bind_unnamed) = (bind("p", "s"), bind("q", "t"), bind("", ""));
    let bind_ours = bind("", "__gatekeeper_99");
    for text_limit in [None, Some(50)] {
        let answer_to = |messages: &[(u8, &[u8])]| answer_where_statements_are_missing(text_limit, messages);
        let sync: (u8, &[u8]) = (b'S', b"");
        assert_eq!(answer_to(&[(b'B', &bind_s), (b'E', b"p\0\0\0\0\0"), sync]), "2 | CSELECT 1 | ZI");
        assert_eq!(
            answer_to(&[(b'B', &bind_s), (b'B', &bind_t), sync]),
            "2 | 2 | ZI",
            "one behind the other"
        );
        assert_eq!(answer_to(&[(b'D', b"Ss\0"), (b'B', &bind_t), sync]), "t | n | 2 | ZI");
        assert_eq!(
            answer_to(&[(b'B', &bind_s), (b'C', b"Ss\0"), (b'D', b"St\0"), sync]),
            "2 | 3 | t | n | ZI"
        );
        assert_eq!(answer_to(&[(b'B', &bind_ours), (b'C', b"Px\0"), sync]), "2 | 3 | ZI", "a name like ours");
        let unnamed: (u8, &[u8]) = (b'P', b"\0SELECT 3\0\0\0");
        assert_eq!(answer_to(&[unnamed, (b'B', &bind_unnamed), (b'B', &bind_s), sync]), "1 | 2 | 2 | ZI");
        let lists: (u8, &[u8]) = (b'P', b"l\0SELECT name FROM pg_prepared_statements\0\0\0");
        assert_eq!(answer_to(&[lists, (b'B', &bind("", "l")), (b'B', &bind_s), sync]), "1 | 2 | 2 | ZI");
        let runs: (u8, &[u8]) = (b'P', b"x\0EXECUTE s\0\0\0");
        assert_eq!(answer_to(&[runs, (b'B', &bind("", "x")), (b'B', &bind_t), sync]), "1 | 2 | 2 | ZI");
    }
}

#[test]
fn an_error_is_that_of_the_request_it_answers() {
    for text_limit in [None, Some(50)] {
        for refused in [(b'B', BIND_S), (b'D', &b"Ss\0"[..])] {
            let mut talk = Talk::new(text_limit);
            let batch = one_batch(&[refused, (b'Q', b"SELECT 'skipped'\0"), (b'S', b"")]);
            talk.say(&Client, &batch.1, 1000);
            talk.say(&Server, &[frame(b'E', ERROR), frame(b'Z', b"I")].concat(), 1000);
            assert!(talk.session.is_idle(), "a Query behind it was skipped, too");
        }
    }
}

#[test]
fn a_client_has_so_many_statements_and_bytes_of_them_and_goes_on() {
    const COUNT: usize = 1 << 16;
    let mut talk = Talk::new(None);
    let mut answer_to = |messages: &[(u8, &[u8])]| {
        talk.to_client.clear();
        talk.say(&Client, &one_batch(messages).1, usize::MAX);
        talk.answer();
        shown(&talk.to_client, Speaker::Server)
    };
    let parse = |name: &str| [name.as_bytes(), b"\0SELECT 1\0\0\0"].concat();
    for number in 0..COUNT {
        assert_eq!(answer_to(&[(b'P', &parse(&format!("s{number}"))), (b'S', b"")]), "1 | ZI", "{number}");
    }
    let more = parse("more");
    let refused = answer_to(&[(b'P', &more), (b'B', BIND_S), (b'S', b"")]);
    assert!(refused.starts_with("ESERROR") && refused.contains("C54000"), "{refused}");
    assert!(refused.ends_with(" | ZI") && !refused.contains("| 2"), "what follows is skipped: {refused}");
    let closes = [(b'C', &b"Ss7\0"[..]), (b'P', &more), (b'S', b"")];
    assert_eq!(answer_to(&closes), "3 | 1 | ZI", "there is room for one again");
    assert_eq!(answer_to(&[(b'C', b"Ss1\0"), (b'C', b"Ss2\0"), (b'S', b"")]), "3 | 3 | ZI");
    let long = |name: &str| [name.as_bytes(), b"\0", "x".repeat(32 << 20).as_bytes(), b"\0\0\0"].concat();
    assert_eq!(answer_to(&[(b'P', &long("a")), (b'S', b"")]), "1 | ZI");
    let refused = answer_to(&[(b'P', &long("b")), (b'S', b"")]);
    assert!(refused.contains("C54000") && refused.ends_with(" | ZI"), "there is no room for so long a one");
    assert_eq!(answer_to(&[(b'C', b"Sa\0"), (b'P', &long("b")), (b'S', b"")]), "3 | 1 | ZI");
}

#[test]
fn a_name_is_not_used_before_it_is_known_whether_it_was_made() {
    let pipeline =
        one_batch(&[(b'E', EXECUTE), (b'P', b"s\0SELECT 1\0\0\0"), (b'S', b""), (b'B', BIND_S), (b'S', b"")]);
    let before = played(std::slice::from_ref(&pipeline)).0;
    assert_eq!(before, "E | P__gatekeeper_a.SELECT 1 | S");
    let failed = [pipeline.clone(), server(b'E', ERROR), server(b'Z', b"I")];
    assert_eq!(played(&failed).0, format!("{before} | B.s | S"), "the server says that there is none");
    let made = [pipeline, server(b'C', b"SELECT 1\0"), server(b'1', b""), server(b'Z', b"I")];
    assert_eq!(played(&made).0, format!("{before} | B.__gatekeeper_a | S"));
}

#[test]
fn a_settings_name_that_is_not_here_yet_is_waited_for() {
    let bind = frame(b'B', b"\0s\0\0\0\0\x01\0\0\0\x08work_mem\0\0");
    let mut talk = Talk::new(None);
    let parse = [frame(b'P', b"s\0SELECT set_config($1, 'x', false)\0\0\0"), frame(b'S', b"")].concat();
    talk.say(&Client, &parse, 1000);
    talk.say(&Server, &[frame(b'1', b""), frame(b'Z', b"I")].concat(), 1000);
    talk.to_backend.clear();
    talk.say(&Client, &bind[..20], 1000);
    assert!(talk.to_backend.is_empty(), "the parameters are not here");
    let rest = [&bind[20..], &frame(b'E', EXECUTE), &frame(b'S', b"")].concat();
    talk.say(&Client, &rest, 1000);
    let answer = [frame(b'2', b""), frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat();
    talk.say(&Server, &answer, 1000);
    let asked = shown(&talk.to_backend, Speaker::Client);
    assert!(asked.contains("work_mem") && asked.contains("current_setting"), "{asked}");
}

#[test]
fn a_reset_forgets_nothing_sent_behind_it() {
    let reset = one_batch(&[(b'Q', b"DISCARD ALL\0"), (b'Q', b"SET ROLE r1\0")]);
    assert_eq!(played(std::slice::from_ref(&reset)).0, "QDISCARD ALL");
    let answered = [reset, server(b'C', b"DISCARD ALL\0"), server(b'Z', b"I")];
    assert_eq!(played(&answered).0, "QDISCARD ALL | QSET ROLE r1");
    let mut talk = Talk::new(None);
    answered.iter().for_each(|(side, bytes)| talk.say(side, bytes, 1000));
    talk.say(&Server, &[frame(b'C', b"SET\0"), frame(b'Z', b"I")].concat(), 1000);
    let asked = shown(&talk.to_backend, Speaker::Client);
    assert!(asked.contains("role") && asked.contains("current_setting"), "{asked}");
}

/// Response to a Describe of a statement: a column of the type `kind`.
pub(super) fn description(kind: u8) -> Vec<u8> {
    let column = [&b"\0\x01a\0\0\0\0\x01\0\x01\0\0\0"[..], &[kind], b"\0\x04\xff\xff\xff\xff\0\0"].concat();
    [frame(b't', b"\0\0"), frame(b'T', &column)].concat()
}

#[test]
fn a_result_is_compared_before_anything_is_bound() {
    let batch = one_batch(&[(b'B', BIND_S), (b'E', EXECUTE), (b'S', b"")]).1;
    let preparation = one_batch(&[(b'P', b"s\0SELECT 1\0\0\0"), (b'D', b"Ss\0"), (b'S', b"")]).1;
    for (text_limit, step) in (1..30).flat_map(|step| [(None, step), (Some(50), step)]) {
        for (kind, sent) in [(23, "B.__gatekeeper_a | E | S"), (25, "B | E | S")] {
            let mut talk = Talk::new(text_limit);
            talk.say(&Client, &preparation, 1000);
            talk.say(&Server, &[frame(b'1', b""), description(23), frame(b'Z', b"I")].concat(), step);
            assert!(talk.session.detach().is_some());
            talk.to_client.clear();
            talk.to_backend.clear();
            talk.say(&Client, &batch, step);
            let asked = "P__gatekeeper_a.SELECT 1 | DS__gatekeeper_a | H";
            assert_eq!(shown(&talk.to_backend, Speaker::Client), asked);
            talk.say(&Server, &[frame(b'1', b""), description(kind)].concat(), step);
            assert_eq!(shown(&talk.to_backend, Speaker::Client), format!("{asked} | {sent}"));
            assert!(talk.to_client.is_empty(), "the client has asked for none of it");
            if kind == 25 {
                talk.say(&Server, &[frame(b'E', ERROR), frame(b'Z', b"I")].concat(), step);
                let to_client = shown(&talk.to_client, Speaker::Server);
                assert!(to_client.contains("C0A000.Mcached plan must not change result type"), "{to_client}");
                continue;
            }
            talk.say(
                &Server,
                &[frame(b'2', b""), frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat(),
                step,
            );
            assert_eq!(shown(&talk.to_client, Speaker::Server), "2 | CSELECT 1 | ZI");
            talk.to_backend.clear();
            talk.say(&Client, &batch, step);
            assert_eq!(shown(&talk.to_backend, Speaker::Client), sent, "it is known by now");
        }
    }
}

#[test]
fn a_start_up_setting_is_not_looked_up_after_discard_all() {
    let database = Arc::new(DatabaseState::new(StatefulNames::default()));
    database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
    let startup = SettingValues::default().with(b"app.tenant", Some(b"5"));
    let mut talk = Talk::beginning(Arc::clone(&database), startup, None);
    let gives = |talk: &Talk| talk.to_backend.windows(15).any(|it| it == b"app.tenant\0\0\0\x015");
    talk.say(&Client, &frame(b'Q', b"SELECT 1\0"), 1000);
    assert!(gives(&talk));
    talk.answer();
    database.definitions_changed();
    talk.say(&Client, &frame(b'Q', b"DISCARD ALL\0"), 1000);
    talk.to_backend.clear();
    talk.say(&Server, &[frame(b'C', b"DISCARD ALL\0"), frame(b'Z', b"I")].concat(), 1000);
    let look = shown(&talk.to_backend, Speaker::Client);
    assert!(look.contains("pg_settings") && !look.contains("app.tenant"), "{look}");
    talk.answer();
    talk.say(&Client, &frame(b'Q', b"SELECT 1\0"), 1000);
    assert!(gives(&talk));
}

#[test]
fn settings_are_given_on_a_backend_full_of_statements() {
    const STATEMENTS: usize = 500;
    let database = Arc::new(DatabaseState::new(StatefulNames::default()));
    database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
    let startup = SettingValues::default().with(b"app.tenant", Some(b"5"));
    let mut talk = Talk::beginning(database, startup, None);
    for number in 0..STATEMENTS {
        let parse = format!("s{number}\0SELECT {number}\0\0\0");
        talk.say(&Client, &one_batch(&[(b'P', parse.as_bytes()), (b'S', b"")]).1, 1000);
        talk.answer();
    }
    let reset: [(u8, &[u8]); 3] =
        [(b'P', b"\0RESET app.tenant\0\0\0"), (b'B', b"\0\0\0\0\0\0\0\0"), (b'E', EXECUTE)];
    talk.say(&Client, &one_batch(&reset).1, 1000);
    talk.answer();
    talk.to_client.clear();
    let read = [(b'P', &b"\0SELECT 1\0\0\0"[..]), (b'B', b"\0\0\0\0\0\0\0\0"), (b'S', b"")];
    talk.say(&Client, &one_batch(&read).1, 1000);
    let sent = shown(&talk.to_backend, Speaker::Client);
    assert!(sent.contains("set_config") && sent.contains(" | CS__gatekeeper_"), "one makes room: {sent}");
    talk.answer();
    assert_eq!(shown(&talk.to_client, Speaker::Server), "1 | 2 | ZI");
}

#[test]
fn settings_given_within_a_batch_are_reported_at_the_end() {
    let database = Arc::new(DatabaseState::new(StatefulNames::default()));
    database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
    let report = |value: &str| frame(b'S', format!("application_name\0{value}\0").as_bytes());
    for (later, reported) in [(None, "first"), (Some(report("later")), "later")] {
        let startup = SettingValues::default().with(b"application_name", Some(b"first"));
        let mut talk = Talk::beginning(Arc::clone(&database), startup, None);
        talk.say(&Client, &frame(b'Q', b"SET application_name = 'x'\0"), 1000);
        let applied = [frame(b'1', b""), frame(b'2', b""), frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")];
        talk.say(&Server, &applied.concat(), 1000);
        talk.to_backend.clear();
        talk.say(&Server, &[frame(b'C', b"SET\0"), report("x"), frame(b'Z', b"I")].concat(), 1000);
        talk.answer();
        let batch: [(u8, &[u8]); 4] = [
            (b'P', b"\0DISCARD ALL\0\0\0"),
            (b'B', b"\0\0\0\0\0\0\0\0"),
            (b'E', EXECUTE),
            (b'Q', b"SET my.two = 1\0"),
        ];
        talk.say(&Client, &one_batch(&batch).1, 1000);
        let discarded = [frame(b'1', b""), frame(b'2', b""), frame(b'C', b"DISCARD ALL\0")];
        talk.say(&Server, &discarded.concat(), 1000);
        talk.to_client.clear();
        let ready = frame(b'Z', b"I");
        let given = [&applied[..3], &[report("first"), ready.clone()]].concat();
        let answer = [&given[..], &[frame(b'C', b"SET\0"), later.unwrap_or_default(), ready]].concat();
        talk.say(&Server, &answer.concat(), 1000);
        let to_client = shown(&talk.to_client, Speaker::Server);
        assert_eq!(to_client, format!("CSET | Sapplication_name.{reported} | ZI"));
    }
}

#[test]
fn a_role_restored_within_a_batch_is_confirmed_first() {
    let database = Arc::new(DatabaseState::new(StatefulNames::default()));
    database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
    let startup = SettingValues::default().with(b"role", Some(b"joe"));
    let mut talk = Talk::beginning(database, startup, None);
    talk.say(&Client, &frame(b'Q', b"SELECT 1\0"), 1000);
    talk.answer();
    talk.answer();
    let batch: [(u8, &[u8]); 4] = [
        (b'P', b"\0DISCARD ALL\0\0\0"),
        (b'B', b"\0\0\0\0\0\0\0\0"),
        (b'E', EXECUTE),
        (b'Q', b"DELETE FROM t\0"),
    ];
    talk.say(&Client, &one_batch(&batch).1, 1000);
    talk.to_backend.clear();
    let discarded = [frame(b'1', b""), frame(b'2', b""), frame(b'C', b"DISCARD ALL\0")];
    talk.say(&Server, &discarded.concat(), 1000);
    let restored = shown(&talk.to_backend, Speaker::Client);
    assert!(restored.contains("set_config") && !restored.contains("DELETE"), "{restored}");
    talk.answer();
    let sent = shown(&talk.to_backend, Speaker::Client);
    assert!(sent.ends_with("QDELETE FROM t"), "{sent}");
}

#[test]
fn a_failed_look_waits_for_the_batch() {
    let script = [
        client(b'Q', b"SET app.x = 1\0"),
        server(b'C', b"SET\0"),
        server(b'Z', b"I"),
        client(b'B', BIND_S),
        server(b'E', ERROR),
        server(b'Z', b"I"),
    ];
    let (asked, to_client, _) = played(&script);
    assert!(asked.contains("app.x") && asked.ends_with(" | S | B.s"), "{asked}");
    assert_eq!(to_client, "CSET | ZI");
    let ended = [&script[..], &[server(b'E', ERROR), client(b'S', b""), server(b'Z', b"I")]].concat();
    let (again, to_client, _) = played(&ended);
    let again = again.strip_prefix(&asked).unwrap();
    assert!(again.starts_with(" | S | P__gatekeeper_") && again.contains("app.x"), "{again}");
    assert!(to_client.starts_with("CSET | ZI | ESERROR") && to_client.ends_with(" | ZI"), "{to_client}");
}

#[test]
fn what_a_skipped_close_leaves_is_known() {
    let lists = b"\0SELECT name FROM pg_prepared_statements\0\0\0";
    let (sent, _, _) = played(&[
        one_batch(&[(b'P', b"s\0SELECT 1\0\0\0"), (b'S', b"")]),
        server(b'1', b""),
        server(b'Z', b"I"),
        one_batch(&[(b'E', EXECUTE), (b'P', lists), (b'B', b"\0\0\0\0\0\0\0\0"), (b'S', b"")]),
        server(b'E', ERROR),
        server(b'Z', b"I"),
        one_batch(&[(b'B', BIND_S), (b'S', b"")]),
    ]);
    assert!(
        sent.ends_with(" | S | CS__gatekeeper_a | P__gatekeeper_a.SELECT 1 | B.__gatekeeper_a | S"),
        "{sent}"
    );
}

#[test]
fn a_list_prepared_by_sql_shows_no_shared_statement() {
    for (prepare, _) in executions("PREPARE l AS SELECT name FROM pg_prepared_statements") {
        for (execute, _) in executions("EXECUTE l") {
            let mut talk = Talk::new(None);
            let parse = one_batch(&[(b'P', b"t\0SELECT 2\0\0\0"), (b'S', b"")]).1;
            let mut before = Vec::new();
            for messages in [&prepare, &parse] {
                talk.say(&Client, messages, 1000);
                while !talk.to_backend.is_empty() {
                    before.push(shown(&talk.to_backend, Speaker::Client));
                    talk.answer();
                }
            }
            talk.say(&Client, &execute, 1000);
            let sent = shown(&talk.to_backend, Speaker::Client);
            assert!(
                sent.contains("Pt.SELECT 2"),
                "the session's own names are not shown: {sent}, behind {before:?}"
            );
            assert!(
                sent.contains("CS__gatekeeper_"),
                "shared statements are not closed: {sent}, behind {before:?}"
            );
        }
    }
}

#[test]
fn stray_copied_data_goes_ahead_of_nothing() {
    let parse = |name: &[u8], text: &[u8]| frame(b'P', &[name, b"\0", text, b"\0\0\0"].concat());
    let script = [
        (Client, parse(b"", b"BEGIN")),
        (Server, frame(b'C', b"SELECT 1\0")),
        (Client, parse(b"s", b"SELECT lastval()")),
        (Client, [parse(b"s", b"BEGIN"), frame(b'S', b"")].concat()),
        server(b'Z', b"I"),
        client(b'd', b"\0\0\0\0\0"),
    ];
    for step in [1, 4, 5, 6, 9, 1000] {
        let mut talk = Talk::new(None);
        for (side, bytes) in &script {
            talk.say(side, bytes, step);
        }
        let sent = shown(&talk.to_backend, Speaker::Client);
        assert!(sent.ends_with("CSs | S | d"), "{step} bytes at a time: {sent}");
    }
}

#[test]
fn an_answer_to_a_reset_is_flushed() {
    let script = [
        one_batch(&[
            (b'P', b"d\0DEALLOCATE ALL\0\0\0"),
            (b'B', b"\0d\0\0\0\0\0\0\0"),
            (b'E', EXECUTE),
            (b'P', b"s\0SELECT 1\0\0\0"),
            (b'B', BIND_S),
            (b'E', EXECUTE),
            (b'S', b""),
        ]),
        server(b'1', b""),
        server(b'2', b""),
    ];
    let before = played(&script).0;
    assert!(before.ends_with(" | E | H"), "{before}");
    let script = [&script[..], &[server(b'C', b"DEALLOCATE ALL\0")]].concat();
    let behind = played(&script).0;
    assert!(behind[before.len()..].contains("SELECT 1 | B") && behind.ends_with(" | E | H | S"), "{behind}");
    // The statement created later still belongs to the client.
    let script = [
        &script[..],
        &[server(b'1', b""), server(b'3', b""), server(b'1', b""), server(b'2', b"")],
        &[server(b'C', b"SELECT 1\0"), server(b'Z', b"I")],
        &[one_batch(&[(b'B', BIND_S), (b'E', EXECUTE), (b'S', b"")])],
    ]
    .concat();
    let again = played(&script).0;
    assert!(!again.ends_with("B.s | E | S"), "{again}");
}

#[test]
fn no_answer_to_a_question_of_ours_reaches_the_client() {
    let value = "x".repeat(300);
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    let row = [&b"\0\x01"[..], &length, value.as_bytes()].concat();
    let long = format!("SNOTICE\0C00000\0M{value}\0\0");
    for (buffer, step) in (40..80).flat_map(|buffer| [1, 7, 1000].map(|step| (buffer, step))) {
        let mut talk = Talk::new(None);
        talk.buffer = buffer;
        talk.say(&Client, &frame(b'Q', b"SET app.x = 'x'\0"), 1000);
        talk.say(&Server, &[frame(b'C', b"SET\0"), frame(b'Z', b"I")].concat(), step);
        let answer = [
            frame(b'1', b""),
            frame(b'2', b""),
            frame(b'N', long.as_bytes()),
            frame(b'D', &row),
            frame(b'C', b"SELECT 1\0"),
            frame(b'Z', b"I"),
        ];
        talk.say(&Server, &answer.concat(), step);
        assert_eq!(shown(&talk.to_client, Speaker::Server), "CSET | ZI", "{step} of {buffer} at a time");
        assert!(talk.session.detach().is_some(), "nothing is left that is not known");
        talk.to_backend.clear();
        talk.say(&Client, &frame(b'Q', b"SELECT 1\0"), 1000);
        assert!(shown(&talk.to_backend, Speaker::Client).contains(&value), "the next backend is given it");
    }
}

#[test]
fn no_text_that_is_executed_has_a_name_of_ours() {
    let (to_backend, _, _) = played(&[
        one_batch(&[(b'P', b"s\0SELECT 1\0\0\0"), (b'S', b"")]),
        server(b'1', b""),
        server(b'Z', b"I"),
        client(b'Q', b"DEALLOCATE s\0"),
    ]);
    assert_eq!(to_backend, "P__gatekeeper_a.SELECT 1 | S | CSs | Ps.SELECT 1 | S | QDEALLOCATE s");
}

#[test]
fn an_error_speaks_of_a_statement_by_the_clients_name() {
    let name = format!("__gatekeeper_{}a", "0".repeat(47));
    let text = |name: &str| format!("SERROR\0C26000\0Mprepared statement \"{name}\" does not exist\0\0");
    let script = [
        one_batch(&[(b'P', b"s\0SELECT 1\0\0\0"), (b'S', b"")]),
        server(b'1', b""),
        server(b'Z', b"I"),
        one_batch(&[(b'B', BIND_S), (b'S', b"")]),
        server(b'N', text(&name).as_bytes()),
        server(b'E', text(&name).as_bytes()),
        server(b'Z', b"I"),
    ];
    let missing = "SERROR.C26000.Mprepared statement \"s\" does not exist";
    assert_eq!(played(&script).1, format!("1 | ZI | N{missing} | E{missing} | ZI"));
}

#[test]
fn an_error_knows_the_name_that_is_closed_behind_it() {
    let name = format!("__gatekeeper_{}a", "0".repeat(47));
    let wrong = format!("SERROR\0C08P01\0Mprepared statement \"{name}\" requires 0\0\0");
    let bind = (b'B', BIND_S);
    let script = [
        one_batch(&[(b'P', b"s\0SELECT 1\0\0\0"), (b'P', b"d\0DEALLOCATE s\0\0\0"), (b'S', b"")]),
        (Server, [frame(b'1', b""), frame(b'1', b""), frame(b'Z', b"I")].concat()),
    ];
    for closes in [&[(b'C', &b"Ss\0"[..])][..], &[(b'B', b"\0d\0\0\0\0\0\0\0"), (b'E', EXECUTE)]] {
        let sync = (b'S', &b""[..]);
        let behind = [&[bind, sync][..], closes, &[sync]].concat();
        let error = [server(b'E', wrong.as_bytes()), server(b'Z', b"I")];
        let (_, to_client, _) = played(&[&script[..], &[one_batch(&behind)], &error].concat());
        assert!(to_client.ends_with("prepared statement \"s\" requires 0 | ZI"), "{to_client}");
    }
}

#[test]
fn a_farewell_waits_for_the_answers() {
    let script = vec![one_batch(&[(b'Q', b"SELECT 1\0"), (b'X', b"")])];
    let (to_backend, _, talk) = played(&script);
    assert_eq!(to_backend, "QSELECT 1");
    assert!(talk.session.terminate_received() && !talk.session.may_leave());
    let whole = [script, vec![server(b'C', b"SELECT 1\0"), server(b'Z', b"I")]].concat();
    assert!(played(&whole).2.session.may_leave());
}

#[test]
fn a_sync_or_an_end_of_data_out_of_the_blue_needs_no_backend() {
    let (to_backend, to_client, talk) = played(&[
        client(b'S', b""),
        client(b'H', b""),
        client(b'd', b"x"),
        client(b'c', b""),
        client(b'S', b""),
    ]);
    assert_eq!((to_backend.as_str(), to_client.as_str(), talk.leases), ("", "ZI | ZI", 0));
}

fn client_message() -> impl Strategy<Value = (RouteSide, Vec<u8>)> {
    let texts: [&[u8]; 11] = [
        b"BEGIN\0",
        b"COMMIT\0",
        b"SELECT 1\0",
        b"SET work_mem = 1\0",
        b"RESET ALL\0",
        b"PREPARE s AS SELECT 1\0",
        b"DEALLOCATE s\0",
        b"EXECUTE s\0",
        b"DISCARD ALL\0",
        b"SELECT lastval()\0",
        b"",
    ];
    let text = proptest::sample::select(texts.to_vec());
    let name = proptest::sample::select(vec![&b"\0"[..], b"s\0", b"__gatekeeper_1\0", b"no end"]);
    let shapes = (0..14, name.clone(), name, text.prop_map(<[u8]>::to_vec), vec(any::<u8>(), 0..9));
    shapes.prop_map(|(kind, one, two, text, noise)| {
        let (tag, body) = match kind {
            0 | 1 => (b'Q', text),
            2 | 3 => (b'P', [one, &text, b"\0\0"].concat()),
            4 | 5 => (b'B', [one, two, b"\0\0\0\0\0\0"].concat()),
            6 => (b'D', [b"S", one].concat()),
            7 => (b'C', [b"S", one].concat()),
            8 => (b'E', [one, b"\0\0\0\0"].concat()),
            9 | 10 => (b'S', Vec::new()),
            11 => (b'd', noise),
            12 => (b'F', noise),
            _ => (proptest_tag(&noise), noise),
        };
        client(tag, &body)
    })
}

/// One of the rarer messages.
fn proptest_tag(noise: &[u8]) -> u8 {
    b"cfHX"[noise.len() % 4]
}

fn server_message() -> impl Strategy<Value = (RouteSide, Vec<u8>)> {
    let messages: [(u8, &[u8]); 12] = [
        (b'Z', b"I"),
        (b'Z', b"T"),
        (b'Z', b"E"),
        (b'C', b"SELECT 1\0"),
        (b'C', b"DISCARD ALL\0"),
        (b'1', b""),
        (b'2', b""),
        (b'3', b""),
        (b'E', ERROR),
        (b'G', b"\0\0\0"),
        (b'D', b"\0\x01\0\0\0\x011"),
        (b'S', b"application_name\0x\0"),
    ];
    proptest::sample::select(messages.to_vec()).prop_map(|(tag, body)| server(tag, body))
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_an_error_or_pass_and_never_a_panic(
        client_says in vec(any::<u8>(), 0..200),
        server_says in vec(any::<u8>(), 0..200),
    ) {
        let mut talk = Talk::new(Some(5));
        talk.say(&Client, &client_says, 7);
        if !talk.over {
            talk.say(&Server, &server_says, 7);
        }
    }

    #[test]
    fn messages_in_any_order_give_the_same_however_they_are_cut(
        script in vec(prop_oneof![client_message(), server_message()], 0..30),
        step in 1usize..12,
    ) {
        let play = |step| {
            let mut talk = Talk::new(None);
            for (side, bytes) in &script {
                // A server says nothing where there is none.
                if !talk.over && (matches!(side, Client) || talk.leases > 0) {
                    talk.say(side, bytes, step);
                }
            }
            talk
        };
        let (whole, parts) = (play(usize::MAX), play(step));
        prop_assert_eq!(whole.over, parts.over);
        if !whole.over {
            prop_assert_eq!(shown(&whole.to_backend, Speaker::Client), shown(&parts.to_backend, Speaker::Client));
            prop_assert_eq!(shown(&whole.to_client, Speaker::Server), shown(&parts.to_client, Speaker::Server));
            prop_assert_eq!(whole.session.pins(), parts.session.pins());
        }
    }
}
