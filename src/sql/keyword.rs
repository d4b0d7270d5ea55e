//! The keywords that matter to session state, and a filter that lets almost no other word through to be compared.

use super::functions;

/// A keyword that may begin or determine an effect on session state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keyword {
    Alter,
    Atomic,
    Begin,
    Call,
    Close,
    Copy,
    Create,
    Deallocate,
    Declare,
    Default,
    Discard,
    Do,
    Drop,
    Else,
    Execute,
    Explain,
    Function,
    Hold,
    Import,
    Insert,
    Into,
    Language,
    Listen,
    Load,
    Loop,
    Merge,
    PgSettings,
    Prepare,
    Procedure,
    Reset,
    Routine,
    Set,
    SetConfig,
    Then,
    Unlisten,
    Update,
}

const KEYWORDS: &[(&str, Keyword)] = &[
    ("alter", Keyword::Alter),
    ("atomic", Keyword::Atomic),
    ("begin", Keyword::Begin),
    ("call", Keyword::Call),
    ("close", Keyword::Close),
    ("copy", Keyword::Copy),
    ("create", Keyword::Create),
    ("deallocate", Keyword::Deallocate),
    ("declare", Keyword::Declare),
    ("default", Keyword::Default),
    ("discard", Keyword::Discard),
    ("do", Keyword::Do),
    ("drop", Keyword::Drop),
    ("else", Keyword::Else),
    ("execute", Keyword::Execute),
    ("explain", Keyword::Explain),
    ("function", Keyword::Function),
    ("hold", Keyword::Hold),
    ("import", Keyword::Import),
    ("insert", Keyword::Insert),
    ("into", Keyword::Into),
    ("language", Keyword::Language),
    ("listen", Keyword::Listen),
    ("load", Keyword::Load),
    ("loop", Keyword::Loop),
    ("merge", Keyword::Merge),
    ("pg_settings", Keyword::PgSettings),
    ("prepare", Keyword::Prepare),
    ("procedure", Keyword::Procedure),
    ("reset", Keyword::Reset),
    ("routine", Keyword::Routine),
    ("set", Keyword::Set),
    ("set_config", Keyword::SetConfig),
    ("then", Keyword::Then),
    ("unlisten", Keyword::Unlisten),
    ("update", Keyword::Update),
];

/// Lengths of the relevant words for each first and third letter, as bits: a single lookup rules out most words.
static LENGTHS: [u64; 1024] = {
    let mut lengths = [0_u64; 1024];
    let mut at = 0;
    while at < KEYWORDS.len() {
        mark(&mut lengths, KEYWORDS[at].0.as_bytes(), false);
        at += 1;
    }
    at = 0;
    while at < functions::NAMES.len() {
        mark(&mut lengths, functions::NAMES[at].0.as_bytes(), false);
        at += 1;
    }
    at = 0;
    while at < functions::PREFIXES.len() {
        mark(&mut lengths, functions::PREFIXES[at].0.as_bytes(), true);
        at += 1;
    }
    lengths
};

const fn mark(lengths: &mut [u64; 1024], name: &[u8], longer_too: bool) {
    let third = if name.len() > 2 { name[2] } else { 0 };
    lengths[row(name[0], third)] |= if longer_too { u64::MAX << name.len() } else { 1 << name.len() };
}

/// The lower five bits of a letter do not depend on case.
const fn row(first: u8, third: u8) -> usize {
    (first as usize & 31) << 5 | third as usize & 31
}

/// True if `word` may be relevant.
#[inline]
pub(super) fn may_matter(word: &[u8]) -> bool {
    let lengths = match word {
        [first, _, third, ..] => LENGTHS[row(*first, *third)],
        [first, _] => LENGTHS[row(*first, 0)],
        _ => return false,
    };
    lengths & (1 << word.len().min(63)) != 0
}

/// The keyword spelled by `word`, in any case.
pub(super) fn keyword(word: &[u8]) -> Option<Keyword> {
    let first = word.first()?.to_ascii_lowercase();
    // Alphabetical: the row is found from the first letter.
    let from = KEYWORDS.partition_point(|(name, _)| name.as_bytes()[0] < first);
    KEYWORDS[from..]
        .iter()
        .take_while(|(name, _)| name.as_bytes()[0] == first)
        .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word))
        .map(|(_, keyword)| *keyword)
}
