//! Numbers of a source tree that a reader feels: sizes of functions, shared fields, silent exits, names and prose.
//!
//! Each measure reads tokens or comments, not Rust's grammar: two trees are comparable, and a number has no meaning
//! beyond that. Code under `#[cfg(test)]` and files of tests are left out, except where stated.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::{
    script::Script,
    source::{Source, Token, comments},
};

/// The files of one source tree.
pub(crate) struct Tree {
    files: Vec<File>,
}

struct File {
    /// Path below the root, with `/`.
    path: String,
    /// Product code.
    tokens: Vec<Token>,
    /// The whole file, tests included.
    text: String,
}

/// A function with a body.
pub(crate) struct Function<'a> {
    pub(crate) file: &'a str,
    pub(crate) name: &'a str,
    pub(crate) lines: usize,
    body: &'a [Token],
}

/// The definition of a struct, an enum or a union, or the head of a trait.
struct Definition<'a> {
    name: &'a str,
    is_struct: bool,
    /// Fields or variants; empty for a trait.
    body: &'a [Token],
}

// === impl Tree ===

impl Tree {
    /// Every `*.rs` below `root`.
    pub(crate) fn read(root: &Path) -> Self {
        let files = crate::rust_files(root).into_iter().map(|path| {
            let inside = path.strip_prefix(root).expect("listed below it").to_owned();
            (inside, fs::read_to_string(&path).expect("source is readable"))
        });
        Self::new(files)
    }

    /// Files by their path below the root.
    pub(crate) fn new(files: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let files = files.into_iter().map(|(path, text)| {
            let source = Source::new(&path, &text);
            File { path: source.path, tokens: source.tokens, text }
        });
        Self { files: files.collect() }
    }

    fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.path.starts_with(folder))
    }

    /// How often the path or expression `words` stands below `folder`.
    pub(crate) fn uses(&self, folder: &str, words: &str) -> usize {
        self.below(folder).map(|file| lines_with(&file.tokens, words)).sum()
    }

    /// `else { return … }` below `folder` that neither returns an `Err` nor ends the session: an exit without a trace.
    pub(crate) fn silent_exits(&self, folder: &str) -> usize {
        // Methods that end the session.
        const LOUD: [&str; 2] = ["break_off", "miss_backend"];
        let silent = |window: &[Token]| {
            let [otherwise, open, exit, value, _, method] = window else { return false };
            (otherwise.text.as_str(), open.text.as_str(), exit.text.as_str()) == ("else", "{", "return")
                && value.text != "Err"
                && !(value.text == "self" && LOUD.contains(&method.text.as_str()))
        };
        self.below(folder).map(|file| file.tokens.windows(6).filter(|window| silent(window)).count()).sum()
    }

    /// The type below `folder` whose `impl` blocks, of traits too, lie in the most files; and the number of files.
    pub(crate) fn widest_type(&self, folder: &str) -> (String, usize) {
        let mut files: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for file in self.below(folder) {
            for at in 0..file.tokens.len() {
                if let Some(name) = implemented_type(&file.tokens, at) {
                    files.entry(name).or_default().insert(&file.path);
                }
            }
        }
        let defined: BTreeSet<&str> = self.definitions(folder).map(|definition| definition.name).collect();
        files.retain(|name, _| defined.contains(name));
        let widest = files.iter().max_by_key(|(_, files)| files.len());
        widest.map_or_else(Default::default, |(name, files)| ((*name).to_owned(), files.len()))
    }

    /// Fields of structs below `folder` that are visible outside their module, but not outside the crate:
    /// `pub(super)`, `pub(crate)` and `pub(in …)`.
    pub(crate) fn shared_fields(&self, folder: &str) -> usize {
        let shared =
            |body: &[Token]| body.windows(2).filter(|two| two[0].text == "pub" && two[1].text == "(").count();
        self.definitions(folder)
            .filter(|definition| definition.is_struct)
            .map(|definition| shared(definition.body))
            .sum()
    }

    /// Fields of type `bool` in `root` and in every type below `folder` that its fields lead to, by bare names.
    pub(crate) fn booleans_of(&self, folder: &str, root: &str) -> usize {
        let definitions: Vec<_> = self.definitions(folder).collect();
        let mut open = vec![root];
        let mut reached = BTreeSet::new();
        let mut booleans = 0;
        while let Some(name) = open.pop() {
            if !reached.insert(name) {
                continue;
            }
            for definition in definitions.iter().filter(|definition| definition.name == name) {
                booleans += definition.body.iter().filter(|token| token.text == "bool").count();
                open.extend(definition.body.iter().map(|token| token.text.as_str()));
            }
        }
        booleans
    }

    /// Every function below `folder` that has a body.
    pub(crate) fn functions<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = Function<'a>> {
        self.below(folder)
            .flat_map(|file| (0..file.tokens.len()).filter_map(|at| function(&file.path, &file.tokens, at)))
    }

    /// The function below `folder` with the most lines, from `fn` to its closing brace.
    pub(crate) fn longest_function<'a>(&'a self, folder: &'a str) -> Option<Function<'a>> {
        self.functions(folder).max_by_key(|function| function.lines)
    }

    /// The lines of the function `name` in the file at `path`, 0 without one.
    pub(crate) fn lines_of(&self, path: &str, name: &str) -> usize {
        self.functions(path).find(|function| function.name == name).map_or(0, |function| function.lines)
    }

    /// The largest set of modules directly below `folder` of which each uses each, if need be through others. A name
    /// that the folder's `mod.rs` re-exports counts as a use of the module that defines it.
    pub(crate) fn largest_cycle(&self, folder: &str) -> Vec<String> {
        let mut exported: BTreeMap<String, String> = BTreeMap::new();
        let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in self.below(folder) {
            let inside = Path::new(&file.path[folder.len()..]).to_owned();
            let mut source = Source::new(&inside, &file.text);
            if source.module == "mod" {
                exported = reexports(&source.tokens);
                continue;
            }
            source.tokens = as_if_root(&source.tokens, folder.trim_end_matches('/'));
            let words = source.used_modules().into_iter().map(|token| token.text);
            used.entry(source.module).or_default().extend(words);
        }
        let resolve = |word: &String| exported.get(word).unwrap_or(word).clone();
        let edges: BTreeMap<&String, BTreeSet<String>> =
            used.iter().map(|(module, words)| (module, words.iter().map(resolve).collect())).collect();
        let reach = |from: &String| {
            let mut open: Vec<&String> = edges[from].iter().collect();
            let mut reached = BTreeSet::new();
            while let Some(next) = open.pop() {
                if let Some((_, uses)) = edges.get_key_value(next).filter(|(next, _)| reached.insert(**next))
                {
                    open.extend(uses);
                }
            }
            reached
        };
        let reached: BTreeMap<&String, BTreeSet<&String>> =
            edges.keys().map(|from| (*from, reach(from))).collect();
        let cycle = |from: &&String| -> Vec<String> {
            let mutual = reached[*from].iter().filter(|to| reached[**to].contains(*from));
            mutual.map(|to| (**to).clone()).collect()
        };
        edges.keys().map(cycle).max_by_key(Vec::len).unwrap_or_default()
    }

    /// Functions below `folder` that choose an endpoint (call `decide…`) in a loop.
    pub(crate) fn acquisition_loops(&self, folder: &str) -> usize {
        let has_word =
            |body: &[Token], words: &[&str]| body.iter().any(|token| words.contains(&token.text.as_str()));
        self.functions(folder)
            .filter(|function| function.name != "decide")
            .filter(|function| has_word(function.body, &["loop", "while"]))
            .filter(|function| has_word(function.body, &["decide", "decide_split"]))
            .count()
    }

    /// Constants of type `Duration` below `folder` whose name contains `RETRY` or `AGAIN`.
    pub(crate) fn retry_constants(&self, folder: &str) -> usize {
        let is_one = |tokens: &[Token]| {
            tokens[0].text == "const"
                && (tokens[1].text.contains("RETRY") || tokens[1].text.contains("AGAIN"))
                && tokens[2..]
                    .iter()
                    .take_while(|token| token.text != "=")
                    .any(|token| token.text == "Duration")
        };
        self.below(folder).map(|file| file.tokens.windows(8).filter(|window| is_one(window)).count()).sum()
    }

    /// Share of function names that are one word, in percent: of each function with a body, as often as it is written.
    pub(crate) fn one_word_functions(&self) -> f64 {
        let names: Vec<_> = self.functions("").map(|function| function.name).collect();
        percent(names.iter().filter(|name| !name.contains('_')).count(), names.len())
    }

    /// Bare names that more than two types of product code have, traits included.
    pub(crate) fn homonyms(&self) -> Vec<String> {
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        for definition in self.definitions("") {
            *count.entry(definition.name).or_default() += 1;
        }
        count.into_iter().filter(|(_, count)| *count > 2).map(|(name, _)| name.to_owned()).collect()
    }

    /// Share of pronouns ([`PRONOUNS`]) among the words of all comments, in percent. Code in backticks, links and
    /// examples do not count; comments of tests do.
    pub(crate) fn pronoun_rate(&self) -> f64 {
        rate_of(self.files.iter().map(File::count_pronouns))
    }

    /// The file with the most pronouns in comments, and the number of pronouns.
    pub(crate) fn file_with_most_pronouns(&self) -> String {
        most_of(self.files.iter().map(|file| (file.path.as_str(), file.count_pronouns().0)))
    }

    /// How often `octet` stands in the files, in names, comments and strings, tests included.
    pub(crate) fn octets(&self) -> usize {
        self.files.iter().map(|file| count_octets(&file.text)).sum()
    }

    fn definitions<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = Definition<'a>> {
        self.below(folder)
            .flat_map(|file| (0..file.tokens.len()).filter_map(|at| definition(&file.tokens, at)))
    }
}

