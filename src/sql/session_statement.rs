//! Statements that the session machine handles.

use super::lexer::{Lexer, Token, folded};
use std::borrow::Cow;

/// A text of a single statement in a known form; comments, white space and semicolons around the statement are ignored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionStatement<'a> {
    /// `BEGIN`, `BEGIN WORK` or `BEGIN TRANSACTION`, without modes.
    Begin,
    /// `START TRANSACTION` without modes: like BEGIN, with another command tag.
    StartTransaction,
    /// `COMMIT` or `END`, `WORK` or `TRANSACTION` allowed.
    Commit,
    /// `ROLLBACK` or `ABORT`, `WORK` or `TRANSACTION` allowed.
    Rollback,
    /// `DEALLOCATE [PREPARE] name`.
    Deallocate {
        /// Without quotes, folded.
        name: Cow<'a, [u8]>,
    },
    /// `DEALLOCATE [PREPARE] ALL`.
    DeallocateAll,
    /// `DISCARD ALL`.
    DiscardAll,
    /// `EXECUTE name` or `EXECUTE read_name (…)`.
    Execute {
        /// Without quotes, folded.
        name: Cow<'a, [u8]>,
        /// All that stands behind the name in the text.
        arguments: &'a [u8],
    },
    /// `SET LOCAL …`.
    SetLocal,
    /// `SHOW …`.
    Show,
    /// Any other text.
    Other,
}

/// Parses `text`. A text with two possible readings is [`SessionStatement::Other`]. Allocates only for names with
/// upper-case letters or doubled quotes.
#[must_use]
pub fn session_statement(text: &[u8]) -> SessionStatement<'_> {
    let mut lexer = Lexer::new(text);
    let command = read(&mut lexer).unwrap_or(SessionStatement::Other);
    if lexer.has_doubt() { SessionStatement::Other } else { command }
}

/// Names deallocated by the statements of `text`, in their order, without quotes and folded; empty for a text with two
/// possible readings.
#[must_use]
pub fn deallocated_names(text: &[u8]) -> Vec<Box<[u8]>> {
    let mut lexer = Lexer::new(text);
    let mut names = Vec::new();
    let mut is_start = true;
    while let Some(token) = lexer.next() {
        let is_first = std::mem::replace(&mut is_start, token == Token::Symbol(b';'));
        if is_first
            && word_of(token).is_some_and(|word| word.eq_ignore_ascii_case(b"deallocate"))
            && let Some(SessionStatement::Deallocate { name }) = deallocation(&mut lexer)
        {
            names.push(name.into());
        }
    }
    if lexer.has_doubt() { Vec::new() } else { names }
}

fn read<'a>(lexer: &mut Lexer<'a>) -> Option<SessionStatement<'a>> {
    let mut first = lexer.next()?;
    while first == Token::Symbol(b';') {
        first = lexer.next()?;
    }
    let Token::Word(word) = first else { return None };
    // Most texts end here.
    if !matches!(word.len(), 3..=8 | 10) || !b"aAbBcCdDeErRsS".contains(word.first()?) {
        return None;
    }
    let is = |known: &str| word.eq_ignore_ascii_case(known.as_bytes());
    if is("begin") {
        return end_of_block(lexer, SessionStatement::Begin);
    }
    if is("start") {
        let transaction = word_of(lexer.next()?)?.eq_ignore_ascii_case(b"transaction");
        return if transaction { end_of_text(lexer, SessionStatement::StartTransaction) } else { None };
    }
    if is("commit") || is("end") {
        return end_of_block(lexer, SessionStatement::Commit);
    }
    if is("rollback") || is("abort") {
        return end_of_block(lexer, SessionStatement::Rollback);
    }
    if is("set") {
        let local = word_of(lexer.next()?)?.eq_ignore_ascii_case(b"local");
        return if local { end_of_rest(lexer, SessionStatement::SetLocal) } else { None };
    }
    if is("show") {
        return end_of_rest(lexer, SessionStatement::Show);
    }
    if is("discard") {
        let all = word_of(lexer.next()?)?.eq_ignore_ascii_case(b"all");
        return if all { end_of_text(lexer, SessionStatement::DiscardAll) } else { None };
    }
    if is("deallocate") {
        let command = deallocation(lexer)?;
        return end_of_text(lexer, command);
    }
    if is("execute") {
        return execution(lexer);
    }
    None
}

