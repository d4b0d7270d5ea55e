//! Startup settings as interpreted by a server, cached by the client's settings.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use foldhash::fast::RandomState;

use crate::{
    backend::QueryError, frontend::acquire::catalog, handshake::Parameters, pool::Lease,
    session::SettingValues,
};

/// Startup settings as interpreted by the server.
#[derive(Default)]
pub(crate) struct StartupValues {
    /// Initial settings of the session.
    pub(crate) settings: SettingValues,
    /// All startup settings as reported by a server, by lower-case name.
    pub(crate) reported: Vec<ReportedValue>,
}

/// A name and a value.
type ReportedValue = (Box<[u8]>, Box<[u8]>);

/// Lower-case names, and values, in client order.
pub(crate) type SaidSettings = Vec<(String, Vec<u8>)>;

/// Startup settings as interpreted by servers, by the client's settings.
#[derive(Default)]
pub(crate) struct KnownValues {
    by_said: HashMap<Arc<SaidSettings>, KnownValue, RandomState>,
    /// The oldest first.
    said: VecDeque<Arc<SaidSettings>>,
}

struct KnownValue {
    /// Server parameters at the time of the query: the interpretation of some settings depends on further settings.
    login_parameters: Arc<Parameters>,
    /// `None` if only a login can set the values.
    values: Option<Arc<StartupValues>>,
}

/// Limit on cached entries: usually an entry for each tenant. An entry takes up to 20 kB, like a startup packet.
const MAX_CACHED_ENTRIES: usize = 1024;

// === impl KnownValues ===

impl KnownValues {
    /// Cached interpretation of `said` by a server with login parameters `login_parameters`, if a server was asked.
    pub(crate) fn get(
        &self,
        said: &SaidSettings,
        login_parameters: &Parameters,
    ) -> Option<Option<Arc<StartupValues>>> {
        let known = self.by_said.get(said).filter(|known| *known.login_parameters == *login_parameters)?;
        Some(known.values.clone())
    }

    pub(crate) fn insert(
        &mut self,
        said: &SaidSettings,
        login_parameters: &Arc<Parameters>,
        values: Option<Arc<StartupValues>>,
    ) {
        let known = KnownValue { login_parameters: Arc::clone(login_parameters), values };
        if let Some(before) = self.by_said.get_mut(said) {
            *before = known;
            return;
        }
        if self.said.len() >= MAX_CACHED_ENTRIES
            && let Some(oldest) = self.said.pop_front()
        {
            self.by_said.remove(&oldest);
        }
        let said = Arc::new(said.clone());
        self.said.push_back(Arc::clone(&said));
        self.by_said.insert(said, known);
    }
}

/// Asks the server for the interpretation of a client's startup settings; `None` if only a login can set the values.
/// The query is rolled back: the backend's own settings stay. Asynchronous messages are appended to `unasked`.
///
/// Cancel safety: dropped half-way, the backend is of no more use.
///
/// # Errors
/// [`QueryError`]; unless the server refused, the backend is of no more use.
pub(crate) async fn query_values(
    lease: &mut Lease,
    said: &SaidSettings,
    unasked: &mut Vec<u8>,
) -> Result<Option<StartupValues>, QueryError> {
    if let Some(tracked_state) = &mut lease.tracked_state {
        tracked_state.queried();
    }
    let mut values = StartupValues::default();
    let mut settable = true;
    let each = |row: &[u8]| {
        let Some([name, context, setting, shown]) = catalog::row_columns(row) else { return Ok(()) };
        let (setting, shown) = (decode_hex(setting)?, decode_hex(shown)?);
        // A server does not list settings without a defining module.
        settable &= match context {
            b"user" | b"superuser" => true,
            b"" => name.contains(&b'.'),
            _ => false,
        };
        values.settings = values.settings.with(name, Some(&setting));
        values.reported.push((name.into(), shown.into()));
        Ok(())
    };
    catalog::run_script(&mut lease.stream, &build_query(said), each, unasked).await?;
    Ok(settable.then_some(values))
}

/// Builds a query in plain letters for any encoding of the backend's session. Starts with `RESET`, because the
/// backend's settings are not login settings.
fn build_query(said: &SaidSettings) -> String {
    let mut text = "BEGIN READ ONLY; RESET SESSION AUTHORIZATION; RESET ALL; ".to_owned();
    for (name, value) in said {
        text += &format!(
            "SELECT pg_catalog.set_config('{name}', pg_catalog.convert_from(pg_catalog.decode('{}', 'hex'), \
             pg_catalog.getdatabaseencoding()), false) IS NULL; ",
            encode_hex(value)
        );
    }
    let names: Vec<_> = said.iter().map(|(name, _)| format!("('{name}')")).collect();
    let encoded = |value: &str| {
        format!("pg_catalog.encode(pg_catalog.convert_to({value}, pg_catalog.getdatabaseencoding()), 'hex')")
    };
    let shown = "pg_catalog.current_setting(n.name, true)";
    text + &format!(
        "SELECT n.name, s.context, {}, {} FROM (VALUES {}) n (name) LEFT JOIN pg_catalog.pg_settings s \
         ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) n.name; ROLLBACK",
        encoded(&format!("COALESCE(s.setting, {shown})")),
        encoded(shown),
        names.join(", ")
    )
}

fn encode_hex(value: &[u8]) -> String {
    value.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode_hex(text: &[u8]) -> Result<Vec<u8>, QueryError> {
    let pairs = text.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    pairs.collect::<Option<_>>().ok_or(QueryError::Unexpected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_too_rarely_is_forgotten() {
        let mut known = KnownValues::default();
        let login_parameters = Arc::new(Parameters::default());
        let said = |number: usize| vec![("app.tenant".to_owned(), number.to_string().into_bytes())];
        for number in 0..=MAX_CACHED_ENTRIES {
            known.insert(&said(number), &login_parameters, Some(Arc::default()));
        }
        assert!(known.get(&said(0), &login_parameters).is_none());
        assert!(known.get(&said(1), &login_parameters).is_some());
        assert_eq!(known.by_said.len(), MAX_CACHED_ENTRIES);
    }

    #[test]
    fn another_login_may_make_something_else_of_it() {
        let mut known = KnownValues::default();
        let said = vec![("datestyle".to_owned(), b"German".to_vec())];
        let mut other = Parameters::default();
        other.report(b"DateStyle", b"ISO, DMY");
        known.insert(&said, &Arc::default(), None);
        assert!(known.get(&said, &Parameters::default()).is_some_and(|values| values.is_none()));
        assert!(known.get(&said, &other).is_none());
    }

    #[test]
    fn values_are_asked_for_in_plain_letters() {
        let said = vec![("app.x".to_owned(), "'; DROP TABLE é".as_bytes().to_vec())];
        assert!(build_query(&said).is_ascii() && !build_query(&said).contains("DROP"));
        assert_eq!(decode_hex(encode_hex("é'".as_bytes()).as_bytes()).unwrap(), "é'".as_bytes());
        assert!(decode_hex(b"0g").is_err());
    }
}
