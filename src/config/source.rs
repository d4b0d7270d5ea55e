//! Where a configuration is read from, so that it can be read again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    AdminSettings, Config, Problems, RuntimeSettings, Setting, catalog, cluster, console,
    environment::Environment,
    listener, observe, overlay,
    problem::{Origin, Problem, ProblemReport},
    reader::{ReadContext, Section},
    split, traces,
    tree::{self, Table},
};

/// What is needed to read the configuration, now and again on reload.
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

/// A configuration that was read without a mistake.
pub struct LoadedConfig {
    /// The configuration.
    pub config: Config,
    /// What is allowed and still worth a word.
    pub warnings: Vec<Problem>,
    /// Every effective setting and where it came from.
    pub settings: Vec<Setting>,
}

// === impl ConfigSource ===

impl ConfigSource {
    /// A file (`GATEKEEPER_CONFIG` names one when the command line does not) and the process's environment as it is now.
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

    /// A document that is at hand, called `name` in problems, and no environment.
    #[must_use]
    pub fn text(name: &str, text: &str) -> Self {
        let document = Document::Text { name: name.into(), text: text.into() };
        Self { document, variables: Vec::new(), follow: true }
    }

    /// These variables and no file.
    #[must_use]
    pub fn variables<N: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        Self { document: Document::None, variables: Vec::new(), follow: true }.with_variables(variables)
    }

    /// As it is, but with these variables instead of the environment.
    #[must_use]
    pub fn with_variables<N: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self
    }

    /// As it is, but without looking at the files and variables that the configuration mentions; secrets that stand in
    /// them are replaced by a word. For checking a configuration on another machine than its own.
    #[must_use]
    pub fn without_references(mut self) -> Self {
        self.follow = false;
        self
    }

    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.document {
            Document::File(path) => Some(path),
            _ => None,
        }
    }

    /// Reads and checks everything. Blocks on files; the environment is the one of the first reading.
    ///
    /// # Errors
    /// Every mistake there is, each with its place and what to write instead.
    pub fn load(&self) -> Result<LoadedConfig, Problems> {
        let report = ProblemReport::default();
        let (mut root, base) = self.read_document(&report)?;
        if report.has_problems() {
            // What is no TOML hides what stands behind it: more mistakes would be guesses.
            return Err(Problems(report.finish().0));
        }
        let environment = Environment::new(self.variables.iter().cloned());
        overlay::overlay(&mut root, &environment, &report);
        let endpoints = overlay::endpoint_names(&root);
        let listeners = overlay::listener_names(&root);

        let several = endpoints.len() > 1 || listeners.len() > 1;
        let environment_alone = matches!(self.document, Document::None);
        let context =
            ReadContext { report, environment, base, several, follow: self.follow, environment_alone };
        let section = Section::open(&context, &root, "", "", &Origin::Default);
        let clusters = cluster::read(&context, &section);
        if !section.has("cluster") {
            let remedy = "write [[cluster]] and [[cluster.endpoint]], or set GATEKEEPER_BACKEND_HOST";
            context.report.problem(&Origin::Default, "", "no endpoint is configured", remedy);
        }
        let listeners_read = listener::read(&section, &clusters);
        let admin = observe::admin(&section, &listeners_read);
        let console = console::read(&section, &listeners_read);
        let audit = observe::audit(&section);
        let traces = traces::read(&section);
        let log = observe::log(&section);
        let probe = observe::probe(&section);
        let (runtime, local_region) = observe::runtime(&section);
        context.environment.report_unread(&endpoints, &listeners, &context.report);

        let mut listeners_read: Vec<_> = listeners_read.into_iter().map(|spot| spot.value).collect();
        split::locate(&mut listeners_read, local_region.as_deref());

        let config = Config {
            clusters: clusters.clusters,
            endpoints: clusters.endpoints.into_iter().map(|spot| spot.value).collect(),
            listeners: listeners_read,
            admin,
            console,
            audit,
            traces,
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

    /// Reads `[admin]` and `[runtime]` alone, for commands to the running program. Mistakes elsewhere do not count: the
    /// program may run with an older version of the file.
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
        overlay::overlay(&mut root, &environment, &ProblemReport::default());
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
        let admin = observe::admin(&section, &[]);
        let (runtime, _) = observe::runtime(&section);
        let (problems, _, _) = context.report.finish();
        if problems.is_empty() { Ok((admin, runtime)) } else { Err(Problems(problems)) }
    }

    /// The document's root, and what relative paths in it are relative to.
    fn read_document(&self, report: &ProblemReport) -> Result<(Table, PathBuf), Problems> {
        match &self.document {
            Document::None => Ok((Table::new(), PathBuf::new())),
            Document::Text { name, text } => Ok((tree::parse(name, text, report), PathBuf::new())),
            Document::File(path) => {
                let name: Arc<str> = path.display().to_string().into();
                match std::fs::read_to_string(path) {
                    Ok(text) => {
                        let base = path.parent().unwrap_or(Path::new("")).to_owned();
                        Ok((tree::parse(&name, &text, report), base))
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