/// Statement behind `EXECUTE`.
fn execution<'a>(lexer: &mut Lexer<'a>) -> Option<SessionStatement<'a>> {
    let name = read_name(lexer.next()?)?;
    let command = SessionStatement::Execute { name, arguments: lexer.rest() };
    match lexer.next() {
        None => Some(command),
        Some(Token::Symbol(b';')) => end_of_text(lexer, command),
        Some(Token::Symbol(b'(')) => end_of_rest(lexer, command),
        Some(_) => None,
    }
}

/// Statement behind `DEALLOCATE`, up to the name or `ALL`.
fn deallocation<'a>(lexer: &mut Lexer<'a>) -> Option<SessionStatement<'a>> {
    let mut target = lexer.next()?;
    let mut behind = *lexer;
    // A statement may be called "prepare".
    if word_of(target).is_some_and(|word| word.eq_ignore_ascii_case(b"prepare"))
        && matches!(behind.next(), Some(Token::Word(_) | Token::Quoted(_)))
    {
        target = lexer.next()?;
    }
    if word_of(target).is_some_and(|word| word.eq_ignore_ascii_case(b"all")) {
        return Some(SessionStatement::DeallocateAll);
    }
    Some(SessionStatement::Deallocate { name: read_name(target)? })
}

/// Returns `command` if only `WORK` or `TRANSACTION` follows.
fn end_of_block<'a>(lexer: &mut Lexer<'a>, command: SessionStatement<'a>) -> Option<SessionStatement<'a>> {
    let mut behind = *lexer;
    if let Some(Token::Word(word)) = behind.next()
        && (word.eq_ignore_ascii_case(b"work") || word.eq_ignore_ascii_case(b"transaction"))
    {
        *lexer = behind;
    }
    end_of_text(lexer, command)
}

/// Returns `command` if no further statement follows.
fn end_of_rest<'a>(lexer: &mut Lexer<'a>, command: SessionStatement<'a>) -> Option<SessionStatement<'a>> {
    while let Some(token) = lexer.next() {
        if token == Token::Symbol(b';') {
            expect_end(lexer)?;
        }
    }
    Some(command)
}

/// Returns `command` at the end of the text.
fn end_of_text<'a>(lexer: &mut Lexer<'a>, command: SessionStatement<'a>) -> Option<SessionStatement<'a>> {
    expect_end(lexer).map(|()| command)
}

/// Checks that only semicolons follow.
fn expect_end(lexer: &mut Lexer<'_>) -> Option<()> {
    loop {
        match lexer.next() {
            None => return Some(()),
            Some(Token::Symbol(b';')) => {}
            Some(_) => return None,
        }
    }
}

fn word_of(token: Token<'_>) -> Option<&[u8]> {
    match token {
        Token::Word(word) => Some(word),
        _ => None,
    }
}

/// The name that an identifier means.
fn read_name(token: Token<'_>) -> Option<Cow<'_, [u8]>> {
    match token {
        Token::Word(word) => folded(word).map(Cow::Owned),
        Token::Quoted(name) if name.len() > super::name_set::NAME_LENGTH || name.is_empty() => None,
        Token::Quoted(name) if name.contains(&b'"') => {
            let mut undoubled = Vec::with_capacity(name.len());
            let mut bytes = name.iter();
            while let Some(byte) = bytes.next() {
                undoubled.push(*byte);
                if *byte == b'"' {
                    bytes.next();
                }
            }
            Some(Cow::Owned(undoubled))
        }
        Token::Quoted(name) => Some(Cow::Borrowed(name)),
        _ => None,
    }
}
