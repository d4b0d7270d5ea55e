//! Fixed scripts of mended faults.

use super::{
    script::{Action, CopyEnd, Disturbance, End, Progress, Request, Script, Setup, Step, Text},
    world::World,
};

const LIST: &str = "SELECT name FROM pg_prepared_statements ORDER BY name";
const PREPARE: &str = "PREPARE s1 AS SELECT 'prepared'";
/// Bind of a missing statement: an error.
const FAILING: Step = Step::Bind { portal: "", name: "s3", values: Vec::new() };

fn run(name: &'static str, text: &'static str) -> Step {
    Step::Run { name, text: Text(text, 1), portal: "", describes: false, limit: 0 }
}

fn parse(name: &'static str, text: &'static str) -> Step {
    Step::Parse { name, text: Text(text, 1) }
}

fn bind(name: &'static str) -> Step {
    Step::Bind { portal: "", name, values: Vec::new() }
}

/// One client sends the requests: each in a write of its own, and all together.
fn play(requests: &[Request], end: End) {
    for is_strict in [false, true] {
        for together in [false, true] {
            let setup = Setup {
                backends: 1,
                clients: 1,
                client_buffer: 16_384,
                server_buffer: 16_384,
                step: 16_384,
                is_strict,
                ..Setup::default()
            };
            let mut actions: Vec<_> = requests
                .iter()
                .map(|request| Action::Say {
                    client: 0,
                    request: request.clone(),
                    held: if together { usize::MAX } else { 0 },
                    is_impatient: false,
                })
                .collect();
            actions.push(Action::Leave { client: 0, request: None, end });
            World::run(&Script { setup, actions });
        }
    }
}

#[test]
fn copied_data_behind_a_reset_ends() {
    let copy = Request::Copy { is_extended: true, has_early_sync: false, rows: vec![1], end: CopyEnd::Done };
    let skipped = Request::Batch(vec![parse("s2", "DISCARD ALL"), bind("s2"), FAILING, Step::Sync]);
    play(&[skipped, copy], End::Terminate);
}

#[test]
fn a_query_in_a_batch_lists_own_statements() {
    let batch = vec![run("s1", "SELECT 'one'"), Step::Query(Text(LIST, 1)), Step::Sync];
    play(&[Request::Batch(batch)], End::Terminate);
}

#[test]
fn a_skipped_query_keeps_the_unnamed_statement() {
    let batch = vec![FAILING, Step::Query(Text("SELECT 'one'", 1)), Step::Sync, bind("")];
    play(
        &[Request::Batch(vec![parse("", "SELECT 'two'"), Step::Sync]), Request::Batch(batch)],
        End::Terminate,
    );
}

#[test]
fn lists_wait_for_an_earlier_batch() {
    for text in [LIST, "EXECUTE s1", PREPARE] {
        let skipped = Request::Batch(vec![FAILING, parse("s1", "SELEC"), Step::Sync]);
        play(&[skipped, Request::Batch(vec![run("", text), Step::Sync])], End::Terminate);
    }
    let skipped = Request::Batch(vec![FAILING, run("s1", LIST), Step::Sync]);
    play(&[skipped, Request::Batch(vec![run("", LIST), Step::Sync])], End::Terminate);
}

#[test]
fn an_executed_list_shows_own_statements() {
    let list = Request::Batch(vec![run("s1", LIST), Step::Sync]);
    play(&[list, Request::Query(vec![Text("EXECUTE s1", 1)])], End::Terminate);
}

#[test]
fn a_statement_survives_a_skipped_close() {
    let close = Step::Close { kind: b'S', name: "s2" };
    let skipped = vec![run("", PREPARE), FAILING, close, Step::Sync];
    let requests = [vec![run("s2", "SELECT 'one'"), Step::Sync], skipped, vec![bind("s2"), Step::Sync]];
    play(&requests.map(Request::Batch), End::Terminate);
}

#[test]
fn a_backend_that_skips_messages_is_closed() {
    let batch = vec![FAILING, Step::Query(Text("SELECT 'one'", 1))];
    play(&[Request::Batch(batch)], End::Close { unsent: 0 });
}

