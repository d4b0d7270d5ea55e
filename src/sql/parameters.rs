//! How many parameters a prepared statement takes.

use super::lexer::{Lexer, Token};

/// First words of statements whose parameters belong to the statement itself. Parameters within a utility statement may
/// belong to a statement inside.
const QUERIES: [&str; 8] = ["select", "insert", "update", "delete", "merge", "with", "values", "table"];

/// The highest parameter number in `text`, 0 without parameters; `None` if only a server can determine the number.
#[must_use]
pub fn highest_parameter(text: &[u8]) -> Option<usize> {
    let mut lexer = Lexer::new(text);
    let mut highest = None;
    let mut is_query = None;
    while let Some(token) = lexer.next() {
        is_query.get_or_insert_with(|| match token {
            Token::Word(word) => QUERIES.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes())),
            token => token == Token::Symbol(b'('),
        });
        if token == Token::Parameter {
            let digits = text.get(lexer.began() + 1..lexer.at())?;
            let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
            highest = highest.max(Some(number));
        }
    }
    if lexer.has_doubt() || (highest.is_some() && is_query != Some(true)) {
        return None;
    }
    Some(highest.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::highest_parameter;

    #[test]
    fn parameters_count_outside_of_literals_and_comments() {
        for (text, highest) in [
            ("SELECT 1", Some(0)),
            ("SELECT $1, $3 + $2", Some(3)),
            ("(SELECT '$1', $$ $2 $$, \"$3\") -- $4", Some(0)),
            ("INSERT INTO t VALUES ($12::int)", Some(12)),
            ("", Some(0)),
            ("ROLLBACK", Some(0)),
            ("PREPARE s AS SELECT $1", None),
            ("SELECT $99999999999999999999", None),
            (r"SELECT '\', $1 --'", None),
        ] {
            assert_eq!(highest_parameter(text.as_bytes()), highest, "{text}");
        }
    }
}
