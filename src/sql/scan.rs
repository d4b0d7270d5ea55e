//! Scan of a text: possible effects on session state, in a single pass.

use super::{
    Effects, StatefulNames,
    call::{self, CallTracker},
    functions,
    keyword::{Keyword, keyword, may_matter},
    lexer::{Lexer, Token, begins_word, is_space, word_length},
    settings,
};

/// Effects of `text` (one or more statements, in any superset of ASCII) on session state.
///
/// Names of `catalogue` count as [`Effects::FUNCTION`] anywhere. Bodies of `DO` are read as code, and so are bodies of
/// `CREATE FUNCTION` and `CREATE PROCEDURE` if the same text may call the function afterwards. No allocation.
#[must_use]
pub fn effects(text: &[u8], catalogue: &StatefulNames) -> Effects {
    #[cfg(test)]
    super::passes::count(|passes| passes.effects += 1);
    if nothing_matters(text, catalogue) {
        return Effects::NONE;
    }
    let mut scan = Scan::new(catalogue, |_: &[u8]| ());
    scan.client_text(text);
    scan.effects
}

/// Calls `found` with the setting names behind [`Effects::SETTINGS`], in lower case, possibly repeated. `SET TIME ZONE`
/// yields `timezone`, `SET NAMES` yields `client_encoding`, and so on; `session_authorization` also yields `role`.
/// `RESET ALL` and `DISCARD ALL` yield no name.
pub fn find_setting_names(text: &[u8], found: &mut dyn FnMut(&[u8])) {
    Scan::new(&StatefulNames::default(), |name: &[u8]| found(name)).client_text(text);
}

/// True if `text` has no relevant word: most texts need no tokens.
fn nothing_matters(text: &[u8], catalogue: &StatefulNames) -> bool {
    let sets = [&catalogue.stateful, &*catalogue.unproved];
    if sets.iter().any(|set| !set.is_empty() && (set.has_quoted_only() || set.operator_in(text))) {
        return false;
    }
    let has_names = !catalogue.is_empty();
    let has_unproved = !catalogue.unproved.is_empty();
    let has_calls = memchr::memchr(b'(', text).is_some();
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        if !begins_word(*first) {
            rest = behind;
            continue;
        }
        let (word, behind) = rest.split_at(word_length(rest));
        let escaped = behind.first() == Some(&b'&') && word.eq_ignore_ascii_case(b"u");
        if may_matter(word)
            || escaped
            || (has_names && catalogue.contains(word))
            || (has_unproved && catalogue.unproved.contains(word))
        {
            return false;
        }
        if has_calls {
            let at = text.len() - rest.len();
            match called(&text[..at], behind) {
                Called::No => {}
                Called::Plainly if call::effects_of_unquoted_call(word, catalogue).is_empty() => {}
                Called::Plainly | Called::Perhaps => return false,
            }
        }
        rest = behind;
    }
    true
}

/// Form of a call, seen without regard to quotes and comments.
enum Called {
    No,
    /// By name alone.
    Plainly,
    /// Name with a schema or in quotes, or behind a comment: decided by the tokens.
    Perhaps,
}

/// `before` and `behind` are the text on both sides of the word.
fn called(before: &[u8], behind: &[u8]) -> Called {
    let (quoted, behind) = match behind {
        [b'"', behind @ ..] => (true, behind),
        _ => (false, behind),
    };
    let spaces = behind.iter().take_while(|byte| is_space(**byte)).count();
    match &behind[spaces..] {
        [b'(', ..] if quoted || before.last() == Some(&b'.') => Called::Perhaps,
        [b'(', ..] => Called::Plainly,
        [b'/', b'*', ..] | [b'-', b'-', ..] => Called::Perhaps,
        _ => Called::No,
    }
}

/// Where a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TextOrigin {
    /// Text of the client.
    Client,
    /// Body of a `DO`, a function or a procedure.
    Body,
}

