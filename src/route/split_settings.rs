//! What an operator may say about a listener that splits reads off.

use std::{fmt, str::FromStr, time::Duration};

use super::WhenNoReader;
use crate::closed_set::closed_set;

/// What an operator may say about a listener that splits reads off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitSettings {
    /// What becomes of a read when no read pool can serve. Default: the primary serves it.
    pub when_no_reader: WhenNoReader,
    /// What a read has to see; a session may say otherwise for itself. Default: its own session's writes.
    pub consistency: Consistency,
    /// How old a read may be under [`Consistency::Bounded`]. Default 5 s.
    pub max_lag: Duration,
    /// How long a read waits for a node that is not fresh enough, before it goes to the primary. Default zero.
    pub freshness_wait: Duration,
    /// What a hint may do. Default: force the primary.
    pub hints: Hints,
    /// Relations that are read on the primary alone.
    pub primary_only: Vec<RelationName>,
    /// The region that this Gatekeeper runs in, whose read pools come first. Default: the writer's.
    pub local_region: Option<String>,
    /// Whether the read pools of other clusters than the writer's serve too: they lag by the distance between regions, and
    /// each read that has to wait for them pays it. Default: no.
    pub secondary_read_pools: bool,
}

closed_set! {
    /// What a read has to see.
    #[derive(Default)]
    pub enum Consistency {
        /// All that its own session has written.
        #[default]
        Session = "session",
        /// All that anybody had written `max_lag` ago.
        Bounded = "bounded",
        /// Whatever there is.
        Eventual = "eventual",
    }
}

closed_set! {
    /// What a hint in a statement, or the session's `gatekeeper.route`, may do.
    #[derive(Default)]
    pub enum Hints(
        /// True if a hint may send a statement to the primary.
        may_force_primary: bool,
        /// True if a hint may declare an unproved statement a read.
        may_call_a_read: bool,
    ) {
        /// Nothing.
        Off = "off" { may_force_primary: false, may_call_a_read: false },
        /// Force the primary.
        #[default]
        Primary = "primary" { may_force_primary: true, may_call_a_read: false },
        /// Force the primary, or call a statement a read that is not proved to be one.
        All = "all" { may_force_primary: true, may_call_a_read: true },
    }
}

/// A relation's name as PostgreSQL keeps it: with its schema, or without for all schemas.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RelationName {
    /// The schema; `None` for any.
    pub schema: Option<String>,
    /// The relation.
    pub name: String,
}

/// Why a text names no relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a relation is named as in `schema.table` or `table`, each part in double quotes where SQL wants them"
)]
pub struct RelationNameError;

impl Default for SplitSettings {
    fn default() -> Self {
        Self {
            when_no_reader: WhenNoReader::default(),
            consistency: Consistency::default(),
            max_lag: Duration::from_secs(5),
            freshness_wait: Duration::ZERO,
            hints: Hints::default(),
            primary_only: Vec::new(),
            local_region: None,
            secondary_read_pools: false,
        }
    }
}

// === impl Consistency ===

impl FromStr for Consistency {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|level| level.as_str() == text).ok_or(())
    }
}

// === impl RelationName ===

impl FromStr for RelationName {
    type Err = RelationNameError;

    /// Reads it as SQL does: what is not in double quotes is folded to lower case.
    fn from_str(text: &str) -> Result<Self, RelationNameError> {
        let (first, rest) = part(text)?;
        let Some(rest) = rest.strip_prefix('.') else {
            return if rest.is_empty() {
                Ok(Self { schema: None, name: first })
            } else {
                Err(RelationNameError)
            };
        };
        match part(rest)? {
            (name, "") => Ok(Self { schema: Some(first), name }),
            _ => Err(RelationNameError),
        }
    }
}

/// The first part of a name, and what comes behind it.
fn part(text: &str) -> Result<(String, &str), RelationNameError> {
    let mut name = String::new();
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
        let (plain, rest) = text.split_at(end);
        let begins_well = plain.starts_with(|c: char| c.is_alphabetic() || c == '_');
        return if begins_well { Ok((plain.to_lowercase(), rest)) } else { Err(RelationNameError) };
    };
    loop {
        let (before, after) = rest.split_once('"').ok_or(RelationNameError)?;
        name.push_str(before);
        match after.strip_prefix('"') {
            // Doubled, it stands for itself.
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None if name.is_empty() => return Err(RelationNameError),
            None => return Ok((name, after)),
        }
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |part: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$';
            let bare =
                part.chars().all(plain) && part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
            if bare { part.to_owned() } else { format!("\"{}\"", part.replace('"', "\"\"")) }
        };
        if let Some(schema) = &self.schema {
            write!(f, "{}.", quoted(schema))?;
        }
        f.write_str(&quoted(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_is_named_as_in_sql() {
        for (written, schema, name, shown) in [
            ("orders", None, "orders", "orders"),
            ("Shop.Orders", Some("shop"), "orders", "shop.orders"),
            ("\"Shop\".\"a\"\"b.c\"", Some("Shop"), "a\"b.c", "\"Shop\".\"a\"\"b.c\""),
            ("public.\"select\"", Some("public"), "select", "public.select"),
        ] {
            let read: RelationName = written.parse().unwrap();
            assert_eq!((read.schema.as_deref(), read.name.as_str()), (schema, name), "{written}");
            assert_eq!(read.to_string(), shown);
            assert_eq!(shown.parse::<RelationName>().unwrap(), read, "{written}: read again");
        }
        for wrong in ["", ".", "a.", ".a", "a.b.c", "a b", "1a", "\"a", "\"\"", "a\"b\"", "a;b"] {
            assert_eq!(wrong.parse::<RelationName>(), Err(RelationNameError), "{wrong}");
        }
    }
}
