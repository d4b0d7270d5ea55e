//! State shared by all sessions of one database and user.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;

use super::{
    internal_statements::InternalStatements,
    setting_values::SettingValues,
    shared_statement::{Circumstances, Reading, SharedStatement, SharedStatements, text_of},
};
use crate::sql::{
    self, Analysis, AnalysisInputs, Classification, Classifier, ClassifierOptions, Effects, LexicalSettings,
    SchemaInfo, SchemaInfoBuilder, StatefulNames, StatefulNamesBuilder, TextAnalyzer,
};

/// State shared by all sessions that use the backends of one database and user: the prepared statements, and the names
/// in that database that leave state behind.
pub struct DatabaseState {
    statements: SharedStatements,
    internal_statements: InternalStatements,
    analyzer: TextAnalyzer,
    catalogue: ArcSwap<StatefulNames>,
    /// Grows with each change of `catalogue`, after it; 0 before the database was looked at.
    edition: AtomicU32,
    /// Names that are in each catalogue.
    always: ArcSwap<StatefulNames>,
    /// Names that statements of this process may have defined, and that no later catalog read has settled.
    learned: Mutex<HashMap<String, LearnedName>>,
    reads_sequences: AtomicBool,
    sessions: AtomicU64,
    /// Count of statements parsed by clients.
    parses: AtomicU64,
    /// Count of possible definition changes, shared by all users of the database.
    definitions: Arc<AtomicU64>,
    /// Count of catalog expirations: an expired catalog requires a comparison before use.
    expirations: AtomicU64,
    /// Values of `definitions` and `expirations` covered by the catalog.
    compared_definitions: AtomicU64,
    compared_expirations: AtomicU64,
    /// Server response to [`sql::EPOCH_SQL`] for the database state of the catalog.
    epoch: ArcSwap<Box<[u8]>>,
    /// A state check follows each transaction.
    strict: AtomicBool,
    classifier: ArcSwap<Classifier>,
    knowledge: ArcSwap<SchemaInfo>,
    /// Statements are split by what they may do: [`DatabaseState::knowledge`] is wanted.
    splits: AtomicBool,
    /// Count of changes of the classifier, and of what it knows.
    classifications: AtomicU32,
}

/// Point in the history of a database's definitions, as far as known to the current process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CatalogInstant {
    definitions: u64,
    expirations: u64,
}

/// Transactions that may define a stateful name.
#[derive(Default)]
struct LearnedName {
    /// Transactions that are not over.
    open_transactions: u32,
    /// Value of [`DatabaseState::definitions`] after the last of the others.
    definitions: u64,
}

// === impl LearnedName ===

impl LearnedName {
    /// True if a catalog read that began at `definitions` shows the results of all transactions.
    const fn is_settled(&self, definitions: u64) -> bool {
        self.open_transactions == 0 && self.definitions <= definitions
    }
}

// === impl DatabaseState ===

impl DatabaseState {
    /// Nothing is prepared yet, and nothing known of the database but that the names in `always` leave state behind.
    #[must_use]
    pub fn new(always: StatefulNames) -> Self {
        Self::with(always, &ClassifierOptions::default(), false)
    }

    /// The same for sessions whose statements are split by what they may do.
    #[must_use]
    pub fn splitting(always: StatefulNames, options: &ClassifierOptions) -> Self {
        Self::with(always, options, true)
    }

    /// Counts definition changes together with all holders of the same counter.
    #[must_use]
    pub fn with_definitions(self, definitions: Arc<AtomicU64>) -> Self {
        self.compared_definitions.store(definitions.load(Ordering::Relaxed), Ordering::Relaxed);
        Self { definitions, ..self }
    }

    /// Enables or disables a state check after every transaction.
    pub fn set_strict_isolation(&self, strict: bool) {
        self.strict.store(strict, Ordering::Relaxed);
    }

    /// True if a state check follows each transaction.
    pub(super) fn is_strict(&self) -> bool {
        self.strict.load(Ordering::Relaxed)
    }