#[test]
fn a_skipped_close_leaves_a_shared_statement() {
    // The Describe of an internal name closes the shared statement of that name first.
    let internal = "__gatekeeper_000000000000000000000000000000000000000000000007";
    let skipped = vec![run("s2", "EXECUTE s2"), Step::Describe { kind: b'S', name: internal }];
    let again = vec![Step::Sync, run("s1", "EXECUTE s2")];
    play(&[Request::Batch(skipped), Request::Batch(again)], End::Terminate);
}

#[test]
fn copied_data_behind_an_error_ends() {
    let request =
        Request::Copy { is_extended: false, has_early_sync: false, rows: vec![1873], end: CopyEnd::BadRow };
    for is_strict in [false, true] {
        let (client_buffer, server_buffer, step) = (128, 300, 300);
        let setup = Setup {
            backends: 1,
            clients: 2,
            client_buffer,
            server_buffer,
            step,
            is_strict,
            ..Setup::default()
        };
        let actions = vec![Action::Say { client: 0, request: request.clone(), held: 0, is_impatient: false }];
        World::run(&Script { setup, actions });
    }
}

#[test]
fn a_statement_is_gone_with_its_deallocation_among_others() {
    let prepare = Request::Batch(vec![run("s2", "SELECT 'one'"), Step::Sync]);
    let deallocate = ["BEGIN", "DEALLOCATE s2"].map(|text| Text(text, 1)).to_vec();
    let execute = Request::Batch(vec![run("", "EXECUTE s2"), Step::Sync]);
    play(&[prepare.clone(), Request::Query(deallocate), execute.clone()], End::Terminate);
    // The second deallocation fails.
    let twice = ["BEGIN", "DEALLOCATE s2", "DEALLOCATE s3"].map(|text| Text(text, 1)).to_vec();
    let bind = Request::Batch(vec![bind("s2"), Step::Sync]);
    play(&[prepare.clone(), Request::Query(twice), bind.clone()], End::Terminate);
    // Within a batch.
    let batch = vec![FAILING, Step::Sync, run("", "SELECT 'one'"), Step::Query(Text("DEALLOCATE s2", 1))];
    play(&[prepare, Request::Batch(batch), bind], End::Terminate);
}

#[test]
fn a_statement_that_deallocates_itself_makes_room_for_another() {
    // A missing internal name: afterwards names may have been prepared by SQL.
    let missing = "DEALLOCATE \"__gatekeeper_000000000000000000000000000000000000000000000007\"";
    let batch = vec![run("s1", "DEALLOCATE s1"), run("", PREPARE), Step::Sync];
    play(&[Request::Query(vec![Text(missing, 1)]), Request::Batch(batch)], End::Terminate);
}

#[test]
fn a_skipped_close_puts_no_name_on_the_backend() {
    let skipped = vec![run("s1", "SELECT lastval()"), Step::Close { kind: b'S', name: "s1" }, Step::Flush];
    let prepare = vec![Step::Sync, run("s2", PREPARE), Step::Sync];
    play(&[Request::Batch(skipped), Request::Batch(prepare)], End::Terminate);
}

#[test]
fn a_duplicate_name_is_reported_behind_the_end_of_a_failed_transaction() {
    let failed = vec![run("s1", "BEGIN"), Step::Query(Text("SELECT $1", 1))];
    let ended = [failed.clone(), vec![run("s2", "COMMIT"), parse("s1", "SET ROLE joe"), Step::Sync]].concat();
    play(&[Request::Batch(ended)], End::Terminate);
    // A text without a statement is parsed in a failed transaction, too.
    let empty = [failed, vec![parse("s1", ""), Step::Sync]].concat();
    play(&[Request::Batch(empty)], End::Terminate);
}

#[test]
fn a_failed_transaction_answers_a_query_for_the_list() {
    let close = Step::Close { kind: b'S', name: "" };
    let describe = Step::Describe { kind: b'S', name: "s2" };
    let batch = vec![run("s1", "BEGIN"), describe, Step::Sync, close, Step::Query(Text(LIST, 1)), Step::Sync];
    play(&[Request::Batch(batch)], End::Terminate);
}

