//! The lexer against the server's own scanner.

use pg_query::protobuf::Token as Theirs;
use proptest::{prelude::*, sample::select};

use super::super::lexer::{Lexer, Token};

/// Relevant properties of a token: positions of words, names, literals and semicolons.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    Word(String),
    Quoted,
    Text,
    Number,
    Parameter,
    Semicolon,
    Parenthesis(bool),
}

/// The server's marks; `None` if the server's scanner rejects the text.
fn theirs(text: &str) -> Option<Vec<Mark>> {
    let scanned = pg_query::scan(text).ok()?;
    let mut marks = Vec::new();
    for token in &scanned.tokens {
        let from = usize::try_from(token.start).ok()?;
        let written = text.get(from..usize::try_from(token.end).ok()?)?;
        let kind = token.token();
        let mark = match kind {
            Theirs::CComment | Theirs::SqlComment => continue,
            Theirs::Sconst | Theirs::Usconst | Theirs::Bconst | Theirs::Xconst => {
                // Prefixes except E are words for the lexer.
                let prefix = written.split(['\'', '&', '$']).next().unwrap_or_default();
                if !prefix.is_empty() && !prefix.eq_ignore_ascii_case("e") {
                    marks.push(Mark::Word(prefix.to_owned()));
                }
                Mark::Text
            }
            Theirs::Iconst | Theirs::Fconst => Mark::Number,
            Theirs::Param => Mark::Parameter,
            Theirs::Ascii59 => Mark::Semicolon,
            Theirs::Ascii40 => Mark::Parenthesis(true),
            Theirs::Ascii41 => Mark::Parenthesis(false),
            Theirs::Uident => {
                marks.push(Mark::Word(written[..1].to_owned()));
                Mark::Quoted
            }
            Theirs::Ident if written.starts_with('"') => Mark::Quoted,
            _ if written.starts_with(|first: char| {
                first.is_ascii_alphabetic() || first == '_' || !first.is_ascii()
            }) =>
            {
                Mark::Word(written.to_owned())
            }
            _ => continue,
        };
        marks.push(mark);
    }
    Some(marks)
}

/// The lexer's marks; `None` if the lexer reports doubt.
fn ours(text: &str) -> Option<Vec<Mark>> {
    let mut lexer = Lexer::new(text.as_bytes());
    let mut marks = Vec::new();
    while let Some(token) = lexer.next() {
        marks.push(match token {
            Token::Word(word) => Mark::Word(String::from_utf8_lossy(word).into_owned()),
            Token::Quoted(_) => Mark::Quoted,
            Token::Text { .. } => Mark::Text,
            Token::Number => Mark::Number,
            Token::Parameter => Mark::Parameter,
            Token::Symbol(b';') => Mark::Semicolon,
            Token::Symbol(b'(') => Mark::Parenthesis(true),
            Token::Symbol(b')') => Mark::Parenthesis(false),
            Token::Symbol(_) => continue,
        });
    }
    (!lexer.has_doubt()).then_some(marks)
}

/// Both readings must agree. A string continued on the next line is a single token for the server.
fn agrees(text: &str) -> Result<(), String> {
    let (Some(mut theirs), Some(mut ours)) = (theirs(text), ours(text)) else { return Ok(()) };
    for marks in [&mut theirs, &mut ours] {
        marks.dedup_by(|one, other| *one == Mark::Text && *other == Mark::Text);
    }
    if theirs == ours { Ok(()) } else { Err(format!("{text:?}\n theirs {theirs:?}\n ours   {ours:?}")) }
}

#[test]
fn the_lexer_reads_as_the_server_does() {
    for text in [
        "SELECT 1 --\r; DELETE FROM t",
        "SELECT 1 /* /* */ ; */ ; SELECT 2",
        "SELECT a$b$ FROM x; DELETE FROM t; SELECT 'x$b$'",
        "SELECT $a$ $b$ $a$, $1, $$x$$",
        "SELECT U&'x', U&\"y\", E'a''b', B'01', X'ff', N'x'",
        "SELECT a->>'b', a @> b, a #>> '{c}' FROM t WHERE b <@ c;",
        "SELECT 'a'\n  'b'",
    ] {
        assert_eq!(agrees(text), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_lexer_reads_as_the_server_does_whatever_is_put_together(
        parts in prop::collection::vec(select(PARTS), 1..12),
    ) {
        let text = parts.concat();
        prop_assert_eq!(agrees(&text), Ok(()));
    }
}

/// No digits before letters: how numbers end is not the lexer's matter.
const PARTS: &[&str] = &[
    "a", "B", "_", "$", "$$", "$a$", "$1 ", "1 ", "'", "''", "\"", "\"\"", "--", "/*", "*/", "/", "*", "-",
    "\n", "\r", " ", "\t", ";", "(", ")", ",", ".", "E'", "e'", "U&'", "u&\"", "N'", "X'", "B'", "\\", "\\'",
    "ä", "DELETE ", "SELECT ", "::", "=", "<", "@", "#", "&", "|", "`", "?", "!", "~", "^", "%", "+", "[",
    "]", ":", "x\u{b}", "\u{c}", "\u{a0}",
];
