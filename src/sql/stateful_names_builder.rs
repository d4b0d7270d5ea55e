//! How a [`StatefulNames`] is read from a server.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::FixedState;

use super::{
    Effects, StatefulNames,
    lexer::{Lexer, Token},
    name_set::{NameSet, is_operator},
    scan::{Scan, TextOrigin},
    schema_info_builder::UnknownRow,
};

/// Reads the rows of [`super::STATEFUL_SQL`] and finds names without proof of leaving no state: functions with
/// unreadable or unproved source, and every direct or indirect user of an unproved name.
pub struct StatefulNamesBuilder {
    stateful: Vec<String>,
    functions: NameSet,
    /// Used names, each with the names of the users.
    used_by: HashMap<Box<str>, Vec<Box<str>>, FixedState>,
    /// Names of non-functions, possibly unproved.
    named: HashSet<Box<str>, FixedState>,
    /// Operators on PostgreSQL's own types: no further name in a text indicates the use.
    operators: HashSet<Box<str>, FixedState>,
    unproved: Vec<Box<str>>,
    custom_settings: Vec<Arc<[u8]>>,
    /// Catalog for the scan of a source: all functions by name.
    known: Option<StatefulNames>,
}

/// Extensions with all functions known to leave nothing visible to a later statement: data types, operators, index
/// methods and pure computation. Functions with own state are in [`super::functions`].
const HARMLESS_EXTENSIONS: [&str; 34] = [
    "address_standardizer",
    "alloydb_scann",
    "bloom",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "dict_xsyn",
    "earthdistance",
    "fuzzystrmatch",
    "hll",
    "hstore",
    "intarray",
    "ip4r",
    "isn",
    "lo",
    "ltree",
    "pageinspect",
    "pg_bigm",
    "pg_buffercache",
    "pg_stat_statements",
    "pg_trgm",
    "pgcrypto",
    "pgrowlocks",
    "pgstattuple",
    "postgis",
    "prefix",
    "seg",
    "sslinfo",
    "tsm_system_rows",
    "unaccent",
    "uuid-ossp",
    "vector",
];
/// Limit on settings from function sources in a state check.
const CUSTOM_SETTINGS_MAX: usize = 64;

// === impl StatefulNamesBuilder ===

impl StatefulNamesBuilder {
    /// A builder without rows.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stateful: Vec::new(),
            functions: NameSet::default(),
            used_by: HashMap::default(),
            named: HashSet::default(),
            operators: HashSet::default(),
            unproved: Vec::new(),
            custom_settings: Vec::new(),
            known: None,
        }
    }

    /// Adds a row, in text format, in UTF-8.
    ///
    /// # Errors
    /// [`UnknownRow`]: the row had no effect.
    pub fn row(&mut self, columns: &[&[u8]]) -> Result<(), UnknownRow> {
        let [kind, name, other, opaque] = columns else { return Err(UnknownRow) };
        let name = String::from_utf8_lossy(name);
        let other = String::from_utf8_lossy(other);
        match *kind {
            b"s" => {
                self.named.insert((*name).into());
                self.stateful.push(name.into());
            }
            b"f" => {
                self.functions.insert(&name);
                if *opaque == b"t" && !HARMLESS_EXTENSIONS.contains(&&*other) {
                    self.unproved.push(name.into());
                }
            }
            b"o" => {
                self.operators.insert(name.into());
            }
            b"u" => {
                self.named.insert((*name).into());
                self.leads(&name, &other);
            }
            b"v" => {
                self.named.insert((*name).into());
                self.unproved.push(name.into());
            }
            b"x" => self.source(&name, other.as_bytes()),
            _ => return Err(UnknownRow),
        }
        Ok(())
    }

    /// Builds the result, with the names of `always` added.
    #[must_use]
    pub fn build(mut self, always: &StatefulNames) -> StatefulNames {
        let mut catalogue = always.clone();
        for name in &self.stateful {
            catalogue.insert(name);
        }
        // Users of invisible state are treated like users of unreadable functions.
        self.unproved.extend(self.stateful.iter().map(|name| (**name).into()));
        let mut found: HashSet<Box<str>, FixedState> = HashSet::default();
        while let Some(name) = self.unproved.pop() {
            if !found.contains(&name) {
                self.unproved.extend(self.used_by.get(&name).into_iter().flatten().cloned());
                found.insert(name);
            }
        }
        let mut unproved = NameSet::default();
        for name in &found {
            if !is_operator(name.as_bytes()) || self.operators.contains(name) {
                unproved.insert(name);
            }
        }
        self.custom_settings.sort_unstable();
        self.custom_settings.dedup();
        self.custom_settings.truncate(CUSTOM_SETTINGS_MAX);
        catalogue.unproved = Arc::new(unproved);
        catalogue.functions = Arc::new(self.functions);
        catalogue.custom_settings = self.custom_settings.into();
        catalogue
    }

    fn leads(&mut self, name: &str, used: &str) {
        self.used_by.entry(used.into()).or_default().push(name.into());
    }

    /// Reads the source of a function; all names are known by now.
    fn source(&mut self, name: &str, source: &[u8]) {
        let functions = &self.functions;
        let known = self.known.get_or_insert_with(|| StatefulNames {
            functions: Arc::new(functions.clone()),
            ..StatefulNames::default()
        });
        let custom_settings = &mut self.custom_settings;
        let mut scan = Scan::new(known, |setting: &[u8]| {
            if setting.contains(&b'.') {
                custom_settings.push(setting.into());
            }
        });
        scan.text(source, TextOrigin::Body);
        let effects = scan.effects;
        if !effects.without(Effects::SEQUENCE_MOVE).is_empty() {
            self.unproved.push(name.into());
            return;
        }
        // Words of the source may be names found unproved later.
        let mut lexer = Lexer::new(source);
        let mut words: HashSet<String, FixedState> = HashSet::default();
        while let Some(token) = lexer.next() {
            if let Token::Word(word) | Token::Quoted(word) = token {
                let folded = String::from_utf8_lossy(word).to_lowercase();
                if self.functions.contains(word) || self.named.contains(&*folded) {
                    words.insert(folded);
                }
            }
        }
        for word in words {
            self.leads(name, &word);
        }
    }
}

