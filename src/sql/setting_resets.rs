//! Settings led back by a text to the session's initial values.
//!
//! A session's backend may have begun with different values. Behind a statement leading settings back, the session
//! sends the session's own initial values: too late for statements in between.

use super::{
    Effects, StatefulNames, effects,
    lexer::{Lexer, Token},
};

/// A setting led back, or all settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingReset {
    /// Lower-case name; `None` for all settings reset by `RESET ALL`.
    pub name: Option<Box<[u8]>>,
    /// Until the end of the transaction: `SET LOCAL`.
    pub local: bool,
}

/// Settings led back by a text, and the position in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingResets {
    /// No relevant setting.
    No,
    /// Settings led back by the last statements: only `SET` and `RESET` follow in the text.
    AtEnd(Vec<SettingReset>),
    /// Further statements follow in the text, or the text does not name the settings led back.
    Midway,
}

/// Finds the settings led back by `text`, among settings accepted by `matters`. `DISCARD ALL`, always alone, counts as
/// none.
#[must_use]
pub fn find_setting_resets(text: &[u8], matters: impl Fn(&[u8]) -> bool) -> SettingResets {
    let mut all: Vec<SettingReset> = Vec::new();
    let mut set_since: Vec<Box<[u8]>> = Vec::new();
    let mut midway = false;
    let mut lexer = Lexer::new(text);
    loop {
        let begin = lexer.at();
        let mut first = None;
        loop {
            match lexer.next() {
                None | Some(Token::Symbol(b';')) => break,
                Some(token) => first = first.or(Some(token)),
            }
        }
        let end = lexer.began();
        let statement = text.get(begin..end).unwrap_or_default();
        match first {
            None => {}
            Some(Token::Word(word)) if is_one_of(word, &["set", "reset"]) => match read(statement) {
                Some((led, true)) if led.name.as_deref().is_none_or(&matters) => all.push(led),
                Some((SettingReset { name: Some(name), .. }, false)) => set_since.push(name),
                _ => {}
            },
            Some(Token::Word(word)) if word.eq_ignore_ascii_case(b"discard") => {}
            Some(_) => {
                midway |= !all.is_empty() || is_hidden(statement);
            }
        }
        if lexer.rest().is_empty() {
            break;
        }
    }
    // The restored initial value would overwrite a later `SET`.
    let overwrites = |led: &SettingReset| match &led.name {
        Some(name) => set_since.contains(name),
        None => !set_since.is_empty(),
    };
    if midway || (lexer.has_doubt() && is_hidden(text)) || all.iter().any(overwrites) {
        return SettingResets::Midway;
    }
    if all.is_empty() { SettingResets::No } else { SettingResets::AtEnd(all) }
}

/// True if a statement besides `SET` and `RESET` leads a setting back by explicit words: `DO` with `RESET`,
/// `set_config` with NULL. A statement without the words runs; a state check finds settings led back nevertheless.
fn is_hidden(statement: &[u8]) -> bool {
    effects(statement, &StatefulNames::default()).intersects(Effects::SETTINGS_ALL | Effects::SETTINGS_LOCAL)
        && has_words_that_lead_back(statement)
}

fn has_words_that_lead_back(statement: &[u8]) -> bool {
    let is_part_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut last: &[u8] = b"";
    let (mut calls_set_config, mut has_null) = (false, false);
    for word in statement.split(|byte| !is_part_of_word(byte)).filter(|word| !word.is_empty()) {
        if word.eq_ignore_ascii_case(b"reset")
            || (word.eq_ignore_ascii_case(b"default") && last.eq_ignore_ascii_case(b"to"))
        {
            return true;
        }
        calls_set_config |= word.eq_ignore_ascii_case(b"set_config");
        has_null |= word.eq_ignore_ascii_case(b"null");
        last = word;
    }
    calls_set_config && has_null
}

