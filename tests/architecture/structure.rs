//! Holds the structure of the program at the numbers reached so far: no number gets worse, each has a target.
//!
//! `cargo test --test architecture no_number -- --nocapture` prints all of them, and `GATEKEEPER_MEASURE=FOLDER cargo
//! test --test architecture numbers_of_another -- --ignored --nocapture` those of another source tree.
//! `bench/results/structure.md` holds the numbers before the restructuring, and those of other projects.
//!
//! Seven of the measures are measures of language: homonyms, uses of `octet`, one-word function names, and pronouns in
//! comments; the second and the last also of tests, and the last of scripts in Python and shell. A number that has
//! reached its target must have the target, or less, as its ratchet: otherwise a test fails. From then on any value
//! above the target fails.

use std::{fs, path::Path};

use crate::{
    measure::{Tree, count_octets, pronoun_rate_of_scripts, script_with_most_pronouns},
    script::{Script, prose},
};

/// Folders with scripts in Python and shell.
const SCRIPT_FOLDERS: [&str; 4] = ["tests", "bench", "grafana", ".ci"];

/// One number of the program: smaller is better.
struct Measure {
    name: &'static str,
    now: f64,
    /// The largest value that passes. A smaller `now` may be written here at any time; a larger one needs a reason in
    /// the message of the commit.
    ratchet: f64,
    target: f64,
    /// Where to begin.
    worst: String,
}

/// The measures of design, acceptance, as far as the source shows them. `Tree`'s methods define them.
fn measures(
    tree: &Tree,
    tests: &Tree,
    scripts: &[Script],
    octets_in_tests: usize,
    readme: &str,
) -> Vec<Measure> {
    let longest = |folder| {
        let found = tree.longest_function(folder);
        found.map_or((0, String::new()), |found| (found.lines, format!("{}: {}", found.file, found.name)))
    };
    let (widest, files) = tree.widest_type("session/");
    let (session, in_session) = longest("session/");
    let (frontend, in_frontend) = longest("frontend/");
    let (anywhere, in_any) = longest("");
    let (homonyms, cycle) = (tree.homonyms(), tree.largest_cycle("admin/"));
    let row = |name, now: usize, ratchet: usize, target: usize, worst| {
        let (now, ratchet, target) = (now as f64, ratchet as f64, target as f64);
        Measure { name, now, ratchet, target, worst }
    };
    let none = String::new;
    vec![
        row("files with `impl` of one session type", files, 4, 2, widest),
        row("uses of `self.sharing`", tree.uses("session/", "self.sharing"), 0, 0, none()),
        row("silent `else { return … }` in session", tree.silent_exits("session/"), 7, 15, none()),
        row("booleans in a session's state", tree.booleans_of("session/", "Session"), 16, 5, none()),
        row("fields shared inside session", tree.shared_fields("session/"), 0, 0, none()),
        row("longest function of session, lines", session, 50, 50, in_session),
        row("longest function of frontend, lines", frontend, 60, 60, in_frontend),
        row("longest function, lines", anywhere, 60, 60, in_any),
        row("`Program::start`, lines", tree.lines_of("app/program.rs", "start"), 53, 60, none()),
        row("backend acquisition loops", tree.acquisition_loops("frontend/"), 1, 1, none()),
        row("retry constants of frontend", tree.retry_constants("frontend/"), 1, 1, none()),
        row("modules in the admin cycle", cycle.len(), 0, 0, cycle.join(" ")),
        row("types with more than two homonyms", homonyms.len(), 0, 0, homonyms.join(" ")),
        row("uses of `octet`", tree.octets(), 0, 0, none()),
        row("uses of `octet` in tests and bench", octets_in_tests, 0, 0, none()),
        row("README, lines", readme.lines().count(), 110, 110, none()),
        Measure {
            name: "one-word function names, %",
            now: tree.one_word_functions(),
            ratchet: 50.0,
            target: 50.0,
            worst: none(),
        },
        Measure {
            name: "pronouns in comments, %",
            now: tree.pronoun_rate(),
            ratchet: 5.0,
            target: 5.0,
            worst: none(),
        },
        Measure {
            name: "pronouns in comments of tests, %",
            now: tests.pronoun_rate(),
            ratchet: 5.0,
            target: 5.0,
            worst: tests.file_with_most_pronouns(),
        },
        Measure {
            name: "pronouns in comments of scripts, %",
            now: pronoun_rate_of_scripts(scripts),
            ratchet: 5.0,
            target: 5.0,
            worst: script_with_most_pronouns(scripts),
        },
    ]
}

