//! What is known of one database besides PostgreSQL's own objects.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{ClassifyReason, built_in};

/// What is known of one database: its functions, relations, operators and types, by schema and name, and on which ground
/// the use of each must stay on the primary.
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

/// Objects of one kind by their names without schema.
pub(super) type Names = HashMap<Box<str>, Vec<KnownObject>, FixedState>;

/// One function, relation, operator or type.
#[derive(Clone)]
pub(super) struct KnownObject {
    pub(super) schema: Box<str>,
    /// Why its use keeps a text on the primary; `None` if it does not.
    pub(super) reason: Option<ClassifyReason>,
    /// With how many arguments it can be called.
    pub(super) arguments: (u16, u16),
    /// `(row).name` may call it.
    pub(super) of_row: bool,
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Nothing that is known.
    Nothing,
    /// Something that every node has alike.
    Safe,
    /// Something that keeps its text on the primary.
    Unsafe(ClassifyReason),
}

// === impl SchemaInfo ===

impl SchemaInfo {
    /// Nothing is known but what each PostgreSQL has: every other name is unknown, and a text that uses it stays on the
    /// primary.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// For answers without a database: relations and types that PostgreSQL does not have are taken for ordinary ones,
    /// permanent and without code of their own. Functions and operators are not.
    #[must_use]
    pub fn assumed() -> Self {
        Self { assumes: true, ..Self::default() }
    }

    pub(super) fn with_epoch(self, epoch: u64) -> Self {
        Self { epoch, ..self }
    }

    /// Which edition of the catalogues it was read from; what is remembered of texts is remembered by it.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many functions, relations, operators and types it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        [&self.functions, &self.relations, &self.operators, &self.types]
            .into_iter()
            .flat_map(HashMap::values)
            .map(Vec::len)
            .sum()
    }

    /// Whether it knows nothing of the database.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a call of `name` does with so many arguments; `None` where they cannot be counted.
    pub(super) fn function(&self, schema: Option<&str>, name: &str, arguments: Option<usize>) -> Found {
        let own = match schema {
            None | Some("pg_catalog") => built_in::function(name, arguments),
            Some("information_schema") if name.starts_with("_pg_") => Found::Safe,
            Some(_) => Found::Nothing,
        };
        let fits = |object: &KnownObject| {
            let (least, most) = object.arguments;
            arguments.is_none_or(|count| (usize::from(least)..=usize::from(most)).contains(&count))
        };
        let found = own.and(look(&self.functions, schema, name, fits));
        // A call may be another way to write a cast.
        if found == Found::Nothing && arguments == Some(1) { self.known_kind(schema, name) } else { found }
    }

    /// What reading the relation `name` does.
    pub(super) fn relation(&self, schema: Option<&str>, name: &str) -> Found {
        let found = built_in::relation(schema, name).and(look(&self.relations, schema, name, |_| true));
        if found == Found::Nothing { self.unknown() } else { found }
    }

    /// What the operator `name` does, whatever it is applied to.
    pub(super) fn operator(&self, schema: Option<&str>, name: &str) -> Found {
        let own = match schema {
            None | Some("pg_catalog") => built_in::operator(name),
            Some(_) => Found::Nothing,
        };
        own.and(look(&self.operators, schema, name, |_| true))
    }

    /// What a cast to the type `name` does.
    pub(super) fn kind(&self, schema: Option<&str>, name: &str) -> Found {
        let found = self.known_kind(schema, name);
        if found == Found::Nothing { self.unknown() } else { found }
    }

    fn known_kind(&self, schema: Option<&str>, name: &str) -> Found {
        let own = match schema {
            None | Some("pg_catalog" | "information_schema") => built_in::kind(name),
            Some(_) => Found::Nothing,
        };
        // The rows of a relation are a type too; a cast to it reads no relation.
        let row = match look(&self.relations, schema, name, |_| true) {
            Found::Nothing => Found::Nothing,
            _ => Found::Safe,
        };
        own.and(row).and(look(&self.types, schema, name, |_| true))
    }

    /// The ground on which `(row).name` stays on the primary: it may be a call.
    pub(super) fn attribute(&self, name: &str) -> Option<ClassifyReason> {
        let objects = self.functions.get(name)?;
        objects.iter().filter(|object| object.of_row).filter_map(|object| object.reason).max()
    }

    fn unknown(&self) -> Found {
        if self.assumes { Found::Safe } else { Found::Nothing }
    }
}

/// The worst of the objects called `name` that `schema`, or any schema, has to offer and that fit.
fn look(names: &Names, schema: Option<&str>, name: &str, fits: impl Fn(&KnownObject) -> bool) -> Found {
    let Some(objects) = names.get(name) else { return Found::Nothing };
    objects
        .iter()
        .filter(|object| schema.is_none_or(|schema| *object.schema == *schema) && fits(object))
        .map(|object| object.reason.map_or(Found::Safe, Found::Unsafe))
        .fold(Found::Nothing, Found::and)
}

// === impl Found ===

impl Found {
    /// Both may be meant: the worse one.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unsafe(one), Self::Unsafe(another)) => Self::Unsafe(one.max(another)),
            (Self::Unsafe(reason), _) | (_, Self::Unsafe(reason)) => Self::Unsafe(reason),
            (Self::Safe, _) | (_, Self::Safe) => Self::Safe,
            (Self::Nothing, Self::Nothing) => Self::Nothing,
        }
    }

    /// The ground on which its use stays on the primary, if it does.
    pub(super) fn reason(self, unknown: ClassifyReason) -> Option<ClassifyReason> {
        match self {
            Self::Nothing => Some(unknown),
            Self::Safe => None,
            Self::Unsafe(reason) => Some(reason),
        }
    }
}