/// Reads the setting of a `SET` or `RESET`; true if the setting is led back.
fn read(statement: &[u8]) -> Option<(SettingReset, bool)> {
    let mut ahead = Lexer::new(statement);
    let reset = is(ahead.next(), "reset");
    let mut first = ahead.next()?;
    let mut local = false;
    let keyword = |token: Token<'_>, word, ahead: Lexer<'_>| is(Some(token), word) && !is_assigned(ahead);
    if !reset && keyword(first, "local", ahead) {
        local = true;
        first = ahead.next()?;
    } else if !reset && keyword(first, "session", ahead) {
        first = ahead.next()?;
    }
    let led =
        |name: Option<&[u8]>| SettingReset { name: name.map(|name| name.to_ascii_lowercase().into()), local };
    if reset && is(Some(first), "all") && ahead.next().is_none() {
        return Some((led(None), true));
    }
    if is(Some(first), "time") && is(peek(ahead), "zone") {
        ahead.next();
        let value = ahead.next();
        return Some((led(Some(b"timezone")), reset || is(value, "default") || is(value, "local")));
    }
    if !reset && keyword(first, "names", ahead) {
        let value = ahead.next();
        return Some((led(Some(b"client_encoding")), value.is_none() || is(value, "default")));
    }
    if !reset && keyword(first, "schema", ahead) {
        return Some((led(Some(b"search_path")), false));
    }
    let mut name = word(first)?.to_vec();
    while peek(ahead) == Some(Token::Symbol(b'.')) {
        ahead.next();
        name.push(b'.');
        name.extend_from_slice(word(ahead.next()?)?);
    }
    if reset {
        return Some((led(Some(&name)), true));
    }
    if !is_assigned(ahead) {
        // `SET TRANSACTION`, `SET ROLE` and the like.
        return None;
    }
    ahead.next();
    let value = ahead.next();
    let to_default = is(value, "default") && ahead.next().is_none();
    Some((led(Some(&name)), to_default))
}

/// True if `TO` or `=` follows.
fn is_assigned(ahead: Lexer<'_>) -> bool {
    peek(ahead) == Some(Token::Symbol(b'=')) || is(peek(ahead), "to")
}

fn word(token: Token<'_>) -> Option<&[u8]> {
    match token {
        Token::Word(word) | Token::Quoted(word) => Some(word),
        _ => None,
    }
}

fn is(token: Option<Token<'_>>, word: &str) -> bool {
    matches!(token, Some(Token::Word(found)) if found.eq_ignore_ascii_case(word.as_bytes()))
}

fn is_one_of(word: &[u8], words: &[&str]) -> bool {
    words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

fn peek(mut ahead: Lexer<'_>) -> Option<Token<'_>> {
    ahead.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        let matters = |name: &[u8]| [&b"search_path"[..], b"timezone", b"app.tenant"].contains(&name);
        match find_setting_resets(text.as_bytes(), matters) {
            SettingResets::No => "no".to_owned(),
            SettingResets::Midway => "midway".to_owned(),
            SettingResets::AtEnd(all) => {
                let shown = all.iter().map(|led| {
                    let name = led.name.as_deref().map_or("ALL".into(), String::from_utf8_lossy);
                    if led.local { format!("local {name}") } else { name.into_owned() }
                });
                shown.collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn statements_that_lead_back_are_told_from_others() {
        for (text, expected) in [
            ("RESET search_path", "search_path"),
            (" reset \"Search_Path\" ;; ", "search_path"),
            ("RESET app . tenant", "app.tenant"),
            ("RESET work_mem", "no"),
            ("RESET ROLE", "no"),
            ("RESET SESSION AUTHORIZATION", "no"),
            ("RESET ALL", "ALL"),
            ("RESET TIME ZONE", "timezone"),
            ("SET TIME ZONE LOCAL", "timezone"),
            ("SET TIME ZONE 'UTC'", "no"),
            ("SET timezone TO DEFAULT", "timezone"),
            ("SET SESSION timezone = DEFAULT", "timezone"),
            ("SET LOCAL timezone = DEFAULT", "local timezone"),
            ("SET search_path = 'default'", "no"),
            ("SET search_path = \"default\"", "no"),
            ("SET search_path = local, none", "no"),
            ("SET search_path TO default -- as before", "search_path"),
            ("SET SCHEMA 'default'", "no"),
            ("SET ROLE NONE", "no"),
            ("DISCARD ALL", "no"),
            ("SELECT 'RESET ALL'", "no"),
            ("RESET timezone; RESET search_path; SET work_mem = 1", "timezone search_path"),
            ("SELECT 1; RESET ALL", "ALL"),
            ("RESET ALL; SELECT 1", "midway"),
            ("RESET ROLE; SELECT 1", "no"),
            ("RESET timezone; SET timezone = 'UTC'", "midway"),
            ("RESET ALL; SET work_mem = 1", "midway"),
            ("DO $$ BEGIN RESET timezone; END $$", "midway"),
            ("DO $$ BEGIN PERFORM 1; END $$", "no"),
            ("DO $$ BEGIN EXECUTE 'SET timezone TO DEFAULT'; END $$", "midway"),
            ("DO $$ BEGIN UPDATE t SET a = DEFAULT; END $$", "no"),
            ("SELECT U&'d\\0061ta' UESCAPE '!'", "no"),
            ("SELECT set_config('timezone', NULL, false)", "midway"),
            ("SELECT set_config('timezone', null, true)", "midway"),
            ("SELECT set_config('timezone', 'UTC', true)", "no"),
            ("BEGIN; SET LOCAL timezone TO DEFAULT; SELECT 1", "midway"),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }
}