#[expect(clippy::print_stdout, reason = "a test shows its numbers to whoever asks for them")]
fn print(measures: &[Measure]) {
    println!("{:40} {:>8} {:>8} {:>8}", "measure", "now", "ratchet", "target");
    for Measure { name, now, ratchet, target, worst } in measures {
        println!("{name:40} {now:8.1} {ratchet:8.1} {target:8.1}  {worst}");
    }
}

/// A line for each number above its ratchet. Rates are rounded to a tenth.
fn worse(measures: &[Measure]) -> Vec<String> {
    measures
        .iter()
        .filter(|measure| measure.now > measure.ratchet + 0.05)
        .map(|Measure { name, now, ratchet, worst, .. }| {
            format!("{name}: {now:.1}, was {ratchet:.1}  {worst}")
        })
        .collect()
}

/// A line for each number that has reached its target while its ratchet is still above the target.
fn loose(measures: &[Measure]) -> Vec<String> {
    let reached = |measure: &&Measure| measure.now <= measure.target && measure.ratchet > measure.target;
    measures
        .iter()
        .filter(reached)
        .map(|Measure { name, now, target, .. }| {
            format!("{name}: {now:.1} has reached the target {target:.1}: lower its ratchet to the target")
        })
        .collect()
}

#[test]
fn no_number_of_the_structure_gets_worse() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("there is a README");
    let (tree, tests) = (Tree::read(&root.join("src")), Tree::read(&root.join("tests")));
    let scripts = Script::read_all(root, &SCRIPT_FOLDERS);
    let octets = ["tests", "bench"].iter().map(|folder| octets_below(root, &root.join(folder))).sum();
    let measures = measures(&tree, &tests, &scripts, octets, &readme);
    print(&measures);
    let worse = worse(&measures);
    assert!(worse.is_empty(), "tests/architecture/structure.rs: worse than before:\n{}", worse.join("\n"));
    let loose = loose(&measures);
    assert!(loose.is_empty(), "tests/architecture/structure.rs: targets reached:\n{}", loose.join("\n"));
}

#[test]
#[ignore = "measures the source tree that GATEKEEPER_MEASURE names"]
fn numbers_of_another_tree() {
    let root = std::env::var("GATEKEEPER_MEASURE").expect("GATEKEEPER_MEASURE names a folder of sources");
    let no_tests = Tree::new([]);
    print(&measures(&Tree::read(Path::new(&root)), &no_tests, &[], 0, ""));
}

/// How often `octet` stands in the text files below `folder`, without PostgreSQL's function `octet_length`. The measure's
/// own files, and the history of the measure, do not count.
fn octets_below(root: &Path, folder: &Path) -> usize {
    const EXEMPT: [&str; 2] = ["tests/architecture", "bench/results/structure.md"];
    let entries = fs::read_dir(folder).expect("the folder is readable");
    let paths = entries.map(|entry| entry.expect("the entry is readable").path());
    let counted = paths.filter(|path| !EXEMPT.iter().any(|exempt| *path == root.join(exempt)));
    counted
        .map(|path| match path.is_dir() {
            true => octets_below(root, &path),
            false => fs::read_to_string(&path).map_or(0, |text| count_octets(&text)),
        })
        .sum()
}

#[test]
fn a_number_above_its_ratchet_fails() {
    let measure = |now| Measure { name: "pins", now, ratchet: 3.0, target: 0.0, worst: String::new() };
    assert_eq!(worse(&[measure(2.0), measure(3.0), measure(4.0)]), ["pins: 4.0, was 3.0  "]);
}