#[test]
fn settings_applied_again_leave_no_portal() {
    for unfinished in [vec![], vec![Step::Sync]] {
        let setup = Setup {
            backends: 1,
            clients: 1,
            client_buffer: 300,
            server_buffer: 300,
            step: 300,
            is_strict: false,
            startup: &[("my.a", "start")],
            ..Setup::default()
        };
        let execute = [vec![Step::Execute { portal: "", limit: 0 }], unfinished].concat();
        let requests = [
            Request::Query(vec![Text("BEGIN", 1)]),
            Request::Query(vec![Text("RESET my.a", 1)]),
            Request::Batch(execute),
        ];
        let actions =
            requests.map(|request| Action::Say { client: 0, request, held: 0, is_impatient: false }).to_vec();
        World::run(&Script { setup, actions });
    }
}

#[test]
fn a_list_behind_the_end_of_a_failed_transaction_has_no_other_names() {
    let prepare = Request::Batch(vec![run("s1", "SELECT 'one'"), Step::Sync]);
    let failed = Request::Query(["BEGIN", "SELECT 1 / 0"].map(|text| Text(text, 1)).to_vec());
    for end in ["COMMIT", "ROLLBACK"] {
        let list = Request::Query([end, LIST].map(|text| Text(text, 1)).to_vec());
        play(&[prepare.clone(), failed.clone(), list], End::Terminate);
        let execute = "EXECUTE \"__gatekeeper_000000000000000000000000000000000000000000000007\"";
        let guessed = Request::Query([end, execute].map(|text| Text(text, 1)).to_vec());
        play(&[prepare.clone(), failed.clone(), guessed], End::Terminate);
    }
}

#[test]
fn a_skipped_close_behind_another_is_known() {
    const GUESS: &str = "EXECUTE \"__gatekeeper_000000000000000000000000000000000000000000000007\"";
    let setup = Setup {
        backends: 1,
        clients: 2,
        client_buffer: 1000,
        server_buffer: 300,
        step: 16_384,
        is_strict: true,
        ..Setup::default()
    };
    let say = |client, request, held| Action::Say { client, request, held, is_impatient: false };
    let describe = Step::Describe { kind: b'S', name: "s1" };
    let actions = vec![
        say(0, Request::Batch(vec![parse("s1", GUESS), run("s1", GUESS), Step::Sync]), 1),
        say(1, Request::Query(vec![Text(GUESS, 1)]), 0),
        say(0, Request::Batch(vec![describe, run("s1", GUESS), run("", GUESS), Step::Sync]), 0),
    ];
    World::run(&Script { setup, actions });
}

/// A client with a small buffer sends requests, the last of them with a disturbance; another client may hold a backend.
fn play_disturbed(before: &[(usize, Request)], request: Request, messages: usize, disturbance: Disturbance) {
    let then = [Request::Batch(vec![Step::Sync]), query(&["SELECT 'one'"])];
    play_on(0, before, request, messages, disturbance, &then);
}

/// As [`play_disturbed`], with `readers` read pools, and the requests `then` behind the disturbance.
fn play_on(
    readers: usize,
    before: &[(usize, Request)],
    request: Request,
    messages: usize,
    disturbance: Disturbance,
    then: &[Request],
) {
    for is_strict in [false, true] {
        let setup = Setup {
            readers,
            backends: 1,
            clients: 2,
            client_buffer: 128,
            server_buffer: 300,
            step: 300,
            is_strict,
            ..Setup::default()
        };
        let say = |(client, request): &(usize, Request)| Action::Say {
            client: *client,
            request: request.clone(),
            held: 0,
            is_impatient: false,
        };
        let progress = Progress { messages, bytes: usize::MAX };
        let disturbed =
            Action::Disturb { client: 0, request: request.clone(), held: 0, progress, disturbance };
        let then = then.iter().map(|request| say(&(0, request.clone())));
        let actions = before.iter().map(say).chain([disturbed]).chain(then).collect();
        World::run(&Script { setup, actions });
    }
}

