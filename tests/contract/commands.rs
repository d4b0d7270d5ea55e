//! Commands in pages for readers: each block is run by a test, checked without being run, or excused with a reason.

use std::{fs, path::Path, process::Command};

use super::page::{Block, NOT_RUN, Page, Test, root};

/// Blocks with commands of all pages for readers.
fn blocks(pages: &[Page]) -> Vec<(&Page, Block<'_>)> {
    let readers = pages.iter().filter(|page| page.is_for_readers());
    let blocks = readers.flat_map(|page| page.blocks().into_iter().map(move |block| (page, block)));
    blocks.filter(|(_, block)| matches!(block.language, "sh" | "sql")).collect()
}

/// Commands that are checked without being run, and commands of blocks that are run but name the same things.
fn commands_of<'t>(blocks: &[(&Page, Block<'t>)], program: &str) -> Vec<Vec<&'t str>> {
    let commands = blocks.iter().flat_map(|(_, block)| block.commands());
    commands.filter(|words| words[0] == program).collect()
}

#[test]
fn no_block_is_forgotten() {
    for page in Page::all().iter().filter(|page| page.is_for_readers()) {
        for block in page.blocks() {
            match block.language {
                "toml" | "env" => {}
                "sh" | "sql" => {
                    assert_ne!(page.test_of(block), Test::Forgotten, "{}:\n{}", page.name, block.text);
                }
                // The diagram.
                "" => assert_eq!(page.name, "ARCHITECTURE.md", "{}", block.text),
                other => panic!("{}: nobody tests blocks in `{other}`", page.name),
            }
        }
    }
}

#[test]
fn a_forgotten_block_is_found() {
    let text = "```sh\ngatekeeper run\n```\n```sh\nmake demo    # gatekeeper\n```\n".to_owned();
    let page = Page { name: "docs/new.md".to_owned(), text };
    let tests: Vec<Test> = page.blocks().into_iter().map(|block| page.test_of(block)).collect();
    assert_eq!(tests, [Test::Forgotten, Test::Build]);
}

#[test]
fn every_exemption_belongs_to_a_block() {
    for (name, begin, _) in NOT_RUN {
        let page = Page::read(name);
        let blocks = page.blocks();
        let excused = blocks.iter().filter(|block| page.test_of(**block) == Test::NotRun);
        assert!(excused.into_iter().any(|block| block.text.starts_with(begin)), "{name}: {begin}");
    }
}

#[test]
fn targets_of_make_exist() {
    let pages = Page::all();
    let blocks = blocks(&pages);
    let commands = commands_of(&blocks, "make");
    assert!(commands.len() > 5, "{commands:?}");
    for command in commands {
        let mut make = Command::new("make");
        // `cargo` is replaced: a recipe that calls make again is followed, and builds nothing.
        make.arg("--dry-run").args(&command[1..]).current_dir(root()).env("CARGO", "true");
        let output = make.output().expect("make can be run");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{command:?} does nothing");
    }
}

#[test]
fn filters_of_tests_find_tests() {
    let pages = Page::all();
    let blocks = blocks(&pages);
    let mut filters = Vec::new();
    for command in commands_of(&blocks, "cargo") {
        let folder = match command.as_slice() {
            ["cargo", "test", "--locked", "--lib", _] => "src",
            ["cargo", "test", "--locked", "--test", "integration", _] => "tests/integration",
            ["cargo", "test", "--locked", "--test", "contract", _] => "tests/contract",
            other => panic!("{other:?}: nobody checks this command"),
        };
        filters.push((folder, command[command.len() - 1]));
    }
    for command in commands_of(&blocks, "make") {
        filters.extend(
            command.iter().filter_map(|word| word.strip_prefix("TESTS=")).map(|filter| ("tests", filter)),
        );
    }
    assert!(filters.len() >= 4, "{filters:?}");
    for (folder, filter) in filters {
        let folder = root().join(folder);
        let found = match filter.strip_suffix("::") {
            Some(module) => folder.join(module).exists() || folder.join(format!("{module}.rs")).exists(),
            None => has_test(&folder, &format!("fn {filter}")),
        };
        assert!(found, "no test in {} has `{filter}`", folder.display());
    }
}

fn has_test(folder: &Path, words: &str) -> bool {
    let entries = fs::read_dir(folder).expect("the folder of tests is readable");
    entries.map(|entry| entry.expect("its entries are readable").path()).any(|path| {
        if path.is_dir() {
            has_test(&path, words)
        } else {
            path.extension().is_some_and(|extension| extension == "rs")
                && fs::read_to_string(path).expect("sources are readable").contains(words)
        }
    })
}