// === impl File ===

impl File {
    /// Pronouns in the comments, and all words there.
    fn count_pronouns(&self) -> (usize, usize) {
        count_pronouns(&comments(&self.text))
    }
}

/// As [`Tree::pronoun_rate`], of comments and docstrings in scripts.
pub(crate) fn pronoun_rate_of_scripts(scripts: &[Script]) -> f64 {
    rate_of(scripts.iter().map(|script| count_pronouns(&script.prose)))
}

/// The script with the most pronouns in comments and docstrings, and the number of pronouns.
pub(crate) fn script_with_most_pronouns(scripts: &[Script]) -> String {
    most_of(scripts.iter().map(|script| (script.path.as_str(), count_pronouns(&script.prose).0)))
}

/// Pronouns in lines of prose, and all words there.
fn count_pronouns(lines: &[String]) -> (usize, usize) {
    let words: Vec<String> = lines.iter().flat_map(|line| words(line)).collect();
    (words.iter().filter(|word| PRONOUNS.contains(&word.as_str())).count(), words.len())
}

/// Pronouns as a share of words, in percent, from the counts of each file.
fn rate_of(counts: impl Iterator<Item = (usize, usize)>) -> f64 {
    let (pronouns, all) = counts.fold((0, 0), |sum, (pronouns, all)| (sum.0 + pronouns, sum.1 + all));
    percent(pronouns, all)
}

/// The path with the largest count, and the count.
fn most_of<'a>(counts: impl Iterator<Item = (&'a str, usize)>) -> String {
    let most = counts.max_by_key(|(_, count)| *count);
    most.map_or_else(String::new, |(path, count)| format!("{path}: {count}"))
}

/// How often `octet` stands in `text`, without PostgreSQL's function `octet_length`.
pub(crate) fn count_octets(text: &str) -> usize {
    let text = text.to_lowercase();
    text.matches("octet").count() - text.matches("octet_length").count()
}

