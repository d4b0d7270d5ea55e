//! The pages of the repository for readers, their fenced blocks, and how each block with commands is tested.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Pages whose `sh` and `sql` blocks are run, in order, by `tests/integration/documentation.rs`.
pub const RUN: &[&str] = &[
    "README.md",
    "docs/alloydb.md",
    "docs/audit.md",
    "docs/auth.md",
    "docs/console.md",
    "docs/deploy.md",
    "docs/failover.md",
    "docs/migrate-from-pgbouncer.md",
    "docs/pooling.md",
    "docs/read-routing.md",
];

/// Blocks that no test can run: the page, the beginning of the block, and the reason.
pub const NOT_RUN: &[(&str, &str, &str)] = &[
    ("docs/gke.md", "gcloud iam service-accounts create", "creates accounts in a project of Google Cloud"),
    ("docs/workload-identity-federation.md", "gcloud iam workload-identity-pools", "the same"),
];

/// A page.
pub struct Page {
    /// Path from the root of the repository.
    pub name: String,
    pub text: String,
}

/// A fenced block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'t> {
    pub language: &'t str,
    pub text: &'t str,
}

/// How a block with commands is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Run by `tests/integration/documentation.rs`.
    Run,
    /// Names targets of the Makefile or filters of tests, which have to exist: the commands build for minutes, or are
    /// the tests themselves.
    Build,
    /// Listed in [`NOT_RUN`].
    NotRun,
    /// Not tested at all.
    Forgotten,
}

// === impl Page ===

impl Page {
    /// Every page: those at the root, and those of `docs/`, `grafana/` and `bench/`.
    pub fn all() -> Vec<Self> {
        let folders = ["", "docs", "docs/decisions", "grafana", "bench"];
        let mut names: Vec<String> = folders.iter().flat_map(|folder| markdown_in(folder)).collect();
        names.sort();
        names.iter().map(|name| Self::read(name)).collect()
    }

    /// Reads the page `name`.
    pub fn read(name: &str) -> Self {
        let text = fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), text }
    }

    /// True for pages whose blocks are all tested: those for users and contributors. Pages about watching and measuring
    /// have tests of their own.
    pub fn is_for_readers(&self) -> bool {
        !self.name.starts_with("grafana/") && !self.name.starts_with("bench/")
    }

    /// The fenced blocks, in order.
    pub fn blocks(&self) -> Vec<Block<'_>> {
        let fences = self.text.split("```").skip(1).step_by(2);
        let blocks = fences.filter_map(|block| block.split_once('\n'));
        blocks.map(|(language, text)| Block { language, text }).collect()
    }

    /// The targets of all links.
    pub fn links(&self) -> Vec<&str> {
        let rests = self.text.split("](").skip(1);
        rests.filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).collect()
    }

    /// How `block` of this page is tested.
    pub fn test_of(&self, block: Block<'_>) -> Test {
        if NOT_RUN.iter().any(|(page, begin, _)| *page == self.name && block.text.starts_with(begin)) {
            Test::NotRun
        } else if block.commands().iter().all(|command| matches!(command[0], "make" | "cargo")) {
            Test::Build
        } else if RUN.contains(&self.name.as_str()) {
            Test::Run
        } else {
            Test::Forgotten
        }
    }
}

// === impl Block ===

impl<'t> Block<'t> {
    /// The words of each command line, without comments.
    pub fn commands(&self) -> Vec<Vec<&'t str>> {
        let lines = self.text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
        lines.filter(|line| !line.is_empty()).map(|line| line.split_whitespace().collect()).collect()
    }
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn markdown_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder of pages is there");
    let paths = entries.map(|entry| entry.expect("its entries are readable").path());
    let pages = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let relative = |path: PathBuf| path.strip_prefix(root()).map(|path| path.display().to_string()).ok();
    pages.filter_map(relative).collect()
}
