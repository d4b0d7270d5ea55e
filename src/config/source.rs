//! The source of a configuration, readable again on reload.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    AdminSettings, Config, Problems, RuntimeSettings, Setting, catalog, cluster, console,
    environment::Environment,
    exports, listener, observe, overlay,
    problem::{Origin, Problem, ProblemReport},
    reader::{ReadContext, Section},
    split,
    tree::{self, Table},
};

/// The source of the configuration: file and environment.
#[derive(Clone)]
pub struct ConfigSource {
    document: Document,
    variables: Vec<(String, String)>,
    follow: bool,
}

#[derive(Clone)]
enum Document {
    None,
    File(PathBuf),
    Text { name: Arc<str>, text: Arc<str> },
}

/// A configuration without mistakes.
pub struct LoadedConfig {
    /// The configuration.
    pub config: Config,
    /// Warnings: allowed, but risky or probably unintended.
    pub warnings: Vec<Problem>,
    /// Every effective setting with its source.
    pub settings: Vec<Setting>,
}

// === impl ConfigSource ===

impl ConfigSource {
    /// The file (by default the one in `GATEKEEPER_CONFIG`) and the current environment of the process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| {
                let name = name.into_string().ok()?;
                Some((name, value.to_string_lossy().into_owned()))
            })
            .collect();
        let named = catalog::full_variable(catalog::CONFIG);
        let file = file.or_else(|| {
            variables
                .iter()
                .find(|(name, value)| *name == named && !value.is_empty())
                .map(|(_, path)| path.into())
        });
        Self { document: file.map_or(Document::None, Document::File), variables, follow: true }
    }

    /// A document in memory, named `name` in problems, without an environment.
    #[must_use]
    pub fn text(name: &str, text: &str) -> Self {
        let document = Document::Text { name: name.into(), text: text.into() };
        Self { document, variables: Vec::new(), follow: true }
    }

    /// Only these variables, without a file.
    #[must_use]
    pub fn variables<N: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        Self { document: Document::None, variables: Vec::new(), follow: true }.with_variables(variables)
    }

    /// Replaces the environment by these variables.
    #[must_use]
    pub fn with_variables<N: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self
    }

    /// Disables reading of files and variables named in the configuration, and replaces secrets by a placeholder. For
    /// checking a configuration on another machine.
    #[must_use]
    pub fn without_references(mut self) -> Self {
        self.follow = false;
        self
    }

    /// The file, if any.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.document {
            Document::File(path) => Some(path),
            _ => None,
        }
    }

    /// Reads and checks everything. Blocks on files. The environment is the one at construction.
    ///
    /// # Errors
    /// All mistakes, each with position and remedy.
    pub fn load(&self) -> Result<LoadedConfig, Problems> {
        let report = ProblemReport::default();
        let (mut root, base) = self.read_document(&report)?;
        if report.has_problems() {
            // Invalid TOML hides the text after it, so further mistakes would be guesses.
            return Err(Problems(report.finish().0));
        }
        let environment = Environment::new(self.variables.iter().cloned());
        overlay::apply_environment(&mut root, &environment, &report);
        let endpoints = overlay::endpoint_names(&root);
        let listeners = overlay::listener_names(&root);

        let several = endpoints.len() > 1 || listeners.len() > 1;
        let environment_alone = matches!(self.document, Document::None);
        let context =
            ReadContext { report, environment, base, several, follow: self.follow, environment_alone };
        let section = Section::open(&context, &root, "", "", &Origin::Default);
        let clusters = cluster::read_clusters(&context, &section);
        if !section.has_key("cluster") {
            let remedy = match environment_alone {
                true => "name a configuration file by --config, or set GATEKEEPER_BACKEND_HOST",
                false => "write [[cluster]] and [[cluster.endpoint]], or set GATEKEEPER_BACKEND_HOST",
            };
            context.report.problem(&Origin::Default, "", "no endpoint is configured", remedy);
        }
        let listeners_read = listener::read_listeners(&section, &clusters);
        let admin = observe::read_admin(&section, &listeners_read);
        let console = console::read_console(&section, &listeners_read);
        let audit = observe::read_audit(&section);
        let traces = exports::read_traces(&section);
        let metrics = exports::read_metrics(&section);
        let log = observe::read_log(&section);
        let probe = observe::read_probe(&section);
        let (runtime, local_region) = observe::read_runtime(&section);
        context.environment.report_unread(&endpoints, &listeners, &context.report);

        let mut listeners_read: Vec<_> = listeners_read.into_iter().map(|spot| spot.value).collect();
        split::set_local_region(&mut listeners_read, local_region.as_deref());

        let config = Config {
            clusters: clusters.clusters,
            endpoints: clusters.endpoints.into_iter().map(|spot| spot.value).collect(),
            listeners: listeners_read,
            admin,
            console,
            audit,
            traces,
            metrics,
            log,
            probe,
            runtime,
        };
        let (problems, warnings, settings) = context.report.finish();
        if problems.is_empty() {
            Ok(LoadedConfig { config, warnings, settings })
        } else {
            Err(Problems(problems))
        }
    }

    /// Reads only `[admin]` and `[runtime]`, for commands to the running program. Mistakes elsewhere are ignored,
    /// because the program may run with an older version of the file.
    ///
    /// # Errors
    /// The document cannot be read, or the mistakes of the two tables.
    pub fn load_admin(&self) -> Result<(Option<AdminSettings>, RuntimeSettings), Problems> {
        let report = ProblemReport::default();
        let (mut root, base) = self.read_document(&report)?;
        if report.has_problems() {
            return Err(Problems(report.finish().0));
        }
        let environment = Environment::new(self.variables.iter().cloned());
        overlay::apply_environment(&mut root, &environment, &ProblemReport::default());
        let mut own = Table::new();
        for key in ["admin", "runtime"] {
            if let Some(item) = root.get(key) {
                own.set(key, item.clone());
            }
        }
        let environment_alone = matches!(self.document, Document::None);
        let context =
            ReadContext { report, environment, base, several: false, follow: self.follow, environment_alone };
        let section = Section::open(&context, &own, "", "", &Origin::Default);
        let admin = observe::read_admin(&section, &[]);
        let (runtime, _) = observe::read_runtime(&section);
        let (problems, _, _) = context.report.finish();
        if problems.is_empty() { Ok((admin, runtime)) } else { Err(Problems(problems)) }
    }

    /// Root of the document, and the base of its relative paths.
    fn read_document(&self, report: &ProblemReport) -> Result<(Table, PathBuf), Problems> {
        match &self.document {
            Document::None => Ok((Table::new(), PathBuf::new())),
            Document::Text { name, text } => Ok((tree::parse_document(name, text, report), PathBuf::new())),
            Document::File(path) => {
                let name: Arc<str> = path.display().to_string().into();
                match std::fs::read_to_string(path) {
                    Ok(text) => {
                        let base = path.parent().unwrap_or(Path::new("")).to_owned();
                        Ok((tree::parse_document(&name, &text, report), base))
                    }
                    Err(error) => {
                        let what = format!("cannot read the configuration file: {error}");
                        let problem = Problem {
                            origin: Origin::Default,
                            subject: name.to_string(),
                            what,
                            remedy: "name a file that this process may read".to_owned(),
                        };
                        Err(Problems(vec![problem]))
                    }
                }
            }
        }
    }
}