    fn with(always: StatefulNames, options: &ClassifierOptions, splits: bool) -> Self {
        let statements = SharedStatements::default();
        let (analyzer, nothing) = (TextAnalyzer::default(), StatefulNames::default());
        let internal_statements = InternalStatements::new(|definition| {
            statements.get(
                definition,
                Reading::default(),
                0,
                &analyzer.analyze(text_of(definition), &nothing),
            )
        });
        Self {
            statements,
            internal_statements,
            analyzer,
            catalogue: ArcSwap::from_pointee(always.clone()),
            edition: AtomicU32::new(0),
            always: ArcSwap::from_pointee(always),
            learned: Mutex::default(),
            reads_sequences: AtomicBool::new(false),
            sessions: AtomicU64::new(0),
            definitions: Arc::default(),
            expirations: AtomicU64::new(0),
            compared_definitions: AtomicU64::new(0),
            compared_expirations: AtomicU64::new(0),
            epoch: ArcSwap::default(),
            strict: AtomicBool::new(false),
            parses: AtomicU64::new(0),
            classifier: ArcSwap::from_pointee(Classifier::new(options)),
            // Where nothing is split nobody reads it, and scripts have no database.
            knowledge: ArcSwap::from_pointee(if splits {
                SchemaInfo::empty()
            } else {
                SchemaInfo::assumed()
            }),
            splits: AtomicBool::new(splits),
            classifications: AtomicU32::new(0),
        }
    }

    /// Whether the database was looked at. Until then each statement may leave state behind.
    #[must_use]
    pub fn knows_database(&self) -> bool {
        self.edition.load(Ordering::Relaxed) != 0
    }

    /// Stores a catalog read in the database state `epoch`, at `instant` or later.
    pub fn set_catalogue(&self, read: StatefulNamesBuilder, epoch: &[u8], instant: CatalogInstant) {
        let mut catalogue = read.build(&self.always.load());
        let mut learned = self.lock_learned();
        learned.retain(|name, learned| {
            !catalogue.contains(name.as_bytes()) && !learned.is_settled(instant.definitions)
        });
        // Their transactions were not over when the read began.
        for name in learned.keys() {
            catalogue.insert(name);
        }
        self.replace(catalogue);
        self.epoch.store(Arc::new(epoch.into()));
        self.set_compared(instant);
    }

    /// True if `epoch` matches the database state of the catalog; then the catalog is current as of `instant`. False also
    /// if the catalog has learned names whose transactions are over: a read drops the names that leave nothing.
    pub fn is_epoch(&self, epoch: &[u8], instant: CatalogInstant) -> bool {
        let same = !epoch.is_empty()
            && ***self.epoch.load() == *epoch
            && !self.lock_learned().values().any(|learned| learned.is_settled(instant.definitions));
        if same {
            self.set_compared(instant);
        }
        same
    }

    fn set_compared(&self, instant: CatalogInstant) {
        self.compared_definitions.store(instant.definitions, Ordering::Relaxed);
        self.compared_expirations.store(instant.expirations, Ordering::Relaxed);
    }

    /// Returns the current instant; take the instant before requesting the server's epoch.
    #[must_use]
    pub fn instant(&self) -> CatalogInstant {
        CatalogInstant {
            definitions: self.definitions.load(Ordering::Relaxed),
            expirations: self.expirations.load(Ordering::Relaxed),
        }
    }

    /// Expires the catalog: use requires a comparison, even without a definition change through the current process.
    pub fn expire_catalogue(&self) {
        self.expirations.fetch_add(1, Ordering::Relaxed);
    }

    /// Requires a new catalog read regardless of the epoch, because the settings list different names.
    pub fn forget_epoch(&self) {
        self.epoch.store(Arc::default());
    }

