//! Pages of `docs/`: each configuration loads, each link has a target, the index is complete.

use std::{
    fs,
    path::{Path, PathBuf},
};

use gatekeeper::testing::config::ConfigSource;

use super::{load, load_text, text_of};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Guides: every page of `docs/` outside of folders.
fn pages() -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(root().join("docs")).expect("there are pages");
    let paths = entries.map(|entry| entry.expect("its entries are readable").path());
    let mut pages: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.clone(), fs::read_to_string(path).expect("pages are readable")))
        .collect();
    pages.sort();
    pages
}

/// The fenced blocks of a page in `language`.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// Loads `NAME=value` lines as the whole environment.
fn load_variables(text: &str) -> Result<(), Vec<String>> {
    let variables = text.lines().filter_map(|line| line.split_once('='));
    load(ConfigSource::variables(variables)).map(drop)
}

/// The mistakes in all configurations of a page, and how many configurations there are.
fn mistakes_in(text: &str) -> (usize, Vec<String>) {
    let (files, variables) = (blocks(text, "toml"), blocks(text, "env"));
    let failed = files.iter().filter_map(|block| load_text(block).err());
    let failed = failed.chain(variables.iter().filter_map(|block| load_variables(block).err()));
    (files.len() + variables.len(), failed.flatten().collect())
}

#[test]
fn every_configuration_of_a_page_loads() {
    for (path, text) in pages() {
        let (count, mistakes) = mistakes_in(&text);
        assert!(mistakes.is_empty(), "{}:\n{}", path.display(), mistakes.join("\n"));
        let is_guide = !path.ends_with("README.md") && !text.contains("\nGenerated from `src/");
        assert!(count > 0 || !is_guide, "{} has no configuration", path.display());
    }
}

#[test]
fn a_mistake_in_a_page_is_found() {
    for (path, text) in pages().into_iter().filter(|(path, _)| !path.ends_with("README.md")) {
        for (right, wrong) in [("iam ", "iamm "), ("_BACKEND_IAM", "_BACKEND_IAMM"), ("users ", "user_list ")]
        {
            if text.contains(right) && !blocks(&text.replace(right, wrong), "toml").is_empty() {
                let (_, mistakes) = mistakes_in(&text.replace(right, wrong));
                assert!(!mistakes.is_empty(), "{}: {wrong} was not found", path.display());
            }
        }
    }
}

#[test]
fn every_link_of_a_page_resolves() {
    let readme = root().join("README.md");
    let text = fs::read_to_string(&readme).expect("the README is readable");
    for (path, text) in pages().into_iter().chain([(readme, text)]) {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let target = if file.is_empty() { path.clone() } else { path.with_file_name("").join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            if !heading.is_empty() && target.is_file() {
                let there = fs::read_to_string(&target).expect("linked pages are readable");
                assert!(
                    there.lines().any(|line| line.starts_with('#') && anchor(line) == heading),
                    "{}: {link} has no such heading",
                    path.display()
                );
            }
        }
    }
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
    let index = fs::read_to_string(root().join("docs/README.md")).expect("there is an index");
    for (path, _) in pages() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(name == "README.md" || index.contains(&format!("]({name})")), "docs/README.md lacks {name}");
    }
    let readme = fs::read_to_string(root().join("README.md")).expect("the README is readable");
    assert!(readme.contains("](docs/README.md)"), "README.md does not link to the guides");
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
