//! Objects of a database besides PostgreSQL's own.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{ClassifyReason, builtin};

/// Functions, relations, operators and types of a database by schema and name, each with the reason to stay on the
/// primary, if any.
///
/// Built from the rows of [`super::schema_info_sql`] by a [`super::SchemaInfoBuilder`]; meant to be shared in an `Arc` and
/// swapped whole. Lookups are conservative: an unqualified name is the worst that any schema has to offer.
#[derive(Clone, Default)]
pub struct SchemaInfo {
    epoch: u64,
    assumes: bool,
    pub(super) functions: Names,
    pub(super) relations: Names,
    pub(super) operators: Names,
    pub(super) types: Names,
}

/// Objects of a kind by name without schema.
pub(super) type Names = HashMap<Box<str>, Vec<KnownObject>, FixedState>;

/// A function, relation, operator or type.
#[derive(Clone)]
pub(super) struct KnownObject {
    pub(super) schema: Box<str>,
    /// Reason to keep a text on the primary, if any.
    pub(super) reason: Option<ClassifyReason>,
    /// Minimum and maximum number of arguments.
    pub(super) arguments: (u16, u16),
    /// `(row).name` may call the function.
    pub(super) of_row: bool,
}

/// Meaning of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Unknown.
    Nothing,
    /// The same on every node.
    Safe,
    /// Keeps the text on the primary.
    Unsafe(ClassifyReason),
}

// === impl SchemaInfo ===

impl SchemaInfo {
    /// Knows PostgreSQL's own objects only: a text with any other name stays on the primary.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// For classification without a database: unknown relations and types count as ordinary, permanent objects without
    /// code. Unknown functions and operators do not.
    #[must_use]
    pub fn assumed() -> Self {
        Self { assumes: true, ..Self::default() }
    }

    pub(super) fn with_epoch(self, epoch: u64) -> Self {
        Self { epoch, ..self }
    }

    /// Epoch of the catalog read; part of the cache key.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Number of known functions, relations, operators and types.
    #[must_use]
    pub fn len(&self) -> usize {
        [&self.functions, &self.relations, &self.operators, &self.types]
            .into_iter()
            .flat_map(HashMap::values)
            .map(Vec::len)
            .sum()
    }

    /// True if no object of the database is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Effect of a call of `name` with a number of arguments; `None` for an unknown number.
    pub(super) fn function(&self, schema: Option<&str>, name: &str, arguments: Option<usize>) -> Found {
        let own = match schema {
            None | Some("pg_catalog") => builtin::function(name, arguments),
            Some("information_schema") if name.starts_with("_pg_") => Found::Safe,
            Some(_) => Found::Nothing,
        };
        let fits = |object: &KnownObject| {
            let (least, most) = object.arguments;
            arguments.is_none_or(|count| (usize::from(least)..=usize::from(most)).contains(&count))
        };
        let found = own.worse_of(find_object(&self.functions, schema, name, fits));
        // A call may be another way to write a cast.
        if found == Found::Nothing && arguments == Some(1) { self.known_kind(schema, name) } else { found }
    }

    /// Effect of reading the relation `name`.
    pub(super) fn relation(&self, schema: Option<&str>, name: &str) -> Found {
        let found =
            builtin::relation(schema, name).worse_of(find_object(&self.relations, schema, name, |_| true));
        if found == Found::Nothing { self.unknown_name() } else { found }
    }

    /// Effect of the operator `name`, for any operands.
    pub(super) fn operator(&self, schema: Option<&str>, name: &str) -> Found {
        let own = match schema {
            None | Some("pg_catalog") => builtin::operator(name),
            Some(_) => Found::Nothing,
        };
        own.worse_of(find_object(&self.operators, schema, name, |_| true))
    }

    /// Effect of a cast to the type `name`.
    pub(super) fn kind(&self, schema: Option<&str>, name: &str) -> Found {
        let found = self.known_kind(schema, name);
        if found == Found::Nothing { self.unknown_name() } else { found }
    }

    fn known_kind(&self, schema: Option<&str>, name: &str) -> Found {
        let own = match schema {
            None | Some("pg_catalog" | "information_schema") => builtin::kind(name),
            Some(_) => Found::Nothing,
        };
        // A relation's row type is a type, too; a cast to a row type reads no relation.
        let row = match find_object(&self.relations, schema, name, |_| true) {
            Found::Nothing => Found::Nothing,
            _ => Found::Safe,
        };
        own.worse_of(row).worse_of(find_object(&self.types, schema, name, |_| true))
    }

    /// Reason for `(row).name`, which may be a call.
    pub(super) fn attribute(&self, name: &str) -> Option<ClassifyReason> {
        let objects = self.functions.get(name)?;
        objects.iter().filter(|object| object.of_row).filter_map(|object| object.reason).max()
    }

    fn unknown_name(&self) -> Found {
        if self.assumes { Found::Safe } else { Found::Nothing }
    }
}

/// The worst of the objects called `name` that `schema`, or any schema, has to offer and that fit.
fn find_object(
    names: &Names,
    schema: Option<&str>,
    name: &str,
    fits: impl Fn(&KnownObject) -> bool,
) -> Found {
    let Some(objects) = names.get(name) else { return Found::Nothing };
    objects
        .iter()
        .filter(|object| schema.is_none_or(|schema| *object.schema == *schema) && fits(object))
        .map(|object| object.reason.map_or(Found::Safe, Found::Unsafe))
        .fold(Found::Nothing, Found::worse_of)
}

// === impl Found ===

impl Found {
    /// The worse of two possible meanings.
    pub(super) fn worse_of(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unsafe(one), Self::Unsafe(another)) => Self::Unsafe(one.max(another)),
            (Self::Unsafe(reason), _) | (_, Self::Unsafe(reason)) => Self::Unsafe(reason),
            (Self::Safe, _) | (_, Self::Safe) => Self::Safe,
            (Self::Nothing, Self::Nothing) => Self::Nothing,
        }
    }

    /// Reason to stay on the primary, if any.
    pub(super) fn reason(self, unknown: ClassifyReason) -> Option<ClassifyReason> {
        match self {
            Self::Nothing => Some(unknown),
            Self::Safe => None,
            Self::Unsafe(reason) => Some(reason),
        }
    }
}
