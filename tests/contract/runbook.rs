//! The runbook: a section for each alert, and commands that exist.

use std::{collections::BTreeSet, process::Command};

use gatekeeper::testing::admin;

use crate::grafana::{self, alerts};

/// Heading and text of a section.
fn sections(page: &str) -> Vec<(&str, &str)> {
    page.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect()
}

/// Faults of a runbook.
fn faults(page: &str, alerts: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let sections = sections(page);
    let headings: BTreeSet<String> = sections.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    faults.extend(alerts.difference(&headings).map(|alert| format!("{alert} has no section")));
    faults.extend(headings.difference(alerts).map(|heading| format!("{heading} is no alert")));
    for (heading, text) in sections {
        if !text.trim_start().starts_with("**Felt:** ") {
            faults.push(format!("{heading} does not begin with what users feel"));
        }
        let Some((_, command)) =
            text.trim_end().strip_suffix("\n```").and_then(|text| text.rsplit_once("```sh\n"))
        else {
            faults.push(format!("{heading} does not end with a command"));
            continue;
        };
        faults.extend(of_command(command).into_iter().map(|fault| format!("{heading}: {fault}")));
    }
    faults
}

/// Faults of a command: calls of missing parts of Gatekeeper.
pub(crate) fn of_command(command: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for part in command.split(['&', ';', '|', '#', '\n']) {
        let words: Vec<&str> = part.split_whitespace().collect();
        if let ["gatekeeper", subcommand, arguments @ ..] = words.as_slice() {
            let output = Command::new(env!("CARGO_BIN_EXE_gatekeeper")).args([subcommand, "--help"]).output();
            let output = output.expect("the program runs");
            let help = String::from_utf8_lossy(&output.stdout);
            if !output.status.success() {
                faults.push(format!("there is no `gatekeeper {subcommand}`"));
            }
            for option in arguments.iter().filter(|argument| argument.starts_with('-')) {
                if !help.contains(&format!("{option} ")) {
                    faults.push(format!("`gatekeeper {subcommand}` knows no {option}"));
                }
            }
        }
        let method = match words.iter().position(|word| *word == "-X") {
            Some(at) => words.get(at + 1).copied().unwrap_or_default().to_lowercase(),
            None => "get".to_owned(),
        };
        for url in words.iter().filter_map(|word| word.split_once("$ADMIN/").map(|(_, path)| path)) {
            let path = url.trim_end_matches('"').split('?').next().unwrap_or_default();
            if !answers(&method, path) {
                faults.push(format!("nothing answers {method} /{path}"));
            }
        }
    }
    faults
}

/// True if the admin API's own description has the request.
pub(crate) fn answers(method: &str, path: &str) -> bool {
    let description = admin::description();
    let paths = description["paths"].as_object().expect("it has paths");
    paths.iter().any(|(template, methods)| {
        let (wanted, given): (Vec<&str>, Vec<&str>) =
            (template.trim_start_matches('/').split('/').collect(), path.split('/').collect());
        methods.get(method).is_some()
            && wanted.len() == given.len()
            && wanted.iter().zip(given).all(|(wanted, given)| wanted.starts_with('{') || *wanted == given)
    })
}

fn names() -> BTreeSet<String> {
    alerts().into_iter().map(|alert| alert.name).collect()
}

#[test]
fn every_alert_has_a_section_that_ends_with_a_command_which_exists() {
    assert_eq!(faults(&grafana::text("RUNBOOK.md"), &names()), Vec::<String>::new());
}

#[test]
fn each_mistake_in_the_runbook_is_found() {
    let page = grafana::text("RUNBOOK.md");
    for (before, after, fault) in [
        ("## GatekeeperDown\n", "## GatekeeperUp\n", "GatekeeperDown has no section"),
        ("## GatekeeperDown\n", "## GatekeeperUp\n", "GatekeeperUp is no alert"),
        (
            "**Felt:** applications that",
            "Applications that",
            "GatekeeperDown does not begin with what users feel",
        ),
        ("gatekeeper doctor reads", "gatekeeper surgeon reads", "there is no `gatekeeper surgeon`"),
        (
            "gatekeeper doctor reads --config",
            "gatekeeper doctor reads --conf",
            "`gatekeeper doctor` knows no --conf",
        ),
        ("$ADMIN/readyz", "$ADMIN/ready", "nothing answers get /ready"),
        ("-X POST $ADMIN/v1/reload", "$ADMIN/v1/reload", "nothing answers get /v1/reload"),
        (
            "curl -sS $ADMIN/v1/info\n```",
            "curl -sS $ADMIN/v1/info\n```\n\nGood luck.",
            "GatekeeperPanicked does not end with a command",
        ),
    ] {
        assert!(page.contains(before), "{before}");
        let found = faults(&page.replace(before, after), &names());
        assert!(found.iter().any(|found| found.contains(fault)), "`{fault}` is not among {found:#?}");
    }
}
