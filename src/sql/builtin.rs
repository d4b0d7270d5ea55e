//! Built-in functions, relations, operators and types of `pg_catalog`, from releases 15 and 18.
//!
//! The lists are `pg_proc`, `pg_class`, `pg_operator` and `pg_type` of new databases of both releases. The most
//! volatile overload is listed, with the argument counts of differing overloads. [`overrides`] has the functions
//! that volatility misjudges.

mod overrides;

#[cfg(test)]
pub(super) use overrides::override_names;

use super::{ClassifyReason, name_set::NAME_LENGTH, schema_info::Found};

/// `name volatility`, or `name volatility arguments,…` where other numbers of arguments are no worse than stable.
const FUNCTIONS: &str = include_str!("builtin/functions.txt");
/// `name d` or `information_schema.name d`: data like any other. `s`: a server's own state. `q`: sequences.
const RELATIONS: &str = include_str!("builtin/relations.txt");
const OPERATORS: &str = include_str!("builtin/operators.txt");
const TYPES: &str = include_str!("builtin/types.txt");

/// Effect of a call of the built-in function `name`.
pub(super) fn function(name: &str, arguments: Option<usize>) -> Found {
    let Some(line) = find_row(FUNCTIONS, name) else { return Found::Nothing };
    if let Some(found) = overrides::function(name) {
        return found;
    }
    let mut columns = line.split(' ');
    let Some("v") = columns.next() else { return Found::Safe };
    let volatile = match (columns.next(), arguments) {
        (Some(counts), Some(count)) => counts.split(',').any(|known| known.parse() == Ok(count)),
        _ => true,
    };
    if volatile { Found::Unsafe(ClassifyReason::VolatileFunction) } else { Found::Safe }
}

/// True if a call of PostgreSQL's function `name` (any case) leaves no session state unless [`super::functions`] lists
/// `name`; `None` if PostgreSQL has no function `name`.
pub(super) fn leaves_nothing(name: &[u8]) -> Option<bool> {
    let mut folded = [0; NAME_LENGTH];
    let folded = folded.get_mut(..name.len())?;
    folded.copy_from_slice(name);
    folded.make_ascii_lowercase();
    is_function(folded)
        .then(|| !RUN_THEIR_ARGUMENTS.iter().any(|prefix| folded.starts_with(prefix.as_bytes())))
}

/// Functions executing a query, or reading a relation, named by an argument: a view may call anything.
const RUN_THEIR_ARGUMENTS: [&str; 9] = [
    "query_to_xml",
    "table_to_xml",
    "schema_to_xml",
    "database_to_xml",
    "cursor_to_xml",
    "ts_stat",
    "ts_rewrite",
    "pg_input_",
    "binary_upgrade_",
];

fn is_function(name: &[u8]) -> bool {
    let known = |start: u32| {
        let line = FUNCTIONS.as_bytes().get(start as usize..).unwrap_or_default();
        &line[..line.iter().position(|byte| *byte == b' ').unwrap_or(line.len())]
    };
    FUNCTION_LINES.binary_search_by(|start| known(*start).cmp(name)).is_ok()
}

/// Where each line of [`FUNCTIONS`] begins, in bytes.
const FUNCTION_LINES: [u32; count_lines(FUNCTIONS.as_bytes())] = {
    let text = FUNCTIONS.as_bytes();
    let mut starts = [0; count_lines(FUNCTIONS.as_bytes())];
    let (mut at, mut line) = (0, 1);
    while at < text.len() {
        if text[at] == b'\n' && line < starts.len() {
            starts[line] = at as u32 + 1;
            line += 1;
        }
        at += 1;
    }
    starts
};

const fn count_lines(text: &[u8]) -> usize {
    let (mut at, mut lines) = (0, 0);
    while at < text.len() {
        lines += (text[at] == b'\n') as usize;
        at += 1;
    }
    lines
}

/// Effect of reading the built-in relation `name`.
pub(super) fn relation(schema: Option<&str>, name: &str) -> Found {
    let kind = match schema {
        None | Some("pg_catalog") => find_row(RELATIONS, name),
        Some("information_schema") => find_row(RELATIONS, &format!("information_schema.{name}")),
        // Every table's values too long for a row: data.
        Some("pg_toast") => Some("d"),
        Some(_) => None,
    };
    match kind {
        Some("d") => Found::Safe,
        Some("q") => Found::Unsafe(ClassifyReason::Sequence),
        Some(_) => Found::Unsafe(ClassifyReason::ServerState),
        // Extensions use the prefix, too, and a newer server has more such relations.
        None if name.starts_with("pg_stat_") || name.starts_with("pg_statio_") => {
            Found::Unsafe(ClassifyReason::ServerState)
        }
        None => Found::Nothing,
    }
}

/// Effect of the built-in operator `name`: all operators are stable.
pub(super) fn operator(name: &str) -> Found {
    if find_row(OPERATORS, name).is_some() { Found::Safe } else { Found::Nothing }
}

/// Effect of a cast to the built-in type `name`: all functions of types are stable.
pub(super) fn kind(name: &str) -> Found {
    if find_row(TYPES, name).is_some() { Found::Safe } else { Found::Nothing }
}

/// The rest of the line of `name`, in a table sorted by bytes.
fn find_row(table: &'static str, name: &str) -> Option<&'static str> {
    let (mut low, mut high) = (0, table.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        let from = table[..middle].rfind('\n').map_or(0, |end| end + 1);
        let to = table[from..].find('\n').map_or(table.len(), |length| from + length);
        let (known, columns) = table[from..to].split_once(' ').unwrap_or((&table[from..to], ""));
        match known.as_bytes().cmp(name.as_bytes()) {
            std::cmp::Ordering::Equal => return Some(columns),
            std::cmp::Ordering::Less => low = to + 1,
            std::cmp::Ordering::Greater => high = from,
        }
    }
    None
}
