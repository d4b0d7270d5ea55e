//! Statement text → [`Classification`], in steps of rising cost.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use pg_query::ParserOptions;

use super::{
    Classification, ClassifyReason, LexicalSettings, ReferenceList, SchemaInfo, StatementAccess,
    TransactionControl,
    cache::{Cache, Circumstances},
    command_word, cross_check,
    hint::hint,
    reference_checker::ReferenceChecker,
    template::Template,
};

/// Judges texts of one database, and remembers what it said. To be shared by all workers.
///
/// Fails closed: a text is [`StatementAccess::Read`] on [`ClassifyReason::Read`] only if the server's own grammar takes it, all of its tree is
/// known to read and what it uses is known to be safe, and a second parser does not say otherwise.
pub struct Classifier {
    texts: Cache,
    templates: Cache,
    primary_only: Box<[(Option<String>, String)]>,
    learned: Mutex<VecDeque<Box<[u8]>>>,
}

/// How a [`Classifier`] is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassifierOptions {
    /// Relations that are only read on the primary: schema and name as PostgreSQL keeps them; without a schema in any.
    pub primary_only: Vec<(Option<String>, String)>,
    /// How much it remembers, in bytes.
    pub memory: u64,
}

/// Longer texts are not parsed: a tree takes a hundred times as much memory as its text.
pub const TEXT_MAX: usize = 32 * 1024;
/// The longest run of bytes of operators that is given to the scanner.
const RUN_MAX: usize = 512;
/// Texts that a standby has refused as writes: more of them push out the oldest.
const LEARNED_MAX: usize = 1024;

// === impl Classifier ===

impl Classifier {
    /// Nothing is remembered yet.
    #[must_use]
    pub fn new(options: &ClassifierOptions) -> Self {
        Self {
            texts: Cache::new(options.memory / 2),
            templates: Cache::new(options.memory / 2),
            primary_only: options.primary_only.clone().into(),
            learned: Mutex::default(),
        }
    }

    /// What `text` (one or more statements) may do. Allocates nothing for what is remembered; what is not is parsed, so it
    /// needs a thread that lives long and has 2 MiB of stack.
    #[must_use]
    pub fn classify(
        &self,
        text: &[u8],
        lexical: &LexicalSettings,
        schema_info: &SchemaInfo,
    ) -> Classification {
        let circumstances = Circumstances { lexical: *lexical, epoch: schema_info.epoch() };
        let short = text.len() <= TEXT_MAX;
        if short && let Some(known) = self.texts.get(text, circumstances) {
            return known;
        }
        if let Some(reason) = command_word::sole_write(text) {
            return Classification { hint: hint(text), ..Classification::on(reason) };
        }
        if !is_readable(text, lexical) {
            return Classification { hint: hint(text), ..mixed(ClassifyReason::Encoding) };
        }
        if text.len() > RUN_MAX && has_long_run(text) {
            // Not to be judged by its template, which says nothing of it.
            return Classification { hint: hint(text), ..mixed(ClassifyReason::TooDeep) };
        }
        let template = lexical.standard_strings.then(|| Template::of(text)).flatten();
        if let Some(template) = &template
            && let Some(known) = self.templates.get(template.as_bytes(), circumstances)
        {
            return Classification { hint: hint(text), ..known };
        }
        if !short {
            return Classification { hint: hint(text), ..mixed(ClassifyReason::TooLong) };
        }
        let judged = Classification { hint: hint(text), ..self.judge(text, lexical, schema_info, None) };
        match &template {
            // What differs in its literals each time would push out what does not.
            Some(template) if template.literal => {
                self.remember(&self.templates, template.as_bytes(), circumstances, judged)
            }
            _ => self.remember(&self.texts, text, circumstances, judged),
        }
    }

    /// The same from the start, and what was found on the way.
    #[must_use]
    pub fn explain(
        &self,
        text: &[u8],
        lexical: &LexicalSettings,
        schema_info: &SchemaInfo,
    ) -> (Classification, ReferenceList) {
        let mut findings = ReferenceList::default();
        let judged = if text.len() > TEXT_MAX {
            mixed(ClassifyReason::TooLong)
        } else if !is_readable(text, lexical) {
            mixed(ClassifyReason::Encoding)
        } else {
            self.judge(text, lexical, schema_info, Some(&mut findings))
        };
        (Classification { hint: hint(text), ..judged }, findings)
    }

