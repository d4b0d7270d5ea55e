//! The alerts, read from their file as far as the tests need. promtool checks the rule file itself.

use super::text;

/// An alert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alert {
    pub name: String,
    pub expr: String,
    /// All lines of the alert.
    pub lines: String,
}

/// All alerts that are shipped.
pub fn alerts() -> Vec<Alert> {
    parse(&text("alerts/rules.yml"))
}

fn parse(text: &str) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    // Indentation of the lines of a folded expression, inside one.
    let mut folded = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let words = line.trim();
        if let Some(name) = words.strip_prefix("- alert: ") {
            alerts.push(Alert { name: name.to_owned(), ..Alert::default() });
        }
        let Some(alert) = alerts.last_mut() else { continue };
        alert.lines.push_str(line);
        alert.lines.push('\n');
        if folded.is_some_and(|outer| indent > outer) {
            alert.expr.push_str(words);
            alert.expr.push(' ');
        } else if let Some(expr) = words.strip_prefix("expr: ") {
            folded = expr.starts_with('>').then_some(indent);
            if folded.is_none() {
                alert.expr = expr.to_owned();
            }
        } else {
            folded = None;
        }
    }
    alerts
}

#[test]
fn an_alert_is_read_with_its_whole_expression() {
    let text = "rules:\n  - alert: A\n    expr: >-\n      up\n      == 0\n    for: 1m\n  - alert: B\n    expr: up == 1\n";
    let read: Vec<_> = parse(text).into_iter().map(|alert| (alert.name, alert.expr)).collect();
    assert_eq!(read, [("A".to_owned(), "up == 0 ".to_owned()), ("B".to_owned(), "up == 1".to_owned())]);
}
