//! Commands of a text that begin or end a transaction.

use std::ops::{BitOr, BitOrAssign};

use super::lexer::{Lexer, Token};

/// Transaction commands that a text may contain: an over-approximation, but for [`Self::ROLLBACK`] and
/// [`Self::PLAIN_COMMIT`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TransactionCommands(u8);

impl TransactionCommands {
    /// The text neither begins nor ends a transaction.
    pub const NONE: Self = Self(0);
    /// `BEGIN`, `START TRANSACTION`.
    pub const BEGIN: Self = Self(1);
    /// Commands whose effects outlive a lost connection: `COMMIT`, `END`, `PREPARE TRANSACTION`, `COMMIT PREPARED`,
    /// `ROLLBACK PREPARED`.
    pub const COMMIT: Self = Self(1 << 1);
    /// The text is a `ROLLBACK` or `ABORT` of the whole transaction, without `AND CHAIN`, and nothing else.
    pub const ROLLBACK: Self = Self(1 << 2);
    /// The text is a `COMMIT` or `END` without `AND CHAIN`, and nothing else.
    pub const PLAIN_COMMIT: Self = Self(1 << 1 | 1 << 3);
    /// A text with two possible readings, or not known whole.
    pub const UNKNOWN: Self = Self(1 | 1 << 1);

    /// True if the sets have a common command.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for TransactionCommands {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for TransactionCommands {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// The commands among the statements of `text` that begin or end a transaction. Most texts end with their first word.
#[must_use]
pub fn transaction_commands(text: &[u8]) -> TransactionCommands {
    #[cfg(test)]
    super::passes::count(|passes| passes.transaction_commands += 1);
    let mut lexer = Lexer::new(text);
    let (mut found, mut statements) = (TransactionCommands::NONE, 0);
    loop {
        match lexer.next() {
            Some(Token::Word(word)) => {
                found |= command(word, lexer);
                statements += 1;
            }
            Some(Token::Symbol(b';')) => continue,
            Some(_) => statements += 1,
            None => break,
        }
        if !may_have_more(lexer.rest())
            || !std::iter::from_fn(|| lexer.next()).any(|token| token == Token::Symbol(b';'))
        {
            break;
        }
    }
    if lexer.has_doubt() {
        TransactionCommands::UNKNOWN
    } else if statements > 1 && found.intersects(TransactionCommands::ROLLBACK | TransactionCommands::COMMIT)
    {
        // Statements behind the end of the transaction may take effect.
        TransactionCommands::UNKNOWN
    } else {
        found
    }
}

/// True if another statement may stand behind a semicolon in `rest`. In every reading of a text, a first semicolon with
/// nothing but white space behind it ends the only statement.
fn may_have_more(rest: &[u8]) -> bool {
    let behind = memchr::memchr(b';', rest).and_then(|at| rest.get(at + 1..)).unwrap_or_default();
    behind.iter().any(|byte| *byte != b';' && !byte.is_ascii_whitespace())
}

/// The command that begins with `word`; `lexer` stands behind the word.
fn command(word: &[u8], lexer: Lexer<'_>) -> TransactionCommands {
    let is = |known: &str| word.eq_ignore_ascii_case(known.as_bytes());
    if is("begin") || is("start") {
        TransactionCommands::BEGIN
    } else if is("commit") || is("end") {
        if ends_plainly(lexer) { TransactionCommands::PLAIN_COMMIT } else { TransactionCommands::COMMIT }
    } else if is("prepare") {
        TransactionCommands::COMMIT
    } else if is("rollback") || is("abort") {
        rollback(lexer)
    } else {
        TransactionCommands::NONE
    }
}

/// True if nothing but `WORK` or `TRANSACTION` follows in the statement.
fn ends_plainly(mut lexer: Lexer<'_>) -> bool {
    let is_noise =
        |word: &[u8]| [&b"work"[..], b"transaction"].iter().any(|noise| word.eq_ignore_ascii_case(noise));
    match lexer.next() {
        Some(Token::Word(word)) if is_noise(word) => matches!(lexer.next(), None | Some(Token::Symbol(b';'))),
        behind => matches!(behind, None | Some(Token::Symbol(b';'))),
    }
}

/// The command behind `ROLLBACK` or `ABORT`.
fn rollback(mut lexer: Lexer<'_>) -> TransactionCommands {
    let mut next = || match lexer.next() {
        Some(Token::Word(word)) => Some(word.to_ascii_lowercase()),
        _ => None,
    };
    let mut word = next();
    if matches!(word.as_deref(), Some(b"work" | b"transaction")) {
        word = next();
    }
    match word.as_deref() {
        None => TransactionCommands::ROLLBACK,
        Some(b"prepared") => TransactionCommands::COMMIT,
        // `TO savepoint`, `AND CHAIN`, or an error.
        Some(_) => TransactionCommands::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_each_statement() {
        use TransactionCommands as T;
        for (text, wanted) in [
            ("", T::NONE),
            ("SELECT 1", T::NONE),
            ("INSERT INTO t VALUES ('; COMMIT')", T::NONE),
            ("SELECT CASE WHEN true THEN 1 END; SELECT 2", T::NONE),
            ("begin", T::BEGIN),
            ("/* why */ Start Transaction isolation level serializable", T::BEGIN),
            ("COMMIT", T::PLAIN_COMMIT),
            (" ;; end work", T::PLAIN_COMMIT),
            ("COMMIT AND CHAIN", T::COMMIT),
            ("COMMIT PREPARED 'a'", T::COMMIT),
            ("PREPARE TRANSACTION 'a'", T::COMMIT),
            ("PREPARE p AS SELECT 1", T::COMMIT),
            ("ROLLBACK PREPARED 'a'", T::COMMIT),
            ("ROLLBACK", T::ROLLBACK),
            ("abort transaction;", T::ROLLBACK),
            ("ROLLBACK TO s", T::NONE),
            ("ROLLBACK WORK TO SAVEPOINT s", T::NONE),
            ("ROLLBACK AND CHAIN", T::NONE),
            ("ROLLBACK AND NO CHAIN", T::NONE),
            ("BEGIN; INSERT INTO t VALUES (1); COMMIT", T::UNKNOWN),
            ("SELECT ';'; COMMIT", T::UNKNOWN),
            ("SELECT 1; -- COMMIT;\nSELECT 2", T::NONE),
            ("SELECT 1; ROLLBACK", T::UNKNOWN),
            ("ROLLBACK; SELECT 1", T::UNKNOWN),
            ("COMMIT; SELECT 1", T::UNKNOWN),
            ("COMMIT;;", T::PLAIN_COMMIT),
            ("ROLLBACK;;", T::ROLLBACK),
            ("(SELECT 1)", T::NONE),
            ("SELECT '\\'; COMMIT; --'", T::UNKNOWN),
        ] {
            assert_eq!(transaction_commands(text.as_bytes()), wanted, "{text}");
        }
    }
}