    /// True if the catalog has neither expired nor [changed](Self::is_changed) since the last epoch comparison with the
    /// server.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.is_changed()
            && self.compared_expirations.load(Ordering::Relaxed) == self.expirations.load(Ordering::Relaxed)
    }

    /// True if a statement through the current process has changed definitions since the last epoch comparison.
    pub(super) fn is_changed(&self) -> bool {
        self.compared_definitions.load(Ordering::Relaxed) != self.definitions.load(Ordering::Relaxed)
    }

    /// Treats `functions` as stateful from now on, regardless of the database. Earlier functions stay stateful until
    /// the next catalog read.
    pub fn hold_for(&self, functions: &[String]) {
        let mut always = StatefulNames::default();
        let _learned = self.lock_learned();
        let mut catalogue = StatefulNames::clone(&self.catalogue.load());
        for function in functions {
            always.insert(function);
            catalogue.insert(function);
        }
        self.always.store(Arc::new(always));
        if self.knows_database() {
            self.replace(catalogue);
        } else {
            self.catalogue.store(Arc::new(catalogue));
        }
    }

    /// Whether what the database has is to be read, besides the names that leave state behind.
    #[must_use]
    pub fn splits(&self) -> bool {
        self.splits.load(Ordering::Relaxed)
    }

    /// Starts to route statements, classified with new `options`: remembered classifications are forgotten.
    pub fn split_by(&self, options: &ClassifierOptions) {
        self.classifier.store(Arc::new(Classifier::new(options)));
        if !self.splits.swap(true, Ordering::Relaxed) {
            self.knowledge.store(Arc::new(SchemaInfo::empty()));
        }
        self.classifications_changed();
    }

    /// What the database has was read.
    pub fn set_knowledge(&self, read: SchemaInfoBuilder) {
        let next = self.knowledge.load().epoch() + 1;
        self.knowledge.store(Arc::new(read.build(next)));
        self.classifications_changed();
    }

    /// What `text` may do, by what is known of the database.
    pub fn classify(&self, text: &[u8], meaning: &LexicalSettings) -> Classification {
        self.classifier.load().classify(text, meaning, &self.knowledge.load())
    }

    /// A standby refused `text` as a write: it stays on the primary from now on.
    pub fn learn_write(&self, text: &[u8], meaning: &LexicalSettings) {
        self.classifier.load().learn_write(text, meaning);
        self.classifications_changed();
    }

    fn classifications_changed(&self) {
        self.classifications.fetch_add(1, Ordering::Release);
    }

    /// Current inputs of an analysis; `None` before the first read of the catalog, which has no edition until then.
    /// `lexical`: as for [`Self::analyze`].
    pub(super) fn analysis_inputs(&self, lexical: Option<LexicalSettings>) -> Option<AnalysisInputs> {
        let edition = self.edition();
        let classifications = lexical.map_or(0, |_| self.classifications.load(Ordering::Acquire));
        let inputs =
            AnalysisInputs { edition: u64::from(edition) << 32 | u64::from(classifications), lexical };
        (edition != 0).then_some(inputs)
    }

    /// Possible effects of `text` on session state, by what is known now.
    pub(super) fn text_effects(&self, text: &[u8]) -> Effects {
        sql::effects(text, &self.catalogue.load())
    }

    /// All that `text` tells, by what is known of the database. `lexical`: reading of the text, if its effect on the database
    /// is wanted.
    pub(super) fn analyze(&self, text: &[u8], lexical: Option<&LexicalSettings>) -> Analysis {
        let classification = lexical.map(|lexical| self.classify(text, lexical));
        Analysis { classification, ..self.analyzer.analyze(text, &self.catalogue.load()) }
    }

    /// Another number after each change of the catalogue; the catalogue is read behind it.
    pub(super) fn edition(&self) -> u32 {
        self.edition.load(Ordering::Acquire)
    }

    /// Under the lock of `learned`.
    fn replace(&self, catalogue: StatefulNames) {
        self.catalogue.store(Arc::new(catalogue));
        let next = self.edition.load(Ordering::Relaxed).wrapping_add(1).max(1);
        self.edition.store(next, Ordering::Release);
    }

    fn lock_learned(&self) -> MutexGuard<'_, HashMap<String, LearnedName>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Treats the names that `statement` defines as stateful, if their use may leave session state. Returns the names, for
    /// [`Self::end_learning`].
    pub(super) fn learn(&self, statement: &[u8]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        sql::find_stateful_names(statement, &self.catalogue.load(), &mut |name| names.push(name.to_owned()));
        if names.is_empty() {
            return names;
        }
        let mut learned = self.lock_learned();
        let are_known = names.iter().all(|name| learned.contains_key(name));
        for name in &names {
            learned.entry(name.clone()).or_default().open_transactions += 1;
        }
        if are_known {
            return names;
        }
        let mut catalogue = StatefulNames::clone(&self.catalogue.load());
        for name in &names {
            catalogue.insert(name);
        }
        if self.knows_database() {
            self.replace(catalogue);
        } else {
            self.catalogue.store(Arc::new(catalogue));
        }
        names
    }

    /// Ends a transaction that has [learned](Self::learn) `names`: a catalog read from now on shows what they do.
    pub(super) fn end_learning(&self, names: &[String]) {
        self.definitions_changed();
        let definitions = self.definitions.load(Ordering::Relaxed);
        let mut learned = self.lock_learned();
        for name in names {
            if let Some(name) = learned.get_mut(name) {
                name.open_transactions = name.open_transactions.saturating_sub(1);
                name.definitions = definitions;
            }
        }
    }

    /// The statement with this `definition`, the body of a Parse behind the name.
    pub(super) fn statement(&self, definition: &[u8], reading: Reading) -> Arc<SharedStatement> {
        self.statement_of(definition, reading, |text| self.analyze(text, None))
    }

    /// The statement with this `definition`; `analyze` analyzes the text if the statement is new.
    pub(super) fn statement_of(
        &self,
        definition: &[u8],
        reading: Reading,
        analyze: impl FnOnce(&[u8]) -> Analysis,
    ) -> Arc<SharedStatement> {
        self.statements.known(definition, reading).unwrap_or_else(|| {
            let edition = self.edition();
            // Outside of the lock: an analysis may parse the text.
            let analysis = analyze(text_of(definition));
            self.statements.get(definition, reading, edition, &analysis)
        })
    }

    /// What a statement may leave behind, by what is known now.
    pub(super) fn effects(&self, statement: &SharedStatement) -> Effects {
        let edition = self.edition();
        statement.effects(edition, || self.catalogue.load_full())
    }

    /// The statement with this definition, if a server has accepted it in these circumstances.
    pub(super) fn accepted(
        &self,
        definition: &[u8],
        reading: Reading,
        settings: &SettingValues,
    ) -> Option<Arc<SharedStatement>> {
        let now = self.circumstances(settings);
        self.statements.known(definition, reading).filter(|statement| statement.is_accepted(now))
    }

    /// What decides whether a server accepts a statement of a session with these settings.
    pub(super) fn circumstances(&self, settings: &SettingValues) -> Circumstances {
        Circumstances::of(self.instant(), settings)
    }

    /// Definitions may have changed.
    pub fn definitions_changed(&self) {
        self.definitions.fetch_add(1, Ordering::Relaxed);
    }

    /// Settings with a dot in the name, set in the source of some function.
    pub(super) fn custom_settings(&self) -> Arc<[Arc<[u8]>]> {
        self.catalogue.load().custom_settings()
    }

    /// Whether some session has relied on `currval` or `lastval`: then each one is held to its backend from the first
    /// statement that may move a sequence.
    pub(super) fn reads_sequences(&self) -> bool {
        self.reads_sequences.load(Ordering::Relaxed)
    }

    /// A number for one more session.
    pub(super) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the number of a client's Parse of a named statement, greater than all earlier numbers.
    pub(super) fn next_parse(&self) -> u64 {
        self.parses.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Last number returned by [`Self::next_parse`].
    pub(super) fn last_parse(&self) -> u64 {
        self.parses.load(Ordering::Relaxed)
    }

    /// Statements that internal batches execute.
    pub(super) const fn internal_statements(&self) -> &InternalStatements {
        &self.internal_statements
    }

    pub(super) fn sequences_are_read(&self) {
        self.reads_sequences.store(true, Ordering::Relaxed);
    }
}
