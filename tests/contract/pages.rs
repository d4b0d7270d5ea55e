//! Pages for readers: each configuration loads, each link has a target, the indexes are complete.

use std::fs;

use gatekeeper::testing::config::ConfigSource;

use super::{
    load, load_text,
    page::{Page, root},
    text_of,
};

/// Pages of `docs/` outside of folders, without the index.
fn guides() -> Vec<Page> {
    let pages = pages_of("docs");
    pages.into_iter().filter(|page| !page.name.ends_with("README.md")).collect()
}

/// The pages of one folder, with the index.
fn pages_of(folder: &str) -> Vec<Page> {
    let inside = |page: &Page| page.name.rsplit_once('/').is_some_and(|(parent, _)| parent == folder);
    Page::all().into_iter().filter(inside).collect()
}

/// The fenced blocks of a page in `language`.
fn blocks<'t>(page: &'t Page, language: &str) -> Vec<&'t str> {
    let blocks = page.blocks().into_iter().filter(|block| block.language == language);
    blocks.map(|block| block.text).collect()
}

/// Loads `NAME=value` lines as the whole environment.
fn load_variables(text: &str) -> Result<(), Vec<String>> {
    let variables = text.lines().filter_map(|line| line.split_once('='));
    load(ConfigSource::variables(variables)).map(drop)
}

/// The mistakes in all configurations of a page, and how many configurations there are.
fn mistakes_in(page: &Page) -> (usize, Vec<String>) {
    let (files, variables) = (blocks(page, "toml"), blocks(page, "env"));
    let failed = files.iter().filter_map(|block| load_text(block).err());
    let failed = failed.chain(variables.iter().filter_map(|block| load_variables(block).err()));
    (files.len() + variables.len(), failed.flatten().collect())
}

#[test]
fn every_configuration_of_a_page_loads() {
    for page in Page::all().into_iter().filter(Page::is_for_readers) {
        let (_, mistakes) = mistakes_in(&page);
        assert!(mistakes.is_empty(), "{}:\n{}", page.name, mistakes.join("\n"));
    }
    for page in guides() {
        let is_generated = page.text.contains("\nGenerated from `src/");
        assert!(mistakes_in(&page).0 > 0 || is_generated, "{} has no configuration", page.name);
    }
}

#[test]
fn a_mistake_in_a_page_is_found() {
    let mut made = 0;
    for page in Page::all().into_iter().filter(Page::is_for_readers) {
        for (right, wrong) in [("iam ", "iamm "), ("_BACKEND_IAM", "_BACKEND_IAMM"), ("users ", "user_list ")]
        {
            let configurations = [blocks(&page, "toml"), blocks(&page, "env")].concat();
            if configurations.iter().any(|block| block.contains(right)) {
                let changed = Page { name: page.name.clone(), text: page.text.replace(right, wrong) };
                assert!(!mistakes_in(&changed).1.is_empty(), "{}: {wrong} was not found", page.name);
                made += 1;
            }
        }
    }
    assert!(made > 15, "only {made} mistakes were made");
}

#[test]
fn every_link_of_a_page_resolves() {
    let mut count = 0;
    for page in Page::all() {
        let path = root().join(&page.name);
        for link in page.links() {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let target = if file.is_empty() { path.clone() } else { path.with_file_name("").join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.name);
            if !heading.is_empty() && target.is_file() {
                let there = fs::read_to_string(&target).expect("linked pages are readable");
                assert!(
                    there.lines().any(|line| line.starts_with('#') && anchor(line) == heading),
                    "{}: {link} has no such heading",
                    page.name
                );
            }
            count += 1;
        }
    }
    assert!(count > 150, "only {count} links were found");
}

/// Returns GitHub's anchor of a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn the_index_has_every_page() {
    for folder in ["docs", "docs/decisions"] {
        let index = Page::read(&format!("{folder}/README.md"));
        for page in pages_of(folder) {
            let name = page.name.rsplit('/').next().unwrap_or_default();
            assert!(
                name == "README.md" || index.text.contains(&format!("]({name})")),
                "{folder}/README.md lacks {name}"
            );
        }
    }
    assert!(
        Page::read("README.md").links().contains(&"docs/README.md"),
        "README.md does not link to the pages"
    );
}

#[test]
fn lines_of_prose_fit_on_a_screen() {
    for page in Page::all().iter().filter(|page| page.is_for_readers() && page.name != "CHANGELOG.md") {
        let long = page.text.lines().find(|line| !line.starts_with('|') && line.chars().count() > 120);
        assert_eq!(long, None, "{}", page.name);
    }
}

#[test]
fn the_variables_of_the_cloud_run_service_load() {
    let text = text_of("cloudrun/service.yaml");
    let (_, container) = text.split_once("- name: gatekeeper\n").expect("there is a container");
    let (_, environment) = container.split_once("          env:\n").expect("it has variables");
    let (environment, _) = environment.split_once("          startupProbe:").expect("they end");
    let mut variables = Vec::new();
    for item in environment.split("- name: ").skip(1) {
        let (name, rest) = item.split_once('\n').expect("a variable has a value");
        let value = rest.trim_start().strip_prefix("value: ").and_then(|value| value.lines().next());
        // The admin API's key is a secret of Secret Manager.
        variables.push((name, value.unwrap_or("secret").trim_matches('"')));
    }
    assert!(variables.len() > 10, "only {} variables were found", variables.len());
    let loaded = load(ConfigSource::variables(variables));
    assert_eq!(loaded.err(), None);
}
