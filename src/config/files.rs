//! Checks the files named in a configuration, so that mistakes are found before a connection needs a file.

use std::{error::Error, path::Path, sync::Arc};

use super::{problem::Origin, reader::Section};
use crate::{
    frontend::{UsersFile, UsersFileError},
    tls::{ClientTls, EndpointTls, ListenerTls, ServerTls, TlsFileError, TlsMode},
    topology::Address,
};

/// Remedy for an unreadable file.
const READABLE: &str = "name a file that this process may read";

/// A named file: origin of its path, and the setting.
pub(super) struct Named<'n> {
    pub(super) path: Option<&'n Path>,
    pub(super) origin: Origin,
    pub(super) subject: String,
}

/// Loads the TLS files of an endpoint; `named` are its files. Without a valid address, the files are only opened.
pub(super) fn endpoint_tls(
    section: &Section<'_>,
    tls: &EndpointTls,
    address: Option<&Address>,
    named: &[Named<'_>],
) {
    if tls.mode != TlsMode::Disable
        && can_be_opened(section, named)
        && let Some(address) = address
        && let Err(error) = ClientTls::new(tls, address)
        // A configured server name is checked at its own key.
        && !matches!(error, TlsFileError::ServerName(_) if tls.server_name.is_some())
    {
        report_tls_error(section, &error, named);
    }
}

/// Loads the TLS files of a listener; `named` are its files.
pub(super) fn listener_tls(section: &Section<'_>, tls: &ListenerTls, named: &[Named<'_>]) {
    if can_be_opened(section, named)
        && let Err(error) = ServerTls::new(tls)
    {
        report_tls_error(section, &error, named);
    }
}

/// True if files are checked and all of `named` can be opened; reports the others.
fn can_be_opened(section: &Section<'_>, named: &[Named<'_>]) -> bool {
    if !section.context.follow {
        return false;
    }
    let mut all = true;
    for named in named {
        if let Some(path) = named.path
            && let Err(error) = std::fs::File::open(path)
        {
            let what = format!("cannot read {}: {error}", path.display());
            section.context.report.problem(&named.origin, named.subject.clone(), what, READABLE);
            all = false;
        }
    }
    all
}

/// Checks that the directory of `file` exists.
pub(super) fn check_directory(section: &Section<'_>, key: &str, file: &Path) {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| section.context.follow && !folder.is_dir()) {
        let what = format!("directory {} does not exist", folder.display());
        section.problem(key, what, "create it, or name another file");
    }
}

/// Reads a users file. Each invalid line is a mistake with its own position.
pub(super) fn check_users_file(section: &Section<'_>, key: &str, file: &Path) {
    if !section.context.follow {
        return;
    }
    let verifier = "`gatekeeper verifier USER` prints the line to write";
    match UsersFile::load(file) {
        Ok(_) => {}
        Err(UsersFileError::Mistakes { path, mistakes }) => {
            let file: Arc<str> = path.display().to_string().into();
            for mistake in mistakes {
                let origin = Origin::File { file: Arc::clone(&file), line: mistake.line, column: 1 };
                section.context.report.problem(&origin, section.named(key), mistake.what, verifier);
            }
        }
        Err(UsersFileError::Read { path, source }) => {
            section.problem(key, format!("cannot read {}: {source}", path.display()), READABLE);
        }
        Err(error @ UsersFileError::Empty(_)) => section.problem(key, error.to_string(), verifier),
    }
}

fn report_tls_error(section: &Section<'_>, error: &TlsFileError, named: &[Named<'_>]) {
    let (path, remedy) = match error {
        TlsFileError::Read { path, .. } => (Some(path), READABLE),
        TlsFileError::Pem { path, .. } | TlsFileError::BadCertificate { path, .. } => {
            (Some(path), "write certificates or a key in PEM")
        }
        TlsFileError::NoCertificate(path) => (Some(path), "write one or more certificates in PEM"),
        TlsFileError::NoKey(path) | TlsFileError::BadKey { path, .. } => {
            (Some(path), "write a private key in PEM")
        }
        TlsFileError::EncryptedKey(path) => {
            (Some(path), "store the key without a passphrase, readable by us alone")
        }
        TlsFileError::KeyMismatch { key, .. } => {
            (Some(key), "name the key that the certificate was made for")
        }
        TlsFileError::ServerName(_) => {
            (None, "write the name that the server's certificate carries in `server_name`")
        }
        TlsFileError::NoSystemRoots => (None, "name a CA file in `ca_file`"),
        TlsFileError::NoClientCa | TlsFileError::Settings(_) => (None, "correct the TLS settings"),
    };
    let mut what = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        what.push_str(&format!(": {next}"));
        cause = next.source();
    }
    let place = named.iter().find(|named| path.is_some() && named.path == path.map(AsRef::as_ref));
    let (origin, subject) = match place {
        Some(named) => (&named.origin, named.subject.clone()),
        None => (&section.origin, section.title.clone()),
    };
    section.context.report.problem(origin, subject, what, remedy);
}

impl<'n> Named<'n> {
    /// The file named by `key` of `section`.
    pub(super) fn new(section: &Section<'_>, key: &str, path: Option<&'n Path>) -> Self {
        Self { path, origin: section.place(key), subject: section.named(key) }
    }
}