#[test]
fn a_ratchet_above_a_reached_target_fails() {
    let measure = |now, ratchet| Measure { name: "pins", now, ratchet, target: 2.0, worst: String::new() };
    assert_eq!(
        loose(&[measure(3.0, 3.0), measure(2.0, 2.0), measure(2.0, 3.0)]),
        ["pins: 2.0 has reached the target 2.0: lower its ratchet to the target"]
    );
}

fn tree(files: &[(&str, &str)]) -> Tree {
    Tree::new(files.iter().map(|(path, text)| (Path::new(path).to_owned(), (*text).to_owned())))
}

#[test]
fn a_type_with_many_impl_files_is_found() {
    let tree = tree(&[
        (
            "session/mod.rs",
            "pub struct Session<'a> { x: u8 }\nimpl<'a> Session<'a> { fn f() { let x: impl Fn(); } }",
        ),
        ("session/a.rs", "impl Session<'_> {}\nimpl fmt::Debug for Session<'_> where u8: Copy {}"),
        ("session/b.rs", "impl From<Session<'_>> for Other {}\nimpl Iterator for Vec<Session<'_>> {}"),
        ("session/c.rs", "struct Other;\n#[cfg(test)]\nmod tests { impl Session {} }"),
        ("session/tests/d.rs", "impl Session<'_> {}"),
    ]);
    assert_eq!(tree.widest_type("session/"), ("Session".to_owned(), 2));
}

#[test]
fn a_silent_exit_is_found() {
    let found = |text| tree(&[("session/a.rs", text)]).silent_exits("session/");
    assert_eq!(found("fn f() { let Some(x) = y else { return };\nif a { b } else {\n return None; } }"), 2);
    assert_eq!(found("fn f() { let Some(x) = y else { return Err(Fault) }; }"), 0);
    assert_eq!(found("fn f() { let Some(x) = y else { return self.miss_backend() }; }"), 0);
    assert_eq!(found("fn f() { let Some(x) = y else { return self.other() }; }"), 1);
    assert_eq!(found("fn f() { let Some(x) = y else { debug_assert!(false); return }; }"), 0);
    assert_eq!(
        tree(&[("pool/a.rs", "fn f() { let Some(x) = y else { return }; }")]).silent_exits("session/"),
        0
    );
}

#[test]
fn booleans_are_counted_where_fields_lead() {
    let tree = tree(&[
        (
            "session/mod.rs",
            "enum Session(columns: bool) { Own(Box<Own>), Pooled { sharing: Option<Sharing> } }\nstruct Aside { a: bool }",
        ),
        ("session/own.rs", "struct Own { a: bool, b: Fn(bool) }\nfn f(a: bool) {}"),
        (
            "session/sharing.rs",
            "pub struct Sharing<T: Into<u8>> where T: Copy { a: bool, again: Box<Session> }",
        ),
    ]);
    assert_eq!(tree.booleans_of("session/", "Session"), 3);
}

#[test]
fn a_shared_field_is_found() {
    let text = "pub(crate) struct A { pub(super) a: u8, pub(in crate::session) b: (u8, u8), pub c: u8, d: u8 }\n\
                struct B(pub(super) u8);\nimpl A { pub(super) fn f() {} }";
    assert_eq!(tree(&[("session/a.rs", text)]).shared_fields("session/"), 3);
}

#[test]
fn the_longest_function_has_its_lines_counted() {
    let text = "fn short() {}\nfn long(\n a: [u8; { 3 }],\n) -> u8\n{\n // }\n let x = \"}\";\n}\ntrait T { fn none(); }";
    let tree = tree(&[("session/a.rs", text)]);
    let longest = tree.longest_function("session/").expect("there is one");
    assert_eq!((longest.name, longest.lines), ("long", 7));
    assert_eq!(tree.functions("").count(), 2);
}