    /// A standby refused `text` as a write (25006): it stays on the primary from now on, and so do the texts that differ
    /// from it in their literals only.
    pub fn learn_write(&self, text: &[u8], lexical: &LexicalSettings) {
        let template = lexical.standard_strings.then(|| Template::of(text)).flatten();
        let (cache, key) = match &template {
            Some(template) if template.literal => (&self.templates, template.as_bytes()),
            _ => (&self.texts, text),
        };
        {
            let mut learned = self.lock_learned();
            if !learned.iter().any(|known| **known == *key) {
                if learned.len() == LEARNED_MAX {
                    learned.pop_front();
                }
                learned.push_back(key.into());
            }
        }
        cache.forget(key);
    }

    /// How many bytes it remembers.
    #[must_use]
    pub fn cached_bytes(&self) -> u64 {
        self.texts.weight() + self.templates.weight()
    }

    /// How many texts were learned to be writes, of [`Classifier::learn_write`].
    #[must_use]
    pub fn learned(&self) -> usize {
        self.lock_learned().len()
    }

    fn remember(
        &self,
        cache: &Cache,
        key: &[u8],
        circumstances: Circumstances,
        judged: Classification,
    ) -> Classification {
        cache.insert(key, circumstances, judged);
        // After it was inserted: whoever learns now forgets it behind that.
        if judged.access != StatementAccess::Write && self.lock_learned().iter().any(|known| **known == *key)
        {
            let learned = Classification {
                access: StatementAccess::Unproven,
                reason: ClassifyReason::LearnedWrite,
                ..judged
            };
            cache.insert(key, circumstances, learned);
            return learned;
        }
        judged
    }

    fn judge(
        &self,
        text: &[u8],
        lexical: &LexicalSettings,
        schema_info: &SchemaInfo,
        findings: Option<&mut ReferenceList>,
    ) -> Classification {
        let Ok(text) = str::from_utf8(text) else { return mixed(ClassifyReason::Encoding) };
        if has_long_run(text.as_bytes()) {
            return mixed(ClassifyReason::TooDeep);
        }
        let options = match lexical.standard_strings {
            true => ParserOptions::DEFAULT,
            false => ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS,
        };
        let parsed = match pg_query::parse(text, options) {
            Ok(parsed) => parsed,
            Err(error) => return mixed(refused(&error)),
        };
        let statements = &parsed.protobuf.stmts;
        let judged = ReferenceChecker::new(schema_info, &self.primary_only, findings).text(statements);
        // The other parser knows no other strings than standard ones.
        if judged.may_leave_primary()
            && lexical.standard_strings
            && cross_check::disagrees(text, statements.len())
        {
            return Classification {
                access: StatementAccess::Unproven,
                reason: ClassifyReason::ParsersDisagree,
                ..judged
            };
        }
        judged
    }

    fn lock_learned(&self) -> MutexGuard<'_, VecDeque<Box<[u8]>>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ClassifierOptions {
    /// Every relation may be read elsewhere; 4 MiB.
    fn default() -> Self {
        Self { primary_only: Vec::new(), memory: 4 << 20 }
    }
}

/// Whether `text` is what the grammar reads: ASCII or UTF-8, and the client means it so.
fn is_readable(text: &[u8], lexical: &LexicalSettings) -> bool {
    text.is_ascii() || (lexical.utf8 && str::from_utf8(text).is_ok())
}

/// Whether so many bytes of operators follow each other that the server's scanner, which reads all of them again behind each
/// `/*`, would take its time: seconds for 20 kB of it. No operator is that long, and few comments.
fn has_long_run(text: &[u8]) -> bool {
    let is_operator = |byte: &u8| b"~!@#^&|`?+-*/%<>=".contains(byte);
    text.split(|byte| !is_operator(byte)).any(|run| run.len() > RUN_MAX)
}

/// Nobody knows what the text says about transactions.
fn mixed(reason: ClassifyReason) -> Classification {
    Classification { control: TransactionControl::Mixed, ..Classification::on(reason) }
}

/// Why the grammar did not give a tree.
fn refused(error: &pg_query::Error) -> ClassifyReason {
    match error {
        pg_query::Error::Decode(_) => ClassifyReason::TooDeep,
        pg_query::Error::Parse(message)
            if ["memory exhausted", "nested too deeply", "stack depth limit"]
                .iter()
                .any(|words| message.contains(words)) =>
        {
            ClassifyReason::TooDeep
        }
        // A zero byte, which no server takes either.
        pg_query::Error::Conversion(_) => ClassifyReason::Encoding,
        _ => ClassifyReason::Unparsable,
    }
}