impl Default for StatefulNamesBuilder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::effects, *};

    fn build(rows: &[[&str; 4]]) -> StatefulNames {
        let mut builder = StatefulNamesBuilder::new();
        for row in rows {
            builder.row(&row.map(str::as_bytes)).expect("a row");
        }
        builder.build(&StatefulNames::default())
    }

    fn is_proved(text: &str, catalogue: &StatefulNames) -> bool {
        !effects(text.as_bytes(), catalogue).intersects(Effects::UNPROVED)
    }

    #[test]
    fn a_function_is_proved_by_its_source() {
        let catalogue = build(&[
            ["f", "plain", "", ""],
            ["f", "calls_plain", "", ""],
            ["f", "calls_unknown", "", ""],
            ["f", "calls_opaque", "", ""],
            ["f", "opaque", "", "t"],
            ["f", "digest", "pgcrypto", "t"],
            ["f", "makes_table", "", ""],
            ["x", "plain", "BEGIN NEW.changed = now(); RETURN NEW; END", ""],
            ["x", "calls_plain", "BEGIN PERFORM plain(); RETURN lower($1); END", ""],
            ["x", "calls_unknown", "SELECT no_such(1)", ""],
            ["x", "calls_opaque", "SELECT s.opaque(1)", ""],
            ["x", "makes_table", "BEGIN CREATE TABLE orders (a int); END", ""],
        ]);
        for text in ["SELECT plain()", "SELECT calls_plain('A')", "SELECT digest('a', 'sha256')"] {
            assert!(is_proved(text, &catalogue), "{text}");
        }
        for text in [
            "SELECT calls_unknown()",
            "SELECT s.calls_opaque(1)",
            "SELECT makes_table()",
            "SELECT t.opaque FROM t",
        ] {
            assert!(!is_proved(text, &catalogue), "{text}");
            let effects = effects(text.as_bytes(), &catalogue);
            assert!(!effects.intersects(Effects::UNKNOWN), "{text}");
        }
    }

    #[test]
    fn whatever_leads_to_an_unproved_name_is_unproved() {
        let catalogue = build(&[
            ["f", "opaque", "", "t"],
            ["o", "@@@", "", ""],
            ["u", "audited", "opaque", ""],
            ["u", "parent", "audited", ""],
            ["u", "report", "parent", ""],
            ["u", "@@@", "opaque", ""],
            ["u", "=", "opaque", ""],
            ["v", "my_settings", "", ""],
        ]);
        for text in [
            "INSERT INTO audited VALUES (1)",
            "DELETE FROM \"parent\"",
            "SELECT * FROM Report",
            "SELECT 1 @@@ 2",
            "UPDATE my_settings SET setting = 'x' WHERE name = 'y'",
        ] {
            assert!(!is_proved(text, &catalogue), "{text}");
        }
        for text in ["INSERT INTO plain VALUES (1)", "SELECT 1 WHERE 1 = 1"] {
            assert!(is_proved(text, &catalogue), "{text}");
        }
    }

    #[test]
    fn custom_settings_of_sources_are_known() {
        let catalogue = build(&[
            ["f", "a", "", ""],
            [
                "x",
                "a",
                "BEGIN PERFORM set_config('app.tenant', $1, false); SET work_mem = '1MB'; SET App.User = 'x'; END",
                "",
            ],
        ]);
        let settings = catalogue.custom_settings();
        let names: Vec<&[u8]> = settings.iter().map(|name| &**name).collect();
        assert_eq!(names, [&b"app.tenant"[..], b"app.user"]);
    }
}
