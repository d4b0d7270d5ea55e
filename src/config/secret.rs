//! Secrets: `{ env = "VARIABLE" }`, `{ file = "/path" }`, or, with a warning, the value itself.

use super::{
    problem::Origin,
    reader::Section,
    tree::{Item, Table, Value},
};
use crate::credentials::Secret;

/// Remedy for a secret.
const FORM: &str = "{ env = \"VARIABLE\" } or { file = \"/path/to/secret\" }";

/// Reads the secret at `key`. Records the source, never the value.
pub(super) fn read_secret(section: &Section<'_>, key: &str) -> Option<Secret> {
    let item = section.raw(key)?;
    match (&item.value, &item.origin) {
        (Value::Text(text), Origin::Variable(_)) => {
            let secret = Secret::new(text.clone());
            section.record_hidden(key, "(secret)", secret.clone(), &item.origin);
            Some(secret)
        }
        (Value::Text(text), _) if !text.is_empty() => {
            let secret = Secret::new(text.clone());
            section.record_hidden(key, "(secret)", secret.clone(), &item.origin);
            let remedy = format!("keep it out of the file: write {FORM}");
            section.warning(key, "a secret stands in the configuration file", remedy);
            Some(secret)
        }
        (Value::Table(table), _) => from_table(section, key, item, table),
        _ => {
            let what = if item.as_text().is_some() {
                "cannot be empty".into()
            } else {
                format!("cannot be {}", item.kind())
            };
            section.problem(key, what, format!("write {FORM}"));
            None
        }
    }
}

fn from_table(section: &Section<'_>, key: &str, item: &Item, table: &Table) -> Option<Secret> {
    let mut entries = table.keys();
    let (Some((kind @ ("env" | "file"), _)), None) = (entries.next(), entries.next()) else {
        section.problem(key, "has to say one place", format!("write {FORM}"));
        return None;
    };
    let Some(place) = table.get(kind).and_then(Item::as_text).filter(|text| !text.is_empty()) else {
        section.problem(key, format!("`{kind}` has to be a text"), format!("write {FORM}"));
        return None;
    };
    let shown = format!("(secret, {kind} {place})");
    if !section.context.follow {
        section.record(key, shown, &item.origin);
        return Some(Secret::new("unread".to_owned()));
    }
    let found = match kind {
        "env" => section
            .context
            .environment
            .whole(place)
            .map(|(text, _)| text)
            .ok_or_else(|| (format!("the variable {place} is not set or empty"), format!("set {place}"))),
        _ => {
            let path = match &table.get(kind).map(|item| &item.origin) {
                Some(Origin::File { .. }) => section.context.base.join(place),
                _ => place.into(),
            };
            std::fs::read_to_string(&path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| {
                    let what = format!("cannot read {}: {error}", path.display());
                    (what, "name a file that this process may read".to_owned())
                })
                .and_then(|text| match text.is_empty() {
                    true => {
                        Err((format!("{} is empty", path.display()), "write the secret into it".to_owned()))
                    }
                    false => Ok(text),
                })
        }
    };
    match found {
        Ok(text) => {
            let secret = Secret::new(text);
            section.record_hidden(key, shown, secret.clone(), &item.origin);
            Some(secret)
        }
        Err((what, remedy)) => {
            section.problem(key, what, remedy);
            None
        }
    }
}
