use super::*;
use crate::{
    session::pooled::tests::{session, session_with_backend},
    sql::Analysis,
};

fn statement(session: &Pooled, text: &str) -> Arc<SharedStatement> {
    let definition = [text.as_bytes(), b"\0\0\0"].concat();
    session.database.statement(&definition, session.statements.reading())
}

#[test]
fn requests_need_a_backend() {
    assert_eq!(Requests::of(&mut session()).err(), Some(InternalError::NoBackend));
    assert!(Requests::of(&mut session_with_backend()).is_ok());
}

#[test]
fn a_shared_statement_is_parsed_once_in_a_batch() {
    let mut session = session_with_backend();
    let one = statement(&session, "SELECT 1");
    let mut requests = Requests::of(&mut session).unwrap();
    assert!(requests.must_parse(&one));
    assert_eq!(requests.ensure(&one, &mut ClientInput::none()), KnownResult::Untold);
    let written = requests.to_backend.len();
    assert!(written > 0 && !requests.must_parse(&one));
    requests.ensure(&one, &mut ClientInput::none());
    assert_eq!(requests.to_backend.len(), written);
}

#[test]
fn a_skipped_parse_is_sent_again() {
    let mut session = session_with_backend();
    let one = statement(&session, "SELECT 1");
    let mut requests = Requests::of(&mut session).unwrap();
    requests.ensure(&one, &mut ClientInput::none());
    let parse = PendingRequest::Parse {
        name: Box::default(),
        text: None,
        made: ParseOrigin::Proxy(Arc::clone(&one)),
    };
    requests.undo(parse);
    assert!(requests.must_parse(&one));
}

#[test]
fn a_skipped_query_leaves_the_unnamed_statement() {
    let mut session = session_with_backend();
    let mut requests = Requests::of(&mut session).unwrap();
    requests.define_unnamed(b"SELECT 1\0\0\0", Analysis::EMPTY, None);
    requests.owe(PendingRequest::Describe(Described::AsIs));
    let before = requests.destroy_unnamed();
    assert!(!requests.statements.unnamed().exists());
    requests.undo(PendingRequest::Close { name: Box::default(), closed: CloseOrigin::Unnamed(before) });
    assert_eq!(requests.statements.unnamed().text(), b"SELECT 1");
    assert!(requests.must_parse_unnamed(), "the backend may have any unnamed statement");
}

#[test]
fn statements_under_own_names_are_closed_before_the_return() {
    let mut session = session_with_backend();
    let one = statement(&session, "SELECT 1");
    let mut requests = Requests::of(&mut session).unwrap();
    requests.own_names().parse(b"s", &one);
    assert!(requests.statements.has_on_backend(b"s"));
    requests.own_names().close_all();
    assert!(!requests.statements.is_on_backend());
    let mut expected = Vec::new();
    frontend::write_close_statement(&mut expected, b"s");
    frontend::write_sync(&mut expected);
    assert!(requests.to_backend.ends_with(&expected));
}

#[test]
fn sequences_of_others_are_cleared_once() {
    let mut session = session_with_backend();
    let mut requests = Requests::of(&mut session).unwrap();
    requests.sequences().clear(&mut ClientInput::none());
    let written = requests.to_backend.len();
    assert!(written > 0);
    requests.sequences().clear(&mut ClientInput::none());
    assert_eq!(requests.to_backend.len(), written);
}

#[test]
fn a_client_that_names_a_shared_statement_does_not_reach_it() {
    let mut session = session_with_backend();
    let one = statement(&session, "SELECT 1");
    let mut requests = Requests::of(&mut session).unwrap();
    requests.ensure(&one, &mut ClientInput::none());
    let name = requests.held.statements().name(one.id());
    requests.hide_shared(&name, &mut ClientInput::none());
    assert!(requests.must_parse(&one), "the shared statement is closed");
}
