//! Enforces the layers of the crate: which module may use which, words that pure modules must not contain, and the one
//! module that starts tasks. [`structure`] holds the numbers of the structure.
//!
//! [`LAYERS`] holds every direct use: a module uses only the modules in its own row, and an entry without a use fails.
//! The checker reads the source as tokens, so comments and strings do not count. It resolves `crate::…` and `super::…` to
//! the module at the root of the crate. Test code is exempt: the tests of a machine may use a clock or a socket.

#[path = "architecture/measure.rs"]
mod measure;
#[path = "architecture/script.rs"]
mod script;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/structure.rs"]
mod structure;

use source::{Source, Token};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A column of layers. A module may use modules of its own group, if they stand above it, and of the groups in
/// [`Group::may_use`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Base,
    Protocol,
    Text,
    Decisions,
    Runtime,
    Sandbox,
    /// Touches sockets, files, clocks or metrics, or assembles the program.
    Effects,
}
use Group::{Base, Decisions, Effects, Protocol, Runtime, Sandbox, Text};

impl Group {
    /// Same arguments, same result: no runtime, clock, randomness, metrics or global value.
    fn is_pure(self) -> bool {
        matches!(self, Base | Protocol | Text | Decisions)
    }

    /// Other groups whose modules a module of this group may list in its row.
    fn may_use(self) -> &'static [Group] {
        match self {
            Base | Runtime => &[],
            Protocol | Text => &[Base],
            Decisions => &[Base, Protocol, Text],
            Sandbox => &[Runtime],
            Effects => &[Base, Protocol, Text, Decisions, Runtime, Sandbox],
        }
    }
}

