//! Settings of a splitting listener.

use std::{fmt, str::FromStr, time::Duration};

use super::WhenNoReader;
use crate::closed_set::closed_set;

/// Settings of a splitting listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitSettings {
    /// Behavior of reads without a usable read pool. Default: the primary serves.
    pub when_no_reader: WhenNoReader,
    /// Consistency of reads; a session may override the value. Default: a read sees the session's own writes.
    pub consistency: Consistency,
    /// How old a read may be under [`Consistency::Bounded`]. Default 5 s.
    pub max_lag: Duration,
    /// Maximum wait of a read for a fresh node, before the read goes to the primary. Default zero.
    pub freshness_wait: Duration,
    /// Time within which a read pool begins to answer a read, if it does not answer the probe either; then the read runs again
    /// elsewhere. Zero: no limit. Default 5 s.
    pub read_deadline: Duration,
    /// Effect of hints. Default: hints may force the primary.
    pub hints: Hints,
    /// Relations that are read on the primary alone.
    pub primary_only: Vec<RelationName>,
    /// Region of Gatekeeper: read pools in the region are preferred. Default: the writer's region.
    pub local_region: Option<String>,
    /// Read pools of clusters other than the writer's serve, too. Such pools lag by the distance between regions, and
    /// reads that wait for freshness pay the lag. Default: no.
    pub secondary_read_pools: bool,
}

closed_set! {
    /// Consistency of reads.
    #[derive(Default)]
    pub enum Consistency {
        /// A read sees all writes of the session.
        #[default]
        Session = "session",
        /// A read sees all writes older than `max_lag`.
        Bounded = "bounded",
        /// A read may be of any age.
        Eventual = "eventual",
    }
}

closed_set! {
    /// Permitted effect of hints in statements and of the session's `gatekeeper.route`.
    #[derive(Default)]
    pub enum Hints(
        /// True if a hint may send a statement to the primary.
        may_force_primary: bool,
        /// True if a hint may declare an unproved statement a read.
        may_call_a_read: bool,
    ) {
        /// No effect.
        Off = "off" { may_force_primary: false, may_call_a_read: false },
        /// Force the primary.
        #[default]
        Primary = "primary" { may_force_primary: true, may_call_a_read: false },
        /// Force the primary, or declare an unproven statement a read.
        All = "all" { may_force_primary: true, may_call_a_read: true },
    }
}

/// Name of a relation as PostgreSQL stores the name: with a schema, or without for all schemas.
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
            read_deadline: Duration::from_secs(5),
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

    /// Reads a name as SQL does: folds unquoted parts to lower case.
    fn from_str(text: &str) -> Result<Self, RelationNameError> {
        let (first, rest) = parse_part(text)?;
        let Some(rest) = rest.strip_prefix('.') else {
            return if rest.is_empty() {
                Ok(Self { schema: None, name: first })
            } else {
                Err(RelationNameError)
            };
        };
        match parse_part(rest)? {
            (name, "") => Ok(Self { schema: Some(first), name }),
            _ => Err(RelationNameError),
        }
    }
}

/// The first part of a name, and the remaining text.
fn parse_part(text: &str) -> Result<(String, &str), RelationNameError> {
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
            // A doubled quote stands for a quote.
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