fn query(texts: &[&'static str]) -> Request {
    Request::Query(texts.iter().map(|text| Text(text, 1)).collect())
}

const LOSE: Disturbance = Disturbance::Lose { goes_on: false };

#[test]
fn a_refused_bind_reaches_no_backend() {
    // Beyond the buffer of the client.
    let bind = Step::Bind { portal: "", name: "", values: vec![Text("{long}", 200)] };
    let holder = (1, query(&["BEGIN", "SELECT 'one'"]));
    let bind = Request::Batch(vec![bind, Step::Sync]);
    play_disturbed(&[holder], bind.clone(), 0, Disturbance::Cancel);
    // Behind the error, messages are skipped up to the Sync.
    let skipped = Request::Batch(vec![run("", "SELECT 'one'")]);
    play_disturbed(&[(0, query(&["BEGIN", "SELECT 'one'"]))], skipped, 0, LOSE);
}

#[test]
fn an_end_with_statements_behind_has_no_success() {
    let failed = (0, query(&["BEGIN", "SELECT 1 / 0"]));
    play_disturbed(&[failed], query(&["COMMIT", "SET work_mem = '1MB'"]), 0, LOSE);
}

#[test]
fn a_reported_error_keeps_the_status() {
    for steps in [vec![bind("s1"), Step::Sync], vec![run("", "SELECT 'one'"), bind("s1"), Step::Sync]] {
        let messages = steps.len();
        play_disturbed(&[], Request::Batch(steps), messages.max(2) - 1, LOSE);
    }
}

#[test]
fn a_query_behind_lost_steps_is_skipped() {
    let batch = vec![run("", "SELECT 'one'"), Step::Query(Text("SELECT 'two'", 1))];
    play_disturbed(&[], Request::Batch(batch), 0, LOSE);
}

#[test]
fn a_setting_lost_in_its_check_is_told() {
    play_disturbed(&[], query(&["SET search_path = 'path#'"]), 1, LOSE);
}

#[test]
fn a_lost_copy_has_one_fate() {
    for (is_extended, has_early_sync) in [(false, false), (true, false), (true, true)] {
        for end in [CopyEnd::Done, CopyEnd::Fail, CopyEnd::BadRow] {
            for messages in 0..10 {
                let copy = || Request::Copy { is_extended, has_early_sync, rows: vec![1000, 1], end };
                for goes_on in [false, true] {
                    play_disturbed(&[], copy(), messages, Disturbance::Lose { goes_on });
                }
                play_disturbed(&[], copy(), messages, Disturbance::Shutdown);
            }
        }
    }
}

#[test]
fn a_lost_transaction_stays_failed() {
    let insert = query(&["INSERT INTO rows_# VALUES (1)"]);
    for readers in 0..2 {
        let then = [insert.clone(), query(&["ROLLBACK"]), query(&["SELECT count(*) FROM rows_#"])];
        let begin = [(0, query(&["BEGIN"]))];
        play_on(readers, &begin, insert.clone(), 1, LOSE, &then);
    }
}

#[test]
fn a_read_given_up_leaves_no_name() {
    let again = Request::Batch(vec![run("s1", "SELECT 'one'"), Step::Sync]);
    for readers in 1..3 {
        let cancel = Disturbance::Cancel;
        play_on(readers, &[(0, again.clone())], again.clone(), usize::MAX, cancel, &[]);
    }
}

#[test]
fn only_a_plain_end_ends_a_lost_transaction() {
    let failed = (0, query(&["BEGIN", "SELECT 1 / 0"]));
    play_disturbed(&[failed], query(&[PREPARE]), 0, LOSE);
    let twice = vec![run("s1", "ROLLBACK"), parse("s1", "SAVEPOINT a"), Step::Sync];
    play_disturbed(&[], Request::Batch(twice), 0, LOSE);
    let earlier = vec![Step::Execute { portal: "", limit: 0 }, parse("s1", "ROLLBACK"), bind("s1")];
    play_disturbed(&[], Request::Batch(earlier), 0, LOSE);
    let missing = vec![bind(""), run("", "ROLLBACK")];
    play_disturbed(&[], Request::Batch(missing), 4, LOSE);
}

#[test]
fn a_lost_rollback_describes_its_portal() {
    let begin = (0, query(&["BEGIN", "SELECT 'one'"]));
    let rollback = Step::Run { name: "s2", text: Text("ROLLBACK", 1), portal: "", describes: true, limit: 0 };
    play_disturbed(&[begin], Request::Batch(vec![rollback, Step::Sync]), 0, LOSE);
}

#[test]
fn a_lost_bind_begins_no_transaction() {
    let insert = run("", "INSERT INTO rows_# VALUES (1)");
    let batches = vec![bind("s2"), Step::Sync, insert, Step::Sync];
    for goes_on in [false, true] {
        let lose = Disturbance::Lose { goes_on };
        play_disturbed(&[], Request::Batch(batches.clone()), 0, lose);
    }
}