/// Personal and indefinite pronouns, and those that stand in for a noun at the head of a clause (rule W1). `that` and
/// `which` are left out: they mostly join a clause to its noun.
const PRONOUNS: &[&str] = &[
    "it",
    "its",
    "itself",
    "they",
    "them",
    "their",
    "theirs",
    "themselves",
    "he",
    "him",
    "his",
    "himself",
    "she",
    "her",
    "we",
    "us",
    "our",
    "ours",
    "you",
    "your",
    "who",
    "whom",
    "whose",
    "whoever",
    "what",
    "whatever",
    "this",
    "these",
    "those",
    "one",
    "ones",
    "none",
    "nobody",
    "nothing",
    "somebody",
    "someone",
    "something",
    "anybody",
    "anyone",
    "anything",
    "everybody",
    "everyone",
    "everything",
];

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// The words of a line of prose, in lower case, without code in backticks and targets of links.
fn words(line: &str) -> Vec<String> {
    let mut prose = String::new();
    for (part, text) in line.split('`').enumerate() {
        prose.push_str(if part % 2 == 0 { text } else { "" });
    }
    let is_target = |word: &str| word.contains("://") || word.contains("](");
    let plain = prose.split_whitespace().filter(|word| !is_target(word)).collect::<Vec<_>>().join(" ");
    plain
        .split(|c: char| !c.is_ascii_alphabetic() && c != '\'')
        .map(|word| word.trim_matches('\'').split('\'').next().unwrap_or_default().to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

fn lines_with(tokens: &[Token], words: &str) -> usize {
    let wanted = crate::source::tokens(words);
    let is_same = |window: &[Token]| window.iter().zip(&wanted).all(|(found, want)| found.text == want.text);
    tokens.windows(wanted.len()).filter(|window| is_same(window)).count()
}

/// The names that the `use` items of a `mod.rs` bring in, each with the module that it comes from.
fn reexports(tokens: &[Token]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for at in (0..tokens.len()).filter(|at| text(tokens, *at) == "use") {
        let module = text(tokens, at + 1);
        let names = tokens[at + 2..].iter().take_while(|token| token.text != ";");
        for name in names.filter(|token| is_name(&token.text)) {
            found.insert(name.text.clone(), module.to_owned());
        }
    }
    found
}

/// `tokens` of a file below `folder`, with `crate::folder::` as `crate::` and any other `crate::` as a foreign name.
fn as_if_root(tokens: &[Token], folder: &str) -> Vec<Token> {
    let mut rooted: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let mut token = tokens[at].clone();
        if token.text == "crate" && text(tokens, at + 1) == "::" {
            if text(tokens, at + 2) == folder {
                at += 2;
            } else {
                token.text = "elsewhere".to_owned();
            }
        }
        rooted.push(token);
        at += 1;
    }
    rooted
}

fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Where the bracket that opens at `at` closes: the index behind it.
fn behind_bracket(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, token) in tokens[at..].iter().enumerate() {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + offset + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// The index behind `<…>`, if one opens at `at`.
fn behind_generics(tokens: &[Token], at: usize) -> usize {
    if text(tokens, at) != "<" {
        return at;
    }
    let mut depth = 0_usize;
    for behind in at..tokens.len() {
        match text(tokens, behind) {
            "<" => depth += 1,
            ">" if text(tokens, behind - 1) == "-" => {} // `->` of a function type
            ">" => {
                depth -= 1;
                if depth == 0 {
                    return behind + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// The function whose `fn` stands at `at`.
fn function<'a>(file: &'a str, tokens: &'a [Token], at: usize) -> Option<Function<'a>> {
    let name = text(tokens, at + 1);
    if text(tokens, at) != "fn" || !is_name(name) {
        return None;
    }
    let mut open = at + 2;
    loop {
        match text(tokens, open) {
            "" | ";" => return None,
            "{" => break,
            "(" | "[" => open = behind_bracket(tokens, open),
            _ => open += 1,
        }
    }
    let end = behind_bracket(tokens, open);
    let lines = tokens[end - 1].line - tokens[at].line + 1;
    Some(Function { file, name, lines, body: &tokens[open..end] })
}

/// The type or trait whose keyword stands at `at`.
fn definition<'a>(tokens: &'a [Token], at: usize) -> Option<Definition<'a>> {
    let keyword = text(tokens, at);
    let name = text(tokens, at + 1);
    let is_item = at == 0 || !matches!(text(tokens, at - 1), "." | "$" | "::");
    if !matches!(keyword, "struct" | "enum" | "union" | "trait")
        || !is_item
        || !name.starts_with(char::is_uppercase)
    {
        return None;
    }
    let mut open = behind_generics(tokens, at + 2);
    // `closed_set!` names the columns of an enum in parentheses.
    if keyword == "enum" && text(tokens, open) == "(" {
        open = behind_bracket(tokens, open);
    }
    while !matches!(text(tokens, open), "" | ";" | "{" | "(") {
        open += 1;
    }
    let body = match text(tokens, open) {
        "{" | "(" if keyword != "trait" => &tokens[open..behind_bracket(tokens, open)],
        _ => &[],
    };
    Some(Definition { name, is_struct: keyword == "struct", body })
}

/// The bare name of the type that an `impl` at `at` is for.
fn implemented_type(tokens: &[Token], at: usize) -> Option<&str> {
    let begins_item = at == 0 || matches!(text(tokens, at - 1), "}" | ";" | "]" | "{" | "unsafe");
    if text(tokens, at) != "impl" || !begins_item {
        return None;
    }
    let mut next = behind_generics(tokens, at + 1);
    let mut last = None;
    loop {
        match text(tokens, next) {
            "" | "{" | "where" | ";" => return last,
            "for" => {
                last = None;
                next += 1;
            }
            "<" => next = behind_generics(tokens, next),
            word => {
                if is_name(word) && !matches!(word, "dyn" | "mut" | "const") {
                    last = Some(word);
                }
                next += 1;
            }
        }
    }
}