/// A scan under way.
pub(super) struct Scan<'c, F> {
    pub(super) catalogue: &'c StatefulNames,
    /// Receives setting names.
    pub(super) found: F,
    pub(super) effects: Effects,
    /// Bodies within bodies.
    pub(super) depth: u8,
    /// Bodies of `CREATE FUNCTION` may run before the text is over.
    pub(super) definitions_run: bool,
    /// Facts about earlier statements of the text, which may combine to an effect.
    updates: bool,
    pg_settings: bool,
}

/// Facts about the current statement.
#[derive(Default)]
pub(super) struct ScannedStatement {
    explains: bool,
    with: bool,
    creates: bool,
    declares: bool,
    /// The text constants of the statement are code.
    runs_texts: bool,
    defines: bool,
    /// An `INSERT` or `MERGE` stands directly before.
    inserts: bool,
}

impl ScannedStatement {
    /// True if `INSERT` or `MERGE` behind `before` is the command of the statement, not a name.
    fn may_insert(&self, before: Before) -> bool {
        match before {
            Before::Start => true,
            Before::Parenthesis => self.with || self.explains,
            Before::Other => self.explains || self.creates,
        }
    }
}

/// Token directly before a word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// No token: a statement begins.
    Start,
    /// A parenthesis: `(` or `)`.
    Parenthesis,
    /// Any other token.
    Other,
}

impl<'c, F: FnMut(&[u8])> Scan<'c, F> {
    pub(super) fn new(catalogue: &'c StatefulNames, found: F) -> Self {
        Self {
            catalogue,
            found,
            effects: Effects::NONE,
            depth: 0,
            definitions_run: false,
            updates: false,
            pg_settings: false,
        }
    }

    pub(super) fn client_text(&mut self, text: &[u8]) {
        let (statements, defines) = self.text(text, TextOrigin::Client);
        if defines && statements > 1 {
            self.definitions_run = true;
            self.text(text, TextOrigin::Client);
        }
        if self.updates && self.pg_settings {
            // The view has a rule that calls set_config.
            self.effects |= Effects::SETTINGS_HIDDEN;
        }
        if self.catalogue.stateful.operator_in(text) {
            self.effects |= Effects::FUNCTION;
        }
        if self.catalogue.unproved.operator_in(text) {
            self.effects |= Effects::UNPROVED;
        }
    }

    /// Scans `text`; returns the number of statements, and true if a statement defines a function.
    pub(super) fn text(&mut self, text: &[u8], place: TextOrigin) -> (usize, bool) {
        let has_names = !self.catalogue.is_empty();
        let has_unproved = !self.catalogue.unproved.is_empty();
        let mut calls = CallTracker::new(place);
        let mut lexer = Lexer::new(text);
        let mut before = Before::Start;
        let mut statement = ScannedStatement::default();
        let (mut statements, mut defines) = (0, false);
        while let Some(token) = lexer.next() {
            statements += usize::from(before == Before::Start);
            self.effects |= calls.on_token(token, self.catalogue);
            match token {
                Token::Word(word) => {
                    let start = before;
                    before = Before::Other;
                    if may_matter(word) {
                        before = self.word(word, start, &mut statement, lexer, place);
                        defines |= statement.defines;
                    }
                    if has_names && self.catalogue.contains(word) {
                        self.effects |= Effects::FUNCTION;
                    }
                    if has_unproved && self.catalogue.unproved.contains(word) {
                        self.effects |= Effects::UNPROVED;
                    }
                    // An escaped name could be any.
                    if word.eq_ignore_ascii_case(b"u") && lexer.rest().starts_with(b"&\"") {
                        self.effects |= Effects::ALL;
                    }
                    statement.with |= start == Before::Start && word.eq_ignore_ascii_case(b"with");
                }
                Token::Symbol(b';') => {
                    before = Before::Start;
                    statement = ScannedStatement::default();
                }
                Token::Symbol(b'(' | b')') => before = Before::Parenthesis,
                // The end of a label.
                Token::Symbol(b'>') if place == TextOrigin::Body => before = Before::Start,
                Token::Quoted(name) => {
                    before = Before::Other;
                    self.quoted(name);
                }
                Token::Text { content, plain } => {
                    before = Before::Other;
                    if statement.runs_texts {
                        self.scan_body(content, plain);
                    }
                }
                Token::Parameter | Token::Number | Token::Symbol(_) => before = Before::Other,
            }
        }
        if lexer.has_doubt() {
            self.scan_raw(text);
        }
        (statements, defines)
    }

