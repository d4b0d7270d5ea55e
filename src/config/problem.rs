//! Mistakes and warnings, each with position, message and remedy.

use std::{cell::RefCell, fmt, sync::Arc};

use crate::credentials::Secret;

/// Source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A position in the file; line and column count from 1, the column in characters.
    File {
        /// File name as given.
        file: Arc<str>,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// Full name of an environment variable.
    Variable(Arc<str>),
    /// A default.
    Default,
}

/// One mistake, or one warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Position.
    pub origin: Origin,
    /// The setting, such as `endpoint.reads.tls.mode`; empty for the configuration as a whole.
    pub subject: String,
    /// The mistake.
    pub what: String,
    /// The correct form.
    pub remedy: String,
}

/// All mistakes of a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// One effective setting, as printed by `gatekeeper check`.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// Name such as `endpoint.reads.tls.mode`.
    pub name: String,
    /// Value in configuration syntax, without secrets.
    pub value: String,
    /// The hidden part of the value, such as a password, for the comparison of a reload.
    pub hidden: Option<Secret>,
    /// Source of the value.
    pub origin: Origin,
}

/// Mistakes, warnings and settings collected while a configuration is read.
#[derive(Default)]
pub(super) struct ProblemReport {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    settings: RefCell<Vec<Setting>>,
}

// === impl Origin ===

impl Origin {
    /// Sort key in lists: positions in the file first, in order.
    fn rank(&self) -> (u8, usize, usize) {
        match self {
            Self::File { line, column, .. } => (0, *line, *column),
            Self::Variable(_) => (1, 0, 0),
            Self::Default => (2, 0, 0),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Variable(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => f.write_str("configuration: ")?,
            origin => write!(f, "{origin}: ")?,
        }
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

// === impl Problems ===

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

// === impl ProblemReport ===

impl ProblemReport {
    pub(super) fn problem(
        &self,
        origin: &Origin,
        subject: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let problem = Problem::new(origin, subject, what, remedy);
        let mut problems = self.problems.borrow_mut();
        if !problems.iter().any(|other| other.same_mistake(&problem)) {
            problems.push(problem);
        }
    }

    pub(super) fn warning(
        &self,
        origin: &Origin,
        subject: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let warning = Problem::new(origin, subject, what, remedy);
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.iter().any(|other| other.same_mistake(&warning)) {
            warnings.push(warning);
        }
    }

    pub(super) fn setting(&self, setting: Setting) {
        let mut settings = self.settings.borrow_mut();
        // A cluster's settings are read once for each of its endpoints.
        let is_same = |other: &Setting| other.name == setting.name && other.origin == setting.origin;
        if !settings.iter().any(is_same) {
            settings.push(setting);
        }
    }

    /// Mistakes, warnings and effective settings. Mistakes and warnings are in file order, then those of the
    /// environment.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Problem>, Vec<Setting>) {
        let (mut problems, mut warnings) = (self.problems.into_inner(), self.warnings.into_inner());
        problems.sort_by_key(|problem| problem.origin.rank());
        warnings.sort_by_key(|warning| warning.origin.rank());
        (problems, warnings, self.settings.into_inner())
    }

    /// True if a mistake was reported.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }
}

impl Problem {
    /// True for equal messages at the same position: a cluster's settings are read once for each of its endpoints.
    fn same_mistake(&self, other: &Self) -> bool {
        let key = |problem: &Self| problem.subject.rsplit('.').next().map(str::to_owned);
        matches!(self.origin, Origin::File { .. })
            && self.origin == other.origin
            && self.what == other.what
            && key(self) == key(other)
    }

    fn new(
        origin: &Origin,
        subject: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { origin: origin.clone(), subject: subject.into(), what: what.into(), remedy: remedy.into() }
    }
}

/// The entry of `known` that `word` probably misspells.
pub(super) fn nearest_word<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    closest_word(word, known)
        .filter(|found| strsim::damerau_levenshtein(word, found) <= found.len().max(word.len()).div_ceil(3))
}

/// The entry of `known` that is most similar to `word`, at any distance.
pub(super) fn closest_word<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known.into_iter().min_by_key(|candidate| strsim::damerau_levenshtein(word, candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_named_only_when_it_is_near() {
        assert_eq!(nearest_word("adress", ["name", "address"]), Some("address"));
        assert_eq!(nearest_word("moed", ["mode", "cert"]), Some("mode"));
        assert_eq!(nearest_word("zebra", ["name", "address"]), None);
    }
}
