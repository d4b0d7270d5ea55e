//! The way into the repository: README, ARCHITECTURE and the questions of newcomers.

use std::collections::BTreeSet;

use super::page::{Page, root};

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The modules at the root of the crate.
fn modules() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("the crate has a root");
    let words = text.lines().filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';'));
    words.map(str::to_owned).collect()
}

/// The part of a page below the heading `title`, up to the next heading of that level.
fn section<'t>(page: &'t Page, title: &str) -> &'t str {
    let (_, rest) = page.text.split_once(&format!("\n## {title}\n")).expect("the page has this section");
    rest.split("\n## ").next().unwrap_or_default()
}

/// Rows of the first table of a text, without the head.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let rows = lines.take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn every_path_named_for_contributors_exists() {
    let folders = ["src/", "tests/", "docs/", "config/", "grafana/", "bench/"];
    let mut count = 0;
    for name in ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/decisions/README.md"] {
        let page = Page::read(name);
        for path in quoted(&page.text).filter(|path| folders.iter().any(|folder| path.starts_with(folder))) {
            assert!(root().join(path).exists(), "{name}: there is no {path}");
            count += 1;
        }
    }
    assert!(count > 45, "only {count} paths were found");
}

#[test]
fn the_layers_of_the_architecture_are_all_modules() {
    let page = Page::read("ARCHITECTURE.md");
    let named: BTreeSet<String> =
        rows(section(&page, "Layers")).iter().flat_map(|row| quoted(row[1])).map(str::to_owned).collect();
    // `demo` is a feature, `testing` a list of exports.
    let known: BTreeSet<String> = modules().into_iter().filter(|name| name != "testing").collect();
    let named: BTreeSet<String> = named.into_iter().filter(|name| name != "demo").collect();
    assert_eq!(named, known);
}

#[test]
fn every_row_of_the_table_of_additions_names_a_place() {
    let page = Page::read("ARCHITECTURE.md");
    let table = rows(section(&page, "Where do I add …"));
    assert!(table.len() >= 14, "{table:?}");
    for row in table {
        let is_place = row[1].contains("src/") || row[1].contains("](") || row[0] == "pool mode";
        assert!(is_place, "{row:?}");
    }
}

#[test]
fn the_readme_is_short_and_has_the_words_of_a_search() {
    let page = Page::read("README.md");
    assert!(page.text.lines().count() <= 110);
    let begin: String = page.text.lines().take(12).collect::<Vec<_>>().join(" ");
    for words in ["PostgreSQL proxy", "connection pooler", "AlloyDB", "read/write splitting"] {
        assert!(begin.contains(words), "no `{words}` at the beginning");
    }
    let configuration = page.blocks().into_iter().find(|block| block.language == "toml");
    assert!(configuration.is_some_and(|block| block.text.lines().count() <= 15));
}

#[test]
fn the_comparison_has_a_cell_for_each_program() {
    let page = Page::read("README.md");
    let (head, _) = section(&page, "Comparison").split_once("\n| ---").expect("there is a table");
    let columns = head.matches(" | ").count();
    assert_eq!(columns, 7, "{head}");
    for row in rows(section(&page, "Comparison")) {
        assert!(row.len() == 8 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}

/// The pages linked from a page, by path from the root, without headings.
fn targets(page: &Page) -> BTreeSet<String> {
    let folder = page.name.rsplit_once('/').map_or("", |(folder, _)| folder);
    page.links().into_iter().filter_map(|link| resolved(folder, link)).collect()
}

/// The path from the root of a link in a page of `folder`.
fn resolved(folder: &str, link: &str) -> Option<String> {
    let file = link.split('#').next().filter(|file| !file.is_empty() && !file.contains("://"))?;
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn each_question_of_newcomers_is_answered_within_two_clicks() {
    let index = Page::read("docs/README.md");
    let table = rows(section(&index, "Questions of newcomers"));
    assert_eq!(table.len(), 10);
    for row in table {
        let path = Page { name: index.name.clone(), text: row[1].to_owned() };
        let clicks: Vec<String> =
            path.links().into_iter().filter_map(|link| resolved("docs", link)).collect();
        assert!((1..=2).contains(&clicks.len()), "{row:?}");
        let mut from = Page::read("README.md");
        for click in clicks {
            assert!(targets(&from).contains(&click), "{}: no link from {} to {click}", row[0], from.name);
            if click.ends_with(".md") {
                from = Page::read(&click);
            }
        }
    }
}

#[test]
fn promises_to_tenants_are_one_click_away() {
    let readme = Page::read("README.md");
    let promise = "docs/pooling.md#what-a-tenant-may-rely-on";
    assert!(readme.links().contains(&promise), "README.md does not link to {promise}");
    let page = Page::read("docs/pooling.md");
    let promises = section(&page, "What a tenant may rely on");
    let (promised, rest) = promises.split_once("### What is not promised").expect("both parts are there");
    let items = |text: &str| text.lines().filter(|line| line.starts_with("- ")).count();
    assert!(items(promised) >= 7 && items(rest) >= 4, "{promises}");
}

#[test]
fn the_license_is_that_of_the_manifest() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("there is a manifest");
    assert!(manifest.contains("license = \"Apache-2.0\""));
    let text = std::fs::read_to_string(root().join("LICENSE")).expect("there is a licence");
    for words in ["Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS"] {
        assert!(text.contains(words), "LICENSE lacks `{words}`");
    }
}
