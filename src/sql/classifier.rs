//! Statement text → [`Classification`], in steps of rising cost.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use pg_query::ParserOptions;

use super::{
    Classification, ClassifyReason, LexicalSettings, ReferenceList, SchemaInfo, StatementAccess,
    TransactionControl,
    cache::{Cache, CacheInputs},
    command_word, cross_check,
    hint::hint,
    reference_checker::ReferenceChecker,
    template::Template,
};

/// Classifies texts of a database and caches the results. Shared by all workers.
///
/// Fails closed: a text is [`StatementAccess::Read`] for [`ClassifyReason::Read`] only if PostgreSQL's grammar accepts
/// the text, the whole tree is known to read only, all names in use are known to be safe, and the second parser agrees.
pub struct Classifier {
    texts: Cache,
    templates: Cache,
    primary_only: Box<[(Option<String>, String)]>,
    learned: Mutex<VecDeque<Box<[u8]>>>,
}

/// How a [`Classifier`] is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassifierOptions {
    /// Relations read on the primary only: schema and name as stored by PostgreSQL; without a schema the name matches
    /// in any schema.
    pub primary_only: Vec<(Option<String>, String)>,
    /// Size of the cache, in bytes.
    pub memory: u64,
}

/// Longer texts are not parsed: a tree takes a hundred times the memory of the text.
pub const TEXT_MAX: usize = 32 * 1024;
/// The longest run of bytes of operators that is given to the scanner.
const RUN_MAX: usize = 512;
/// Maximum number of texts learned from a standby's rejection; new texts replace the oldest.
const LEARNED_MAX: usize = 1024;

// === impl Classifier ===

impl Classifier {
    /// An empty classifier.
    #[must_use]
    pub fn new(options: &ClassifierOptions) -> Self {
        Self {
            texts: Cache::new(options.memory / 2),
            templates: Cache::new(options.memory / 2),
            primary_only: options.primary_only.clone().into(),
            learned: Mutex::default(),
        }
    }

    /// Classifies `text` (one or more statements). A cached result needs no allocation. Otherwise the text is parsed,
    /// which requires a long-lived thread with 2 MiB of stack.
    #[must_use]
    pub fn classify(
        &self,
        text: &[u8],
        lexical: &LexicalSettings,
        schema_info: &SchemaInfo,
    ) -> Classification {
        #[cfg(test)]
        super::passes::count(|passes| passes.classifications += 1);
        let circumstances = CacheInputs { lexical: *lexical, epoch: schema_info.epoch() };
        let short = text.len() <= TEXT_MAX;
        if short && let Some(known) = self.texts.get(text, circumstances) {
            return known;
        }
        if let Some(reason) = command_word::sole_write(text) {
            return Classification { hint: hint(text), ..Classification::on(reason) };
        }
        if !is_readable(text, lexical) {
            return Classification { hint: hint(text), ..unclassified(ClassifyReason::Encoding) };
        }
        if text.len() > RUN_MAX && has_long_run(text) {
            // A template of the text would be misleading.
            return Classification { hint: hint(text), ..unclassified(ClassifyReason::TooDeep) };
        }
        let template = lexical.standard_strings.then(|| Template::from_text(text)).flatten();
        if let Some(template) = &template
            && let Some(known) = self.templates.get(template.as_bytes(), circumstances)
        {
            return Classification { hint: hint(text), ..known };
        }
        if !short {
            return Classification { hint: hint(text), ..unclassified(ClassifyReason::TooLong) };
        }
        let judged =
            Classification { hint: hint(text), ..self.parse_and_classify(text, lexical, schema_info, None) };
        match &template {
            // A text with changing literals would evict texts without.
            Some(template) if template.literal => {
                self.cache_result(&self.templates, template.as_bytes(), circumstances, judged)
            }
            _ => self.cache_result(&self.texts, text, circumstances, judged),
        }
    }

    /// Classifies without the cache; also returns the references found.
    #[must_use]
    pub fn explain(
        &self,
        text: &[u8],
        lexical: &LexicalSettings,
        schema_info: &SchemaInfo,
    ) -> (Classification, ReferenceList) {
        let mut findings = ReferenceList::default();
        let judged = if text.len() > TEXT_MAX {
            unclassified(ClassifyReason::TooLong)
        } else if !is_readable(text, lexical) {
            unclassified(ClassifyReason::Encoding)
        } else {
            self.parse_and_classify(text, lexical, schema_info, Some(&mut findings))
        };
        (Classification { hint: hint(text), ..judged }, findings)
    }

    /// Records that a standby rejected `text` as a write (25006): from now on the text stays on the primary, and so do
    /// texts that differ only in literals.
    pub fn learn_write(&self, text: &[u8], lexical: &LexicalSettings) {
        let template = lexical.standard_strings.then(|| Template::from_text(text)).flatten();
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

    /// Size of the cache, in bytes.
    #[must_use]
    pub fn cached_bytes(&self) -> u64 {
        self.texts.weight() + self.templates.weight()
    }

    /// How many texts were learned to be writes, of [`Classifier::learn_write`].
    #[must_use]
    pub fn learned(&self) -> usize {
        self.lock_learned().len()
    }

    fn cache_result(
        &self,
        cache: &Cache,
        key: &[u8],
        circumstances: CacheInputs,
        judged: Classification,
    ) -> Classification {
        cache.insert(key, circumstances, judged);
        // After the insertion: a concurrent `learn_write` removes the entry later.
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

    fn parse_and_classify(
        &self,
        text: &[u8],
        lexical: &LexicalSettings,
        schema_info: &SchemaInfo,
        findings: Option<&mut ReferenceList>,
    ) -> Classification {
        let Ok(text) = str::from_utf8(text) else { return unclassified(ClassifyReason::Encoding) };
        if has_long_run(text.as_bytes()) {
            return unclassified(ClassifyReason::TooDeep);
        }
        let options = match lexical.standard_strings {
            true => ParserOptions::DEFAULT,
            false => ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS,
        };
        let parsed = match pg_query::parse(text, options) {
            Ok(parsed) => parsed,
            Err(error) => return unclassified(parse_failure(&error)),
        };
        let statements = &parsed.protobuf.stmts;
        let judged = ReferenceChecker::new(schema_info, &self.primary_only, findings).text(statements);
        // The second parser supports standard strings only.
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

/// True if the grammar can read `text`: ASCII, or UTF-8 that the client declared as UTF-8.
fn is_readable(text: &[u8], lexical: &LexicalSettings) -> bool {
    text.is_ascii() || (lexical.utf8 && str::from_utf8(text).is_ok())
}

/// True if a run of operator bytes is so long that the server's scanner, which rereads the run behind each `/*`, would
/// take seconds (for 20 kB). No operator and few comments are so long.
fn has_long_run(text: &[u8]) -> bool {
    let is_operator = |byte: &u8| b"~!@#^&|`?+-*/%<>=".contains(byte);
    text.split(|byte| !is_operator(byte)).any(|run| run.len() > RUN_MAX)
}

/// The transaction control statements of the text are unknown.
fn unclassified(reason: ClassifyReason) -> Classification {
    Classification { control: TransactionControl::Mixed, ..Classification::on(reason) }
}

/// Why the grammar did not give a tree.
fn parse_failure(error: &pg_query::Error) -> ClassifyReason {
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