/// One row: a module at the root of the crate, its group, and every module that its product code uses.
struct Layer(&'static str, Group, &'static [&'static str]);

const LAYERS: &[Layer] = &[
    Layer("closed_set", Base, &[]),
    Layer("names", Base, &[]),
    Layer("blame", Base, &["closed_set"]),
    Layer("wire", Protocol, &["closed_set"]),
    Layer("scram", Protocol, &[]),
    Layer("handshake", Protocol, &["wire", "scram"]),
    Layer("sql", Text, &["closed_set"]),
    Layer("topology", Decisions, &["closed_set", "names"]),
    Layer("route", Decisions, &["closed_set", "names", "sql", "topology"]),
    Layer("client_error", Decisions, &["closed_set", "blame", "wire"]),
    Layer(
        "session",
        Decisions,
        &["closed_set", "names", "client_error", "wire", "handshake", "sql", "route"],
    ),
    Layer("live", Runtime, &[]),
    Layer("tasks", Runtime, &[]),
    Layer("files", Runtime, &[]),
    Layer("sandbox", Sandbox, &["tasks"]),
    Layer("telemetry", Effects, &["closed_set", "names", "blame", "topology", "route", "session"]),
    Layer("events", Effects, &["closed_set", "names", "topology", "session"]),
    Layer("audit", Effects, &["closed_set", "names", "sql", "topology", "tasks", "telemetry"]),
    Layer("tls", Effects, &["closed_set", "blame", "topology", "live", "files"]),
    Layer("credentials", Effects, &["closed_set", "names", "blame", "topology", "live", "tls"]),
    Layer(
        "backend",
        Effects,
        &["names", "blame", "wire", "scram", "handshake", "topology", "telemetry", "tls", "credentials"],
    ),
    Layer(
        "pool",
        Effects,
        &[
            "closed_set",
            "names",
            "blame",
            "wire",
            "handshake",
            "topology",
            "session",
            "tasks",
            "telemetry",
            "tls",
            "backend",
        ],
    ),
    Layer("probe", Effects, &["names", "blame", "wire", "topology", "live", "tasks", "telemetry", "backend"]),
    Layer(
        "frontend",
        Effects,
        &[
            "closed_set",
            "names",
            "blame",
            "wire",
            "scram",
            "handshake",
            "sql",
            "topology",
            "route",
            "client_error",
            "session",
            "live",
            "tasks",
            "files",
            "telemetry",
            "events",
            "audit",
            "tls",
            "credentials",
            "backend",
            "pool",
            "probe",
        ],
    ),
    Layer(
        "writer_move",
        Effects,
        &[
            "closed_set",
            "names",
            "topology",
            "tasks",
            "telemetry",
            "events",
            "audit",
            "backend",
            "probe",
            "frontend",
        ],
    ),
    Layer(
        "admin",
        Effects,
        &[
            "closed_set",
            "names",
            "blame",
            "wire",
            "topology",
            "route",
            "session",
            "live",
            "tasks",
            "files",
            "telemetry",
            "events",
            "audit",
            "tls",
            "credentials",
            "backend",
            "pool",
            "frontend",
            "writer_move",
        ],
    ),
    Layer(
        "console",
        Effects,
        &[
            "closed_set",
            "names",
            "wire",
            "topology",
            "client_error",
            "session",
            "live",
            "telemetry",
            "events",
            "audit",
            "tls",
            "credentials",
            "pool",
            "frontend",
            "writer_move",
            "admin",
        ],
    ),
    Layer(
        "config",
        Effects,
        &[
            "names",
            "topology",
            "route",
            "tasks",
            "telemetry",
            "audit",
            "tls",
            "credentials",
            "backend",
            "pool",
            "probe",
            "frontend",
            "admin",
            "console",
        ],
    ),
    Layer(
        "app",
        Effects,
        &[
            "closed_set",
            "names",
            "blame",
            "wire",
            "handshake",
            "sql",
            "topology",
            "session",
            "live",
            "tasks",
            "files",
            "telemetry",
            "events",
            "audit",
            "tls",
            "credentials",
            "backend",
            "pool",
            "probe",
            "frontend",
            "writer_move",
            "admin",
            "console",
            "config",
        ],
    ),
    Layer(
        "cli",
        Effects,
        &["names", "blame", "scram", "sql", "tasks", "sandbox", "audit", "tls", "admin", "config", "app"],
    ),
    Layer("main", Effects, &[]),
];

/// What a pure module must not contain, with the alternative.
const IMPURE: &[(&str, &str)] = &[
    ("tokio::", "drivers move bytes"),
    (".await", "a machine never waits: its driver does"),
    ("Instant::now", "take the time as an argument"),
    ("SystemTime::now", "take the time as an argument"),
    ("rand::", "take randomness as an argument"),
    ("metrics::", "return a value that the driver counts"),
    ("OnceLock", "no globals: take the value as an argument"),
    ("LazyLock", "no globals: take the value as an argument"),
];

/// How a task or a thread is started; only `tasks` may.
const SPAWNS: &[&str] = &[
    "tokio::spawn",
    "task::spawn",
    "spawn_blocking",
    "spawn_local",
    "thread::spawn",
    "thread::Builder",
    "JoinSet",
    "LocalSet",
];

#[test]
fn every_module_uses_exactly_what_its_row_lists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    for path in rust_files(&root) {
        let inside = path.strip_prefix(&root).expect("listed below it").to_owned();
        let text = fs::read_to_string(&path).expect("source is readable");
        sources.push(Source::new(&inside, &text));
    }
    let mut faults: Vec<String> = sources.iter().flat_map(check).collect();
    faults.extend(unused(LAYERS, &sources));
    assert!(faults.is_empty(), "the layers are broken:\n{}", faults.join("\n"));
    for named in ["wire", "session", "frontend", "app"] {
        assert!(sources.iter().any(|source| source.module == named), "no file of `{named}` was read");
    }
}

#[test]
fn the_table_follows_its_groups() {
    assert_eq!(mistakes_of_the_table(LAYERS), Vec::<String>::new());
}

#[test]
fn a_mistake_in_the_table_is_found() {
    for (rows, expected) in [
        (&[Layer("route", Decisions, &["sql"]), Layer("sql", Text, &[])][..], "stands below"),
        (&[Layer("route", Decisions, &["shiny"])], "has no row"),
        (&[Layer("pool", Effects, &[]), Layer("session", Decisions, &["pool"])], "group Effects"),
        (&[Layer("wire", Protocol, &[]), Layer("sql", Text, &["wire"])], "group Protocol"),
        (&[Layer("names", Base, &[]), Layer("sandbox", Sandbox, &["names"])], "group Base"),
        (&[Layer("names", Base, &[]), Layer("live", Runtime, &["names"])], "group Base"),
        (&[Layer("names", Base, &[]), Layer("names", Base, &[])], "two rows"),
        (&[Layer("names", Base, &["names"])], "stands below"),
    ] {
        let mistakes = mistakes_of_the_table(rows);
        assert!(mistakes.len() == 1 && mistakes[0].contains(expected), "{expected}: {mistakes:?}");
    }
}

#[test]
fn a_use_against_the_layers_is_found_however_it_is_written() {
    for text in [
        "use crate::frontend::Listener;",
        "use crate::{names::EndpointName, frontend::{Listener, Client}};",
        "use crate::{\n    names::{self, EndpointName},\n    frontend,\n};",
        "fn decide() -> crate::frontend::Listener { todo!() }",
        "use super::super::frontend;",
        "mod inner { use super::super::super::frontend::Listener; }",
    ] {
        let faults = check_text("route/decide.rs", text);
        assert!(faults.len() == 1 && faults[0].contains("`route` uses `frontend`"), "{text}: {faults:?}");
    }
}

#[test]
fn a_use_through_another_module_is_found() {
    // `admin` may use `pool`, and `pool` may use `handshake`: that does not open `handshake` to `admin`.
    for (path, used) in [("admin/pools.rs", "handshake"), ("cli.rs", "frontend"), ("config/mod.rs", "app")] {
        let faults = check_text(path, &format!("use crate::{used}::Anything;"));
        assert!(faults.len() == 1 && faults[0].contains(&format!("uses `{used}`")), "{path}: {faults:?}");
    }
}

#[test]
fn an_entry_without_a_use_is_found() {
    let rows = [Layer("route", Decisions, &["names", "topology"]), Layer("main", Effects, &["cli"])];
    let source = |path: &str, text: &str| Source::new(Path::new(path), text);
    let sources = [
        source("route/decide.rs", "use crate::topology::Snapshot;"),
        source("route/tests.rs", "use crate::names::EndpointName;"),
        source("main.rs", "fn main() { gatekeeper::cli::main() }"),
    ];
    let faults = unused(&rows, &sources);
    assert!(
        faults.len() == 1 && faults[0].contains("`route`") && faults[0].contains("`names`"),
        "{faults:?}"
    );
    assert_eq!(unused(&[Layer("shiny", Effects, &[])], &sources).len(), 1, "a row without a file");
}

#[test]
fn a_use_that_the_layers_allow_is_no_fault() {
    for (path, text) in [
        ("route/decide.rs", "use crate::{names::EndpointName, topology::Snapshot};\nuse super::frontend;"),
        (
            "route/decide.rs",
            "// crate::frontend\nconst HELP: &str = \"crate::frontend tokio::spawn\"; /* rand:: */",
        ),
        ("route/decide.rs", "#[cfg(test)]\nmod tests { use crate::frontend; fn now() { Instant::now(); } }"),
        ("session/tests.rs", "use crate::sandbox;"),
        ("session/simple.rs", "use crate::sql::Effects; fn f<'a>(c: &'a char) -> bool { *c == '\"' }"),
        ("app/build.rs", "use crate::{frontend, probe};"),
        ("main.rs", "fn main() { gatekeeper::main() }"),
        ("tasks.rs", "pub fn start() { tokio::spawn(async {}); }"),
        ("frontend/driver.rs", "fn now() { Instant::now(); child.spawn(); tasks.spawn(); }"),
    ] {
        assert_eq!(check_text(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn a_forbidden_word_in_a_pure_module_is_found() {
    for text in [
        "use tokio::net::TcpStream;",
        "async fn f(x: impl Future) { x.await }",
        "fn f() { let t = std::time::Instant::now(); }",
        "fn f() { let t = SystemTime :: now(); }",
        "fn f() -> u8 { rand::random() }",
        "fn f() { metrics::counter!(\"x\").increment(1) }",
        "fn f(x: &std::sync::OnceLock<u8>) {}",
        "fn f(x: &std::sync::LazyLock<u8>) {}",
    ] {
        for module in ["names", "wire", "sql", "session"] {
            let faults = check_text(&format!("{module}/file.rs"), text);
            assert!(
                faults.len() == 1 && faults[0].contains(&format!("pure `{module}`")),
                "{text}: {faults:?}"
            );
        }
        assert_eq!(check_text("probe/check.rs", text), Vec::<String>::new(), "{text}: effects may");
    }
}

#[test]
fn a_task_or_thread_started_outside_tasks_is_found() {
    for text in [
        "fn f() { tokio::spawn(async {}); }",
        "fn f() { tokio::task::spawn_blocking(|| ()); }",
        "fn f() { std::thread::spawn(|| ()); }",
        "fn f() { std::thread::Builder::new(); }",
        "fn f(set: &mut tokio::task::JoinSet<()>) {}",
    ] {
        let faults = check_text("frontend/listener.rs", text);
        assert!(faults.iter().any(|fault| fault.contains("only `tasks` starts")), "{text}: {faults:?}");
    }
}

#[test]
fn a_public_module_is_found() {
    for (text, faults) in [("pub mod wire;", 1), ("pub(crate) mod wire;\nmod names;\npub mod testing;", 0)] {
        assert_eq!(check_text("lib.rs", text).len(), faults, "{text}");
    }
    assert_eq!(check_text("testing.rs", "pub mod wire { pub use crate::wire::Frame; }").len(), 0);
    assert_eq!(check_text("wire/mod.rs", "use crate::testing::wire::Frame;").len(), 1);
}

#[test]
fn a_module_without_a_row_is_found() {
    assert_eq!(check_text("shiny/mod.rs", "").len(), 1);
    assert_eq!(check_text("route/mod.rs", "use crate::shiny::New;").len(), 1);
}

fn check_text(path: &str, text: &str) -> Vec<String> {
    check(&Source::new(Path::new(path), text))
}

/// Every fault of `source` against its row and the lists of words, as lines to print.
fn check(source: &Source) -> Vec<String> {
    let module = source.module.as_str();
    if matches!(module, "lib" | "testing") {
        return public_modules(source);
    }
    let Some(Layer(_, group, uses)) = LAYERS.iter().find(|Layer(name, ..)| *name == module) else {
        return vec![format!("{}: `{module}` has no row in the table of tests/architecture.rs", source.path)];
    };
    let mut faults = Vec::new();
    for Token { text: used, line } in source.used_modules() {
        if used != module && !uses.contains(&used.as_str()) {
            faults.push(format!("{}:{line}: `{module}` uses `{used}`, which is not in its row", source.path));
        }
    }
    if group.is_pure() {
        for (words, instead) in IMPURE {
            for line in source.lines_with(words) {
                faults.push(format!("{}:{line}: pure `{module}` contains `{words}`: {instead}", source.path));
            }
        }
    }
    if module != "tasks" {
        for words in SPAWNS {
            for line in source.lines_with(words) {
                faults.push(format!(
                    "{}:{line}: `{words}`: only `tasks` starts tasks and threads",
                    source.path
                ));
            }
        }
    }
    faults
}

/// Modules that `lib.rs` opens to other crates: only `testing`, since the compiler reports unused items of private modules
/// alone.
fn public_modules(source: &Source) -> Vec<String> {
    let opened = source.tokens.windows(3).filter(|three| three[0].text == "pub" && three[1].text == "mod");
    let opened = opened.filter(|three| source.module == "lib" && three[2].text != "testing");
    opened
        .map(|three| format!("lib.rs:{}: `{}` must be `pub(crate)`", three[2].line, three[2].text))
        .collect()
}

/// Entries of `rows` that no file of `sources` uses, and rows without a file.
fn unused(rows: &[Layer], sources: &[Source]) -> Vec<String> {
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let modules = source.used_modules().into_iter().map(|token| token.text);
        used.entry(source.module.as_str()).or_default().extend(modules);
    }
    let mut faults = Vec::new();
    for Layer(name, _, entries) in rows {
        let Some(used) = used.get(name) else {
            faults.push(format!("`{name}` has a row and no file"));
            continue;
        };
        for entry in entries.iter().filter(|entry| !used.contains(**entry)) {
            faults.push(format!("the row of `{name}` lists `{entry}`, which it does not use"));
        }
    }
    faults
}

/// Entries that lead down the table or out of what the group may use.
fn mistakes_of_the_table(rows: &[Layer]) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (row, Layer(name, group, uses)) in rows.iter().enumerate() {
        if rows[..row].iter().any(|Layer(other, ..)| other == name) {
            mistakes.push(format!("`{name}` has two rows"));
        }
        for used in *uses {
            let Some(above) = rows.iter().position(|Layer(other, ..)| other == used) else {
                mistakes.push(format!("`{name}` uses `{used}`, which has no row"));
                continue;
            };
            let of = rows[above].1;
            if above >= row {
                mistakes.push(format!("`{used}` stands below `{name}`, which uses it"));
            } else if of != *group && !group.may_use().contains(&of) {
                mistakes.push(format!("`{name}` of group {group:?} uses `{used}` of group {of:?}"));
            }
        }
    }
    mistakes
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the entry is readable").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