    /// Handles a word that may be relevant; `ahead` is behind the word.
    pub(super) fn word(
        &mut self,
        word: &[u8],
        before: Before,
        statement: &mut ScannedStatement,
        mut ahead: Lexer<'_>,
        place: TextOrigin,
    ) -> Before {
        let starts = before == Before::Start;
        let Some(keyword) = keyword(word) else { return self.function(word, ahead) };
        statement.declares |= keyword == Keyword::Declare;
        if place == TextOrigin::Body && precedes_statement(keyword) {
            return Before::Start;
        }
        let effects = match keyword {
            Keyword::SetConfig => settings::set_config(ahead, &mut self.found),
            Keyword::PgSettings => {
                self.pg_settings = true;
                Effects::NONE
            }
            // Reserved words, or rarely used as names: the context is not checked.
            Keyword::Create => {
                statement.creates = true;
                Effects::DDL | Effects::TEMPORARY
            }
            Keyword::Function | Keyword::Procedure | Keyword::Routine if statement.creates => {
                statement.defines = true;
                statement.runs_texts |= self.definitions_run || place == TextOrigin::Body;
                Effects::BLOCK
            }
            Keyword::Insert | Keyword::Merge => {
                statement.inserts = statement.may_insert(before);
                return self.add(Effects::SEQUENCE_MOVE);
            }
            Keyword::Into if !statement.inserts => effects_of_into(ahead, place),
            Keyword::Update => {
                self.updates = true;
                Effects::NONE
            }
            Keyword::Default if self.updates => Effects::SEQUENCE_MOVE,
            Keyword::Execute if place == TextOrigin::Body => Effects::ALL,
            Keyword::Execute => Effects::EXECUTE,
            Keyword::Hold if statement.declares || place == TextOrigin::Body => Effects::CURSOR,
            Keyword::Language if statement.runs_texts && !is_readable(ahead.next()) => Effects::ALL,
            Keyword::Explain if starts => {
                statement.explains = true;
                Effects::NONE
            }
            _ if starts => self.statement(keyword, statement, ahead),
            _ => Effects::NONE,
        };
        statement.inserts = false;
        self.add(effects)
    }

    /// Handles a word that is not a keyword: the name of a function, if it is relevant.
    fn function(&mut self, word: &[u8], ahead: Lexer<'_>) -> Before {
        let effects = functions::effects_of(word);
        if effects == Effects::ALL
            && let Some(content) = sole_text(ahead)
        {
            self.scan_body(content, true);
            return Before::Other;
        }
        self.add(effects)
    }

    fn add(&mut self, effects: Effects) -> Before {
        self.effects |= effects;
        Before::Other
    }