#[test]
fn loops_that_choose_an_endpoint_and_their_constants_are_counted() {
    let text = "const RETRY: Duration = MS;\nconst LOOK_AGAIN: std::time::Duration = MS;\nconst RETRIES: u8 = 3;\n\
                fn assign() { loop { decide(policy) } }\nfn once() { decide() }\nfn decide() { loop {} }\n\
                fn poll() { while x { self.decide(need) } }";
    let tree = tree(&[("frontend/a.rs", text)]);
    assert_eq!((tree.acquisition_loops("frontend/"), tree.retry_constants("frontend/")), (2, 2));
}

#[test]
fn modules_that_use_each_other_are_found() {
    let tree = tree(&[
        ("admin/mod.rs", "mod a;\nmod b;\nmod c;\npub use b::{Beta as Other, Gamma};"),
        ("admin/a.rs", "use super::Gamma;"),
        ("admin/b/mod.rs", "use crate::admin::c;"),
        ("admin/b/deep.rs", "use super::super::c;"),
        ("admin/c.rs", "use super::a;\nuse crate::d::D;"),
        ("admin/d.rs", "use super::a;"),
        ("admin/e.rs", "use crate::e;\nuse super::d;"),
    ]);
    assert_eq!(tree.largest_cycle("admin/"), ["a", "b", "c"]);
    assert_eq!(tree.largest_cycle("pool/"), Vec::<String>::new());
}

#[test]
fn names_are_counted() {
    let text = "struct Key;\nenum Other { A }\nfn go() {}\nfn go_on() {}";
    let tree = tree(&[("a.rs", text), ("b.rs", "trait Key {}"), ("c.rs", "mod x { union Key { a: u8 } }")]);
    assert_eq!(tree.homonyms(), ["Key"]);
    assert!((tree.one_word_functions() - 50.0).abs() < 0.1, "{}", tree.one_word_functions());
}

#[test]
fn pronouns_are_counted_in_prose_alone() {
    let text =
        "//! It's what `it` does.\n/// ```\n/// it it it\n/// ```\nfn it() { \"it\" } // see https://it.it\n";
    // Of `it what does see` two are pronouns.
    let rate = tree(&[("a.rs", text)]).pronoun_rate();
    assert!((rate - 50.0).abs() < 0.1, "{rate}");
}

#[test]
fn pronouns_of_scripts_are_counted_in_comments_and_docstrings() {
    let text = "#!/usr/bin/env it\n\"\"\"It reads.\n\nThem `it`.\n\"\"\"\nIT = \"\"\"it it\"\"\"   # its color\n\
                def it(what='# it'):\n    \"\"\"Who sees.\"\"\"\n    it(\n        \"\"\"it\"\"\", \"it's # it\")\n    x[it#it]\n";
    assert_eq!(prose(text), ["It reads.", "", "Them `it`.", "its color", "Who sees."]);
    let scripts = [Script { path: "a.py".to_owned(), prose: prose(text) }];
    // Of `it reads them its color who sees` four are pronouns.
    let rate = pronoun_rate_of_scripts(&scripts);
    assert!((rate - 400.0 / 7.0).abs() < 0.1, "{rate}");
    assert_eq!(script_with_most_pronouns(&scripts), "a.py: 4");
}

#[test]
fn scripts_with_and_without_extension_are_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = Script::read_all(root, &SCRIPT_FOLDERS);
    for path in ["tests/lab/server.py", "tests/fuzz/run", "bench/run", "grafana/source/panel.py", ".ci/setup"]
    {
        let script = scripts.iter().find(|script| script.path == path);
        assert!(script.is_some_and(|script| script.prose.len() > 3), "{path}");
    }
}

#[test]
fn octets_are_counted_in_names_and_comments() {
    let text = "// Octets.\nfn octets() {}\n#[cfg(test)]\nmod tests { const OCTETS: &str = \"octet\"; }";
    assert_eq!(tree(&[("a.rs", text)]).octets(), 4);
    assert_eq!(tree(&[("a.rs", "SELECT octet_length('octet')")]).octets(), 1);
}
