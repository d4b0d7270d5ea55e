//! Results of an examination: a verdict for each stage, with reasons and remedies.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::closed_set::closed_set;
use serde::Serialize;

closed_set! {
    /// Result of a stage, ordered by severity.
    #[derive(PartialOrd, Ord, Serialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Verdict {
        /// Not examined; the detail states the reason.
        Skipped = "skipped",
        /// No problem found.
        Ok = "ok",
        /// Works, but needs attention.
        Warning = "warning",
        /// Does not work.
        Failed = "failed",
    }
}

closed_set! {
    /// Stages of an examination, in order. An endpoint has all except the last; a listener has [`Stage::Tls`],
    /// [`Stage::Users`] and [`Stage::Login`].
    #[derive(Serialize)]
    #[serde(rename_all = "lowercase")]
    pub(super) enum Stage {
        Name = "name",
        Route = "route",
        Tls = "tls",
        Token = "token",
        Login = "login",
        Role = "role",
        Lag = "lag",
        Privileges = "privileges",
        Users = "users",
    }
}

/// Assessment of one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opinion {
    verdict: Verdict,
    details: Vec<String>,
    remedies: Vec<String>,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) stage: Stage,
    pub(super) verdict: Verdict,
    pub(super) details: Vec<String>,
    pub(super) remedies: Vec<String>,
    /// Duration; absent if the stage did not run.
    #[serde(rename = "took_ms", serialize_with = "milliseconds")]
    pub(super) took: Option<Duration>,
}

/// Results for one endpoint or listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Examination {
    pub(super) name: String,
    /// Short description of the object.
    pub(super) about: String,
    /// The worst verdict of all stages.
    pub(super) verdict: Verdict,
    pub(super) findings: Vec<Finding>,
}

// === impl Stage ===

impl Stage {
    /// The stages of an endpoint.
    pub(super) const OF_ENDPOINT: [Self; 8] = [
        Self::Name,
        Self::Route,
        Self::Tls,
        Self::Token,
        Self::Login,
        Self::Role,
        Self::Lag,
        Self::Privileges,
    ];
}

// === impl Opinion ===

impl Opinion {
    pub(super) fn ok(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, details: vec![detail.into()], remedies: Vec::new() }
    }

    pub(super) fn skipped(because: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, ..Self::ok(because) }
    }

    pub(super) fn failed(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let mut opinion = Self::ok(detail);
        opinion.fail(remedy);
        opinion
    }

    pub(super) fn warning(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let mut opinion = Self { verdict: Verdict::Warning, details: Vec::new(), remedies: Vec::new() };
        opinion.warn(detail, remedy);
        opinion
    }

    /// Adds a detail.
    pub(super) fn note(&mut self, detail: impl Into<String>) {
        self.details.push(detail.into());
    }

    /// Adds a warning.
    pub(super) fn warn(&mut self, detail: impl Into<String>, remedy: impl Into<String>) {
        self.note(detail);
        self.remedies.push(remedy.into());
        self.verdict = self.verdict.max(Verdict::Warning);
    }

    /// Turns the assessment into a failure.
    pub(super) fn fail(&mut self, remedy: impl Into<String>) {
        self.verdict = Verdict::Failed;
        self.remedies.push(remedy.into());
    }

    pub(super) const fn verdict(&self) -> Verdict {
        self.verdict
    }
}

// === impl Examination ===

impl Examination {
    pub(super) const fn new(name: String, about: String) -> Self {
        Self { name, about, verdict: Verdict::Skipped, findings: Vec::new() }
    }

    /// Runs and times one stage. Returns no value after a failure.
    ///
    /// Cancel safety: that of `work`; no result is recorded then.
    pub(super) async fn stage<T>(
        &mut self,
        stage: Stage,
        work: impl Future<Output = (Opinion, Option<T>)>,
    ) -> Option<T> {
        let began = Instant::now();
        let (opinion, found) = work.await;
        let goes_on = opinion.verdict() != Verdict::Failed;
        let took = (opinion.verdict() != Verdict::Skipped).then(|| began.elapsed());
        self.push(stage, opinion, took);
        found.filter(|_| goes_on)
    }

    /// Adds the result of a stage that was not timed.
    pub(super) fn add(&mut self, stage: Stage, opinion: Opinion) {
        self.push(stage, opinion, None);
    }

    /// Skips the rest of `stages` after a failed stage.
    pub(super) fn skip_rest(&mut self, stages: &[Stage]) {
        let because = match self.findings.iter().find(|finding| finding.verdict == Verdict::Failed) {
            Some(failed) => format!("because {} failed", failed.stage.as_str()),
            None => "because the login did not succeed".to_owned(),
        };
        for stage in stages.iter().skip(self.findings.len()) {
            self.add(*stage, Opinion::skipped(because.clone()));
        }
    }

    fn push(&mut self, stage: Stage, opinion: Opinion, took: Option<Duration>) {
        let Opinion { verdict, details, remedies } = opinion;
        self.verdict = self.verdict.max(verdict);
        self.findings.push(Finding { stage, verdict, details, remedies, took });
    }
}

fn milliseconds<S: serde::Serializer>(took: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match took {
        Some(took) => serializer.serialize_f64((took.as_secs_f64() * 1e6).round() / 1e3),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_follows_a_failure_is_skipped_and_says_because_of_what() {
        let mut examination = Examination::new("primary".into(), String::new());
        let found = examination.stage(Stage::Name, async { (Opinion::ok("here"), Some(1)) }).await;
        assert_eq!(found, Some(1));
        let failure = async { (Opinion::failed("nobody there", "look"), Some(2)) };
        assert_eq!(examination.stage(Stage::Route, failure).await, None);
        examination.skip_rest(&Stage::OF_ENDPOINT);
        assert_eq!(examination.verdict, Verdict::Failed);
        assert_eq!(examination.findings.len(), Stage::OF_ENDPOINT.len());
        for (finding, stage) in examination.findings.iter().zip(Stage::OF_ENDPOINT) {
            assert_eq!(finding.stage, stage);
        }
        for skipped in &examination.findings[2..] {
            assert_eq!(skipped.verdict, Verdict::Skipped);
            assert_eq!(skipped.details, ["because route failed"]);
            assert_eq!(skipped.took, None);
        }
    }

    #[test]
    fn a_warning_does_not_soften_a_failure() {
        let mut opinion = Opinion::failed("broken", "mend it");
        opinion.warn("worn as well", "oil it");
        assert_eq!(opinion.verdict(), Verdict::Failed);
        assert_eq!(opinion.remedies, ["mend it", "oil it"]);
    }
}
