use super::*;
use crate::sql::StatefulNames;

struct Client {
    database: DatabaseState,
    statements: ClientStatements,
}

impl Client {
    fn new() -> Self {
        let database = DatabaseState::new(StatefulNames::default());
        let statements = ClientStatements::new(&database, Reading::default());
        Self { database, statements }
    }

    fn add(&mut self, name: &str, text: &str) -> Arc<SharedStatement> {
        let definition = [text.as_bytes(), b"\0\0\0"].concat();
        let statement = self.database.statement(&definition, self.statements.reading());
        let parse = self.database.next_parse();
        self.statements.add(name.as_bytes().into(), Arc::clone(&statement), parse);
        statement
    }
}

#[test]
fn a_name_is_found_until_removed() {
    let mut client = Client::new();
    let statement = client.add("s", "SELECT 1");
    assert_eq!(client.statements.text(b"s"), Some(&b"SELECT 1"[..]));
    assert_eq!(client.statements.name_of(statement.id()), Some(&b"s"[..]));
    assert!(client.statements.remove(b"s").is_some() && client.statements.remove(b"s").is_none());
    assert!(!client.statements.has_named());
}

#[test]
fn a_skipped_parse_removes_its_own_statement_only() {
    let mut client = Client::new();
    let first = client.add("s", "SELECT 1");
    client.add("s", "SELECT 2");
    client.statements.remove_same(b"s", &first);
    assert_eq!(client.statements.text(b"s"), Some(&b"SELECT 2"[..]));
}

#[test]
fn the_name_of_a_failed_bind_wins() {
    let mut client = Client::new();
    let statement = client.add("a", "SELECT 1");
    client.add("b", "SELECT 1");
    assert!(client.statements.has_synonyms());
    for name in [&b"a"[..], b"b"] {
        client.statements.note_failed(Some(name.into()));
        assert_eq!(client.statements.name_of(statement.id()), Some(name));
    }
}

#[test]
fn names_in_a_text_are_found_in_either_case() {
    let mut client = Client::new();
    client.add("s1", "SELECT 1");
    client.add("Other", "SELECT 2");
    let named = |text: &[u8]| client.statements.named_in(text).into_iter().map(|(name, _)| name);
    assert_eq!(named(b"EXECUTE S1").collect::<Vec<_>>(), [Box::from(&b"s1"[..])]);
    assert_eq!(named(b"EXECUTE \"Other\"").count(), 1);
    assert_eq!(named(b"EXECUTE other").count(), 0);
}

#[test]
fn an_executed_list_is_known() {
    let mut client = Client::new();
    client.add("s1", "SELECT 1");
    client.add("s2", "SELECT name FROM pg_prepared_statements");
    assert!(!client.statements.may_list_by_execute(b"EXECUTE s1"));
    assert!(client.statements.may_list_by_execute(b"EXECUTE s2"));
    client.statements.note_list(Effects::EXECUTE);
    assert!(!client.statements.may_list_by_execute(b"EXECUTE p"));
    client.statements.note_list(Effects::PREPARE);
    assert!(client.statements.may_list_by_execute(b"EXECUTE p"));
    client.statements.clear();
    assert!(!client.statements.may_list_by_execute(b"EXECUTE p"));
}

#[test]
fn a_portal_deallocates_once() {
    let mut client = Client::new();
    client.add("s", "SELECT 1");
    client.statements.note_on_backend(b"s");
    client.statements.note_deallocation(b"p", b"s");
    assert!(client.statements.deallocate(b"").is_none());
    let forgotten = client.statements.deallocate(b"p").expect("the portal deallocates");
    assert!(client.statements.deallocate(b"p").is_none() && !client.statements.is_on_backend());
    client.statements.restore(forgotten.name, forgotten.statement);
    assert!(client.statements.get(b"s").is_some() && client.statements.has_on_backend(b"s"));
}

#[test]
fn a_portal_bound_anew_deallocates_nothing() {
    let mut client = Client::new();
    client.add("s", "SELECT 1");
    client.statements.note_deallocation(b"p", b"s");
    client.statements.on_bind(b"p");
    assert!(client.statements.deallocate(b"p").is_none());
}

#[test]
fn statements_that_a_check_misses_are_gone() {
    let mut client = Client::new();
    for name in ["a", "b"] {
        client.add(name, "SELECT 1");
        client.statements.note_on_backend(name.as_bytes());
    }
    client.statements.retain_found(&[Box::from(&b"a"[..])]);
    assert!(client.statements.get(b"a").is_some() && client.statements.get(b"b").is_none());
    assert_eq!(client.statements.take_on_backend(), [Box::from(&b"a"[..])]);
}

#[test]
fn statements_have_a_limit() {
    let mut client = Client::new();
    assert!(client.statements.may_add(STATEMENTS_MAX_BYTES));
    assert!(client.statements.may_add(STATEMENTS_MAX_BYTES), "none of them exists any more");
    assert!(!client.statements.may_add(STATEMENTS_MAX_BYTES + 1));
}