    /// Handles a keyword that counts only at the start of a statement.
    fn statement(
        &mut self,
        keyword: Keyword,
        statement: &mut ScannedStatement,
        mut ahead: Lexer<'_>,
    ) -> Effects {
        match keyword {
            Keyword::Set => settings::set(ahead, &mut self.found),
            Keyword::Reset => settings::scan_reset(ahead, &mut self.found),
            Keyword::Listen | Keyword::Unlisten => Effects::LISTEN,
            Keyword::Load => Effects::LOAD,
            Keyword::Prepare => {
                let two_phase = matches!(ahead.next(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(b"transaction"))
                    && matches!(ahead.next(), Some(Token::Text { .. }));
                if two_phase { Effects::NONE } else { Effects::PREPARE }
            }
            Keyword::Deallocate => Effects::PREPARE,
            Keyword::Close => Effects::CURSOR,
            Keyword::Discard => {
                let all =
                    matches!(ahead.next(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(b"all"));
                if all { Effects::DISCARD | Effects::SETTINGS_ALL } else { Effects::DISCARD }
            }
            Keyword::Do => {
                statement.runs_texts = true;
                Effects::BLOCK
            }
            Keyword::Call => Effects::BLOCK,
            Keyword::Alter => Effects::DDL | Effects::SEQUENCE_MOVE,
            Keyword::Drop => Effects::DDL | Effects::DROPS,
            Keyword::Import => Effects::DDL | Effects::TEMPORARY,
            Keyword::Copy => effects_of_copy(ahead),
            _ => Effects::NONE,
        }
    }

    /// An identifier in double quotes.
    fn quoted(&mut self, name: &[u8]) {
        if may_matter(name) {
            self.effects |= match keyword(name) {
                Some(Keyword::SetConfig) => Effects::SETTINGS_HIDDEN,
                Some(Keyword::PgSettings) => {
                    self.pg_settings = true;
                    Effects::NONE
                }
                Some(_) => Effects::NONE,
                None => functions::effects_of(name),
            };
        }
        let unproved = &self.catalogue.unproved;
        if !unproved.is_empty() && (unproved.contains(name) || name.contains(&b'"')) {
            self.effects |= Effects::UNPROVED;
        }
        // A doubled quote would need decoding: such a name counts as a match.
        if !self.catalogue.is_empty() && (self.catalogue.contains(name) || name.contains(&b'"')) {
            self.effects |= Effects::FUNCTION;
        }
    }
}

/// Words that distinguish a temporary table from a variable behind `INTO`.
const TEMPORARY_BEHIND_INTO: [&[u8]; 5] = [b"temp", b"temporary", b"local", b"global", b"table"];

/// True if a statement of a body begins behind the keyword.
const fn precedes_statement(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::Begin | Keyword::Then | Keyword::Else | Keyword::Loop | Keyword::Atomic | Keyword::Declare
    )
}

/// Effects of `INTO` outside an insertion; `ahead` is behind the word.
fn effects_of_into(mut ahead: Lexer<'_>, place: TextOrigin) -> Effects {
    // In a body the word mostly names a variable.
    let names_variable = place == TextOrigin::Body
        && !matches!(ahead.next(), Some(Token::Word(next))
            if TEMPORARY_BEHIND_INTO.iter().any(|word| next.eq_ignore_ascii_case(word)));
    if names_variable { Effects::NONE } else { Effects::TEMPORARY }
}

/// Effects of `COPY`; `ahead` is behind the word. Only `COPY … FROM` fills in defaults. The words of a query are scanned by
/// themselves.
fn effects_of_copy(mut ahead: Lexer<'_>) -> Effects {
    let mut depth = 0_u32;
    while let Some(token) = ahead.next() {
        match token {
            Token::Symbol(b'(') => depth += 1,
            Token::Symbol(b')') => depth = depth.saturating_sub(1),
            Token::Symbol(b';') => break,
            // Both words are reserved.
            Token::Word(word) if depth == 0 && word.eq_ignore_ascii_case(b"to") => return Effects::NONE,
            Token::Word(word) if depth == 0 && word.eq_ignore_ascii_case(b"from") => break,
            _ => {}
        }
    }
    Effects::SEQUENCE_MOVE
}

/// The text constant that is the first argument of a call; `ahead` stands behind the function's name.
fn sole_text(mut ahead: Lexer<'_>) -> Option<&[u8]> {
    let (open, text) = (ahead.next()?, ahead.next()?);
    match (open, text, ahead.next()?) {
        (Token::Symbol(b'('), Token::Text { content, plain: true }, Token::Symbol(b',' | b')'))
            if !ahead.has_doubt() =>
        {
            Some(content)
        }
        _ => None,
    }
}

/// True if bodies in the language are read as code.
fn is_readable(language: Option<Token<'_>>) -> bool {
    let Some(Token::Word(name) | Token::Quoted(name) | Token::Text { content: name, .. }) = language else {
        return false;
    };
    name.eq_ignore_ascii_case(b"plpgsql") || name.eq_ignore_ascii_case(b"sql")
}
