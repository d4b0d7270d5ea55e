//! Holds the source to its layers: who may use whom, what the pure folders must not touch, and where tasks start.
//!
//! The table below is the design as data. The checker reads the source as tokens, so that comments and strings do not
//! count, and resolves `crate::…` and `super::…` to the module at the root that they name. Test code is left alone:
//! a machine's tests may script what the machine itself refuses to know.

#[path = "architecture/source.rs"]
mod source;

use source::{Source, Token};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Same arguments, same answer: no runtime, no clock, no randomness, no metrics, no globals.
    Pure,
    /// Touches sockets, files, clocks or metrics.
    Effects,
    /// Puts the others together.
    Assembly,
}
use Kind::{Assembly, Effects, Pure};

/// One row: a module at the root of the crate and what it may use, besides whatever those may use. `names` and `blame`
/// are everybody's ground, `live` and `tasks` that of all that is not pure.
struct Layer(&'static str, Kind, &'static [&'static str]);

const LAYERS: &[Layer] = &[
    Layer("names", Pure, &[]),
    Layer("blame", Pure, &[]),
    Layer("wire", Pure, &[]),
    Layer("scram", Pure, &[]),
    Layer("sql", Pure, &[]),
    Layer("topology", Pure, &[]),
    Layer("handshake", Pure, &["wire", "scram"]),
    Layer("route", Pure, &["sql", "topology"]),
    // What a server reports of its settings is kept as its login was: `handshake::Parameters`.
    Layer("session", Pure, &["wire", "sql", "route", "handshake"]),
    Layer("live", Effects, &[]),
    Layer("tasks", Effects, &[]),
    // The label `backend_role` is a `topology::DeclaredRole`, the `reason` of a decision a `route::Reason`.
    Layer("telemetry", Effects, &["topology", "route"]),
    Layer("events", Effects, &["topology"]),
    Layer("audit", Effects, &["telemetry"]),
    Layer("files", Effects, &[]),
    // The name to check is the address's, and a token command is told its endpoint.
    Layer("tls", Effects, &["files", "topology"]),
    Layer("credentials", Effects, &["tls"]),
    // An endpoint's settings carry the `topology::Endpoint` that they describe.
    Layer("backend", Effects, &["handshake", "tls", "credentials", "telemetry", "topology"]),
    // A backend's memory lies beside it while nobody has it; waits and closed backends are counted.
    Layer("pool", Effects, &["backend", "session", "telemetry"]),
    Layer("probe", Effects, &["backend", "topology"]),
    // Until there are pools, a session's backend comes straight from the connector; what sessions notice about endpoints is
    // evidence for the probe.
    Layer(
        "frontend",
        Effects,
        &["session", "handshake", "pool", "backend", "probe", "tls", "events", "audit"],
    ),
    Layer("admin", Assembly, &["pool", "probe", "frontend"]),
    // It asks for reloads as the admin API does.
    Layer("console", Assembly, &["admin"]),
    Layer("sandbox", Assembly, &[]),
    // It builds the settings of all, those of `app` too: the one use that leads down.
    Layer("config", Assembly, &["admin", "console", "app"]),
    Layer("app", Assembly, &["config", "admin", "sandbox"]),
    Layer("cli", Assembly, &["app"]),
    Layer("main", Assembly, &["cli"]),
];

/// What a pure module must not say, with what it should do instead.
const IMPURE: &[(&str, &str)] = &[
    ("tokio::", "drivers move octets"),
    (".await", "a machine never waits: the driver does"),
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
fn every_module_keeps_to_its_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for path in rust_files(&root) {
        let inside = path.strip_prefix(&root).expect("listed below it").to_owned();
        let text = fs::read_to_string(&path).expect("source is readable");
        let source = Source::new(&inside, &text);
        seen.insert(source.module.clone());
        faults.extend(check(&source));
    }
    assert!(faults.is_empty(), "the layers are broken:\n{}", faults.join("\n"));
    for named in ["wire", "session", "frontend", "app"] {
        assert!(seen.contains(named), "no file of `{named}` was read: the checker looks in the wrong place");
    }
}

#[test]
fn the_table_leads_upwards_and_keeps_effects_out_of_what_is_pure() {
    for (row, Layer(name, kind, uses)) in LAYERS.iter().enumerate() {
        for used in *uses {
            let above = LAYERS.iter().position(|Layer(other, ..)| other == used);
            let above = above.unwrap_or_else(|| panic!("`{name}` uses `{used}`, which has no row"));
            assert!(
                above < row || (*name, *used) == ("config", "app"),
                "`{used}` stands below `{name}`, which uses it"
            );
            assert!(*kind != Pure || LAYERS[above].1 == Pure, "pure `{name}` may use `{used}`");
        }
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
fn a_use_that_the_layers_allow_is_no_fault() {
    for (path, text) in [
        ("route/decide.rs", "use crate::{names::EndpointName, topology::Snapshot};\nuse super::frontend;"),
        (
            "route/decide.rs",
            "// crate::frontend\nconst HELP: &str = \"crate::frontend tokio::spawn\"; /* rand:: */",
        ),
        ("route/decide.rs", "#[cfg(test)]\nmod tests { use crate::frontend; fn now() { Instant::now(); } }"),
        ("session/tests.rs", "use crate::sandbox;"),
        ("session/simple.rs", "use crate::topology::Snapshot; fn f<'a>(c: &'a char) -> bool { *c == '\"' }"),
        ("app/build.rs", "use crate::{frontend, probe, sandbox};"),
        ("main.rs", "fn main() { gatekeeper::cli::main() }"),
        ("tasks.rs", "pub fn start() { tokio::spawn(async {}); }"),
        ("frontend/driver.rs", "fn now() { Instant::now(); child.spawn(); tasks.spawn(); }"),
    ] {
        assert_eq!(check_text(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn a_pure_module_that_touches_the_world_is_found() {
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
        let faults = check_text("wire/frame.rs", text);
        assert!(faults.len() == 1 && faults[0].contains("pure `wire`"), "{text}: {faults:?}");
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
fn a_module_without_a_row_is_found() {
    assert_eq!(check_text("shiny/mod.rs", "").len(), 1);
    assert_eq!(check_text("route/mod.rs", "use crate::shiny::New;").len(), 1);
}

fn check_text(path: &str, text: &str) -> Vec<String> {
    check(&Source::new(Path::new(path), text))
}

/// All that `source` does against the table, as lines to print.
fn check(source: &Source) -> Vec<String> {
    let module = source.module.as_str();
    if module == "lib" {
        return Vec::new();
    }
    let Some(Layer(_, kind, _)) = LAYERS.iter().find(|Layer(name, ..)| *name == module) else {
        return vec![format!("{}: `{module}` has no row in the table of tests/architecture.rs", source.path)];
    };
    let allowed = allowed(module);
    let mut faults = Vec::new();
    for Token { text: used, line } in source.used_modules() {
        if used != module && !allowed.contains(used.as_str()) {
            faults
                .push(format!("{}:{line}: `{module}` uses `{used}`, which its layer must not", source.path));
        }
    }
    if *kind == Pure {
        for (words, instead) in IMPURE {
            for line in source.lines_with(words) {
                faults.push(format!("{}:{line}: pure `{module}` says `{words}`: {instead}", source.path));
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

/// All that `name` may use: what its row lists, whatever those may use, and the ground of its kind.
fn allowed(name: &str) -> BTreeSet<&'static str> {
    let row = |name: &str| LAYERS.iter().find(|Layer(other, ..)| *other == name);
    let Some(Layer(_, kind, uses)) = row(name) else { return BTreeSet::new() };
    let ground: &[&str] =
        if *kind == Pure { &["names", "blame"] } else { &["names", "blame", "live", "tasks"] };
    let mut found = BTreeSet::new();
    let mut open: Vec<&'static str> = uses.iter().chain(ground).copied().collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(row(next).map_or(&[][..], |Layer(.., uses)| uses));
        }
    }
    found
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
