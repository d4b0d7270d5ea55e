//! Tokens of a command.

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CommandWord<'a> {
    /// As written.
    Plain(&'a str),
    /// Without its quotes.
    Quoted(String),
    /// `;`, `=` or `,`.
    Mark(char),
}

/// An unterminated quote or comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unterminated;

/// Splits `text` into words. White space and comments (`--` to the end of the line, `/* */` within one another) stand between
/// them; `'…'` and `"…"` are one word, in which a doubled quote stands for itself.
pub(super) fn split_words(text: &str) -> Result<Vec<CommandWord<'_>>, Unterminated> {
    let mut left = text;
    let mut found = Vec::new();
    loop {
        left = left.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let Some(first) = left.chars().next() else { return Ok(found) };
        if let Some(comment) = left.strip_prefix("--") {
            left = comment.split_once(['\n', '\r']).map_or("", |(_, behind)| behind);
        } else if left.starts_with("/*") {
            left = behind_comment(left)?;
        } else if let '\'' | '"' = first {
            let (word, behind) = take_quoted(left, first)?;
            found.push(CommandWord::Quoted(word));
            left = behind;
        } else if let ';' | '=' | ',' = first {
            found.push(CommandWord::Mark(first));
            left = left.get(1..).unwrap_or_default();
        } else {
            let end =
                left.find(|c: char| c.is_ascii_whitespace() || matches!(c, ';' | '=' | ',' | '\'' | '"'));
            let ends = [end, left.find("--"), left.find("/*")];
            let (word, behind) = left.split_at(ends.into_iter().flatten().min().unwrap_or(left.len()));
            found.push(CommandWord::Plain(word));
            left = behind;
        }
    }
}

/// What follows the comment that `text` begins with.
fn behind_comment(text: &str) -> Result<&str, Unterminated> {
    let mut depth = 0_usize;
    let mut left = text;
    loop {
        if let Some(inside) = left.strip_prefix("/*") {
            depth += 1;
            left = inside;
        } else if let Some(outside) = left.strip_prefix("*/") {
            depth -= 1;
            left = outside;
            if depth == 0 {
                return Ok(left);
            }
        } else {
            let mut characters = left.chars();
            characters.next().ok_or(Unterminated)?;
            left = characters.as_str();
        }
    }
}

/// The word in quotes that `text` begins with, and what follows it.
fn take_quoted(text: &str, quote: char) -> Result<(String, &str), Unterminated> {
    let mut word = String::new();
    let mut characters = text.chars();
    characters.next();
    loop {
        match characters.next().ok_or(Unterminated)? {
            c if c != quote => word.push(c),
            _ => match characters.as_str().strip_prefix(quote) {
                Some(behind) => {
                    word.push(quote);
                    characters = behind.chars();
                }
                None => return Ok((word, characters.as_str())),
            },
        }
    }
}

// === impl CommandWord ===

impl CommandWord<'_> {
    /// Its text.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Quoted(text) => text,
            Self::Mark(';') => ";",
            Self::Mark('=') => "=",
            Self::Mark(_) => ",",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_comments_stand_between_words() {
        let text = "-- a\r/* b /* c */ d */SHOW/**/pools \"a \"\"b\"\" ;\"\t'it''s'=é;--";
        let found = split_words(text).unwrap();
        let found: Vec<_> = found.iter().map(CommandWord::text).collect();
        assert_eq!(found, ["SHOW", "pools", "a \"b\" ;", "it's", "=", "é", ";"]);
        assert_eq!(split_words(" -- nothing"), Ok(Vec::new()));
    }

    #[test]
    fn a_quote_or_comment_without_an_end_is_a_mistake() {
        for text in ["'a", "\"a\"\"", "/* /* */", "/*"] {
            assert_eq!(split_words(text), Err(Unterminated), "{text}");
        }
    }
}
