//! The prose of Python and shell scripts: comments and docstrings, without code, strings and the line of the interpreter.
//!
//! Refuses to know both grammars beyond that. A `#` begins a comment at the start of a line or after white space. A
//! docstring is a triple-quoted string that follows a colon or begins the file.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A Python or shell script.
pub(crate) struct Script {
    /// Path below the root, with `/`.
    pub(crate) path: String,
    /// Lines of comments and docstrings.
    pub(crate) prose: Vec<String>,
}

impl Script {
    /// Every script below the `folders` of `root`: files that end in `.py` or `.sh`, and files without extension that
    /// name an interpreter.
    pub(crate) fn read_all(root: &Path, folders: &[&str]) -> Vec<Self> {
        let mut paths = Vec::new();
        for folder in folders {
            list_scripts(&root.join(folder), &mut paths);
        }
        paths.sort();
        let scripts = paths.into_iter().map(|(path, text)| {
            let inside = path.strip_prefix(root).expect("listed below it");
            Self { path: inside.display().to_string(), prose: prose(&text) }
        });
        scripts.collect()
    }
}

fn list_scripts(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the entry is readable").path();
        if path.is_dir() {
            list_scripts(&path, found);
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        let may_be_script = matches!(extension, None | Some("py" | "sh"));
        if let Some(text) = may_be_script.then(|| fs::read_to_string(&path).ok()).flatten()
            && (extension.is_some() || text.starts_with("#!"))
        {
            found.push((path, text));
        }
    }
}

/// The lines of all comments and docstrings of `text`.
pub(crate) fn prose(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut before_line = ' '; // the last sign of code before the current line
    let mut last = ' '; // the last sign of code
    let mut previous = '\n';
    while let Some(first) = rest.chars().next() {
        let begins_comment = first == '#' && previous.is_whitespace();
        let length = match first {
            _ if begins_comment => rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => string_length(rest),
            _ => first.len_utf8(),
        };
        let (piece, after) = rest.split_at(length);
        if begins_comment && !piece.starts_with("#!") {
            found.push(piece.trim_start_matches('#').trim().to_owned());
        } else if piece.len() >= 6 && piece.starts_with("\"\"\"") && is_docstring(last, before_line) {
            found.extend(piece.trim_matches('"').lines().map(|line| line.trim().to_owned()));
        }
        if first == '\n' {
            before_line = last;
        } else if !begins_comment && !first.is_whitespace() {
            last = first;
        }
        previous = piece.chars().last().unwrap_or('\n');
        rest = after;
    }
    found
}

/// True if a string stands where a docstring may stand: first on a line, after a colon or at the start of the file.
fn is_docstring(last: char, before_line: char) -> bool {
    last == before_line && matches!(last, ':' | ' ')
}

/// The length of the string that begins `text`: triple-quoted, or at most up to the end of the line.
fn string_length(text: &str) -> usize {
    let quote = &text[..1];
    let triple = quote.repeat(3);
    if text.starts_with(&triple) {
        return text[3..].find(&triple).map_or(text.len(), |end| end + 6);
    }
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '\n' => return at,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if text[at..].starts_with(quote) => return at + 1,
            _ => {}
        }
    }
    text.len()
}
