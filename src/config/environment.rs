//! The environment variables of the process. Records which variables were read.
//!
//! An empty variable counts as unset, because manifests pass empty variables for omitted values.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    catalog::{self, PREFIX, Scope},
    problem::{Origin, ProblemReport, closest_word, nearest_word},
};

/// The variables of the process.
pub(super) struct Environment {
    variables: BTreeMap<String, String>,
    /// Names of all variables that were looked up, set or not.
    asked: RefCell<BTreeSet<String>>,
}

impl Environment {
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = |(name, value): &(String, String)| !is_service_link(name, value);
        Self { variables: variables.into_iter().filter(ours).collect(), asked: RefCell::default() }
    }

    /// Value and origin of the variable with the full name `full`.
    pub(super) fn whole(&self, full: &str) -> Option<(String, Origin)> {
        self.asked.borrow_mut().insert(full.to_owned());
        let value = self.variables.get(full).filter(|value| !value.is_empty())?;
        Some((value.clone(), Origin::Variable(Arc::from(full))))
    }

    /// Value of `GATEKEEPER_<variable>` (or of `ADMIN_API_KEY`).
    pub(super) fn shared(&self, variable: &str) -> Option<(String, Origin)> {
        self.whole(&catalog::full_variable(variable))
    }

    /// Value of `GATEKEEPER_<NAME>_<variable>`.
    pub(super) fn own(&self, name: &str, variable: &str) -> Option<(String, Origin)> {
        self.whole(&catalog::own_variable(name, variable))
    }

    /// Value of `GATEKEEPER_<NAME>_<variable>`, or else of `GATEKEEPER_<variable>`.
    pub(super) fn own_or_shared(&self, name: &str, variable: &str) -> Option<(String, Origin)> {
        let shared = self.shared(variable);
        self.own(name, variable).or(shared)
    }

    /// Reports variables with the prefix that were never looked up.
    pub(super) fn report_unread(&self, endpoints: &[String], listeners: &[String], report: &ProblemReport) {
        let asked = self.asked.borrow();
        let unread = self.variables.keys().filter(|name| name.starts_with(PREFIX) && !asked.contains(*name));
        for variable in unread {
            let word = &variable[PREFIX.len()..];
            let remedy = named_remedy(word, endpoints, listeners).unwrap_or_else(|| {
                let known = || asked.iter().filter_map(|name| name.strip_prefix(PREFIX));
                match (nearest_word(word, known()), closest_word(word, known())) {
                    (Some(near), _) => format!("did you mean {PREFIX}{near}?"),
                    (None, Some(close)) => format!("unset it (the nearest known one is {PREFIX}{close})"),
                    (None, None) => "unset it".to_owned(),
                }
            });
            report.problem(&Origin::Variable(Arc::from(variable.as_str())), "", "unknown variable", remedy);
        }
    }
}

/// Remedy for a known variable with a wrong name.
fn named_remedy(word: &str, endpoints: &[String], listeners: &[String]) -> Option<String> {
    let (key, variable) = catalog::KEYS
        .iter()
        .flat_map(|key| key.variables.iter().map(move |variable| (key, *variable)))
        .filter(|(_, variable)| word.strip_suffix(variable).is_some_and(|name| name.ends_with('_')))
        .max_by_key(|(_, variable)| variable.len())?;
    let name = word[..word.len() - variable.len() - 1].to_ascii_lowercase();
    let (what, names) = match key.scope() {
        Scope::Process => return Some(format!("write {}", catalog::full_variable(variable))),
        Scope::Endpoint => ("endpoint", endpoints),
        Scope::Listener => ("listener", listeners),
    };
    if let Some(known) = nearest_word(&name, names.iter().map(String::as_str)) {
        return Some(match catalog::own_variable(known, variable) {
            same if same == format!("{PREFIX}{word}") => {
                format!("unset it: endpoint `{known}` stands in the file, and its cluster with it")
            }
            other => format!("did you mean {other}?"),
        });
    }
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Some(match key.scope() {
        Scope::Listener => format!("unknown {what} `{name}` (configured: {names})"),
        _ => format!("unknown {what} `{name}` (configured: {names}); list it in {PREFIX}ENDPOINTS"),
    })
}

/// True if Kubernetes or Docker set the variable for a service whose name begins with `gatekeeper`.
///
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_service_link(name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix("GATEKEEPER") else { return false };
    let address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let numbered = rest.split_once("_PORT_").is_some_and(|(_, after)| {
        let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
        ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| after.starts_with(protocol))
    });
    let service =
        rest.split_once("_SERVICE_PORT").is_some_and(|(_, end)| end.is_empty() || end.starts_with('_'));
    (address && rest.ends_with("_PORT")) || numbered || service || rest.ends_with("_SERVICE_HOST")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_kubernetes_sets_for_a_service_of_our_name_are_not_ours() {
        for (name, value, link) in [
            ("GATEKEEPER_SERVICE_HOST", "10.0.0.1", true),
            ("GATEKEEPER_SERVICE_PORT", "15432", true),
            ("GATEKEEPER_SERVICE_PORT_METRICS", "8080", true),
            ("GATEKEEPER_PORT", "tcp://10.0.0.1:15432", true),
            ("GATEKEEPER_PORT_15432_TCP", "tcp://10.0.0.1:15432", true),
            ("GATEKEEPER_PORT_15432_TCP_ADDR", "10.0.0.1", true),
            ("GATEKEEPER_API_PORT", "tcp://10.0.0.1:8080", true),
            ("GATEKEEPER_API_PORT", "8080", false),
            ("GATEKEEPER_BACKEND_PORT", "5432", false),
            ("GATEKEEPER_PORT", "5432", false),
        ] {
            assert_eq!(is_service_link(name, value), link, "{name}={value}");
        }
    }
}
