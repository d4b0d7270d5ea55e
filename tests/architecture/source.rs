//! One source file as the checker sees the file: product code only, as words and punctuation, without comments and
//! strings.
//!
//! Refuses to know Rust's grammar beyond that: paths, `use` trees, inline modules and `#[cfg(test)]`.

use std::path::Path;

/// A word (identifier, keyword, number, lifetime) or one sign, `::` being one; with its line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A file below `src`.
#[derive(Debug)]
pub(crate) struct Source {
    /// Path, as reported in a fault.
    pub(crate) path: String,
    /// Module at the crate's root; `main` and `lib` for those two files.
    pub(crate) module: String,
    /// Number of modules above: 1 for `src/live.rs` and `src/wire/mod.rs`, 0 for `src/lib.rs`.
    pub(crate) depth: usize,
    /// Tokens outside test code; empty for a file of tests.
    pub(crate) tokens: Vec<Token>,
}

impl Source {
    /// `inside` is the path below `src`.
    pub(crate) fn new(inside: &Path, text: &str) -> Self {
        let parts: Vec<&str> = inside.iter().map(|part| part.to_str().expect("paths are UTF-8")).collect();
        let module = parts[0].trim_end_matches(".rs").to_owned();
        let (folders, file) = (parts.len() - 1, parts[parts.len() - 1]);
        let is_root = folders == 0 && matches!(file, "lib.rs" | "main.rs");
        let depth = if is_root { 0 } else { folders + usize::from(file != "mod.rs") };
        let tests = parts[1..].iter().any(|part| matches!(*part, "tests" | "tests.rs"));
        let tokens = if tests { Vec::new() } else { without_tests(tokens(text)) };
        Self { path: inside.display().to_string(), module, depth, tokens }
    }

    /// Every module at the crate's root that is named by `crate::…`, `gatekeeper::…` or a `super::…` that leads there.
    pub(crate) fn used_modules(&self) -> Vec<Token> {
        let mut used = Vec::new();
        let mut inline = Vec::new(); // the brace depth at which each open inline module began
        let mut braces = 0_usize;
        let text = |at: usize| self.tokens.get(at).map_or("", |token| token.text.as_str());
        let mut at = 0;
        while at < self.tokens.len() {
            match text(at) {
                "{" => {
                    braces += 1;
                    if at >= 2 && text(at - 2) == "mod" {
                        inline.push(braces);
                    }
                }
                "}" => {
                    if inline.last() == Some(&braces) {
                        inline.pop();
                    }
                    braces = braces.saturating_sub(1);
                }
                "crate" | "gatekeeper" if text(at + 1) == "::" => self.first_words(at + 2, &mut used),
                "super" if at == 0 || text(at - 1) != "::" => {
                    let mut rest = at;
                    let mut steps = 0;
                    while text(rest) == "super" && text(rest + 1) == "::" {
                        steps += 1;
                        rest += 2;
                    }
                    if steps > 0 && steps >= self.depth + inline.len() {
                        self.first_words(rest, &mut used);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        used
    }

    /// The lines with the path `words`, such as `tokio::` or `Instant::now`.
    pub(crate) fn lines_with(&self, words: &str) -> Vec<usize> {
        let wanted = tokens(words);
        self.tokens
            .windows(wanted.len())
            .filter(|window| window.iter().zip(&wanted).all(|(found, want)| found.text == want.text))
            .map(|window| window[0].line)
            .collect()
    }

    /// The first words of the path or the `use` tree that begins at `at`.
    fn first_words(&self, at: usize, used: &mut Vec<Token>) {
        let Some(first) = self.tokens.get(at) else { return };
        if first.text != "{" {
            used.push(first.clone());
            return;
        }
        let mut depth = 0;
        let mut expected = false;
        for token in &self.tokens[at..] {
            match token.text.as_str() {
                "{" => {
                    depth += 1;
                    expected = depth == 1;
                }
                "}" => {
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                "," => expected = depth == 1,
                _ if expected => {
                    used.push(token.clone());
                    expected = false;
                }
                _ => {}
            }
        }
    }
}

/// Leaves out each item that stands under `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let marked = tokens[at..].iter().map(|token| token.text.as_str()).take(MARK.len()).eq(MARK);
        if marked {
            at = end_of_item(&tokens, at + MARK.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// End of the item that begins at `at`: after its `;`, or after the brace that closes its body.
fn end_of_item(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (offset, token) in tokens[at..].iter().enumerate() {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 && token.text == "}" {
                    return at + offset + 1;
                }
            }
            ";" if depth == 0 => return at + offset + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The words and signs of `text`, without comments and strings.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let is_code =
        |piece: &str| !is_comment(piece) && !piece.trim_start().is_empty() && !piece.contains(['"', '\'']);
    pieces(text).into_iter().filter(|piece| is_code(&piece.text)).collect()
}

/// The prose of all line comments of `text`, line by line. Examples between two lines of backticks are left out.
pub(crate) fn comments(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_example = false;
    for piece in pieces(text).iter().filter(|piece| piece.text.starts_with("//")) {
        let line = piece.text.trim_start_matches('/').trim_start_matches('!').trim();
        if line.starts_with("```") {
            in_example = !in_example;
        } else if !in_example {
            found.push(line.to_owned());
        }
    }
    found
}

fn is_comment(piece: &str) -> bool {
    piece.starts_with("//") || piece.starts_with("/*")
}

/// `text` cut into words, signs, strings, comments and white space; each with its line.
fn pieces(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest, 1),
            'r' | 'b' | 'c' if raw_string(rest).is_some() => raw_string(rest).expect("just seen"),
            'b' | 'c' if rest[1..].starts_with('"') => string(rest, 2),
            '\'' => quote(rest),
            _ if first.is_alphanumeric() || first == '_' => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let (piece, after) = rest.split_at(length);
        found.push(Token { text: piece.to_owned(), line });
        line += piece.matches('\n').count();
        rest = after;
    }
    found
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of a string whose text begins at `from`.
fn string(text: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, character) in text[from..].char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return from + at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let body =
        text.strip_prefix("br").or_else(|| text.strip_prefix("cr")).or_else(|| text.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inner = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let closed = inner.find(&end).map_or(inner.len(), |at| at + end.len());
    Some(text.len() - inner.len() + closed)
}

/// A character, or the quote of a lifetime.
fn quote(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((after, escaped))) => {
            let from = after + escaped.len_utf8();
            text[from..].find('\'').map_or(text.len(), |at| from + at + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}
